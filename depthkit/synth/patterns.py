# SPDX-License-Identifier: Apache-2.0
"""Tileable random pictures for non-photorealistic worlds: noise, checks, stripes, bricks, dots.

Their look tells nothing about distance: colours, detail and kind are drawn at random.
"""

from functools import cache

import numpy as np

OCTAVES = 5


@cache
def texture_pool(seed: int, count: int, size: int) -> np.ndarray:
    """Draw a pool of textures once for this process.

    Args:
        seed: same seed, same pool.
        count: number of textures.
        size: pixels a side, a power of two.

    Returns:
        (count, size, size, 3) uint8
    """
    rng = np.random.default_rng((seed, 77))
    kinds = (_noise, _checks, _stripes, _bricks, _dots)
    return np.stack([_finish(rng, kinds[i % len(kinds)](rng, size), size) for i in range(count)])


def fractal_noise(
    rng: np.random.Generator, size: int, *, coarsest: int = 4, roughness: float = 0.6
) -> np.ndarray:
    """Sum octaves of smooth periodic noise.

    Args:
        rng: source of all randomness.
        size: pixels a side, a power of two.
        coarsest: cells a side of the first octave, a power of two.
        roughness: amplitude of each octave over the one before.

    Returns:
        Zero mean, standard deviation 1. (size, size) float32
    """
    total, cells, gain = np.zeros((size, size), np.float32), coarsest, 1.0
    for _ in range(OCTAVES):
        if cells > size // 2:
            break
        total += np.float32(gain) * _enlarge(rng.normal(size=(cells, cells)), size)
        cells, gain = 2 * cells, gain * roughness
    return (total - total.mean()) / total.std()


def _enlarge(lattice: np.ndarray, size: int) -> np.ndarray:
    """Blend lattice values smoothly and periodically over size x size pixels."""
    cells = len(lattice)
    place = np.arange(size) * cells / size
    low = place.astype(int)
    f = place - low
    f = f * f * (3 - 2 * f)
    rows = lattice[low] * (1 - f)[:, None] + lattice[(low + 1) % cells] * f[:, None]
    blended = rows[:, low] * (1 - f) + rows[:, (low + 1) % cells] * f
    return blended.astype(np.float32)


def _noise(rng: np.random.Generator, size: int) -> np.ndarray:
    coarsest = int(2 ** rng.integers(1, 5))
    field = fractal_noise(rng, size, coarsest=coarsest, roughness=rng.uniform(0.4, 0.9))
    return 1 / (1 + np.exp(-rng.uniform(0.8, 3) * field))


def _checks(rng: np.random.Generator, size: int) -> np.ndarray:
    n, m = 2 * rng.integers(1, 6, size=2)
    v, u = np.mgrid[:size, :size] / size
    return ((np.floor(u * n) + np.floor(v * m)) % 2).astype(np.float32)


def _stripes(rng: np.random.Generator, size: int) -> np.ndarray:
    n, m = rng.integers(0, 8, size=2)
    v, u = np.mgrid[:size, :size] / size
    wave = np.sin(2 * np.pi * (u * n + v * max(m, 1 if n == 0 else 0)))
    return np.clip(0.5 + wave * rng.uniform(0.5, 4), 0, 1)


def _bricks(rng: np.random.Generator, size: int) -> np.ndarray:
    rows, columns = 2 * int(rng.integers(2, 6)), int(rng.integers(2, 6))
    v, u = np.mgrid[:size, :size] / size
    row = np.floor(v * rows).astype(int)
    across = u * columns + 0.5 * (row % 2)
    brick = np.floor(across).astype(int) % columns
    tone = rng.uniform(0.3, 1, size=(rows, columns))[row, brick]
    joint = (across % 1 < 0.08) | ((v * rows) % 1 < 0.14)
    return np.where(joint, 0.0, tone)


def _dots(rng: np.random.Generator, size: int) -> np.ndarray:
    v, u = np.mgrid[:size, :size] / size
    out = np.zeros((size, size))
    for _ in range(int(rng.integers(6, 30))):
        centre, radius = rng.uniform(size=2), rng.uniform(0.02, 0.15)
        du, dv = (np.abs(a - c) for a, c in ((u, centre[0]), (v, centre[1])))
        distance = np.hypot(np.minimum(du, 1 - du), np.minimum(dv, 1 - dv))
        out = np.where(distance < radius, rng.uniform(0.3, 1), out)
    return out


def _finish(rng: np.random.Generator, pattern: np.ndarray, size: int) -> np.ndarray:
    """Colour a pattern in [0, 1] and roughen it, so that every surface can be matched."""
    low, high = rng.uniform(0, 1, size=(2, 3))
    grain = fractal_noise(rng, size, coarsest=int(2 ** rng.integers(2, 5)), roughness=0.8)
    colour = low + (high - low) * pattern[..., None]
    colour = colour + rng.uniform(0.04, 0.14) * grain[..., None]
    return (np.clip(colour, 0, 1) * 255).astype(np.uint8)
