# SPDX-License-Identifier: Apache-2.0
"""The back end: bundle adjustment of the newest keyframes against the older ones of the same place.

The newest keyframes are free. Older keyframes that see the same landmarks are held: they carry the
scale and what was learnt before, as the fixed keyframes of a local map do [ORB-SLAM, Mur-Artal et
al., 2015, section VI.D]. A marginalised prior of the keyframes that leave did no better: in their
place MH_01 had 0.0070 m for 0.0053, and KITTI 02 drifted from 0.86 to 1.07 in scale for 0.94 to
1.06; beside them 0.0054 m, 0.033 for 0.031 on RedKitchen 0-199, 1.12 for 1.19 on KITTI 02.
"""

from typing import Literal

import numpy as np

from depthkit.errors import ConfigError
from depthkit.multiview.bundle import BundleProblem, BundleSolution, solve_bundle
from depthkit.multiview.bundle_gtsam import solve_bundle_gtsam
from depthkit.runtime.odometry.covariance import spread_drift
from depthkit.runtime.odometry.landmark_map import FRESH, LandmarkMap

Solver = Literal["numpy", "gtsam"]
SOLVERS = {"numpy": solve_bundle, "gtsam": solve_bundle_gtsam}
"""Solvers of the window by name; GTSAM is an extra that is imported when it solves."""
FREE = 8
"""Number of newest keyframes that are optimised."""
HELD = 14
"""Largest number of older keyframes that are held, those with most landmarks in common."""
LEAST_SHARED = 8
"""Landmarks that an older keyframe must share to take part."""
WRONG = 4.0
"""Error of an observation that is removed, standard deviations."""


def adjust_window(
    world: LandmarkMap,
    *,
    sigma: float,
    free: int = FREE,
    iterations: int = 5,
    solver: Solver = "numpy",
) -> BundleSolution | None:
    """Optimise the newest keyframes and their landmarks in place; drop wrong observations.

    Args:
        world: the map; its keyframes and landmarks are moved.
        sigma: standard deviation of an observation, on the plane z = 1.
        free: newest keyframes that are optimised; the first keyframe of a map never is.
        iterations: largest number of steps.
        solver: which of SOLVERS.

    Returns:
        The solution; None where there is nothing to optimise.

    Raises:
        ConfigError: there is no such solver.
        EngineError: GTSAM is chosen and not installed.
    """
    if solver not in SOLVERS:
        raise ConfigError(f"solver: expected one of {', '.join(SOLVERS)}, got {solver!r}")
    first = max(len(world.keyframes) - free, 1)
    newest = list(range(first, len(world.keyframes)))
    if not newest:
        return None
    # 1. Frames: the newest ones, and older ones that share landmarks with them.
    chosen = _held(world, first) + newest
    frames = [world.keyframes[i] for i in chosen]
    # 2. Observations of the landmarks that a free frame sees, and that two frames see.
    slots = np.concatenate([one.slots for one in frames])
    frame = np.repeat(np.arange(len(frames)), [len(one.slots) for one in frames])
    wanted = np.zeros(len(world.sigma), bool)
    wanted[np.concatenate([one.slots for one in frames[-len(newest) :]])] = True
    wanted &= np.bincount(slots, minlength=len(wanted)) >= 2
    on = wanted[slots]
    seen, point = np.unique(slots[on], return_inverse=True)
    rays = np.concatenate([one.rays for one in frames])[on]
    # 3. Solve, and write back.
    solution = SOLVERS[solver](
        BundleProblem(
            T_cam_world=np.stack([one.T_cam_world for one in frames]),
            free=np.arange(len(frames)) >= len(frames) - len(newest),
            points=world.position[seen],
            frame=frame[on],
            point=point,
            rays=rays,
            sigma=np.full(len(rays), sigma),
        ),
        iterations=iterations,
    )
    for one, T in zip(frames, solution.T_cam_world, strict=True):
        one.T_cam_world = T
    world.position[seen] = solution.points
    counts = np.bincount(frame[on], minlength=len(frames))
    spread_drift(frames, solution.information, counts, world.unrest)
    _drop_wrong(world, frames, frame, on, solution.errors)
    return solution


def _held(world: LandmarkMap, first: int) -> list[int]:
    """Choose the older keyframes that share most landmarks with the newest ones, in order."""
    mine = np.zeros(len(world.sigma), bool)
    for one in world.keyframes[first:]:
        mine[one.slots] = True
    shared = np.array([int(mine[one.slots].sum()) for one in world.keyframes[:first]])
    ranked = np.argsort(-shared, kind="stable")[:HELD]
    return sorted(int(i) for i in ranked if shared[i] >= LEAST_SHARED) or [first - 1]


def _drop_wrong(
    world: LandmarkMap, frames: list, frame: np.ndarray, on: np.ndarray, errors: np.ndarray
) -> None:
    wrong = np.zeros(len(on), bool)
    wrong[on] = errors > WRONG
    for i, one in enumerate(frames):
        mine = wrong[frame == i]
        if mine.any():
            world.drop_observations(one, mine)


def measure_depths(world: LandmarkMap, slots: np.ndarray, *, sigma: float) -> None:
    """Set origin and sigma of landmarks from all keyframes that see them, in place.

    The information of an observation on the logarithm of a depth is (slope / sigma)^2, where slope
    is the change of the projection with it; a fresh guess counts as one more observation.

    Args:
        world: the map.
        slots: landmarks to measure.
        sigma: standard deviation of an observation, on the plane z = 1.
    """
    wanted = np.zeros(len(world.sigma), bool)
    wanted[slots] = True
    information = np.zeros(len(world.sigma))
    begun = np.zeros(len(world.sigma), bool)
    for one in world.keyframes:
        mine = one.slots[wanted[one.slots]]
        if len(mine) == 0:
            continue
        fresh = mine[~begun[mine]]
        world.origin[fresh], begun[fresh] = one.centre, True
        rays, depth = world.project(one.T_cam_world, mine)
        lever = (world.position[mine] - world.origin[mine]) @ one.T_cam_world[:3, :3].T
        slope = (lever[:, :2] - rays * lever[:, 2:]) / np.maximum(depth, 1e-3)[:, None]
        information[mine] += (slope**2).sum(axis=1) / sigma**2
    world.sigma[slots] = 1.0 / np.sqrt(information[slots] + 1.0 / FRESH**2)
