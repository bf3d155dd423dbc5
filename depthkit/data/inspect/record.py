# SPDX-License-Identifier: Apache-2.0
"""What the doctor found, and its file: `inspect.json` in the sequence folder."""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depthkit.data.image_io import write_atomic
from depthkit.data.inspect.ladder import GapFigures
from depthkit.errors import DataError

FILE_NAME = "inspect.json"
VERSION = 2

SMALL = 0.01
"""Numbers below it are kept to four digits, larger ones to five decimals."""

EXCLUDING = (
    "unreadable",
    "dark",
    "blown_out",
    "featureless",
    "duplicate",
    "static",
    "rotation_only",
)
"""Faults that make a frame useless for training; blur is reported and left in."""
FAULTS = (*EXCLUDING, "blurred")


@dataclass(frozen=True)
class FrameFigures:
    """One frame, and the motion from it to the next; NaN where there was nothing to measure."""

    index: int
    faults: tuple[str, ...]
    brightness: float
    """Mean grey level, 0..255."""
    saturated: float
    """Share of pixels at 250 and above."""
    sharpness: float
    """Variance of the Laplacian of the reduced image; compare within one sequence only."""
    flow_px: float
    """Coherent image motion, pixels of the sequence's own frames."""
    parallax_px: float
    """What is left of the motion without the rotation, pixels of the sequence's own frames."""
    rotation_deg: float
    kept: float
    """Share of the corners that are found again in the next frame."""
    brightness_change: float
    """Grey levels, followed along the tracks."""


@dataclass(frozen=True)
class CameraFigures:
    """Plausibility of K."""

    hfov_deg: float
    vfov_deg: float
    fx_over_fy: float
    principal_point: tuple[float, float]
    """Where it lies, as a share of width and height; 0.5 is the middle."""
    findings: tuple[str, ...]


@dataclass(frozen=True)
class PoseFigures:
    """How known poses agree with the frames, and how the camera moves by them."""

    known: int
    unit: str
    """m, or 'units' where the scale is not metric."""
    step_median: float
    step_max: float
    speed_median: float
    """Units a second."""
    speed_max: float
    pairs: int
    """Frame pairs that were compared; the next figures are NaN without any."""
    rotation_error_deg: float
    direction_error_deg: float
    epipolar_px: float
    """Distance of tracks to the epipolar lines of the known poses, own pixels."""
    focal_ratio: float
    """Factor on fx and fy under which poses and frames agree best; NaN where the motion hardly
    tells it (straight ahead)."""
    convention: str
    """How the poses fit the frames best: 'T_world_cam' is what they should be."""
    findings: tuple[str, ...]


@dataclass(frozen=True)
class DensityFigures:
    """One noise density of an IMU; NaN where unknown."""

    name: str
    """gyro, rad/s/sqrt(Hz); accel, m/s2/sqrt(Hz); gyro_walk, rad/s2/sqrt(Hz); accel_walk,
    m/s3/sqrt(Hz)."""
    given: float
    """By imu.yaml."""
    rest: float
    """Median of the seconds at rest."""
    motion: float
    """95th percentile of all seconds."""
    recommended: float
    """Density for an estimator: that of motion; of walks the given or a usual one."""


@dataclass(frozen=True)
class ImuFigures:
    """The samples of an IMU, and how they fit the frames; NaN where nothing tells."""

    samples: int
    rate_hz: float
    gaps: tuple[tuple[float, float], ...]
    """(seconds since the first frame, seconds long) where samples are missing."""
    uncovered: int
    """Frames before the first or behind the last sample."""
    saturated: tuple[tuple[str, int], ...]
    """(axis, samples) held at the end of a range."""
    rest_seconds: float
    """Seconds at rest."""
    gravity: float
    """|a| at rest, m/s2."""
    pairs: int
    """Pairs of frames whose rotation was compared with the gyroscope; 0 where none could be."""
    untold: str
    """Why none could be; empty where they were."""
    axes_deg: float
    """Angle between the rotation of T_cam_imu and the one that the frames show."""
    axes_sigma_deg: float
    """Standard deviation of the latter about the axis that is known worst."""
    R_cam_imu: tuple[float, ...]
    """Rotation that the frames show, nine numbers by rows; empty if unknown."""
    gyro_bias: tuple[float, ...]
    """rad/s in the axes of the IMU; empty if unknown."""
    rate_ratio: float
    """Rates of the gyroscope over those of the camera; 57.3 for deg/s."""
    time_offset: float
    """Stamp of the IMU minus stamp of the frames of one moment, seconds."""
    time_offset_sigma: float
    densities: tuple[DensityFigures, ...]
    findings: tuple[str, ...]


@dataclass(frozen=True)
class Inspection:
    """All findings on one sequence. Spans and frame lists are inclusive frame indices."""

    name: str
    frames: int
    checked: int
    """Frames looked at one by one, from the first; `usable` is True for the rest."""
    size: tuple[int, int]
    can_teach: bool
    verdict: str
    advice: tuple[str, ...]
    suggested_shifts: tuple[int, ...]
    """Empty where no shift teaches depth."""
    usable: tuple[bool, ...]
    """A frame holds a picture that teaches: none of EXCLUDING. One a frame of the sequence."""
    faults: dict[str, tuple[int, ...]]
    """Frames by fault; the keys are FAULTS."""
    unreadable_reasons: dict[str, str]
    """Frame index as text -> error line."""
    static_spans: tuple[tuple[int, int], ...]
    rotation_spans: tuple[tuple[int, int], ...]
    brightness_jumps: tuple[tuple[int, float], ...]
    """(i, grey levels) between frames i and i + 1."""
    breaks: tuple[int, ...]
    """i where frames i and i + 1 share almost nothing: a cut, or motion too fast to follow."""
    time_gaps: tuple[tuple[int, float], ...]
    """(i, seconds) between frames i and i + 1 where it is far above the usual."""
    gaps: tuple[GapFigures, ...]
    camera: CameraFigures
    poses: PoseFigures | None
    imu: ImuFigures | None
    per_frame: tuple[FrameFigures, ...]


def to_dict(inspection: Inspection) -> dict[str, Any]:
    """Return plain JSON values; NaN becomes null."""
    return {"version": VERSION, **_plain(dataclasses.asdict(inspection))}


def save_inspection(inspection: Inspection, folder: Path | str) -> Path:
    """Write `inspect.json` into a sequence folder."""
    path = Path(folder) / FILE_NAME
    write_atomic(path, json.dumps(to_dict(inspection)) + "\n")
    return path


def load_inspection(path: Path | str) -> Inspection:
    """Read `inspect.json`, or that of a sequence folder.

    Raises:
        DataError: it is missing, damaged or of another version.
    """
    path = Path(path)
    path = path / FILE_NAME if path.is_dir() else path
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        version = record.pop("version")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise DataError(
            f"{path}: cannot read inspection: {error}; run 'depthkit inspect --save'"
        ) from None
    if version != VERSION:
        raise DataError(f"{path}: version {version!r}, expected {VERSION}; run 'inspect' again")
    try:
        return _inspection_of(record)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: damaged inspection: {error}; run 'depthkit inspect --save'"
        ) from None


def _inspection_of(record: dict[str, Any]) -> Inspection:
    parts = dict(record)
    parts["gaps"] = tuple(_build(GapFigures, row) for row in record["gaps"])
    parts["per_frame"] = tuple(_build(FrameFigures, row) for row in record["per_frame"])
    parts["camera"] = _build(CameraFigures, record["camera"])
    parts["poses"] = None if record["poses"] is None else _build(PoseFigures, record["poses"])
    parts["imu"] = None if record["imu"] is None else _imu_of(record["imu"])
    parts["faults"] = {key: tuple(frames) for key, frames in record["faults"].items()}
    if len(record["usable"]) != record["frames"]:
        raise ValueError(f"{len(record['usable'])} usable flags for {record['frames']} frames")
    return _build(Inspection, parts)


def _imu_of(record: dict[str, Any]) -> ImuFigures:
    densities = tuple(_build(DensityFigures, row) for row in record["densities"])
    return _build(ImuFigures, {**record, "densities": densities})


def _build(kind: type[Any], record: dict[str, Any]) -> Any:
    return kind(**{key: _frozen(value, kind, key) for key, value in record.items()})


def _frozen(value: Any, kind: type[Any], key: str) -> Any:
    """Lists to tuples; null is the NaN of a number."""
    if isinstance(value, list):
        return tuple(_frozen(item, kind, key) for item in value)
    if value is None and kind.__annotations__[key] is float:
        return math.nan
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, float):
        return round(value, 5) if abs(value) >= SMALL else float(f"{value:.4g}")
    return value
