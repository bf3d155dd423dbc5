# SPDX-License-Identifier: Apache-2.0
"""Dense optical flow by OpenCV's DIS (Kroeger 2016), the classical matcher, on derotated pairs."""

import math

import cv2
import numpy as np

from depthkit.camera import resize_matrix
from depthkit.errors import check_shape

MATCHING_SIZE = 256
"""Pixels; frames whose shorter side is less are enlarged by a whole factor before matching (DIS
searches patches of 8 pixels on a pyramid that starts at half resolution), flow is scaled back. On
rendered rooms of 64 to 128 pixels this halves its error; enlarging further does not help."""


def dense_flow(
    target: np.ndarray, source: np.ndarray, *, source_of_target: np.ndarray | None = None
) -> np.ndarray:
    """Match every pixel of the target in the source: DIS, medium preset.

    Args:
        target, source: of one size. (H, W, 3) uint8 RGB
        source_of_target: homography that takes target pixels to source pixels, such as K R K^-1 of
            the rotation between them: the source is warped by it before matching (what it never saw
            is filled from its border) and flow leads to the warped source. (3, 3)

    Returns:
        Flow from target to source, pixels (u, v). (H, W, 2) float32
    """
    check_shape("dense_flow: target", target, "H W 3")
    check_shape("dense_flow: source", source, f"{target.shape[0]} {target.shape[1]} 3")
    height, width = target.shape[:2]
    factor = max(1, math.ceil(MATCHING_SIZE / min(height, width)))
    large = (factor * height, factor * width)
    small_of_large = resize_matrix(large, (height, width))
    warp = small_of_large if source_of_target is None else source_of_target @ small_of_large
    grey = (_warp(target, small_of_large, large), _warp(source, warp, large))
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = search.calc(*grey, None)  # type: ignore[call-overload]
    # A whole factor: the mean of a block of fine pixels is the flow at the coarse pixel's centre.
    return cv2.resize(flow, (width, height), interpolation=cv2.INTER_AREA) / np.float32(factor)


def fill_from_neighbours(depth: np.ndarray, valid: np.ndarray, *, otherwise: float) -> np.ndarray:
    """Give each pixel that is not valid the depth of the nearest valid one.

    Args:
        depth: any unit. (H, W)
        valid: (H, W) bool
        otherwise: what all get when no pixel is valid.
    """
    if not valid.any():
        return np.full_like(depth, otherwise)
    _, labels = cv2.distanceTransformWithLabels(
        (~valid).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_label = np.zeros(labels.max() + 1, dtype=depth.dtype)
    of_label[labels[valid]] = depth[valid]
    return of_label[labels]


def _warp(rgb: np.ndarray, from_output: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Sample a frame in grey where a homography of output pixels points to. (H, W) uint8"""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    if size == grey.shape and np.array_equal(from_output, np.eye(3)):
        return grey
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    height, width = size
    return cv2.warpPerspective(
        grey, from_output, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
