# SPDX-License-Identifier: Apache-2.0
"""What drawn figures are made of: convex polygons, strokes and ellipses, by their distance.

One function of the place, the signed distance to the outline, both paints a part (the coverage of
a pixel is half minus the distance, within 0 and 1) and says whether it covers a point. Places are
pixels (u, v), whole numbers at pixel centres, so a corner is painted exactly where it is listed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np

MARGIN = 2  # pixels around a part that its soft outline may reach


@dataclass(frozen=True)
class Polygon:
    """A convex polygon."""

    corners: np.ndarray
    """In order around it, pixels. (N, 2)"""
    tone: int = 0
    """Number of its colour among those of its figure."""

    @property
    def outline(self) -> np.ndarray:
        """Corners that its bounding box must hold. (N, 2)"""
        return self.corners

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Return the largest distance to a side's line, negative inside. (..., 2) -> (...)"""
        sides = np.roll(self.corners, -1, axis=0) - self.corners
        normals = np.stack([sides[:, 1], -sides[:, 0]], axis=1)
        normals /= np.linalg.norm(sides, axis=1, keepdims=True)
        middle = self.corners.mean(axis=0)
        normals *= np.sign(((self.corners - middle) * normals).sum(axis=1, keepdims=True))
        offsets = (normals * self.corners).sum(axis=1)
        each = (points @ normal - offset for normal, offset in zip(normals, offsets, strict=True))
        return reduce(np.maximum, each)


@dataclass(frozen=True)
class Stroke:
    """A straight line with square ends."""

    start: np.ndarray
    """Middle of its first end, pixels. (2,)"""
    end: np.ndarray
    """Middle of its other end, pixels. (2,)"""
    half_width: float
    """Pixels."""
    tone: int = 0
    """Number of its colour among those of its figure."""

    @property
    def outline(self) -> np.ndarray:
        """Corners that its bounding box must hold. (4, 2)"""
        ends = np.stack([self.start, self.end])
        return np.concatenate([ends - self.half_width, ends + self.half_width])

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Return the larger distance of along and across, negative inside. (..., 2) -> (...)"""
        length = float(np.linalg.norm(self.end - self.start))
        along = (self.end - self.start) / length
        across = np.array([-along[1], along[0]])
        from_middle = points - (self.start + self.end) / 2
        beside = np.abs(from_middle @ across) - self.half_width
        return np.maximum(beside, np.abs(from_middle @ along) - length / 2)


@dataclass(frozen=True)
class Ellipse:
    """An ellipse: an outline without corners."""

    centre: np.ndarray
    """Pixels. (2,)"""
    axes: np.ndarray
    """Half axes, pixels. (2,)"""
    angle: float
    """Direction of the first half axis, radians."""
    tone: int = 0
    """Number of its colour among those of its figure."""

    @property
    def outline(self) -> np.ndarray:
        """Corners that its bounding box must hold. (2, 2)"""
        reach = self.axes.max()
        return np.stack([self.centre - reach, self.centre + reach])

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Return the distance to first order, negative inside. (..., 2) -> (...)"""
        c, s = np.cos(self.angle), np.sin(self.angle)
        x = (points - self.centre) @ np.array([[c, -s], [s, c]]) / self.axes
        level = np.linalg.norm(x, axis=-1)
        slope = np.linalg.norm(x / self.axes, axis=-1)
        # At the centre both vanish; it is as deep inside as the smaller half axis.
        inside = np.full_like(level, -self.axes.min())
        return np.divide(level * (level - 1), slope, out=inside, where=slope > 1e-9)


Part = Polygon | Stroke | Ellipse


@dataclass(frozen=True)
class Figure:
    """One drawn thing, its parts painted in order."""

    parts: tuple[Part, ...]
    points: np.ndarray
    """Its corners, junctions and ends, pixels (u, v). (P, 2)"""
    edges: np.ndarray
    """Straight outlines and lines, where others may cross it: both ends, pixels. (S, 2, 2)"""

    @property
    def tones(self) -> int:
        """Number of colours it needs."""
        return 1 + max(part.tone for part in self.parts)

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Return the distance to its nearest part, negative where it covers. (P, 2) -> (P,)"""
        return reduce(np.minimum, (part.distance(points) for part in self.parts))


def coverage(part: Part, size: tuple[int, int]) -> tuple[tuple[slice, slice], np.ndarray]:
    """Return which share of each pixel a part covers.

    Args:
        part: what is painted.
        size: (H, W) of the picture, pixels.

    Returns:
        window: rows and columns that it may touch; empty outside the picture.
        share: coverage there, in [0, 1]. (h, w)
    """
    last = np.array(size[::-1])
    low = np.clip(np.floor(part.outline.min(axis=0)) - MARGIN, 0, last).astype(int)
    high = np.clip(np.ceil(part.outline.max(axis=0)) + MARGIN + 1, low, last).astype(int)
    v, u = np.mgrid[low[1] : high[1], low[0] : high[0]]
    share = np.clip(0.5 - part.distance(np.stack([u, v], axis=-1).astype(float)), 0, 1)
    return (slice(low[1], high[1]), slice(low[0], high[0])), share


def paint(picture: np.ndarray, part: Part, colour: np.ndarray) -> None:
    """Blend a part into a picture, in place.

    Args:
        picture: RGB in [0, 1]. (H, W, 3)
        part: what is painted.
        colour: (3,)
    """
    window, share = coverage(part, picture.shape[:2])
    picture[window] += share[..., None] * (colour - picture[window])


def closed(corners: np.ndarray) -> np.ndarray:
    """Return the sides of a polygon. (N, 2) -> (N, 2, 2)"""
    return np.stack([corners, np.roll(corners, -1, axis=0)], axis=1)


def crossings(first: np.ndarray, second: np.ndarray, *, least_angle: float) -> np.ndarray:
    """Return where segments of one set cross those of another.

    Args:
        first: both ends of each, pixels. (M, 2, 2)
        second: the same. (N, 2, 2)
        least_angle: radians; segments that are nearer to parallel have no well-defined crossing.

    Returns:
        One row for each pair of segments, NaN where they do not cross. (M, N, 2)
    """
    a, b = first[:, None, 0], second[None, :, 0]
    p, q = first[:, None, 1] - a, second[None, :, 1] - b
    sine = _cross(p, q)
    lengths = np.linalg.norm(p, axis=-1) * np.linalg.norm(q, axis=-1)
    steep = np.abs(sine) >= np.sin(least_angle) * lengths
    safe = np.where(steep & (sine != 0), sine, 1.0)
    t, s = _cross(b - a, q) / safe, _cross(b - a, p) / safe
    meets = steep & (sine != 0) & (t >= 0) & (t <= 1) & (s >= 0) & (s <= 1)
    return np.where(meets[..., None], a + t[..., None] * p, np.nan)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def stacked(arrays: Iterable[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Join arrays along their first axis, none of them too. (N, *shape)"""
    return np.concatenate([np.zeros((0, *shape)), *arrays])
