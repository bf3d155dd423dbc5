# SPDX-License-Identifier: Apache-2.0
"""Where a frame is picture at all: the round view of an endoscope, the bars of a letterbox.

What counts is the brightest that each pixel has been over some frames. A border is taken for one
only where it is black, its edge is sharp and its shape is that of optics or of a film: bars in
pairs, or a convex view that leaves all four corners dark. A night scene has none of this: when in
doubt, all of the frame is picture.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

LIT = 24
"""Grey levels of the brightest channel; a black border with its compression noise stays below."""
BLACK = 18
"""Grey levels that a border reaches at most."""
FLAT = 6
"""Grey levels by which a border may vary near its edge; a dark sky fades."""
STEP = 10
"""Grey levels by which the picture is brighter than the border at their common edge, at least."""
STEPS = (0.008, 0.02)
"""Distances from the edge at which both sides are compared, as shares of the longer side."""
SHARP_SHARE = 0.7
"""Smallest share of the edge that must be sharp: the rest may be dark in every sampled frame."""
OVERLAY_SHARE = 0.1
"""Largest share of the border that may be bright: letters and logos lie in it."""
LEAST_PICTURE, MOST_PICTURE = 0.05, 0.995
"""Shares of the frame between which a picture with a border lies."""
CONVEX = 0.93
"""Share of its convex hull that a round view fills, at least."""
_OPEN = np.ones((5, 5), np.uint8)
_RIM = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class Border:
    """A picture with black round it."""

    mask: np.ndarray
    """The pixel is picture. (H, W) bool"""
    kind: str
    """round view | black bars"""

    @property
    def share(self) -> float:
        """Share of the frame that is picture."""
        return float(self.mask.mean())

    @property
    def window(self) -> tuple[int, int, int, int]:
        """Top, left, height, width of the smallest window that holds all of the picture."""
        x, y, width, height = cv2.boundingRect(self.mask.astype(np.uint8))
        return y, x, height, width

    def words(self) -> str:
        """Say what was found."""
        height, width = self.mask.shape
        top, left, h, w = self.window
        return (
            f"{self.kind} found: the picture is {100 * self.share:.1f} % of the {width}x{height} "
            f"frames (within top {top}, left {left}, {w}x{h})"
        )


def find_border(frames: Iterable[np.ndarray]) -> Border | None:
    """Look for a black border in frames of one camera.

    Args:
        frames: some of them; those of another size than the first are left out. (H, W, 3) uint8

    Returns:
        None where all of the frame is picture, or where that cannot be decided.
    """
    brightest = _brightest(frames)
    if brightest is None or min(brightest.shape) < 32:
        return None
    picture = _largest(cv2.morphologyEx((brightest >= LIT).astype(np.uint8), cv2.MORPH_OPEN, _OPEN))
    if picture is None:
        return None
    for kind, mask in (("round view", _round(picture)), ("black bars", _bars(picture))):
        if mask is not None and _is_border(brightest, mask):
            return Border(cv2.erode(mask, _RIM, borderValue=1) > 0, kind)
    return None


def _brightest(frames: Iterable[np.ndarray]) -> np.ndarray | None:
    """Return the brightest channel of each pixel over all frames, single bright pixels removed."""
    found: np.ndarray | None = None
    for rgb in frames:
        red, green, blue = cv2.split(rgb)
        bright = np.asarray(cv2.max(cv2.max(red, green), blue))
        if found is None:
            found = bright
        elif bright.shape == found.shape:
            np.maximum(found, bright, out=found)
    return None if found is None else cv2.medianBlur(found, 3)


def _largest(lit: np.ndarray) -> np.ndarray | None:
    """Return the largest lit region; None where nothing is lit. (H, W) uint8"""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(lit, connectivity=8)
    if count == 1:
        return None
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    return (labels == largest).astype(np.uint8)


def _bars(picture: np.ndarray) -> np.ndarray | None:
    """Return the rectangle round a picture if what is left out are bars in pairs. (H, W) uint8"""
    height, width = picture.shape
    x, y, w, h = cv2.boundingRect(picture)
    pairs = ((y, height - y - h), (x, width - x - w))
    if not any(min(pair) >= 2 for pair in pairs):
        return None
    if any(abs(a - b) > max(4, 0.25 * max(a, b)) for a, b in pairs):
        return None
    mask = np.zeros_like(picture)
    mask[y : y + h, x : x + w] = 1
    return mask


def _round(picture: np.ndarray) -> np.ndarray | None:
    """Return the convex hull of a picture if its corners are cut, and the frame's. (H, W) uint8"""
    contours, _ = cv2.findContours(picture, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(contours, key=cv2.contourArea)
    hull = cv2.convexHull(outline)
    if cv2.contourArea(outline) < CONVEX * cv2.contourArea(hull):
        return None
    mask = cv2.fillConvexPoly(np.zeros_like(picture), hull, 1)
    x, y, w, h = cv2.boundingRect(mask)
    for part in (mask, mask[y : y + h, x : x + w]):
        corners = part[:3, :3], part[:3, -3:], part[-3:, :3], part[-3:, -3:]
        if any(corner[1, 1] for corner in corners):
            return None
    return mask


def _is_border(brightest: np.ndarray, mask: np.ndarray) -> bool:
    """Say whether what lies outside a mask is black, and its edge sharp."""
    if not LEAST_PICTURE <= mask.mean() <= MOST_PICTURE:
        return False
    for share in STEPS:  # the edge of a picture that was enlarged is not sharp in one pixel
        step = max(2, round(share * max(mask.shape)))
        outside = brightest[cv2.dilate(mask, _RIM, iterations=step) == 0]
        if len(outside) and (outside > BLACK).mean() > OVERLAY_SHARE:
            return False
        if _is_sharp(brightest, mask, step):
            return True
    return False


def _is_sharp(brightest: np.ndarray, mask: np.ndarray, step: int) -> bool:
    """Say whether most of an edge goes from flat black to the picture within a few steps."""
    far_out, out, near, deep = _across(brightest, mask, step)
    if len(out) < 20:
        return False
    is_black = (out <= BLACK) & (np.abs(out - far_out) <= FLAT)
    is_step = (near - out >= STEP) & (near - out >= 1.5 * (deep - near))
    return bool((is_black & is_step).mean() >= SHARP_SHARE)


def _across(brightest: np.ndarray, mask: np.ndarray, step: int) -> np.ndarray:
    """Sample across the edge of a mask, at 3 and 1 steps outside, 1 and 3 inside. (4, N)"""
    height, width = mask.shape
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    edge = max(contours, key=len)[:, 0].astype(np.float64)  # (N, 2), u and v
    inwards = _inwards(mask, edge, step)
    places = edge + np.multiply.outer([-3.0, -1.0, 1.0, 3.0], step * inwards)  # (4, N, 2)
    u, v = np.rint(places).astype(int).transpose(2, 0, 1)
    # Where the frame itself cuts the view there is no edge to look at.
    rim = ((edge > 1) & (edge < (width - 2, height - 2))).all(axis=1)
    fits = rim & ((u[1:] >= 0) & (u[1:] < width) & (v[1:] >= 0) & (v[1:] < height)).all(axis=0)
    u, v = np.clip(u[:, fits], 0, width - 1), np.clip(v[:, fits], 0, height - 1)
    return brightest[v, u].astype(int)


def _inwards(mask: np.ndarray, edge: np.ndarray, step: int) -> np.ndarray:
    """Return the unit normals of an edge, towards the picture: the slope of the blurred mask."""
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 2.0 * step)
    u, v = edge.astype(int).T
    slope = np.stack(
        [cv2.Sobel(soft, cv2.CV_32F, 1, 0)[v, u], cv2.Sobel(soft, cv2.CV_32F, 0, 1)[v, u]], axis=1
    )
    return slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-9)
