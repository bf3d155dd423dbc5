# SPDX-License-Identifier: Apache-2.0
"""Point tracks between frames: corners followed by pyramidal KLT on contrast-normalised images.

Raw KLT assumes constant brightness and takes an exposure step for motion. Here the local mean is
subtracted and the local contrast divided out first, which removes gain and offset. A track is kept
only if tracking it backwards returns to its start.
"""

import cv2
import numpy as np

WINDOW = (17, 17)
LEVELS = 4
"""Pyramid levels above the finest: reach about 2^4 x half a window, 130 px."""
CONTRAST_FLOOR = 6.0
"""Grey levels added to the local deviation, so that noise on a flat wall does not become texture.
"""
CONTRAST_WINDOW = (25, 25)
CORNER_DISTANCE = 8
CELLS = (10, 8)
CORNERS = 320
"""Number of corners kept, the strongest of each of the CELLS (columns, rows): so a median over
tracks is a median over the image, not over its most textured part."""
ROUND_TRIP = 0.7
"""Largest forward-backward error of a track, pixels of the reduced image."""

_CRITERIA = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 20, 0.01)


def normalise_contrast(gray: np.ndarray) -> np.ndarray:
    """Remove local brightness and contrast, so that KLT follows structure only.

    Args:
        gray: image, 0..255. (H, W) uint8

    Returns:
        (gray - local mean) / (local deviation + CONTRAST_FLOOR), 48 levels per unit. (H, W) uint8
    """
    smooth = cv2.GaussianBlur(gray.astype(np.float32), (3, 3), 0)
    mean = cv2.boxFilter(smooth, cv2.CV_32F, CONTRAST_WINDOW)
    deviation = cv2.sqrBoxFilter(smooth, cv2.CV_32F, CONTRAST_WINDOW)
    # In place: at this size the time goes into memory, not into arithmetic.
    cv2.subtract(smooth, mean, dst=smooth)
    cv2.multiply(mean, mean, dst=mean)
    cv2.subtract(deviation, mean, dst=deviation)
    np.maximum(deviation, 0.0, out=deviation)
    np.sqrt(deviation, out=deviation)
    np.add(deviation, CONTRAST_FLOOR, out=deviation)
    cv2.divide(smooth, deviation, dst=smooth)
    # Rounding to the nearest cuts the half off; what is outside 0..255 saturates.
    return cv2.addWeighted(smooth, 48.0, smooth, 0.0, 127.5, dtype=cv2.CV_8U)


def detect_corners(structure: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """Find corners spread over the image, at least CORNER_DISTANCE apart, strongest first.

    Args:
        structure: contrast-normalised image. (H, W) uint8
        valid: where corners may lie; everywhere if None. (H, W) bool

    Returns:
        Pixels (u, v). (N, 2) float32, N may be 0
    """
    mask = None if valid is None else valid.astype(np.uint8)
    found = cv2.goodFeaturesToTrack(structure, 0, 0.02, CORNER_DISTANCE, mask=mask)
    if found is None:
        return np.zeros((0, 2), np.float32)
    corners = found.reshape(-1, 2)
    cell = (corners * CELLS / structure.shape[::-1]).astype(int) @ (1, CELLS[0])
    share = CORNERS / len(np.unique(cell))
    return corners[rank_within(cell) < share]


def rank_within(labels: np.ndarray) -> np.ndarray:
    """Count the earlier entries with the same label. (N,) int"""
    order = np.argsort(labels, kind="stable")
    first = np.searchsorted(labels[order], labels[order])
    rank = np.empty(len(labels), int)
    rank[order] = np.arange(len(labels)) - first
    return rank


def track(
    a: np.ndarray,
    b: np.ndarray,
    points_a: np.ndarray,
    *,
    guess: np.ndarray | None = None,
    levels: int = LEVELS,
) -> tuple[np.ndarray, np.ndarray]:
    """Follow points from image a to image b and back.

    Args:
        a, b: contrast-normalised images. (H, W) uint8
        points_a: pixels in a. (N, 2) float32
        guess: where the points are expected in b; at points_a if None. (N, 2)
        levels: pyramid levels above the finest; fewer where the guess is good.

    Returns:
        points_b: pixels in b. (N, 2) float32
        kept: tracks that end inside b and return to their start within ROUND_TRIP. (N,) bool
    """
    if len(points_a) == 0:
        return points_a.copy(), np.zeros(0, bool)
    start = (points_a if guess is None else guess).astype(np.float32)
    points_b, forward = _klt(a, b, points_a, start, levels)
    height, width = b.shape
    kept = forward & ((points_b >= 0) & (points_b <= (width - 1, height - 1))).all(axis=1)
    if kept.any():
        back, backward = _klt(b, a, points_b[kept], points_a[kept], levels)
        returns = np.linalg.norm(back - points_a[kept], axis=1) < ROUND_TRIP
        kept[kept] = backward & returns
    return points_b, kept


def _klt(
    a: np.ndarray, b: np.ndarray, points: np.ndarray, start: np.ndarray, levels: int
) -> tuple[np.ndarray, np.ndarray]:
    found, status, _ = cv2.calcOpticalFlowPyrLK(
        a,
        b,
        np.ascontiguousarray(points, np.float32).reshape(-1, 1, 2),
        np.array(start, np.float32).reshape(-1, 1, 2),
        winSize=WINDOW,
        maxLevel=levels,
        criteria=_CRITERIA,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    return found.reshape(-1, 2), status.reshape(-1) > 0
