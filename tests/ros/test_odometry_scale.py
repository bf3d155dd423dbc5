# SPDX-License-Identifier: Apache-2.0
"""Metres for relative odometry, in a running graph: each source by hand, and none without one."""

import math

import numpy as np
import pytest
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from odometry_rig import AHEAD, STEP, Rig, place, twist, variances
from ros_made import odometry
from runtime.onnx_makers import write_mono, write_pair, write_pose
from std_srvs.srv import Trigger

pytestmark = pytest.mark.ros

NEEDED = {"needed": 3, "window": 9}
K = np.array([[40.0, 0, 23.5], [0, 40, 15.5], [0, 0, 1]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Relative networks: motion of 0.2 along the optical axis, or along x; depth by brightness."""
    folder = tmp_path_factory.mktemp("scale")
    write_pose(folder / "ahead.onnx", motion=(0, 0, 0, 0, 0, -0.2))
    write_pose(folder / "across.onnx", motion=(0, 0, 0, -0.2, 0, 0))
    write_pose(folder / "metric.onnx", motion=(0, 0, 0, 0, 0, -0.2), scale="metric")
    write_mono(folder / "depth.onnx")
    write_mono(folder / "stranger.onnx", commit="another")
    write_pair(folder / "pair.onnx")
    return folder


@pytest.fixture
def rigs(graph, folder):
    """Makes a running node with a relative network; all are stopped at the end."""
    made = []

    def make(source, *topics, model="ahead.onnx", extrinsic=AHEAD, **scale):
        given = {"scale": {"source": source, **scale}, "extrinsic": extrinsic}
        made.append(Rig(graph, topics or ("odometry",), model=folder / model, **given))
        return made[-1]

    yield make
    for rig in made:
        rig.close()


def is_lost(message: Odometry) -> bool:
    """Whether nothing is known of the pose any more."""
    return bool((variances(message.pose.covariance) == 9999).all())


# --- no scale -------------------------------------------------------------------------------------


def test_a_relative_network_says_nothing_in_metres(rigs):
    """Nothing on odometry; on odometry_relative its own units, in a frame that is not odom."""
    rig = rigs("model", "odometry", "odometry_relative")
    rig.drive(100, 100, 100)
    relative = rig.odometry(2, "odometry_relative")[-1]
    assert place(relative) == pytest.approx([0.4, 0, 0], abs=1e-6)
    assert (relative.header.frame_id, relative.child_frame_id) == ("odom_relative", "base_link")
    rig.odometry(0)
    status = rig.status("scale")
    assert status.level == b"\2" and "have no unit" in status.message
    assert "set scale.source to speed" in status.message
    assert rig.status("output").level == b"\1" and rig.value("output", "state") == "waiting"
    assert rig.value("output", "relative state") == "tracking"


def test_a_metric_network_sends_nothing_relative(rigs):
    """It has metres, and no other unit."""
    rig = rigs("model", "odometry", "odometry_relative", model="metric.onnx")
    rig.drive(100, 100)
    rig.odometry(1)
    rig.odometry(0, "odometry_relative")
    assert rig.status("scale").message == "metres as the network was trained"


# --- speed ----------------------------------------------------------------------------------------


def test_speed_by_hand(rigs):
    """1 m/s and 0.1 s a frame: 0.1 m for 0.2 units, known after three motions that agree."""
    rig = rigs("speed", speed=1.0, **NEEDED)
    rig.drive(100, 100, 100)
    rig.odometry(0)
    assert rig.status("scale").message == "scale waiting: 2 of 3 steps agree"
    assert rig.status("output").message == "waiting: scale waiting: 2 of 3 steps agree"
    rig.drive(100, 100)
    first, second = rig.odometry(2)
    assert place(first) == pytest.approx([0.1, 0, 0], abs=1e-6)
    assert place(second) == pytest.approx([0.2, 0, 0], abs=1e-6)
    assert twist(second)[0] == pytest.approx(1.0, rel=1e-5)
    assert rig.value("scale", "metres a unit") == "0.5"
    assert rig.status("scale").message == "0.5 m a unit, 0.0% spread over 4 steps"


def test_speed_is_live(rigs):
    """Half the motion at half the speed: the same scale."""
    rig = rigs("speed", speed=1.0, **NEEDED)
    rig.drive(100, 100, 100, 100)
    assert rig.probe.set_parameter("odometry_node", "scale.speed", 0.5).successful
    assert not rig.probe.set_parameter("odometry_node", "scale.speed", 0.0).successful
    rig.drive(50)
    assert rig.value("scale", "metres a unit") == "0.5"
    assert place(rig.odometry(2)[-1])[0] == pytest.approx(0.15, abs=1e-6)


# --- twist ----------------------------------------------------------------------------------------


def say_speed(rig, x, stamp):
    """Send the speed of the body at a stamp, and wait until it was heard."""
    message = TwistStamped()
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
    message.twist.linear.x = x
    rig.tell("twist", message, stamp)


def test_twist_by_hand(rigs):
    """2 m/s measured: 0.2 m a step of 0.2 units, 1 m a unit; standing still adds nothing."""
    rig = rigs("twist", **NEEDED)
    rig.probe.wait_for_reader("twist", TwistStamped)
    for _ in range(5):
        say_speed(rig, 2.0, rig.stamp + STEP)
        rig.drive(100)
    assert place(rig.odometry(2)[-1]) == pytest.approx([0.4, 0, 0], abs=1e-5)
    measured = int(rig.value("scale", "measurements"))
    for _ in range(3):  # the body stops: between 2 m/s and 0 half a step counts, then none
        say_speed(rig, 0.0, rig.stamp + STEP)
        rig.drive(20)
    assert int(rig.value("scale", "measurements")) <= measured + 1
    assert "too little motion" in rig.value("scale", "last ignored")


def test_a_silent_topic_is_an_error_and_the_scale_grows_old(rigs):
    """Named with its publishers; after `hold` the odometry is lost; new speeds bring it back."""
    rig = rigs("twist", hold=0.35, **NEEDED)
    status = rig.status("scale")
    assert status.level == b"\2" and "no twist has come on /twist (no publisher)" in status.message
    rig.probe.wait_for_reader("twist", TwistStamped)
    for _ in range(5):
        say_speed(rig, 2.0, rig.stamp + STEP)
        rig.drive(100)
    known = len(rig.got["odometry"])
    rig.drive(100, 100, 100, 100, 100)
    assert [is_lost(one) for one in rig.odometry(known + 5)[known:]] == [False] * 3 + [True] * 2
    assert "s old, more than 0.35 s" in rig.status("output").message
    for _ in range(3):
        say_speed(rig, 2.0, rig.stamp + STEP)
        rig.drive(100)
    assert not is_lost(rig.odometry(known + 8)[-1])


# --- odometry -------------------------------------------------------------------------------------


def test_odometry_by_hand(rigs):
    """Wheels that say 0.05 m a step: 0.25 m a unit; what they call their frames does not matter."""
    rig = rigs("odometry", **NEEDED)
    rig.probe.wait_for_reader("scale_odometry", Odometry)
    for i in range(5):
        stamp = rig.stamp + STEP
        said = odometry([7, 0.05 * i, 0], [0, 0, 0, 1], stamp, frame_id="w", child_frame_id="b")
        rig.tell("scale_odometry", said, stamp)
        rig.drive(100)
    last = rig.odometry(2)[-1]
    assert place(last) == pytest.approx([0.1, 0, 0], abs=1e-6)
    assert rig.value("scale", "metres a unit") == "0.25"
    assert float(rig.value("scale", "spread")) < 1e-6


# --- height ---------------------------------------------------------------------------------------

DOWN = {"source": "parameters", "rpy": [math.pi, 0.0, 0.0]}  # looks at the ground, x stays x
HEIGHT = {"model": "across.onnx", "extrinsic": DOWN, "camera_height": 3.0, "every": 1, **NEEDED}


def test_height_by_hand(rigs, folder):
    """Brightness 102 is depth 1 / (0.1 + 0.4) = 2 everywhere: ground 2 units under a nadir camera.

    It hangs at 3 m, so a unit is 1.5 m; the motion of 0.2 * 1.02 units along x is 0.306 m.
    """
    rig = rigs("height", depth_model=str(folder / "depth.onnx"), **HEIGHT)
    rig.drive(102, 102)
    assert "needs the camera's intrinsics" in rig.status("scale").message
    rig.calibrate(K, (32, 48))
    rig.drive(*[102] * 5)
    assert float(rig.value("scale", "metres a unit")) == pytest.approx(1.5, rel=1e-5)
    last = rig.odometry(2)[-1]
    assert place(last) == pytest.approx([0.612, 0, 0], abs=1e-5)
    assert twist(last)[0] == pytest.approx(3.06, rel=1e-4)


def test_no_ground_is_no_height(rigs, folder):
    """A camera that looks ahead at a wall: waiting, with the share of ground that was found."""
    given = {**HEIGHT, "extrinsic": AHEAD}
    rig = rigs("height", depth_model=str(folder / "depth.onnx"), **given)
    rig.calibrate(K, (32, 48))
    rig.drive(*[102] * 5)
    rig.odometry(0)
    assert "0 of 3 steps agree (0.0% of the depth is ground" in rig.status("scale").message


@pytest.mark.parametrize(
    ("name", "words"),
    [("stranger.onnx", "not trained together"), ("pair.onnx", "of kind mono, got pair")],
)
def test_a_depth_network_of_another_unit_is_refused(rigs, folder, name, words):
    """Its heights would scale nothing; said as the model's fault."""
    rig = rigs("height", depth_model=str(folder / name), **HEIGHT)
    status = rig.status("model")
    assert status.level == b"\2" and words in status.message


def test_reset_forgets_the_scale(rigs):
    """All is measured anew."""
    rig = rigs("speed", speed=1.0, **NEEDED)
    rig.drive(100, 100, 100, 100)
    rig.odometry(1)
    rig.probe.call("odometry_node/reset", Trigger)
    rig.drive(100, 100)
    rig.odometry(1)
    assert rig.status("scale").message == "scale waiting: 1 of 3 steps agree"


def test_a_bag_that_starts_again_keeps_the_scale(rigs):
    """Time falls; one unit is still as many metres, and odom goes on."""
    rig = rigs("twist", **NEEDED)
    rig.probe.wait_for_reader("twist", TwistStamped)
    start = rig.stamp
    for _ in range(2):
        rig.stamp = start
        for _ in range(25):
            say_speed(rig, 2.0, rig.stamp + STEP)
            rig.drive(100)
    x = [place(one)[0] for one in rig.odometry(22 + 25)]
    assert np.diff(x).min() >= 0 and np.diff(x).max() == pytest.approx(0.2, abs=1e-3)
    assert x[-1] == pytest.approx((22 + 24) * 0.2, abs=1e-3)
    assert rig.value("output", "segments") == "2"


def test_a_late_topic_delays_no_frame(rigs):
    """Speeds that come five frames late: motions are scaled when their speeds have come."""
    rig = rigs("twist", **NEEDED)
    rig.probe.wait_for_reader("twist", TwistStamped)
    say_speed(rig, 2.0, rig.stamp + STEP)
    rig.drive(*[100] * 6)
    rig.odometry(0)
    assert rig.value("scale", "measurements") == "0"
    say_speed(rig, 2.0, rig.stamp - STEP // 2)  # 0.45 s after the first: less than max_gap
    rig.drive(100)
    assert rig.value("scale", "measurements") == "4"
    assert place(rig.odometry(1)[0]) == pytest.approx([0.2, 0, 0], abs=1e-6)


def test_unstamped_twists_count_when_they_come(rigs):
    """geometry_msgs/Twist, which teleoperation sends: heard, stamped by the node's clock."""
    rig = rigs("twist", **NEEDED)
    rig.probe.wait_for_reader("twist", Twist)
    message = Twist()
    message.linear.x = 2.0
    rig.probe.publish("twist", message)
    rig.graph.spin_until(lambda: rig.status("scale").level != b"\2")


def test_another_focal_length_is_a_warning(graph, folder):
    """A network knows one camera: at twice its focal length turns come out twice as large."""
    write_pose(folder / "known.onnx", scale="metric", focal=20.0)
    rig = Rig(graph, model=folder / "known.onnx")
    assert rig.status("model").level == b"\0"
    rig.calibrate(K, (32, 48))
    rig.drive(100, 100)
    status = rig.status("model")
    assert status.level == b"\1"
    assert "learnt at a focal length of 20 px, this camera has 40" in status.message
    rig.close()
