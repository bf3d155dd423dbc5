# SPDX-License-Identifier: Apache-2.0
"""The odometry node in a running graph: frames, twist, covariance, losses and jumps, by hand.

The network is a real ONNX file whose motion is known: the same for every frame, times the later
frame's brightness / 100.
"""

import numpy as np
import pytest
from nav_msgs.msg import Odometry, Path
from odometry_rig import AHEAD, SECOND, START, STEP, Rig, flat, place, twist, variances, yaw
from ros_made import image, nanoseconds_of
from runtime.onnx_makers import write_pose
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from depthkit.errors import ConfigError

pytestmark = pytest.mark.ros

FORWARD = (0, 0, 0, 0, 0, -0.2)  # T_later_earlier of a camera that moves 0.2 along its axis
LEAST = 1e-8  # LEAST_STEP squared


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Networks in metres: 0.2 m ahead; a turn of the body on the spot."""
    folder = tmp_path_factory.mktemp("pose")
    metric = {"scale": "metric", "scale_source": "known motion in training"}
    write_pose(folder / "ahead.onnx", motion=FORWARD, **metric)
    # The body turns left by 0.2 rad; its camera, 0.3 m ahead of the axis, turns by -0.2 rad about
    # its own y (down) and moves by R^T p - p = 0.3 (-sin, cos - 1) in (x, z), see the chain's test.
    # The vector says points of before in the camera now: the inverse of that.
    s, c = 0.3 * np.sin(0.2), 0.3 * (1 - np.cos(0.2))
    R = np.array([[np.cos(0.2), 0, np.sin(0.2)], [0, 1, 0], [-np.sin(0.2), 0, np.cos(0.2)]])
    t = -R @ [-s, 0, -c]
    write_pose(folder / "turn.onnx", motion=(0, 0.2, 0, *t), **metric)
    write_pose(folder / "relative.onnx", motion=FORWARD)
    write_pose(folder / "every_third.onnx", motion=FORWARD, shifts=(-3, 3), **metric)
    return folder


@pytest.fixture
def rigs(graph):
    """Makes a running odometry node; all are stopped at the end."""
    made = []

    def make(*topics, **parameters):
        made.append(Rig(graph, topics or ("odometry",), **parameters))
        return made[-1]

    yield make
    for rig in made:
        rig.close()


@pytest.mark.parametrize(
    ("model", "line"),
    [
        ("model.onnx", "model.onnx: no such model file; no pose network is shipped: write one"),
        ("depthnet-stillbox", "depthnet-stillbox: is not a pose network; no pose network is"),
        ("flow-synthetic", "flow-synthetic: is not a pose network; no pose network is"),
    ],
)
def test_a_model_that_is_none_says_how_to_get_one(rigs, model, line):
    """No shipped model tells motion, so none is proposed."""
    status = rigs(model=model).status("model")
    assert status.level == b"\2" and status.message.startswith(line)
    assert "depthkit export RUN --part pose" in status.message


@pytest.fixture
def ahead(rigs, folder):
    """The node with the network that goes 0.2 m ahead."""
    return rigs(model=folder / "ahead.onnx")


# --- frames ---------------------------------------------------------------------------------------


def test_ahead_is_x_of_the_body(ahead):
    """Three frames, two motions of 0.2 m along the optical axis in 0.1 s: x = 0.4, 2 m/s."""
    ahead.drive(100, 100, 100)
    first, second = ahead.odometry(2)  # the first frame has no motion, so nothing is sent
    assert place(first) == pytest.approx([0.2, 0, 0], abs=1e-6)
    assert place(second) == pytest.approx([0.4, 0, 0], abs=1e-6)
    assert yaw(second) == pytest.approx(0)
    assert twist(second) == pytest.approx([2, 0, 0, 0, 0, 0], abs=1e-5)
    assert (second.header.frame_id, second.child_frame_id) == ("odom", "base_link")
    assert nanoseconds_of(second) == START + 3 * STEP


def test_covariances_by_hand(ahead):
    """10 % of 0.4 m, 0.0005 rad/m of drift; of the twist 10 % of 2 m/s."""
    ahead.drive(100, 100, 100)
    last = ahead.odometry(2)[-1]
    pose, rate = variances(last.pose.covariance), variances(last.twist.covariance)
    assert pose[0] == pytest.approx(0.04**2 + LEAST, rel=1e-4)
    assert pose[3:] == pytest.approx([(5e-4 * 0.4) ** 2 + LEAST] * 3, rel=1e-4)
    assert rate[:3] == pytest.approx([0.2**2 + 1e-6] * 3, rel=1e-4)
    matrix = np.reshape(last.pose.covariance, (6, 6))
    assert (matrix == matrix.T).all() and (np.linalg.eigvalsh(matrix) > 0).all()


def test_a_turn_on_the_spot_moves_the_camera_but_not_the_body(rigs, folder):
    """0.2 rad to the left a frame: the lever from base_link to the camera is taken out."""
    rig = rigs(model=folder / "turn.onnx")
    rig.drive(100, 100, 100)
    last = rig.odometry(2)[-1]
    assert place(last) == pytest.approx([0, 0, 0], abs=1e-6)
    assert yaw(last) == pytest.approx(0.4, abs=1e-6)
    assert twist(last) == pytest.approx([0, 0, 0, 0, 0, 2], abs=1e-5)


def test_names_of_frames_are_parameters(rigs, folder):
    """As a robot calls them."""
    rig = rigs(model=folder / "ahead.onnx", odom_frame="map_o", base_frame="hull")
    rig.drive(100, 100)
    (only,) = rig.odometry(1)
    assert (only.header.frame_id, only.child_frame_id) == ("map_o", "hull")


def test_tf_while_it_tracks(rigs, folder):
    """odom -> base_link with the image's stamp; none while it is lost."""
    tf2 = pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not installed (not on PyPI)")
    rig = rigs(model=folder / "ahead.onnx")
    heard = rig.probe.collect("/tf", tf2.TFMessage)
    rig.probe.wait_for_writer("/tf")
    rig.drive(100, 100, 0, 100, 100)
    rig.probe.wait_for(heard, 2)
    (first,), (second,) = (message.transforms for message in heard)
    assert (first.header.frame_id, first.child_frame_id) == ("odom", "base_link")
    x = [one.transform.translation.x for one in (first, second)]
    assert x == pytest.approx([0.2, 0.4], abs=1e-6)
    assert nanoseconds_of(second) == START + 5 * STEP


def test_without_an_extrinsic_nothing_is_sent(rigs, folder):
    """No TF, no parameters: both frames are named, and what to do."""
    rig = rigs(model=folder / "ahead.onnx", extrinsic={"source": "auto"})
    rig.drive(100, 100, 100)
    rig.odometry(0)
    status = rig.status("output")
    assert status.level == b"\2"
    assert "no transform between 'base_link' and 'camera'" in status.message
    assert "set extrinsic.xyz and extrinsic.rpy" in status.message


# --- losses ---------------------------------------------------------------------------------------


def test_lost_and_found(ahead):
    """A covered lens: the pose stays with 9999, then goes on from there, less sure, and says so."""
    ahead.drive(100, 100)
    ahead.drive(0, 0)
    before, dark, still = ahead.odometry(3)
    for lost in (dark, still):
        assert place(lost) == place(before)
        assert (variances(lost.pose.covariance) == 9999).all()
        assert (variances(lost.twist.covariance) == 9999).all() and not any(twist(lost))
    assert nanoseconds_of(still) == ahead.stamp
    status = ahead.status("output")
    assert status.level == b"\2" and "the frame is black" in status.message
    assert status.message.startswith("lost for ")
    ahead.drive(100, 100)
    first, back = ahead.odometry(5)[-2:]
    assert variances(first.pose.covariance)[0] == 9999  # no motion up to the first good frame
    assert place(back) == pytest.approx([0.4, 0, 0], abs=1e-6)
    # 2 m/s for the 0.3 s between the last known pose and the first frame of the new segment.
    assert variances(back.pose.covariance)[0] == pytest.approx(0.6**2 + 0.04**2, rel=1e-3)
    assert ahead.status("output").message == "tracking"
    assert ahead.value("output", "segments") == "2"


def test_another_picture_size_is_a_loss(ahead):
    """The camera restarts in another mode: one break, and on from the last pose."""
    ahead.drive(100, 100)
    for _ in range(2):
        ahead.show(flat(100, (64, 96)))
    before, lost, after = ahead.odometry(3)
    assert variances(lost.pose.covariance)[0] == 9999 and place(lost) == place(before)
    assert place(after) == pytest.approx([0.4, 0, 0], abs=1e-6)


def test_a_bag_that_starts_again(ahead):
    """Stamps fall by a minute: odom is continuous, in a new segment."""
    ahead.show(flat(), START + 60 * SECOND)
    ahead.drive(100)
    ahead.show(flat(), START)
    ahead.drive(100)
    places = [place(message)[0] for message in ahead.odometry(3)]
    assert places == pytest.approx([0.2, 0.2, 0.4], abs=1e-6)
    assert ahead.value("output", "segments") == "2" and ahead.value("input", "epoch") == "1"
    assert np.sqrt(variances(ahead.got["odometry"][-1].pose.covariance)[0]) > 10


def test_a_stamp_out_of_order_is_dropped(ahead):
    """Older by a little: as if it had never come; the chain goes on."""
    ahead.drive(100, 100)
    ahead.show(flat(), ahead.stamp - STEP // 2)
    ahead.show(flat(), START + 3 * STEP)
    assert place(ahead.odometry(2)[-1]) == pytest.approx([0.4, 0, 0], abs=1e-6)


def test_a_jump_of_the_network_is_no_motion(rigs, folder):
    """0.5 m in 0.1 s where 4 m/s is the most: lost for that frame, and nothing moved."""
    rig = rigs(model=folder / "ahead.onnx", max_speed=4)
    rig.drive(20, 20, 249, 20)
    moves = rig.odometry(3)
    assert [place(one)[0] for one in moves] == pytest.approx([0.04, 0.04, 0.08], abs=1e-6)
    assert [variances(one.pose.covariance)[0] == 9999 for one in moves] == [False, True, False]
    assert rig.value("output", "segments") == "2"


def test_a_pause_is_a_loss(ahead):
    """No frame for longer than max_gap: said while it lasts, and the next pose is less sure."""
    ahead.drive(100, 100)
    ahead.graph.spin_until(lambda: "lost for" in ahead.status("output").message)
    assert "no frame for" in ahead.status("output").message
    ahead.show(flat(), ahead.stamp + 3 * SECOND)
    ahead.drive(100)
    before, lost, after = ahead.odometry(3)
    assert place(lost) == place(before) and variances(lost.pose.covariance)[0] == 9999
    assert np.sqrt(variances(after.pose.covariance)[0]) == pytest.approx(6, rel=1e-3)


def test_late_calibration_breaks_the_chain(ahead):
    """Frames before and after it are rectified differently: they are no pair."""
    ahead.drive(100, 100)
    K = np.array([[40.0, 0, 23.5], [0, 40, 15.5], [0, 0, 1]])
    ahead.calibrate(K, (32, 48), D=(-0.2, 0.05, 0, 0, 0))
    ahead.drive(100, 100, 100)
    states = [variances(one.pose.covariance)[0] == 9999 for one in ahead.odometry(4)]
    assert states == [False, True, False, False]
    assert ahead.value("output", "segments") == "2"


# --- the rest -------------------------------------------------------------------------------------


def test_reset_goes_back_to_the_origin(ahead):
    """The service forgets pose, path and segments."""
    ahead.drive(100, 100, 100)
    answer = ahead.probe.call("odometry_node/reset", Trigger)
    assert answer.success and "anew" in answer.message
    ahead.drive(100, 100)
    assert place(ahead.odometry(3)[-1]) == pytest.approx([0.2, 0, 0], abs=1e-6)
    assert ahead.value("output", "segments") == "1"


def test_it_can_be_stopped_and_started(ahead):
    """As a managed node is: silent in between, then on from the last pose."""
    ahead.drive(100, 100)
    ahead.component.stop()
    ahead.component.start()
    ahead.probe.wait_for_reader("image", Image)
    ahead.drive(100)
    assert place(ahead.odometry(2)[-1]) == pytest.approx([0.4, 0, 0], abs=1e-6)


def test_the_path_is_bounded_and_on_request(rigs, folder):
    """The newest poses, once a second, in odom; without a subscriber none is made."""
    rig = rigs("odometry", "path", model=folder / "ahead.onnx", max_path=3)
    rig.drive(*[100] * 13)
    rig.probe.wait_for(rig.got["path"], 2)
    first, second = rig.got["path"]
    assert isinstance(first, Path) and first.header.frame_id == "odom" and len(first.poses) == 1
    x = [pose.pose.position.x for pose in second.poses]
    assert x == pytest.approx([1.8, 2.0, 2.2], abs=1e-5)
    assert [nanoseconds_of(pose) for pose in second.poses] == [
        START + n * STEP for n in (10, 11, 12)
    ]


def test_frames_are_left_out_as_the_network_was_trained(rigs, folder):
    """Shifts of 3 in training: every third frame is used, 0.2 m in 0.3 s; stride overrules it."""
    rig = rigs(model=folder / "every_third.onnx")
    rig.drive(*[100] * 7)
    last = rig.odometry(2)[-1]
    assert nanoseconds_of(last) == START + 7 * STEP
    assert twist(last)[0] == pytest.approx(2 / 3, rel=1e-5)
    assert rig.value("output", "left out") == "4" and rig.value("model", "stride") == "3"


def test_stride_is_a_parameter(rigs, folder):
    """Every frame of a network that was trained with shifts of 3."""
    rig = rigs(model=folder / "every_third.onnx", stride=1)
    rig.drive(100, 100, 100)
    assert len(rig.odometry(2)) == 2


def test_nothing_is_computed_without_subscribers(graph, folder):
    """Idle, and said so; what happened then is a gap for who comes later."""
    rig = Rig(graph, (), model=folder / "ahead.onnx", publish_tf=False)
    rig.drive(100, 100)
    assert rig.status("output").message == "idle: nobody subscribes, so nothing is computed"
    assert rig.value("output", "frames") == "0" and rig.value("output", "idle") == "2"
    got = rig.probe.collect("odometry", Odometry)
    graph.spin_until(lambda: rig.component._output.wanted())
    rig.drive(100, 100)
    rig.probe.wait_for(got)
    assert place(got[0]) == pytest.approx([0.2, 0, 0], abs=1e-6)
    rig.close()


def test_a_missing_model_is_waited_for(rigs, folder, tmp_path):
    """ERROR with the reason; it is taken as soon as it is there."""
    rig = rigs(model=tmp_path / "later.onnx")
    rig.drive(100)
    assert rig.status("model").level == b"\2"
    assert "no such model file" in rig.status("model").message
    (tmp_path / "later.onnx").write_bytes((folder / "ahead.onnx").read_bytes())
    rig.graph.spin_until(lambda: rig.status("model").level == b"\0", timeout=8)
    rig.drive(100, 100)
    assert len(rig.odometry(1)) == 1


def test_a_broken_image_is_left_out(ahead):
    """One short message between good ones: counted, and the chain goes on."""
    ahead.drive(100, 100)
    message = image(flat(), ahead.stamp + STEP)
    message.data = message.data[:-1]
    ahead.probe.publish("image", message)
    ahead.graph.spin_until(lambda: ahead.component.figures.refused == 1)
    ahead.drive(100)
    assert place(ahead.odometry(2)[-1]) == pytest.approx([0.4, 0, 0], abs=1e-6)
    assert ahead.value("input", "bad") == "1"


def test_parameters_are_described_and_checked(rigs, folder):
    """Ranges and units from the dataclasses; an odometry of the camera's own is refused."""
    rig = rigs(model=folder / "ahead.onnx", max_turn=5)
    descriptor = rig.probe.describe_parameter("odometry_node", "noise.translation")
    assert "t_rel" in descriptor.description and descriptor.read_only
    assert rig.probe.get_parameter("odometry_node", "max_turn") == 5.0
    for wrong, words in (
        ({"extrinsic": {"source": "none"}}, "extrinsic.source"),
        ({"odom_frame": "base_link"}, "two different frames"),
        ({"scale": {"source": "height", "camera_height": 1.0}}, "depth_model"),
        ({"scale": {"source": "speed"}}, "above 0 for source speed"),
        ({"scale": {"needed": 200}}, "at most window"),
    ):
        with pytest.raises(ConfigError, match=words):
            Rig(rig.graph, **{"model": folder / "ahead.onnx", "extrinsic": AHEAD, **wrong})
