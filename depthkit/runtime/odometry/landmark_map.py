# SPDX-License-Identifier: Apache-2.0
"""Keyframes and landmarks of a geometric odometry, bounded in number.

A landmark lives in a slot. Its depth is measured along the ray of the keyframe that saw it first,
and `sigma` is the standard deviation of that depth's logarithm: 0.7 for a fresh guess, below
MAPPED once parallax has measured it. The slot is free again when no kept keyframe sees it.
"""

from dataclasses import dataclass, field

import numpy as np

from depthkit.rigid import inverse
from depthkit.runtime.odometry.covariance import Unrest

FRESH = 0.7
"""Sigma of a depth that is guessed from its neighbours."""
MAPPED = 0.2
"""Sigma below which a landmark counts as measured."""
MOST_KEYFRAMES = 150
"""Number of keyframes kept; the oldest are forgotten, so that memory stays flat."""


@dataclass(eq=False)
class Keyframe:
    """A kept frame and its observations."""

    number: int
    stamp: float
    image: np.ndarray
    """Contrast-normalised, working size. (H, W) uint8"""
    T_cam_world: np.ndarray
    """(4, 4)"""
    slots: np.ndarray
    """Landmarks seen. (n,) int"""
    rays: np.ndarray
    """Where, on the plane z = 1. (n, 2)"""
    colours: np.ndarray
    """Colours there, RGB. (n, 3) uint8"""
    drift: np.ndarray = field(default_factory=lambda: np.zeros((6, 6)))
    """Covariance of the pose against the map's first keyframe, before inflation, as a twist on the
    right of `T_cam_world`, translation first, without the scale [covariance.py]. (6, 6)"""

    @property
    def centre(self) -> np.ndarray:
        """Camera centre in the world. (3,)"""
        return -self.T_cam_world[:3, :3].T @ self.T_cam_world[:3, 3]

    @property
    def T_world_cam(self) -> np.ndarray:
        """(4, 4)"""
        return inverse(self.T_cam_world)


@dataclass(eq=False)
class LandmarkMap:
    """The keyframes in order, and arrays of landmarks by slot."""

    keyframes: list[Keyframe] = field(default_factory=list)
    position: np.ndarray = field(default_factory=lambda: np.zeros((4096, 3)))
    origin: np.ndarray = field(default_factory=lambda: np.zeros((4096, 3)))
    """Centre of the keyframe that saw the landmark first."""
    sigma: np.ndarray = field(default_factory=lambda: np.full(4096, FRESH))
    count: np.ndarray = field(default_factory=lambda: np.zeros(4096, int))
    """Number of kept keyframes that see it; 0 = the slot is free, unless tracked."""
    identity: np.ndarray = field(default_factory=lambda: np.full(4096, -1, np.int64))
    """Number of the landmark since the start; -1 = free."""
    made: int = 0
    numbered: int = 0
    """Number of keyframes made since the start."""
    unrest: Unrest = field(default_factory=Unrest)

    def new_slots(self, number: int) -> np.ndarray:
        """Take free slots for new landmarks. (number,)"""
        free = np.flatnonzero(self.identity < 0)
        if len(free) < number:
            self._grow()
            free = np.flatnonzero(self.identity < 0)
        slots = free[:number]
        self.identity[slots] = np.arange(self.made, self.made + number)
        self.made += number
        self.sigma[slots], self.count[slots] = FRESH, 0
        return slots

    def _grow(self) -> None:
        size = len(self.sigma)
        self.position = np.concatenate([self.position, np.zeros((size, 3))])
        self.origin = np.concatenate([self.origin, np.zeros((size, 3))])
        self.sigma = np.concatenate([self.sigma, np.full(size, FRESH)])
        self.count = np.concatenate([self.count, np.zeros(size, int)])
        self.identity = np.concatenate([self.identity, np.full(size, -1, np.int64)])

    def add(self, keyframe: Keyframe) -> None:
        """Append a keyframe; the oldest is forgotten where there are too many."""
        self.keyframes.append(keyframe)
        self.numbered += 1
        self.count[keyframe.slots] += 1
        if len(self.keyframes) > MOST_KEYFRAMES:
            oldest = self.keyframes.pop(0)
            self.count[oldest.slots] -= 1

    def extend(
        self, keyframe: Keyframe, slots: np.ndarray, rays: np.ndarray, colours: np.ndarray
    ) -> None:
        """Add observations to a keyframe."""
        keyframe.slots = np.concatenate([keyframe.slots, slots])
        keyframe.rays = np.concatenate([keyframe.rays, rays])
        keyframe.colours = np.concatenate([keyframe.colours, colours])
        self.count[slots] += 1

    def drop_observations(self, keyframe: Keyframe, wrong: np.ndarray) -> None:
        """Remove observations of a keyframe. wrong: (n,) bool"""
        self.count[keyframe.slots[wrong]] -= 1
        kept = ~wrong
        keyframe.slots, keyframe.rays = keyframe.slots[kept], keyframe.rays[kept]
        keyframe.colours = keyframe.colours[kept]

    def free_unseen(self, tracked: np.ndarray) -> None:
        """Free the slots that no keyframe and no track needs. tracked: slots (n,)"""
        unseen = (self.count <= 0) & (self.identity >= 0)
        unseen[tracked] = False
        self.identity[unseen] = -1

    def lever(self, slots: np.ndarray) -> np.ndarray:
        """Return the change of positions with one standard deviation of their depths. (n, 3)"""
        return (self.position[slots] - self.origin[slots]) * self.sigma[slots, None]

    def project(self, T_cam_world: np.ndarray, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Project landmarks on the plane z = 1; return the rays (n, 2) and depths (n,)."""
        Xc = self.position[slots] @ T_cam_world[:3, :3].T + T_cam_world[:3, 3]
        depth = Xc[:, 2]
        return Xc[:, :2] / np.where(depth > 1e-3, depth, 1.0)[:, None], depth

    def mapped(self) -> np.ndarray:
        """Return the slots of all measured landmarks."""
        return np.flatnonzero((self.identity >= 0) & (self.count > 0) & (self.sigma < MAPPED))
