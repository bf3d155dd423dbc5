# SPDX-License-Identifier: Apache-2.0
"""One pass over a bag: what goes with one topic of pictures.

The rules are those of a node that the bag is played to: stamps rise, a stamp of 0 is not set, what
cannot be read is left out.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from depthkit.data.bag import (
    COMPRESSED_IMAGE,
    IMAGE,
    TRANSFORMS,
    Recorded,
    header_stamp,
    parse,
    read_recorded,
    with_stamp,
)
from depthkit.errors import DataError
from depthkit.ros_messages import (
    FrameTree,
    nanoseconds,
    read_compressed,
    read_image,
    read_odometry,
    read_pose,
    read_transform,
    seconds,
)

PATH = "nav_msgs/msg/Path"

STUCK = 0.5
"""Share of the pictures whose stamps rise, at least; below it the camera's clock stands still."""
SAME_CLOCK = 10 * 10**9
"""Nanoseconds between the stamp of an image and its recording; more is another clock."""


FLAT = 32
"""Grey levels of 256 between the darkest and the brightest pixel of a picture with no contrast."""


@dataclass
class Scan:
    """What was found."""

    indices: list[int] = field(default_factory=list)
    """Positions of the frames among all messages of the topic."""
    stamps: list[int] = field(default_factory=list)
    """Time stamps of the frames, nanoseconds, rising."""
    size: tuple[int, int] | None = None
    """(H, W) of the first picture that can be read."""
    problem: str = ""
    """Why the first message is no picture."""
    first: Recorded | None = None
    """The first message."""
    frame_id: str = ""
    """And the frame it is seen from."""
    seen: int = 0
    """Messages of the topic."""
    infos: list[Any] = field(default_factory=list)
    """The camera_info, where it differs from the one before."""
    info_body: bytes = b""
    """The last one without stamp."""
    track: list[tuple[float, np.ndarray]] = field(default_factory=list)
    """Stamp in seconds and T_odom_base of the poses, rising."""
    base_frame: str = ""
    """Frame the poses are of; empty where their messages do not say."""
    lags: list[int] = field(default_factory=list)
    """Nanoseconds from stamp to recording of each frame."""
    pose_lags: list[int] = field(default_factory=list)
    """And of each pose."""
    poses_unstamped: int = 0
    """Poses that have the time of their recording."""
    frames: FrameTree = field(default_factory=FrameTree)
    by_recording: bool = False
    """The stamps of the frames do not rise: the times of their recording count."""
    unstamped: int = 0
    """Frames that have the time of their recording."""
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """Topic -> why messages of it are not used."""

    @property
    def frame_lag(self) -> float:
        """Usual time from the stamp of a frame to its recording, seconds."""
        return seconds(int(np.median(self.lags))) if self.lags else 0.0

    @property
    def pose_lag(self) -> float:
        """And of a pose."""
        return seconds(int(np.median(self.pose_lags))) if self.pose_lags else 0.0

    def notes(self) -> Iterator[str]:
        """Say what is not as it should be."""
        if self.by_recording:
            yield (
                f"stamps of most of the {self.seen} pictures do not rise: the time of their "
                "recording counts"
            )
        for count, what in ((self.unstamped, "frames"), (self.poses_unstamped, "poses")):
            if count:
                yield f"{count} {what} have stamp 0: the time of their recording counts"
        for topic, reasons in self.left_out.items():
            yield f"{len(reasons)} messages of {topic} left out, the first: {reasons[0]}"


def scan_bag(
    bag: Path, topic: str, info: str, poses: tuple[str, str], statics: Collection[str]
) -> Scan:
    """Read what goes with a topic of pictures; the pictures themselves are not kept.

    Args:
        bag: the bag.
        topic: of the pictures.
        info: of their camera_info.
        poses: topic and message type of the poses, both empty for none; transforms are not read.
        statics: topics of frames that do not move.

    Raises:
        DataError: the bag is damaged.
    """
    scan = _scan(bag, topic, info, poses, statics, Scan())
    if scan.seen > 2 and len(scan.stamps) < STUCK * scan.seen:
        scan = _scan(bag, topic, info, poses, statics, Scan(by_recording=True))
    return scan


def _scan(
    bag: Path, topic: str, info: str, poses: tuple[str, str], statics: Collection[str], scan: Scan
) -> Scan:
    takes = {topic: _take_frame, info: _take_info}
    takes |= dict.fromkeys(statics, _take_transforms)
    if poses[1] != TRANSFORMS:
        takes[poses[0]] = _take_path if poses[1] == PATH else _take_pose
    for message in read_recorded(bag, {name for name in takes if name}):
        if message.topic == poses[0] and message.type != poses[1]:
            continue  # two publishers of one name
        try:
            takes[message.topic](scan, message)
        except DataError as error:
            scan.left_out.setdefault(message.topic, []).append(str(error))
    return scan


def read_picture(message: Recorded, *, bits: int = 16) -> np.ndarray:
    """Read the picture of a message.

    Args:
        message: an Image or CompressedImage.
        bits: in use of a 16-bit pixel.

    Returns:
        (H, W, 3) uint8 RGB

    Raises:
        DataError: the message holds no readable picture.
    """
    read = read_compressed if message.type == COMPRESSED_IMAGE else read_image
    if message.type not in (COMPRESSED_IMAGE, IMAGE):
        raise DataError(f"{message.type} is a piece of video")
    return read(parse(message), bits=bits)


def dim_pictures(message: Recorded, bits: int) -> tuple[str, ...]:
    """Say that a picture of 16 bits comes out nearly flat, as those of thermal cameras do."""
    try:
        parsed, rgb = parse(message), read_picture(message, bits=bits)
    except DataError:  # said where the picture is wanted
        return ()
    low, high = int(rgb.min()), int(rgb.max())
    is_deep = "16" in str(getattr(parsed, "encoding", "") or getattr(parsed, "format", ""))
    if not is_deep or high - low >= FLAT:
        return ()
    return (
        f"{message.topic}: 16-bit pictures come out nearly flat, grey {low} to {high} of 255, at "
        f"--bits {bits}: give the bits in use (--bits 10 or 12), or stretch them to 8 bits first",
    )


def _take_frame(scan: Scan, message: Recorded) -> None:
    """Keep a picture whose stamp is later than the one before."""
    index, stamp = scan.seen, header_stamp(message.data)
    scan.seen += 1
    last = scan.stamps[-1] if scan.stamps else None
    if scan.by_recording:
        stamp = message.received
    elif stamp is None:  # no picture either: a frame all the same, for those to count who decode it
        stamp = 0 if last is None else last + 1
    elif stamp == 0:
        stamp = message.received
        if last is not None and abs(stamp - last) > SAME_CLOCK:
            raise DataError("stamp is 0, and the time of recording is of another clock")
        scan.unstamped += 1
    if last is not None and stamp <= last:
        raise DataError(f"stamp {stamp} ns is not later than {last} ns, the one before")
    scan.indices.append(index)
    scan.stamps.append(stamp)
    scan.lags.append(message.received - stamp)
    scan.first = scan.first or message
    if scan.size is None:
        _look_at_first(scan, message)


def _look_at_first(scan: Scan, message: Recorded) -> None:
    """Take size and frame from a picture; one that cannot be read is counted when it is wanted."""
    try:
        height, width = read_picture(message).shape[:2]
    except DataError as error:
        scan.problem = scan.problem or str(error)
        return
    scan.size, scan.frame_id = (height, width), parse(message).header.frame_id


def _take_info(scan: Scan, message: Recorded) -> None:
    body = message.data[12:]
    if body != scan.info_body:
        scan.infos.append(parse(message))
        scan.info_body = body


def _take_pose(scan: Scan, message: Recorded) -> None:
    """Keep a pose whose stamp is later than the one before."""
    is_stamped, data = header_stamp(message.data) != 0, message.data
    if not is_stamped:
        data = with_stamp(data, message.received)
    parsed = parse(replace(message, data=data))
    time, T_odom_base = _read_pose(parsed)
    child = getattr(parsed, "child_frame_id", "")
    if scan.track and time <= scan.track[-1][0]:
        raise DataError(f"stamp {time:.9f} s is not later than the one before")
    if scan.base_frame not in ("", child):
        raise DataError(f"child_frame_id is {child!r}, before {scan.base_frame!r}")
    scan.base_frame = child
    scan.track.append((time, T_odom_base))
    scan.pose_lags.append(message.received - nanoseconds(parsed.header.stamp))
    scan.poses_unstamped += not is_stamped


def _read_pose(parsed: Any) -> tuple[float, np.ndarray]:
    """Read stamp and pose of an Odometry, PoseStamped, its like with covariance, or transform."""
    if hasattr(parsed, "twist"):
        return read_odometry(parsed)
    time = seconds(nanoseconds(parsed.header.stamp))
    if hasattr(parsed, "transform"):
        return time, read_transform(parsed.transform)
    return time, read_pose(parsed.pose if hasattr(parsed.pose, "position") else parsed.pose.pose)


def _take_path(scan: Scan, message: Recorded) -> None:
    """Keep the poses of a path; a later message holds all of it, perhaps mended."""
    track: dict[float, np.ndarray] = {}
    for one in parse(message).poses:
        stamp = nanoseconds(one.header.stamp)
        if stamp:
            track[seconds(stamp)] = read_pose(one.pose)
    if not track:
        raise DataError("path: none of its poses has a stamp")
    scan.track = sorted(track.items(), key=lambda pose: pose[0])


def _take_transforms(scan: Scan, message: Recorded) -> None:
    scan.frames.add(parse(message).transforms)
