# SPDX-License-Identifier: Apache-2.0
"""Poses the user gives for a source (--poses), and poses of a body that carries the camera."""

import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from depthkit.data.importers.mounting import find_mounting, load_mounting
from depthkit.data.importers.pose_files import read_pose_list
from depthkit.data.importers.pose_pairing import missing_words, put_to_frames
from depthkit.data.importers.source import ImportOptions, Source
from depthkit.errors import DataError

HEADER = 4096
"""Bytes at the start of a pose file that may say whose poses it holds."""
_BODY = re.compile(r"(?<![a-z])(body|imu|base_link|p_RS_R_x|q_RS_w)(?![a-z])", re.IGNORECASE)
_OTHER_CONVENTION = {
    "poses from world to camera": r"world[ _-]*(to|2)[ _-]*cam|T_cam(era)?_w(orld)?\b"
    r"|\bT_?cw\b|\bw2c\b|\bextrinsics?\b",
    "axes of OpenGL (y up, looking along -z)": r"open ?gl|blender|y[ -]up|-z[ -]forward",
    "Euler angles": r"\broll\b|\byaw\b|\beuler\b",
    "millimetres": r"millimet(re|er)|\[mm\]|\(mm\)",
}
_EUROC_ROW = re.compile(r"^\d{16,}\s*,", re.MULTILINE)


class Mounting(NamedTuple):
    """How poses of a file become those of the camera."""

    T_body_cam: np.ndarray | None = None
    """None where the poses are taken as the camera's own. (4, 4)"""
    notes: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()


def with_poses(source: Source, options: ImportOptions) -> Source:
    """Take the poses from the user's file, when there is one, instead of the source's own.

    Poses of a body, the user's or the source's, are moved to the camera.

    Raises:
        DataError: poses and frames do not meet, or scale and depth contradict each other.
    """
    if options.poses is None:
        return _move_own(source, options)
    given = read_pose_list(options.poses, options.time_unit, options.quaternion)
    if source.depth is not None and source.depth.kind == "metric" and not given.metric:
        raise DataError(
            f"{options.poses}: its poses have no metric scale and the depth of {source.name} is "
            "metres; leave out one of the two"
        )
    poses, assumed = put_to_frames(given, source.frames, source.times, options.max_gap)
    lacking = missing_words(poses, options.poses, options.max_gap)
    mounting = _mounting(options.poses, source, options)
    if mounting.T_body_cam is not None:
        poses = poses @ mounting.T_body_cam
    return replace(
        source,
        poses=poses,
        metric=given.metric,
        notes=(*source.notes, *given.notes, *lacking, *mounting.notes),
        assumed=(*source.assumed, *assumed, *mounting.assumed, *_doubt_comments(options.poses)),
        origin={**source.origin, "poses": options.poses.name},
    )


def holds_body_poses(path: Path) -> bool:
    """Whether a pose file says that its poses are those of a body: EuRoC's csv, or a comment."""
    text, comments = _head(path)
    return bool(_BODY.search(comments)) or bool(_EUROC_ROW.search(text))


def _head(path: Path) -> tuple[str, str]:
    """Return the start of a file, and the comments in it."""
    with path.open("rb") as file:
        text = file.read(HEADER).decode("utf-8", errors="replace")
    return text, "\n".join(line for line in text.splitlines() if line.lstrip().startswith("#"))


def _doubt_comments(path: Path) -> tuple[str, ...]:
    """Say where the comments of a file of rows speak of another convention than is read."""
    if path.suffix.lower() == ".json":
        return ()
    text, comments = _head(path)
    if "IMAGE_ID, QW" in text:  # COLMAP's, which are inverted
        return ()
    said = [what for what, words in _OTHER_CONVENTION.items() if re.search(words, comments, re.I)]
    if not said:
        return ()
    return (
        f"{path.name}: its comments speak of {' and '.join(said)}; its rows are taken as camera to "
        "world in metres, x right, y down, z forward: convert them if they are not",
    )


def _move_own(source: Source, options: ImportOptions) -> Source:
    """Apply --body-to-camera to the source's own poses, unless its importer has done so."""
    if options.body_to_camera is None or "T_body_cam" in source.origin:
        return source
    if source.poses is None:
        note = f"--body-to-camera {options.body_to_camera}: unused, the source has no poses"
        return replace(source, notes=(*source.notes, note))
    T_body_cam, words = load_mounting(options.body_to_camera)
    return replace(
        source,
        poses=source.poses @ T_body_cam,
        assumed=(*source.assumed, f"poses are a body's, moved to the camera: {words}"),
        origin={**source.origin, "T_body_cam": options.body_to_camera.name},
    )


def _mounting(path: Path, source: Source, options: ImportOptions) -> Mounting:
    """Find how the camera is mounted: --body-to-camera, or for poses of a body a file beside."""
    if options.body_to_camera is not None:
        T_body_cam, words = load_mounting(options.body_to_camera)
        return Mounting(T_body_cam, (), (f"{path.name}: poses of a body; {words}",))
    if not holds_body_poses(path):
        return Mounting()
    folder = source.frames[0].path.resolve().parent
    near = [folder / "sensor.yaml", folder.parent / "sensor.yaml"]
    for file in ([options.camera_file] if options.camera_file else []) + near:
        found = find_mounting(file)
        if found is not None:
            words = f"{path.name}: poses of a body, moved to the camera: {found[1]}"
            return Mounting(found[0], (), (f"{words} (--body-to-camera takes another file)",))
    return Mounting(
        None,
        (
            f"{path.name}: says its poses are a body's; they are stored as if they were the "
            "camera's: give --body-to-camera FILE (T_body_cam)",
        ),
    )
