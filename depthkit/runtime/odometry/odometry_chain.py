# SPDX-License-Identifier: Apache-2.0
"""Pose of a body in odom with its covariance, chained from the motion of a camera on the body.

Errors of learnt odometry are systematic (scale, bias), so they grow with the path, not with its
square root: after D metres the standard deviation of the position is noise.translation D, which
`depthkit evaluate odometry` reports as t_rel. A rotation error displaces all later positions. While
the motion is lost the pose stays; the possible motion in the gap is added when tracking resumes.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.config.ranges import check_ranges, option
from depthkit.errors import check_shape
from depthkit.rigid import inverse, log_se3, make_pose, skew

UNKNOWN = 9999.0
"""Variance of an unknown quantity: BAD_COVARIANCE of rtabmap."""
MOST = 0.99 * UNKNOWN
"""Largest variance of a known pose; UNKNOWN would mean "lost"."""
LEAST_STEP = 1e-4  # smallest standard deviation, metres and radians: 0 would mean perfect


@dataclass(frozen=True)
class Noise:
    """Error model of the odometry."""

    translation: float = option(0.1, least=0)
    """Standard deviation of translation, metres per metre of path: t_rel / 100."""
    rotation: float = option(0.05, least=0)
    """Standard deviation of rotation, radians per radian of rotation."""
    drift: float = option(5e-4, least=0)
    """Standard deviation of rotation, radians per metre of path: r_rel; 0.0005 is 2.9 degrees in
    100 m."""
    lost_speed: float = option(1.0, least=0)
    """Assumed speed of the body while lost, m/s; at least its speed before."""
    lost_turn: float = option(0.5, least=0)
    """Assumed angular rate of the body while lost, rad/s; at least its rate before."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, eq=False)
class BodyPose:
    """Contents of nav_msgs/Odometry; covariances in the order x, y, z, about x, about y, about
    z."""

    T_odom_base: np.ndarray
    """Pose of the body in odom. (4, 4)"""
    covariance: np.ndarray
    """Covariance of the pose, in the axes of odom. (6, 6)"""
    twist: np.ndarray
    """Velocity and angular rate of the body in its own axes, m/s and rad/s. (6,)"""
    twist_covariance: np.ndarray
    """Covariance of the twist. (6, 6)"""


def body_motion(T_previous_current: np.ndarray, T_base_cam: np.ndarray) -> np.ndarray:
    """Convert the motion of a camera to that of the body that carries it.

    Args:
        T_previous_current: points of the camera now to the camera before, metres. (4, 4)
        T_base_cam: points of the camera to the body, metres. (4, 4)

    Returns:
        Points of the body now to the body before. (4, 4)
    """
    check_shape("body_motion: T_previous_current", T_previous_current, "4 4")
    check_shape("body_motion: T_base_cam", T_base_cam, "4 4")
    return T_base_cam @ T_previous_current @ inverse(T_base_cam)


def scaled(T: np.ndarray, factor: float) -> np.ndarray:
    """Scale the translation of a motion. (4, 4) -> (4, 4)"""
    return make_pose(T[:3, :3], factor * T[:3, 3])


class OdometryChain:
    """Chains motions of a body into its pose. One thread at a time."""

    def __init__(
        self, noise: Noise | None = None, *, max_speed: float = 100.0, max_turn: float = 10.0
    ) -> None:
        """Start at the origin of odom.

        Args:
            noise: error model of the motions.
            max_speed: motions faster than this are rejected as outliers, m/s.
            max_turn: rotations faster than this are rejected as outliers, rad/s.
        """
        self.noise, self.max_speed, self.max_turn = noise or Noise(), max_speed, max_turn
        self.reset()

    def reset(self) -> None:
        """Go back to the origin."""
        self._T_odom_base = np.eye(4)
        self._covariance = np.zeros((6, 6))
        self._twist, self._twist_covariance = np.zeros(6), np.eye(6) * UNKNOWN
        self._path, self._turned = 0.0, 0.0
        self._stamp: float | None = None

    @property
    def path(self) -> float:
        """Length of the path, metres."""
        return self._path

    @property
    def stamp(self) -> float | None:
        """Stamp of the end of the last motion, seconds; None before the first."""
        return self._stamp

    @property
    def has_moved(self) -> bool:
        """Whether any motion has been added."""
        return self._stamp is not None

    def pose(self) -> BodyPose:
        """Return the current pose and twist with their covariances."""
        return BodyPose(
            self._T_odom_base.copy(),
            _bounded(self._covariance + LEAST_STEP**2 * np.eye(6)),
            self._twist.copy(),
            self._twist_covariance.copy(),
        )

    def lost_pose(self) -> BodyPose:
        """Return the last known pose with unknown covariance, and a zero twist."""
        unknown = UNKNOWN * np.eye(6)
        return BodyPose(self._T_odom_base.copy(), unknown, np.zeros(6), unknown.copy())

    def set_covariance(self, covariance: np.ndarray) -> None:
        """Replace the covariance of the pose by a measured one, in the axes of odom. (6, 6)"""
        check_shape("covariance", covariance, "6 6")
        self._covariance = 0.5 * (covariance + covariance.T)

    def move(
        self, T_previous_current: np.ndarray, *, since: float, stamp: float, spread: float = 0.0
    ) -> str:
        """Add a motion of the body.

        Args:
            T_previous_current: points of the body now to the body before, metres. (4, 4)
            since: stamp of the start of the motion, seconds; if the last motion ended at another
                stamp, the body was lost in between.
            stamp: stamp of the end of the motion, seconds.
            spread: relative standard deviation of this motion's length, where it was measured.

        Returns:
            Why the motion is rejected; empty if it was added.
        """
        check_shape("T_previous_current", T_previous_current, "4 4")
        # 1. Reject motions that the body cannot make; NaN compares as false and is rejected too.
        seconds = stamp - since
        twist = log_se3(T_previous_current) / seconds if seconds > 0 else np.full(6, np.nan)
        speed, turn = np.linalg.norm(twist[:3]), np.linalg.norm(twist[3:])
        if not (speed <= self.max_speed and turn <= self.max_turn):
            return (
                f"motion of {speed:.3g} m/s and {turn:.3g} rad/s in {seconds:.3f} s rejected: the "
                f"limits are {self.max_speed:g} m/s and {self.max_turn:g} rad/s"
            )
        # 2. A gap in the chain: add the motion that may have happened in it.
        if self._stamp is not None and since != self._stamp:
            self._add_unknown(abs(since - self._stamp), float(speed), float(turn))
        # 3. Chain the pose and propagate its covariance.
        self._twist, self._stamp = twist, stamp
        self._add(T_previous_current, float(speed) * seconds, float(turn) * seconds)
        # 4. The twist's covariance is that of this one motion, divided by its duration.
        length = max(self.noise.translation, spread) * speed
        rate = self.noise.rotation * turn + self.noise.drift * speed
        least = LEAST_STEP / seconds
        self._twist_covariance = _diagonal(np.hypot(length, least), np.hypot(rate, least))
        return ""

    def _add(self, T: np.ndarray, length: float, angle: float) -> None:
        """Chain a motion and propagate the covariance to first order, in the axes of odom.

        A pose error of d in position and w in attitude becomes d + w x R t after a motion by t.
        """
        # 1. Jacobian of that propagation: F = [[I, -[R t]x], [0, I]].
        R = self._T_odom_base[:3, :3]
        F = np.eye(6)
        F[:3, 3:] = -skew(R @ T[:3, 3])
        # 2. Added variance, so that the total grows with the path squared (systematic errors).
        before = self._deviations()
        self._path, self._turned = self._path + length, self._turned + angle
        after = self._deviations()
        added = _diagonal(*(np.sqrt(b**2 - a**2) for a, b in zip(before, after, strict=True)))
        # 3. P = F P F^T + Q, Q isotropic; kept symmetric in spite of rounding.
        grown = F @ self._covariance @ F.T + added
        self._covariance = 0.5 * (grown + grown.T)
        self._T_odom_base = self._T_odom_base @ T

    def _deviations(self) -> tuple[float, float]:
        """Return the standard deviations of position and attitude from the path length alone."""
        rotation = self.noise.rotation * self._turned + self.noise.drift * self._path
        return self.noise.translation * self._path, rotation

    def _add_unknown(self, seconds: float, speed: float, turn: float) -> None:
        """Add the variance of the motion that the body may have made while it was lost."""
        speed = max(speed, self.noise.lost_speed, float(np.linalg.norm(self._twist[:3])))
        turn = max(turn, self.noise.lost_turn, float(np.linalg.norm(self._twist[3:])))
        self._covariance = self._covariance + _diagonal(speed * seconds, turn * seconds)


def _bounded(covariance: np.ndarray) -> np.ndarray:
    """Scale down axes with a variance above MOST, keeping the correlations. (6, 6)"""
    shrink = np.sqrt(np.minimum(1.0, MOST / np.diag(covariance)))
    return covariance * np.outer(shrink, shrink)


def _diagonal(translation: float, rotation: float) -> np.ndarray:
    """Make a diagonal covariance from two standard deviations. (6, 6)"""
    return np.diag([translation**2] * 3 + [rotation**2] * 3)
