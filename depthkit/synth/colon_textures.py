# SPDX-License-Identifier: Apache-2.0
"""Tileable pictures of mucosa: tissue, vessels, polyps, debris.

A pool of grey fields (patches, grain, vessels) is drawn once a process; a scene picks some, shifts
and turns them and gives them colours of its own, so no two scenes share a wall.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

SIZE = 512  # texels of a side
POOL = 8  # fields of each kind
POOL_SEED = 2023
LONGEST_VESSEL = 0.9  # length of a trunk, as a share of the side
THICKEST = 4.0  # trunk, texels


@dataclass(frozen=True)
class Fields:
    """Grey pictures that tile. (POOL, SIZE, SIZE) float32 each"""

    patches: np.ndarray
    """Broad clouds, mean 0, standard deviation 1."""
    grain: np.ndarray
    """Fine pits and grooves, mean 0, standard deviation 1."""
    vessels: np.ndarray
    """Branching vessels, 0 beside them, 1 in the middle of a thick one."""


@cache
def fields() -> Fields:
    """Return the pool of this process."""
    rng = np.random.default_rng(POOL_SEED)
    return Fields(
        np.stack([_noise(rng, 2.0, 40.0, slope=1.6) for _ in range(POOL)]),
        np.stack([_noise(rng, 9.0, 80.0, slope=1.3) for _ in range(POOL)]),
        np.stack([_draw_vessels(rng) for _ in range(POOL)]),
    )


def plain(colour: np.ndarray) -> np.ndarray:
    """Return a texture of one colour in [0, 1]. (8, 8, 3) uint8"""
    return np.full((8, 8, 3), np.rint(255 * colour), dtype=np.uint8)


def draw_tint(rng: np.random.Generator) -> np.ndarray:
    """Draw a colour of mucosa, from pale orange to deep pink, in [0, 1]. (3,)"""
    red = rng.uniform(0.74, 0.92)
    green = red * rng.uniform(0.52, 0.72)
    return np.array([red, green, green * rng.uniform(0.72, 1.0)])


def tissue(rng: np.random.Generator, tint: np.ndarray, vessels: float) -> np.ndarray:
    """Paint a wall.

    Args:
        rng: source of all randomness.
        tint: mean colour in [0, 1]. (3,)
        vessels: strength of the vessels, 0 for none.

    Returns:
        Texture. (SIZE, SIZE, 3) uint8
    """
    pool = fields()
    patches, grain = _pick(rng, pool.patches), _pick(rng, pool.grain)
    level = 1 + rng.uniform(0.01, 0.03) * patches + rng.uniform(0.02, 0.05) * grain
    redness = rng.uniform(0.015, 0.045) * _pick(rng, pool.patches)
    picture = tint.astype(np.float32) * level[..., None]
    picture[..., 1:] *= (1 - redness)[..., None]
    if vessels:
        dark = np.array([0.70, 0.36, 0.38], np.float32) + rng.uniform(-0.06, 0.06, 3)
        alpha = vessels * _pick(rng, pool.vessels)[..., None]
        picture *= 1 - alpha * (1 - dark.astype(np.float32))
    return _as_bytes(picture)


def lump(rng: np.random.Generator, tint: np.ndarray) -> np.ndarray:
    """Paint a polyp: grainier than the wall, redder or paler. (SIZE, SIZE, 3) uint8"""
    pool = fields()
    own = tint * np.array([1.0, *rng.uniform(0.8, 1.08) * rng.uniform(0.96, 1.04, 2)])
    level = 1 + 0.05 * _pick(rng, pool.patches) + rng.uniform(0.03, 0.08) * _pick(rng, pool.grain)
    picture = own.astype(np.float32) * level[..., None]
    picture[..., 1:] *= 1 - 0.3 * rng.random() * _pick(rng, pool.vessels)[..., None]
    return _as_bytes(picture)


def stain(rng: np.random.Generator, colour: np.ndarray) -> np.ndarray:
    """Paint debris or foam: one colour, mottled. (SIZE, SIZE, 3) uint8"""
    pool = fields()
    level = 1 + 0.12 * _pick(rng, pool.patches) + 0.08 * _pick(rng, pool.grain)
    return _as_bytes(colour.astype(np.float32) * level[..., None])


def _as_bytes(picture: np.ndarray) -> np.ndarray:
    return np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8)


def _pick(rng: np.random.Generator, pool: np.ndarray) -> np.ndarray:
    """Take a field, shifted, mirrored and turned at random. (SIZE, SIZE)"""
    field = pool[rng.integers(len(pool))]
    field = np.roll(field, rng.integers(SIZE, size=2), axis=(0, 1))
    if rng.random() < 0.5:
        field = field.T
    return field[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]


def _noise(rng: np.random.Generator, low: float, high: float, *, slope: float) -> np.ndarray:
    """Filter white noise to a band of cycles a side; amplitudes fall as frequency ** -slope."""
    y, x = np.fft.fftfreq(SIZE, 1 / SIZE)[:, None], np.fft.rfftfreq(SIZE, 1 / SIZE)
    frequency = np.hypot(x, y)
    gain = np.maximum(frequency, low) ** -slope * np.exp(-((frequency / high) ** 2))
    gain *= 1 - np.exp(-((frequency / low) ** 2))
    field = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(SIZE, SIZE))) * gain, s=(SIZE, SIZE))
    return (np.clip(field / field.std(), -3, 3)).astype(np.float32)


def _draw_vessels(rng: np.random.Generator) -> np.ndarray:
    """Draw trees of vessels that wander, branch and thin out, and fold them into one tile."""
    canvas = np.zeros((3 * SIZE, 3 * SIZE), np.uint8)
    for _ in range(rng.integers(3, 7)):
        start = SIZE + rng.uniform(0, SIZE, 2)
        width = THICKEST * rng.uniform(0.5, 1.0)
        _grow(rng, canvas, start, rng.uniform(0, 2 * np.pi), width, LONGEST_VESSEL * SIZE)
    tile = canvas.reshape(3, SIZE, 3, SIZE).max(axis=(0, 2)).astype(np.float32) / 255
    wide = cv2.copyMakeBorder(tile, 8, 8, 8, 8, cv2.BORDER_WRAP)
    return cv2.GaussianBlur(wide, (0, 0), 0.9)[8:-8, 8:-8]


def _grow(
    rng: np.random.Generator,
    canvas: np.ndarray,
    origin: np.ndarray,
    heading: float,
    width: float,
    length: float,
) -> None:
    """Draw a vessel and its branches; both get thinner and shorter until nothing is left."""
    stride = 7.0  # texels
    count = int(length * rng.uniform(0.6, 1.0) / stride)
    if width < 0.7 or count < 3:
        return
    turns = np.cumsum(rng.normal(0, 0.17, count)) + heading
    points = origin + stride * np.cumsum(np.stack([np.cos(turns), np.sin(turns)], axis=1), axis=0)
    points = np.concatenate([origin[None], points])
    widths = width * np.linspace(1.0, 0.6, count)
    for a, b, w in zip(points[:-1], points[1:], widths, strict=True):
        # cv2 draws whole widths: what is thinner than two texels is drawn fainter.
        start, end = (np.rint(16 * p).astype(int).tolist() for p in (a, b))
        shade = int(255 * min(1.0, 0.35 + 0.22 * w))
        cv2.line(canvas, start, end, shade, max(1, round(w)), cv2.LINE_AA, 4)
    for i in np.flatnonzero(rng.random(count) < 0.12):
        side = rng.choice([-1, 1]) * rng.uniform(0.4, 1.1)
        _grow(rng, canvas, points[i + 1], turns[i] + side, 0.62 * widths[i], 0.55 * length)
