# SPDX-License-Identifier: Apache-2.0
"""The IMU of a source, the same for all formats: the user's file, units, mounting and clock.

An importer hands over what lies beside its frames. Here the user's options are applied to it, and
everything that is doubtful about it is said.
"""

from dataclasses import replace
from pathlib import Path

from depthkit.data.bag import NO_TOPIC
from depthkit.data.importers.mounting import find_mounting, load_imu_mounting, of_imu
from depthkit.data.importers.source import ImportOptions, Source
from depthkit.data.imu_table import read_imu_table
from depthkit.data.imu_units import parse_units, suspect_units, to_si
from depthkit.errors import DataError
from depthkit.trajectory import Imu, check_imu


def with_imu(source: Source, options: ImportOptions) -> Source:
    """Give a source the IMU of the user's file, or finish the one its importer found.

    Raises:
        DataError: a file that cannot be read, or whose samples and frames have no time in common.
    """
    units = parse_units(options.imu_units)
    if options.imu_topic and source.format != "bag":
        source = _without_topic(source, options.imu_topic)
    if options.imu is not None:
        source = _with_file(source, options.imu, options)
    elif source.imu is not None:
        rows = to_si(source.imu.rows, *units)
        source = _usable(replace(source, imu=replace(source.imu, rows=rows)), options)
    if source.imu is None:
        return _without(source, options)
    source = _mounted(source, options)
    imu = source.imu
    if imu is None:
        return source
    words = f"IMU: {len(imu)} samples at {imu.rate:.4g} Hz"
    words += "" if imu.has_accel else ", without accelerations"
    return replace(source, notes=(*source.notes, words, *suspect_units(imu.rows)))


def _with_file(source: Source, path: Path, options: ImportOptions) -> Source:
    """Take the samples of the user's file."""
    table = read_imu_table(path, time_unit=options.time_unit, units=parse_units(options.imu_units))
    imu = Imu(table.rows)
    check_imu(imu, str(path))
    if apart := imu.apart_from(source.times):
        raise DataError(f"{path}: {apart}")
    return replace(
        source,
        imu=imu,
        notes=(*source.notes, *table.notes),
        assumed=(*source.assumed, *table.assumed),
        origin={**source.origin, "imu": path.name},
    )


def _usable(source: Source, options: ImportOptions) -> Source:
    """Leave out an IMU whose samples do not meet the frames or are all 0, and say why."""
    if source.imu is None:
        return source
    if not source.imu.gyro.any():
        why = "all its rates are 0"
    elif options.fps is not None:
        why = "--fps replaces the times of the frames"
    else:
        why = source.imu.apart_from(source.times)
    if not why:
        return source
    return replace(source, imu=None, notes=(*source.notes, f"the IMU is not used: {why}"))


def _without_topic(source: Source, topic: str) -> Source:
    """Leave out the IMU where 'none' is wanted; a name means nothing outside of bags."""
    if topic == NO_TOPIC:
        return replace(source, imu=None)
    note = f"--imu-topic {topic}: unused, {source.format} is no bag"
    return replace(source, notes=(*source.notes, note))


def _without(source: Source, options: ImportOptions) -> Source:
    """Refuse options about an IMU that is not there."""
    given = {"--imu-to-camera": options.imu_to_camera, "--imu-units": options.imu_units}
    for option in (name for name, value in given.items() if value):
        raise DataError(
            f"{source.name}: {option} is given, but there is no IMU; --imu FILE gives one"
        )
    return source


def _mounted(source: Source, options: ImportOptions) -> Source:
    """Set T_cam_imu by the user's file, the source, or the calibration of the camera."""
    imu, words = source.imu, ""
    if imu is None:
        return source
    if options.imu_to_camera is not None:
        T_cam_imu, words = load_imu_mounting(options.imu_to_camera)
        imu = replace(imu, T_cam_imu=T_cam_imu)
    elif imu.T_cam_imu is None and options.camera_file is not None:
        beside = find_mounting(options.camera_file)
        if beside is not None:
            T_cam_imu, words = of_imu(*beside)
            imu = replace(imu, T_cam_imu=T_cam_imu)
    if imu.T_cam_imu is None:
        words = (
            "T_cam_imu is unknown: how the IMU sits on the camera; --imu-to-camera FILE gives it"
        )
    return replace(source, imu=imu, notes=(*source.notes, *((words,) if words else ())))
