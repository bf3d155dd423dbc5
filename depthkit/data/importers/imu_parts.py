# SPDX-License-Identifier: Apache-2.0
"""The IMU of a source, the same for all formats: the user's file, units, mounting and clock.

An importer hands over what lies beside its frames. Here the user's options are applied to it, and
everything that is doubtful about it is said.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from depthkit.data.bag import NO_TOPIC
from depthkit.data.importers.asl_imu import read_beside
from depthkit.data.importers.mounting import find_mounting, load_imu_mounting, of_imu
from depthkit.data.importers.source import ImportOptions, Source
from depthkit.data.imu_table import read_imu_table
from depthkit.data.imu_units import parse_units, suspect_units, to_si
from depthkit.errors import DataError
from depthkit.trajectory import Imu, check_imu

UNKNOWN_MOUNTING = "T_cam_imu is unknown"


@dataclass(frozen=True)
class SettledImu:
    """The IMU of a source after the user's options, and what there is to say about it."""

    imu: Imu | None = None
    notes: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()


def with_imu(source: Source, options: ImportOptions) -> Source:
    """Give a source the IMU of the user's file, or finish the one its importer found.

    Raises:
        DataError: as in `settle_imu`.
    """
    own = source.imu
    about: tuple[str, ...] = ()
    if options.imu_topic and source.format != "bag":
        if options.imu_topic == NO_TOPIC:
            own = None
        else:
            about = (f"--imu-topic {options.imu_topic}: unused, {source.format} is no bag",)
    found = settle_imu(own, source.times, options)
    origin = source.origin if options.imu is None else {**source.origin, "imu": options.imu.name}
    return replace(
        source,
        imu=found.imu,
        notes=(*source.notes, *about, *found.notes),
        assumed=(*source.assumed, *found.assumed),
        origin=origin,
    )


def settle_imu(own: Imu | None, times: np.ndarray, options: ImportOptions) -> SettledImu:
    """Choose the IMU, convert its units, put it on the camera and say what is doubtful.

    Args:
        own: that of the source, as its importer found it.
        times: of the frames, seconds. (N,)
        options: of the user: file, mounting, units; without a file `own` is taken.

    Raises:
        DataError: a file that cannot be read, samples and frames of a file without a common time,
            options about an IMU that is not there.
    """
    if options.imu is not None:
        found = _from_file(options.imu, times, options)
    else:
        found = _from_source(own, times, options)
    if found.imu is None:
        _refuse_options(options)
        return found
    imu, words = _mounted(found.imu, options)
    about = f"IMU: {len(imu)} samples at {imu.rate:.4g} Hz"
    about += "" if imu.has_accel else ", without accelerations"
    said = ((words,) if words else ()) + (about, *suspect_units(imu.rows))
    return replace(found, imu=imu, notes=(*found.notes, *said))


def _from_file(path: Path, times: np.ndarray, options: ImportOptions) -> SettledImu:
    """Take the samples of the user's file, and what imu.yaml beside it says."""
    table = read_imu_table(path, time_unit=options.time_unit, units=parse_units(options.imu_units))
    T_cam_imu, noise, beside = read_beside(path)
    imu = Imu(table.rows, T_cam_imu, noise)
    check_imu(imu, str(path))
    if apart := imu.apart_from(times):
        raise DataError(f"{path}: {apart}")
    return SettledImu(imu, (*table.notes, *((beside,) if beside else ())), table.assumed)


def _from_source(own: Imu | None, times: np.ndarray, options: ImportOptions) -> SettledImu:
    """Convert the source's own; leave it out where it cannot belong to the frames, and say why."""
    if own is None:
        return SettledImu()
    if not own.gyro.any():
        why = "all its rates are 0"
    elif options.fps is not None:
        why = "--fps replaces the times of the frames"
    else:
        why = own.apart_from(times)
    if why:
        return SettledImu(None, (f"the IMU is not used: {why}",))
    return SettledImu(replace(own, rows=to_si(own.rows, *parse_units(options.imu_units))))


def _refuse_options(options: ImportOptions) -> None:
    """Refuse options about an IMU that is not there."""
    given = {"--imu-to-camera": options.imu_to_camera, "--imu-units": options.imu_units}
    for option in (name for name, value in given.items() if value):
        raise DataError(
            f"{options.root}: {option} is given, but there is no IMU; --imu FILE gives one"
        )


def _mounted(imu: Imu, options: ImportOptions) -> tuple[Imu, str]:
    """Set T_cam_imu by the user's file, the source, or the calibration of the camera."""
    beside = None
    if options.imu_to_camera is not None:
        T_cam_imu, words = load_imu_mounting(options.imu_to_camera)
        return replace(imu, T_cam_imu=T_cam_imu), words
    if imu.T_cam_imu is not None:
        return imu, ""
    if options.camera_file is not None:
        beside = find_mounting(options.camera_file)
    if beside is not None:
        T_cam_imu, words = of_imu(*beside)
        return replace(imu, T_cam_imu=T_cam_imu), words
    return imu, f"{UNKNOWN_MOUNTING}: how the IMU sits on the camera; --imu-to-camera FILE gives it"
