# SPDX-License-Identifier: Apache-2.0
"""Frames and samples through player and odometry node give the poses of the odometry offline.

Whatever frames the node drops, the samples of a frame are those after the one before it that was
processed: the same rows give the same bytes.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags.rosbag2", reason="rosbags is not installed (extra [bag])")

from geometric_rig import DOWN, over_plane
from nav_msgs.msg import Odometry
from odometry_rig import place
from ros_graph import Graph
from runtime.plane_flight import SIZE, K

from depthkit.camera import Camera
from depthkit.data.bag_writer import stamp_of
from depthkit.data.sequence import SequenceWriter
from depthkit.data.stream import FrameStream, open_stream
from depthkit.rigid import make_pose
from depthkit.ros_messages import nanoseconds, seconds
from depthkit.runtime import OdometryResult
from depthkit.runtime.odometry.geometric import GeometricConfig, GeometricOdometry
from depthkit.runtime.odometry.odometry_chain import OdometryChain
from depthkit.runtime.streams import NO_IMU
from depthkit.synth.imu import T_CAM_IMU, SmoothPath, find_grade, simulate_imu
from depthkit.trajectory.imu import Imu, save_imu
from ros_nodes.inputs.frames import ExtrinsicConfig
from ros_nodes.odometry_config import GEOMETRIC_GAP
from ros_nodes.odometry_method import Step
from ros_nodes.odometry_node import OdometryNode
from ros_nodes.odometry_tracker import OdometryTracker
from ros_nodes.player_node import Player

pytestmark = pytest.mark.ros

FRAMES, RATE = 12, 10.0
AHEAD = 0.5  # seconds of samples that the player sends before its first frame


class Replay:
    """One recording played to a geometric node, until so many frames are processed."""

    def __init__(self, graph: Graph, source: Path, count: int, **settings: Any) -> None:
        self.results: list[OdometryResult] = []
        self.lost, self._graph = 0, graph
        imu = {"file": source / "imu.yaml"} if (source / "imu.yaml").exists() else {}
        parameters = {"extrinsic": DOWN, "imu": {"use": bool(imu), "wait": 1.0, **imu}}
        self.node = OdometryNode(graph.node("odometry_node", parameters=parameters))
        self.relative: list[Odometry] = graph.probe().collect("odometry_relative", Odometry)
        given = {"source": source, "stamps": "source", "wait_for_subscribers": 1, **settings}
        player = Player(graph.node("player", parameters=given))
        self._listen()
        self.node.start()
        player.start()
        try:
            graph.spin_until(lambda: len(self.results) >= count)
        finally:
            player.stop()
            self.node.stop()
            player.close()
            self.node.close()
        graph.spin_for(0.1)

    def _listen(self) -> None:
        method, process = self.node.method, self.node.method.process

        def kept(*given: Any) -> Step:
            step = process(*given)
            self.results.append(step.result)
            return step

        method.process = kept  # type: ignore[method-assign]


def offline(stream: FrameStream, live: list[OdometryResult], start: float) -> list[OdometryResult]:
    """Compute the frames that the node has processed, without ROS.

    Args:
        stream: the recording.
        live: results of the node.
        start: of playing, seconds into the recording.
    """
    imu, stamps = None, {one.stamp for one in live}
    if stream.imu is not None:
        rows = stream.imu.rows.copy()
        rows[:, 0] = [seconds(stamp_of(time)) for time in rows[:, 0]]
        imu = Imu(rows, stream.imu.T_cam_imu, stream.imu.noise)
    odometry = GeometricOdometry(
        GeometricConfig(max_gap=GEOMETRIC_GAP, keep_path=False), imu=imu, valid=stream.covered
    )
    results: list[OdometryResult] = []
    before = seconds(stamp_of(stream.times[0]) + round((start - AHEAD) * 1e9))
    for time, frame in zip(stream.times, stream.frames(), strict=True):
        stamp = seconds(stamp_of(time))
        if stamp not in stamps:
            continue
        rows = NO_IMU if imu is None else imu.between(before, stamp)
        assert frame.rgb is not None and stream.camera is not None
        results.append(odometry.process(frame.rgb, stamp=stamp, K=stream.camera.K, imu=rows))
        before = stamp
    return results


def check_equal(live: list[OdometryResult], expected: list[OdometryResult]) -> None:
    """Compare all of both, byte by byte."""
    assert [one.stamp for one in live] == [one.stamp for one in expected]
    for ours, theirs in zip(live, expected, strict=True):
        assert ours.T_world_cam.tobytes() == theirs.T_world_cam.tobytes()
        assert (ours.reason, ours.segment) == (theirs.reason, theirs.segment)
        assert ours.scale_state == theirs.scale_state
        known = ours.points is not None and theirs.points is not None
        assert (ours.points is None) == (theirs.points is None)
        assert not known or ours.points.positions.tobytes() == theirs.points.positions.tobytes()


@pytest.fixture
def flight(tmp_path: Path) -> Path:
    """A sequence folder over a plane, with the samples of an IMU on the camera."""
    root, times = tmp_path / "flight", np.arange(FRAMES) / RATE
    camera = Camera(*SIZE, K[0, 0], K[1, 1], K[0, 2], K[1, 2])
    with SequenceWriter(root, camera, ext="png") as writer:
        for i, time in enumerate(times):
            writer.add_frame(over_plane(0.2 * i), 5 + time)
    poses = np.stack([make_pose(np.eye(3), [0.2 * i, 0.0, 0.0]) for i in range(FRAMES)])
    path = SmoothPath(5 + times, poses, T_CAM_IMU)
    save_imu(root, simulate_imu(path, find_grade("adis"), seed=1)[0])
    return root


def test_live_equals_offline(graph: Graph, flight: Path) -> None:
    """Results byte for byte, and the messages are their chain."""
    replay = Replay(graph, flight, FRAMES - 2)
    expected = offline(open_stream(flight), replay.results, 0.0)
    check_equal(replay.results, expected)
    assert sum(not one.reason for one in expected) >= 3
    assert replay.node.method._imu._refused == 0
    tracker = OdometryTracker(OdometryChain(max_speed=np.inf))
    turned = ExtrinsicConfig(rpy=tuple(DOWN["rpy"])).matrix
    places = {}
    for one in expected:
        tracker.take(Step(one, 1.0, "", 0.0, (1, one.segment)), T_base_cam=turned, factor=1.0)
        if tracker.pose is not None:
            places[stamp_of(one.stamp)] = tracker.pose.T_odom_base[:3, 3].tolist()
    assert len(replay.relative) >= 3
    for message in replay.relative:
        found = [places[s] for s in places if abs(s - nanoseconds(message.header.stamp)) < 1000]
        assert found == [place(message)]


@pytest.mark.slow
def test_kitchen_equals_offline(graph: Graph, data_root: Path, tmp_path: Path) -> None:
    """Sixty frames of a hand-held camera."""
    source = data_root / "sevenscenes_redkitchen"
    with SequenceWriter(tmp_path / "kitchen", Camera(640, 480, 525, 525, 320, 240)) as writer:
        for i in range(60):
            bgr = np.asarray(cv2.imread(str(source / f"frame-{i:06d}.color.jpg")))
            writer.add_frame(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), i / 30)
    replay = Replay(graph, tmp_path / "kitchen", 40, rate=0.15)
    expected = offline(open_stream(tmp_path / "kitchen"), replay.results, 0.0)
    check_equal(replay.results, expected)
    assert sum(not one.reason for one in expected) > 5


@pytest.mark.slow
def test_drone_with_imu_equals_offline(graph: Graph, data_root: Path, tmp_path: Path) -> None:
    """Two seconds of EuRoC MH_01 with its IMU, into the flight."""
    stream, start = open_stream(data_root / "euroc_mh01"), 2.0
    source = tmp_path / "mh01"
    with SequenceWriter(source, stream.camera) as writer:
        for time, frame in zip(stream.times, stream.frames(), strict=True):
            if time < stream.times[0] + 5.0:
                writer.add_frame(frame.rgb, time)
    save_imu(source, stream.imu)
    replay = Replay(graph, source, 50, rate=0.2, start=start)
    expected = offline(open_stream(source), replay.results, start)
    check_equal(replay.results, expected)
    assert sum(not one.reason for one in expected) > 30
