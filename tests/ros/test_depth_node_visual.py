# SPDX-License-Identifier: Apache-2.0
"""depth_node with model sweep: whose motion counts, what is published, and each fault by its name.

The sweep is a double here, whose depth is ten times the step; the odometry is the real one, over a
flight along a textured plane.
"""

import numpy as np
import pytest
from depth_rig import START, STEP, Rig, pixels, pose, values_of
from fake_sweep import SURE, UNSURE, FakeSweep
from geometric_rig import over_plane
from ros_made import nanoseconds_of
from runtime.plane_flight import SIZE, K
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from depthkit.ros_messages import seconds
from depthkit.runtime import GeometricConfig, GeometricOdometry
from depthkit.runtime.depth.visual_depth import VisualDepth
from depthkit.runtime.motion.told import Motion

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("fake_sweep")]

PACE = 0.2
"""Metres from one frame to the next; 2 m/s at 10 Hz."""
FRAMES = 8


@pytest.fixture
def flights(rigs):
    """Make depth nodes with model sweep, and the camera of the flight before them."""

    def make(*topics: str, calibrated: bool = True, **parameters) -> Rig:
        rig = rigs(*topics, **{"model": "sweep", **parameters})
        if calibrated:
            rig.calibrate(K, SIZE[::-1])
        return rig

    return make


def show(rig: Rig, count: int, *, first: int = 0) -> list[str]:
    """Fly on; return what was said of each frame."""
    return [rig.show(over_plane(PACE * i), START + i * STEP) for i in range(first, first + count)]


def offline(count: int, *, speed: float | None = None) -> list:
    """Return the results of the same frames without ROS."""
    config = GeometricConfig(step_source="speed", keep_path=False)
    visual = VisualDepth(GeometricOdometry(config), FakeSweep())
    results = []
    for i in range(count):
        stamp, motion = seconds(START + i * STEP), Motion()
        if speed is not None and i:
            motion = Motion(displacement=speed * (stamp - seconds(START + (i - 1) * STEP)))
        results.append(visual.process(over_plane(PACE * i), stamp=stamp, K=K, motion=motion))
    return results


# --- motion from a topic --------------------------------------------------------------------------


def test_poses_of_a_topic_give_metres_and_sigma(flights) -> None:
    """Ten times 0.2 m; sigma has a topic of its own, and the status names the method."""
    rig = flights(
        "depth",
        "depth_relative",
        "confidence",
        "baseline",
        motion={"source": "odometry", "wait": 1.0},
    )
    sigmas = rig.probe.collect("depth_sigma", Image)
    ends = [one for one in rig.node.publishers if one.topic_name == "/depth_sigma"]
    rig.graph.spin_until(lambda: ends[0].get_subscription_count())
    for i in range(3):
        rig.show(over_plane(PACE * i), START + i * STEP, T=pose(PACE * i))
    assert pixels(rig.got["depth"][-1]) == pytest.approx(2.0) and not rig.got["depth_relative"]
    rig.probe.wait_for(sigmas, 2)
    sigma = pixels(sigmas[-1])
    assert sigma[0, 0] == np.float32(UNSURE) and sigma[0, -1] == np.float32(SURE)
    status = rig.status("model")
    assert status.level == b"\0" and status.message == "sweep, depth from several views"
    values = values_of(status)
    assert (values["kind"], values["backend"], values["shrink"]) == ("sweep", "numba", "2")
    assert values_of(rig.got["baseline"][-1].status[0])["rule"] == "sweep"


def test_min_confidence_leaves_the_unsure_half_out(flights) -> None:
    """NaN where the double has 0.3."""
    motion = {"source": "odometry", "wait": 1.0}
    rig = flights(motion=motion, min_confidence=0.5, quality="fast")
    for i in range(2):
        rig.show(over_plane(PACE * i), START + i * STEP, T=pose(PACE * i))
    known = np.isfinite(pixels(rig.got["depth"][-1]))
    assert not known[:, : SIZE[0] // 2].any() and known[:, SIZE[0] // 2 :].all()
    assert FakeSweep.made[-1].config.shrink == 4


def test_without_poses_the_model_says_what_it_needs(flights) -> None:
    """A speed alone is no pose."""
    rig = flights(motion={"source": "speed", "speed": 2.0})
    status = rig.status("model")
    assert status.level == b"\2" and "needs poses" in status.message
    assert "set motion.source to visual (found in the images) or odometry" in status.message


# --- motion from the images -----------------------------------------------------------------------


def test_images_and_camera_info_are_enough(flights) -> None:
    """Relative depth on its own topic, the bytes of the same frames without ROS."""
    rig = flights()
    show(rig, FRAMES)
    known = [(i, one) for i, one in enumerate(offline(FRAMES)) if one.depth is not None]
    assert known and not rig.got["depth"]
    assert [nanoseconds_of(one) for one in rig.got["depth_relative"]] == [
        START + i * STEP for i, _ in known
    ]
    for (_, result), message in zip(known, rig.got["depth_relative"], strict=True):
        assert bytes(message.data) == result.depth.tobytes()
    assert rig.status("geometry").level == b"\0"
    assert "depth is relative and goes to depth_relative" in rig.status("scale").message
    assert "goes to depth_relative" in rig.status("model").message
    assert rig.value("output", "scale") == "relative"


def test_a_speed_gives_metres(flights) -> None:
    """2 m/s: relative depth until the scale is measured, then metres, as offline."""
    rig = flights(scale={"source": "speed", "speed": 2.0})
    show(rig, 12)
    metric = [
        one for one in offline(12, speed=2.0) if one.depth is not None and one.scale == "metric"
    ]
    assert len(metric) >= 3
    for result, message in zip(metric, rig.got["depth"], strict=True):
        assert bytes(message.data) == result.depth.tobytes()
    assert pixels(rig.got["depth"][-1]) == pytest.approx(10 * PACE, rel=0.02)
    assert rig.status("scale").message.startswith("metres by speed")
    assert rig.value("model", "kind") == "sweep"


def test_motion_needs_a_calibration(flights) -> None:
    """Without camera_info nothing is published, and the topic is named; the first one ends it."""
    rig = flights(calibrated=False)
    rig.send(over_plane(0.0), START)
    rig.graph.spin_until(lambda: rig.value("output", "refused") == "1")
    assert rig.value("output", "last_refusal").startswith("no camera_info yet")
    rig.calibrate(K, SIZE[::-1])
    show(rig, FRAMES, first=1)
    assert rig.got["depth_relative"]


def test_a_covered_lens_is_named_and_forgotten(flights) -> None:
    """Black frames end the motion with the reason; behind them depth begins anew."""
    rig = flights()
    show(rig, FRAMES)
    count = len(rig.got["depth_relative"])
    black = np.zeros((*SIZE[::-1], 3), np.uint8)
    said = rig.show(black, START + FRAMES * STEP)
    assert said.startswith("no camera pose (") and "black" in said
    assert "black" in rig.status("geometry").message
    assert "black" in rig.value("output", "last_refusal")
    show(rig, 2 * FRAMES, first=FRAMES + 1)
    assert len(rig.got["depth_relative"]) > count


def test_a_gap_breaks_the_motion(flights) -> None:
    """No image for ten seconds, and then of another place: a new segment, a new past."""
    rig = flights()
    show(rig, FRAMES)
    count = len(rig.got["depth_relative"])
    said = [
        rig.show(over_plane(PACE * (i + 35)), START + (100 + i) * STEP)
        for i in range(FRAMES, 2 * FRAMES)
    ]
    assert said[0].startswith("no camera pose (no frame for 10.10 s")
    assert "no past frame yet" in said and len(rig.got["depth_relative"]) > count
    assert rig.value("output", "resets") == "1"


def test_reset_and_time_that_runs_back_begin_anew(flights) -> None:
    """A looping bag is a new flight, with the same bytes; ~/reset too."""
    rig = flights()
    show(rig, 2 * FRAMES)
    count = len(rig.got["depth_relative"])
    show(rig, 2 * FRAMES)
    sent = [bytes(message.data) for message in rig.got["depth_relative"]]
    assert sent[:count] == sent[count:] and rig.value("output", "resets") == "1"
    client = rig.probe.node.create_client(Trigger, "depth_node/reset")
    rig.graph.spin_until(client.service_is_ready)
    answer = client.call_async(Trigger.Request())
    rig.graph.spin_until(answer.done)
    said = show(rig, 1, first=2 * FRAMES)
    assert said[0].startswith("no camera pose (") and rig.value("output", "resets") == "2"


def test_nothing_is_tracked_without_subscribers(rigs, graph) -> None:
    """Nobody listens: no work at all."""
    rig = rigs("baseline", model="sweep")
    rig.calibrate(K, SIZE[::-1])
    for subscription in list(rig.probe.node.subscriptions):
        if subscription.topic_name == "/baseline":
            rig.probe.node.destroy_subscription(subscription)
    ends = [one for one in rig.node.publishers if one.topic_name == "/baseline"]
    graph.spin_until(lambda: not ends[0].get_subscription_count())
    rig.send(over_plane(0.0), START)
    graph.spin_until(lambda: rig.value("output", "idle") == "1")
    assert rig.value("geometry", "tracks") == "0"
