# SPDX-License-Identifier: Apache-2.0
"""A ROS 2 bag (folder with metadata.yaml, *.mcap or *.db3): each topic of pictures is a sequence.

Times are the header stamps. The camera is that of the camera_info beside the pictures, its
distortion with it. Odometry, a topic of stamped poses or /tf gives poses: those of the vehicle at
the frames' stamps, interpolated, times the camera's place on it, which /tf_static tells. A node
that the bag is played to reads the same numbers, in the same order.
"""

from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from depthkit.camera import SourceCamera
from depthkit.data.bag import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    Topic,
    is_bag,
    parse,
    read_contents,
    read_recorded,
)
from depthkit.data.bag_imu import choose_imu_topics, read_bag_imu
from depthkit.data.bag_poses import choose_pose_source, poses_at_frames, static_topics
from depthkit.data.bag_scan import Scan, dim_pictures, read_picture, scan_bag
from depthkit.data.bag_video import VIDEO_TYPES, is_video, open_video, read_video_frames
from depthkit.data.importers.source import (
    FrameReader,
    FrameRef,
    ImportOptions,
    Source,
    find_camera,
    given_camera,
)
from depthkit.errors import DataError
from depthkit.ros_messages import read_camera, seconds

_PICTURES = (IMAGE, COMPRESSED_IMAGE, *VIDEO_TYPES)
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
        raise DataError(no_pictures(root, topics))
    return found


def load(place: Path, name: str, options: ImportOptions) -> Source:
    """Read stamps, camera and poses in one pass; pictures are decoded on demand."""
    bag = options.root
    contents = read_contents(bag)
    topics = contents.topics
    topic = next(t.name for t in topics if bag / t.name.lstrip("/") == place)
    source = choose_pose_source(bag, topics, options.odometry_topic)
    imu_topics, about_imus = choose_imu_topics(bag, topics, options.imu_topic)
    wanted = source.topic, source.type
    info = _info_of(bag, topics, topic)
    scan = scan_bag(bag, topic, info, wanted, static_topics(topics))
    read, about_video = _reader(bag, topic, scan, options.bits)
    camera, calibration, about_camera = _camera(bag, scan, topic, info, options)
    times = np.array([seconds(stamp) for stamp in scan.stamps])
    found = poses_at_frames(bag, scan, source, times, options)
    depth = tuple(
        f"{d} holds depth, which is not read from bags" for d in depth_topics(bag, topics)
    )
    sparse = _sparse(found.poses, scan, options.max_gap)
    imu, about_imu = read_bag_imu(bag, imu_topics, scan.frames, scan.frame_id)
    if options.fps is not None:
        times = np.arange(len(times)) / options.fps
    return Source(
        name=name,
        format="bag",
        frames=tuple(FrameRef(bag, index) for index in scan.indices),
        times=times,
        camera=camera,
        poses=found.poses,
        notes=(
            *contents.notes,
            *about_video,
            *about_camera,
            *found.notes,
            *sparse,
            *depth,
            *scan.notes(),
            *about_imus,
            *about_imu,
        ),
        assumed=(*found.assumed, *_about_info(topic, calibration)),
        origin={"calibration": calibration, "topic": topic, "bits": options.bits},
        read=read,
        imu=imu,
    )


def _reader(bag: Path, topic: str, scan: Scan, bits: int) -> tuple[FrameReader, tuple[str, ...]]:
    """Return what decodes the frames: one by one, or those of a video from its key picture on."""
    if scan.first is None or scan.size is not None or not is_video(scan.first):
        dim = dim_pictures(scan.first, bits) if scan.first and scan.size else ()
        return partial(read_frames, bag, topic, bits=bits), dim
    video = open_video(bag, topic)
    scan.size, scan.frame_id = video.size, video.frame_id
    late = next((i for i, index in enumerate(scan.indices) if index >= video.first), 0)
    del scan.indices[:late], scan.stamps[:late]
    note = f"the first {late} messages of {topic} come before a key picture and are left out"
    return partial(read_video_frames, bag, topic, video.first), (note,) if late else ()


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
    """Return the topics that hold pictures; depth of any message type is left out."""
    pictures = [topic for topic in topics if topic.type in _PICTURES and topic.count]
    depth = depth_topics(bag, topics)
    return [topic.name for topic in pictures if topic.name not in depth]


def no_pictures(bag: Path, topics: Collection[Topic]) -> str:
    """Say what a bag holds in place of pictures."""
    depth = depth_topics(bag, topics)
    held = (f"{t.name} ({t.type}{', depth' if t.name in depth else ''})" for t in topics)
    return (
        f"{bag}: bag holds no topic of pictures (sensor_msgs Image or CompressedImage with colour "
        f"or grey, H.264; convert others to these first); it has {', '.join(held)}"
    )


def depth_topics(bag: Path, topics: Collection[Topic]) -> list[str]:
    """Return the topics of pictures that hold depth, which is not read from bags."""
    pictures = [topic for topic in topics if topic.type in _PICTURES and topic.count]
    return [topic.name for topic in pictures if _is_depth(bag, topic.name)]


def camera_info_topic(image: str) -> str:
    """Return the name of the camera_info beside a topic of pictures, of raw or compressed ones."""
    return f"{image.removesuffix('/compressed').rpartition('/')[0]}/camera_info"


def is_rectified(image: str) -> bool:
    """Whether a topic's pictures are rectified already: image_proc calls them image_rect."""
    return image.removesuffix("/compressed").rpartition("/")[2].startswith("image_rect")


# --- what becomes of a pass ----------------------------------------------------------------------


def _camera(
    bag: Path, scan: Scan, topic: str, info: str, options: ImportOptions
) -> tuple[SourceCamera, str, tuple[str, ...]]:
    """Return --camera, the camera of the bag, of a file beside it, or of --fov."""
    if scan.size is None:
        raise DataError(
            f"{bag}: {topic}: none of {scan.seen} messages is a picture; the first: {scan.problem}"
        )
    given = given_camera(options, scan.size)
    if given is not None:
        return given, "--camera", ()
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


def _info_of(bag: Path, topics: Collection[Topic], topic: str) -> str:
    """Return the camera_info beside a topic of pictures, or the only one of a bag of one camera."""
    own, infos = camera_info_topic(topic), [t.name for t in topics if t.type == CAMERA_INFO]
    if own in infos or len(infos) != 1 or len(picture_topics(bag, topics)) != 1:
        return own
    of_depth = {camera_info_topic(name) for name in depth_topics(bag, topics)}
    return own if infos[0] in of_depth or "depth" in infos[0] else infos[0]


def _about_info(topic: str, calibration: str) -> tuple[str, ...]:
    """Say that a camera_info was taken that does not stand beside the pictures."""
    if not calibration.endswith("/camera_info") or calibration == camera_info_topic(topic):
        return ()
    return (
        f"{topic} has no camera_info of its own: {calibration}, the only one, is taken (--camera "
        "FILE takes another)",
    )


def _sparse(poses: np.ndarray | None, scan: Scan, max_gap: float) -> tuple[str, ...]:
    """Say that poses are too far apart for most frames to have one."""
    known = np.zeros(0) if poses is None else np.isfinite(poses).all(axis=(1, 2))
    step = float(np.median(np.diff([t for t, _ in scan.track]))) if len(scan.track) > 1 else 0.0
    if known.all() or step <= max_gap:
        return ()
    return (
        f"{int(known.sum())} of {len(known)} frames have a pose: those of the bag are {step:.3g} s "
        f"apart, and no more than {max_gap:g} s is bridged (--max-gap)",
    )


def _recorded_cameras(
    scan: Scan, size: tuple[int, int], topic: str
) -> tuple[list[SourceCamera], str]:
    """Read the calibrations of a bag that can be used; else say why it has no usable one."""
    cameras, reason = list[SourceCamera](), f"no {camera_info_topic(topic)} in the bag"
    rectified = is_rectified(topic)
    for message in scan.infos:
        try:  # some publishers of rectified pictures leave P out: then K holds, without D
            found = read_camera(message, size, rectified=rectified and bool(message.p[0]))
            cameras.append(SourceCamera(found.camera) if rectified else found)
        except DataError as error:
            reason = str(error)
    return cameras, reason


def _is_depth(bag: Path, topic: str) -> bool:
    """Look at the first message: metres, or millimetres of a topic with such a unit."""
    first = next(read_recorded(bag, (topic,)), None)
    if first is None:
        return False
    try:
        message = parse(first)
    except DataError:
        return False
    if first.type in VIDEO_TYPES:
        return False
    if first.type == COMPRESSED_IMAGE:
        return "compressedDepth" in message.format
    return message.encoding in _DEPTH or (message.encoding == "16UC1" and "depth" in topic)
