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

SUSPECT = 0.05
"""Change of the focal length's logarithm that is worth a word. With their own K the medians of
KITTI 02 and 00, RedKitchen, MH_01, V1_01 and desk lie within 0.03."""
SHARP = 0.015
"""Largest standard deviation of a fit that counts."""
LOOKS, LEAST_LOOKS = 7, 3
"""Number of newest fits that are compared, and how many a suspicion needs."""
EARLY, EVERY = 6, 20
"""Number of new keyframes after which the focal length is looked at again, at first and later: a
look takes 50 to 100 ms."""
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
ROUNDS = 4
"""Number of parabolas at most, each around the best value of the one before."""
HUBER = 2.0
"""Error above which the cost grows linearly, standard deviations."""


@dataclass(frozen=True)
class FocalFit:
    """What one set of keyframes says of the focal length."""

    change: float
    """Logarithm of the best focal length over the one in use."""
    sigma: float
    """Its standard deviation by the tracks' own errors."""


class FocalWatch:
    """Looks at the focal length now and then (kept state)."""

    def __init__(self) -> None:
        """Start without a look."""
        self.note = ""
        """What is suspected, in one line; empty while nothing is."""
        self._last = 0
        self._changes: list[float] = []

    def look(self, world: LandmarkMap, *, focal: float, width: int, noise: float) -> None:
        """Take a new keyframe.

        Args:
            world: the map.
            focal: focal length in use, pixels of the working image.
            width: width of the working image, pixels.
            noise: standard deviation of a track, pixels.
        """
        if world.numbered < self._last:
            self._last = 0  # a new map
        wait = EARLY if len(self._changes) < LEAST_LOOKS else EVERY
        if self.note or world.numbered < self._last + wait:
            return
        self._last = world.numbered
        fit = fit_focal(world, sigma=noise / focal)
        if fit is None or fit.sigma > SHARP:
            return
        self._changes = [*self._changes[1 - LOOKS :], fit.change]
        median = float(np.median(self._changes))
        if len(self._changes) >= LEAST_LOOKS and abs(median) > SUSPECT:
            self.note = (
                f"the focal length looks wrong: the tracks fit {np.exp(median) * focal / width:.3f}"
                f" of the image's width better than {focal / width:.3f} "
                f"({100 * np.expm1(median):+.0f} %); check the calibration"
            )


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
    centre, fit = 0.0, None
    for _ in range(ROUNDS):
        fit = _parabola(problem, centre)
        if fit is None or abs(fit.change - centre) < STEP:
            break
        centre += float(np.clip(fit.change - centre, -2 * STEP, 2 * STEP))
    return fit


def _parabola(problem: BundleProblem, centre: float) -> FocalFit | None:
    """Fit the costs on both sides of a change of the focal length; None if they have no minimum."""
    costs = [_cost(problem, centre + change) for change in (-STEP, 0.0, STEP)]
    # cost(s) = lowest + (s - best)^2 / sigma^2, the errors being in standard deviations
    bend = (costs[0] + costs[2] - 2 * costs[1]) / (2 * STEP**2)
    slope = (costs[2] - costs[0]) / (2 * STEP)
    if bend <= 0:
        return None
    freedom = max(2 * len(problem.rays) - 3 * len(problem.points) - 6 * len(problem.free), 1)
    spread = max(costs[1] / freedom, 0.01)
    return FocalFit(centre - slope / (2 * bend), float(np.sqrt(spread / bend)))


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
