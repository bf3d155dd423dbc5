# SPDX-License-Identifier: Apache-2.0
"""Images in: frames with their camera, and a status that says what is wrong with it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import ros_made
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_graph import Graph, Probe
from ros_processes import NO_PROFILE, Processes
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depthkit.camera import Camera, SourceCamera
from depthkit.errors import ConfigError, DataError
from depthkit.undistort import build_geometry
from ros_nodes.inputs import calibration
from ros_nodes.inputs.camera_input import CameraConfig, CameraFrame, CameraInput, Received
from ros_nodes.life.params import declare
from ros_nodes.life.slot import LatestSlot

pytestmark = pytest.mark.ros

SIZE = (48, 64)
K = np.array([[60.0, 0, 31.5], [0, 60, 23.5], [0, 0, 1]])
D = (-0.2, 0.05, 0.0, 0.0, 0.0)
PLAYED = str(Path(__file__).with_name("played_camera.py"))
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class Bench:
    """A camera played by a probe, and the input that hears it."""

    def __init__(self, graph: Graph, remap: dict[str, str] | None = None, **config: Any) -> None:
        self.graph, self.probe = graph, graph.probe()
        self.node = graph.node("eye", remap=remap)
        self.slot = LatestSlot[Received]()
        self.input = CameraInput(self.node, CameraConfig(**config), self.slot.put)
        self.input.start()

    def send(self, message: Any, topic: str = "image") -> CameraFrame:
        """Send an image and read what arrives."""
        self.probe.wait_for_reader(topic, type(message))
        self.probe.publish(topic, message)
        return self.input.read(self.received())

    def received(self) -> Received:
        """Wait for what the callback puts."""
        found: list[Received | None] = []

        def taken() -> bool:
            found.append(self.slot.take(0.0))
            return found[-1] is not None

        self.graph.spin_until(taken)
        assert found[-1] is not None
        return found[-1]

    def tell_info(self, message: CameraInfo, topic: str = "camera_info") -> None:
        """Send camera_info and wait until it is known."""
        self.probe.wait_for_reader(topic, CameraInfo)
        self.probe.publish(topic, message)
        known = self.input._calibration
        self.graph.spin_until(lambda: known.latest == message)

    def status(self, after: float = 0.0) -> Any:
        """Ask for the status in some seconds."""
        return self.input.status(time.monotonic() + after)


@pytest.fixture
def bench(graph: Graph) -> Callable[..., Bench]:
    """Make a camera and its input."""
    return lambda **config: Bench(graph, **config)


def picture(seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A picture of noise. (H, W, 3)"""
    return np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)


def test_frame_has_pixels_camera_and_stamp(bench: Callable[..., Bench]) -> None:
    """What was sent comes out; nanoseconds survive, seconds are those of the offline reader."""
    eye = bench()
    eye.tell_info(ros_made.camera_info(K, SIZE, 1))
    frame = eye.send(ros_made.image(picture(), 1_700_000_000_123_456_789, encoding="rgb8"))
    assert np.array_equal(frame.rgb, picture()) and np.array_equal(frame.K, K)
    assert frame.camera is not None and frame.camera.size == SIZE and frame.covered is None
    assert frame.stamp_ns == 1_700_000_000_123_456_789 == ros_made.nanoseconds_of(frame)
    assert frame.stamp == 1_700_000_000_123_456_789 * 1e-9
    assert frame.header.frame_id == "camera" and frame.epoch == 0


def test_best_effort_camera_is_heard(bench: Callable[..., Bench]) -> None:
    """Sensors publish best effort."""
    eye = bench()
    eye.probe.publisher("image", Image, qos=BEST_EFFORT)
    frame = eye.send(ros_made.image(picture()[..., 0], 5.0, encoding="mono8"))
    assert np.array_equal(frame.rgb[..., 1], picture()[..., 0])


def test_without_camera_info_frames_go_on_without_K(bench: Callable[..., Bench]) -> None:
    """The status names the topic; once camera_info comes, frames have their K."""
    eye = bench()
    assert eye.send(ros_made.image(picture(), 5.0)).K is None
    assert eye.status().level == "warn"
    assert "no camera_info on /camera_info (no publisher)" in eye.status().message
    assert "camera.info_file" in eye.status().message
    eye.tell_info(ros_made.camera_info(K, SIZE, 5.0))
    assert np.array_equal(eye.send(ros_made.image(picture(), 5.1)).K, K)
    assert "camera_info" not in eye.status().message


def test_uncalibrated_camera_is_told_apart(bench: Callable[..., Bench]) -> None:
    """K of zeros is no calibration: frames go on without, the status says it."""
    eye = bench()
    eye.tell_info(ros_made.camera_info(np.zeros((3, 3)), SIZE, 5.0))
    assert eye.send(ros_made.image(picture(), 5.0)).K is None
    assert "not calibrated (K[0] is 0)" in eye.status().message


def test_file_stands_in_for_camera_info(bench: Callable[..., Bench], tmp_path: Path) -> None:
    """A file of the same ratio is scaled; camera_info goes before it once it comes."""
    file = tmp_path / "camera.yaml"
    file.write_text("{width: 128, height: 96, fx: 120, fy: 120, cx: 63.5, cy: 47.5}\n")
    eye = bench(info_file=file)
    # Halved: 60 px; (63.5 + 0.5) / 2 - 0.5 = 31.5, (47.5 + 0.5) / 2 - 0.5 = 23.5
    assert np.array_equal(eye.send(ros_made.image(picture(), 5.0)).K, K)
    assert f"the calibration of {file} is taken" in eye.status().message
    eye.tell_info(ros_made.camera_info(K + np.diag([60.0, 60.0, 0.0]), SIZE, 5.0))
    frame = eye.send(ros_made.image(picture(), 5.1))
    assert frame.K is not None and frame.K[0, 0] == 120


def test_camera_info_of_another_size_is_rescaled_with_a_word(bench: Callable[..., Bench]) -> None:
    """Half the size is half the focal length; a sensor that says it is binned is no other size."""
    eye = bench()
    double = np.array([[120.0, 0, 63.5], [0, 120, 47.5], [0, 0, 1]])
    info = ros_made.camera_info(double, (96, 128), 5.0)
    eye.tell_info(info)
    assert np.array_equal(eye.send(ros_made.image(picture(), 5.0)).K, K)
    assert "camera_info is for 128x96, images are 64x48: rescaled" in eye.status().message
    eye = bench()
    info.binning_x = info.binning_y = 2
    eye.tell_info(info)
    assert np.array_equal(eye.send(ros_made.image(picture(), 5.1)).K, K)
    assert "rescaled" not in eye.status().message


def test_broken_calibration_file_ends_the_start(graph: Graph, tmp_path: Path) -> None:
    """One line that names the file."""
    with pytest.raises(DataError, match=r"nowhere\.yaml"):
        Bench(graph, info_file=tmp_path / "nowhere.yaml")


def test_distorted_camera_is_rectified_as_offline(bench: Callable[..., Bench]) -> None:
    """Pixels and K are those of build_geometry, which prepares data sets too."""
    eye = bench()
    eye.tell_info(ros_made.camera_info(K, SIZE, 5.0, D=D))
    frame = eye.send(ros_made.image(picture(), 5.0))
    source = SourceCamera(Camera(64, 48, 60.0, 60.0, 31.5, 23.5), "brown_conrady", D)
    wanted = build_geometry(source)
    assert np.array_equal(frame.rgb, wanted.colour(picture())) and frame.camera == wanted.camera
    assert "brown_conrady" in eye.status().values["camera"]


def test_fisheye_says_which_pixels_are_picture(bench: Callable[..., Bench]) -> None:
    """Where the lens does not reach, `covered` is False."""
    eye = bench()
    strong = np.array([[22.0, 0, 31.5], [0, 22, 23.5], [0, 0, 1]])
    info = ros_made.camera_info(strong, SIZE, 5.0, D=(0.4, 0.2, 0.1, 0.1), model="equidistant")
    eye.tell_info(info)
    frame = eye.send(ros_made.image(picture(), 5.0))
    source = SourceCamera(Camera(64, 48, 22.0, 22.0, 31.5, 23.5), "kannala_brandt", tuple(info.d))
    wanted = build_geometry(source).valid
    assert (frame.covered is None) == (wanted is None)
    assert wanted is None or np.array_equal(frame.covered, wanted)


def test_rectified_image_takes_P(bench: Callable[..., Bench]) -> None:
    """rectify false: pixels stay, K is that of P; where P is left out, K itself."""
    eye = bench(rectify=False)
    info = ros_made.camera_info(K, SIZE, 5.0, D=D)
    info.p = [50.0, 0, 30, 0, 0, 50, 20, 0, 0, 0, 1, 0]
    eye.tell_info(info)
    frame = eye.send(ros_made.image(picture(), 5.0))
    assert np.array_equal(frame.rgb, picture())
    assert frame.K is not None and frame.K[0].tolist() == [50, 0, 30]
    info.p = [0.0] * 12
    eye.tell_info(info)
    assert np.array_equal(eye.send(ros_made.image(picture(), 5.1)).K, K)


@pytest.mark.parametrize(
    ("topic", "D", "rectify", "is_told"),
    [
        ("/cam/image_rect_color", D, True, True),
        ("/cam/rect/image", D, True, True),
        ("/cam/image_rect", D, False, False),
        ("/cam/image_rect", (), True, False),
        ("/direct/image_raw", D, True, False),
    ],
)
def test_rectifying_twice_is_told(
    graph: Graph, topic: str, D: tuple[float, ...], rectify: bool, is_told: bool
) -> None:
    """camera_info beside image_rect still holds the lens: bent once more, the depth is wrong."""
    eye = Bench(graph, {"image": topic}, rectify=rectify)
    info = f"{topic.rpartition('/')[0]}/camera_info"
    eye.tell_info(ros_made.camera_info(K, SIZE, 5.0, D=D), info)
    eye.send(ros_made.image(picture(), 5.0), topic)
    assert ("set camera.rectify to false" in eye.status().message) == is_told


def test_maps_are_built_once_a_camera(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise of an estimate is the same camera; another focal length or size is another."""
    built: list[SourceCamera] = []

    def counted(source: SourceCamera) -> Any:
        built.append(source)
        return build_geometry(source)

    monkeypatch.setattr(calibration, "build_geometry", counted)
    eye = bench()
    for i, focal in enumerate((60.0, 60.00001, 60.0, 70.0, 70.0)):
        info = ros_made.camera_info(K * [[focal / 60], [1], [1]], SIZE, 5.0 + i, D=D)
        eye.tell_info(info)
        eye.send(ros_made.image(picture(), 5.0 + 0.1 * i))
    assert [source.camera.fx for source in built] == [60.0, 70.0]
    eye.send(ros_made.image(picture(size=(24, 32)), 6.0))
    assert len(built) == 3 and built[-1].camera.fx == 35.0


def test_size_of_another_ratio_is_refused(bench: Callable[..., Bench]) -> None:
    """The image is left out with the sizes; the status is an error as no image can be used."""
    eye = bench()
    eye.tell_info(ros_made.camera_info(K, SIZE, 5.0))
    with pytest.raises(DataError, match="64x48.*64x64|64x64.*64x48"):
        eye.send(ros_made.image(picture(size=(64, 64)), 5.0))
    assert eye.status().level == "error" and "64x64" in eye.status().message
    assert eye.status().values["bad"] == 1 and "64x64" in eye.status().values["bad_last"]


def test_frame_of_camera_info_is_compared(bench: Callable[..., Bench]) -> None:
    """Two frame_ids may be two cameras: a warning, and the frame goes on."""
    eye = bench()
    eye.tell_info(ros_made.camera_info(K, SIZE, 5.0, frame_id="left"))
    assert eye.send(ros_made.image(picture(), 5.0, frame_id="right")).K is not None
    assert eye.status().level == "warn"
    assert "'right'" in eye.status().message and "'left'" in eye.status().message


def test_bad_image_is_counted_and_the_next_one_goes_on(bench: Callable[..., Bench]) -> None:
    """It is left out with its reason and does not touch the time."""
    eye = bench()
    eye.send(ros_made.image(picture(), 5.0))
    bad = ros_made.image(picture(), 9.0, encoding="rgb7")
    with pytest.raises(DataError, match="rgb7"):
        eye.send(bad)
    frame = eye.send(ros_made.image(picture(1), 5.1))
    assert frame.epoch == 0 and eye.status().values["bad"] == 1
    assert eye.status().level == "warn" and "rgb7" in eye.status().message
    assert "rgb7" not in eye.status(after=6.0).message  # long ago by then


def test_stamps_out_of_order_are_dropped(bench: Callable[..., Bench]) -> None:
    """Equal and slightly older ones; a long step back is a new epoch, and goes on."""
    eye = bench()
    eye.send(ros_made.image(picture(), 50.0))
    with pytest.raises(DataError, match="came before"):
        eye.send(ros_made.image(picture(), 50.0))
    with pytest.raises(DataError, match=r"0\.500 s older"):
        eye.send(ros_made.image(picture(), 49.5))
    assert eye.send(ros_made.image(picture(), 50.1)).epoch == 0
    assert eye.send(ros_made.image(picture(), 1.0)).epoch == 1
    assert eye.send(ros_made.image(picture(), 1.1)).epoch == 1
    assert eye.status().values["epoch"] == 1


def test_zero_stamp_becomes_the_time_of_arrival(bench: Callable[..., Bench]) -> None:
    """With a warning; the header says the same."""
    eye = bench()
    before = time.time_ns()
    frame = eye.send(ros_made.image(picture(), 0))
    assert before <= frame.stamp_ns <= time.time_ns()
    assert ros_made.nanoseconds_of(frame) == frame.stamp_ns
    assert "stamps are zero" in eye.status().message


@pytest.mark.parametrize(("off", "word"), [(30.0, "in the future"), (-30.0, "old")])
def test_stamps_off_the_clock_are_named(bench: Callable[..., Bench], off: float, word: str) -> None:
    """They are used as they are: two clocks are the user's to mend."""
    eye = bench()
    stamp = time.time_ns() + int(off * 1e9)
    assert eye.send(ros_made.image(picture(), stamp)).stamp_ns == stamp
    assert eye.status().level == "warn" and word in eye.status().message


def test_current_stamps_are_well(bench: Callable[..., Bench]) -> None:
    """A camera as it should be: ok."""
    eye = bench()
    eye.tell_info(ros_made.camera_info(K, SIZE, 5.0))
    eye.send(ros_made.image(picture(), time.time_ns()))
    assert (eye.status().level, eye.status().message) == ("ok", "images come in")


def test_topic_without_publisher_is_an_error(bench: Callable[..., Bench]) -> None:
    """It names the topic, and others on which images are to be had."""
    eye = bench()
    assert eye.status().level == "error"
    assert eye.status().message == "no image on /image (no publisher)"
    eye.probe.publisher("front/image_raw", Image)
    eye.node.create_publisher(Image, "depth", 1)  # the node's own is no camera
    eye.graph.spin_until(lambda: "remap" in eye.status().message)
    assert eye.status().message.endswith("; remap it to /front/image_raw")


def test_other_maps_are_not_proposed_for_images(bench: Callable[..., Bench]) -> None:
    """Depth maps are of the images' type and come earlier in the alphabet."""
    eye = bench()
    for topic in ("a", "b/depth", "c", "depth", "rear/image_raw"):
        eye.probe.publisher(topic, Image)
        eye.probe.wait_for_writer(topic)
    assert eye.status().message.endswith("; remap it to /rear/image_raw")


def test_answers_of_another_depth_node_are_not_proposed(bench: Callable[..., Bench]) -> None:
    """Where nothing else is an Image, nothing is proposed; its camera_info is no camera's."""
    eye = bench()
    for topic in ("/depth", "/depth_relative", "/other/confidence"):
        eye.probe.publisher(topic, Image)
        eye.probe.wait_for_writer(topic)
    eye.probe.publisher("/depth/camera_info", CameraInfo)
    eye.probe.wait_for_writer("/depth/camera_info")
    assert eye.status().message == "no image on /image (no publisher)"
    eye.send(ros_made.image(picture(), time.time_ns()))
    assert "no camera_info on /camera_info (no publisher)" in eye.status().message
    assert "remap" not in eye.status().message


def test_silent_topic_is_an_error_and_recovers(bench: Callable[..., Bench]) -> None:
    """After a second without images, with the age and the publishers; the next image ends it."""
    eye = bench()
    eye.send(ros_made.image(picture(), 5.0))
    assert eye.status(0.9).level == "warn"
    silent = eye.status(2.5)
    assert silent.level == "error"
    assert "no image for 2.5 s on /image (1 publisher)" in silent.message
    eye.send(ros_made.image(picture(), 5.1))
    assert eye.status().level == "warn"


def test_slow_camera_is_not_silent(bench: Callable[..., Bench]) -> None:
    """Silence is five periods where those are longer than a second."""
    eye = bench()
    eye.send(ros_made.image(picture(), 5.0))
    eye.input._image.period = 2.0
    assert eye.status(9.0).level == "warn" and eye.status(11.0).level == "error"


def test_pause_does_not_make_a_camera_slow(bench: Callable[..., Bench]) -> None:
    """One picture after half a minute, then none: an error in a second, not in five pauses."""
    eye = bench()
    for stamp in (5.0, 5.1, 5.2):
        eye.send(ros_made.image(picture(), stamp))
    eye.input._image._last -= 30.0
    eye.send(ros_made.image(picture(), 35.2))
    assert eye.status(0.9).level == "warn" and eye.status(1.5).level == "error"


def test_clock_that_stands_is_named(graph: Graph) -> None:
    """With use_sim_time and no /clock the stamps are not to blame."""
    slot = LatestSlot[Received]()
    eye = CameraInput(graph.node("eye"), CameraConfig(), slot.put)
    message = ros_made.image(picture(), time.time_ns())
    eye.read(Received(message, received_ns=0))
    assert "use_sim_time is set and no /clock has come" in eye.status(time.monotonic()).message


def test_publisher_of_another_quality_is_named(graph: Graph) -> None:
    """A subscription made reliable by parameters hears no best-effort camera, and says so."""
    probe = graph.probe()
    name = "qos_overrides./image.subscription.reliability"
    node = graph.node("eye", parameters={name: "reliable"})
    eye = CameraInput(node, CameraConfig(), lambda received: None)
    eye.start()
    probe.publisher("image", Image, qos=BEST_EFFORT)
    graph.spin_until(lambda: "RELIABILITY" in eye.status(time.monotonic()).message)
    assert name in eye.status(time.monotonic()).message
    assert eye.status(time.monotonic()).level == "error"


@pytest.mark.parametrize(
    ("policy", "value"), [("reliability", "banana"), ("depth", -5), ("depth", "many")]
)
def test_impossible_override_is_one_line(graph: Graph, policy: str, value: Any) -> None:
    """A known error that names the parameter and what was given: no traceback of rclpy's."""
    given = {f"qos_overrides./image.subscription.{policy}": value}
    node = graph.node("eye", parameters=given, automatically_declare_parameters_from_overrides=True)
    eye = CameraInput(node, CameraConfig(), LatestSlot[Received]().put)
    with pytest.raises(ConfigError, match=rf"qos_overrides./image.subscription.*{policy}.*{value}"):
        eye.start()


def test_overwritten_images_are_counted(bench: Callable[..., Bench]) -> None:
    """What the worker did not take in time was dropped."""
    eye = bench()
    eye.probe.wait_for_reader("image", Image)
    for i in range(3):
        eye.probe.publish("image", ros_made.image(picture(i), 5.0 + i))
        eye.graph.spin_until(lambda n=i: eye.input._image.rate.hz(time.monotonic()) or n < 1)
        eye.graph.spin_for(0.05)
    assert eye.status().values["dropped"] == 2
    assert np.array_equal(eye.input.read(eye.received()).rgb, picture(2))


def test_camera_that_comes_back_otherwise_goes_on(bench: Callable[..., Bench]) -> None:
    """The publisher ends; another one has another size, encoding and camera_info."""
    eye = bench()
    eye.tell_info(ros_made.camera_info(K, SIZE, 5.0))
    assert eye.send(ros_made.image(picture(), 5.0)).rgb.shape == (48, 64, 3)
    eye.graph.remove(eye.probe.node)
    eye.probe = Probe(eye.graph, eye.graph.node("probe_again"))
    other = np.array([[120.0, 0, 63.5], [0, 120, 47.5], [0, 0, 1]])
    eye.tell_info(ros_made.camera_info(other, (96, 128), 6.0))
    frame = eye.send(ros_made.image(picture(size=(96, 128))[..., 0], 6.0, encoding="mono8"))
    assert frame.rgb.shape == (96, 128, 3) and np.array_equal(frame.K, other)
    assert frame.epoch == 0


def test_stopped_input_starts_again(bench: Callable[..., Bench]) -> None:
    """It hears nothing in between."""
    eye = bench()
    eye.send(ros_made.image(picture(), 5.0))
    eye.input.stop()
    eye.graph.spin_until(lambda: eye.node.count_subscribers("image") == 0)
    eye.input.start()
    assert eye.send(ros_made.image(picture(), 5.1)).stamp == pytest.approx(5.1)


def test_compressed_images_come_beside_the_image(graph: Graph) -> None:
    """Remapping `image` takes image/compressed and camera_info with it, as image_transport does."""
    eye = Bench(graph, remap={"image": "/cam/image_raw"}, transport="compressed")
    eye.tell_info(ros_made.camera_info(K, SIZE, 5.0), topic="/cam/camera_info")
    smooth = np.full((*SIZE, 3), (200, 100, 50), np.uint8)
    data = cv2.imencode(".png", smooth[..., ::-1])[1].tobytes()
    message = CompressedImage(format="png", data=data)
    message.header = ros_made.image(smooth, 5.0).header
    frame = eye.send(message, topic="/cam/image_raw/compressed")
    assert np.array_equal(frame.rgb, smooth) and np.array_equal(frame.K, K)
    message.data = data[: len(data) // 2]
    with pytest.raises(DataError, match="compressed image"):
        eye.send(message, topic="/cam/image_raw/compressed")


def test_camera_info_remapped_itself_stays_so(graph: Graph) -> None:
    """A remapping of its own goes before the neighbourhood of the image."""
    remap = {"image": "/cam/image_raw", "camera_info": "/calibration"}
    eye = Bench(graph, remap=remap)
    eye.tell_info(ros_made.camera_info(K, SIZE, 5.0), topic="/calibration")
    assert eye.send(ros_made.image(picture(), 5.0), topic="/cam/image_raw").K is not None


def test_camera_process_loses_images_dies_and_comes_back(
    graph: Graph, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses name the remedy, a kill is noticed after a second, another size and encoding go on."""
    for variable in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        monkeypatch.delenv(variable, raising=False)  # a camera as it comes
    eye = Bench(graph)
    camera = processes.start(PLAYED, arguments=["640", "480", "bgr8", "60"], environment=NO_PROFILE)
    graph.spin_until(lambda: eye.status().values["lost"] and eye.status().values["input_hz"], 20.0)
    assert "FASTRTPS_DEFAULT_PROFILES_FILE=" in eye.status().message
    assert "fastdds.xml" in eye.status().message
    camera.popen.kill()
    graph.spin_until(lambda: "no image for" in eye.status().message)
    assert eye.status().level == "error"
    eye.slot.clear()
    processes.start(PLAYED, arguments=["320", "240", "mono8", "30"])
    assert eye.input.read(eye.received()).rgb.shape == (240, 320, 3)
    assert eye.status().level == "warn" and "no image" not in eye.status().message


def test_topic_of_another_type_is_named(graph: Graph, processes: Processes) -> None:
    """Nothing can come of it: the status says which type is there and which is wanted."""
    eye = Bench(graph, remap={"image": "/words"})
    processes.start("small_node", remap={"echo": "/words"})
    graph.spin_until(lambda: "publisher of" in eye.status().message)
    expected = "(1 publisher of std_msgs/msg/String, expected sensor_msgs/msg/Image)"
    assert expected in eye.status().message


@pytest.mark.parametrize(
    "wrong", [{"bits": 9}, {"bits": 11}, {"max_step_back": 0.0}, {"max_step_back": np.nan}]
)
def test_impossible_configuration_is_refused(wrong: dict[str, Any]) -> None:
    """It names the field."""
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        CameraConfig(**wrong)


def test_configuration_is_declared_as_parameters(graph: Graph) -> None:
    """With its defaults, and as given."""
    assert declare(graph.node("a"), CameraConfig) == CameraConfig()
    given = {"transport": "compressed", "bits": 12, "info_file": "a.yaml", "rectify": False}
    wanted = CameraConfig("compressed", 12, False, Path("a.yaml"))
    assert declare(graph.node("b", parameters=given), CameraConfig) == wanted
