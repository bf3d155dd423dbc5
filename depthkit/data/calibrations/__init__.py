# SPDX-License-Identifier: Apache-2.0
"""Calibration files of other programs, detected by content: one module per format.

A module of text has `read(text)`, one of YAML or JSON has `read(record)`; both return the cameras
the file holds as `Calibration`s, none where it is of another format. Nothing is checked there:
`depthkit.camera.source_camera` does that, the same for all.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from depthkit.camera import SourceCamera, source_camera
from depthkit.camera.calibration import Calibration
from depthkit.camera.calibration_text import numbers, parse_record, read_text
from depthkit.data.calibrations import (
    camodocal,
    colmap,
    dso,
    file_storage_xml,
    kalibr,
    key_values,
    kitti,
    numbers_only,
    opensfm,
    orbslam,
    realsense,
    ros_ini,
    shared_keys,
    strangers,
    transforms,
)
from depthkit.errors import DataError

_RecordReader = Callable[[Mapping[str, Any]], list[Calibration]]

# In the order of detection: what cannot be mistaken first, plain numbers last.
TEXTS: tuple[Callable[[str], list[Calibration]], ...] = (
    ros_ini.read,
    colmap.read,
    kitti.read,
    dso.read,
    realsense.read,
    numbers_only.read,
)
RECORDS: tuple[_RecordReader, ...] = (
    orbslam.read,
    camodocal.read,
    opensfm.read,
    kalibr.read,
    shared_keys.read,
)
DEEPEST = 4
"""Mappings in mappings that are looked through for cameras."""


def load_calibration(path: Path | str, size: tuple[int, int] | None = None) -> SourceCamera:
    """Read a calibration file of any known program.

    Args:
        path: the file; its suffix does not matter.
        size: (H, W) of the frames it is for. It counts where the file states no size, and chooses
            between several cameras; a file for another size is refused.

    Returns:
        The camera; what had to be assumed about the file is in its `assumed`.

    Raises:
        DataError: no calibration, an impossible camera, or one for another size.
    """
    path = Path(path)
    text = read_text(path)
    try:
        chosen, said = _choose(_read(text, size), size)
        camera = source_camera(chosen, size)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    return replace(
        camera, assumed=tuple(f"{path.name}: {line}" for line in (*said, *camera.assumed))
    )


def _read(text: str, size: tuple[int, int] | None) -> list[Calibration]:
    """Return the cameras of a file; at least one."""
    text = re.sub(
        r"\b(?:(?:np|numpy|torch)\.)?(?:array|tensor|matrix)\(", "(", text
    )  # printed ones
    for read in TEXTS:
        found = read(text)
        if found:
            return found
    record = file_storage_xml.parse(text) or key_values.parse(text)
    if record is None:
        strangers.refuse_text(text)
        record = _parse(text)
    if isinstance(record, list) and not any(isinstance(item, dict) for item in record):
        return [numbers_only.camera_of(numbers(record, "K"))]
    found = cameras_of(record, size)
    if not found:
        strangers.refuse_record(record)
    return found


def _parse(text: str) -> Any:
    """Parse YAML or JSON; the error for other text names the known formats."""
    try:
        return parse_record(text)
    except DataError as error:
        if not str(error).startswith("not valid"):
            raise
        raise DataError(f"{error}; {strangers.EXPECTED}") from None


def cameras_of(
    record: Any, size: tuple[int, int] | None, name: str = "", depth: int = 0
) -> list[Calibration]:
    """Return the cameras of a mapping, or of those in it; what stands beside them counts for each.

    Args:
        record: what the file holds; a list of mappings is looked through, too.
        size: (H, W) of the frames.
        name: key under which it stands.
        depth: mappings above it.
    """
    if isinstance(record, list) and depth < DEEPEST:
        items = [(f"{name} {i}".strip(), item) for i, item in enumerate(record)]
        found = [cameras_of(item, size, key, depth + 1) for key, item in items]
        return [camera for cameras in found for camera in cameras]
    if not isinstance(record, dict):
        return []
    readers: tuple[_RecordReader, ...] = (partial(transforms.read, frames=size), *RECORDS)
    for read in readers:
        cameras = read(record)
        if cameras:
            return [replace(one, name=" ".join(filter(None, (name, one.name)))) for one in cameras]
    if depth == DEEPEST:
        return []
    beside = {key: value for key, value in record.items() if not isinstance(value, dict | list)}
    below = [(key, value) for key, value in record.items() if isinstance(value, dict | list)]
    found = [cameras_of(_with(beside, value), size, key, depth + 1) for key, value in below]
    return [camera for cameras in found for camera in cameras]


def _with(beside: Mapping[str, Any], value: Any) -> Any:
    """Put what stands beside a mapping into it; its own keys win."""
    if isinstance(value, list):
        return [_with(beside, item) for item in value]
    return {**beside, **value} if isinstance(value, dict) else value


def _choose(
    cameras: Sequence[Calibration], size: tuple[int, int] | None
) -> tuple[Calibration, tuple[str, ...]]:
    """Take the first camera of the frames' size, and report the choice where they differ."""
    fitting = [one for one in cameras if size is None or one.size in (None, size)] or cameras
    first = fitting[0]
    if all(one == first for one in cameras):
        return first, ()
    names = [one.name or f"camera {i}" for i, one in enumerate(cameras)]
    shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
    chosen = next(n for one, n in zip(cameras, names, strict=True) if one is first)
    rule = "the first" if len(fitting) == len(cameras) else "the first for frames of this size"
    return first, (
        f"{len(cameras)} cameras ({shown}): {chosen} taken, {rule}; for another one give a file "
        "with it alone",
    )
