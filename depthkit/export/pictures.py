# SPDX-License-Identifier: Apache-2.0
"""The stored input: two views of overlapping flat leaves, with real parallax and small as PNG.

Dead leaves have the edges, corners and occlusions of photographs [Lee 2001]; a network answers more
on them than on noise, which is no picture, or on grey, where faults of borders stay hidden.
"""

from typing import NamedTuple

import cv2
import numpy as np

_LEAVES = 150
_STEPS = 4  # fractional bits of drawn positions: 1/16 pixel
_PARALLAX = (0.003, 0.05)  # of the farthest and the nearest leaf, as a share of the width


class Views(NamedTuple):
    """Two frames in time order; the camera moved to the right."""

    earlier: np.ndarray
    """(H, W, 3) uint8 RGB"""
    later: np.ndarray
    """(H, W, 3) uint8 RGB"""
    flow: np.ndarray
    """From the earlier to the later, whole 1/64 pixels. (2, H, W) float32"""


def draw_views(size: tuple[int, int], *, seed: int = 0) -> Views:
    """Draw the two views, nearer leaves over farther ones.

    Args:
        size: (H, W), pixels.
        seed: same seed, same pictures.
    """
    rng = np.random.default_rng(seed)
    height, width = size
    background = np.full((height, width, 3), (112, 128, 144), np.uint8)
    views = [background.copy(), background.copy()]
    far, near = (share * width for share in _PARALLAX)
    flow = np.full((height, width), -far, np.float32)
    for nearness in np.sort(rng.uniform(0, 1, _LEAVES) ** 2):
        parallax = round(16 * (far + nearness * (near - far))) / 16
        centre = rng.uniform(-0.05, 1.05, 2) * (width, height)
        radii = rng.uniform(0.03, 0.16, 2) * min(size) * (0.6 + nearness)
        angle = rng.uniform(0, 180)
        grey, tint = rng.integers(2, 14, (3, 1)), rng.integers(-2, 3, (1, 3))
        colours = (grey + tint) * 17  # 16 levels: flat colours, and few of them, make small files
        for share, colour in zip((1.0, 0.6, 0.3), colours, strict=True):
            for view, shift in zip(views, (0, parallax), strict=True):
                _fill(view, centre - (shift, 0), radii * share, angle, colour.tolist())
        _fill(flow, centre, radii, angle, [-parallax])
    whole = np.round(flow * 64) / 64
    return Views(views[0], views[1], np.stack([whole, np.zeros_like(whole)]))


def _fill(
    image: np.ndarray, centre: np.ndarray, radii: np.ndarray, angle: float, colour: list[float]
) -> None:
    where = tuple(int(v) for v in np.rint(centre * 2**_STEPS))
    axes = tuple(int(v) for v in np.rint(radii * 2**_STEPS))
    cv2.ellipse(image, where, axes, angle, 0, 360, colour, -1, cv2.LINE_8, _STEPS)
