# SPDX-License-Identifier: Apache-2.0
"""The bytes of a sequence folder: tables, depth pictures, and how it appears all at once."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from depthkit.camera import Camera
from depthkit.data.image_io import encode, write_atomic
from depthkit.errors import DataError
from depthkit.trajectory import Trajectory, load_tum, save_tum

DEPTH_KINDS = ("metric", "up_to_scale", "none")
_YamlLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same, ten times faster in C

STAMP = "recording.json"
"""File in a folder that says what was asked for when it was written; only of many recordings."""
_stamp = ContextVar("stamp", default="")

STAMP_TOLERANCE = 1e-6
"""Seconds a pose's stamp may differ from its frame's; float64 of an epoch time holds 2e-7."""


def sequence_header(
    camera: Camera, depth_kind: str, depth_scale: float, source: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the contents of camera.yaml."""
    if depth_kind not in DEPTH_KINDS:
        raise DataError(f"depth_kind must be one of {', '.join(DEPTH_KINDS)}, got {depth_kind!r}")
    return {
        "width": camera.width,
        "height": camera.height,
        **{key: float(getattr(camera, key)) for key in ("fx", "fy", "cx", "cy")},
        "model": "pinhole",
        "depth_scale": float(depth_scale),
        "depth_kind": depth_kind,
        "source": dict(source or {}),
    }


def write_tables(
    folder: Path, header: Mapping[str, Any], times: np.ndarray, poses: np.ndarray | None
) -> None:
    """Write camera.yaml, times.txt and, where a pose is known, poses.txt."""
    write_atomic(folder / "camera.yaml", yaml.safe_dump(dict(header), sort_keys=False))
    write_atomic(folder / "times.txt", "".join(f"{t:.9f}\n" for t in times))
    known = np.zeros(len(times), bool) if poses is None else np.isfinite(poses).all(axis=(1, 2))
    if poses is None or not known.any():
        return
    try:
        save_tum(folder / "poses.txt", Trajectory(times[known], poses[known]))
    except OSError as error:
        raise DataError(f"{folder / 'poses.txt'}: cannot write: {error.strerror}") from error


def read_settings(path: Path) -> dict[str, Any]:
    """Read a YAML mapping."""
    try:
        record = yaml.load(path.read_text(encoding="utf-8"), Loader=_YamlLoader)  # noqa: S506
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot read: {' '.join(str(error).split())}") from None
    if not isinstance(record, dict):
        raise DataError(f"{path}: expected keys and values, got {type(record).__name__}")
    return record


def read_times(path: Path, count: int) -> np.ndarray:
    """Read one time a frame, seconds, rising. (N,)"""
    try:
        times = np.array(path.read_text(encoding="utf-8").split(), dtype=np.float64)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot read times: {error}") from None
    if len(times) != count:
        raise DataError(
            f"{path}: {len(times)} times for {count} frames; run 'depthkit prepare' again"
        )
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise DataError(f"{path}: times must be finite and rising")
    return times


def read_poses(path: Path, times: np.ndarray) -> np.ndarray | None:
    """Put each row of poses.txt to the frame of its stamp; the others stay NaN. (N, 4, 4)"""
    if not path.exists():
        return None
    known = load_tum(path, time_unit="s")
    frame = np.clip(np.searchsorted(times, known.stamps - STAMP_TOLERANCE), 0, len(times) - 1)
    stray = np.abs(times[frame] - known.stamps) > STAMP_TOLERANCE
    if stray.any():
        stamp = known.stamps[int(np.argmax(stray))]
        raise DataError(f"{path}: no frame has the time {stamp:.6f} of a pose; see times.txt")
    poses = np.full((len(times), 4, 4), np.nan)
    poses[frame] = known.T_world_cam
    return poses


def write_depth(path: Path, depth: np.ndarray, depth_scale: float) -> None:
    """Write metres as uint16 / depth_scale; what is not finite or does not fit becomes unknown."""
    raw = np.rint(np.nan_to_num(depth, nan=0.0, posinf=0.0, neginf=0.0) * depth_scale)
    raw = np.where((raw > 0) & (raw <= np.iinfo(np.uint16).max), raw, 0)
    write_atomic(path, encode(raw.astype(np.uint16), "png"))


def partial_path(path: Path) -> Path:
    """Return the hidden folder beside a sequence where it grows."""
    return path.with_name(f".{path.name}.partial")


def check_free(path: Path, *, force: bool) -> None:
    """Refuse to overwrite: an existing output needs force."""
    if path.exists() and not force:
        raise DataError(f"{path}: exists already; use --force to replace it")


def make_folder(path: Path) -> None:
    """Make a folder and its parents, or say in one line why not."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{path}: cannot make folder: {error.strerror}") from error


@contextmanager
def stamped(text: str) -> Iterator[None]:
    """Put a text as `recording.json` into every folder that appears meanwhile, at that moment."""
    token = _stamp.set(text)
    try:
        yield
    finally:
        _stamp.reset(token)


def publish(partial: Path, path: Path, *, force: bool) -> None:
    """Rename a finished folder to its name, the old one stepping aside first."""
    check_free(path, force=force)
    if _stamp.get():
        write_atomic(partial / STAMP, _stamp.get())
    old = path.with_name(f".{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    try:
        if path.exists():
            path.rename(old)
        partial.rename(path)
    except OSError as error:
        raise DataError(f"{path}: cannot rename {partial.name} to it: {error.strerror}") from error
    shutil.rmtree(old, ignore_errors=True)
