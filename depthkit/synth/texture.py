# SPDX-License-Identifier: Apache-2.0
"""Solid textures: a colour for every point of an object, the same from wherever it is seen.

A texture is a sum of sinusoids and of two octaves of value noise, evaluated in the object's own
coordinates (metres). No wave is shorter than asked for, so that a picture of it can be sampled.
"""

from dataclasses import dataclass

import numpy as np

OCTAVES = 3.0  # between the shortest and the longest wave
CONTRAST = 0.14  # standard deviation of the waves' sum
NOISE = ((2.4, 0.16), (1.1, 0.09))  # cell size over the shortest wave, amplitude
LATTICE = 16  # the noise repeats after this many cells


@dataclass(frozen=True)
class Texture:
    """The numbers of one solid texture."""

    base: np.ndarray
    """Mean colour in [0, 1]. (3,) float32"""
    waves: np.ndarray
    """Wave vectors, radians per metre. (N, 3) float32"""
    phases: np.ndarray
    """Phases, radians. (N,) float32"""
    gains: np.ndarray
    """Amplitude of each wave in each colour. (N, 3) float32"""
    cell: float
    """The shortest wave, metres; noise cells are multiples of it."""
    lattice: np.ndarray
    """Random values at the corners of the noise cells, in [-1, 1]. (LATTICE**3, 3) float32"""


def make_texture(rng: np.random.Generator, shortest: float, waves: int = 14) -> Texture:
    """Draw a texture.

    Args:
        rng: source of all randomness.
        shortest: wavelength of the finest detail, metres.
        waves: number of sinusoids.
    """
    directions = rng.normal(size=(waves, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    octaves = rng.uniform(0, OCTAVES, size=(waves, 1))
    gains = (1 + rng.uniform(-0.8, 0.8, size=(waves, 3))) * 1.35**octaves
    gains *= CONTRAST / np.sqrt(0.5 * (gains**2).sum(axis=0))
    return Texture(
        base=rng.uniform(0.35, 0.65, size=3).astype(np.float32),
        waves=(2 * np.pi * directions / (shortest * 2**octaves)).astype(np.float32),
        phases=rng.uniform(0, 2 * np.pi, size=waves).astype(np.float32),
        gains=gains.astype(np.float32),
        cell=shortest,
        lattice=rng.uniform(-1, 1, size=(LATTICE**3, 3)).astype(np.float32),
    )


def colour(texture: Texture, points: np.ndarray) -> np.ndarray:
    """Evaluate a texture.

    Args:
        texture: the texture.
        points: object coordinates, metres. (N, 3) float32

    Returns:
        RGB in [0, 1]. (N, 3) float32
    """
    rgb = np.sin(points @ texture.waves.T + texture.phases) @ texture.gains
    for cells, amplitude in NOISE:
        rgb += amplitude * _value_noise(texture.lattice, points / np.float32(cells * texture.cell))
    rgb += texture.base
    return np.clip(rgb, 0.0, 1.0, out=rgb)


def _value_noise(lattice: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Blend the eight corners of each cell; the blend has no kink at the cell borders."""
    corner = np.floor(cells)
    f = cells - corner
    f = f * f * (3 - 2 * f)
    corner = corner.astype(np.int32)
    low, high = corner % LATTICE, (corner + 1) % LATTICE
    out = np.zeros_like(cells)
    for x, wx in ((low[:, 0], 1 - f[:, 0]), (high[:, 0], f[:, 0])):
        for y, wy in ((low[:, 1], 1 - f[:, 1]), (high[:, 1], f[:, 1])):
            row, weight = (x * LATTICE + y) * LATTICE, wx * wy
            out += (weight * (1 - f[:, 2]))[:, None] * lattice[row + low[:, 2]]
            out += (weight * f[:, 2])[:, None] * lattice[row + high[:, 2]]
    return out
