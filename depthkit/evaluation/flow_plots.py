# SPDX-License-Identifier: Apache-2.0
"""Optical flow as a picture: direction is hue, length is saturation [Baker 2007]."""

from pathlib import Path

import numpy as np

from depthkit.errors import check_shape
from depthkit.evaluation.plots import colour_bar, make_figure, save_figure, with_unknown_grey

_UNKNOWN_GREY = 0.85


def flow_colours(flow: np.ndarray, longest: float) -> np.ndarray:
    """Paint flow: hue by direction (right is red), white where it stands, grey where unknown.

    Args:
        flow: pixels (u, v), NaN where unknown. (H, W, 2)
        longest: length in full colour, pixels.

    Returns:
        RGB in [0, 1]. (H, W, 3)
    """
    from matplotlib.colors import hsv_to_rgb

    check_shape("flow_colours: flow", flow, "H W 2")
    known = np.isfinite(flow).all(axis=-1)
    u, v = np.moveaxis(np.where(known[..., None], flow, 0), -1, 0)
    hue = np.arctan2(v, u) / (2 * np.pi) % 1
    length = np.clip(np.hypot(u, v) / max(longest, 1e-6), 0, 1)
    painted = hsv_to_rgb(np.stack([hue, length, np.ones_like(hue)], axis=-1))
    return np.where(known[..., None], painted, _UNKNOWN_GREY)


def plot_flow(
    path: str | Path,
    pred: np.ndarray,
    gt: np.ndarray,
    *,
    image: np.ndarray | None = None,
    title: str = "",
    largest_error: float = 3.0,
) -> Path:
    """Draw image, true flow, predicted flow and end-point error side by side.

    Args:
        path: the PNG to write.
        pred: pixels, NaN where not predicted. (H, W, 2)
        gt: pixels, NaN where unknown. (H, W, 2)
        image: the frame whose pixels flow. (H, W, 3) uint8
        title: title of the picture.
        largest_error: where the colours of the error end, pixels.
    """
    lengths = np.hypot(gt[..., 0], gt[..., 1])
    longest = float(np.nanpercentile(lengths, 99)) if np.isfinite(lengths).any() else 1.0
    panels = [] if image is None else [("image", image)]
    panels += [
        (f"truth, full colour {longest:.3g} px", flow_colours(gt, longest)),
        ("prediction", flow_colours(pred, longest)),
    ]
    height = 3.2 * gt.shape[0] / gt.shape[1]
    columns = len(panels) + 1
    figure, axes = make_figure(3.2 * columns, height + 1.1, columns=columns, heights=(height, 0.1))
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (name, picture) in zip(axes[0], panels, strict=False):
        ax.imshow(picture)
        ax.set_title(name, fontsize=10)
    error = np.linalg.norm(pred - gt, axis=-1)
    shown = axes[0, -1].imshow(error, cmap=with_unknown_grey("magma"), vmin=0, vmax=largest_error)
    axes[0, -1].set_title("error [px]", fontsize=10)
    colour_bar(figure, shown, axes[1, -1])
    figure.suptitle(title, fontsize=11)
    return save_figure(figure, path)
