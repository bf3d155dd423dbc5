# SPDX-License-Identifier: Apache-2.0
"""Sources of the player: a sequence folder, images, a video or a bag, as messages in order.

Messages of a bag are passed on byte for byte. All others are made and serialised here, on the
thread that reads ahead, so that the thread that keeps time only has to send.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from geometry_msgs.msg import Twist, TwistStamped, TwistWithCovariance, Vector3
from nav_msgs.msg import Odometry
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu
from std_msgs.msg import Header

from depthkit.data.bag import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    ODOMETRY,
    TRANSFORMS,
    Contents,
    choose_topic,
    header_stamp,
    is_bag,
    read_contents,
    read_recorded,
)
from depthkit.data.bag_writer import stamp_of, twists
from depthkit.data.importers.bag import camera_info_topic, no_pictures, picture_topics
from depthkit.data.stream import FrameStream, StreamFrame, open_stream
from depthkit.errors import ConfigError, DataError
from ros_nodes.convert import camera_info_message, image_message, pose_message, stamp_message
from ros_nodes.player_bag import STATIC, Outgoing, recorded
from ros_nodes.player_clocks import (
    SAME_CLOCK,
    UNSTAMPED,
    ImageClock,
    other_clocks,
    stamps_that_fit,
)
from ros_nodes.player_config import PlayerConfig

try:
    from tf2_msgs.msg import TFMessage
except ImportError:  # not on PyPI
    TFMessage = None

IMU = "sensor_msgs/msg/Imu"
TWISTS = ("geometry_msgs/msg/TwistStamped", UNSTAMPED)
OPENING = 8
"""Number of images from which the median interval is taken."""
LEAD = 5 * 10**8
"""Time before the first image of a bag at which playing begins, nanoseconds: for its motion."""
USUAL_PERIOD = 1 / 30
"""Duration of a source of one frame, seconds."""
NO_CAMERA = (
    "the source has no calibration: no camera_info goes out; play what 'depthkit prepare --camera "
    "FILE' makes of it, or give the nodes a calibration file"
)

_KINDS: dict[str, Any] = {
    IMAGE: Image,
    COMPRESSED_IMAGE: CompressedImage,
    CAMERA_INFO: CameraInfo,
    ODOMETRY: Odometry,
    IMU: Imu,
    TWISTS[0]: TwistStamped,
    TWISTS[1]: Twist,
    TRANSFORMS: TFMessage,
}


@dataclass(frozen=True)
class Play:
    """An opened source."""

    topics: dict[str, Any]
    """Message class of each relative topic name."""
    first: int
    """Source time before which nothing is played, nanoseconds."""
    last: int
    """Source time of the end, at the latest, nanoseconds."""
    period: int
    """Time from the last frame to the first of the next loop, nanoseconds."""
    speed: float
    """Source time per real time at rate 1."""
    shift: int
    """Offset from a stamp to source time, nanoseconds; 0 if both have one clock."""
    words: str
    """Summary: number of images, size if known, and rate."""
    messages: Callable[[], Iterator[Outgoing]]
    """Function that reads the messages from the start."""
    notes: tuple[str, ...] = ()
    """Facts for the user: files that are cut short, clocks that differ."""

    @property
    def image_topic(self) -> str:
        """Relative topic name of the images."""
        return next(name for name in self.topics if name.startswith("image"))


def open_play(config: PlayerConfig) -> Play:
    """Open the source.

    Raises:
        ConfigError: no source is given, or `start` lies behind its end.
        DataError: it cannot be read.
        EngineError: rosbags is needed and not installed.
    """
    if config.source == Path():
        raise ConfigError("parameter source: give a sequence folder, video or bag to play")
    play = (_open_bag if is_bag(config.source) else _open_frames)(config)
    if play.first > play.last:
        raise ConfigError(f"parameter start: {config.start:g} s lies behind the end of the source")
    return play


# --- bags ----------------------------------------------------------------------------------------


def _open_bag(config: PlayerConfig) -> Play:
    bag = config.source
    contents = read_contents(bag)
    names = _bag_topics(config, contents)
    image = next(name for name, relative in names.items() if relative == "image")
    kinds = {topic.name: _KINDS[topic.type] for topic in contents.topics if topic.name in names}
    if kinds[image] is CompressedImage:
        names[image] = "image/compressed"
    opening = [
        (one.received, header_stamp(one.data) or one.received)
        for one in islice(read_recorded(bag, (image,)), OPENING)
    ]
    begin, stamp = opening[0]
    lag = begin - stamp
    # Other topics may begin long before the camera, and latched messages at any time.
    first = max(contents.start, begin - LEAD) + round(config.start * 1e9)
    period = _period([stamp for _, stamp in opening])
    count = next(topic.count for topic in contents.topics if topic.name == image)
    shift = lag if not 0 <= lag < SAME_CLOCK else 0
    images = ImageClock(image, stamp, lag, round(contents.end - begin))
    others = names.keys() - {image, STATIC}
    clocks, notes = other_clocks(bag, others, images)
    return Play(
        topics={relative: kinds[name] for name, relative in names.items()},
        first=first,
        last=contents.end,
        period=round(1e9 * period),
        speed=config.fps * period if config.fps else 1.0,
        shift=shift,
        words=f"{count} images of {image}, {1 / period:.3g} Hz",
        messages=partial(recorded, bag, names, first, shift, clocks),
        notes=(*contents.notes, *notes),
    )


def _period(stamps: list[int]) -> float:
    """Return the median interval between images, seconds."""
    steps = [later - earlier for earlier, later in pairwise(stamps) if later > earlier]
    return 1e-9 * float(np.median(steps)) if steps else USUAL_PERIOD


def _bag_topics(config: PlayerConfig, contents: Contents) -> dict[str, str]:
    """Choose the topics to play: name in the bag -> relative name of the player."""
    bag, topics = config.source, contents.topics
    held = picture_topics(bag, topics)
    pictures = [topic for topic in topics if topic.name in held]
    wanted: list[tuple[str, Any, tuple[str, ...], str]] = [
        ("image", pictures, (IMAGE, COMPRESSED_IMAGE), "topic"),
        ("odometry", topics, (ODOMETRY,), "odometry_topic"),
        ("imu", topics, (IMU,), "imu_topic"),
        ("twist", topics, TWISTS, "twist_topic"),
    ]
    names: dict[str, str] = {}
    for relative, among, types, field in wanted:
        given = getattr(config, field)
        found = choose_topic(bag, among, types, given, option=f"the parameter {field}")
        if found is not None:
            names[found] = relative
    image = next((name for name, relative in names.items() if relative == "image"), None)
    if image is None:
        raise DataError(no_pictures(bag, contents.topics))
    if any(topic.name == camera_info_topic(image) for topic in topics):
        names[camera_info_topic(image)] = "camera_info"
    if TFMessage is not None and any(topic.name == STATIC for topic in topics):
        names[STATIC] = STATIC
    return names


# --- frames --------------------------------------------------------------------------------------


def _open_frames(config: PlayerConfig) -> Play:
    stream = open_stream(config.source, imu_topic="none")
    times = stream.times if not config.fps else np.arange(len(stream)) / config.fps
    stamps = stamps_that_fit(config, [stamp_of(time) for time in times])
    topics: dict[str, Any] = {"image": Image}
    if stream.camera is not None:
        topics["camera_info"] = CameraInfo
    speeds = _speeds(stream, times) if stream.metric and stream.poses is not None else None
    if speeds is not None:
        topics["odometry"] = Odometry
    step = float(np.median(np.diff(times))) if len(times) > 1 else USUAL_PERIOD
    first = stamps[0] + round(config.start * 1e9)
    picture = next((frame.rgb for frame in stream.frames() if frame.rgb is not None), None)
    size = "" if picture is None else f" of {picture.shape[1]}x{picture.shape[0]}"
    return Play(
        topics=topics,
        first=first,
        last=stamps[-1],
        period=round(step * 1e9),
        speed=1.0,
        shift=0,
        words=f"{len(stream)} frames{size}, {1 / step:.3g} Hz",
        messages=lambda: _played(stream, stamps, speeds, first, config),
        notes=(*stream.notes, *(() if stream.camera is not None else (NO_CAMERA,))),
    )


def _speeds(stream: FrameStream, times: np.ndarray) -> np.ndarray | None:
    """Return the twist at each frame, NaN without a pose; None if no pose is known. (N, 6)"""
    poses = np.empty((0, 4, 4)) if stream.poses is None else stream.poses
    known = np.isfinite(poses).all(axis=(1, 2))
    if not known.any():
        return None
    speeds = np.full((len(poses), 6), np.nan)
    speeds[known] = twists(times[known], poses[known])
    return speeds


def _played(
    stream: FrameStream,
    stamps: list[int],
    speeds: np.ndarray | None,
    first: int,
    config: PlayerConfig,
) -> Iterator[Outgoing]:
    """Make the messages of each frame: odometry and camera_info precede the image."""
    for i, frame in enumerate(stream.frames()):
        stamp = stamps[i]
        if stamp < first:
            continue
        if frame.rgb is None:
            yield Outgoing(stamp, stamp, "image", b"", frame.problem)
            continue
        header = Header(stamp=stamp_message(stamp), frame_id=config.frame_id)
        if speeds is not None and np.isfinite(speeds[i]).all():
            odometry = _odometry(frame, speeds[i], header, config)
            yield Outgoing(stamp, stamp, "odometry", serialize_message(odometry))
        if stream.camera is not None:
            info = camera_info_message(stream.camera, header)
            yield Outgoing(stamp, stamp, "camera_info", serialize_message(info))
        image = image_message(cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR), "bgr8", header)
        yield Outgoing(stamp, stamp, "image", serialize_message(image))


def _odometry(
    frame: StreamFrame, speed: np.ndarray, header: Header, config: PlayerConfig
) -> Odometry:
    """Make the odometry of a frame: T_odom_cam, and the twist in the camera's own frame."""
    linear, angular = (Vector3(x=v[0], y=v[1], z=v[2]) for v in speed.reshape(2, 3).tolist())
    message = Odometry(
        header=Header(stamp=header.stamp, frame_id=config.odom_frame),
        child_frame_id=header.frame_id,
        twist=TwistWithCovariance(twist=Twist(linear=linear, angular=angular)),
    )
    if frame.T_world_cam is not None:
        message.pose.pose = pose_message(frame.T_world_cam)
    return message
