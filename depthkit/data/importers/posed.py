# SPDX-License-Identifier: Apache-2.0
"""What importers of pictures with poses by name share: COLMAP, nerfstudio, Polycam, Record3D."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from depthkit.camera import Camera, SourceCamera, build_source_camera
from depthkit.data.importers.pose_files import PoseList
from depthkit.data.importers.pose_pairing import put_to_frames
from depthkit.data.importers.rgbd_camera import Cameras
from depthkit.data.importers.rgbd_depth import find_depth
from depthkit.data.importers.source import FrameRef, ImportOptions, Source
from depthkit.data.importers.times import FrameTimes, find_times
from depthkit.errors import DataError

HALF_PIXEL = 0.5
"""From pixels counted from the corner of the first one to those counted from its centre."""


def corner_camera(
    size: tuple[int, int], numbers: Sequence[float], model: str = "none", D: Sequence[float] = ()
) -> SourceCamera:
    """Build a camera whose file counts pixels from the corner of the picture.

    Args:
        size: (H, W) pixels.
        numbers: fx, fy, cx, cy, pixels.
        model: a word of `build_source_camera`.
        D: distortion coefficients in OpenCV's order.
    """
    fx, fy, cx, cy = numbers
    camera = Camera(size[1], size[0], fx, fy, cx - HALF_PIXEL, cy - HALF_PIXEL)
    return build_source_camera(camera, model, tuple(D))


def posed_source(
    poses: PoseList,
    paths: Sequence[Path],
    camera: tuple[SourceCamera, str],
    options: ImportOptions,
    *,
    name: str,
    format: str,
    notes: tuple[str, ...] = (),
    fps: float | None = None,
) -> Source:
    """Put pictures, times and poses together.

    Args:
        poses: with the names of the pictures.
        paths: the pictures, in order.
        camera: and where it came from.
        options: what the user said.
        name: of the sequence.
        format: of the importer.
        notes: what its importer has to say.
        fps: frames per second as the source states them, where it has no times.
    """
    found = find_times(paths[0].parent, paths, options)
    if not found.origin and fps and options.fps is None:
        found = FrameTimes(np.arange(len(paths)) / fps, np.arange(len(paths)))
    frames = tuple(FrameRef(paths[i]) for i in found.keep)
    T, assumed = put_to_frames(poses, frames, found.times, options.max_gap)
    return Source(
        name=name,
        format=format,
        frames=frames,
        times=found.times,
        camera=camera[0],
        poses=T,
        metric=poses.metric,
        notes=found.notes + notes + _unposed(T, poses.path),
        assumed=found.assumed + poses.assumed + assumed,
        origin={"calibration": camera[1], **found.origin},
    )


def _unposed(T: np.ndarray, path: Path) -> tuple[str, ...]:
    """Count the frames without a pose."""
    unknown = int(np.isnan(T).any(axis=(1, 2)).sum())
    return (f"{unknown} of {len(T)} frames have no pose in {path.name}",) if unknown else ()


def with_depth(
    source: Source, place: Path, files: Sequence[Path], options: ImportOptions, note: str = ""
) -> Source:
    """Add metric depth that lies on the field of view of the pictures.

    Args:
        source: without depth.
        place: folder of the sequence.
        files: depth files.
        options: holds --depth-scale.
        note: why there is no depth, instead of the usual words.
    """
    cameras = Cameras(source.camera, "", None)
    depth = find_depth(place, files, source.frames, source.times, cameras, options)
    return replace(
        source,
        depth=depth.source,
        notes=(*source.notes, *((note,) if note else depth.notes)),
        assumed=(*source.assumed, *depth.assumed),
    )


def require(paths: Sequence[Path], place: Path, what: str) -> None:
    """Refuse a model none of whose pictures is there."""
    if not paths:
        raise DataError(f"{place}: none of the pictures that {what} names is there")
