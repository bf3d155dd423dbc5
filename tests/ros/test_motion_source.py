# SPDX-License-Identifier: Apache-2.0
"""How the camera moved: what a frame is told, what it waits for, what is said of a topic."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest
import ros_made
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from ros_graph import Graph
from ros_processes import Processes
from sensor_msgs.msg import Imu

from depthkit.errors import ConfigError
from depthkit.rigid import exp_se3, matrix_to_quaternion
from depthkit.ros_messages import nanoseconds, read_pose, seconds
from depthkit.runtime.motion.told import NO_MOTION, Motion
from depthkit.trajectory import Trajectory, interpolate_poses
from ros_nodes.inputs.frames import Extrinsic, ExtrinsicConfig
from ros_nodes.inputs.motion_source import MotionConfig, MotionSource
from ros_nodes.inputs.motion_topics import MISSING
from ros_nodes.life.params import declare

pytestmark = pytest.mark.ros

LEVEL = (0.0, 0.0, 0.0, 1.0)
HALF = np.pi / 2
AHEAD = ExtrinsicConfig(xyz=(0.1, 0.0, 0.0), rpy=(-HALF, 0.0, -HALF))
"""A camera 0.1 m ahead of the body's centre, looking ahead."""


class Bench:
    """A robot played by a probe, and the source of motion that hears it."""

    def __init__(self, graph: Graph, extrinsic: ExtrinsicConfig = AHEAD, **config: Any) -> None:
        self.graph, self.probe, self.node = graph, graph.probe(), graph.node("eye")
        self.motion = MotionSource(
            self.node, MotionConfig(**config), Extrinsic(self.node, extrinsic)
        )
        self.motion.start()

    def send(self, topic: str, *messages: Any) -> None:
        """Send messages and wait until the last of them was heard."""
        heard = self.motion._topics[0].listener
        self.probe.wait_for_reader(topic, type(messages[0]))
        for message in messages:
            before = heard._last
            self.probe.publish(topic, message)
            self.graph.spin_until(lambda b=before: heard._last != b)

    def tell(self, stamp: float, since: float | None = None, camera: str = "camera") -> Any:
        """Ask as a worker does, but in this thread."""
        return self.motion.tell(stamp, camera, since=since)

    def status(self, after: float = 0.0) -> Any:
        """Ask for the status in some seconds."""
        return self.motion.status(time.monotonic() + after)


@pytest.fixture
def bench(graph: Graph) -> Callable[..., Bench]:
    """Make a robot and its source of motion."""
    return lambda *extrinsic, **config: Bench(graph, *extrinsic, **config)


def odometry(x: float, stamp: float, **names: str) -> Odometry:
    """A level body at x metres."""
    return ros_made.odometry((x, 0, 0), LEVEL, stamp, **names)


def twist(speed: float, stamp: float) -> TwistStamped:
    """A body that goes 3 : 4 to the side."""
    message = TwistStamped(header=odometry(0, stamp).header)
    message.twist.linear.x, message.twist.linear.y = 0.6 * speed, 0.8 * speed
    return message


def imu(stamp: float, *, q: Any = None, rate_z: float = 0.0, frame: str = "imu") -> Imu:
    """An IMU: an orientation, or only a turn rate about z."""
    message = Imu(header=odometry(0, stamp).header)
    message.header.frame_id = frame
    message.angular_velocity.z = rate_z
    if q is None:
        message.orientation_covariance[0] = -1.0
    else:
        turn = message.orientation
        turn.x, turn.y, turn.z, turn.w = map(float, q)
    return message


# --- odometry -------------------------------------------------------------------------------------


def test_pose_is_the_camera_s(bench: Callable[..., Bench]) -> None:
    """Half way from x = 1 to x = 2 the camera is at 1.6 m: the body at 1.5, the camera 0.1 ahead.

    Its z axis is the world's x, its x axis the world's -y.
    """
    robot = bench(source="odometry")
    robot.send("odometry", odometry(1.0, 5.0), odometry(2.0, 5.2))
    T = robot.tell(5.1).T_world_cam
    assert T[:3, 3] == pytest.approx([1.6, 0, 0], abs=1e-9)
    assert T[:3, 2] == pytest.approx([1, 0, 0]) and T[:3, 0] == pytest.approx([0, -1, 0])
    assert robot.motion.reason == "" and robot.status().level == "ok"


def test_poses_live_equal_those_of_the_whole_recording(bench: Callable[..., Bench]) -> None:
    """Told frame by frame or interpolated afterwards: the same bytes."""
    robot = bench(source="odometry", wait=0.0)
    rng = np.random.default_rng(3)
    stamps_ns = [1_700_000_000_000_000_000 + 20_000_000 * i + int(i % 3) for i in range(30)]
    poses = exp_se3(0.3 * rng.normal(size=(30, 6)))
    messages = [
        ros_made.odometry(T[:3, 3], matrix_to_quaternion(T[:3, :3]), ns)
        for T, ns in zip(poses, stamps_ns, strict=True)
    ]
    asked = [1_700_000_000_000_000_000 + 33_333_333 * i for i in range(1, 16)]
    told, heard = [], 0
    for ns in asked:
        due = [m for m in messages[heard:] if ros_made.nanoseconds_of(m) < ns + 30_000_000]
        robot.send("odometry", *due)
        heard += len(due)
        told.append(robot.tell(ns * 1e-9).T_world_cam)
    whole = Trajectory(
        np.array([seconds(nanoseconds(m.header.stamp)) for m in messages]),
        np.stack([read_pose(m.pose.pose) for m in messages]),
    )
    wanted, known = interpolate_poses(whole, [ns * 1e-9 for ns in asked], 0.5)
    assert known.all()
    wanted = wanted @ AHEAD.matrix
    assert [T.tobytes() for T in told] == [T.tobytes() for T in wanted]


def test_earlier_frame_is_recalled_without_a_wait(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking for the past is no time that runs back: nothing is forgotten."""
    robot = bench(source="odometry", wait=2.0, stale=5.0)
    robot.send("odometry", *(odometry(i, 5.0 + 0.4 * i) for i in range(6)))
    assert robot.tell(7.0).T_world_cam[0, 3] == pytest.approx(5.1)
    assert robot.motion.recall(5.2, "camera").T_world_cam[0, 3] == pytest.approx(0.6)
    assert robot.tell(7.0).T_world_cam[0, 3] == pytest.approx(5.1)
    waits = noted_waits(robot, monkeypatch)
    assert robot.motion.recall(7.5, "camera") == MISSING
    assert waits == [] and "newest" in robot.motion.reason


def test_a_missing_pose_is_expected(bench: Callable[..., Bench]) -> None:
    """Never left out: a stream that knows its motion must not become one that does not."""
    robot = bench(source="odometry", wait=0.0, max_gap=0.5)
    assert robot.tell(5.0) == MISSING
    assert robot.motion.reason == "odometry on /odometry: no message yet"
    robot.send("odometry", odometry(0, 5.0), odometry(1, 6.0))
    assert robot.tell(5.5) == MISSING
    assert robot.motion.reason == "odometry on /odometry: a gap of 1.000 s, over 0.5"
    assert robot.status().level == "warn" and "a gap" in robot.status().message
    assert robot.tell(6.2) == MISSING
    assert "newest is 0.200 s older" in robot.motion.reason


def test_body_without_transform_names_frames_and_remedies(graph: Graph) -> None:
    """A camera at an unknown place has no pose."""
    robot = Bench(graph, ExtrinsicConfig(), source="odometry")
    robot.send("odometry", odometry(0, 5.0, child_frame_id="base"), odometry(1, 5.1))
    robot.send("odometry", odometry(2, 5.2, child_frame_id="base"))
    assert robot.tell(5.2, camera="cam_optical") == MISSING
    for part in ("'base'", "'cam_optical'", "/tf_static", "extrinsic.xyz"):
        assert part in robot.status().message
    assert robot.tell(5.2, camera="base").T_world_cam is not None


def test_what_cannot_be_a_pose_is_refused(bench: Callable[..., Bench]) -> None:
    """NaN, zero quaternion, zero stamp, and odometry that says it is lost; good ones go on."""
    robot = bench(source="odometry", wait=0.0)
    lost = odometry(9, 5.05)
    lost.pose.covariance[0] = 9999.0
    refused = [
        (ros_made.odometry((np.nan, 0, 0), LEVEL, 5.05), "NaN"),
        (ros_made.odometry((0, 0, 0), (0, 0, 0, 0), 5.05), "norm 0"),
        (odometry(0, 0.0), "stamp is zero"),
        (odometry(0, 5.0), "came before"),
        (odometry(0, 4.9), "older"),
        (lost, "it is lost"),
    ]
    robot.send("odometry", odometry(0, 5.0))
    for message, reason in refused:
        robot.send("odometry", message)
        assert reason in robot.status().values["odometry_refused_last"]
    robot.send("odometry", odometry(1, 5.1))
    assert robot.tell(5.05).T_world_cam[0, 3] == pytest.approx(0.6)
    assert robot.status().values["odometry_refused"] == len(refused)


def test_refused_odometry_is_why_there_is_none(bench: Callable[..., Bench]) -> None:
    """It comes and is refused: that is the reason, not its age; forgotten with the next good one
    and where no frame asks for a while."""
    robot = bench(source="odometry", wait=0.0)
    robot.send("odometry", odometry(0, 5.0), ros_made.odometry((np.nan, 0, 0), LEVEL, 5.1))
    robot.tell(5.1)
    assert "the newest is 0.100 s older" in robot.status().message
    assert "; its messages are rejected: pose: holds NaN" in robot.status().message
    assert robot.status(after=0.5).level == "warn"
    robot.motion.config = replace(robot.motion.config, stale=60.0)
    assert robot.status(after=6.0).level == "ok"
    robot.send("odometry", odometry(0, 5.2))
    robot.tell(5.3)
    assert "refused" not in robot.status().message


def test_another_world_is_another_epoch(bench: Callable[..., Bench]) -> None:
    """Odometry that changes its frames, or starts anew, does not continue what was told."""
    robot = bench(source="odometry", wait=0.0)
    robot.send("odometry", odometry(0, 5.0), odometry(1, 5.1))
    robot.tell(5.1)
    assert robot.motion.epoch == 0
    robot.send("odometry", odometry(7, 5.2, frame_id="map"))
    assert robot.tell(5.15) == MISSING and robot.motion.epoch == 1
    robot.send("odometry", odometry(7, 1.0, frame_id="map"))
    robot.tell(1.0)
    assert robot.motion.epoch == 2


# --- waiting --------------------------------------------------------------------------------------


def noted_waits(robot: Bench, monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, bool]]:
    """Note each wait, its longest time and whether it was needless, instead of waiting."""
    waits: list[tuple[float, bool]] = []

    def wait_for(is_over: Callable[[], bool], timeout: float) -> bool:
        waits.append((timeout, is_over()))
        return waits[-1][1]

    monkeypatch.setattr(robot.motion._changed, "wait_for", wait_for)
    return waits


@pytest.fixture
def patient(bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A robot whose frames wait for a minute: only what the test does ends a wait in time."""
    robot = bench(source="odometry", wait=5.0, stale=60.0)
    wait_for = robot.motion._changed.wait_for
    monkeypatch.setattr(robot.motion._changed, "wait_for", lambda over, _: wait_for(over, 60.0))
    robot.send("odometry", odometry(1.0, 5.0))
    return robot


def asked_aside(robot: Bench, stamp: float) -> tuple[threading.Thread, list[Any]]:
    """Ask on a thread of its own, as the worker does; note what is told."""
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(robot.tell(stamp)), daemon=True)
    thread.start()
    return thread, answers


def test_waiting_ends_when_the_motion_comes(patient: Bench) -> None:
    """The frame is younger than the newest odometry; the next message ends the wait."""
    thread, answers = asked_aside(patient, 5.05)
    patient.graph.spin_for(0.05)
    assert not answers
    patient.send("odometry", odometry(2.0, 5.1))
    thread.join(30.0)
    assert answers and answers[0].T_world_cam[0, 3] == pytest.approx(1.6)


def test_waiting_never_lasts_longer_than_told(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Motion that does not come costs `wait`; a silent topic costs nothing."""
    robot = bench(source="odometry", wait=0.4, stale=60.0)
    robot.send("odometry", odometry(1.0, 5.0))
    waits = noted_waits(robot, monkeypatch)
    assert robot.tell(6.0) == MISSING
    assert waits == [(0.4, False)]
    assert robot.motion.reason.endswith("older than the frame after 0.4 s of waiting (motion.wait)")
    robot.motion.config = replace(robot.motion.config, stale=0.05)
    robot.graph.spin_until(lambda: "stale" in robot.status().message)
    assert robot.tell(6.1) == MISSING
    assert waits[1:] == [(0.4, True)]


def test_waiting_does_not_hold_up_the_end(patient: Bench) -> None:
    """`stop` lets the frame go; `start` hears again."""
    robot = patient
    thread, _ = asked_aside(robot, 6.0)
    robot.graph.spin_for(0.05)
    robot.motion.stop()
    thread.join(30.0)
    assert not thread.is_alive()
    robot.motion.start()
    robot.send("odometry", odometry(3.0, 7.0))
    assert robot.tell(7.0).T_world_cam[0, 3] == pytest.approx(3.1)


def test_time_that_runs_back_forgets_the_motion_before(bench: Callable[..., Bench]) -> None:
    """Images may be back before odometry is, and after: never a pose of the other time."""
    robot = bench(source="odometry", wait=0.0)
    robot.send("odometry", *(odometry(i, 50.0 + 0.1 * i) for i in range(20)))
    assert robot.tell(51.9).T_world_cam is not None
    assert robot.tell(50.55) == MISSING  # a second and more back: forgotten
    robot.send("odometry", odometry(100, 50.5), odometry(101, 50.6))
    assert robot.tell(50.6).T_world_cam[0, 3] == pytest.approx(101.1)
    robot.send("odometry", odometry(200, 40.0), odometry(201, 40.1))  # odometry first
    assert robot.tell(40.1).T_world_cam[0, 3] == pytest.approx(201.1)
    robot.motion.clear()
    assert robot.tell(40.1) == MISSING


# --- what is said of a topic ----------------------------------------------------------------------


def test_odometry_that_never_comes_is_named(bench: Callable[..., Bench]) -> None:
    """With its topic and its publishers, and where else odometry is to be had."""
    robot = bench(source="odometry")
    assert robot.status().level == "error"
    assert robot.status().message == "no odometry has come on /odometry (no publisher)"
    robot.probe.publisher("vio/odometry", Odometry)
    robot.graph.spin_until(lambda: "remap it to /vio/odometry" in robot.status().message)
    robot.probe.publisher("odometry", Odometry)
    robot.graph.spin_until(lambda: "(1 publisher)" in robot.status().message)


def test_stale_odometry_is_named_with_its_age(bench: Callable[..., Bench]) -> None:
    """And it recovers by itself."""
    robot = bench(source="odometry", stale=1.0)
    robot.send("odometry", odometry(1.0, 5.0))
    assert robot.status(0.5).level == "ok"
    late = robot.status(3.0)
    assert late.level == "error"
    assert "odometry is stale: 3.0 s old on /odometry (1 publisher)" in late.message
    robot.send("odometry", odometry(1.0, 9.0))
    assert robot.status().level == "ok" and robot.status().values["odometry_age_s"] < 1.0


def test_no_source_is_well(bench: Callable[..., Bench]) -> None:
    """Nothing is told, and the status says what that means."""
    robot = bench()
    assert robot.tell(5.0, 4.0) == NO_MOTION and robot.motion.reason == ""
    assert (robot.status().level, robot.status().message) == ("ok", "motion is not used")


# --- speed and twist ------------------------------------------------------------------------------


def test_speed_gives_the_way_since_the_frame_before(bench: Callable[..., Bench]) -> None:
    """2 m/s for 0.25 s; the first frame begins at 0."""
    robot = bench(source="speed", speed=2.0)
    assert robot.tell(5.0) == Motion(displacement=0.0)
    assert robot.tell(5.25, 5.0) == Motion(displacement=0.5)
    robot.motion.config = MotionConfig(source="speed", speed=4.0)
    assert robot.tell(5.5, 5.25) == Motion(displacement=1.0)


def test_twist_adds_up_over_dropped_frames(bench: Callable[..., Bench]) -> None:
    """From 5.0 to 5.4 at 1, 2, then 2 m/s: 0.3 + 0.4 m, however many frames lie between."""
    robot = bench(source="twist", wait=0.0)
    robot.send("twist", twist(1.0, 5.0))
    robot.send("twist", twist(2.0, 5.2), twist(2.0, 5.4))
    assert robot.tell(5.0) == Motion(displacement=0.0)
    assert robot.tell(5.4, 5.0).displacement == pytest.approx(0.7)
    assert robot.tell(5.3, 5.2).displacement == pytest.approx(0.2)
    assert robot.tell(5.5, 5.4) == MISSING
    assert "newest is 0.100 s older" in robot.motion.reason


def test_twist_without_stamp_is_as_old_as_its_arrival(bench: Callable[..., Bench]) -> None:
    """The type that is published is found out; the clock is the node's."""
    robot = bench(source="twist", wait=0.0, max_gap=2.0)
    message = Twist()
    message.linear.x = 3.0
    robot.send("twist", message)
    start = time.time()
    robot.graph.spin_for(0.3)
    robot.send("twist", message)
    assert robot.tell(start + 0.25, start + 0.05).displacement == pytest.approx(0.6)
    assert robot.status().values["twist_topic"] == "/twist"


def test_twist_of_another_type_takes_over(graph: Graph, processes: Processes) -> None:
    """A driver that ends and comes back with stamps is heard again."""
    eye = graph.node("eye")
    extrinsic = Extrinsic(eye, ExtrinsicConfig())
    motion = MotionSource(eye, MotionConfig(source="twist", wait=0.0), extrinsic)
    motion.start()
    for kind in (Twist, TwistStamped):
        driver = Graph(int(os.environ["ROS_DOMAIN_ID"]))  # one participant has one type a topic
        publisher, ticks = driver.node("driver").create_publisher(kind, "twist", 10), count()

        def has_come(kind: Any = kind, publisher: Any = publisher, ticks: Any = ticks) -> bool:
            publisher.publish(Twist() if kind is Twist else twist(1.0, 5.0 + 0.1 * next(ticks)))
            newest = motion._topics[0].reader.track.newest
            return newest is not None and (newest < 1e9) == (kind is TwistStamped)

        graph.spin_until(has_come)
        driver.close()
        graph.spin_until(lambda: eye.count_publishers("/twist") == 0)
    newest = motion._topics[0].reader.track.newest
    assert newest is not None
    assert motion.tell(newest, "camera", since=newest).displacement == 0.0


# --- attitude -------------------------------------------------------------------------------------


def test_orientation_is_turned_into_the_camera_s(bench: Callable[..., Bench]) -> None:
    """The IMU yaws by 90 degrees: what looked along x looks along y; x stays level on its right."""
    robot = bench(attitude="imu", wait=0.0)
    robot.send("imu", imu(5.0, q=LEVEL), imu(5.1, q=(0, 0, np.sqrt(0.5), np.sqrt(0.5))))
    first, second = (robot.tell(stamp).R_world_cam for stamp in (5.0, 5.1))
    assert first[:, 2] == pytest.approx([1, 0, 0]) and first[:, 0] == pytest.approx([0, -1, 0])
    assert second[:, 2] == pytest.approx([0, 1, 0]) and second[:, 0] == pytest.approx([1, 0, 0])
    half = robot.tell(5.05).R_world_cam
    assert half[:, 2] == pytest.approx([np.sqrt(0.5), np.sqrt(0.5), 0])


def test_gyroscope_is_integrated_where_there_is_no_orientation(
    bench: Callable[..., Bench],
) -> None:
    """90 degrees a second about the IMU's z for half a second: 45 degrees."""
    robot = bench(attitude="imu", source="speed", speed=1.0, wait=0.0)
    robot.send("imu", *(imu(5.0 + 0.01 * i, rate_z=HALF) for i in range(51)))
    told = robot.tell(5.5, 5.0)
    assert told.displacement == pytest.approx(0.5)
    assert told.R_world_cam[:, 2] == pytest.approx([np.sqrt(0.5), np.sqrt(0.5), 0], abs=1e-6)


def test_imu_that_tells_nothing_is_named(bench: Callable[..., Bench]) -> None:
    """Neither orientation nor rate, a zero quaternion, a zero stamp, an orientation left unset."""
    robot = bench(attitude="imu", wait=0.0)
    mute = imu(5.0)
    mute.angular_velocity_covariance[0] = -1.0
    wrong = [(mute, "neither"), (imu(5.0, q=(0, 0, 0, 0)), "norm 0"), (imu(0.0), "zero")]
    wrong.append((imu(5.0, q=LEVEL, rate_z=0.2), "stays the identity"))  # what a driver left unset
    for message, reason in wrong:
        robot.send("imu", message)
        assert reason in robot.status().values["imu_refused_last"]
    assert robot.tell(5.0) == MISSING
    assert robot.motion.reason.startswith("imu on /imu: no message yet")


def test_hole_in_the_gyroscope_is_another_epoch(bench: Callable[..., Bench]) -> None:
    """What turned meanwhile is unknown, so the past must go."""
    robot = bench(attitude="imu", wait=0.0, max_gap=0.2)
    robot.send("imu", imu(5.0), imu(5.1))
    robot.tell(5.1)
    assert robot.motion.epoch == 0
    robot.send("imu", imu(6.0))
    assert robot.tell(6.0).R_world_cam == pytest.approx(AHEAD.matrix[:3, :3])
    assert robot.motion.epoch == 1


def test_imu_at_an_unknown_place_has_no_attitude(graph: Graph) -> None:
    """Its turns are the camera's only once it is known how the two are mounted."""
    robot = Bench(graph, ExtrinsicConfig(), attitude="imu", wait=0.0)
    robot.send("imu", imu(5.0, q=LEVEL))
    assert robot.tell(5.0) == MISSING
    assert "'imu'" in robot.motion.reason and "'camera'" in robot.motion.reason


# --- configuration --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"source": "speed"}, "speed"),
        ({"source": "odometry", "attitude": "imu"}, "attitude"),
        ({"wait": -0.1}, "wait"),
        ({"max_gap": 0.0}, "max_gap"),
        ({"stale": np.nan}, "stale"),
    ],
)
def test_impossible_configuration_is_refused(wrong: dict[str, Any], name: str) -> None:
    """It names the field."""
    with pytest.raises(ConfigError, match=name):
        MotionConfig(**wrong)


def test_configuration_is_declared_as_parameters(graph: Graph) -> None:
    """With its defaults, and as given."""
    assert declare(graph.node("a"), MotionConfig) == MotionConfig()
    given = {"source": "twist", "attitude": "imu", "wait": 0.5}
    wanted = MotionConfig("twist", "imu", wait=0.5)
    assert declare(graph.node("b", parameters=given), MotionConfig) == wanted
