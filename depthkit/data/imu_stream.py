# SPDX-License-Identifier: Apache-2.0
"""An IMU the user gives for a stream of frames, as `prepare` takes it for a sequence folder."""

from dataclasses import dataclass, replace
from pathlib import Path

from depthkit.data.importers.imu_parts import UNKNOWN_MOUNTING, settle_imu
from depthkit.data.importers.source import ImportOptions
from depthkit.data.stream import FrameStream


@dataclass(frozen=True)
class ImuOptions:
    """What the user states about the IMU of a source."""

    imu: Path | None = None
    """File of samples on the clock of the frames; None: the source's own."""
    imu_to_camera: Path | None = None
    """File with T_cam_imu (4x4); None: by the source, where it says so."""
    imu_units: str = ""
    """Units of the samples, such as 'deg/s,g'; empty: those that are stated, else rad/s, m/s2."""
    time_unit: str = "auto"
    """Unit of the times of the file: s, ms, us, ns, auto (by size)."""


def give_imu(stream: FrameStream, options: ImuOptions) -> FrameStream:
    """Give a stream the samples of a file, or its own another mounting or unit.

    Args:
        stream: its own IMU is replaced by that of a file.
        options: of the user; without any the stream is returned as it is.

    Raises:
        DataError: a file that cannot be read, samples and frames without a common time, or options
            about an IMU that is not there.
    """
    if options == ImuOptions():
        return stream
    about = ImportOptions(
        stream.path,
        time_unit=options.time_unit,
        imu=options.imu,
        imu_to_camera=options.imu_to_camera,
        imu_units=options.imu_units,
    )
    found = settle_imu(stream.imu, stream.times, about)
    # What was said about the stream's own IMU holds no longer.
    own = ("IMU: ", UNKNOWN_MOUNTING, "gyroscope: ", "accelerometer: ")
    notes = tuple(note for note in stream.notes if not note.startswith(own))
    return replace(stream, imu=found.imu, notes=(*notes, *found.notes, *found.assumed))
