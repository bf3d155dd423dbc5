# SPDX-License-Identifier: Apache-2.0
"""Matches between pictures turned or tilted against each other by more than descriptors stand.

The second picture is looked at as if the camera were turned by quarters, and tilted [ASIFT: Morel
and Yu 2009]; the look with the most matches is kept. Any detector gains by it; it costs one
detection and one matching a look.
"""

import cv2
import numpy as np

from depthkit.multiview.features import Detector, Features, match

TILT = 2.0
"""Shortening of a tilted look: that of 60 degrees, to which learned descriptors need one step."""
DIRECTIONS = (0.0, 45.0, 90.0, 135.0)
"""Directions in which tilted looks are shortened, degrees from u towards v."""
_BLUR = 0.8  # standard deviation before shortening by TILT, over sqrt(TILT^2 - 1) [ASIFT, 3.3]


def look_transforms(
    size: tuple[int, int], *, turns: int = 4, tilts: bool = False
) -> list[np.ndarray]:
    """List the looks at a picture.

    Args:
        size: of the picture, (H, W).
        turns: 1 (upright alone), 2 (and upside down) or 4 (all quarters).
        tilts: whether each is also shortened in four directions.

    Returns:
        Pixels of the picture to pixels of each look, the picture itself first. (3, 3) each
    """
    flat = [np.eye(3)]
    if tilts:
        flat += [_shortening(size, np.radians(angle)) for angle in DIRECTIONS]
    looks = list[np.ndarray]()
    for quarter in range(0, 4, 4 // turns):
        looks += [_quarter(look_size(size, A), quarter) @ A for A in flat]
    return looks


def detect_in_look(detector: Detector, gray: np.ndarray, A: np.ndarray) -> Features:
    """Find the features of a look at a picture.

    Args:
        detector: any.
        gray: the picture. (H, W) uint8
        A: pixels of the picture to pixels of the look. (3, 3)

    Returns:
        Features, pixels of the picture.
    """
    if np.array_equal(A, np.eye(3)):
        return detector.detect(gray)
    # 1. The look; shortened ones are blurred along that direction first.
    height, width = look_size(gray.shape[:2], A)
    stretch, shorten = np.linalg.svd(A[:2, :2])[1:]
    if stretch[1] < 0.99:
        gray = _blur_along(gray, shorten[1], _BLUR * np.sqrt(1 / stretch[1] ** 2 - 1))
    picture = cv2.warpAffine(gray, A[:2], (width, height), flags=cv2.INTER_LINEAR)
    inside = cv2.warpAffine(np.full(gray.shape, 255, np.uint8), A[:2], (width, height))
    # 2. Its features, back in the picture.
    found = detector.detect(picture, valid=cv2.erode(inside, np.ones((9, 9), np.uint8)) == 255)
    back = np.linalg.inv(A)
    pixels = found.pixels @ back[:2, :2].T.astype(np.float32) + back[:2, 2].astype(np.float32)
    return Features(
        pixels.astype(np.float32), found.descriptors, found.scales, found.angles, found.ratio
    )


def match_best_look(
    first: Features, looks: list[Features], *, ratio: float | None = None
) -> tuple[int, np.ndarray]:
    """Match features with each look at another picture, and keep the best.

    Args:
        first: features of one picture.
        looks: those of each look at the other one.
        ratio: as `match`.

    Returns:
        look: number of the look with the most matches, the first of several.
        pairs: indices into `first` and into that look. (M, 2) int64
    """
    found = [match(first, look, ratio=ratio) for look in looks]
    best = int(np.argmax([len(pairs) for pairs in found]))
    return best, found[best]


def look_size(size: tuple[int, int], A: np.ndarray) -> tuple[int, int]:
    """Return (H, W) of a look at a picture of (H, W)."""
    corners = _corners(size) @ A[:2, :2].T + A[:2, 2]
    width, height = np.rint(corners.max(axis=0) + 0.5).astype(int)
    return int(height), int(width)


def _corners(size: tuple[int, int]) -> np.ndarray:
    """Outer corners of a picture, half a pixel outside the pixel centres. (4, 2)"""
    height, width = size
    return np.array([[0, 0], [width, 0], [width, height], [0, height]]) - 0.5


def _placed(A: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Move a look so that it begins at pixel (0, 0)."""
    least = (_corners(size) @ A[:2, :2].T).min(axis=0)
    A[:2, 2] = -0.5 - least
    return A


def _quarter(size: tuple[int, int], quarter: int) -> np.ndarray:
    """Turn a picture by quarters, from u towards v. (3, 3)"""
    A = np.eye(3)
    for _ in range(quarter):
        A[:2, :2] = np.array([[0.0, -1.0], [1.0, 0.0]]) @ A[:2, :2]
    return _placed(A, size)


def _shortening(size: tuple[int, int], angle: float) -> np.ndarray:
    """Shorten a picture by TILT in a direction, and leave it as it is across. (3, 3)"""
    along = np.array([np.cos(angle), np.sin(angle)])
    A = np.eye(3)
    A[:2, :2] -= (1 - 1 / TILT) * np.outer(along, along)
    return _placed(A, size)


def _blur_along(gray: np.ndarray, direction: np.ndarray, sigma: float) -> np.ndarray:
    """Blur a picture along one direction by a Gaussian."""
    side = 2 * int(np.ceil(3 * sigma)) + 1
    v, u = np.mgrid[:side, :side] - side // 2
    along = u * direction[0] + v * direction[1]
    across = v * direction[0] - u * direction[1]
    kernel = np.exp(-0.5 * (along / sigma) ** 2) * np.maximum(0, 1 - np.abs(across))
    return cv2.filter2D(gray, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)
