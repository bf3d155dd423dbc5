# SPDX-License-Identifier: Apache-2.0
"""Plays a recording in place of a camera: a sequence folder, images, a video or a ROS 2 bag.

    python -m ros_nodes.player_node --ros-args -p source:=data/flight -p loop:=true

The interface is documented at `Player`; every parameter by `ros2 param describe`.
"""

import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import numpy as np
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from depthkit.data.bag import with_stamp
from depthkit.errors import DepthkitError
from ros_nodes.convert import stamp_message
from ros_nodes.life.lifecycle import first_line
from ros_nodes.life.monitor import Monitor, Quantiles, Status, Throttle
from ros_nodes.life.params import declare
from ros_nodes.life.run import run_node
from ros_nodes.player_bag import STATIC, Outgoing
from ros_nodes.player_config import PlayerConfig
from ros_nodes.player_source import open_play
from ros_nodes.read_ahead import CLOSING, ReadAhead
from ros_nodes.timeline import Timeline

AHEAD = 16  # messages read ahead
CLOCK_STEP = 0.01  # seconds between two messages of /clock
LATE = 10.0  # milliseconds after its time from which a message counts as late
WARM = 1.0  # seconds from the start without warnings of late messages
STALL = 0.5  # seconds of delay after which the timeline is shifted instead of catching up
SAID_EVERY = 10.0  # seconds between two log lines of one kind
# Time for the last messages to arrive; Fast DDS requests acknowledgements only every 3 s.
DELIVERY = 0.5  # seconds
LOOK_FOR_READERS = 0.05  # seconds between two counts of subscribers
SETTLE = 0.3  # seconds for subscribers of the images to discover the other topics
QOS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=100,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


class Player:
    """Publishes a recording at its own pace, and ends with it.

    One thread reads ahead, another keeps time. For one stamp, odometry and camera_info are sent
    before the image. Messages of a bag are sent byte for byte; with stamps `now` the stamp in their
    header is replaced. Unreadable messages are skipped and counted.

    Publishes (reliable, the newest 5):
        image         sensor_msgs/Image, bgr8 of frames, as recorded of a bag; or image/compressed
                      sensor_msgs/CompressedImage where the bag holds that
        camera_info   sensor_msgs/CameraInfo, where the camera is known
        odometry      nav_msgs/Odometry: the poses of a sequence in metres, odom_frame -> frame_id,
                      with the velocity in frame_id; or that of a bag
        imu           sensor_msgs/Imu of a sequence or a bag
        twist         geometry_msgs/TwistStamped or Twist of a bag
        /tf_static    tf2_msgs/TFMessage of a bag, or where the IMU of a sequence sits on the
                      camera; latched, where tf2_msgs imports
        /clock        rosgraph_msgs/Clock, 100 Hz, with `clock`
        /diagnostics  diagnostic_msgs/DiagnosticArray, 1 Hz: player (frames sent, delay, position)
    Parameters (unit, default):
        source                sequence folder, folder of images, video or bag; needed
        rate, fps             factor, 1; frames a second, 0 = the source's own
        loop, start           false; seconds, 0
        stamps                now | source
        clock                 false
        frame_id, odom_frame, imu_frame  camera_optical, odom, imu; a bag keeps its own
        wait_for_subscribers  of the images, 0
        topic, odometry_topic, imu_topic, twist_topic   of a bag; "" = the only one
    """

    def __init__(self, node: Node, on_end: Callable[[], None] = lambda: None) -> None:
        """Declare parameters and open the source.

        Args:
            node: node that owns topics and parameters.
            on_end: called by the player's thread at the end of the source.

        Raises:
            ConfigError: a parameter is invalid.
            DataError: the source cannot be read.
        """
        self._node, self._on_end = node, on_end
        self._config = declare(node, PlayerConfig)
        self._play = open_play(self._config)
        self._publishers = {
            name: node.create_publisher(kind, name, LATCHED if name == STATIC else QOS)
            for name, kind in self._play.topics.items()
        }
        self._clock = node.create_publisher(Clock, "/clock", QOS) if self._config.clock else None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._throttle, self._late = Throttle(SAID_EVERY), Quantiles()
        self._sent = dict.fromkeys(self._publishers, 0)
        self._unreadable = self._loops = self._stalls = 0
        self._position = self._warm_at = 0.0
        self.failure = ""
        """Why playing ended early; empty if it did not."""
        self._monitor = Monitor(node)
        self._monitor.add("player", self.status)

    # --- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Play from the beginning."""
        self._stopping.clear()
        self._node.get_logger().info(self._summary())
        for note in self._play.notes:
            self._node.get_logger().warning(note)
        self._thread = threading.Thread(target=self._run, name="player", daemon=True)
        self._thread.start()
        self._monitor.start()

    def stop(self) -> None:
        """Stop playing; `start` begins again."""
        self._monitor.stop()
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(CLOSING)
        self._thread = None

    def close(self) -> None:
        """Leave the graph."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)
        if self._clock is not None:
            self._node.destroy_publisher(self._clock)

    def _summary(self) -> str:
        """Describe the source and the topics in one line."""
        play, loop = self._play, " in a loop" if self._config.loop else ""
        topics = ", ".join(publisher.topic_name for publisher in self._publishers.values())
        seconds = 1e-9 * (play.last - play.first) / (self._config.rate * play.speed)
        return f"plays {self._config.source}{loop}: {play.words}, {seconds:.1f} s, on {topics}"

    def status(self, _: float) -> Status:
        """Return the status of task "player"."""
        values: dict[str, str | float | int] = {
            "source": str(self._config.source),
            "frames sent": self._sent[self._play.image_topic],
            "messages sent": sum(self._sent.values()),
            "position s": self._position,
            "length s": 1e-9 * (self._play.last - self._play.first),
            "loops": self._loops,
            "unreadable": self._unreadable,
            "stalls": self._stalls,
        }
        late = {p: self._late.at(p) for p in (50, 95, 100)}
        values |= {f"late p{p} ms": value for p, value in late.items() if value is not None}
        if self.failure:
            return Status("error", self.failure, values)
        if self._warm_at == np.inf and (late[95] or 0.0) > LATE:
            slow = "messages go out late: the source is read, or the machine works, too slowly"
            return Status("warn", f"{slow}; lower rate", values)
        if not any(self._sent.values()):
            return Status("ok", "waiting for subscribers of the images", values)
        return Status("ok", "playing", values)

    # --- the thread that keeps time ---------------------------------------------------------------

    def _run(self) -> None:
        try:
            if self._has_readers():
                with closing(ReadAhead(self._passes(), AHEAD)) as ahead:
                    self._send_all(iter(ahead))
                    self._say_end()
        except (DepthkitError, OSError) as error:
            self.failure = first_line(error)
            self._node.get_logger().error(self.failure)
        except Exception as error:  # a thread that dies silently would leave a waiting node
            self.failure = f"a bug, please report it: {first_line(error)}"
            self._node.get_logger().error(traceback.format_exc())
        if not self._stopping.is_set():
            self._deliver()
            self._on_end()

    def _say_end(self) -> None:
        if not self._stopping.is_set():
            sent = self._sent[self._play.image_topic]
            left_out = f", {self._unreadable} left out" if self._unreadable else ""
            self._node.get_logger().info(f"the source has ended: {sent} images sent{left_out}")

    def _has_readers(self) -> bool:
        """Wait for subscribers of the images; False if stopped meanwhile."""
        images, wanted = self._publishers[self._play.image_topic], self._config.wait_for_subscribers
        while images.get_subscription_count() < wanted:
            if self._stopping.wait(LOOK_FOR_READERS):
                return False
        return not (wanted and self._stopping.wait(SETTLE))

    def _passes(self) -> Iterator[tuple[int, Outgoing]]:
        """Read the source, repeatedly if it loops: each message with the duration of earlier
        loops."""
        before = 0
        while True:
            times: list[int] = []
            for one in self._play.messages():
                times = [*times[:1], one.at]
                yield before, one
            if not self._config.loop or not times:
                return
            before += times[-1] - times[0] + self._play.period

    def _send_all(self, messages: Iterator[tuple[int, Outgoing]]) -> None:
        timeline, before = None, 0
        for before_now, one in messages:
            if timeline is None:
                timeline = self._begin(one.at)
            self._loops += before_now > before
            before = before_now
            if not self._wait(timeline, before + one.at, before):
                return
            self._send(one, timeline, before)

    def _deliver(self) -> None:
        """Let the last messages arrive before the publishers go."""
        end = time.monotonic() + DELIVERY
        for publisher in self._publishers.values():
            left = max(0.0, end - time.monotonic())
            publisher.wait_for_all_acked(Duration(seconds=left))

    def _begin(self, first: int) -> Timeline:
        """Map the stamp of the first message, nanoseconds, to the present time."""
        self._warm_at = time.monotonic() + WARM
        speed = self._config.rate * self._play.speed
        return Timeline(first, speed, time.monotonic(), time.time_ns())

    def _wait(self, timeline: Timeline, at: int, before: int) -> bool:
        """Wait until a message is due, publishing /clock meanwhile; False if stopped."""
        while (left := timeline.due(at) - time.monotonic()) > 0:
            self._publish_clock(timeline, before)
            step = left if self._clock is None else min(left, CLOCK_STEP)
            if self._stopping.wait(step):
                return False
        if -left > STALL:
            timeline.delay(-left)
            self._stalls += 1
        if time.monotonic() > self._warm_at:
            self._late, self._warm_at = Quantiles(), np.inf
        self._late.add(-1e3 * left)
        return not self._stopping.is_set()

    def _publish_clock(self, timeline: Timeline, before: int) -> None:
        """Publish /clock in the time of the stamps."""
        if self._clock is None:
            return
        now = timeline.position(time.monotonic())
        if self._config.stamps == "now":
            stamp = timeline.stamp(now)
        else:
            stamp = max(0, now - before - self._play.shift)
        self._clock.publish(Clock(clock=stamp_message(stamp)))

    def _send(self, one: Outgoing, timeline: Timeline, before: int) -> None:
        self._position = 1e-9 * (one.at - self._play.first)
        if one.problem:
            self._unreadable += 1
            if self._throttle.ready("unreadable"):
                self._node.get_logger().warning(f"left out: {one.problem}")
            return
        data = one.data
        if one.stamp is not None and self._config.stamps == "now":
            data = with_stamp(data, timeline.stamp(before + one.stamp + self._play.shift))
        self._publishers[one.topic].publish(data)
        self._sent[one.topic] += 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node; it ends with its source, as on SIGINT."""
    players: list[Player] = []

    def build(node: Node) -> Player:
        players.append(Player(node, on_end=lambda: signal.raise_signal(signal.SIGINT)))
        return players[-1]

    code = run_node("player_node", build, argv, schema=PlayerConfig)
    return code or int(any(player.failure for player in players))


if __name__ == "__main__":
    sys.exit(main())
