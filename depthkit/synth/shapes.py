# SPDX-License-Identifier: Apache-2.0
"""Pictures of drawn figures whose corners, junctions and line ends are known to a fraction of one
pixel: what a detector of keypoints begins with (Synthetic Shapes of [DeTone 2018], own design).

Every frame is a picture of its own. `points/%06d.txt` lists, one `u v` a line, what is visible of
it: inside the picture, not covered by a figure drawn later, and where outlines cross, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from depthkit.camera import Camera
from depthkit.data.sequence import SequenceWriter
from depthkit.errors import ConfigError
from depthkit.synth.figure_parts import Ellipse, Figure, coverage, crossings, paint, stacked
from depthkit.synth.figures import draw_figure
from depthkit.synth.patterns import fractal_noise

LUMA = np.array([0.299, 0.587, 0.114])
COVERED = 1.5  # pixels around a figure within which earlier points are taken as spoilt
APART = 3.0  # pixels between two points that are told apart
LEAST_CROSSING = np.radians(20)  # angle between lines whose crossing counts
SECONDS = 1.0  # between frames: the pictures have nothing to do with each other


@dataclass(frozen=True)
class ShapesOptions:
    """What may be drawn in a picture."""

    figures: tuple[int, int] = (1, 8)
    """Fewest and most figures."""
    radius: tuple[float, float] = (0.08, 0.45)
    """Smallest and largest figure, share of the picture's shorter side from its middle."""
    contrast: float = 0.15
    """Least difference in brightness from what a figure covers, share of the range."""
    clutter: float = 0.08
    """Most that the background varies, standard deviation as a share of the range."""
    blur: float = 1.2
    """Strongest blur, standard deviation in pixels."""
    noise: float = 0.05
    """Strongest sensor noise, standard deviation as a share of the range."""
    empty: float = 0.05
    """Share of pictures that show noise alone and have no points."""

    def __post_init__(self) -> None:
        if not 1 <= self.figures[0] <= self.figures[1] <= 100:
            raise ConfigError(f"shapes: figures: 1 <= low <= high <= 100, got {self.figures}")
        if not 0 < self.radius[0] <= self.radius[1] <= 1:
            raise ConfigError(f"shapes: radius: 0 < low <= high <= 1, got {self.radius}")
        for name, most in (("contrast", 0.4), ("clutter", 0.5), ("blur", 5.0), ("noise", 0.5)):
            if not 0 <= getattr(self, name) <= most:
                raise ConfigError(f"shapes: {name}: 0 to {most}, got {getattr(self, name)}")
        if not 0 <= self.empty <= 1:
            raise ConfigError(f"shapes: empty: 0 to 1, got {self.empty}")


class Drawing(NamedTuple):
    """A picture and what is known of it."""

    rgb: np.ndarray
    """(H, W, 3) uint8"""
    points: np.ndarray
    """Visible corners, junctions and ends, pixels (u, v). (P, 2)"""


def draw_picture(
    options: ShapesOptions, rng: np.random.Generator, size: tuple[int, int]
) -> Drawing:
    """Draw one picture.

    Args:
        options: what may happen.
        rng: source of all randomness.
        size: (H, W), pixels.
    """
    if rng.random() < options.empty:
        return Drawing(_camera(rng, _noise_alone(rng, size), options), np.zeros((0, 2)))
    # 1. Where figures stand, the later ones in front.
    picture = _background(rng, size, options.clutter)
    count = int(rng.integers(options.figures[0], options.figures[1], endpoint=True))
    figures = [_place(rng, size, options.radius) for _ in range(count)]
    # 2. Their looks.
    for figure in figures:
        colours = _colours(rng, picture, figure, options.contrast)
        for part in figure.parts:
            paint(picture, part, colours[part.tone])
    # 3. What stays visible of their points.
    points = visible_points(figures, size)
    return Drawing(_camera(rng, picture, options), points)


def visible_points(figures: list[Figure], size: tuple[int, int]) -> np.ndarray:
    """Return the points and crossings of figures that later ones do not cover.

    Args:
        figures: in the order in which they are painted.
        size: (H, W) of the picture, pixels.

    Returns:
        Pixels (u, v), at least `APART` from each other. (P, 2)
    """
    shown, height, width = np.zeros((0, 2)), *size
    for k, figure in enumerate(figures):
        shown = shown[figure.distance(shown) > COVERED]
        shown = _merge(shown, figure.points)
        shown = _merge(shown, _junctions(figures[: k + 1]))
    inside = (shown >= 0).all(axis=1) & (shown <= [width - 1, height - 1]).all(axis=1)
    return shown[inside]


def _junctions(figures: list[Figure]) -> np.ndarray:
    """Return where outlines of the last figure cross those of the others that are seen. (J, 2)"""
    found, last = list[np.ndarray](), figures[-1]
    for j, other in enumerate(figures[:-1]):
        places = crossings(other.edges, last.edges, least_angle=LEAST_CROSSING).reshape(-1, 2)
        places = places[np.isfinite(places).all(axis=1)]
        for between in figures[j + 1 : -1]:
            places = places[between.distance(places) > COVERED]
        found.append(places)
    return stacked(found, (2,))


def _merge(points: np.ndarray, more: np.ndarray) -> np.ndarray:
    """Append points that lie apart from all that are there."""
    for point in more:
        if not len(points) or np.linalg.norm(points - point, axis=1).min() >= APART:
            points = np.concatenate([points, point[None]])
    return points


def _place(rng: np.random.Generator, size: tuple[int, int], radius: tuple[float, float]) -> Figure:
    """Draw a figure somewhere in the picture; small ones are as frequent as large ones."""
    share = float(np.exp(rng.uniform(*np.log(radius))))
    centre = rng.uniform(0, 1, 2) * (np.array(size[::-1]) - 1)
    return draw_figure(rng, centre, max(share * min(size), 10.0))


# --- looks ---------------------------------------------------------------------------------------


def _colours(
    rng: np.random.Generator, picture: np.ndarray, figure: Figure, contrast: float
) -> list[np.ndarray]:
    """Draw the colours of a figure, each apart from what it covers and from the others."""
    window, share = coverage(figure.parts[0], picture.shape[:2])
    under = (picture[window] @ LUMA)[share > 0.5]
    levels = list(np.quantile(under, (0.1, 0.5, 0.9))) if under.size else [0.5]
    colours = list[np.ndarray]()
    for _ in range(figure.tones):
        level = _level_apart(rng, levels, contrast)
        levels.append(level)
        tint = rng.uniform(-0.15, 0.15, 3)
        colours.append(np.clip(level + tint - tint @ LUMA, 0, 1))
    return colours


def _level_apart(rng: np.random.Generator, levels: list[float], contrast: float) -> float:
    """Draw a brightness at least `contrast` from all given ones; the farthest where none is."""
    drawn = rng.uniform(0.03, 0.97, 30)
    gap = np.abs(drawn[:, None] - np.array(levels)).min(axis=1)
    good = np.flatnonzero(gap >= contrast)
    return float(drawn[good[0] if len(good) else gap.argmax()])


def _background(rng: np.random.Generator, size: tuple[int, int], clutter: float) -> np.ndarray:
    """Paint a gradient, soft blobs and smooth noise: nothing that has a corner. (H, W, 3)"""
    height, width = size
    v, u = np.mgrid[:height, :width] / max(size)
    angle = rng.uniform(0, 2 * np.pi)
    across = np.cos(angle) * (u - 0.5) + np.sin(angle) * (v - 0.5)
    ends = rng.uniform(0.1, 0.9) + rng.uniform(-0.25, 0.25, (2, 3))
    picture = ends[0] + (across[..., None] + 0.5) * (ends[1] - ends[0])
    for _ in range(int(rng.integers(0, 5))):
        reach = rng.uniform(0.1, 0.5) * min(size)
        blob = Ellipse(rng.uniform(0, 1, 2) * size[::-1], np.array([reach, reach / 2]), angle)
        paint(picture, blob, rng.uniform(0, 1, 3))
    picture = cv2.GaussianBlur(picture, (0, 0), 0.06 * min(size))
    side = 2 ** int(np.ceil(np.log2(max(size))))
    coarsest = int(2 ** rng.integers(1, 5))
    noise = fractal_noise(rng, side, coarsest=coarsest, roughness=0.5)[:height, :width]
    return np.clip(picture + rng.uniform(0, clutter) * noise[..., None], 0, 1)


def _noise_alone(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Paint grey noise of a random grain. (H, W, 3)"""
    fine = rng.normal(size=size)
    noise = cv2.GaussianBlur(fine, (0, 0), rng.uniform(0.3, 4.0))
    spread = rng.uniform(0.03, 0.2) / noise.std()
    grey = rng.uniform(0.3, 0.7) + spread * noise
    return np.clip(np.repeat(grey[..., None], 3, axis=2), 0, 1)


def _camera(rng: np.random.Generator, picture: np.ndarray, options: ShapesOptions) -> np.ndarray:
    """Blur a picture as a lens does and add a sensor's noise. (H, W, 3) uint8"""
    blur, noise = rng.uniform(0, options.blur), rng.uniform(0, options.noise)
    if blur > 0.2:
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
    picture = picture + noise * rng.normal(size=picture.shape)
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


# --- files ---------------------------------------------------------------------------------------


def write_shapes(
    path: Path,
    options: ShapesOptions,
    seed: int,
    *,
    frames: int,
    size: tuple[int, int],
    source: Mapping[str, Any],
) -> None:
    """Write a sequence folder of independent pictures with their points.

    Args:
        path: the folder; it must not exist.
        options: what may be drawn.
        seed: same seed, same pictures.
        frames: how many.
        size: (H, W), pixels.
        source: record of the origin for camera.yaml.
    """
    height, width = size
    # No camera took them: a normal lens is written, because the folder has a place for one.
    camera = Camera(width, height, width, width, (width - 1) / 2, (height - 1) / 2)
    with SequenceWriter(path, camera, depth_kind="none", source=source, ext="png") as writer:
        for i in range(frames):
            drawn = draw_picture(options, np.random.default_rng((seed, 31, i)), size)
            writer.add_frame(drawn.rgb, SECONDS * i, points=drawn.points)
