# SPDX-License-Identifier: Apache-2.0
"""A ROS 2 bag (folder with metadata.yaml, *.mcap or *.db3): each topic of pictures is a sequence.

Times are the header stamps. The camera is that of the camera_info beside the pictures, its
distortion with it. Odometry gives poses: those of the vehicle at the frames' stamps, interpolated,
times the camera's place on it, which /tf_static tells. A node that the bag is played to reads the
same numbers, in the same order.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from depthkit.camera import SourceCamera
from depthkit.data.bag import (
    COMPRESSED_IMAGE,
    IMAGE,
    ODOMETRY,
    Recorded,
    Topic,
    choose_topic,
    header_stamp,
    is_bag,
    parse,
    read_contents,
    read_recorded,
)
from depthkit.data.importers.source import FrameRef, ImportOptions, Source, find_camera
from depthkit.errors import DataError
from depthkit.ros_messages import (
    FrameTree,
    nanoseconds,
    read_camera,
    read_compressed,
    read_image,
    read_pose,
    seconds,
)
from depthkit.trajectory import Trajectory, interpolate_poses

NO_POSES = "none"
"""What --odometry-topic takes for no poses at all."""

_PICTURES = (IMAGE, COMPRESSED_IMAGE)
_DEPTH = ("32FC1", "64FC1")  # encodings that hold metres
_SAME_CLOCK = 10 * 10**9  # nanoseconds between a stamp and its recording, at most


@dataclass
class _Scan:
    """What one pass over a bag found for one topic of pictures."""

    indices: list[int] = field(default_factory=list)
    """Of the messages that are frames, among all of the topic."""
    stamps: list[int] = field(default_factory=list)
    """Of these, nanoseconds, rising."""
    size: tuple[int, int] | None = None
    """(H, W) of the first picture that can be read."""
    frame_id: str = ""
    """And the frame it is seen from."""
    seen: int = 0
    """Messages of the topic."""
    infos: list[Any] = field(default_factory=list)
    """camera_info, as long as it differs from the one before."""
    info_bytes: bytes = b""
    """The last one without its header."""
    track: list[tuple[float, np.ndarray]] = field(default_factory=list)
    """Stamp in seconds and T_odom_base of the odometry, rising."""
    base_frame: str = ""
    frames: FrameTree = field(default_factory=FrameTree)
    unstamped: int = 0
    """Frames that have the time of their recording."""
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """Topic -> why messages of it are not used."""

    def leave_out(self, topic: str, reason: str) -> None:
        """Count a message that is not used."""
        self.left_out.setdefault(topic, []).append(reason)

    def notes(self) -> Iterator[str]:
        """Say what is not as it should be."""
        if self.unstamped:
            yield f"{self.unstamped} frames have stamp 0: the time of their recording counts"
        for topic, reasons in self.left_out.items():
            yield f"{len(reasons)} messages of {topic} left out, the first: {reasons[0]}"


def find(root: Path) -> dict[str, Path]:
    """Return the topics of pictures, by their names with / replaced; a place is bag / topic.

    Raises:
        DataError: a bag that cannot be read, or holds no pictures.
    """
    if not is_bag(root):
        return {}
    topics = read_contents(root).topics
    found: dict[str, Path] = {}
    for topic in picture_topics(root, topics):
        name = sequence_name(topic)
        while name in found:  # /a/b and /a_b
            name += "_"
        found[name] = root / topic.lstrip("/")
    if not found:
        held = ", ".join(f"{topic.name} ({topic.type})" for topic in topics)
        raise DataError(f"{root}: bag holds no topic of pictures; it has {held}")
    return found


def load(place: Path, name: str, options: ImportOptions) -> Source:
    """Read stamps, camera and poses in one pass; pictures are decoded when they are asked for."""
    bag = options.root
    topics = read_contents(bag).topics
    topic = next(t.name for t in topics if bag / t.name.lstrip("/") == place)
    info = camera_info_topic(topic)
    odometry = odometry_topic(bag, topics, options.odometry_topic)
    scan = _scan(bag, topic, info, odometry)
    if scan.size is None:
        raise DataError(f"{bag}: {topic}: none of {scan.seen} messages is a picture")
    camera, calibration, about_camera = _camera(bag, scan.size, scan.infos, info, options)
    times = np.array([seconds(stamp) for stamp in scan.stamps])
    poses, about_poses = _poses(scan, times, odometry, options.max_gap)
    if options.fps is not None:
        times = np.arange(len(times)) / options.fps
    return Source(
        name=name,
        format="bag",
        frames=tuple(FrameRef(bag, index) for index in scan.indices),
        times=times,
        camera=camera,
        poses=poses,
        notes=(*about_camera, *about_poses, *scan.notes()),
        origin={"calibration": calibration, "topic": topic},
        read=partial(read_frames, bag, topic),
    )


def read_frames(
    bag: Path, topic: str, wanted: Collection[int]
) -> Iterator[tuple[int, np.ndarray | str]]:
    """Decode the wanted messages of a topic, RGB, or say why one is no picture."""
    last = max(wanted, default=-1)
    for index, message in enumerate(read_recorded(bag, (topic,))):
        if index in wanted:
            yield index, _picture_or_word(bag, message, index)
        if index >= last:
            return


def sequence_name(topic: str) -> str:
    """Return the name of the sequence that a topic becomes."""
    return topic.strip("/").replace("/", "_")


def read_picture(message: Recorded) -> np.ndarray:
    """Read the picture of a message. (H, W, 3) uint8 RGB

    Raises:
        DataError: it is none.
    """
    read = read_compressed if message.type == COMPRESSED_IMAGE else read_image
    return read(parse(message))


def picture_topics(bag: Path, topics: Collection[Topic]) -> list[str]:
    """Return the topics that hold pictures; depth is none, whatever its message type."""
    pictures = [topic for topic in topics if topic.type in _PICTURES and topic.count]
    return [topic.name for topic in pictures if not _is_depth(bag, topic.name)]


def camera_info_topic(image: str) -> str:
    """Return the name of the camera_info beside a topic of pictures, of raw or compressed ones."""
    return f"{image.removesuffix('/compressed').rpartition('/')[0]}/camera_info"


def odometry_topic(bag: Path, topics: Collection[Topic], wanted: str) -> str | None:
    """Return the topic whose poses count, None for no poses."""
    if wanted == NO_POSES:
        return None
    try:
        remedy = f"pick one with --odometry-topic ('{NO_POSES}' for no poses)"
        return choose_topic(topics, (ODOMETRY,), wanted, remedy=remedy)
    except DataError as error:
        raise DataError(f"{bag}: {error}") from None


# --- one pass ------------------------------------------------------------------------------------


def _scan(bag: Path, topic: str, info: str, odometry: str | None) -> _Scan:
    """Read what goes with a topic of pictures."""
    scan = _Scan()
    takes = {topic: _take_frame, info: _take_info, odometry: _take_odometry}
    takes["/tf_static"] = _take_transforms
    for message in read_recorded(bag, {name for name in takes if name is not None}):
        try:
            takes[message.topic](scan, message)
        except DataError as error:
            scan.leave_out(message.topic, str(error))
    return scan


def _take_frame(scan: _Scan, message: Recorded) -> None:
    """Keep a picture whose stamp is later than the one before."""
    index, stamp = scan.seen, header_stamp(message.data)
    scan.seen += 1
    last = scan.stamps[-1] if scan.stamps else None
    if stamp is None:  # no picture either: a frame all the same, for those to count who decode it
        stamp = 0 if last is None else last + 1
    elif stamp == 0:
        stamp = message.received
        if last is not None and abs(stamp - last) > _SAME_CLOCK:
            raise DataError("stamp is 0, and the time of recording is of another clock")
        scan.unstamped += 1
    if last is not None and stamp <= last:
        raise DataError(f"stamp {stamp} ns is not later than {last} ns, the one before")
    scan.indices.append(index)
    scan.stamps.append(stamp)
    if scan.size is None:
        _look_at_first(scan, message)


def _look_at_first(scan: _Scan, message: Recorded) -> None:
    """Take size and frame from a picture; one that cannot be read is counted when it is wanted."""
    try:
        height, width = read_picture(message).shape[:2]
    except DataError:
        return
    scan.size, scan.frame_id = (height, width), parse(message).header.frame_id


def _take_info(scan: _Scan, message: Recorded) -> None:
    body = message.data[12:]
    if body != scan.info_bytes:
        scan.infos.append(parse(message))
        scan.info_bytes = body


def _take_odometry(scan: _Scan, message: Recorded) -> None:
    """Keep a pose whose stamp is later than the one before."""
    parsed = parse(message)
    T_odom_base, time = read_pose(parsed.pose.pose), seconds(nanoseconds(parsed.header.stamp))
    if scan.track and time <= scan.track[-1][0]:
        raise DataError(f"stamp {time:.9f} s is not later than the one before")
    scan.base_frame = parsed.child_frame_id
    scan.track.append((time, T_odom_base))


def _take_transforms(scan: _Scan, message: Recorded) -> None:
    scan.frames.add(parse(message).transforms)


# --- what becomes of it --------------------------------------------------------------------------


def _camera(
    bag: Path, size: tuple[int, int], infos: Collection[Any], info: str, options: ImportOptions
) -> tuple[SourceCamera, str, tuple[str, ...]]:
    """Return --camera, the camera of the bag, or what a file beside it or --fov says."""
    if options.camera is not None:
        return options.camera, "--camera", ()
    cameras, reason = list[SourceCamera](), f"no {info}"
    for message in infos:
        try:
            cameras.append(read_camera(message, size))
        except DataError as error:
            reason = f"{info}: {error}"
    if cameras:
        changes = any(camera != cameras[0] for camera in cameras)
        note = f"{info} changes; its first calibration counts for all frames"
        return cameras[0], info, (note,) if changes else ()
    fallback = None if options.fallback is None else (options.fallback, "none")
    place = bag if bag.is_dir() else bag.parent
    try:
        camera, calibration = find_camera((place,), size, options, fallback=fallback)
    except DataError as error:
        raise DataError(f"{reason}; {error}") from None
    return camera, calibration, (f"{reason}; calibration: {calibration}",)


def _poses(
    scan: _Scan, times: np.ndarray, odometry: str | None, max_gap: float
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Interpolate the vehicle's poses at the frames, then put the camera on it. (N, 4, 4)"""
    if odometry is None:
        return None, ()
    if not scan.track:
        return None, (f"no poses: {odometry} holds none that can be used",)
    T_base_cam = scan.frames.lookup(scan.base_frame, scan.frame_id)
    if T_base_cam is None:
        return None, (
            f"no poses: {odometry} is of {scan.base_frame!r}, the pictures are of "
            f"{scan.frame_id!r}, and /tf_static does not join them",
        )
    stamps, track = zip(*scan.track, strict=True)
    found, _ = interpolate_poses(Trajectory(np.array(stamps), np.stack(track)), times, max_gap)
    # One by one, as a node does: a product of stacked matrices may round otherwise.
    return np.stack([T @ T_base_cam for T in found]), ()


def _picture_or_word(bag: Path, message: Recorded, index: int) -> np.ndarray | str:
    try:
        return read_picture(message)
    except DataError as error:
        return f"{bag}: {message.topic}: message {index}: {error}"


def _is_depth(bag: Path, topic: str) -> bool:
    """Look at the first message: metres, or millimetres of a topic that says so."""
    first = next(read_recorded(bag, (topic,)))
    try:
        message = parse(first)
    except DataError:
        return False
    if first.type == COMPRESSED_IMAGE:
        return "compressedDepth" in message.format
    return message.encoding in _DEPTH or (message.encoding == "16UC1" and "depth" in topic)
