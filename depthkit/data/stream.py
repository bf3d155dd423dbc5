# SPDX-License-Identifier: Apache-2.0
"""Frames one after the other: a sequence folder, images, a video, a EuRoC folder or a ROS bag.

A frame that cannot be read is passed on with the reason, so that the caller can count it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from depthkit.camera import Camera, SourceCamera
from depthkit.data.bag import NO_TOPIC, is_bag
from depthkit.data.frame_conversion import say_size
from depthkit.data.image_io import UnreadableImageError, read_rgb
from depthkit.data.importers import euroc, find_sequences, load_source
from depthkit.data.importers.bag import sequence_name
from depthkit.data.importers.source import (
    FrameReader,
    ImportOptions,
    Source,
)
from depthkit.data.sequence import Sequence, open_sequence
from depthkit.data.stream_poses import has_metric_poses, longest_segment
from depthkit.errors import DataError
from depthkit.trajectory import Imu
from depthkit.undistort import build_geometry

NO_CAMERA = SourceCamera(Camera(1, 1, 1.0, 1.0, 0.0, 0.0))
"""Stands for an unknown camera: importers ask for one, inference can do without."""

ODOMETRY_GAP = 0.5
"""Seconds between two messages of odometry between which poses are known, as nodes have it."""


@dataclass(frozen=True)
class StreamFrame:
    """One frame of a stream."""

    index: int
    """In the source, counted from 0."""
    name: str
    """For files about this frame, without suffix."""
    time: float
    """Seconds."""
    rgb: np.ndarray | None
    """(H, W, 3) uint8, None where it cannot be read."""
    problem: str = ""
    """Why not."""
    T_world_cam: np.ndarray | None = None
    """Where the source knows it; NaN where it knows that of other frames only. (4, 4)"""


@dataclass(frozen=True)
class FrameStream:
    """An opened source of frames."""

    path: Path
    camera: Camera | None
    """Camera of the frames, where a calibration is known."""
    times: np.ndarray
    """Seconds, rising. (N,)"""
    notes: tuple[str, ...]
    """What the user should hear."""
    frames: Callable[[], Iterator[StreamFrame]]
    """Reads from the start, one frame in memory at a time."""
    poses: np.ndarray | None = None
    """T_world_cam of the frames, NaN where unknown; None where the source has none. (N, 4, 4)"""
    metric: bool = True
    """Whether the poses are metres; else their unit is unknown."""
    covered: np.ndarray | None = None
    """Pixels of the frames that are picture at all, None where all are. (H, W) bool"""
    imu: Imu | None = None
    """Inertial samples on the clock of `times`, where the source has an IMU."""

    def __len__(self) -> int:
        return len(self.times)


def open_stream(
    path: Path,
    *,
    camera: Path | None = None,
    every: int = 1,
    topic: str = "",
    odometry_topic: str = "",
    imu_topic: str = "",
    bits: int = 16,
) -> FrameStream:
    """Open a source of frames.

    Args:
        path: sequence folder, folder of images (natural order), video file, EuRoC recording or ROS
            bag.
        camera: calibration of images or video, undistorted; of a bag or EuRoC recording, any.
        every: take every n-th frame.
        topic: of a bag: the pictures to take; empty for the only ones.
        odometry_topic: of a bag: whose poses count; empty for the only one, 'none' for no poses.
        imu_topic: of a bag, empty for the only one; 'none' leaves the IMU of any source unread.
        bits: of a bag: bits in use of a 16-bit pixel.

    Raises:
        DataError: nothing to read there, or a camera that does not fit.
    """
    if is_bag(path):
        options = ImportOptions(
            path,
            camera,
            odometry_topic=odometry_topic,
            bits=bits,
            imu_topic=imu_topic,
            fallback=NO_CAMERA,
        )
        return stream_source(path, open_bag(path, topic, options), every)
    without_imu = imu_topic == NO_TOPIC
    if topic or odometry_topic or (imu_topic and not without_imu) or bits != ImportOptions.bits:
        raise DataError(f"{path}: is no ROS 2 bag; topics and --bits are for bags")
    is_sequence = (path / "camera.yaml").exists() and (path / "frames").is_dir()
    if is_sequence or (path / "split.yaml").exists():
        if is_sequence and camera is not None:
            raise DataError(f"{path}: a sequence has its own camera.yaml; leave out --camera")
        return stream_sequence(open_sequence(path), every, with_imu=not without_imu)
    recordings = euroc.find(path) if path.is_dir() else {}
    options = ImportOptions(path, camera, imu_topic=imu_topic, fallback=NO_CAMERA)
    if recordings:
        return stream_source(path, _open_euroc(path, recordings, options), every)
    return stream_source(path, _open_source(path, camera), every)


def stream_sequence(sequence: Sequence, every: int = 1, *, with_imu: bool = False) -> FrameStream:
    """Stream a sequence that is open already, its poses and where wanted its IMU with it.

    Of poses that break off, those of the longest segment count: others have worlds of their own.
    """
    chosen = range(0, len(sequence), every)
    poses, notes = longest_segment(sequence)

    def frames() -> Iterator[StreamFrame]:
        for i in chosen:
            rgb, problem = _try_to_read(partial(sequence.read_frame, i))
            name, time = sequence.frames[i].stem, float(sequence.times[i])
            yield StreamFrame(i, name, time, rgb, problem, None if poses is None else poses[i])

    return FrameStream(
        sequence.root,
        sequence.camera,
        sequence.times[::every],
        notes,
        frames,
        poses=None if poses is None else poses[::every],
        metric=has_metric_poses(sequence),
        covered=sequence.read_valid(),
        imu=sequence.imu if with_imu else None,
    )


def _open_source(path: Path, camera: Path | None) -> Source:
    """Let the importers of videos and image folders find the frames and their times."""
    order = ("video", "images") if path.is_file() else ("images", "video")
    format_name, places = find_sequences(path, *order)
    if len(places) > 1:
        kind = "videos" if format_name == "video" else "folders of images"
        raise DataError(f"{path}: holds {len(places)} {kind}; give one of them")
    name, place = next(iter(places.items()))
    source = load_source(format_name, place, name, ImportOptions(path, camera or NO_CAMERA))
    if source.camera.is_distorted:
        raise DataError(
            f"{camera}: inference takes undistorted frames; run 'depthkit prepare' with this "
            "camera and give the sequence folder"
        )
    return source


def open_bag(path: Path, topic: str, options: ImportOptions) -> Source:
    """Let the importer of bags find the frames of one topic; empty for the only one."""
    _, places = find_sequences(path, "bag")
    name = sequence_name(topic) if topic else next(iter(places))
    if name not in places or (len(places) > 1 and not topic):
        raise DataError(
            f"{path}: holds {len(places)} topics of pictures ({', '.join(places)}); pick one with "
            "--topic"
        )
    return load_source("bag", places[name], name, replace(options, max_gap=ODOMETRY_GAP))


def _open_euroc(path: Path, recordings: dict[str, Path], options: ImportOptions) -> Source:
    """Let the importer of EuRoC folders find the frames of one recording's first camera."""
    if len(recordings) > 1:
        raise DataError(f"{path}: holds {len(recordings)} recordings; give one of them")
    ((name, place),) = recordings.items()
    return load_source("euroc", place, name, options)


def stream_source(path: Path, source: Source, every: int) -> FrameStream:
    """Stream what an importer found: rectified where the camera is distorted, with its poses."""
    stream = _stream_as_it_is(path, source, every)
    if source.camera is NO_CAMERA or not source.camera.is_distorted:
        return stream
    geometry = build_geometry(source.camera)

    def frames() -> Iterator[StreamFrame]:
        for frame in stream.frames():
            yield frame if frame.rgb is None else replace(frame, rgb=geometry.colour(frame.rgb))

    return replace(stream, camera=geometry.camera, frames=frames, covered=geometry.valid)


def _stream_as_it_is(path: Path, source: Source, every: int) -> FrameStream:
    camera = None if source.camera is NO_CAMERA else source.camera.camera
    read = _read_files if source.read is None else partial(_read_one_file, source.read)
    poses = source.poses

    def frames() -> Iterator[StreamFrame]:
        for frame in read(source, every):
            _check_size(frame, camera, path)
            pose = None if poses is None else poses[frame.index]
            yield replace(frame, T_world_cam=pose)

    return FrameStream(
        path,
        camera,
        source.times[::every],
        (*source.notes, *source.all_assumed),
        frames,
        poses=None if poses is None else poses[::every],
        metric=source.metric,
        imu=source.imu,
    )


def _read_files(source: Source, every: int) -> Iterator[StreamFrame]:
    paths = [frame.path for frame in source.frames]
    unique = len({path.stem for path in paths}) == len(paths)
    for i in range(0, len(paths), every):
        rgb, problem = _try_to_read(partial(read_rgb, paths[i], levels=source.levels))
        name = paths[i].stem if unique else paths[i].name
        yield StreamFrame(i, name, float(source.times[i]), rgb, problem)


def _read_one_file(read: FrameReader, source: Source, every: int) -> Iterator[StreamFrame]:
    """Read a video or bag, where a frame has an index of its own."""
    numbers = {source.frames[i].index or 0: i for i in range(0, len(source.frames), every)}
    for index, found in read(numbers.keys()):
        i = numbers[index]
        rgb, problem = (None, found) if isinstance(found, str) else (found, "")
        yield StreamFrame(i, f"{i:06d}", float(source.times[i]), rgb, problem)


def _try_to_read(read: Callable[[], np.ndarray]) -> tuple[np.ndarray | None, str]:
    try:
        return read(), ""
    except UnreadableImageError as error:
        return None, str(error)


def _check_size(frame: StreamFrame, camera: Camera | None, path: Path) -> None:
    if camera is None or frame.rgb is None or frame.rgb.shape[:2] == camera.size:
        return
    height, width = frame.rgb.shape[:2]
    raise DataError(f"{path}: frame {frame.name} {say_size(height, width, camera)}")
