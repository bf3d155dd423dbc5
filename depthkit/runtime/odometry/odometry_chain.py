# SPDX-License-Identifier: Apache-2.0
"""The pose of a body in odom, chained from the motion of the camera on it, and how sure it is.

Errors of learnt odometry are systematic (scale, bias), so they grow with the path, not with its
root: after D metres the standard deviation of the position is translation_noise D, the figure that
`depthkit evaluate odometry` calls t_rel; a turn that is wrong moves all that comes after it. Where
the motion is lost the pose stays, and what may have happened meanwhile is added when it goes on.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.config.ranges import check_ranges, option
from depthkit.errors import check_shape
from depthkit.rigid import inverse, log_se3, make_pose, skew

UNKNOWN = 9999.0
"""Variance that says nothing is known: BAD_COVARIANCE of rtabmap."""
MOST = 0.99 * UNKNOWN
"""Largest variance of a pose that is known, however far the body went: more would say "lost"."""
LEAST_STEP = 1e-4  # metres and radians that no step is surer than: 0 would mean perfect


@dataclass(frozen=True)
class Noise:
    """How wrong the odometry is."""

    translation: float = option(0.1, least=0)
    """Standard deviation, metres a metre of path: t_rel / 100."""
    rotation: float = option(0.05, least=0)
    """Standard deviation, radians a radian turned."""
    drift: float = option(5e-4, least=0)
    """Standard deviation, radians a metre of path: r_rel, 0.0005 is 2.9 degrees in 100 m."""
    lost_speed: float = option(1.0, least=0)
    """The body may have moved so fast while lost, metres a second, or faster if it did before."""
    lost_turn: float = option(0.5, least=0)
    """It may have turned so fast while lost, radians a second, or faster if it did before."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, eq=False)
class BodyPose:
    """What nav_msgs/Odometry holds; covariances in the order x, y, z, about x, about y, about z."""

    T_odom_base: np.ndarray
    """(4, 4)"""
    covariance: np.ndarray
    """Of the pose, in the axes of odom. (6, 6)"""
    twist: np.ndarray
    """Velocity and turn rate of the body in its own axes, metres and radians a second. (6,)"""
    twist_covariance: np.ndarray
    """(6, 6)"""


def body_motion(T_previous_current: np.ndarray, T_base_cam: np.ndarray) -> np.ndarray:
    """Turn the motion of a camera into that of the body it sits on.

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
    """Multiply the translation of a motion. (4, 4) -> (4, 4)"""
    return make_pose(T[:3, :3], factor * T[:3, 3])


class OdometryChain:
    """Adds motions of a body up. One thread at a time."""

    def __init__(
        self, noise: Noise | None = None, *, max_speed: float = 100.0, max_turn: float = 10.0
    ) -> None:
        """Start at the origin of odom.

        Args:
            noise: how wrong motions are.
            max_speed: a faster motion is none, metres a second.
            max_turn: a faster turn is none, radians a second.
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
    def has_moved(self) -> bool:
        """Whether any motion has been taken in."""
        return self._stamp is not None

    def pose(self) -> BodyPose:
        """Return where the body is, as far as is known."""
        return BodyPose(
            self._T_odom_base.copy(),
            _bounded(self._covariance + LEAST_STEP**2 * np.eye(6)),
            self._twist.copy(),
            self._twist_covariance.copy(),
        )

    def lost_pose(self) -> BodyPose:
        """Return the last known pose, of which nothing is sure any more, and no twist."""
        unknown = UNKNOWN * np.eye(6)
        return BodyPose(self._T_odom_base.copy(), unknown, np.zeros(6), unknown.copy())

    def move(
        self, T_previous_current: np.ndarray, *, since: float, stamp: float, spread: float = 0.0
    ) -> str:
        """Take in a motion of the body.

        Args:
            T_previous_current: points of the body now to the body before, metres. (4, 4)
            since: stamp of before, seconds; where it is not that of the last motion's end, the body
                was lost meanwhile.
            stamp: of now, seconds.
            spread: relative standard deviation of this motion's length, where it was measured.

        Returns:
            Why the motion is refused; empty where it was added.
        """
        check_shape("T_previous_current", T_previous_current, "4 4")
        seconds = stamp - since
        twist = log_se3(T_previous_current) / seconds if seconds > 0 else np.full(6, np.nan)
        speed, turn = np.linalg.norm(twist[:3]), np.linalg.norm(twist[3:])
        if not (speed <= self.max_speed and turn <= self.max_turn):
            return (
                f"a motion of {speed:.3g} m/s and {turn:.3g} rad/s in {seconds:.3f} s is none; at "
                f"most {self.max_speed:g} m/s and {self.max_turn:g} rad/s"
            )
        if self._stamp is not None and since != self._stamp:
            self._add_unknown(abs(since - self._stamp), float(speed), float(turn))
        self._twist, self._stamp = twist, stamp
        self._add(T_previous_current, float(speed) * seconds, float(turn) * seconds)
        length = max(self.noise.translation, spread) * speed
        rate = self.noise.rotation * turn + self.noise.drift * speed
        least = LEAST_STEP / seconds
        self._twist_covariance = _diagonal(np.hypot(length, least), np.hypot(rate, least))
        return ""

    def _add(self, T: np.ndarray, length: float, angle: float) -> None:
        """Chain a motion, and its error to first order: that of odom's axes, rotations about them.

        A pose that is wrong by d in place and w in attitude puts the next one wrong by d + w x R t.
        """
        R = self._T_odom_base[:3, :3]
        F = np.eye(6)
        F[:3, 3:] = -skew(R @ T[:3, 3])
        before = self._deviations()
        self._path, self._turned = self._path + length, self._turned + angle
        after = self._deviations()
        more = _diagonal(*(np.sqrt(b**2 - a**2) for a, b in zip(before, after, strict=True)))
        grown = F @ self._covariance @ F.T + more  # isotropic: the same in all axes
        self._covariance = 0.5 * (grown + grown.T)  # rounding must not make it lean
        self._T_odom_base = self._T_odom_base @ T

    def _deviations(self) -> tuple[float, float]:
        """Return the standard deviations of place and attitude that the path alone makes."""
        rotation = self.noise.rotation * self._turned + self.noise.drift * self._path
        return self.noise.translation * self._path, rotation

    def _add_unknown(self, seconds: float, speed: float, turn: float) -> None:
        """Add what the body may have done while it was lost."""
        speed = max(speed, self.noise.lost_speed, float(np.linalg.norm(self._twist[:3])))
        turn = max(turn, self.noise.lost_turn, float(np.linalg.norm(self._twist[3:])))
        self._covariance = self._covariance + _diagonal(speed * seconds, turn * seconds)


def _bounded(covariance: np.ndarray) -> np.ndarray:
    """Shrink the axes whose variance is over MOST; correlations stay as they are. (6, 6)"""
    shrink = np.sqrt(np.minimum(1.0, MOST / np.diag(covariance)))
    return covariance * np.outer(shrink, shrink)


def _diagonal(translation: float, rotation: float) -> np.ndarray:
    """Make a covariance of two standard deviations. (6, 6)"""
    return np.diag([translation**2] * 3 + [rotation**2] * 3)
