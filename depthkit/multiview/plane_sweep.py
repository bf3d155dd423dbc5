# SPDX-License-Identifier: Apache-2.0
"""How well two frames agree at each of a row of depths: the plane-sweep volume [Collins 1996].

For frames that are turned alike, a plane that faces the camera at inverse depth q moves between
them by a scale and a shift, the same for all its pixels: u' = (u + q (fx tx + cx tz)) / (1 + q tz),
v' alike. So each plane is one affine warp of the previous frame. Colours that agree there, summed
over no window, are what a network takes in [Wang 2018, MVDepthNet]. Training and the robot call
this very function, and so see the same numbers.
"""

import cv2
import numpy as np

from depthkit.errors import check_shape

PLANES = 32
NEAREST = 1.0
"""Metres at the nominal baseline, of the nearest plane."""
OUTSIDE = 24
"""Of 255, stands where a plane is not in the previous frame: about what wrong planes differ by."""
_HOW, _BORDER = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.BORDER_REPLICATE
_MEAN = np.full((1, 3), 1 / 3, np.float32)
_SPACING = 1.5  # power: planes are nearer together where parallax is below a pixel


def plane_inverse_depths(planes: int = PLANES, *, nearest: float = NEAREST) -> np.ndarray:
    """Return the inverse depths of the planes, 0 first, 1 / metres. (planes,) float64"""
    return np.linspace(0, 1, planes) ** _SPACING / nearest


def plane_sweep(
    previous: np.ndarray,
    current: np.ndarray,
    *,
    t_previous_current: np.ndarray,
    K: np.ndarray,
    inverse_depths: np.ndarray,
) -> np.ndarray:
    """Compare the current frame with the previous one moved as each plane would move.

    Args:
        previous: RGB, turned as the current frame is. (H, W, 3) uint8
        current: RGB. (H, W, 3) uint8
        t_previous_current: the current camera's centre seen from the previous one, in the axes both
            share, metres. (3,)
        K: intrinsics of both at H x W, pixels. (3, 3)
        inverse_depths: of the planes in the current frame, 1 / metres; q tz > -1 for each. (N,)

    Returns:
        Mean absolute difference of the colours, of 255; OUTSIDE where the plane leaves the previous
        frame. (N, H, W) uint8
    """
    check_shape("plane_sweep: previous", previous, "H W 3")
    check_shape("plane_sweep: current", current, " ".join(map(str, previous.shape)))
    check_shape("plane_sweep: t_previous_current", t_previous_current, "3")
    height, width = current.shape[:2]
    volume = np.empty((len(inverse_depths), height, width), np.uint8)
    du, dv, dz = K @ t_previous_current
    for plane, q in zip(volume, inverse_depths, strict=True):
        scale = 1 / (1 + q * dz)
        shift = scale * q * du, scale * q * dv
        affine = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        moved = cv2.warpAffine(previous, affine, (width, height), flags=_HOW, borderMode=_BORDER)
        cv2.transform(cv2.absdiff(current, moved), _MEAN, dst=plane)
        _blank(plane, scale, shift)
    return volume


def _blank(plane: np.ndarray, scale: float, shift: tuple[float, float]) -> None:
    """Put OUTSIDE where scale * x + shift is not on the previous frame, edge pixels whole."""
    for axis, s in ((1, shift[0]), (0, shift[1])):
        count = plane.shape[axis]
        first = int(np.clip(np.ceil((-0.5 - s) / scale), 0, count))
        last = int(np.clip(np.floor((count - 0.5 - s) / scale) + 1, 0, count))
        lines = plane if axis == 0 else plane.T
        lines[:first] = OUTSIDE
        lines[last:] = OUTSIDE
