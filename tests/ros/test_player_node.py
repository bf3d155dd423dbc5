# SPDX-License-Identifier: Apache-2.0
"""The player in a running graph: what is sent, in which order, when, and with which stamps."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, time_ns
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rosbags.rosbag2", reason="rosbags is not installed (extra [bag])")

from data import bag_makers as make
from data.bag_makers import CAMERA, MS
from data.source_makers import make_video, picture, save
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from ros_graph import Graph
from ros_processes import Processes
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu

from depthkit.data.bag import header_stamp, read_recorded
from depthkit.data.image_io import encode
from depthkit.data.sequence import SequenceWriter
from depthkit.data.stream import open_stream
from depthkit.errors import ConfigError, DataError, DepthkitError
from depthkit.rigid import make_pose
from depthkit.ros_messages import FrameTree, nanoseconds, read_image, read_pose
from ros_nodes import player_clocks, player_node, player_source
from ros_nodes.inputs.camera_input import CameraConfig, CameraInput, Received
from ros_nodes.inputs.frames import Extrinsic, ExtrinsicConfig
from ros_nodes.inputs.motion_source import MotionConfig, MotionSource
from ros_nodes.player_config import PlayerConfig
from ros_nodes.player_node import Player
from ros_nodes.timeline import Timeline

pytestmark = pytest.mark.ros

FRAMES, STEP = 6, 50 * MS
AHEAD = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
DEEP = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames at 20 Hz from 2 s on that move 0.1 m ahead each; the last one has no pose."""
    root = tmp_path_factory.mktemp("player") / "walk"
    with SequenceWriter(root, CAMERA, ext="png") as writer:
        for i in range(FRAMES):
            pose = None if i == FRAMES - 1 else make_pose(np.eye(3), [0.0, 0.0, 0.1 * i])
            writer.add_frame(picture(i), 2 + i / 20, pose)
    return root


def bag_entries(count: int = FRAMES, start: int = 3000 * MS) -> Iterator[make.Entry]:
    """A flight at 20 Hz, each message recorded 4 ms after its stamp."""
    for i in range(count):
        stamp = start + i * STEP
        for entry in (
            make.odometry(stamp, make_pose(np.eye(3), [0.1 * i, 0.0, 0.0])),
            make.info(stamp),
            make.image(stamp, picture(i)),
        ):
            yield (*entry[:2], stamp + 4 * MS, entry[3])


class Listener:
    """Hears all topics of a player, in the order in which messages come."""

    def __init__(self, graph: Graph, *, raw: bool = False, qos: QoSProfile = DEEP) -> None:
        self.node = graph.node("listener")
        self.graph = graph
        self.heard: list[tuple[str, Any]] = []
        kinds = {"image": Image, "camera_info": CameraInfo, "odometry": Odometry, "imu": Imu}
        for topic, kind in (kinds | {"image/compressed": CompressedImage}).items():
            self.node.create_subscription(kind, topic, self._take(topic), qos, raw=raw)

    def _take(self, topic: str) -> Any:
        def take(message: Any) -> None:
            self.heard.append((topic, message))

        return take

    def of(self, topic: str) -> list[Any]:
        """The messages of a topic."""
        return [message for name, message in self.heard if name == topic]

    def stamps(self, topic: str = "image") -> list[int]:
        """Their stamps, nanoseconds."""
        return [nanoseconds(message.header.stamp) for message in self.of(topic)]

    def wait(self, count: int, topic: str = "image") -> list[Any]:
        """Wait for so many messages of a topic."""
        self.graph.spin_until(lambda: len(self.of(topic)) >= count)
        return self.of(topic)


class SteadyClock:
    """Steady time for a player that was not started: it passes only while the player waits."""

    def __init__(self, player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        clock = SimpleNamespace(monotonic=lambda: self.now, time_ns=lambda: 0)
        monkeypatch.setattr(player_node, "time", clock)
        monkeypatch.setattr(player._stopping, "wait", self._pass)

    def _pass(self, seconds: float) -> bool:
        self.now += seconds
        return False


@pytest.fixture
def unstarted(graph: Graph, walk: Path) -> Player:
    """A player whose thread does not run."""
    return Player(graph.node("player", parameters={"source": walk}))


@contextmanager
def playing(graph: Graph, source: Path, **parameters: Any) -> Iterator[tuple[Player, list[str]]]:
    """Play in this process; the list is filled when the player ends by itself."""
    ended: list[str] = []
    given = {"source": source, "wait_for_subscribers": 1, **parameters}
    node = graph.node("player", parameters=given)
    player = Player(node, on_end=lambda: ended.append("end"))
    player.start()
    try:
        yield player, ended
    finally:
        player.stop()
        player.close()


def play_all(graph: Graph, source: Path, *, raw: bool = False, **parameters: Any) -> Listener:
    """Play a source to its end and hear everything."""
    listener = Listener(graph, raw=raw)
    with playing(graph, source, **parameters) as (player, ended):
        graph.spin_until(lambda: ended)
        graph.spin_until(lambda: len(listener.heard) >= player.status(0.0).values["messages sent"])
    assert not player.failure
    return listener


# --- a sequence -----------------------------------------------------------------------------------


def test_sequence_is_sent_as_it_is(graph: Graph, walk: Path) -> None:
    """Pixels, K, poses and velocity of each frame, under its recorded stamp."""
    heard = play_all(graph, walk, stamps="source", frame_id="cam", odom_frame="map")
    assert heard.stamps() == [2000 * MS + i * STEP for i in range(FRAMES)]
    assert heard.stamps("camera_info") == heard.stamps()
    assert heard.stamps("odometry") == heard.stamps()[:-1]
    for i, message in enumerate(heard.of("image")):
        assert (message.encoding, message.header.frame_id) == ("bgr8", "cam")
        np.testing.assert_array_equal(read_image(message), picture(i))
    for message in heard.of("camera_info"):
        np.testing.assert_array_equal(message.k, CAMERA.K.ravel())
        assert message.header.frame_id == "cam"
    for i, message in enumerate(heard.of("odometry")):
        assert (message.header.frame_id, message.child_frame_id) == ("map", "cam")
        expected = make_pose(np.eye(3), [0.0, 0.0, 0.1 * i])
        np.testing.assert_allclose(read_pose(message.pose.pose), expected, atol=1e-12)
        assert message.twist.twist.linear.z == pytest.approx(2.0)  # 0.1 m in 0.05 s


def test_stamps_of_now_keep_the_spacing(graph: Graph, walk: Path) -> None:
    """The time of sending, the same for all of a frame, and never in the future."""

    before = time_ns()
    heard = play_all(graph, walk)
    after = time_ns()
    stamps = heard.stamps()
    assert np.diff(stamps).tolist() == [STEP] * (FRAMES - 1)
    assert before <= stamps[0] and stamps[-1] <= after
    assert heard.stamps("camera_info") == stamps and heard.stamps("odometry") == stamps[:-1]


@pytest.mark.parametrize("rate", [0.5, 4.0])
def test_rate_scales_time_and_stamps(graph: Graph, walk: Path, rate: float) -> None:
    """At rate 4, 20 Hz are 80 Hz: no frame comes before its time, however long it takes."""
    begun = monotonic()
    heard = play_all(graph, walk, rate=rate)
    assert monotonic() - begun >= 0.25 / rate
    assert np.diff(heard.stamps()).tolist() == [STEP / rate] * (FRAMES - 1)


def test_messages_are_sent_when_they_are_due(
    unstarted: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The player waits just as long as is left: twice as fast, 4 s of a source are 2 s."""
    clock = SteadyClock(unstarted, monkeypatch)
    timeline = Timeline(first=10**9, speed=2.0, begun=100.5, wall=0)
    for at, due in ((1, 100.5), (2, 101.0), (5, 102.5), (5, 102.5)):
        assert unstarted._wait(timeline, at * 10**9, 0)
        assert clock.now == pytest.approx(due, abs=1e-9)
    assert unstarted._late.at(100) == pytest.approx(0.0, abs=1e-6)


def test_a_loop_counts_its_frames(graph: Graph, walk: Path) -> None:
    """Twenty frames of a source of six: it has begun again at least twice."""
    listener = Listener(graph)
    with playing(graph, walk, loop=True) as (player, _):
        listener.wait(20)
        values = player.status(0.0).values
    assert values["frames sent"] >= 20 and values["loops"] >= 2


def test_loop_goes_on_with_rising_stamps_of_now(graph: Graph, walk: Path) -> None:
    """From the last frame to the first again it is one frame's time."""
    listener = Listener(graph)
    with playing(graph, walk, loop=True, rate=5.0) as (_, ended):
        listener.wait(2 * FRAMES + 3)
        assert not ended
    assert set(np.diff(listener.stamps()).tolist()) == {STEP // 5}


def test_loop_of_recorded_stamps_jumps_back(graph: Graph, walk: Path) -> None:
    """As any bag that is played again."""
    listener = Listener(graph)
    with playing(graph, walk, loop=True, rate=5.0, stamps="source"):
        listener.wait(FRAMES + 2)
    stamps = listener.stamps()
    assert stamps[FRAMES : FRAMES + 2] == stamps[:2]


def test_start_and_frames_per_second(graph: Graph, walk: Path) -> None:
    """0.1 s into a source of 100 frames a second are 10 frames: there is nothing left of 6."""
    heard = play_all(graph, walk, start=0.1, stamps="source")
    assert heard.stamps() == [2000 * MS + i * STEP for i in range(2, FRAMES)]
    with (
        pytest.raises(ConfigError, match="start: 0.1 s lies behind the end"),
        playing(graph, walk, fps=100.0, start=0.1),
    ):
        pass


def test_frames_per_second_overrule_times(graph: Graph, walk: Path) -> None:
    """Stamps and velocities follow."""
    heard = play_all(graph, walk, fps=100.0, stamps="source")
    assert heard.stamps() == [1, *(i * 10 * MS for i in range(1, FRAMES))]
    assert heard.of("odometry")[1].twist.twist.linear.z == pytest.approx(10.0)


def test_video_has_images_only(graph: Graph, tmp_path: Path) -> None:
    """A video knows neither camera nor poses."""
    video = make_video(tmp_path / "clip.mp4", count=5, fps=50.0)
    heard = play_all(graph, video)
    assert {topic for topic, _ in heard.heard} == {"image"} and len(heard.heard) == 5
    grey = read_image(heard.of("image")[3])[30:, :].mean()
    assert grey == pytest.approx(60, abs=4)


def test_reliable_and_best_effort_readers_hear_it(graph: Graph, walk: Path) -> None:
    """Publishers are reliable, which serves both."""
    best = Listener(graph, qos=QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
    reliable = graph.probe().collect("image", Image)
    with playing(graph, walk, wait_for_subscribers=2):
        best.wait(FRAMES)
        graph.spin_until(lambda: len(reliable) == FRAMES)


def test_nothing_is_sent_before_somebody_listens(graph: Graph, walk: Path) -> None:
    """wait_for_subscribers, and the diagnostics say so; then not a frame is missed."""
    with playing(graph, walk) as (player, ended):
        graph.spin_for(0.2)
        assert player.status(0.0).values["messages sent"] == 0 and not ended
        assert player.status(0.0).message == "waiting for subscribers of the images"
        listener = Listener(graph)
        listener.wait(FRAMES)
    assert len(set(listener.stamps())) == FRAMES


def test_clock_is_in_the_time_of_the_stamps(graph: Graph, walk: Path) -> None:
    """Recorded time runs from the first stamp on; no image comes before its own time."""
    clocks: list[tuple[int, int]] = []
    listener = Listener(graph)
    listener.node.create_subscription(
        Clock,
        "/clock",
        lambda message: clocks.append((nanoseconds(message.clock), len(listener.of("image")))),
        DEEP,
    )
    with playing(graph, walk, clock=True, stamps="source") as (_, ended):
        graph.spin_until(lambda: ended)
    times = [time for time, _ in clocks]
    assert times and times == sorted(times)
    assert times[0] >= 2000 * MS and times[-1] <= 2000 * MS + FRAMES * STEP


def test_clock_goes_on_between_messages(
    graph: Graph, walk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred times a second: 0.2 s before a message are twenty steps of 10 ms."""
    given = {"source": walk, "clock": True, "stamps": "source"}
    player = Player(graph.node("player", parameters=given))
    clock, sent = SteadyClock(player, monkeypatch), []
    monkeypatch.setattr(player._clock, "publish", lambda one: sent.append(nanoseconds(one.clock)))
    timeline = Timeline(first=2000 * MS, speed=1.0, begun=clock.now, wall=0)
    assert player._wait(timeline, 2200 * MS, 0)
    assert len(sent) in (20, 21)  # the last step may be a rounding's remainder
    np.testing.assert_allclose(sent[:20], (2000 + 10 * np.arange(20)) * MS, rtol=0, atol=1000)


# --- a bag ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_bag_goes_out_byte_for_byte(graph: Graph, tmp_path: Path, storage: str) -> None:
    """Recorded stamps: all bytes; stamps of now: all but those of the stamp."""
    bag = make.write(tmp_path / "bag", bag_entries(), storage=storage)
    names = {"/cam/image_raw": "image", "/cam/camera_info": "camera_info", "/odometry": "odometry"}
    wanted = [(names[one.topic], one.data) for one in read_recorded(bag, names)]
    heard = play_all(graph, bag, raw=True, stamps="source")
    key = sorted(wanted)
    graph.spin_until(lambda: len(heard.heard) == len(key))
    assert sorted((topic, bytes(data)) for topic, data in heard.heard) == key
    graph.remove(heard.node)
    now = play_all(graph, bag, raw=True)
    graph.spin_until(lambda: len(now.heard) == len(key))
    for topic in names.values():
        sent = [bytes(data) for data in now.of(topic)]
        recorded = [data for name, data in wanted if name == topic]
        assert [d[:4] + d[12:] for d in sent] == [d[:4] + d[12:] for d in recorded]
        stamps = [header_stamp(data) for data in sent]
        assert np.diff(np.array(stamps)).tolist() == [STEP] * (FRAMES - 1)


def test_images_of_a_bag_keep_their_age(graph: Graph, tmp_path: Path) -> None:
    """Recorded 4 ms after its stamp, an image is sent 4 ms after it: not stamped in the future."""
    bag = make.write(tmp_path / "bag", bag_entries(2))
    with playing(graph, bag) as (player, _):
        assert player._play.shift == 0
    other = [(*one[:2], one[2] + 10**18, one[3]) for one in bag_entries(2)]
    with playing(graph, make.write(tmp_path / "other", other)) as (player, _):
        assert player._play.shift == 10**18 + 4 * MS


def test_bag_of_another_byte_order_is_stamped(graph: Graph, tmp_path: Path) -> None:
    """CDR says its own order in its second byte."""
    types = make.standard_types()
    topic, kind, time, message = make.image(1000 * MS, picture(0))
    data = bytes(types.serialize_cdr(message, kind, little_endian=False))
    bag = make.write(tmp_path / "bag", [(topic, kind, time, data)])
    (sent,) = play_all(graph, bag, raw=True).of("image")
    assert sent[1] == 0 and bytes(sent[12:]) == data[12:]
    image = deserialize_message(bytes(sent), Image)
    assert nanoseconds(image.header.stamp) == header_stamp(bytes(sent)) > 10**18
    np.testing.assert_array_equal(read_image(image), picture(0))


def test_compressed_images_and_imu_of_a_bag(graph: Graph, tmp_path: Path) -> None:
    """image/compressed, and the attitude beside it."""
    zero, unit = (make.new("geometry_msgs/msg/Vector3", *v) for v in ((0, 0, 0), (0, 0, 9.8)))
    turn = make.new("geometry_msgs/msg/Quaternion", 0.0, 0.0, 0.0, 1.0)
    parts = (turn, np.zeros(9), zero, np.zeros(9), unit, np.zeros(9))
    kind = "sensor_msgs/msg/Imu"
    imu = make.new(kind, make.header(1000 * MS), *parts)
    data = encode(picture(0), "jpg")
    entries = [("/imu/data", kind, 1000 * MS, imu), make.compressed(1000 * MS, data)]
    heard = play_all(graph, make.write(tmp_path / "bag", entries), stamps="source")
    heard.wait(1, "imu")
    (image,) = heard.of("image/compressed")
    assert bytes(image.data) == data
    assert heard.of("imu")[0].linear_acceleration.z == pytest.approx(9.8)


def test_bag_from_its_middle_at_another_rate(graph: Graph, tmp_path: Path) -> None:
    """start counts from the first message; fps changes how fast it is played."""
    bag = make.write(tmp_path / "bag", bag_entries())
    heard = play_all(graph, bag, start=0.12, fps=40.0)
    assert np.diff(heard.stamps()).tolist() == [STEP // 2] * 2


def test_bag_begins_and_loops_with_its_images(graph: Graph, tmp_path: Path) -> None:
    """What else was recorded an hour before and after the camera is not waited for."""
    text = make.new("std_msgs/msg/String", "hello")
    log = [("/log", "std_msgs/msg/String", t * 1000 * MS, text) for t in (1, 7200)]
    early = make.odometry(100 * MS, np.eye(4))
    entries = sorted([*log, early, *bag_entries(3, start=3600000 * MS)], key=lambda one: one[2])
    listener = Listener(graph)
    with playing(graph, make.write(tmp_path / "bag", entries), rate=5.0, loop=True):
        listener.wait(7)
    assert set(np.diff(listener.stamps()).tolist()) == {STEP // 5}
    assert len(listener.of("odometry")) <= len(listener.of("image")) + 1


def test_topics_of_a_bag_are_chosen(graph: Graph, tmp_path: Path) -> None:
    """Several ask which parameter; a wrong name says what is there."""
    entries = [
        make.image(1000 * MS, picture(i), topic=topic)
        for i, topic in enumerate(("/left/image_raw", "/right/image_raw"))
    ]
    entries += [make.odometry(1000 * MS, np.eye(4), topic=topic) for topic in ("/gps", "/vio")]
    bag = make.write(tmp_path / "bag", entries)
    with pytest.raises(DataError, match="pick one with the parameter topic"), playing(graph, bag):
        pass
    with (
        pytest.raises(DataError, match="/gps, /vio.*odometry_topic"),
        playing(graph, bag, topic="/left/image_raw"),
    ):
        pass
    heard = play_all(graph, bag, topic="/right/image_raw", odometry_topic="none", stamps="source")
    np.testing.assert_array_equal(read_image(heard.of("image")[0]), picture(1))
    assert not heard.of("odometry")


def test_latched_transforms_come_first_wherever_it_begins(tmp_path: Path) -> None:
    """Read as they would be sent: tf2_msgs, which it takes to send them, is not on PyPI."""
    static = make.static(make_pose(AHEAD, [0.3, 0.0, 0.1]))
    bag = make.write(tmp_path / "bag", [(*static[:2], 3000 * MS, static[3]), *bag_entries()])
    first = 3000 * MS + 3 * STEP
    names = {"/cam/image_raw": "image", "/tf_static": "/tf_static"}
    messages = list(player_source.recorded(bag, names, first))
    assert [one.topic for one in messages] == ["/tf_static", *["image"] * 3]
    assert (messages[0].at, messages[0].stamp) == (first + 4 * MS, None)


# --- the node hears what infer reads --------------------------------------------------------------


def test_node_sees_the_very_numbers_of_infer(graph: Graph, tmp_path: Path) -> None:
    """Rectified pixels, K, stamps and poses, to the byte: of a distorted camera on a vehicle."""
    D = (-0.2, 0.05, 0.001, -0.002, 0.0)
    static = make.static(make_pose(AHEAD, [0.3, 0.0, 0.1]))
    rng = np.random.default_rng(1)
    entries = [(*static[:2], 3000 * MS, static[3])]
    for i in range(8):
        stamp = 3000 * MS + i * 33333333
        noise = make_pose(np.eye(3), rng.normal(size=3))
        entries.append(make.odometry(stamp - 7 * MS, noise))
        entries += [make.info(stamp, D=D), make.image(stamp, picture(i))]
    bag = make.write(tmp_path / "bag", sorted(entries, key=lambda one: one[2]))
    stream = open_stream(bag)
    offline = list(stream.frames())
    assert stream.camera is not None and stream.poses is not None

    node = graph.node("listener")
    received: list[Received] = []
    camera = CameraInput(node, CameraConfig(), received.append)
    extrinsic = Extrinsic(node, ExtrinsicConfig())
    extrinsic.add(static[3])
    motion = MotionSource(node, MotionConfig(source="odometry", wait=0.0), extrinsic)
    camera.start()
    motion.start()
    with playing(graph, bag, stamps="source", rate=0.3) as (_, ended):
        graph.spin_until(lambda: ended)
    by_stamp = {frame.time: frame for frame in offline}
    assert len(received) >= 6  # the newest counts: a busy machine drops one or two
    for message in received:
        frame = camera.read(message)
        wanted = by_stamp[frame.stamp]
        np.testing.assert_array_equal(frame.rgb, wanted.rgb)
        np.testing.assert_array_equal(frame.K, stream.camera.K)
        told = motion.tell(frame.stamp, frame.header.frame_id, since=None)
        known = None if np.isnan(wanted.T_world_cam).all() else wanted.T_world_cam
        assert (known is None) == (told.T_world_cam is None) == told.expected
        if known is not None:
            np.testing.assert_array_equal(told.T_world_cam, known)
    assert np.isfinite(stream.poses[:-1]).all() and np.isnan(stream.poses[-1]).all()
    motion.stop()
    camera.stop()
    extrinsic.close()
    assert isinstance(extrinsic._tree, FrameTree)


# --- faults ---------------------------------------------------------------------------------------


def test_unreadable_frames_are_left_out_and_counted(
    graph: Graph, tmp_path: Path, walk: Path
) -> None:
    """One broken picture of a sequence; the diagnostics say so."""
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(walk, broken)
    (broken / "frames" / "000002.png").write_bytes(b"no picture")
    said = graph.probe().collect("/diagnostics", DiagnosticArray)
    heard = Listener(graph)
    with playing(graph, broken, stamps="source", loop=True) as (player, _):
        heard.wait(FRAMES - 1)
        graph.spin_until(lambda: said and said[-1].status[0].name == "player: player")
        assert player.status(0.0).values["unreadable"] >= 1
    assert 2000 * MS + 2 * STEP not in heard.stamps()


def test_bag_that_breaks_off_is_an_error_and_the_end(graph: Graph, tmp_path: Path) -> None:
    """One line in the log and the diagnostics; what was good has been sent."""
    size = (240, 320)  # 24 of these are six chunks
    entries = [make.image(1000 * MS + i * STEP, picture(i, size)) for i in range(24)]
    bag = make.write(tmp_path / "bag", entries)
    data = bytearray((bag / "bag.mcap").read_bytes())
    at = len(data) * 3 // 4
    data[at : at + 400_000] = b"\xff" * 400_000
    (bag / "bag.mcap").write_bytes(data)
    heard = Listener(graph)
    with playing(graph, bag, rate=10.0) as (player, ended):
        graph.spin_until(lambda: ended)
        assert "cut short" in player.failure
        status = player.status(0.0)
        assert (status.level, status.message) == ("error", player.failure)
        heard.wait(1)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"source": ""}, "source: give a sequence folder"),
        ({"source": "/nowhere"}, "/nowhere: source not found"),
        ({"rate": 0.0}, "rate: 0.01 to 100"),
        ({"stamps": "later"}, "one of now, source"),
        ({"start": 100.0}, "lies behind the end"),
    ],
)
def test_wrong_parameters_are_one_line(
    graph: Graph, walk: Path, parameters: dict[str, Any], words: str
) -> None:
    """Each says what was expected."""
    node = graph.node("player", parameters={"source": walk, **parameters})
    with pytest.raises(DepthkitError, match=words):
        Player(node)


def test_timeline_by_hand() -> None:
    """At twice the speed, 3 s of the source are 1.5 s of the day; a delay moves all of the rest."""
    timeline = Timeline(first=10**9, speed=2.0, begun=100.0, wall=5 * 10**9)
    assert timeline.due(4 * 10**9) == 101.5
    assert timeline.stamp(4 * 10**9) == 6_500_000_000
    assert timeline.position(101.5) == 4 * 10**9
    timeline.delay(0.25)
    assert timeline.due(4 * 10**9) == 101.75
    assert timeline.stamp(4 * 10**9) == 6_750_000_000


def test_source_that_is_too_slow_gives_up_lost_time(
    unstarted: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After half a second the rest is played later, in its rhythm, instead of all at once."""
    clock = SteadyClock(unstarted, monkeypatch)
    timeline = Timeline(first=0, speed=1.0, begun=clock.now - 3.0, wall=0)
    assert unstarted._wait(timeline, 10**9, 0)  # due two seconds ago
    assert timeline.due(10**9) == pytest.approx(clock.now) and clock.now == 100.0
    assert timeline.stamp(10**9) == 3 * 10**9
    status = unstarted.status(0.0)
    assert status.values["stalls"] == 1 and status.level == "warn"
    assert "lower rate" in status.message


def test_a_late_start_is_no_warning(unstarted: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first second is that of starting up; what is late after it counts, and alone."""
    clock = SteadyClock(unstarted, monkeypatch)
    timeline = unstarted._begin(0)
    clock.now += 0.2
    assert unstarted._wait(timeline, 0, 0)
    said = unstarted.status(0.0)
    assert said.level == "ok" and said.values["late p100 ms"] == pytest.approx(200.0)
    clock.now += 0.9  # the second is over
    assert unstarted._wait(timeline, 10**9, 0)
    said = unstarted.status(0.0)
    assert said.level == "warn" and said.values["late p100 ms"] == pytest.approx(100.0)


# --- processes ------------------------------------------------------------------------------------


def test_process_ends_with_its_source(graph: Graph, processes: Processes, walk: Path) -> None:
    """Exit code 0, every frame delivered; the log has what is played, how, and its end."""
    listener = Listener(graph)
    parameters = {"source": walk, "wait_for_subscribers": 1}
    process = processes.start("ros_nodes.player_node", parameters=parameters)
    listener.wait(FRAMES)
    assert process.wait() == 0
    began, ended = (line.partition("[player_node]: ")[2] for line in process.stderr().splitlines())
    height, width = picture(0).shape[:2]
    assert began.startswith(f"plays {walk}: {FRAMES} frames of {width}x{height}, 20 Hz, 0.2 s, on ")
    assert all(topic in began for topic in ("/image", "/camera_info", "/odometry"))
    assert ended == f"the source has ended: {FRAMES} images sent"
    listener.wait(FRAMES, "camera_info")
    listener.wait(FRAMES - 1, "odometry")


def test_process_without_a_source_is_one_line(processes: Processes) -> None:
    """Exit code 1."""
    process = processes.start("ros_nodes.player_node", parameters={"source": "/nowhere"})
    assert process.wait() == 1
    assert process.stderr().strip() == "player_node: /nowhere: source not found"


# --- clocks ---------------------------------------------------------------------------------------

WALL = 1_700_000_000 * 1000 * MS


def two_clocks(bag: Path, frames_at: int, poses_at: int) -> Path:
    """Images and odometry that were recorded together, each stamped by a clock of its own."""
    entries = []
    for i in range(4):
        odometry = make.odometry(poses_at + i * STEP, np.eye(4), child="optical")
        entries.append((*odometry[:2], WALL + i * STEP, odometry[3]))
        entries.append(make.image(frames_at + i * STEP, picture(i), received=WALL + i * STEP))
    return make.write(bag, entries)


@pytest.mark.parametrize(
    ("frames_at", "poses_at"),
    [(12_000 * MS, WALL), (WALL, 12_000 * MS), (WALL - 315_964_782_000 * MS, WALL)],
)
def test_clocks_of_a_bag_are_joined_by_its_recording(
    tmp_path: Path, frames_at: int, poses_at: int
) -> None:
    """Odometry keeps its place beside the images, by the clock of the images; both are named."""
    bag = two_clocks(tmp_path / "bag", frames_at, poses_at)
    play = player_source.open_play(PlayerConfig(source=bag))
    stamps = {"image": [], "odometry": []}
    for one in play.messages():
        stamps[one.topic].append(one.stamp)
    assert stamps["image"] == stamps["odometry"] == [frames_at + i * STEP for i in range(4)]
    (note,) = play.notes
    assert f"{frames_at / 1e9:.3f} to about" in note and f"/odometry {poses_at / 1e9:.3f}" in note


def test_pictures_without_calibration_are_played_with_a_word(tmp_path: Path) -> None:
    """Nodes that wait for camera_info would wait for ever."""
    save(tmp_path / "000000.png", picture(0))
    play = player_source.open_play(PlayerConfig(source=tmp_path))
    assert "camera_info" not in play.topics
    assert any("no camera_info goes out" in note for note in play.notes)


def test_bag_since_boot_is_played_to_its_end(graph: Graph, tmp_path: Path) -> None:
    """Odometry with the time of day goes out with the images, stamped now."""
    bag = two_clocks(tmp_path / "bag", 12_000 * MS, WALL)
    heard = Listener(graph)
    with playing(graph, bag) as (player, ended):
        graph.spin_until(lambda: ended)
        assert not player.failure
        heard.wait(1)
    assert all(abs(stamp - time_ns()) < 3600 * 10**9 for stamp in heard.stamps())


def test_one_stamp_of_another_age_has_its_time_of_recording() -> None:
    """A camera that starts anew in the middle counts from 0 again."""
    second = 10**9
    assert player_clocks.stamp_or_recording(5 * second, 6 * second, 0) == 5 * second
    assert player_clocks.stamp_or_recording(0, 9000 * second, 10 * second) == 8990 * second


@pytest.mark.parametrize("first", [-3.0, 1.7e12])
def test_times_that_fit_no_stamp(tmp_path: Path, first: float) -> None:
    """Played from 0 with stamps of now; refused with the source's own."""
    stamps = [round((first + i) * 10**9) for i in range(3)]
    config = PlayerConfig(source=tmp_path)
    assert player_clocks.stamps_that_fit(config, stamps)[0] == 0
    with pytest.raises(DataError, match="do not fit the stamp"):
        player_clocks.stamps_that_fit(PlayerConfig(source=tmp_path, stamps="source"), stamps)
