# SPDX-License-Identifier: Apache-2.0
"""How far the depth of a sweep can be trusted: the standard deviation of its logarithm.

A linear fit of the logarithm of the error on cues of the match. It was fitted on several scenes at
once, because a fit to one scene is too sure elsewhere.
"""

import cv2
import numpy as np

from depthkit.runtime.depth.sweep import Swept

FLOOR = 0.005
"""Relative error below which truth itself is not better, added before the logarithm."""
CUES = (
    "1",
    "uniqueness",
    "sqrt cost",
    "spread in 5x5",
    "spread in 15x15",
    "share of views",
    "share of agreeing views",
    "log curvature",
    "log texture",
    "log parallax",
    "far from the median",
    "at an end of the range",
)
"""Names of the cues, in the order of the weights."""
SMALL, LARGE = 5, 15


def cues(swept: Swept, grey: np.ndarray) -> np.ndarray:
    """Return what tells good depth from bad. (H, W, len(CUES)) float32

    Args:
        swept: depth and the figures of its match.
        grey: target. (H, W) uint8
    """
    log_inverse = np.log(swept.inverse)
    across, down = (cv2.Sobel(grey, cv2.CV_32F, *axis) / 8 for axis in ((1, 0), (0, 1)))
    texture = cv2.blur(np.sqrt(across * across + down * down), (SMALL + 2, SMALL + 2))
    return np.stack(
        [
            np.ones_like(log_inverse),
            np.clip(swept.uniqueness, 0, 1),
            np.sqrt(swept.cost / 128),
            np.sqrt(_spread(log_inverse, SMALL)),
            np.sqrt(_spread(log_inverse, LARGE)),
            swept.seen,
            swept.agreeing,
            np.log1p(swept.curvature),
            np.log1p(texture),
            np.log(np.clip(swept.pixels, 0.5, 100)),
            np.abs(log_inverse - np.median(log_inverse)),
            swept.at_end.astype(np.float32),
        ],
        axis=2,
    )


def _spread(values: np.ndarray, side: int) -> np.ndarray:
    """Local standard deviation. (H, W)"""
    mean, square = cv2.blur(values, (side, side)), cv2.blur(values * values, (side, side))
    return np.sqrt(np.maximum(square - mean * mean, 0))


SWEPT = (-1.127, -1.531, 0.284, 0.949, 1.789, 0.269, -1.28, 0.062, 0.072, -0.163, 0.468, 0.752)
"""Weights of the cues for the 90 % quantile of the error, by `scripts/sweep/fit_confidence.py` on
RedKitchen 0-199 and rendered boxes, streets and colons, without the error of the scale."""
FILLED = (0.316, 0.404, 0.613, -0.163, 0.961, -0.343)
"""Weights of `filled_cues`, fitted likewise on the smoothed maps."""
BAND = 1.628
"""Half width of the band that holds 90 % of Laplace errors, standard deviations: ln 10 / sqrt 2."""
LEAST, MOST = 0.003, 2.0
"""Range of sigma."""


def swept_sigma(swept: Swept, grey: np.ndarray) -> np.ndarray:
    """Return the relative standard deviation of swept depth. (H, W) float32"""
    logs = cues(swept, grey) @ np.array(SWEPT, np.float32)
    return np.clip(np.exp(logs) / BAND, LEAST, MOST).astype(np.float32)


def filled_sigma(
    sigma: np.ndarray,
    own: np.ndarray,
    filled: np.ndarray,
    value: np.ndarray,
    reach: np.ndarray,
) -> np.ndarray:
    """Return the relative standard deviation after filling. (H, W) float32

    Args: as for `filled_cues`.
    """
    cues = filled_cues(sigma, own, filled, value, reach)
    logs = sum(w * cue for w, cue in zip(FILLED, cues, strict=True))
    return np.clip(np.exp(logs) / BAND, LEAST, MOST).astype(np.float32)


def filled_cues(
    sigma: np.ndarray,
    own: np.ndarray,
    filled: np.ndarray,
    value: np.ndarray,
    reach: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """Return what tells good filled depth from bad, in the order of the weights. (H, W) each

    Args:
        sigma: that of the measured map.
        own: measured inverse depth.
        filled: the smoothed one.
        value: the one that is returned.
        reach: weight that reached the pixel.
    """
    log = np.log(sigma)
    return (
        np.ones_like(log),
        log,
        np.minimum(log, np.log(0.1)),
        np.log(reach + 1e-3),
        np.abs(np.log(np.maximum(own, 1e-9) / np.maximum(filled, 1e-9))),
        np.log(value / np.median(value)),
    )
