# SPDX-License-Identifier: Apache-2.0
"""Where the camera sits: parameters, TF, and what is said when neither tells."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import ros_made
from ros_graph import Graph
from std_msgs.msg import String

from depthkit.errors import ConfigError
from ros_nodes.depth_node import DepthNode
from ros_nodes.inputs import frames
from ros_nodes.inputs.frames import Extrinsic, ExtrinsicConfig, TFMessage, TfPublisher
from ros_nodes.life.params import declare

pytestmark = pytest.mark.ros

HALF = np.pi / 2
LEVEL = (0.0, 0.0, 0.0, 1.0)
QUARTER_Z = (0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5))  # 90 degrees about z


def tf(*transforms: Any) -> Any:
    """What arrives on /tf: anything with transforms."""
    return SimpleNamespace(transforms=list(transforms))


def turned_about_z(x: float, y: float, z: float) -> np.ndarray:
    """A pose turned by 90 degrees about z: x goes to y, y to -x."""
    return np.array([[0.0, -1, 0, x], [1, 0, 0, y], [0, 0, 1, z], [0, 0, 0, 1]])


def test_rpy_of_a_camera_that_looks_ahead() -> None:
    """-90, 0, -90 degrees: the optical z axis is the body's x, x is right (-y), y is down (-z)."""
    T = ExtrinsicConfig(xyz=(0.1, 0.2, 0.3), rpy=(-HALF, 0.0, -HALF)).matrix
    wanted = [[0, 0, 1, 0.1], [-1, 0, 0, 0.2], [0, -1, 0, 0.3], [0, 0, 0, 1]]
    assert pytest.approx(np.array(wanted), abs=1e-12) == T


def test_rpy_turns_about_fixed_axes() -> None:
    """Roll 90 then yaw 90 (URDF): the camera's y goes up with the roll and stays up."""
    R = ExtrinsicConfig(rpy=(HALF, 0.0, HALF)).matrix[:3, :3]
    assert pytest.approx([0, 0, 1], abs=1e-12) == R @ [0, 1, 0]
    assert pytest.approx([0, 1, 0], abs=1e-12) == R @ [1, 0, 0]


@pytest.mark.parametrize("wrong", [{"xyz": (np.nan, 0, 0)}, {"rpy": (0, 8.0, 0)}])
def test_impossible_place_is_refused(wrong: dict[str, Any]) -> None:
    """It names the field."""
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ExtrinsicConfig(**wrong)


def test_same_frame_needs_no_transform(graph: Graph) -> None:
    """Odometry of the camera itself holds as it is; a leading slash makes no difference."""
    extrinsic = Extrinsic(graph.node("n"), ExtrinsicConfig())
    for base in ("camera", "/camera"):
        found = extrinsic.T_base_cam(base, "camera")
        assert found is not None and np.array_equal(found, np.eye(4))
    assert extrinsic.missing("camera", "camera") == ""


def test_unknown_place_names_both_frames_and_the_remedies(graph: Graph) -> None:
    """The line can be acted on."""
    extrinsic = Extrinsic(graph.node("n"), ExtrinsicConfig())
    assert extrinsic.T_base_cam("base_link", "camera_optical") is None
    text = extrinsic.missing("base_link", "camera_optical")
    for part in ("'base_link'", "'camera_optical'", "/tf_static", "extrinsic.xyz", "extrinsic.rpy"):
        assert part in text
    assert extrinsic.T_base_cam("", "") is None and "''" in extrinsic.missing("", "")


def test_frames_are_joined_over_a_mast(graph: Graph) -> None:
    """base (1 m up) mast (turned by 90 degrees, 2 m ahead of it) camera: hand-multiplied."""
    extrinsic = Extrinsic(graph.node("n"), ExtrinsicConfig(xyz=(9.0, 9.0, 9.0)))
    extrinsic.add(tf(ros_made.transform((0, 0, 1), QUARTER_Z, "base", "mast")))
    found = extrinsic.T_base_cam("base", "camera")
    assert found is not None and found[0, 3] == 9.0  # TF does not know the camera yet
    extrinsic.add(tf(ros_made.transform((2, 0, 0), LEVEL, "mast", "camera")))
    assert extrinsic.T_base_cam("base", "camera") == pytest.approx(turned_about_z(0, 2, 1))
    inverse = extrinsic.T_base_cam("camera", "base")
    assert inverse @ turned_about_z(0, 2, 1) == pytest.approx(np.eye(4))


def test_moving_joint_counts_as_it_is_now(graph: Graph) -> None:
    """The newest transform of a joint replaces the one before."""
    extrinsic = Extrinsic(graph.node("n"), ExtrinsicConfig(source="tf", xyz=(9.0, 9.0, 9.0)))
    assert extrinsic.T_base_cam("base", "camera") is None  # source tf takes no parameters
    for x in (1.0, 2.0):
        extrinsic.add(tf(ros_made.transform((x, 0, 0), LEVEL, "base", "camera")))
    found = extrinsic.T_base_cam("base", "camera")
    assert found is not None and found[0, 3] == 2.0


def test_parameters_and_none_do_not_ask_tf(graph: Graph) -> None:
    """Parameters hold as they stand, also zeros; none takes the motion for the camera's own."""
    node = graph.node("n")
    fixed = Extrinsic(node, ExtrinsicConfig(source="parameters", xyz=(1.0, 2.0, 3.0)))
    fixed.add(tf(ros_made.transform((7, 7, 7), LEVEL, "base", "camera")))
    found = fixed.T_base_cam("base", "camera")
    assert found is not None and found[:3, 3].tolist() == [1.0, 2.0, 3.0]
    for source in ("parameters", "none"):
        zero = Extrinsic(node, ExtrinsicConfig(source=source))  # type: ignore[arg-type]
        assert np.array_equal(zero.T_base_cam("base", "camera"), np.eye(4))


def test_transform_that_is_none_is_left_out(graph: Graph) -> None:
    """A zero quaternion spoils neither its neighbours nor what was known."""
    extrinsic = Extrinsic(graph.node("n"), ExtrinsicConfig())
    good = ros_made.transform((1, 0, 0), LEVEL, "base", "camera")
    bad = ros_made.transform((5, 0, 0), (0, 0, 0, 0), "base", "camera")
    extrinsic.add(tf(bad, good))
    extrinsic.add(tf(bad))
    found = extrinsic.T_base_cam("base", "camera")
    assert found is not None and found[0, 3] == 1.0


def test_parameters_of_the_node_say_the_place(graph: Graph) -> None:
    """The configuration is declared as ROS parameters and comes back."""
    node = graph.node("n", parameters={"source": "parameters", "xyz": [0.5, 0.0, 0.0]})
    config = declare(node, ExtrinsicConfig)
    assert config == ExtrinsicConfig(source="parameters", xyz=(0.5, 0.0, 0.0))


@pytest.mark.skipif(TFMessage is not None, reason="tf2_msgs is there")
def test_without_tf2_messages_nodes_go_on(graph: Graph) -> None:
    """TF is said to be unavailable; sending does nothing, and the missing part is named."""
    node = graph.node("n")
    sender = TfPublisher(node)
    assert not sender.available
    sender.send(np.eye(4), 1, "odom", "base")
    sender.close()
    text = Extrinsic(node, ExtrinsicConfig(source="tf")).missing("a", "b")
    assert "tf2_msgs does not import" in text


@pytest.mark.parametrize("motion", ["none", "speed", "twist", "odometry"])
def test_tf_is_heard_where_it_is_needed(
    graph: Graph, monkeypatch: pytest.MonkeyPatch, motion: str
) -> None:
    """A node to which no transform matters does not wake for each message of /tf."""
    monkeypatch.setattr(frames, "TFMessage", String)  # any message: tf2_msgs may not be there
    told = {"motion": {"source": motion, "speed": 1.0}, "model": "shading-colon"}
    node = graph.node("eye", parameters=told)
    component = DepthNode(node)
    heard = {one.topic_name for one in node.subscriptions}
    assert ({"/tf", "/tf_static"} <= heard) == (motion == "odometry")
    component.close()


@pytest.mark.skipif(TFMessage is None, reason="needs tf2_msgs, which is not on PyPI")
def test_transforms_go_out_and_come_in(graph: Graph) -> None:
    """What one node sends on /tf another one knows; what is latched on /tf_static too."""
    extrinsic, sender = Extrinsic(graph.node("n"), ExtrinsicConfig()), TfPublisher(graph.node("m"))
    assert sender.available

    def known() -> bool:
        sender.send(turned_about_z(1, 2, 3), 5, "base", "camera")
        return extrinsic.T_base_cam("base", "camera") is not None

    graph.spin_until(known)
    assert extrinsic.T_base_cam("base", "camera") == pytest.approx(turned_about_z(1, 2, 3))
    extrinsic.close()
    sender.close()
    assert not sender.available
