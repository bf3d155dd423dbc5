# SPDX-License-Identifier: Apache-2.0
"""The IMU of a EuRoC or TUM-VI recording: mav0/imu0/{data.csv, sensor.yaml}.

T_BS of a sensor.yaml turns points of the sensor into the body's; that of an IMU without one is the
identity, as the body of the format is the IMU.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depthkit.data.folder import read_settings
from depthkit.data.importers.mounting import find_mounting, load_mounting
from depthkit.data.importers.source import ImportOptions
from depthkit.data.imu_table import read_imu_table
from depthkit.errors import DataError
from depthkit.rigid import inverse
from depthkit.trajectory import Imu, ImuNoise
from depthkit.trajectory.imu import read_imu_yaml

NOISE_KEYS = {
    "gyro": "gyroscope_noise_density",
    "accel": "accelerometer_noise_density",
    "gyro_walk": "gyroscope_random_walk",
    "accel_walk": "accelerometer_random_walk",
}
"""Field of `ImuNoise` -> key of sensor.yaml, and of Kalibr's imu.yaml."""


@dataclass(frozen=True)
class ImuPart:
    """An IMU beside frames, and what there is to say about it."""

    imu: Imu | None = None
    notes: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()


def load_asl_imu(camera: Path, options: ImportOptions) -> ImuPart:
    """Read the IMU beside a camera folder.

    Args:
        camera: mav0/camN.
        options: holds --time-unit and --body-to-camera, which replaces the camera's T_BS.

    Returns:
        No IMU where the recording has none, or where it cannot be read; the note says why.
    """
    folder = camera.resolve().parent / "imu0"
    if not (folder / "data.csv").is_file():
        return ImuPart()
    try:
        table = read_imu_table(folder / "data.csv", time_unit=options.time_unit)
    except DataError as error:
        return ImuPart(notes=(f"the IMU is not used: {error}",))
    stated = tuple(text for text in table.assumed if "nanoseconds" not in text)
    noise = read_noise(folder / "sensor.yaml")
    T_cam_imu, said = _mounting(camera, folder, options)
    return ImuPart(Imu(table.rows, T_cam_imu, noise), table.notes, (*stated, *said))


def read_beside(path: Path) -> tuple[np.ndarray | None, ImuNoise | None, str]:
    """Read what imu.yaml beside a table of samples holds: our own file, or Kalibr's.

    Args:
        path: of the table.

    Returns:
        T_cam_imu, noise densities, and a word about them; empty without any.
    """
    file = path.with_suffix(".yaml")
    if not file.is_file():
        return None, None, ""
    try:
        T_cam_imu, noise = read_imu_yaml(file)
    except DataError:  # another program's
        T_cam_imu, noise = None, read_noise(file)
    parts = {"T_cam_imu": T_cam_imu, "noise densities": noise}
    held = " and ".join(name for name, value in parts.items() if value is not None)
    return T_cam_imu, noise, f"{held} by {file.name}" if held else f"{file.name} is not used"


def read_noise(path: Path) -> ImuNoise | None:
    """Read the noise densities of a sensor.yaml, or Kalibr's imu.yaml; None unless all four are."""
    if not path.is_file():
        return None
    try:
        record: dict[str, Any] = read_settings(path)
        values = {field: float(record[key]) for field, key in NOISE_KEYS.items()}
    except (DataError, KeyError, TypeError, ValueError):
        return None
    return ImuNoise(**values) if all(0 < v < np.inf for v in values.values()) else None


def _mounting(
    camera: Path, imu: Path, options: ImportOptions
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return T_cam_imu by both T_BS, None where the camera's is unknown. (4, 4)"""
    if options.body_to_camera is not None:
        T_body_cam = load_mounting(options.body_to_camera)[0]
    else:
        found = find_mounting(camera / "sensor.yaml")
        if found is None:
            return None, ()
        T_body_cam = found[0]
    own = find_mounting(imu / "sensor.yaml")
    if own is not None:
        return inverse(T_body_cam) @ own[0], ()
    words = "imu0 has no sensor.yaml with T_BS: it is taken as the body (--imu-to-camera FILE sets)"
    return inverse(T_body_cam), (words,)
