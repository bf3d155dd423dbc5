# SPDX-License-Identifier: Apache-2.0
"""Plane-sweep volume: colour difference of two frames at a list of depths [Collins 1996].

Between derotated frames, a fronto-parallel plane at inverse depth q moves by one scale and one
shift for all its pixels: u' = (u + q (fx tx + cx tz)) / (1 + q tz), and likewise v'. So each plane
is one affine warp of the previous frame. The network takes the differences per pixel, without a
window [Wang 2018, MVDepthNet]. Training and robot call this same function, and so get the same
numbers.
"""

import cv2
import numpy as np

from depthkit.errors import check_shape

PLANES = 32
NEAREST = 1.0
"""Depth of the nearest plane, metres at the nominal baseline."""
OUTSIDE = 24
"""Fill value where a plane leaves the previous frame: a typical difference at wrong depths, of 255.
"""
_HOW, _BORDER = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.BORDER_REPLICATE
_MEAN = np.full((1, 3), 1 / 3, np.float32)
_SPACING = 1.5  # exponent: planes are denser where parallax is below a pixel


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
    """Compare the current frame with the previous one, warped by each plane.

    Args:
        previous: RGB, derotated to the current frame. (H, W, 3) uint8
        current: RGB. (H, W, 3) uint8
        t_previous_current: position of the current camera in the previous frame, in their common
            axes, metres. (3,)
        K: intrinsics of both at H x W, pixels. (3, 3)
        inverse_depths: inverse depth q of each plane in the current frame, 1 / metres; q tz > -1.
            (N,)

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
    """Write OUTSIDE where scale * x + shift leaves the previous frame by over half a pixel."""
    for axis, s in ((1, shift[0]), (0, shift[1])):
        count = plane.shape[axis]
        first = int(np.clip(np.ceil((-0.5 - s) / scale), 0, count))
        last = int(np.clip(np.floor((count - 0.5 - s) / scale) + 1, 0, count))
        lines = plane if axis == 0 else plane.T
        lines[:first] = OUTSIDE
        lines[last:] = OUTSIDE
