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
    Structure,
    find_corridor,
    structure,
    tangent,
)
from depthkit.multiview.ground_warp import Alignment, align

LEVEL = (0.0, 1.0, 0.0)  # normal of the ground under a level camera
START = np.radians((5.0, 3.0))  # standard deviation of pitch and roll before the first step, rad
WALK = np.radians(0.1)  # change of pitch and roll from step to step, rad
MOUNT = np.radians(0.5)  # deviation of pitch and roll from their mean, rad
MEAN_STEPS = 50  # steps that the mean remembers
HEAVE = np.radians(0.7)  # angle between the motion and the ground, rad
ROTATION = np.radians(0.035)  # error of the rotation between two views, rad
DIRECTION = np.radians(0.6)  # error of the direction between two views, rad
HEIGHT = 0.012  # relative change of the height by springs and the road's crown: 2 cm of a car's
MOVED = np.radians(0.5)  # change of the normal that moves the corridor, rad

# Gates. In brackets the 99th percentile on KITTI 02, and the median on RedKitchen and MH_01.
LEAST_SIMILARITY = 0.5  # share of the texture found again
MOST_CONTRAST = 0.8  # difference at the best step over that of all steps (0.69; 0.57, 0.55)
MOST_SCATTER = 4.5  # scatter of the cells about the plane over their noise (4.4; 5.6, 5.4)
MOST_SIGMA = 0.1  # relative standard deviation of the step (0.04; 0.03, 0.03)
MOST_CLIMB = np.radians(4.0)  # angle between motion and ground, rad (1.4 deg; 10 deg and more)
MOST_SWAY = np.radians(3.0)  # ground against the camera's own rotation, rad (1.3 deg; 5 deg)
MOST_TILT = np.radians(8.0)  # ground against the expected normal, rad (1.4 deg; 15 deg, 4 deg)
LEAST_FLOW = 2.0  # median flow by the step, pixels (16)
SWAY_SHARE = 0.2  # share by which the carried normal follows the measured one
CONFIRMED = 5  # steps in a row that pass before the first length is given
FORGOTTEN = 10  # refused steps in a row after which slope and mean start anew


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
    """Alignment of the frames, also where a gate refuses it; None if there is none."""


class GroundPlane:
    """Length of each step of a camera at a known height over level ground; keeps the slope.

    Works for a camera that a vehicle carries at one height. One thread at a time. Deterministic.
    """

    def __init__(self, height: float, *, normal: np.ndarray | None = None) -> None:
        """Start without knowledge of the slope.

        Args:
            height: height of the camera over the ground, metres.
            normal: expected normal of the ground in the camera's axes, away from the camera, within
                about 5 degrees; None: the camera looks level. (3,)

        Raises:
            ConfigError: a height that is not above 0, or a normal without direction.
        """
        if not (np.isfinite(height) and height > 0):
            raise ConfigError(f"ground plane: camera height must be above 0 m, got {height}")
        expected = np.array(LEVEL if normal is None else normal, dtype=np.float64).reshape(-1)
        length = float(np.linalg.norm(expected))
        if expected.shape != (3,) or not (np.isfinite(length) and length > 0):
            raise ConfigError(f"ground plane: normal must be a direction, got {expected.tolist()}")
        self.height = float(height)
        self._expected = expected / length
        self.reset()

    def reset(self) -> None:
        """Forget slope and frames."""
        self.normal = self._expected.copy()
        """Normal of the ground in the last frame. (3,)"""
        self.covariance = np.diag(START**2)
        """Covariance of its pitch and roll, rad2. (2, 2)"""
        self._mean, self._carried = self.normal.copy(), self.normal.copy()
        self._steps = self._passed = self._refused = 0
        self._corridor: Corridor | None = None
        self._around: tuple[np.ndarray, tuple[int, ...], np.ndarray] | None = None
        self._last: tuple[np.ndarray, Structure] | None = None

    def measure(
        self,
        grey_a: np.ndarray,
        grey_b: np.ndarray,
        *,
        K: np.ndarray,
        R_b_a: np.ndarray,
        t_b_a: np.ndarray,
    ) -> GroundStep:
        """Measure the length of the motion from frame a to frame b.

        Args:
            grey_a, grey_b: the frames, undistorted. (H, W) uint8
            K: intrinsics of both, pixels. (3, 3)
            R_b_a: rotation of T_b_a. (3, 3)
            t_b_a: unit direction of its translation. (3,)

        Raises:
            ShapeError, DataError: the caller's bug: frames that are not grey or differ in size.
        """
        _check(grey_a, grey_b, K, R_b_a, t_b_a)
        # 1. What is known of slope and motion; the corridor follows the slope.
        self._carried = R_b_a @ self._carried
        length = float(np.linalg.norm(t_b_a))
        if not (np.isfinite(R_b_a).all() and 0.9 < length < 1.1):
            return self._refuse("the motion has no direction")
        prior = self._prior(np.asarray(R_b_a, np.float64), np.asarray(t_b_a, np.float64) / length)
        corridor = self._look(grey_b.shape, np.asarray(K, np.float64))
        if corridor is None:
            return self._refuse("no ground in view: it would lie below the image")
        # 2. Step and slope that align the frames.
        a = self._structure(grey_a, corridor)
        b = structure(grey_b, corridor)
        self._last = grey_b.copy(), b
        found = align(a, b, corridor=corridor, prior=prior)
        if found is None:
            return self._refuse("no step aligns the ground: too little texture or not level")
        # 3. Accepted or refused, and confirmed by several in a row.
        reason = self._fault(found, prior.t)
        if reason:
            return self._refuse(reason, found)
        self._keep(found)
        if self._passed < CONFIRMED:
            reason = f"ground seen in {self._passed} of {CONFIRMED} steps"
            return GroundStep(None, None, reason, self.normal.copy(), found)
        sigma = float(np.sqrt(found.covariance[0, 0] + HEIGHT**2))
        return GroundStep(self._metres(found), sigma, "", self.normal.copy(), found)

    def _metres(self, found: Alignment) -> float:
        return self.height * float(np.exp(found.log_step))

    def _prior(self, R: np.ndarray, t: np.ndarray) -> Prior:
        """Gather what is known before the frames are compared.

        The slope is a random walk in the axes of the camera, drawn to its mean. Rotation by R would
        add its errors, and bends of the road, which a vehicle follows, would be taken for slope:
        10 steps' mean errors of 2.1 % in place of 1.7 % on KITTI 02.
        """
        tilt, turn = tangent(self.normal), tangent(t)
        information, pull = np.zeros((7, 7)), np.zeros(7)
        # 1. Slope, rotation and direction, each by itself.
        information[:2, :2] = np.linalg.inv(self.covariance + WALK**2 * np.eye(2))
        information[2:5, 2:5] = np.eye(3) / ROTATION**2
        information[5:, 5:] = np.eye(2) / DIRECTION**2
        if self._steps:
            information[:2, :2] += np.eye(2) / MOUNT**2
            pull[:2] = tilt.T @ (self._mean - self.normal) / MOUNT**2
        # 2. The motion is parallel to the ground: n . t = 0, in first order of both.
        across = np.concatenate([tilt.T @ t, np.zeros(3), turn.T @ self.normal])
        information += np.outer(across, across) / HEAVE**2
        pull -= across * (self.normal @ t) / HEAVE**2
        return Prior(self.normal, R, t, information, pull)

    def _look(self, size: tuple[int, ...], K: np.ndarray) -> Corridor | None:
        """Return the corridor for the present slope; the last one while it hardly changed."""
        if self._around is not None:
            normal, last_size, last_K = self._around
            same = last_size == size and np.array_equal(last_K, K)
            if same and np.linalg.norm(normal - self.normal) < MOVED:
                return self._corridor
        self._corridor = find_corridor((size[0], size[1]), K, self.normal)
        self._around, self._last = (self.normal, size, K.copy()), None
        return self._corridor

    def _structure(self, grey: np.ndarray, corridor: Corridor) -> Structure:
        """Return the structure of frame a; kept from the last call if it was frame b there."""
        if self._last is not None and np.array_equal(self._last[0], grey):
            return self._last[1]
        return structure(grey, corridor)

    def _fault(self, found: Alignment, t: np.ndarray) -> str:
        """Return why an alignment is no step over level ground; empty if it is."""
        climb = abs(np.arcsin(np.clip(found.normal @ t, -1, 1)))
        sway, tilt = _angle(self._carried, found.normal), _angle(self._expected, found.normal)
        sigma = float(np.sqrt(found.covariance[0, 0]))
        faults = (
            (found.flow < LEAST_FLOW, f"too little motion: {found.flow:.1f} px"),
            (climb > MOST_CLIMB, f"the motion leaves the ground by {np.degrees(climb):.0f} deg"),
            (tilt > MOST_TILT, f"not level: the ground is tilted by {np.degrees(tilt):.0f} deg"),
            (
                sway > MOST_SWAY,
                f"the camera sways against the ground by {np.degrees(sway):.0f} deg",
            ),
            (
                found.similarity < LEAST_SIMILARITY,
                f"no road: {max(found.similarity, 0):.0%} of its texture is found again",
            ),
            (found.contrast > MOST_CONTRAST, "no road: other steps align it as well"),
            (found.scatter > MOST_SCATTER, "no road: not one plane"),
            (sigma > MOST_SIGMA, f"too uncertain: {sigma:.0%}"),
        )
        return next((reason for wrong, reason in faults if wrong), "")

    def _keep(self, found: Alignment) -> None:
        """Take the slope of an accepted alignment."""
        self.normal, self.covariance = found.normal, found.covariance[1:, 1:]
        self._steps, self._passed, self._refused = self._steps + 1, self._passed + 1, 0
        self._mean = _toward(self._mean, found.normal, max(1 / self._steps, 1 / MEAN_STEPS))
        self._carried = _toward(self._carried, found.normal, SWAY_SHARE)

    def _refuse(self, reason: str, found: Alignment | None = None) -> GroundStep:
        """Keep the slope with a larger covariance, and forget it after many refusals."""
        self._refused += 1
        self._passed = self._passed if self._passed >= CONFIRMED else 0
        self._carried = _toward(self._carried, self.normal, SWAY_SHARE)
        if self._refused >= FORGOTTEN:
            self.normal, self._mean = self._expected.copy(), self._expected.copy()
            self._carried, self.covariance = self._expected.copy(), np.diag(START**2)
            self._steps = self._passed = self._refused = 0
        elif self._steps:
            self.covariance = self.covariance + WALK**2 * np.eye(2)
        return GroundStep(None, None, reason, self.normal.copy(), found)


def _toward(one: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """Turn a unit vector towards another by a share of the way. (3,)"""
    between = one + share * (other - one)
    return between / np.linalg.norm(between)


def _angle(one: np.ndarray, other: np.ndarray) -> float:
    """Return the angle between unit vectors, rad."""
    return float(np.arccos(np.clip(one @ other, -1, 1)))


def _check(
    grey_a: np.ndarray, grey_b: np.ndarray, K: np.ndarray, R: np.ndarray, t: np.ndarray
) -> None:
    """Refuse arrays of other shapes or types."""
    check_shape("ground plane: grey_a", grey_a, "H W")
    check_shape("ground plane: grey_b", grey_b, f"{grey_a.shape[0]} {grey_a.shape[1]}")
    check_shape("ground plane: K", K, "3 3")
    check_shape("ground plane: R_b_a", R, "3 3")
    check_shape("ground plane: t_b_a", t, "3")
    if grey_a.dtype != np.uint8 or grey_b.dtype != np.uint8:
        kinds = f"{grey_a.dtype} and {grey_b.dtype}"
        raise DataError(f"ground plane: frames must be uint8, got {kinds}; convert them first")
    if not (np.isfinite(K).all() and K[0, 0] > 0 and K[1, 1] > 0):
        raise DataError(f"ground plane: K must have focal lengths above 0, got {np.diag(K)[:2]}")
