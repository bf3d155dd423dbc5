# SPDX-License-Identifier: Apache-2.0
"""What the depth node sends: which pixels, at which size, on which topic, with which words."""

from dataclasses import replace

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from depthkit.camera import Camera
from depthkit.errors import ConfigError
from depthkit.runtime import Decision, DepthResult
from ros_nodes.depth_output import (
    DepthOutput,
    OutputConfig,
    baseline_message,
    maps_of,
    nearest,
    output_size,
)

pytestmark = pytest.mark.ros

CAMERA = Camera(8, 4, 10.0, 20.0, 3.5, 1.5)
HEADER = Header(frame_id="camera_optical")
HEADER.stamp.sec, HEADER.stamp.nanosec = 12, 345_678_901
DEPTH = np.arange(1, 33, dtype=np.float32).reshape(4, 8)
DECISION = Decision(
    "multi_range",
    shifts=(3, 12),
    baselines=(0.3, 1.2),
    parallax=(0.75, 3.0),
    weights=(0.25, 0.75),
    wanted=(0.31, 1.25),
    rotation=(0.5, 2.0),
    reason="2 ranges",
)


def result(**changes) -> DepthResult:
    """Depth of 1 to 32 m at 4 x 8 pixels, the last one not valid."""
    valid = np.ones(DEPTH.shape, bool)
    valid[3, 7] = False
    made = DepthResult(
        depth=DEPTH,
        valid=valid,
        confidence=np.linspace(0, 1, 32, dtype=np.float32).reshape(4, 8),
        K=CAMERA.K,
        scale="metric",
        scale_source="camera poses",
        stamp=12.345678901,
        decision=DECISION,
    )
    return replace(made, **changes)


@pytest.mark.parametrize(
    ("size", "width", "expected"),
    [
        ((480, 640), 0, (480, 640)),
        ((480, 640), 640, (480, 640)),
        ((480, 640), 1000, (480, 640)),
        ((480, 640), 320, (240, 320)),
        ((375, 1242), 414, (125, 414)),
        ((3, 300), 10, (1, 10)),
    ],
)
def test_size_keeps_the_shape_and_never_grows(size, width, expected):
    """The height follows the width; 0 and more than there is mean the camera's size."""
    assert output_size(size, width) == expected


def test_nearest_takes_pixels_that_exist():
    """A third takes the middle of each 3 x 3; the same size is the same map."""
    values = np.arange(54, dtype=np.float32).reshape(6, 9)
    assert nearest(values, (2, 3)).tolist() == [[10, 13, 16], [37, 40, 43]]
    assert nearest(values, (6, 9)) is values
    assert set(nearest(values, (4, 6)).ravel()) <= set(values.ravel())


def test_nearest_lies_where_the_camera_says():
    """With K rescaled by camera.py, a pixel's ray moves by half a source pixel at most."""
    wide = Camera(9, 6, 10.0, 10.0, 4.0, 2.5)
    u, v = np.meshgrid(np.arange(9.0), np.arange(6.0))
    rays = (u - wide.cx) / wide.fx
    for size in ((2, 3), (4, 6), (3, 5)):
        small = wide.resized(size)
        expected = (np.arange(size[1]) - small.cx) / small.fx
        assert np.abs(nearest(rays, size) - expected).max() <= 0.5 / wide.fx + 1e-12


def test_least_confidence_and_largest_depth_cut():
    """Below 0.5 confidence, and beyond 30 m, a pixel is not sent as known; nor is what is not."""
    config = OutputConfig(min_confidence=0.5, max_depth_out=30)
    maps, blind = maps_of(result(), None, 0), maps_of(result(confidence=None), None, 0)
    assert np.array_equal(maps.known(config, metric=True), (DEPTH >= 17) & (DEPTH <= 30))
    assert np.array_equal(blind.known(config, metric=True), DEPTH <= 30)
    assert np.array_equal(maps.known(OutputConfig(), metric=True), DEPTH < 32)


def test_largest_depth_is_metres_alone():
    """Relative depth has no metres to be compared with."""
    maps = maps_of(result(), None, 0)
    assert np.array_equal(maps.known(OutputConfig(max_depth_out=3), metric=False), DEPTH < 32)


def test_all_maps_are_reduced_alike():
    """Depth, what is seen and confidence are of the same pixels; without depth there is nothing."""
    inside = DEPTH < 16
    maps = maps_of(result(), inside, 4)
    assert maps.size == (2, 4) and maps.depth[0].tolist() == [10, 12, 14, 16]
    assert maps.valid.tolist() == [[True, True, True, False], [False] * 4]
    assert maps.confidence[0, 0] == np.float32(9 / 31)
    assert maps_of(result(depth=None, valid=None), None, 0) is None


def test_baseline_message_says_which_and_why():
    """One status with the image's stamp; numbers as text, one for each baseline."""
    message = baseline_message(result(), HEADER, "depth_node")
    (status,) = message.status
    values = {item.key: item.value for item in status.values}
    assert message.header == HEADER
    assert (status.name, status.level, status.message) == (
        "depth_node: baseline",
        b"\0",
        "2 ranges",
    )
    assert (values["rule"], values["shifts"]) == ("multi_range", "3, 12")
    assert (values["baselines_m"], values["parallax_px"]) == ("0.3000, 1.2000", "0.75, 3.00")
    assert (values["weights"], values["wanted_m"]) == ("0.250, 0.750", "0.3100, 1.2500")
    assert (values["rotation_deg"], values["scale"]) == ("0.50, 2.00", "metric")


def test_baseline_message_without_depth_is_a_warning():
    """The reason is the message, also where nothing was chosen."""
    none = Decision("nearest", reason="no past frame yet")
    lost = result(depth=None, valid=None, confidence=None, decision=none, reason=none.reason)
    (status,) = baseline_message(lost, HEADER, "n").status
    assert (status.level, status.message) == (b"\1", "no past frame yet")
    (status,) = baseline_message(replace(lost, decision=None, reason="black"), HEADER, "n").status
    assert (status.level, status.message) == (b"\1", "black")
    (status,) = baseline_message(result(decision=None), HEADER, "n").status
    assert status.level == b"\0" and "no baseline" in status.message


@pytest.mark.parametrize(
    ("name", "value"), [("output_width", -1), ("min_confidence", 1.5), ("max_depth_out", np.nan)]
)
def test_settings_have_ranges(name, value):
    """A value outside is one line that names the parameter."""
    with pytest.raises(ConfigError, match=f"^{name}: "):
        OutputConfig(**{name: value})


class Listener:
    """An output and a probe that collects some of its topics."""

    def __init__(self, graph, *topics):
        kinds = {"depth/camera_info": CameraInfo, "baseline": DiagnosticArray}
        self.graph, self.node = graph, graph.node("out")
        self.output, self.probe = DepthOutput(self.node), graph.probe()
        self.heard = {t: self.probe.collect(t, kinds.get(t, Image)) for t in topics}
        graph.spin_until(lambda: all(self.output.has_subscribers(topic) for topic in topics))

    def send(self, what, *, camera=CAMERA, inside=None, **config):
        """Send and wait for the last topic; return what all got."""
        config = OutputConfig(**config)
        self.output.send(what, HEADER, camera=camera, inside=inside, config=config)
        self.probe.wait_for(list(self.heard.values())[-1])
        self.graph.spin_for(0.05)
        return {
            topic: [messages.pop() for _ in messages[:]] for topic, messages in self.heard.items()
        }


def pixels(message, dtype=np.float32):
    """(H, W) of a message without padding."""
    return np.frombuffer(message.data, dtype).reshape(message.height, message.width)


ALL = ("depth", "depth_relative", "depth/camera_info", "confidence", "baseline")


def test_metric_depth_goes_out_with_its_camera(graph):
    """Depth with NaN for unknown, K as it is, one header on all of them; nothing is relative."""
    got = Listener(graph, *ALL).send(result())
    (depth,), (info,), (confidence,) = (
        got[t] for t in ("depth", "depth/camera_info", "confidence")
    )
    assert got["depth_relative"] == [] and len(got["baseline"]) == 1
    assert all(message.header == HEADER for message in (depth, info, confidence))
    assert (depth.encoding, depth.height, depth.width, depth.step) == ("32FC1", 4, 8, 32)
    assert np.isnan(pixels(depth)[3, 7]) and pixels(depth)[:3].tolist() == DEPTH[:3].tolist()
    assert (info.height, info.width, info.k.tolist()) == (4, 8, CAMERA.K.ravel().tolist())
    assert pixels(confidence)[3, 7] == 0 and pixels(confidence)[3, 6] == np.float32(30 / 31)


def test_relative_depth_never_goes_to_depth(graph):
    """A change of scale in mid-stream changes the topic, frame by frame; never millimetres."""
    listener = Listener(graph, *ALL)
    for scale, other in (("relative", "metric"), ("metric", "relative")) * 2:
        got = listener.send(result(scale=scale), encoding="16UC1")
        topic = {"metric": "depth", "relative": "depth_relative"}
        (message,) = got[topic[scale]]
        assert got[topic[other]] == []
        assert message.encoding == {"metric": "16UC1", "relative": "32FC1"}[scale]


def test_millimetres(graph):
    """16UC1: depth in millimetres, 0 for unknown."""
    (message,) = Listener(graph, "depth").send(result(), encoding="16UC1")["depth"]
    values = pixels(message, np.uint16)
    assert (message.encoding, message.step) == ("16UC1", 16)
    assert values[0, 0] == 1000 and values[3, 6] == 31_000 and values[3, 7] == 0


def test_smaller_maps_take_their_camera_along(graph):
    """Half the width: every map 2 x 4, fx and fy by their own axis, centres by the pixel rule."""
    got = Listener(graph, *ALL).send(result(), output_width=4)
    (depth,), (info,), (confidence,) = (
        got[t] for t in ("depth", "depth/camera_info", "confidence")
    )
    assert {(m.height, m.width) for m in (depth, info, confidence)} == {(2, 4)}
    assert pixels(depth)[0].tolist() == [10, 12, 14, 16]
    assert info.k.tolist() == [5, 0, 1.5, 0, 10, 0.5, 0, 0, 1]


def test_outside_the_picture_is_unknown(graph):
    """The mask makes NaN of depth and 0 of confidence."""
    inside = np.zeros(DEPTH.shape, bool)
    inside[:, :4] = True
    got = Listener(graph, *ALL).send(result(), inside=inside)
    assert np.isnan(pixels(got["depth"][0])[:, 4:]).all()
    assert np.isfinite(pixels(got["depth"][0])[:, :4]).all()
    assert not pixels(got["confidence"][0])[:, 4:].any()


def test_without_depth_only_the_reason_goes_out(graph):
    """No old depth again, no empty depth, no camera."""
    got = Listener(graph, *ALL).send(result(depth=None, valid=None, confidence=None, reason="dark"))
    assert [len(got[topic]) for topic in ALL] == [0, 0, 0, 0, 1]


def test_without_a_camera_there_is_no_camera_info(graph):
    """Relative depth of a camera that is not calibrated goes out alone."""
    got = Listener(graph, *ALL).send(result(scale="relative"), camera=None)
    assert [len(got[topic]) for topic in ALL] == [0, 1, 0, 1, 1]


def test_wanted_follows_the_subscribers(graph):
    """Nobody, camera_info alone, then confidence: only the last makes the node compute."""
    node, probe = graph.node("out"), graph.probe()
    output = DepthOutput(node)
    assert not output.wanted()
    probe.collect("depth/camera_info", CameraInfo)
    graph.spin_until(lambda: output.has_subscribers("depth/camera_info"))
    assert not output.wanted()
    probe.collect("confidence", Image)
    graph.spin_until(output.wanted)
    output.close()
    graph.spin_until(lambda: not probe.node.count_publishers("/depth"))
