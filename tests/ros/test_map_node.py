# SPDX-License-Identifier: Apache-2.0
"""The map node in a running graph: walls where they are, marks, corrections, faults in words."""

from types import SimpleNamespace

import numpy as np
import pytest
from depth_rig import START, STEP, values_of
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import OccupancyGrid
from ros_made import camera_info, image, odometry, transform
from sensor_msgs.msg import PointCloud2
from std_srvs.srv import Trigger

from depthkit.errors import ConfigError
from depthkit.rigid import exp_se3, matrix_to_quaternion
from depthkit.runtime.depth.sweep_stream import confidence_of
from ros_nodes.life.lifecycle import build_component
from ros_nodes.map_node import MapNode
from ros_nodes.map_world import sigma_of_confidence

pytestmark = pytest.mark.ros

SIZE = (60, 80)
K = np.array([[60.0, 0, 39.5], [0, 60, 29.5], [0, 0, 1]])
AHEAD = {"source": "parameters", "rpy": [-1.5708, 0.0, -1.5708]}
SETTINGS = {
    "max_rate": 1000.0,
    "period": 0.001,
    "sigma": 0.01,
    "extrinsic": AHEAD,
    "pose": {"wait": 2.0},
    "band": {"low": 0.5, "high": 1.5},
}
KINDS = {"surface": PointCloud2, "grid": OccupancyGrid, "obstacles": PointCloud2}


class MapRig:
    """One node under test; its camera is 1 m above the origin of odom and looks along x."""

    def __init__(self, graph, topics, **parameters):
        self.graph = graph
        self.node = graph.node(
            "map_node",
            parameters=SETTINGS | parameters,
            automatically_declare_parameters_from_overrides=True,
        )
        self.component = build_component(self.node, MapNode)
        self.probe = graph.probe()
        self.got = {topic: self.probe.collect(topic, KINDS[topic]) for topic in topics}
        self.said = self.probe.collect("/diagnostics", DiagnosticArray)
        self.component.start()
        for topic, kind in (("depth", type(image(np.zeros(SIZE, np.float32), 0))),):
            self.probe.wait_for_reader(topic, kind)
        output = self.component._output
        graph.spin_until(lambda: all(output.has_subscribers(topic) for topic in topics))
        self.count = 0

    def calibrate(self):
        """Send camera_info and wait until the node has it."""
        self.probe.wait_for_reader("depth/camera_info", type(camera_info(K, SIZE, START)))
        self.probe.publish("depth/camera_info", camera_info(K, SIZE, START))
        self.graph.spin_until(lambda: self.component._input._latest is not None)

    def move(self, stamp, x=0.0, turn=0.0):
        """Send odometry of a body 1 m up."""
        quaternion = matrix_to_quaternion(exp_se3(np.array([0, 0, 0, 0, 0, turn]))[:3, :3])
        self.probe.publish("odometry", odometry([x, 0, 1.0], quaternion, stamp))

    def show(self, depth, *, x=0.0, turn=0.0, encoding="32FC1", posed=True, stamp=None):
        """Send a frame with its pose; wait until the node has used it or said why not."""
        if np.isscalar(depth):
            depth = np.full(SIZE, depth, np.float32)
        stamp = START + self.count * STEP if stamp is None else stamp
        self.count += 1
        figures = self.component.figures
        before = figures.used + figures.refused + figures.idle
        if posed:
            self.move(stamp, x, turn)
        self.probe.publish("depth", image(depth, stamp, encoding=encoding))
        self.graph.spin_until(lambda: figures.used + figures.refused + figures.idle > before)

    def last(self, topic):
        """Wait for a message of the topic that is not answered yet; return the newest."""
        messages = self.got[topic]
        sent = self.component._output.sent
        self.graph.spin_until(lambda: len(messages) >= sent[topic] > 0)
        return messages[-1]

    def status(self, task):
        """Ask for diagnostics now; return the task's status."""
        self.said.clear()
        self.component.monitor.publish()
        self.probe.wait_for(self.said)
        return next(s for s in self.said[-1].status if s.name == f"map_node: {task}")

    def close(self):
        """Stop the node."""
        self.component.stop()
        self.component.close()


@pytest.fixture
def rigs(graph):
    """Makes a running node; all are stopped at the end."""
    made = []

    def make(*topics, calibrated=True, **parameters):
        made.append(MapRig(graph, topics or ("surface", "grid"), **parameters))
        if calibrated:
            made[-1].calibrate()
        return made[-1]

    yield make
    for rig in made:
        rig.close()


def points(message):
    """Positions of a cloud. (N, 3)"""
    assert [field.name for field in message.fields] == ["x", "y", "z"]
    return np.frombuffer(message.data, "<f4").reshape(message.width, 3)


def cell(message, x, y):
    """Value of the grid's cell at a point."""
    corner, size = message.info.origin.position, message.info.resolution
    column, row = int((x - corner.x) / size), int((y - corner.y) / size)
    return np.array(message.data, np.int8).reshape(message.info.height, message.info.width)[
        row, column
    ]


# --- the map --------------------------------------------------------------------------------------


def test_a_wall_ahead_is_in_the_surface_and_in_the_grid(rigs):
    """A wall 2.05 m before the body lies at x = 2.05 of odom; free before it, unknown behind."""
    rig = rigs()
    rig.show(2.05)
    found = points(rig.last("surface"))
    assert len(found) > 500 and np.abs(found[:, 0] - 2.05).max() < 0.005
    assert found[:, 2].mean() == pytest.approx(1.0, abs=0.05)
    grid = rig.last("grid")
    assert (grid.header.frame_id, rig.got["surface"][-1].header.frame_id) == ("odom", "odom")
    assert [cell(grid, x, 0.05) for x in (1.05, 2.05, 2.35)] == [0, 100, -1]


def test_millimetres_and_a_turned_body(rigs):
    """16UC1, 0 unknown; a body that is turned to the left has the wall on its left."""
    rig = rigs()
    depth = np.full(SIZE, 2050, np.uint16)
    depth[:, :40] = 0
    rig.show(depth, encoding="16UC1", turn=np.pi / 2)
    found = points(rig.last("surface"))
    assert np.abs(found[:, 1] - 2.05).max() < 0.005
    assert found[:, 0].min() > -0.06  # the half on the right of the picture


def test_a_frame_without_a_pose_is_left_out_with_the_reason(rigs):
    """No odometry: nothing in the map, WARN with why; the next frame with one is used."""
    rig = rigs(pose={"wait": 0.05})
    rig.show(2.05, posed=False)
    status = rig.status("output")
    assert status.level == b"\1" and "odometry on /odometry" in status.message
    assert values_of(status)["used"] == "0"
    rig.move(START)
    rig.show(2.05)
    assert rig.component.figures.used == 1


def test_no_camera_info_is_said(rigs):
    """The topic and what to publish there."""
    rig = rigs(calibrated=False)
    rig.show(2.05)
    assert "no camera_info yet on /depth/camera_info" in rig.status("output").message
    rig.calibrate()
    rig.show(2.05)
    assert rig.component.figures.used == 1


def test_a_picture_is_no_depth(rigs):
    """An rgb8 image on `depth`: the encoding, and what is expected."""
    rig = rigs()
    rig.show(np.zeros((*SIZE, 3), np.uint8), encoding="rgb8")
    assert "encoding is 'rgb8', expected 32FC1" in rig.status("input").message


def test_only_confident_pixels_are_used(rigs):
    """Half of the picture at 0.5, half at 0.99, least 0.9: the surface is half as wide."""
    rig = rigs(min_confidence=0.9)
    sure = np.full(SIZE, 0.99, np.float32)
    sure[:, :40] = 0.5
    kind = type(image(sure, START))
    rig.probe.wait_for_reader("confidence", kind)
    for number in range(24):  # 0.99 is 7 %, three voxels: a frame weighs 1 / 8
        rig.probe.publish("confidence", image(sure, START + number * STEP, encoding="32FC1"))
        rig.show(2.05)
    found = points(rig.last("surface"))
    assert len(found) > 100 and found[:, 1].max() < 0.1  # right of the middle: y is to the left


def test_depth_without_its_confidence_is_left_out(rigs):
    """Said with the topic and the way out."""
    rig = rigs(min_confidence=0.9)
    rig.show(2.05)
    message = rig.status("output").message
    assert "no confidence of its stamp on /confidence" in message and "min_confidence" in message


def test_reset_and_a_restarted_bag_begin_a_new_map(rigs):
    """After a reset, and after time went back by a minute, the old wall is gone."""
    rig = rigs()
    rig.show(2.05)
    assert rig.probe.call("map_node/reset", Trigger).success
    rig.show(3.05)
    assert points(rig.last("surface"))[:, 0].min() > 3.0
    rig.show(1.05, stamp=START - 600 * STEP)
    assert points(rig.last("surface"))[:, 0].max() < 1.1
    assert values_of(rig.status("output"))["resets"] == "2"


def test_a_correction_of_the_map_frame_moves_the_blocks(rigs):
    """Before: no transform, no map. map -> odom by 1 m along x moves the wall that is there."""
    rig = rigs(map_frame="map")
    rig.show(2.05)
    assert "no transform between 'map' and 'odom'" in rig.status("output").message

    def correct(x):
        """Say map -> odom as /tf does; tf2_msgs itself is not everywhere."""
        told = [transform([x, 0, 0], [0, 0, 0, 1], "map", "odom")]
        rig.component._tree.add(SimpleNamespace(transforms=told))

    correct(0.0)
    rig.show(2.05)
    assert points(rig.last("surface"))[:, 0].mean() == pytest.approx(2.05, abs=0.01)
    correct(1.0)
    rig.show(2.05)
    found = rig.last("surface")
    assert found.header.frame_id == "map"
    assert np.abs(points(found)[:, 0] - 3.05).max() < 0.01
    assert cell(rig.last("grid"), 3.05, 0.05) == 100
    assert values_of(rig.status("output"))["corrections"] == "1"


def test_sigma_is_told_by_the_confidence():
    """The inverse of what the sweep says; by hand 1 - 1 / 1.25^(sqrt(2) / 0.1) is 0.95740."""
    sigma = np.array([[0.03, 0.1, 0.25, 0.6]], np.float32)
    np.testing.assert_allclose(sigma_of_confidence(confidence_of(sigma)), sigma, rtol=0.01)
    assert sigma_of_confidence(np.array([0.95740]))[0] == pytest.approx(0.1, rel=1e-3)
    assert np.isnan(sigma_of_confidence(np.array([0.0]))[0])
    assert 0 < sigma_of_confidence(np.array([1.0]))[0] < 0.03


# --- marks ----------------------------------------------------------------------------------------


def test_near_obstacles_are_marks_of_one_frame(rigs):
    """A near post before a far wall: its points and the frame's stamp; the next frame has none."""
    rig = rigs("obstacles", mode="near_obstacles", max_depth=2.0)
    depth = np.full(SIZE, 4.0, np.float32)
    depth[:, 38:42] = 1.02
    rig.show(depth)
    message = rig.last("obstacles")
    found = points(message)
    assert len(found) >= 10 and np.abs(found[:, 0] - 1.02).max() < 0.01
    assert (found[:, 2] >= 0.5).all() and (found[:, 2] <= 1.5).all()
    assert message.header.frame_id == "odom"
    assert message.header.stamp.sec * 10**9 + message.header.stamp.nanosec == START
    rig.show(4.0)
    assert rig.last("obstacles").width == 0
    assert "surface" not in rig.component._output.sent


def test_without_subscribers_no_marks_are_computed(graph):
    """Idle, and said so."""
    rig = MapRig(graph, (), mode="near_obstacles")
    rig.calibrate()
    rig.show(1.0)
    assert "idle" in rig.status("output").message
    rig.close()


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"band": {"low": 2.0, "high": 1.0}}, "band.low: below high"),
        ({"voxel": 6.0}, "voxel: below max_depth"),
        ({"band": {"cell": 0.004}}, "band.most_cells: more than the view spans"),
        ({"mode": "maps"}, "did you mean 'map'"),
    ],
)
def test_bad_parameters_are_one_line(graph, parameters, words):
    """Name, what is expected, what was given."""
    node = graph.node(
        "map_node", parameters=parameters, automatically_declare_parameters_from_overrides=True
    )
    with pytest.raises(ConfigError, match=words):
        build_component(node, MapNode)
