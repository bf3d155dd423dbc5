# SPDX-License-Identifier: Apache-2.0
"""map.yaml of a saved map: which file holds its arrays, and what they are."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from depthkit.camera import Camera
from depthkit.config.strict_yaml import load_config
from depthkit.errors import ConfigError, DataError
from depthkit.runtime.odometry.saved_map import SavedMap, SavedSegment

NOTE, VERSION = "map.yaml", 1
REMEDY = "take a copy, or make it anew"
_LINE = re.compile(r"session (\d+) map (\d+) (metric|relative)")


@dataclass(frozen=True)
class MapNote:
    """What map.yaml says."""

    version: int
    """Version of the format."""
    file: str
    """Name of the file of arrays beside it."""
    sha256: str
    """Its checksum."""
    width: int
    """Width of the undistorted frames, pixels."""
    height: int
    """Their height, pixels."""
    fx: float
    """Their intrinsics, pixels."""
    fy: float
    """As fx."""
    cx: float
    """As fx."""
    cy: float
    """As fx."""
    detector: str
    """Name of the detector of the features."""
    descriptor_width: int
    """Numbers of a descriptor."""
    match_ratio: float
    """Largest ratio of the best to the second best distance of a match of such descriptors."""
    place: str
    """Name of the learnt descriptor of places; empty for VLAD of the features."""
    place_width: int
    """Numbers of a descriptor of places; 0 without one."""
    unit: Literal["metric", "relative", "mixed"]
    """Unit of lengths; mixed where parts that are not joined differ."""
    sessions: int
    """Number of sessions that made the map."""
    keyframes: int
    """Number of keyframes."""
    points: int
    """Number of features with a position."""
    segments: tuple[str, ...]
    """One line a segment: session, map and unit."""


def is_new(folder: Path) -> bool:
    """Whether a folder has no map yet: it does not exist or is empty.

    Raises:
        DataError: it is a file, or a folder of something else.
    """
    if folder.is_dir():
        if (folder / NOTE).is_file():
            return False
        if not any(folder.iterdir()):
            return True
        raise DataError(
            f"{folder}: holds no {NOTE}, so it is no map of 'depthkit odometry --map'; give "
            "another folder, a new one starts a map"
        )
    if folder.exists():
        raise DataError(f"{folder}: is a file; a map is a folder, a new one starts a map")
    return True


def read_note(path: Path) -> MapNote:
    """Read map.yaml.

    Raises:
        DataError: another version, a key that does not fit, or no keyframes.
    """
    _check_version(path)
    try:
        note = load_config(MapNote, path)
    except ConfigError as error:
        raise DataError(f"{error}; the map is damaged: {REMEDY}") from None
    if note.keyframes == 0:
        raise DataError(f"{path.parent}: the map is empty: no keyframes; make it anew")
    return note


def note_of(saved: SavedMap, file: str, sha256: str) -> MapNote:
    """Describe a map whose arrays are in a file of this name and checksum."""
    camera = saved.camera
    return MapNote(
        version=VERSION,
        file=file,
        sha256=sha256,
        width=camera.width,
        height=camera.height,
        fx=float(camera.fx),
        fy=float(camera.fy),
        cx=float(camera.cx),
        cy=float(camera.cy),
        detector=saved.detector,
        descriptor_width=saved.views[0].features.descriptors.shape[1],
        match_ratio=saved.views[0].features.ratio,
        place=saved.place,
        place_width=0 if saved.codes is None else saved.codes.shape[1],
        unit=saved.unit,  # type: ignore[arg-type]
        sessions=saved.sessions,
        keyframes=len(saved.views),
        points=saved.points,
        segments=tuple(
            f"session {one.session} map {one.map} {'metric' if one.metric else 'relative'}"
            for one in saved.segments
        ),
    )


def camera_of(note: MapNote, path: Path) -> Camera:
    """Return the camera of a map; an impossible one names the file."""
    try:
        return Camera(note.width, note.height, note.fx, note.fy, note.cx, note.cy)
    except DataError as error:
        raise DataError(f"{path}: {error}; the map is damaged: {REMEDY}") from None


def segments_of(note: MapNote, path: Path) -> tuple[SavedSegment, ...]:
    """Read the lines of `segments`.

    Raises:
        DataError: a line that does not fit, or one that names a segment that is not there.
    """
    segments = []
    for line in note.segments:
        found = _LINE.fullmatch(line)
        if found is None or int(found[2]) >= len(note.segments):
            raise DataError(
                f"{path}: segments: expected 'session 0 map 0 relative' with a map below "
                f"{len(note.segments)}, got {line!r}; the map is damaged: {REMEDY}"
            )
        segments.append(SavedSegment(int(found[1]), int(found[2]), found[3] == "metric"))
    return tuple(segments)


def _check_version(path: Path) -> None:
    """Refuse another version before its keys are judged."""
    first = path.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
    if first.startswith("version:") and first.split(":")[1].strip() != str(VERSION):
        raise DataError(
            f"{path}: version {first.split(':')[1].strip()}, this depthkit reads {VERSION}; "
            "make the map anew"
        )
