# SPDX-License-Identifier: Apache-2.0
"""Does the focal length fit the tracks? A wrong calibration is suspected, never corrected.

Keyframes that turn and move tell the focal length apart from the structure [Hartley and Zisserman,
Multiple View Geometry, chapter 19]. A few keyframes and their longest tracks are adjusted freely
under three focal lengths; a parabola through the costs gives the best one and its uncertainty.
Where the motion says nothing, as straight ahead on a road, the uncertainty is large and nothing is
said.
"""

from dataclasses import dataclass, replace

import numpy as np

from depthkit.multiview.bundle import BundleProblem, solve_bundle
from depthkit.runtime.odometry.landmark_map import LandmarkMap

EVERY = 10
"""Number of new keyframes after which the focal length is looked at again."""
SPAN = 30
"""Newest keyframes from which the few are taken."""
FRAMES = 10
"""Number of keyframes that are adjusted."""
POINTS = 250
"""Number of landmarks that are adjusted, those seen most."""
LEAST_POINTS = 80
"""Landmarks seen by three of the keyframes that a look needs."""
STEP = 0.05
"""Change of the focal length's logarithm on both sides."""
HUBER = 2.0
"""Error above which the cost grows linearly, standard deviations."""


@dataclass(frozen=True)
class FocalFit:
    """What one set of keyframes says of the focal length."""

    change: float
    """Logarithm of the best focal length over the one in use."""
    sigma: float
    """Its standard deviation by the tracks' own errors."""


def fit_focal(world: LandmarkMap, *, sigma: float) -> FocalFit | None:
    """Compare focal lengths on the newest keyframes; the map stays as it is.

    Args:
        world: the map.
        sigma: standard deviation of an observation, on the plane z = 1.

    Returns:
        The best focal length; None where the keyframes do not determine one.
    """
    problem = _problem(world, sigma)
    if problem is None:
        return None
    costs = [_cost(problem, change) for change in (-STEP, 0.0, STEP)]
    # cost(s) = lowest + (s - best)^2 / sigma^2, the errors being in standard deviations
    bend = (costs[0] + costs[2] - 2 * costs[1]) / (2 * STEP**2)
    slope = (costs[2] - costs[0]) / (2 * STEP)
    if bend <= 0:
        return None
    freedom = max(2 * len(problem.rays) - 3 * len(problem.points) - 6 * len(problem.free), 1)
    spread = max(costs[1] / freedom, 0.01)
    return FocalFit(-slope / (2 * bend), float(np.sqrt(spread / bend)))


def _problem(world: LandmarkMap, sigma: float) -> BundleProblem | None:
    """Take a few keyframes and their longest tracks; the first of them is held."""
    newest = world.keyframes[-SPAN:]
    frames = [newest[i] for i in np.unique(np.linspace(0, len(newest) - 1, FRAMES).astype(int))]
    slots = np.concatenate([one.slots for one in frames])
    seen = np.bincount(slots, minlength=len(world.sigma))
    seen[~np.isin(np.arange(len(seen)), world.mapped())] = 0
    chosen = np.argsort(-seen, kind="stable")[:POINTS]
    chosen = chosen[seen[chosen] >= 3]
    if len(chosen) < LEAST_POINTS:
        return None
    place = np.full(len(seen), -1)
    place[chosen] = np.arange(len(chosen))
    frame = np.repeat(np.arange(len(frames)), [len(one.slots) for one in frames])
    on = place[slots] >= 0
    return BundleProblem(
        T_cam_world=np.stack([one.T_cam_world for one in frames]),
        free=np.arange(len(frames)) > 0,
        points=world.position[chosen],
        frame=frame[on],
        point=place[slots[on]],
        rays=np.concatenate([one.rays for one in frames])[on],
        sigma=np.full(int(on.sum()), sigma),
    )


def _cost(problem: BundleProblem, change: float) -> float:
    """Cost of the best structure under another focal length, in pixels' standard deviations."""
    factor = np.exp(-change)
    other = replace(problem, rays=problem.rays * factor, sigma=problem.sigma * factor)
    errors = np.minimum(solve_bundle(other, iterations=15).errors, 100.0)
    far = errors > HUBER
    return float(np.where(far, HUBER * (2 * errors - HUBER), errors**2).sum())
