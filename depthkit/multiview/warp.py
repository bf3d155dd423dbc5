# SPDX-License-Identifier: Apache-2.0
"""Images sampled along a flow: the numpy counterpart of `geometry/warp.py`."""

import numpy as np


def warp_by_flow(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Sample an image bilinearly at the end of each flow vector; outside, its border.

    Not by cv2.remap, which rounds positions to 1/32 pixel.

    Args:
        image: (H, W, C) float32
        flow: flow (u, v), pixels; NaN gives NaN. (H, W, 2)

    Returns:
        Sampled image. (H, W, C) float32
    """
    height, width, channels = image.shape
    u, v = grid((height, width))
    u, v = np.clip(u + flow[..., 0], 0, width - 1), np.clip(v + flow[..., 1], 0, height - 1)
    left, top = (np.floor(np.nan_to_num(x)).astype(np.intp) for x in (u, v))
    left, top = np.minimum(left, max(width - 2, 0)), np.minimum(top, max(height - 2, 0))
    across, down = ((x - x0)[..., None].astype(np.float32) for x, x0 in ((u, left), (v, top)))
    pixels, first = image.reshape(-1, channels), top * width + left
    right, below = int(width > 1), width * int(height > 1)
    above = pixels[first] * (1 - across) + pixels[first + right] * across
    under = pixels[first + below] * (1 - across) + pixels[first + below + right] * across
    return above * (1 - down) + under * down


def grid(size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return u and v of the pixels. (1, W) and (H, 1)"""
    return np.arange(size[1], dtype=np.float64)[None], np.arange(size[0], dtype=np.float64)[:, None]


def lands_inside(flow: np.ndarray) -> np.ndarray:
    """Return which flow vectors end inside the image, with half a pixel of margin. (H, W) bool"""
    height, width = flow.shape[:2]
    u, v = (axis + flow[..., i] for i, axis in enumerate(grid((height, width))))
    return (u > -0.5) & (u < width - 0.5) & (v > -0.5) & (v < height - 0.5)
