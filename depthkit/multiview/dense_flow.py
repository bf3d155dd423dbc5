# SPDX-License-Identifier: Apache-2.0
"""Dense optical flow by OpenCV's DIS (Kroeger 2016), the classical matcher, on derotated pairs."""

import math

import cv2
import numpy as np

from depthkit.camera import resize_matrix
from depthkit.errors import check_shape

LEAST_SIZE, LARGEST_SIZE = 256, 360
"""Limits of the shorter side of matched frames, pixels; flow is scaled back. Smaller frames are
enlarged by an integer factor: DIS searches patches of 8 pixels on a pyramid that starts at half
resolution, and on rendered rooms of 64 to 128 pixels this halves the error; more does not help.
Larger frames are shrunk: on real 640x480 pairs with 15 to 60 cm baseline, flow reaches further and
depth improves; with 2 to 8 cm it gets slightly worse."""


def dense_flow(
    target: np.ndarray, source: np.ndarray, *, source_of_target: np.ndarray | None = None
) -> np.ndarray:
    """Match every pixel of the target in the source: DIS, medium preset.

    Args:
        target, source: two frames of one size. (H, W, 3) uint8 RGB
        source_of_target: homography from target to source pixels, such as K R K^-1. The source is
            warped by it before matching (filled from its border), and the flow leads to the warped
            source. (3, 3)

    Returns:
        Flow from target to source, pixels (u, v). (H, W, 2) float32
    """
    check_shape("dense_flow: target", target, "H W 3")
    check_shape("dense_flow: source", source, f"{target.shape[0]} {target.shape[1]} 3")
    size = target.shape[:2]
    matched = _matching_size(size)
    warp = np.eye(3) if source_of_target is None else source_of_target
    grey = (_warped_grey(target, np.eye(3), matched), _warped_grey(source, warp, matched))
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = search.calc(*grey, None)  # type: ignore[call-overload]
    scale = np.array([size[1] / matched[1], size[0] / matched[0]], dtype=np.float32)
    # INTER_AREA is exact for a whole factor: the mean of a block belongs to the pixel's centre.
    how = cv2.INTER_AREA if size < matched else cv2.INTER_LINEAR
    return cv2.resize(flow, size[::-1], interpolation=how) * scale


def fill_from_neighbours(depth: np.ndarray, valid: np.ndarray, *, otherwise: float) -> np.ndarray:
    """Give each pixel that is not valid the depth of the nearest valid one.

    Args:
        depth: any unit. (H, W)
        valid: (H, W) bool
        otherwise: depth of all pixels if none is valid.
    """
    if not valid.any():
        return np.full_like(depth, otherwise)
    _, labels = cv2.distanceTransformWithLabels(
        (~valid).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_label = np.zeros(labels.max() + 1, dtype=depth.dtype)
    of_label[labels[valid]] = depth[valid]
    return of_label[labels]


def _matching_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return (H, W) at which frames of a size are matched."""
    shorter = min(size)
    factor = math.ceil(LEAST_SIZE / shorter) if shorter < LEAST_SIZE else 1.0
    if shorter > LARGEST_SIZE:
        factor = LARGEST_SIZE / shorter
    return round(factor * size[0]), round(factor * size[1])


def _warped_grey(rgb: np.ndarray, warp: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a frame and warp it by a homography, as grey.

    Args:
        rgb: (h, w, 3) uint8
        warp: homography from result to frame, both in pixels at the frame's size. (3, 3)
        size: (H, W) of the result.

    Returns:
        Grey. (H, W) uint8
    """
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    if size < grey.shape:
        grey = cv2.resize(grey, size[::-1], interpolation=cv2.INTER_AREA)
    # Chain: result -> result at the frame's size -> frame -> resized frame.
    from_result = (
        resize_matrix(rgb.shape[:2], grey.shape) @ warp @ resize_matrix(size, rgb.shape[:2])
    )
    if grey.shape == size and np.allclose(warp, np.eye(3), atol=1e-12):
        return grey
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(
        grey, from_result, size[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
