# SPDX-License-Identifier: Apache-2.0
"""Sources of the player: a sequence folder, images, a video or a bag, as messages in order.

Messages of a bag are passed on byte for byte. All others are made and serialised here, on the
thread that reads ahead, so that the thread that keeps time only has to send.
"""

from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu

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
from depthkit.data.importers.bag import camera_info_topic, no_pictures, picture_topics
from depthkit.errors import ConfigError, DataError
from ros_nodes.inputs.frames import TFMessage
from ros_nodes.player_bag import STATIC, recorded
from ros_nodes.player_clocks import (
    SAME_CLOCK,
    UNSTAMPED,
    ImageClock,
    other_clocks,
)
from ros_nodes.player_config import PlayerConfig
from ros_nodes.player_frames import open_frames
from ros_nodes.player_play import LEAD, USUAL_PERIOD, Play

IMU = "sensor_msgs/msg/Imu"
TWISTS = ("geometry_msgs/msg/TwistStamped", UNSTAMPED)
OPENING = 8
"""Number of images from which the median interval is taken."""

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


def open_play(config: PlayerConfig) -> Play:
    """Open the source.

    Raises:
        ConfigError: no source is given, or `start` lies behind its end.
        DataError: it cannot be read.
        EngineError: rosbags is needed and not installed.
    """
    if config.source == Path():
        raise ConfigError("parameter source: give a sequence folder, video or bag to play")
    play = (_open_bag if is_bag(config.source) else open_frames)(config)
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
