# SPDX-License-Identifier: Apache-2.0
"""The centreline of a colon and the radius of the plain tube around it. Lengths are metres."""

from dataclasses import dataclass

import numpy as np

from depthkit.synth.path import turns

MEAN_RADIUS = (0.0165, 0.0258)  # range of the mean radius of the plain tube
RADIUS_CHANGE = 0.16  # along it, over the mean: 1.4 to 3 cm in all
TIGHTEST_BEND = 0.55  # largest radius of the tube over the smallest radius of a bend
STEEPEST = 1.0  # radians between the centreline and z: it never turns back upon itself
STEP = 0.0005  # between the stored points of the centreline


@dataclass(frozen=True)
class Waves:
    """A smooth random function: sinusoids of unit total amplitude."""

    lengths: np.ndarray
    """Wavelengths. (K,)"""
    phases: np.ndarray
    """Phases, radians. (K,)"""
    gains: np.ndarray
    """Amplitudes; absolute values sum to 1. (K,)"""

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the value, in [-1, 1], at each place. (...,) -> (...,)"""
        angle = 2 * np.pi * np.asarray(x)[..., None] / self.lengths + self.phases
        return np.sin(angle) @ self.gains


def draw_waves(rng: np.random.Generator, shortest: float, longest: float, count: int = 3) -> Waves:
    """Draw a smooth random function with wavelengths in a range."""
    gains = rng.uniform(0.5, 1.0, count)
    lengths = np.geomspace(shortest, longest, count) * rng.uniform(0.9, 1.1, count)
    return Waves(lengths, rng.uniform(0, 2 * np.pi, count), gains / gains.sum())


@dataclass(frozen=True)
class Tube:
    """A centreline and the radius of the plain tube around it, both of the arc length s."""

    start: float
    """Arc length of the first point."""
    points: np.ndarray
    """Points of the centreline, STEP apart. (P, 3)"""
    angles: np.ndarray
    """Yaw and pitch of its direction, radians. (P, 2)"""
    radii: np.ndarray
    """Radius of the plain tube. (P,)"""

    @property
    def end(self) -> float:
        """Arc length of the last point."""
        return self.start + STEP * (len(self.points) - 1)

    def centre(self, s: np.ndarray) -> np.ndarray:
        """Return points of the centreline. (...,) -> (..., 3)"""
        return self._interpolate(self.points, s)

    def frame(self, s: np.ndarray) -> np.ndarray:
        """Return frames whose z runs along the centreline, as columns. (...,) -> (..., 3, 3)"""
        yaw, pitch = np.moveaxis(self._interpolate(self.angles, s), -1, 0)
        return turns(yaw, pitch, np.zeros_like(yaw))

    def radius(self, s: np.ndarray) -> np.ndarray:
        """Return the radius of the plain tube. (...,) -> (...,)"""
        return self._interpolate(self.radii[:, None], s)[..., 0]

    def _interpolate(self, table: np.ndarray, s: np.ndarray) -> np.ndarray:
        x = np.clip((np.asarray(s) - self.start) / STEP, 0, len(table) - 1 - 1e-9)
        i = x.astype(int)
        part = (x - i)[..., None]
        return (1 - part) * table[i] + part * table[i + 1]


def draw_tube(rng: np.random.Generator, start: float, end: float) -> Tube:
    """Draw a tube whose wall never meets itself: bends are wider than it, and it never turns back.

    Args:
        rng: source of all randomness.
        start: arc length where it begins.
        end: arc length where it ends.
    """
    s = start + STEP * np.arange(int(np.ceil((end - start) / STEP)) + 1)
    radii = rng.uniform(*MEAN_RADIUS) * (1 + RADIUS_CHANGE * draw_waves(rng, 0.07, 0.2)(s))
    angles = np.stack([draw_waves(rng, 0.2, 0.7)(s), draw_waves(rng, 0.2, 0.7)(s)], axis=1)
    bend = np.linalg.norm(np.gradient(angles, STEP, axis=0), axis=1).max()
    strength = rng.uniform(0.05, 0.8) * TIGHTEST_BEND / radii.max()
    angles *= min(strength / bend, STEEPEST / np.linalg.norm(angles, axis=1).max())
    directions = turns(angles[:, 0], angles[:, 1], np.zeros(len(s)))[:, :, 2]
    points = np.cumsum(STEP * directions, axis=0)
    return Tube(start, points - points[0], angles, radii)
