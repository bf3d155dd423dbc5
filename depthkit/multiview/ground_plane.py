# SPDX-License-Identifier: Apache-2.0
"""Length of the camera's step over the ground, in metres by the known height of the camera.

The slope of the ground decides the length (3 % a degree), and one pair of frames does not show it
well enough. It is therefore kept: pitch and roll of the ground in the axes of the camera, which a
vehicle carries along, with their covariance. Three kinds of evidence refine them: the frames
themselves (`ground_warp`), the direction of the motion, which is parallel to the ground as the
height stays, and the mean of the past. Constants are from KITTI 02.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.errors import ConfigError, DataError, check_shape
from depthkit.multiview.ground_corridor import (
    Corridor,
    Prior,
    find_corridor,
    structure,
    tangent,
)
from depthkit.multiview.ground_warp import Alignment, align

LEVEL = np.array([0.0, 1.0, 0.0])  # normal of the ground under a level camera
START = np.radians((5.0, 3.0))  # standard deviation of pitch and roll before the first step, rad
WALK = np.radians(0.1)  # change of pitch and roll from step to step, rad
MOUNT = np.radians(0.5)  # deviation of pitch and roll from their mean, rad
MEAN_STEPS = 50  # steps that the mean remembers
HEAVE = np.radians(0.7)  # angle between the motion and the ground, rad
ROTATION = np.radians(0.035)  # error of the rotation between two views, rad
DIRECTION = np.radians(0.6)  # error of the direction between two views, rad


@dataclass(frozen=True, eq=False)
class GroundStep:
    """Length of one step over the ground, or the reason why it is unknown."""

    length: float | None
    """Length of the step, metres; None if unknown."""
    sigma: float | None
    """Relative standard deviation of the length; None if unknown."""
    reason: str
    """Why the length is unknown; empty if it is known."""
    normal: np.ndarray
    """Unit normal of the ground in frame b, away from the camera. (3,)"""
    found: Alignment | None = None
    """Alignment of the frames; None if there is none."""


class GroundPlane:
    def __init__(self, height):
        self.height = height
        self.reset()

    def reset(self):
        self.normal = LEVEL.copy()
        self.covariance = np.diag(START**2)
        self._mean, self._steps = LEVEL.copy(), 0
        self._corridor = None
        self._last = None

    def measure(self, grey_a, grey_b, *, K, R_b_a, t_b_a):
        prior = self._prior(R_b_a, t_b_a)
        if self._corridor is None or np.linalg.norm(self._around - prior.normal) > np.radians(0.3):
            self._corridor = find_corridor(grey_b.shape, K, prior.normal)
            self._around = prior.normal
            self._last = None
        if self._corridor is None:
            return GroundStep(None, None, "no ground in view", self.normal)
        a = self._last[1] if self._last is not None and np.array_equal(self._last[0], grey_a) else structure(grey_a, self._corridor)
        b = structure(grey_b, self._corridor)
        self._last = grey_b, b
        found = align(a, b, corridor=self._corridor, prior=prior)
        if found is None:
            return GroundStep(None, None, "no alignment", self.normal)
        self._keep(found)
        return GroundStep(self.height * float(np.exp(found.log_step)), float(np.sqrt(found.covariance[0, 0])), "", self.normal, found)

    def _prior(self, R, t):
        tilt, turn = tangent(self.normal), tangent(t)
        information = np.zeros((7, 7))
        walked = np.linalg.inv(self.covariance + WALK**2 * np.eye(2))
        information[:2, :2] = walked + np.eye(2) / MOUNT**2 * (self._steps > 0)
        information[2:5, 2:5] = np.eye(3) / ROTATION**2
        information[5:, 5:] = np.eye(2) / DIRECTION**2
        pull = np.zeros(7)
        pull[:2] = tilt.T @ (self._mean - self.normal) / MOUNT**2
        across = np.concatenate([tilt.T @ t, np.zeros(3), turn.T @ self.normal])
        information += np.outer(across, across) / HEAVE**2
        pull -= across * (self.normal @ t) / HEAVE**2
        return Prior(self.normal, R, t, information, pull)

    def _keep(self, found):
        self.normal, self.covariance = found.normal, found.covariance[1:, 1:]
        self._steps += 1
        share = max(1 / self._steps, 1 / MEAN_STEPS)
        mean = self._mean + share * (self.normal - self._mean)
        self._mean = mean / np.linalg.norm(mean)
