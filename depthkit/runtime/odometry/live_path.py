# SPDX-License-Identifier: Apache-2.0
"""Where every frame was, relative to keyframes that are still moved; read when it is asked for."""

from dataclasses import dataclass, field

import numpy as np

from depthkit.rigid import inverse
from depthkit.runtime.odometry.landmark_map import LandmarkMap
from depthkit.runtime.odometry.metres import scaled


@dataclass(frozen=True, eq=False)
class SmoothedPath:
    """Poses of all frames as the final keyframes have them."""

    stamps: np.ndarray
    """Seconds. (N,)"""
    poses: np.ndarray
    """T_world_cam, metres where the segment is metric. (N, 4, 4)"""
    segments: np.ndarray
    """Segment of each pose: two segments have nothing in common but their unit, if metric. (N,)"""
    metric: np.ndarray
    """Whether the pose is in metres. (N,) bool"""


@dataclass(frozen=True, eq=False)
class Landmarks:
    """The sparse map of the newest segment."""

    positions: np.ndarray
    """In the world of `SmoothedPath`. (M, 3)"""
    colours: np.ndarray
    """RGB. (M, 3) uint8"""
    sigma: np.ndarray
    """Relative standard deviation of the depth. (M,)"""
    segment: int
    metric: bool
    """Whether positions are metres."""


@dataclass(frozen=True, eq=False)
class _Placed:
    stamp: float
    keyframe: int
    T_cam_keyframe: np.ndarray
    factor: float
    """Metres per unit at that frame; NaN while unknown."""


@dataclass(eq=False)
class WorldPath:
    """The frames of one map."""

    segment: int
    """Number of the last segment that was published of it."""
    frames: list[_Placed] = field(default_factory=list)
    keyframes: dict[int, np.ndarray] = field(default_factory=dict)
    """T_cam_world by number, also of those that the map has forgotten."""

    def place(
        self,
        stamp: float,
        T_cam_world: np.ndarray,
        world: LandmarkMap,
        *,
        factor: float | None = None,
        beside: int = -1,
    ) -> None:
        """Remember a frame relative to a keyframe, the newest or that at `beside`."""
        self.refresh(world)
        keyframe = world.keyframes[beside]
        relative = T_cam_world @ inverse(keyframe.T_cam_world)
        known = np.nan if factor is None else factor
        self.frames.append(_Placed(stamp, keyframe.number, relative, known))

    def refresh(self, world: LandmarkMap, newest: int = 12) -> None:
        """Take over the poses of the newest keyframes, which the window may have moved."""
        for one in world.keyframes[-newest:]:
            self.keyframes[one.number] = one.T_cam_world

    def factors(self) -> np.ndarray:
        """Metres per unit of each frame, those before the first known one with it; NaN if none is.
        (N,)"""
        factors = np.array([one.factor for one in self.frames])
        known = np.flatnonzero(np.isfinite(factors))
        if len(known) == 0:
            return factors
        filled = np.maximum.accumulate(np.where(np.isfinite(factors), np.arange(len(factors)), -1))
        return factors[np.where(filled < 0, known[0], filled)]

    def poses(self) -> np.ndarray:
        """T_world_cam of all frames, metres where the factor is known. (N, 4, 4)"""
        T = [one.T_cam_keyframe @ self.keyframes[one.keyframe] for one in self.frames]
        poses = inverse(np.stack(T))
        factors = self.factors()
        if np.isnan(factors).any():
            return poses
        # The factor may follow a drift of the map's scale, so steps are scaled, not positions.
        steps = np.diff(poses[:, :3, 3], axis=0) * factors[1:, None]
        poses[1:, :3, 3] = poses[0, :3, 3] * factors[0] + np.cumsum(steps, axis=0)
        poses[0, :3, 3] *= factors[0]
        return poses


def smoothed_path(paths: list[WorldPath]) -> SmoothedPath:
    """Put the paths of all maps one after the other."""
    paths = [one for one in paths if one.frames]
    if not paths:
        return SmoothedPath(np.zeros(0), np.zeros((0, 4, 4)), np.zeros(0, int), np.zeros(0, bool))
    counts = [len(one.frames) for one in paths]
    known = [bool(np.isfinite(one.factors()).all()) for one in paths]
    stamps = np.array([frame.stamp for one in paths for frame in one.frames])
    order = np.argsort(stamps, kind="stable")
    return SmoothedPath(
        stamps[order],
        np.concatenate([one.poses() for one in paths])[order],
        np.repeat([one.segment for one in paths], counts)[order],
        np.repeat(known, counts)[order],
    )


def landmarks_of(world: LandmarkMap, path: WorldPath) -> Landmarks:
    """Return the measured landmarks of a map, in the world and unit of its smoothed path."""
    slots = world.mapped()
    colours = np.zeros((len(world.sigma), 3), np.uint8)
    positions = world.position.copy()
    metric = bool(len(path.frames)) and bool(np.isfinite(path.factors()).all())
    centres = _metric_centres(path) if metric else {}
    for one in reversed(world.keyframes):
        colours[one.slots] = one.colours
        if one.number in centres:
            centre, factor = centres[one.number]
            positions[one.slots] = centre + factor * (world.position[one.slots] - one.centre)
    return Landmarks(
        positions[slots], colours[slots], world.sigma[slots].copy(), path.segment, metric
    )


def _metric_centres(path: WorldPath) -> dict[int, tuple[np.ndarray, float]]:
    """Centre in metres and factor of each keyframe, by the frames that hang on it."""
    centres: dict[int, tuple[np.ndarray, float]] = {}
    for frame, T, factor in zip(path.frames, path.poses(), path.factors(), strict=True):
        at = T @ scaled(frame.T_cam_keyframe, factor)
        centres.setdefault(frame.keyframe, (at[:3, 3], float(factor)))
    return centres
