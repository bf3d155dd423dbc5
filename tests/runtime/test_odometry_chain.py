# SPDX-License-Identifier: Apache-2.0
"""Body poses from camera motion: conjugation, covariance and twist by hand, losses, jumps."""

import numpy as np
import pytest

from depthkit.errors import ShapeError
from depthkit.rigid import exp_se3, inverse, make_pose
from depthkit.runtime.odometry.odometry_chain import (
    LEAST_STEP,
    UNKNOWN,
    Noise,
    OdometryChain,
    body_motion,
    scaled,
)

# Columns are the optical axes in the body's: x right = -y, y down = -z, z ahead = +x.
AHEAD = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
T_BASE_CAM = make_pose(AHEAD, [0.3, 0, 0.5])
QUIET = Noise(translation=0, rotation=0, drift=0, lost_speed=0, lost_turn=0)


def shift(x=0.0, y=0.0, z=0.0) -> np.ndarray:
    """A motion without a turn. (4, 4)"""
    return make_pose(np.eye(3), [x, y, z])


def turn(angle: float) -> np.ndarray:
    """A turn about z, radians. (4, 4)"""
    return exp_se3([0, 0, 0, 0, 0, angle])


def driven(chain: OdometryChain, *motions: np.ndarray, period: float = 0.1, start: float = 0.0):
    """Feed motions one after the other; all must be taken in."""
    for i, motion in enumerate(motions):
        stamps = {"since": start + i * period, "stamp": start + (i + 1) * period}
        assert chain.move(motion, **stamps) == ""
    return chain.pose()


# --- frames ---------------------------------------------------------------------------------------


def test_the_way_ahead_is_x_of_the_body():
    """A camera that moves along its optical axis moves a REP 103 body along +x."""
    found = body_motion(shift(z=0.4), T_BASE_CAM)
    assert found == pytest.approx(shift(x=0.4))
    assert body_motion(shift(x=0.4), T_BASE_CAM) == pytest.approx(shift(y=-0.4))
    assert body_motion(shift(y=0.4), T_BASE_CAM) == pytest.approx(shift(z=-0.4))


def test_a_body_that_turns_on_the_spot_swings_its_camera():
    """90 degrees left about the body: the camera, 0.3 m ahead, goes 0.3 ahead and 0.3 left.

    In its own axes: it turns by -90 degrees about y (down), and moves to x = -0.3, z = -0.3.
    """
    T_camera = inverse(T_BASE_CAM) @ turn(np.pi / 2) @ T_BASE_CAM
    assert T_camera[:3, 3] == pytest.approx([-0.3, 0, -0.3])
    assert body_motion(T_camera, T_BASE_CAM) == pytest.approx(turn(np.pi / 2), abs=1e-12)


def test_scaling_leaves_the_turn():
    """Only the translation has a unit."""
    motion = exp_se3([1, 2, 3, 0.1, 0.2, 0.3])
    assert scaled(motion, 2.0)[:3, 3] == pytest.approx(2 * motion[:3, 3])
    assert (scaled(motion, 2.0)[:3, :3] == motion[:3, :3]).all()


def test_a_square_comes_back():
    """Four times one metre and a left turn: the path is 4 m long, the pose the first one."""
    pose = driven(OdometryChain(QUIET, max_turn=100), *[shift(x=1), turn(np.pi / 2)] * 4)
    assert pose.T_odom_base == pytest.approx(np.eye(4), abs=1e-12)
    chain = OdometryChain(QUIET, max_turn=100)
    assert driven(chain, shift(x=1), turn(np.pi / 2), shift(x=1)).T_odom_base[
        :3, 3
    ] == pytest.approx([1, 1, 0])
    assert chain.path == pytest.approx(2)


# --- twist ----------------------------------------------------------------------------------------


def test_twist_by_hand():
    """0.2 m ahead in 0.1 s is 2 m/s; a quarter turn on an arc of 1 m radius in a second too."""
    assert driven(OdometryChain(), shift(x=0.2)).twist == pytest.approx([2, 0, 0, 0, 0, 0])
    arc = make_pose(turn(np.pi / 2)[:3, :3], [1, 1, 0])
    pose = driven(OdometryChain(), arc, period=1.0)
    assert pose.twist == pytest.approx([np.pi / 2, 0, 0, 0, 0, np.pi / 2])


def test_twist_covariance_by_hand():
    """2 m/s with 10 % noise: 0.2 m/s; a measured spread above it counts in its place."""
    chain = OdometryChain(Noise(translation=0.1, rotation=0.05, drift=0.01))
    assert chain.move(shift(x=0.2), since=0.0, stamp=0.1) == ""
    sure = np.diag(chain.pose().twist_covariance)
    least = (LEAST_STEP / 0.1) ** 2
    assert sure == pytest.approx([0.04 + least] * 3 + [0.02**2 + least] * 3)
    assert chain.move(shift(x=0.2), since=0.1, stamp=0.2, spread=0.3) == ""
    assert np.diag(chain.pose().twist_covariance)[0] == pytest.approx(0.36 + least)


# --- covariance -----------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 7, 100])
def test_the_error_grows_with_the_path(steps):
    """10 m at 10 %: 1 m standard deviation, in however many steps; 100 m: 10 m."""
    noise = Noise(translation=0.1, rotation=0, drift=0)
    pose = driven(OdometryChain(noise), *[shift(x=10 / steps)] * steps, period=1.0)
    expected = np.diag([1.0] * 3 + [0] * 3) + LEAST_STEP**2 * np.eye(6)
    assert pose.covariance == pytest.approx(expected)


def test_a_turn_that_is_wrong_moves_what_follows():
    """One radian turned at 10 %, then 20 m: y is off by 20 m times 0.1 rad, in odom's axes."""
    noise = Noise(translation=0, rotation=0.1, drift=0)
    pose = driven(OdometryChain(noise), turn(1.0), shift(x=20), period=1.0)
    ahead = np.array([np.cos(1.0), np.sin(1.0), 0])
    left = np.array([-np.sin(1.0), np.cos(1.0), 0])
    place = pose.covariance[:3, :3]
    assert left @ place @ left == pytest.approx(2.0**2, rel=1e-6)
    assert ahead @ place @ ahead == pytest.approx(0, abs=1e-6)
    assert np.diag(pose.covariance)[3:] == pytest.approx([0.01] * 3, rel=1e-4)
    # The correlation is exact: an error w about z goes with 20 w to the left.
    assert pose.covariance[:3, 5] == pytest.approx(0.01 * 20 * left, abs=1e-6)


def test_covariances_are_those_of_noisy_drives():
    """First order equals many drives with turns that are wrong by 2 % of all turned."""
    rng = np.random.default_rng(0)
    motions = [shift(x=1) @ turn(0.3)] * 8
    chain = OdometryChain(Noise(translation=0, rotation=0.02, drift=0))
    expected = driven(chain, *motions, period=1.0).covariance
    # Increments of variance as the chain makes them: independent, summing to (0.02 * 2.4)^2.
    deviations = np.sqrt(np.diff((0.02 * 0.3 * np.arange(9)) ** 2))
    ends = np.eye(4)
    for motion, deviation in zip(motions, deviations, strict=True):
        wrong = np.zeros((20_000, 6))
        wrong[:, 5] = deviation * rng.normal(size=20_000)
        ends = ends @ motion @ exp_se3(wrong)
    assert np.cov(ends[:, :2, 3].T) == pytest.approx(expected[:2, :2], rel=0.1, abs=1e-4)


def test_standing_is_not_perfect():
    """No variance is 0: filters divide by it."""
    pose = driven(OdometryChain(), shift())
    for covariance in (pose.covariance, pose.twist_covariance):
        assert (np.linalg.eigvalsh(covariance) > 0).all()


# --- losses and jumps -----------------------------------------------------------------------------


def test_lost_by_hand():
    """2 m/s, lost for 3 s, then 1 m/s: the pose goes on from where it was, 6 m less sure."""
    chain = OdometryChain(QUIET)
    driven(chain, shift(x=0.2))
    lost = chain.lost_pose()
    assert lost.T_odom_base[:3, 3] == pytest.approx([0.2, 0, 0])
    assert (lost.covariance == UNKNOWN * np.eye(6)).all() and not lost.twist.any()
    assert (lost.twist_covariance == UNKNOWN * np.eye(6)).all()
    pose = driven(chain, shift(x=0.1), start=3.1)
    assert pose.T_odom_base[:3, 3] == pytest.approx([0.3, 0, 0])
    assert np.diag(pose.covariance)[:3] == pytest.approx([36] * 3, rel=1e-6)


def test_far_drift_and_long_losses_do_not_say_lost():
    """15 s lost at 10 m/s are 22 500 m^2, more than the 9999 that means lost to others: the pose is
    known all the same, its errors stay correlated, and a clock that leapt does no more harm."""
    chain = OdometryChain(Noise(lost_turn=0.0))
    driven(chain, *[shift(x=10)] * 50, period=1.0)
    before = chain.pose().covariance
    covariance = driven(chain, shift(x=1), period=1.0, start=65.0).covariance
    assert np.diag(covariance)[:3] == pytest.approx([0.99 * UNKNOWN] * 3)
    assert np.diag(covariance)[3:] == pytest.approx(np.diag(before)[3:], rel=0.01)
    assert (np.linalg.eigvalsh(covariance) > 0).all()
    assert abs(covariance[1, 5]) > 0.1 * abs(before[1, 5])
    far = driven(chain, shift(x=1), period=1.0, start=1.7e9).covariance
    assert np.diag(far).max() < UNKNOWN and (np.linalg.eigvalsh(far) > 0).all()


def test_a_robot_that_stood_may_have_moved_while_lost():
    """Speeds of the noise count where the motion before and after is slower."""
    chain = OdometryChain(Noise(lost_speed=1.0, lost_turn=0.5))
    driven(chain, shift())
    pose = driven(chain, shift(), start=2.1)
    assert np.diag(pose.covariance) == pytest.approx([4.0] * 3 + [1.0] * 3, rel=1e-6)


def test_time_that_ran_back_is_a_loss():
    """A bag that starts again: the pose is continuous, less sure by the whole of the jump."""
    chain = OdometryChain(QUIET)
    driven(chain, shift(x=0.2), start=20.0)
    pose = driven(chain, shift(x=0.2), start=0.0)
    assert pose.T_odom_base[:3, 3] == pytest.approx([0.4, 0, 0])
    assert np.sqrt(pose.covariance[0, 0]) == pytest.approx(2 * 20.1, rel=1e-3)


@pytest.mark.parametrize(
    "motion", [shift(x=1.1), turn(0.11), np.full((4, 4), np.nan), shift(y=np.inf)]
)
def test_a_jump_is_no_motion(motion):
    """Above max_speed or max_turn, and what is not finite: refused, nothing has moved."""
    chain = OdometryChain(max_speed=10, max_turn=1)
    before = driven(chain, shift(x=0.5))
    assert "rejected: the limits are 10 m/s and 1 rad/s" in chain.move(motion, since=0.1, stamp=0.2)
    assert (chain.pose().T_odom_base == before.T_odom_base).all()
    assert (chain.pose().covariance == before.covariance).all()
    assert "rejected: the limits" in chain.move(shift(), since=0.2, stamp=0.2)  # no time has passed


def test_results_are_the_callers():
    """Writing into a pose changes no later one."""
    chain = OdometryChain()
    pose = driven(chain, shift(x=0.2))
    pose.T_odom_base[:] = pose.covariance[:] = pose.twist[:] = np.nan
    again = chain.pose()
    assert np.isfinite(again.T_odom_base).all() and np.isfinite(again.twist).all()


def test_reset_goes_back_to_the_origin():
    """As new: no path, no error, no loss."""
    chain = OdometryChain(QUIET)
    driven(chain, shift(x=1), shift(x=1))
    chain.reset()
    assert not chain.has_moved and chain.path == 0
    pose = driven(chain, shift(x=0.1), start=99.0)
    assert pose.T_odom_base[0, 3] == pytest.approx(0.1)
    assert np.diag(pose.covariance).max() < 1e-6


def test_wrong_shapes_raise():
    """The caller's bug."""
    with pytest.raises(ShapeError):
        body_motion(np.eye(3), np.eye(4))
    with pytest.raises(ShapeError):
        OdometryChain().move(np.eye(3), since=0, stamp=1)
