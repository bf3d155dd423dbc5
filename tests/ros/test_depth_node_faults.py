# SPDX-License-Identifier: Apache-2.0
"""Faults of a running camera and odometry: what the depth node says, and that it is back at once.

After each fault the next good frame, or the one after it where the past has to be forgotten, has
depth again, and no depth ever carries the stamp of a frame from before.
"""

import time

import cv2
import numpy as np
import pytest
from depth_rig import CAMERA, SECOND, START, STEP, grey, pixels, pose
from depth_rig import PAIR_K as K
from ros_made import camera_info, image, nanoseconds_of
from sensor_msgs.msg import CompressedImage

pytestmark = pytest.mark.ros

SIZE = (48, 64)
SMALL = (32, 48)
FAR = pytest.approx(20.0)


class Flight:
    """A pair network under way at 0.1 m a frame, 10 frames a second."""

    def __init__(self, rigs, made_models, **more):
        motion = {"source": "odometry", "wait": 0.3}  # a busy machine pauses between two messages
        baseline = {"rule": "nearest"}
        parameters = {
            "model": made_models / "pair.onnx",
            "motion": motion,
            "baseline": baseline,
        } | more
        self.rig = rigs(**parameters)
        self.index = 0

    def fly(self, count=1, rgb=None):
        """Send good frames; return what was said of the last."""
        for _ in range(count):
            said = self.rig.show(grey() if rgb is None else rgb, self.stamp(), T=self.pose())
            self.index += 1
        return said

    def stamp(self, ahead=0):
        """Of the next frame, nanoseconds."""
        return START + (self.index + ahead) * STEP

    def pose(self):
        """Of the next frame."""
        return pose(0.1 * self.index)

    def refused(self, send):
        """Do something that is refused with nothing on `baseline`; return the reason."""
        before = int(self.rig.value("output", "refused"))
        send()
        self.rig.graph.spin_until(lambda: int(self.rig.value("output", "refused")) > before)
        return self.rig.value("output", "last_refusal")

    def sent(self):
        """Return the stamps of all depth."""
        return [nanoseconds_of(message) for message in self.rig.got["depth"]]


@pytest.fixture
def flight(rigs, made_models):
    """Under way, with depth."""
    made = Flight(rigs, made_models)
    made.rig.calibrate(K, SIZE)
    made.fly(5)
    assert pixels(made.rig.got["depth"][-1]) == FAR and len(made.sent()) == 4
    yield made
    assert made.sent() == sorted(set(made.sent())), "old depth was sent again"
    assert not made.rig.got["depth_relative"]


# --- camera_info ----------------------------------------------------------------------------------


def test_camera_info_missing_then_late(rigs, made_models):
    """Without K no metres; the topic is named, and the first camera_info ends it."""
    flight = Flight(rigs, made_models)
    reason = flight.refused(lambda: flight.rig.send(grey(), flight.stamp(), T=flight.pose()))
    assert reason.startswith("no camera_info yet, and this network needs the camera's intrinsics")
    status = flight.rig.status("input")
    assert status.level == b"\1" and "no camera_info on /camera_info" in status.message
    flight.index = 1
    flight.rig.calibrate(K, SIZE)
    flight.fly(4)
    assert pixels(flight.rig.got["depth"][-1]) == FAR
    assert "camera_info" not in flight.rig.status("input").message
    assert flight.rig.status("output").level == b"\0"


def test_camera_info_of_an_uncalibrated_camera(rigs, made_models):
    """K = 0 is no calibration: metric depth of single frames waits for one too."""
    rig = rigs(model=made_models / "metric.onnx")
    rig.calibrate(np.zeros((3, 3)), SMALL)
    rig.send(grey(size=SMALL), START)
    rig.graph.spin_until(lambda: rig.value("output", "refused") == "1")
    assert "is not calibrated (K[0] is 0)" in rig.status("input").message
    rig.calibrate(K, SMALL)
    rig.show(grey(size=SMALL), START + STEP)
    assert [nanoseconds_of(message) for message in rig.got["depth"]] == [START + STEP]


def test_camera_info_of_another_size(flight):
    """A calibration of another shape of picture is refused with both sizes; the right one helps."""
    flight.rig.calibrate(K, (64, 64))
    reason = flight.refused(lambda: flight.rig.send(grey(), flight.stamp(), T=flight.pose()))
    assert "64x64" in reason and "64x48" in reason
    assert (
        flight.rig.status("input").level != b"\0" and "64x64" in flight.rig.status("input").message
    )
    flight.rig.calibrate(K, SIZE)
    flight.index += 1
    flight.fly(1)
    assert len(flight.sent()) == 5 and pixels(flight.rig.got["depth"][-1]) == FAR


def test_camera_info_of_the_same_shape_is_rescaled(flight):
    """A calibration at twice the size serves: K is halved by camera.py."""
    twice = np.array([[100.0, 0, 63.5], [0, 100, 47.5], [0, 0, 1]])
    flight.rig.calibrate(twice, (96, 128))
    flight.fly(1)
    assert flight.rig.got["depth/camera_info"][-1].k.tolist() == K.ravel().tolist()
    assert pixels(flight.rig.got["depth"][-1]) == FAR


# --- stamps ---------------------------------------------------------------------------------------


def test_stamp_of_zero(rigs, made_models):
    """The time of receipt takes its place, which is said; depth carries that."""
    rig = rigs(model=made_models / "metric.onnx")
    rig.calibrate(K, SMALL)
    before = time.time_ns()
    rig.send(grey(size=SMALL), 0)
    rig.probe.wait_for(rig.got["depth"])
    assert before <= nanoseconds_of(rig.got["depth"][0]) <= time.time_ns()
    status = rig.status("input")
    assert status.level == b"\1" and "zero" in status.message


def test_stamps_that_run_back(flight):
    """An image older by less than a second, or of the same time, is left out; the next is not."""
    for ahead in (-1, -3):
        reason = flight.refused(lambda a=ahead: flight.rig.send(grey(), flight.stamp(a)))
        assert "stamp" in reason
    assert flight.rig.status("input").level == b"\1"
    flight.fly(1)
    assert len(flight.sent()) == 5 and flight.rig.value("output", "resets") == "0"


def test_stamps_of_the_future_and_the_past(rigs, made_models):
    """Off the clock by far is a warning; depth goes on, with the image's own stamp."""
    rig = rigs(model=made_models / "metric.onnx")
    rig.calibrate(K, SMALL)
    future = time.time_ns() + 100 * SECOND
    rig.show(grey(size=SMALL), future)
    assert nanoseconds_of(rig.got["depth"][0]) == future
    status = rig.status("input")
    assert status.level == b"\1" and "in the future: clocks differ" in status.message


def test_bag_that_loops(flight):
    """Time that jumps back by seconds starts anew: one frame without depth, then metres again."""
    flight.fly(15)
    count = len(flight.sent())
    flight.index = 0
    assert flight.fly(1) == "no past frame yet"
    flight.fly(3)
    assert pixels(flight.rig.got["depth"][-1]) == FAR
    assert flight.sent()[count:] == [START + i * STEP for i in (1, 2, 3)]
    assert flight.rig.value("output", "resets") == "1"
    del flight.rig.got["depth"][:count]


# --- pictures -------------------------------------------------------------------------------------


def broken(message):
    """Cut the last rows off."""
    message.data = message.data[: len(message.data) // 2]
    return message


def wrong_step(message):
    """A row that is shorter than its pixels."""
    message.step = message.width
    return message


def unknown(message):
    """An encoding of nobody."""
    message.encoding = "cmyk8"
    return message


@pytest.mark.parametrize(
    ("fault", "words"), [(broken, "data"), (wrong_step, "step"), (unknown, "cmyk8")]
)
def test_images_that_cannot_be_read(flight, fault, words):
    """They are left out with the reason; the next image has depth at once."""
    made = fault(image(grey(), flight.stamp(), frame_id=CAMERA))
    reason = flight.refused(lambda: flight.rig.probe.publish("image", made))
    assert words in reason and "\n" not in reason
    status = flight.rig.status("input")
    assert status.level != b"\0" and words in status.message
    flight.index += 1
    flight.fly(1)
    assert len(flight.sent()) == 5


def encoded(name):
    """The grey frame in another encoding, with the bytes of its pixels."""
    if name == "mono16":
        return np.full(SIZE, 20 * 257, np.uint16)
    if name == "rgba8":
        return np.full((*SIZE, 4), 20, np.uint8)
    return np.full(SIZE, 20, np.uint8)


@pytest.mark.parametrize("name", ["mono8", "mono16", "rgba8", "bayer_rggb8"])
def test_encoding_changes_in_mid_stream(flight, name):
    """The same grey in another encoding continues the stream without a gap."""
    flight.rig.move(flight.pose(), flight.stamp())
    flight.rig.probe.publish(
        "image", image(encoded(name), flight.stamp(), encoding=name, frame_id=CAMERA)
    )
    flight.rig.probe.wait_for(flight.rig.got["depth"], 5)
    assert pixels(flight.rig.got["depth"][-1]) == FAR


def test_size_changes_in_mid_stream(flight):
    """Frames of another size begin a new past; depth and camera_info have the new size."""
    flight.rig.calibrate(np.diag([2, 2, 1]) @ K + [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]], (96, 128))
    said = flight.fly(1, grey(size=(96, 128)))
    assert said.startswith("frames of another size: 64x48 before, 128x96 now")
    flight.fly(3, grey(size=(96, 128)))
    depth, info = flight.rig.got["depth"][-1], flight.rig.got["depth/camera_info"][-1]
    assert (depth.height, depth.width) == (info.height, info.width) == (96, 128)
    assert pixels(depth) == FAR


def test_black_frames(flight):
    """A covered lens has no depth, and says so; light ends it."""
    assert flight.fly(1, grey(0)).startswith("the frame is black")
    flight.fly(2)
    assert len(flight.sent()) == 6


def test_truncated_jpeg(rigs, made_models):
    """Half a JPEG is refused and the next whole one has depth."""
    rig = rigs(model=made_models / "metric.onnx", camera={"transport": "compressed"})
    rig.calibrate(K, SMALL)
    data = cv2.imencode(".jpg", grey(size=SMALL))[1].tobytes()
    for i, part in enumerate((data[: len(data) // 2], b"", b"no picture", data)):
        message = CompressedImage(format="jpeg")
        message.header = image(grey(), START + i * STEP, frame_id=CAMERA).header
        message.data.frombytes(part)
        rig.probe.publish("image/compressed", message)
        done = str(i + 1)
        rig.graph.spin_until(
            lambda done=done: done == rig.value("output", "refused") or rig.got["depth"]
        )
    rig.probe.wait_for(rig.got["depth"])
    assert [nanoseconds_of(message) for message in rig.got["depth"]] == [START + 3 * STEP]
    assert rig.value("output", "refused") == "3" == rig.value("input", "bad")


def test_camera_that_falls_silent(flight):
    """After a second it is an error that names the topic; nothing is sent again, and it is back
    with the first frame, after which the past is too old.
    """
    count = len(flight.rig.got["baseline"])
    flight.rig.graph.spin_until(lambda: flight.rig.status("input").level == b"\2", timeout=5.0)
    status = flight.rig.status("input")
    assert status.message.startswith("no image for") and "/image (1 publisher)" in status.message
    assert len(flight.rig.got["baseline"]) == count and len(flight.sent()) == 4
    flight.index += 20
    assert flight.fly(1).startswith("no frame for 2.10 s, over 1; the past is forgotten")
    flight.fly(1)
    assert len(flight.sent()) == 5 and flight.rig.status("input").level != b"\2"


# --- odometry -------------------------------------------------------------------------------------


def test_odometry_that_falls_silent(flight):
    """A frame without its pose has no depth, says which topic, and is no relative depth either."""
    said = flight.rig.show(grey(), flight.stamp())
    assert said == "no pose for this frame"
    refusal = flight.rig.value("output", "last_refusal")
    assert "motion: odometry on /odometry: the newest is 0.100 s older than the frame" in refusal
    assert flight.rig.status("motion").level == b"\1"
    flight.index += 1
    flight.fly(1)
    assert len(flight.sent()) == 5 and flight.rig.status("output").level == b"\0"


def test_odometry_that_never_came(rigs, made_models):
    """The status names topic and number of publishers; frames wait no longer than told."""
    flight = Flight(rigs, made_models)
    flight.rig.calibrate(K, SIZE)
    flight.rig.show(grey(), flight.stamp())
    status = flight.rig.status("motion")
    assert status.level == b"\2"
    assert status.message.startswith("no odometry has come on /odometry (no publisher)")


def test_odometry_that_jumps(flight):
    """100 m in a frame is no motion: the past is forgotten, and metres are back with the next."""
    flight.index, before = flight.index, len(flight.sent())
    stamp, far = flight.stamp(), pose(100.0)
    assert flight.rig.show(grey(), stamp, T=far).startswith("the pose jumped by 99.6 m in 0.100 s")
    for i in (1, 2, 3):
        flight.rig.show(grey(), stamp + i * STEP, T=pose(100.0 + 0.1 * i))
    assert len(flight.sent()) == before + 3 and pixels(flight.rig.got["depth"][-1]) == FAR


def test_frames_of_another_camera_say_so(flight):
    """camera_info of another frame_id is a warning in the input's status, not a refusal."""
    flight.rig.probe.publish("camera_info", camera_info(K, SIZE, START, frame_id="other"))
    flight.fly(2)
    assert "frame 'camera'" in flight.rig.status("input").message and len(flight.sent()) == 6
