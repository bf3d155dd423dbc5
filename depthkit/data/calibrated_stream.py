# SPDX-License-Identifier: Apache-2.0
"""Frames one after the other with the camera that took them, undistorted: what odometry needs.

K is looked for where `prepare` looks: a calibration file given or lying beside the frames, the
values a data set publishes, a field of view, EXIF. A source without K is refused where one is
needed.
"""

import re
from dataclasses import replace
from pathlib import Path

from depthkit.data.bag import NO_TOPIC, is_bag
from depthkit.data.importers import find_sequences, load_source
from depthkit.data.importers.source import ImportOptions
from depthkit.data.sequence import open_sequence
from depthkit.data.stream import (
    NO_CAMERA,
    FrameStream,
    open_bag,
    stream_sequence,
    stream_source,
)
from depthkit.errors import DataError


def open_calibrated(
    path: Path,
    *,
    camera: Path | None = None,
    fov: float | None = None,
    every: int = 1,
    topic: str = "",
    bits: int = 16,
    imu_topic: str = "",
    required: bool = True,
) -> FrameStream:
    """Open a source of frames with a known camera.

    Args:
        path: sequence folder, folder of images, video, ROS bag, or one sequence of a data set.
        camera: calibration file of any known program; distorted frames are undistorted.
        fov: no calibration at all: horizontal field of view of a pinhole, degrees.
        every: take every n-th frame.
        topic: bags: pictures to take; empty for the only ones.
        bits: bags: bits in use of a 16-bit pixel.
        imu_topic: bags: topic of the IMU, empty for the only one; none leaves the IMU of any source
            unread.
        required: whether a source without any calibration is refused; else its stream has no
            camera.

    Raises:
        DataError: nothing to read there, or no camera is known although one is required.
    """
    with_imu = imu_topic != NO_TOPIC
    fallback = None if required or fov is not None else NO_CAMERA
    options = ImportOptions(path, camera, fov=fov, imu_topic=imu_topic, fallback=fallback)
    if is_bag(path):
        options = replace(options, odometry_topic=NO_TOPIC, bits=bits)
        return stream_source(path, open_bag(path, topic, options), every)
    if topic or (imu_topic and with_imu) or bits != ImportOptions.bits:
        raise DataError(f"{path}: is no ROS 2 bag; topics and --bits are for bags")
    if (path / "camera.yaml").exists() and (path / "frames").is_dir():
        if camera is not None or fov is not None:
            raise DataError(
                f"{path}: a sequence has its own camera.yaml; leave out --camera, --fov"
            )
        return stream_sequence(open_sequence(path), every, with_imu=with_imu)
    if (path / "split.yaml").exists():
        return stream_sequence(open_sequence(path), every)  # names the sequences of the data set
    format_name, places = find_sequences(path)
    if len(places) > 1:
        names = ", ".join(list(places)[:5])
        raise DataError(
            f"{path}: holds {len(places)} sequences ({names}); give one of them, or run 'depthkit "
            "prepare' and give a sequence folder"
        )
    name, place = next(iter(places.items()))
    source = load_source(format_name, place, name, options)
    # What a data set says of its poses and depth is advice for `prepare`: neither is read here.
    notes = tuple(note for note in source.notes if not re.search(r"\b(poses?|depth)\b", note))
    return stream_source(path, replace(source, notes=notes), every)
