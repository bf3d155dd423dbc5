# SPDX-License-Identifier: Apache-2.0
"""Which files belong to a bag, and in which order.

metadata.yaml says so where it can be read; a recorder that was killed leaves none, or an empty one.
"""

import re
from pathlib import Path, PurePath

import yaml

from depthkit.errors import DataError

SUFFIXES = (".mcap", ".db3", ".bag")
"""MCAP, sqlite3, ROS 1."""
PACKED = ".zstd"
"""Behind the suffix of a file that was compressed as a whole."""
_ACTIVE = ".active"
"""Behind that of a ROS 1 bag whose recording did not end."""
_METADATA = "metadata.yaml"
_METADATA_KEY = "rosbag2_bagfile_information"


def is_bag(path: Path) -> bool:
    """Return whether a path is likely a bag: a folder with its metadata.yaml, or a storage file."""
    if path.is_file():
        return suffix_of(path) in SUFFIXES
    if not path.is_dir():
        return False
    metadata = path / _METADATA
    named = metadata.is_file() and _METADATA_KEY.encode() in metadata.read_bytes()
    files = _storage_files(path)
    # ROS 1 names no folder: one with nothing but its bags is a recording in several files.
    only_ros1 = all(suffix_of(file) == ".bag" for file in files)
    return named or bool(files) and not (only_ros1 and len(files) < len(list(path.iterdir())))


def files_of(path: Path) -> tuple[list[Path], list[str]]:
    """List the files of a bag in their order, and say what is wrong with the list."""
    if path.is_file():
        return [path], []
    present = _storage_files(path)
    named = _named_files(path)
    if named:
        files = [file for file in named if file.is_file()]
        missing = [file.name for file in named if not file.is_file()]
        if files:
            text = f"{', '.join(missing)} of metadata.yaml is not in the folder; the rest is read"
            return files, [text] if missing else []
        if not present:
            raise DataError(f"{path}: bag cannot be read: {', '.join(missing)} is not in it")
    if not present:
        raise DataError(f"{path}: bag cannot be read: no .mcap or .db3 file is in it")
    if len({re.sub(r"_\d+$", "", stem_of(file)) for file in present}) > 1:
        names = ", ".join(file.name for file in present)
        raise DataError(
            f"{path}: holds several recordings ({names}) and no {_METADATA} that joins them; give "
            f"one of the files, or run 'ros2 bag reindex {path}'"
        )
    return present, []


def _named_files(folder: Path) -> list[Path]:
    """Return the files that metadata.yaml names; none where it is missing or damaged."""
    try:
        record = yaml.safe_load((folder / _METADATA).read_text(encoding="utf-8"))
        return [
            folder / PurePath(name).name for name in record[_METADATA_KEY]["relative_file_paths"]
        ]
    except (FileNotFoundError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError):
        return []


def _storage_files(folder: Path) -> list[Path]:
    """Return the storage files of a folder; those of a split bag by their number."""
    files = [p for p in folder.iterdir() if suffix_of(p) in SUFFIXES and p.is_file()]
    return sorted(
        files, key=lambda p: [(len(t), t) if t.isdigit() else (0, t) for t in _words_of(p)]
    )


def _words_of(path: Path) -> list[str]:
    return re.split(r"(\d+)", path.name)


def suffix_of(path: Path) -> str:
    """Return the kind of a storage file, also of a packed one."""
    name = path.name.lower().removesuffix(PACKED).removesuffix(_ACTIVE)
    return PurePath(name).suffix


def stem_of(path: Path) -> str:
    return PurePath(path.name.removesuffix(PACKED)).stem
