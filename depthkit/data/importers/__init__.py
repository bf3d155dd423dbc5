# SPDX-License-Identifier: Apache-2.0
"""The formats `prepare` reads, one module each, and how the format of a source is detected."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType

from depthkit.data.importers import (
    bag,
    colmap,
    euroc,
    images,
    kitti_odometry,
    kitti_raw,
    nerfstudio,
    polycam,
    record3d,
    rgbd,
    sevenscenes,
    stillbox,
    stray,
    tartanair,
    tum,
    video,
)
from depthkit.data.importers.given_poses import with_poses
from depthkit.data.importers.imu_parts import with_imu
from depthkit.data.importers.lying_there import say_what_lies_there
from depthkit.data.importers.source import ImportOptions, Source
from depthkit.data.levels import find_levels
from depthkit.errors import DataError

# In the order of detection: the most particular layout first, plain pictures last.
FORMATS: dict[str, ModuleType] = {
    "kitti-odometry": kitti_odometry,
    "kitti-raw": kitti_raw,
    "euroc": euroc,
    "tum": tum,
    "sevenscenes": sevenscenes,
    "stillbox": stillbox,
    "tartanair": tartanair,
    "polycam": polycam,
    "record3d": record3d,
    "stray": stray,
    "colmap": colmap,
    "nerfstudio": nerfstudio,
    "rgbd": rgbd,
    "bag": bag,
    "video": video,
    "images": images,
}


IN_METRES = ("kitti-raw", "stillbox", "bag")
"""Formats whose depth needs no unit."""


def find_sequences(root: Path, *formats: str) -> tuple[str, dict[str, Path]]:
    """Return the format of a source and the sequences in it, by name.

    Args:
        root: file or folder.
        formats: those to try, in this order; without any, or with 'auto', all.

    Raises:
        DataError: nothing is there, or nothing of the format.
    """
    if not root.exists():
        raise DataError(f"{root}: source not found")
    if not root.is_file() and not root.is_dir():
        raise DataError(
            f"{root}: is neither file nor folder; record a camera first, then give that"
        )
    if (root / "camera.yaml").is_file() and (root / "frames").is_dir():
        raise DataError(f"{root}: is a prepared sequence already; name its own source")
    if (root / "split.yaml").is_file():
        raise DataError(f"{root}: is a data set of prepared sequences already; name its own source")
    if root.is_dir() and not any(root.iterdir()):
        raise DataError(f"{root}: folder is empty; expected frames, a video or a data set")
    candidates = tuple(FORMATS) if not formats or formats == ("auto",) else formats
    for candidate in candidates:
        sequences = FORMATS[candidate].find(root)
        if sequences:
            return candidate, sequences
    raise DataError(f"{root}: {say_what_lies_there(root, candidates)}")


def other_sequences(root: Path, name: str) -> dict[str, Path]:
    """Return what --sequence may pick beside the sequences that are prepared by default."""
    find_others = getattr(FORMATS[name], "find_others", None)
    return {} if find_others is None else find_others(root)


def load_source(format_name: str, place: Path, name: str, options: ImportOptions) -> Source:
    """Load one sequence, with the user's poses and IMU where files were given."""
    source = _with_levels(FORMATS[format_name].load(place, name, options), options)
    source = with_imu(with_poses(source, options), options)
    if options.depth_scale is None or (source.depth is not None and format_name not in IN_METRES):
        return source
    why = f"{format_name} holds metres" if source.depth is not None else "the source has no depth"
    note = f"--depth-scale {options.depth_scale:g}: unused, {why}"
    return replace(source, notes=(*source.notes, note))


def _with_levels(source: Source, options: ImportOptions) -> Source:
    """Choose how pictures of more than 8 bit become 8 bit, the same for all frames."""
    if source.read is not None:
        if options.levels is not None:
            raise DataError(f"{source.name}: --levels is for picture files of more than 8 bit")
        return source
    levels, sentence = find_levels([frame.path for frame in source.frames])
    if options.levels is not None:
        levels, sentence = options.levels, ""
    if levels is None:
        return source
    return replace(
        source,
        levels=levels,
        assumed=(*source.assumed, sentence) if sentence else source.assumed,
        origin={**source.origin, "levels": [levels.low, levels.high]},
    )
