# SPDX-License-Identifier: Apache-2.0
"""Confidence of each depth, from the frames it was computed from; no further network.

A logistic regression on four cues gives the probability that depth is within 25 % of the truth:
1. mismatch: the pair with the longest baseline does not reconstruct the frame;
2. contrast: depths nearer or farther by 30 % reconstruct it clearly worse (a cue for the depth);
3. jump: the depth changes steeply nearby;
4. disagreement: the maps of the other baselines differ.
"""

from typing import NamedTuple

import cv2
import numpy as np

from depthkit.runtime.depth.fusion import Fused

WINDOW = 7  # pixels at the network's size; one pixel's colour proves little
STEP = 1.3  # depth is compared with depths nearer and farther by this factor
NOISE = 2.0  # grey levels (and levels per pixel) of camera noise
DOUBT = (0.33, 10.6, 2.0, 2.9, 1.8)
"""Weights of mismatch, jump, disagreement (all against) and contrast (for), and the bias: fitted on
rendered flights with the shipped network, with exact attitude and with 0.2 degrees of error."""
BLIND_DOUBT = (13.6, 2.8, 1.5)
"""Weights of jump and disagreement, and the bias, where the direction of motion is unknown."""
LEAST_WEIGHT = 0.25  # fusion weight below which confidence fades to 0


class View(NamedTuple):
    """The past frame to compare with: that of the longest baseline, which shows errors best."""

    turned: np.ndarray
    """Past image, derotated to the current frame. (h, w, 3) uint8"""
    t_current_previous: np.ndarray
    """Position of its camera in the current frame, metres. (3,)"""


def confidence_map(
    fused: Fused,
    metres: np.ndarray,
    covered: np.ndarray,
    *,
    rgb: np.ndarray,
    K: np.ndarray,
    view: View | None,
) -> np.ndarray:
    """Return the confidence of a fused map.

    Args:
        fused: fused map.
        metres: maps before fusion, metres. (N, h, w)
        covered: pixels that both frames of a pair show. (N, h, w) bool
        rgb: current frame at the network's size. (h, w, 3) uint8
        K: intrinsics at that size, pixels. (3, 3)
        view: past frame to compare with; None where the direction of motion is unknown.

    Returns:
        Probability that depth is within 25 % of the truth. (h, w) float32, 0 to 1
    """
    # 1. Cues that need no direction of motion: depth edges, and disagreement between baselines.
    log_depth = np.log(fused.depth)
    jump, disagreement = _jump(log_depth), _disagreement(metres, covered)
    if view is None:
        of_jump, of_disagreement, rest = BLIND_DOUBT
        logit = rest - of_jump * jump - of_disagreement * disagreement
    else:
        # 2. With a direction, also the photometric cues: reprojection error and its contrast.
        of_mismatch, of_jump, of_disagreement, for_contrast, rest = DOUBT
        mismatch, contrast = _photometric(fused.depth, rgb, K, view)
        logit = rest - of_mismatch * mismatch - of_jump * jump
        logit += for_contrast * contrast - of_disagreement * disagreement
    # 3. The logistic curve, scaled down where no map was well inside its band.
    trusted = np.minimum(fused.weight / LEAST_WEIGHT, 1) * fused.coverage
    return (trusted / (1 + np.exp(-logit))).astype(np.float32)


def _jump(log_depth: np.ndarray) -> np.ndarray:
    """Local mean of the gradient of log depth, per pixel. (h, w)"""
    return _around(_slope(log_depth))


def _disagreement(metres: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Standard deviation of the maps' log depth. (N, h, w) -> (h, w)"""
    count = np.maximum(covered.sum(axis=0), 1)
    logs = np.log(metres)
    mean = (logs * covered).sum(axis=0) / count
    return np.sqrt((((logs - mean) ** 2) * covered).sum(axis=0) / count)


def _photometric(
    depth: np.ndarray, rgb: np.ndarray, K: np.ndarray, view: View
) -> tuple[np.ndarray, np.ndarray]:
    """Compare the current frame with the past one sampled through the depth.

    Returns:
        mismatch: colour error over local texture, about the reprojection error in pixels. (h, w)
        contrast: log ratio of the error at a nearer or farther depth to that at this one. (h, w)
    """
    now = rgb.astype(np.float32)
    grey = cv2.cvtColor(now, cv2.COLOR_RGB2GRAY)
    texture = _around(_slope(grey)) + NOISE
    here, nearer, farther = (
        _around(np.abs(now - _sampled(depth * step, K, view)).mean(axis=2))
        for step in (1.0, 1 / STEP, STEP)
    )
    contrast = np.log((np.minimum(nearer, farther) + 1) / (here + 1))
    return here / texture, contrast


def _sampled(depth: np.ndarray, K: np.ndarray, view: View) -> np.ndarray:
    """Sample the past frame at the reprojected pixels of the current one. (h, w, 3) float32"""
    height, width = depth.shape
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    x, y, z = view.t_current_previous
    ahead = np.maximum(depth - np.float32(z), 1e-6)
    # K (Z K^-1 (u, v, 1) - t), row and column offsets from the principal point kept apart.
    columns = (np.arange(width, dtype=np.float32) - np.float32(cx))[None]
    rows = (np.arange(height, dtype=np.float32) - np.float32(cy))[:, None]
    u = (columns * depth - np.float32(fx * x)) / ahead + np.float32(cx)
    v = (rows * depth - np.float32(fy * y)) / ahead + np.float32(cy)
    return cv2.remap(
        view.turned.astype(np.float32), u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def _slope(values: np.ndarray) -> np.ndarray:
    """Gradient magnitude per pixel. (h, w)"""
    across, down = (cv2.Sobel(values, cv2.CV_32F, *axis) / 8 for axis in ((1, 0), (0, 1)))
    # cv2.magnitude rounds by where its output lies in memory: not the same bytes twice.
    return np.sqrt(across * across + down * down)


def _around(values: np.ndarray) -> np.ndarray:
    return cv2.blur(values, (WINDOW, WINDOW))
