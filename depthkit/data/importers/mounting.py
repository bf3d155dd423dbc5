# SPDX-License-Identifier: Apache-2.0
"""Where the camera sits on a body whose poses are known: T_body_cam, from other programs' files.

Each program has its own name and direction; the name decides, and the choice is reported.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from depthkit.errors import DataError
from depthkit.rigid import inverse, make_pose, quaternion_to_matrix

# Keys that hold T_body_cam as it stands, and those that hold its inverse: EuRoC, ORB-SLAM2 and 3,
# VINS, OpenVINS and Kalibr.
FORWARD_KEYS = (
    "T_BS", "T_body_cam", "T_imu_cam", "T_b_c1", "IMU.T_b_c1", "Tbc", "T_b_c", "body_T_cam0",
    "body_T_cam", "imu_T_cam",
)  # fmt: skip
INVERSE_KEYS = ("T_cam_imu", "T_cam_body", "T_c_b", "Tcb", "cam_T_imu")
ROTATION_TOLERANCE = 1e-2


def load_mounting(path: Path) -> tuple[np.ndarray, str]:
    """Read T_body_cam.

    Args:
        path: 4x4 or 3x4 numbers, `x y z qx qy qz qw`, or YAML with one of the known keys.

    Returns:
        T_body_cam: camera points to the body, metres. (4, 4)
        words: which part of the file was taken, and in which direction.

    Raises:
        DataError: no such file, no mounting in it, or a matrix that does not rotate.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read T_body_cam: {error}") from None
    numbers = _plain_numbers(text)
    if numbers is not None:
        return _from_numbers(numbers, path)
    found = _find(_parse(text, path), "")
    if found is None:
        raise DataError(
            f"{path}: holds no mounting of the camera; expected 4x4 numbers (T_body_cam), or YAML "
            f"with one of {', '.join((*FORWARD_KEYS, *INVERSE_KEYS))}"
        )
    key, values = found
    if key.rsplit(".", 1)[-1] in INVERSE_KEYS:
        T = inverse(_checked(values, path, key))
        return T, f"T_body_cam is the inverse of {key} of {path.name}"
    return _checked(values, path, key), f"T_body_cam is {key} of {path.name}"


def find_mounting(path: Path) -> tuple[np.ndarray, str] | None:
    """Read T_body_cam where a file is there and holds one, None where not."""
    if not path.is_file():
        return None
    try:
        return load_mounting(path)
    except DataError:
        return None


def _plain_numbers(text: str) -> list[float] | None:
    """Return the numbers of a text that is nothing but numbers."""
    lines = (line.split("#")[0] for line in text.splitlines())
    try:
        numbers = [float(f) for line in lines for f in re.split(r"[\s,;\[\]]+", line) if f]
    except ValueError:
        return None
    return numbers or None


def _from_numbers(numbers: list[float], path: Path) -> tuple[np.ndarray, str]:
    if len(numbers) == 7:
        R = quaternion_to_matrix(numbers[3:]) if any(numbers[3:]) else np.zeros((3, 3))
        T = _checked(make_pose(R, numbers[:3]).ravel().tolist(), path, "the quaternion")
        return T, f"T_body_cam is x y z qx qy qz qw of {path.name}"
    if len(numbers) not in (12, 16):
        raise DataError(f"{path}: expected the 16 numbers of T_body_cam (4x4), got {len(numbers)}")
    return _checked(numbers, path, "the matrix"), f"T_body_cam is the matrix of {path.name}"


def _parse(text: str, path: Path) -> Any:
    """Read YAML; OpenCV's header and matrix tags are no YAML of ours and are dropped."""
    text = re.sub(r"^%YAML.*$", "", text, flags=re.MULTILINE).replace("!!opencv-matrix", "")
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


def _find(record: Any, prefix: str) -> tuple[str, list[float]] | None:
    """Return the first known key, with its place in the file, and its numbers."""
    if not isinstance(record, Mapping):
        return None
    for key in (*FORWARD_KEYS, *INVERSE_KEYS):
        if key in record and (values := _flat(record[key])) is not None:
            return f"{prefix}{key}", values
    rotation, shift = (
        _flat(record.get(f"extrinsic{part}")) for part in ("Rotation", "Translation")
    )
    if rotation is not None and shift is not None and (len(rotation), len(shift)) == (9, 3):
        T = make_pose(np.reshape(rotation, (3, 3)), shift)
        return f"{prefix}extrinsicRotation", T.ravel().tolist()
    below = (_find(value, f"{prefix}{name}.") for name, value in record.items())
    return next((found for found in below if found is not None), None)


def _flat(value: Any) -> list[float] | None:
    """Return the numbers of a list, a list of rows or a {rows, cols, data} mapping."""
    value = value.get("data") if isinstance(value, Mapping) else value
    if not isinstance(value, list):
        return None
    rows = [v for row in value for v in (row if isinstance(row, list) else [row])]
    try:
        return [float(v) for v in rows]
    except (TypeError, ValueError):
        return None


def _checked(values: list[float], path: Path, key: str) -> np.ndarray:
    """Return a rigid motion of 12 or 16 numbers, or say what is wrong with it. (4, 4)"""
    if len(values) not in (12, 16):
        raise DataError(f"{path}: {key}: expected 4x4 numbers, got {len(values)}")
    T = np.eye(4)
    T[: len(values) // 4] = np.reshape(values, (-1, 4))
    error = np.abs(T[:3, :3] @ T[:3, :3].T - np.eye(3)).max()
    if not np.isfinite(T).all() or error > ROTATION_TOLERANCE or np.linalg.det(T[:3, :3]) < 0:
        raise DataError(f"{path}: {key} is no rigid motion (its rotation is off by {error:.3g})")
    return T


def load_imu_mounting(path: Path) -> tuple[np.ndarray, str]:
    """Read T_cam_imu: plain numbers as they stand, keys of other programs by their direction.

    Args:
        path: 4x4 or 3x4 numbers, `x y z qx qy qz qw`, or YAML with one of the known keys, the body
            of which is the IMU.

    Returns:
        T_cam_imu: IMU points to the camera, metres. (4, 4)
        words: which part of the file was taken, and in which direction.

    Raises:
        DataError: as in `load_mounting`.
    """
    T, words = load_mounting(path)
    if _plain_numbers(path.read_text(encoding="utf-8-sig")) is not None:
        return T, words.replace("T_body_cam", "T_cam_imu")
    return of_imu(T, words)


def of_imu(T_body_cam: np.ndarray, words: str) -> tuple[np.ndarray, str]:
    """Turn the mounting of a camera on its IMU, and the words about it, into T_cam_imu. (4, 4)"""
    source = words.removeprefix("T_body_cam is ")
    inverted = source.removeprefix("the inverse of ")
    about = inverted if inverted != source else f"the inverse of {source}"
    return inverse(T_body_cam), f"T_cam_imu is {about}"
