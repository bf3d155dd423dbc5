# SPDX-License-Identifier: Apache-2.0
"""Worlds of a method in odom and in the map, and its covariance in odom, by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from depthkit.errors import ConfigError
from depthkit.rigid import exp_se3, inverse, make_pose
from depthkit.runtime.odometry.odometry_chain import Noise, OdometryChain
from depthkit.runtime.result import OdometryResult, ScaleState
from ros_nodes.odometry_config import FinderConfig, OdometryNodeConfig
from ros_nodes.odometry_method import Step
from ros_nodes.odometry_tracker import OdometryTracker
from ros_nodes.odometry_world import MeasuredCovariance, Worlds, carried, in_odom, world_in_odom

pytestmark = pytest.mark.ros

QUARTER = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # 90 degrees about z
EXACT = Noise(translation=0, rotation=0, drift=0, lost_speed=0, lost_turn=0)


def step(
    x: float = 0.0, *, segment: int = 0, world: tuple[int, int] | None = None, **result: Any
) -> Step:
    """Make a step of 1 m along x that ends at x metres of its world, a second later."""
    given: dict[str, Any] = {
        "T_previous_current": make_pose(np.eye(3), [1.0, 0, 0]),
        "T_world_cam": make_pose(np.eye(3), [x, 0, 0]),
        "scale": "metric",
        "scale_source": "",
        "stamp": x,
        "since": x - 1,
        "segment": segment,
    }
    world = world or (0, segment)
    return Step(OdometryResult(**{**given, **result}), 1.0, "", 0.0, world, (0, 0))


# --- worlds ---------------------------------------------------------------------------------------


def test_a_world_lies_where_its_poses_and_odom_meet() -> None:
    """The body at x = 5 in odom, its camera 0.5 ahead, 2 m into its world: the world is at 3.5."""
    T_odom_base, T_base_cam = (make_pose(np.eye(3), [x, 0, 0]) for x in (5.0, 0.5))
    found = world_in_odom(T_odom_base, T_base_cam, step(2.0))
    np.testing.assert_allclose(found, make_pose(np.eye(3), [3.5, 0, 0]))


def test_the_map_is_odom_until_a_loop() -> None:
    """Whatever world odom goes on in."""
    worlds = Worlds()
    worlds.take(step(), np.eye(4))
    worlds.take(step(segment=1), make_pose(QUARTER, [3.0, 0, 0]))
    np.testing.assert_array_equal(worlds.T_map_odom, np.eye(4))


def test_a_correction_of_the_world_is_turned_into_odom() -> None:
    """Odom is turned by 90 degrees against the world: a correction along x is one along y."""
    worlds, T_odom_world = Worlds(), make_pose(QUARTER, [0.0, 0, 0])
    worlds.take(step(), T_odom_world)
    moved = step(correction=make_pose(np.eye(3), [0.2, 0, 0]))
    worlds.take(moved, T_odom_world)
    np.testing.assert_allclose(worlds.T_map_odom, make_pose(np.eye(3), [0, 0.2, 0]), atol=1e-12)


def test_a_new_segment_is_put_into_the_first_ones_map() -> None:
    """A loop says where: map -> odom takes back what odom had assumed of the gap."""
    worlds = Worlds()
    worlds.take(step(), np.eye(4))
    assumed, true = (make_pose(np.eye(3), [x, 0, 0]) for x in (4.0, 4.5))
    worlds.take(step(segment=1), assumed)
    np.testing.assert_array_equal(worlds.T_map_odom, np.eye(4))
    worlds.take(step(segment=1, correction=true), assumed)
    np.testing.assert_allclose(worlds.T_map_odom, make_pose(np.eye(3), [0.5, 0, 0]))
    # The map of an unknown world says nothing.
    stranger = step(segment=2, correction=true, world=(1, 0))
    worlds.take(Step(stranger.result, 1.0, "", 0.0, (1, 2), (1, 0)), np.eye(4))
    np.testing.assert_allclose(worlds.T_map_odom, make_pose(np.eye(3), [0.5, 0, 0]))


# --- covariance -----------------------------------------------------------------------------------


def test_a_covariance_goes_to_the_body_by_its_lever() -> None:
    """1 mrad about the camera's y, 2 m ahead of the body (z of the camera): 2 mm at the body.

    The camera looks along x of the body, so its y is the body's -z and its x the body's -y.
    """
    look = make_pose([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [2.0, 0, 0])
    own = np.zeros((6, 6))
    own[4, 4] = 1e-6
    found = in_odom(own, look, np.eye(4))
    expected = np.zeros((6, 6))
    expected[5, 5], expected[1, 1] = 1e-6, 4e-6
    expected[1, 5] = expected[5, 1] = -2e-6  # it turns left where it is displaced to the right
    np.testing.assert_allclose(found, expected, atol=1e-15)
    turned = in_odom(own, look, make_pose(QUARTER, [9.0, 9, 9]))
    assert turned[0, 0] == pytest.approx(4e-6) and turned[1, 1] == pytest.approx(0, abs=1e-15)


def test_a_covariance_agrees_with_sampled_poses() -> None:
    """First order against a thousand perturbed poses of the camera."""
    rng = np.random.default_rng(1)
    T_base_cam, T_odom_base = exp_se3(rng.normal(size=(2, 6)))
    root = 1e-3 * rng.normal(size=(6, 6))
    noise = rng.normal(size=(20_000, 6)) @ root.T
    bodies = T_odom_base @ T_base_cam @ exp_se3(noise) @ inverse(T_base_cam)
    place = bodies[:, :3, 3] - T_odom_base[:3, 3]
    R = bodies[:, :3, :3] @ T_odom_base[:3, :3].T
    turn = np.stack([R[:, 2, 1] - R[:, 1, 2], R[:, 0, 2] - R[:, 2, 0], R[:, 1, 0] - R[:, 0, 1]], 1)
    sampled = np.cov(np.concatenate([place, 0.5 * turn], axis=1).T)
    found = in_odom(root @ root.T, T_base_cam, T_odom_base)
    np.testing.assert_allclose(found, sampled, atol=0.05 * np.diag(found).max())


def test_an_attitude_error_turns_what_follows() -> None:
    """1 mrad about z at the start is 5 mm to the side 5 m on."""
    start = np.zeros((6, 6))
    start[5, 5] = 1e-6
    found = carried(start, np.array([5.0, 0, 0]))
    assert found[1, 1] == pytest.approx(25e-6) and found[1, 5] == pytest.approx(5e-6)
    assert found[0, 0] == 0


def test_the_methods_covariance_replaces_the_chains() -> None:
    """From the second motion on; the scale's error adds along the way."""
    tracker = OdometryTracker(OdometryChain(EXACT))
    state, sigma = ScaleState("observed", "imu", 0.1), 0.03
    own = np.diag([sigma**2] * 3 + [1e-4] * 3)
    for x in (1.0, 2.0, 3.0):
        one = step(x, covariance=own, scale_state=state)
        tracker.take(one, T_base_cam=np.eye(4), factor=1.0)
    covariance = tracker.chain.pose().covariance
    assert covariance[0, 0] == pytest.approx(sigma**2 + (0.1 * 2) ** 2, rel=1e-3)
    assert covariance[1, 1] == pytest.approx(sigma**2, rel=1e-3)
    assert covariance[3, 3] == pytest.approx(1e-4, rel=1e-3)
    assert (np.linalg.eigvalsh(covariance) > 0).all()


def test_a_new_segment_keeps_the_doubt_of_the_gap() -> None:
    """Lost for 3 s at 1 m/s: 3 m of doubt stay, whatever the new segment says of itself."""
    noise = Noise(translation=0, rotation=0, drift=0, lost_speed=0, lost_turn=0)
    tracker = OdometryTracker(OdometryChain(noise))
    own = 1e-6 * np.eye(6)
    tracker.take(step(1.0, covariance=own), T_base_cam=np.eye(4), factor=1.0)
    for x in (5.0, 6.0):
        one = step(x, segment=1, covariance=own)
        tracker.take(one, T_base_cam=np.eye(4), factor=1.0)
    assert tracker.segments == 2
    assert tracker.chain.pose().covariance[0, 0] == pytest.approx(9.0, rel=1e-3)


def test_a_motion_over_a_gap_is_an_ordinary_one() -> None:
    """Lost, then found in the same map: no new part of the path, and no doubt added."""
    tracker = OdometryTracker(OdometryChain(EXACT))
    tracker.take(step(1.0), T_base_cam=np.eye(4), factor=1.0)
    nothing = step(2.0, T_previous_current=None, since=None, reason="a covered lens")
    tracker.take(nothing, T_base_cam=np.eye(4), factor=1.0)
    assert tracker.state == "lost" and tracker.reason == "a covered lens"
    over = make_pose(np.eye(3), [3.0, 0, 0])
    found = step(4.0, T_previous_current=over, since=1.0)
    tracker.take(found, T_base_cam=np.eye(4), factor=1.0)
    assert tracker.state == "tracking" and tracker.segments == 1
    assert tracker.chain.pose().T_odom_base[0, 3] == pytest.approx(4.0)
    assert tracker.chain.pose().covariance[0, 0] < 1e-6


def test_without_a_covariance_the_chain_keeps_its_own() -> None:
    """As of networks."""
    chain, measured = OdometryChain(), MeasuredCovariance()
    chain.move(make_pose(np.eye(3), [1.0, 0, 0]), since=0.0, stamp=1.0)
    before = chain.pose().covariance
    measured.apply(chain, step(1.0), np.eye(4), goes_on=True)
    np.testing.assert_array_equal(chain.pose().covariance, before)


def test_the_frame_of_a_saved_map_is_the_body_at_its_start() -> None:
    """The camera sits 0.5 ahead of the body; 2 m into the map's first camera it is 2.5 m in map."""
    worlds, T_base_cam = Worlds(), make_pose(np.eye(3), [0.5, 0, 0])
    T_odom_world = T_base_cam  # odom begins with the body at the identity, as the world's camera
    inside = replace(
        step(correction=make_pose(np.eye(3), [2.0, 0, 0])), map_world=(0, -1), map_root=T_base_cam
    )
    worlds.take(inside, T_odom_world)
    np.testing.assert_allclose(worlds.T_map_odom @ T_odom_world, make_pose(np.eye(3), [2.5, 0, 0]))


def test_places_and_maps_are_of_geometry() -> None:
    """A pose network refuses them; a map asks for a frame of its own, read-only for a map."""
    assert OdometryNodeConfig(places=FinderConfig(map=Path("m"))).has_map_frame
    with pytest.raises(ConfigError, match="places and maps are of geometric odometry"):
        OdometryNodeConfig(model=Path("pose.onnx"), places=FinderConfig(map=Path("m")))
    with pytest.raises(ConfigError, match="map_frame: a frame of its own"):
        OdometryNodeConfig(map_frame="odom", places=FinderConfig(map=Path("m")))
    with pytest.raises(ConfigError, match="map_read_only"):
        FinderConfig(map_read_only=True)
