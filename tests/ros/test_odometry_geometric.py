# SPDX-License-Identifier: Apache-2.0
"""The odometry node without a model, in a running graph: a flight over a textured plane."""

import math
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from geometric_rig import PACE, GeometricRig
from geometry_msgs.msg import TwistStamped
from odometry_rig import SECOND, STEP, flat, place, twist, variances
from ros_made import nanoseconds_of, odometry, transform
from sensor_msgs.msg import PointCloud2
from std_srvs.srv import Trigger

from depthkit.errors import ConfigError
from depthkit.rigid import inverse
from ros_nodes.odometry_node import BY_MODEL

pytestmark = pytest.mark.ros

SPEED = {"source": "speed", "speed": PACE * 10}
MS = 10**6  # nanoseconds
MANY = 12  # frames after which the scale of the flight is known


def latest(rig):
    """Return the odometry of the newest frame."""
    rig.graph.spin_until(lambda: rig.got["odometry"] and stamp_of(rig) == rig.stamp)
    return rig.got["odometry"][-1]


def stamp_of(rig):
    """Return the stamp of the newest odometry, nanoseconds."""
    return nanoseconds_of(rig.got["odometry"][-1])


@pytest.fixture
def rigs(graph):
    """Makes a running node; all are stopped at the end."""
    made = []

    def make(*topics, calibrated=True, **parameters):
        made.append(GeometricRig(graph, topics or ("odometry",), **parameters))
        if calibrated:
            made[-1].calibrate_plane()
        return made[-1]

    yield make
    for rig in made:
        rig.close()


# --- the method -----------------------------------------------------------------------------------


def test_without_a_model_it_is_geometry(rigs):
    """Nothing trained, no scale: relative motion along x, points of its own, nothing in metres."""
    rig = rigs("odometry", "odometry_relative")
    points = rig.probe.collect("points_relative", PointCloud2)
    rig.probe.wait_for_writer("points_relative")
    rig.graph.spin_until(lambda: rig.component._output.wants_points(metric=False))
    rig.fly(8)
    rig.odometry(0)
    rig.probe.wait_for(rig.got["odometry_relative"], 3)
    last = rig.got["odometry_relative"][-1]
    x, y, z = place(last)
    assert x > 0 and abs(y) < 0.05 * x and abs(z) < 0.05 * x
    assert (last.header.frame_id, last.child_frame_id) == ("odom_relative", "base_link")
    cloud = rig.probe.wait_for(points)[-1]
    assert cloud.header.frame_id == "odom_relative" and cloud.width > 100
    status = rig.status("scale")
    assert status.level == b"\1" and "have no unit" in status.message
    assert int(rig.value("geometry", "tracks")) > 100 and rig.value("geometry", "losses") == "0"
    assert rig.value("output", "relative state") == "tracking"


def test_a_given_model_is_the_network_as_before(graph, capfd):
    """Users who name a model get it, with a line that says so."""
    rig = GeometricRig(graph, model="nowhere.onnx")
    assert "no such model file" in rig.status("model").message
    assert BY_MODEL in capfd.readouterr().err
    rig.close()


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"method": "network"}, "model: method network needs a pose network"),
        ({"scale": {"source": "model"}}, "scale.source: model is the training of a network"),
        ({"model": "a.onnx", "loops": True}, "give no model"),
        ({"model": "a.onnx", "scale": {"source": "imu"}}, "give no model"),
        ({"loops": True, "map_frame": "odom"}, "map_frame: a frame of its own"),
        ({"imu": {"use": True, "file": "nowhere.yaml"}}, "nowhere.yaml: cannot read"),
    ],
)
def test_impossible_settings_are_one_line(graph, parameters, words):
    """The parameter is named."""
    with pytest.raises(Exception, match=words) as caught:
        GeometricRig(graph, **parameters)
    assert isinstance(caught.value, ConfigError) or "cannot read" in words


def test_a_camera_without_calibration_is_one_line(rigs):
    """Geometry needs K: said, and nothing is computed; it begins as soon as K comes."""
    rig = rigs(calibrated=False)
    rig.fly(2)
    assert "geometric odometry needs the camera's intrinsics" in rig.status("output").message
    assert rig.value("output", "frames") == "0"
    rig.calibrate_plane()
    rig.fly(1)
    assert rig.value("output", "frames") == "1"


# --- metres ---------------------------------------------------------------------------------------


def test_speed_makes_metres(rigs):
    """2 m/s at 10 Hz: 0.2 m a frame along x of the body; points lie 5 m under the start."""
    rig = rigs("odometry", scale=SPEED)
    points = rig.probe.collect("points", PointCloud2)
    rig.graph.spin_until(lambda: rig.component._output.wants_points(metric=True))
    rig.fly(MANY)
    first, second = rig.probe.wait_for(rig.got["odometry"], 2)[-2:]
    assert place(second)[0] - place(first)[0] == pytest.approx(PACE, rel=0.08)
    assert twist(second)[0] == pytest.approx(10 * PACE, rel=0.08)
    assert abs(place(second)[1]) < 0.1 and abs(place(second)[2]) < 0.1
    status = rig.status("scale")
    assert status.level == b"\0" and status.message.startswith("metres by speed, sigma ")
    assert rig.value("scale", "scale") == "observed"
    cloud = rig.probe.wait_for(points)[-1]
    names = [(field.name, field.offset) for field in cloud.fields]
    assert names == [("x", 0), ("y", 4), ("z", 8), ("id", 12), ("sigma", 16)]
    z = np.frombuffer(cloud.data, np.float32).reshape(-1, 5)[:, 2]
    assert np.median(z) == pytest.approx(-5.0, rel=0.08)
    assert nanoseconds_of(cloud) == nanoseconds_of(second)


def test_twist_is_waited_for_a_little(rigs):
    """A speed that comes 20 ms after its frame is used by this very frame."""
    rig = rigs(scale={"source": "twist", "wait": 5.0})
    rig.probe.wait_for_reader("twist", TwistStamped)
    for _ in range(MANY):
        stamp = rig.stamp + STEP
        message = TwistStamped()
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
        message.twist.linear.x = 10 * PACE
        threading.Timer(0.02, rig.probe.publish, ("twist", message)).start()
        rig.fly(1)
    assert rig.value("scale", "measured by") == "twist"
    assert twist(latest(rig))[0] == pytest.approx(10 * PACE, rel=0.08)


def test_another_odometry_makes_metres(rigs):
    """Wheels: the distance between their poses at two frames is the length of the step."""
    rig = rigs(scale={"source": "odometry", "wait": 1.0})
    rig.probe.wait_for_reader("scale_odometry", type(odometry([0, 0, 0], [0, 0, 0, 1], 1)))
    for i in range(MANY):
        stamp = rig.stamp + STEP
        said = odometry([PACE * i, 3, 0], [0, 0, 0, 1], stamp, frame_id="w", child_frame_id="b")
        rig.probe.publish("scale_odometry", said)
        rig.fly(1)
    assert twist(latest(rig))[0] == pytest.approx(10 * PACE, rel=0.08)


def test_a_silent_twist_is_an_error(rigs):
    """Named with its publishers; relative motion goes on."""
    rig = rigs("odometry", "odometry_relative", scale={"source": "twist"})
    rig.fly(7)
    status = rig.status("scale")
    assert status.level == b"\2" and "no twist has come on /twist (no publisher)" in status.message
    rig.odometry(0)
    rig.probe.wait_for(rig.got["odometry_relative"])


def test_height_and_sources_reach_the_odometry(rigs):
    """camera_height counts beside another source; sigma and loops are handed on."""
    scale = {**SPEED, "camera_height": 5.0, "sigma": 0.1}
    rig = rigs(scale=scale, loops=True, max_gap=2.0)
    rig.fly(1)
    config = rig.component.method._engine.config
    assert (config.camera_height, config.step_source, config.step_sigma) == (5.0, "speed", 0.1)
    assert (config.loops, config.max_gap, config.keep_path) == (True, 2.0, False)
    assert rig.value("geometry", "loops accepted") == "0"


# --- losses ---------------------------------------------------------------------------------------


def test_a_covered_lens_is_found_again(rigs):
    """Two dark frames: lost with 9999, then the motion over the gap, without a new segment."""
    rig = rigs("odometry", scale=SPEED)
    rig.fly(MANY + 2)
    before = latest(rig)
    for _ in range(2):
        rig.show(flat(0, (240, 320)))
    assert variances(latest(rig).pose.covariance)[0] == 9999
    assert "the frame is black" in rig.status("output").message
    rig.fly(2)
    after = latest(rig)
    assert place(after)[0] - place(before)[0] == pytest.approx(2 * PACE, rel=0.1)
    assert variances(after.pose.covariance)[0] < 1
    assert rig.value("output", "segments") == "1"
    assert rig.value("geometry", "losses") == "1"
    assert "the frame is black" in rig.value("geometry", "last losses")


def test_a_pause_of_a_second_is_one_line(rigs):
    """Said while it lasts; the motion over it is an ordinary one."""
    rig = rigs("odometry", scale=SPEED)
    rig.fly(MANY + 2)
    before = latest(rig)
    rig.graph.spin_until(lambda: rig.status("input").message.startswith("no image for 1."))
    rig.fly(1, stamp=rig.stamp + SECOND)
    assert place(latest(rig))[0] - place(before)[0] == pytest.approx(PACE, rel=0.15)
    assert rig.status("output").message == "tracking" and rig.value("output", "segments") == "1"


def test_the_place_is_found_again_after_a_pause(rigs):
    """4 s without frames, over the 3 s of geometry: an ordinary motion over the gap."""
    rig = rigs("odometry", scale=SPEED)
    rig.fly(MANY + 2)
    before = latest(rig)
    rig.fly(3, stamp=rig.stamp + 4 * SECOND)
    after = latest(rig)
    assert place(after)[0] - place(before)[0] == pytest.approx(3 * PACE, rel=0.15)
    assert variances(after.pose.covariance)[0] < 1
    assert rig.value("output", "segments") == "1"


def test_a_bag_that_starts_again_begins_a_map(rigs):
    """Stamps fall by a minute: the pose stays, a new map begins, odom never jumps."""
    rig = rigs("odometry", scale=SPEED)
    start = rig.stamp
    rig.fly(MANY)
    before = latest(rig)
    rig.fly(MANY, stamp=start - 60 * SECOND)
    latest(rig)
    x = [place(one)[0] for one in rig.got["odometry"]]
    assert max(np.diff(x)) < 2 * PACE and min(np.diff(x)) >= -0.01
    assert rig.value("output", "segments") == "2"
    assert place(latest(rig))[0] > place(before)[0]


# --- the map --------------------------------------------------------------------------------------


def test_the_tree_of_frames_is_complete_with_loops(rigs, monkeypatch):
    """map -> odom -> base_link, the first the identity until a loop is found."""
    rig = rigs(scale=SPEED, loops=True)
    sent = []
    tf = SimpleNamespace(available=True, send=lambda *args: sent.append(args), close=lambda: None)
    rig.component._output._tf = tf
    rig.fly(MANY)
    by_child = {child: (T, stamp, parent) for T, stamp, parent, child in sent}
    assert sorted(by_child) == ["base_link", "odom"]
    T, stamp, parent = by_child["odom"]
    assert parent == "map" and stamp == by_child["base_link"][1] == rig.stamp
    np.testing.assert_array_equal(T, np.eye(4))


# --- the IMU --------------------------------------------------------------------------------------


@pytest.fixture
def imu_file(tmp_path):
    """A calibration of an IMU whose axes are the camera's."""
    path = tmp_path / "imu.yaml"
    rows = "[[1, 0, 0, 0.1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]"
    path.write_text(f"T_cam_imu: {rows}\nnoise: null\nrate: 200.0\n")
    return path


def test_samples_are_cut_between_frames(rigs, imu_file, monkeypatch):
    """(previous, now]: what comes after a frame's stamp belongs to the next one."""
    rig = rigs(imu={"use": True, "file": imu_file})
    t = rig.stamp + STEP
    rig.say_imu(t - MS, t, t + MS, t + STEP // 2)
    cuts = []
    rig.fly(1)
    engine = rig.component.method._engine
    real = engine.process
    monkeypatch.setattr(
        engine, "process", lambda rgb, **kw: cuts.append(kw["imu"]) or real(rgb, **kw)
    )
    assert engine.aid._samples.rows[:, 0] == pytest.approx(np.array([t - MS, t]) * 1e-9)
    rig.say_imu(t + STEP, t + STEP + MS)
    rig.fly(2)
    stamps = [np.rint((rows[:, 0] - t * 1e-9) * 1e3).tolist() for rows in cuts]
    assert stamps == [[1, 50, 100], [101]]
    assert cuts[0][0, 3] == 0.5 and cuts[0][0, 6] == -9.81


def test_a_silent_imu_is_one_line(rigs, imu_file):
    """Said with its publishers; the odometry goes on without, and frames do not wait."""
    rig = rigs("odometry_relative", imu={"use": True, "file": imu_file})
    rig.fly(7)
    status = rig.status("imu")
    assert status.level == b"\2"
    assert "no imu has come on /imu (no publisher); the odometry goes on" in status.message
    rig.probe.wait_for(rig.got["odometry_relative"])


def test_an_imu_that_comes_late_joins_the_map(rigs, imu_file):
    """Its place was known before its first sample: nothing begins anew."""
    rig = rigs(imu={"use": True, "file": imu_file})
    rig.fly(2)
    engine = rig.component.method._engine
    rig.say_imu(rig.stamp + STEP)
    rig.fly(1)
    assert rig.component.method._engine is engine and len(engine.aid._samples.rows) == 1


def test_an_imu_that_stops_is_one_line(rigs, imu_file):
    """It is stale, and the odometry names the gap in its samples."""
    rig = rigs(imu={"use": True, "file": imu_file, "stale": 0.3})
    t = rig.stamp
    rig.say_imu(*range(t, t + STEP, STEP // 10))
    rig.fly(2)
    rig.graph.spin_until(lambda: "imu is stale" in rig.status("imu").message)
    rig.fly(1)
    assert "IMU silent for 0.2" in rig.component.method._figures.imu_fault


def test_an_imu_of_an_unknown_frame_is_one_line(rigs, monkeypatch):
    """No TF, no file: both frames and the remedies; frames wait a little, then go on without."""
    monkeypatch.setattr("ros_nodes.odometry_geometric.GRACE", 0.3)
    rig = rigs(imu={"use": True})
    rig.say_imu(rig.stamp, frame_id="px4")
    rig.fly(1)
    assert "waits for the IMU at most 0.3 s" in rig.status("output").message
    rig.graph.spin_for(0.3)
    rig.fly(2)
    assert rig.value("output", "frames") == "2"
    status = rig.status("imu")
    assert status.level == b"\1"
    assert status.message.startswith("no transform between 'px4' and 'camera': the IMU is not used")
    assert "imu.file, or imu.xyz and imu.rpy" in status.message
    # As soon as TF says where it sits, a new map begins with it.
    imu = rig.component.method._imu
    imu._tf.add(SimpleNamespace(transforms=[transform((0.1, 0, 0), (0, 0, 0, 1), "camera", "px4")]))
    rig.fly(1)
    np.testing.assert_allclose(rig.component.method._engine.aid.T_cam_imu[:3, 3], [0.1, 0, 0])
    assert rig.status("imu").level == b"\0"


def test_an_imu_of_the_body_needs_no_transform(rigs):
    """Samples of base_frame, as of an autopilot: T_cam_imu is the inverse of T_base_cam."""
    rig = rigs(imu={"use": True})
    rig.say_imu(rig.stamp, frame_id="base_link")
    rig.fly(1)
    R = rig.component.method._engine.aid.T_cam_imu[:3, :3]
    np.testing.assert_allclose(R, np.diag([1.0, -1.0, -1.0]), atol=1e-12)


def test_an_imu_beside_the_body_is_placed_by_parameters(rigs):
    """xyz and rpy in base_frame: 0.2 m behind its origin, turned by 90 degrees about z."""
    rig = rigs(imu={"use": True, "xyz": [-0.2, 0.0, 0.0], "rpy": [0.0, 0.0, math.pi / 2]})
    rig.say_imu(rig.stamp, frame_id="px4")
    rig.fly(1)
    T_base_imu = inverse(inverse(rig.component.method._engine.aid.T_cam_imu))
    T_base_cam = rig.component._extrinsic.T_base_cam("base_link", "camera")
    found = T_base_cam @ T_base_imu
    np.testing.assert_allclose(found[:3, 3], [-0.2, 0, 0], atol=1e-12)
    np.testing.assert_allclose(found[:3, 0], [0, 1, 0], atol=1e-12)


def test_an_imu_beyond_a_gimbal_is_refused(rigs):
    """It turns against the camera: said, and its samples are not used."""
    rig = rigs(imu={"use": True})
    imu = rig.component.method._imu
    rig.say_imu(rig.stamp, frame_id="body")
    for angle, count in ((0.0, 1), (0.2, 2)):
        turn = (0, 0, math.sin(angle / 2), math.cos(angle / 2))
        told = SimpleNamespace(transforms=[transform((0, 0, 0), turn, "body", "camera")])
        imu._tf.add(told)
        rig.fly(count)
    assert "the IMU has turned by 11 degrees against the camera" in rig.status("imu").message


def test_reset_begins_anew(rigs):
    """Origin, map and scale are forgotten."""
    rig = rigs(scale=SPEED)
    rig.fly(MANY)
    latest(rig)
    rig.probe.call("odometry_node/reset", Trigger)
    rig.flown = 0
    count = len(rig.got["odometry"])
    rig.fly(2)
    rig.graph.spin_for(0.05)
    assert len(rig.got["odometry"]) == count and rig.value("scale", "scale") == "unknown"
