# SPDX-License-Identifier: Apache-2.0
"""A ROS 2 bag (folder with metadata.yaml, *.mcap or *.db3): each topic of pictures is a sequence.

Times are the header stamps. The camera is that of the camera_info beside the pictures, its
distortion with it. Odometry gives poses: those of the vehicle at the frames' stamps, interpolated,
times the camera's place on it, which /tf_static tells. A node that the bag is played to reads the
same numbers, in the same order.
"""

from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from depthkit.camera import SourceCamera
from depthkit.data.bag import (
    COMPRESSED_IMAGE,
    IMAGE,
    ODOMETRY,
    Topic,
    choose_topic,
    is_bag,
    parse,
    read_contents,
    read_recorded,
)
from depthkit.data.bag_scan import Scan, read_picture, scan_bag
from depthkit.data.importers.source import (
    FrameRef,
    ImportOptions,
    Source,
    find_camera,
    given_camera,
)
from depthkit.errors import DataError
from depthkit.ros_messages import read_camera, seconds
from depthkit.trajectory import Trajectory, interpolate_poses

_PICTURES = (IMAGE, COMPRESSED_IMAGE)
_DEPTH = ("32FC1", "64FC1")  # encodings that hold metres


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
    odometry = choose_topic(
        bag, topics, (ODOMETRY,), options.odometry_topic, option="--odometry-topic (or 'none')"
    )
    scan = scan_bag(bag, topic, camera_info_topic(topic), odometry)
    camera, calibration, about_camera = _camera(bag, scan, topic, options)
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
        origin={"calibration": calibration, "topic": topic, "bits": options.bits},
        read=partial(read_frames, bag, topic, bits=options.bits),
    )


def read_frames(
    bag: Path, topic: str, wanted: Collection[int], *, bits: int = 16
) -> Iterator[tuple[int, np.ndarray | str]]:
    """Decode the wanted messages of a topic, RGB, or say why one is no picture."""
    last = max(wanted, default=-1)
    for index, message in enumerate(read_recorded(bag, (topic,))):
        if index in wanted:
            try:
                yield index, read_picture(message, bits=bits)
            except DataError as error:
                yield index, f"{bag}: {topic}: message {index}: {error}"
        if index >= last:
            return


def sequence_name(topic: str) -> str:
    """Return the name of the sequence that a topic becomes."""
    return topic.strip("/").replace("/", "_")


def picture_topics(bag: Path, topics: Collection[Topic]) -> list[str]:
    """Return the topics that hold pictures; depth is none, whatever its message type."""
    pictures = [topic for topic in topics if topic.type in _PICTURES and topic.count]
    return [topic.name for topic in pictures if not _is_depth(bag, topic.name)]


def camera_info_topic(image: str) -> str:
    """Return the name of the camera_info beside a topic of pictures, of raw or compressed ones."""
    return f"{image.removesuffix('/compressed').rpartition('/')[0]}/camera_info"


def is_rectified(image: str) -> bool:
    """Whether a topic's pictures are rectified already: image_proc calls them image_rect."""
    return image.removesuffix("/compressed").rpartition("/")[2].startswith("image_rect")


# --- what becomes of a pass ----------------------------------------------------------------------


def _camera(
    bag: Path, scan: Scan, topic: str, options: ImportOptions
) -> tuple[SourceCamera, str, tuple[str, ...]]:
    """Return --camera, the camera of the bag, or what a file beside it or --fov says."""
    if scan.size is None:
        raise DataError(f"{bag}: {topic}: none of {scan.seen} messages is a picture")
    given = given_camera(options, scan.size)
    if given is not None:
        return given, "--camera", ()
    info = camera_info_topic(topic)
    cameras, reason = _recorded_cameras(scan, scan.size, topic)
    if cameras:
        changes = any(camera != cameras[0] for camera in cameras)
        note = f"{info} changes; its first calibration counts for all frames"
        return cameras[0], info, (note,) if changes else ()
    fallback = None if options.fallback is None else (options.fallback, "none")
    place = bag if bag.is_dir() else bag.parent
    try:
        camera, calibration = find_camera((place,), scan.size, options, fallback=fallback)
    except DataError as error:
        raise DataError(f"{reason}; {error}") from None
    return camera, calibration, (f"{reason}; calibration: {calibration}",)


def _recorded_cameras(
    scan: Scan, size: tuple[int, int], topic: str
) -> tuple[list[SourceCamera], str]:
    """Read the calibrations of a bag that can be used; else say why there is none."""
    cameras, reason = list[SourceCamera](), f"no {camera_info_topic(topic)} in the bag"
    rectified = is_rectified(topic)
    for message in scan.infos:
        try:  # some publishers of rectified pictures leave P out: then K holds, without D
            found = read_camera(message, size, rectified=rectified and bool(message.p[0]))
            cameras.append(SourceCamera(found.camera) if rectified else found)
        except DataError as error:
            reason = str(error)
    return cameras, reason


def _poses(
    scan: Scan, times: np.ndarray, odometry: str | None, max_gap: float
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
