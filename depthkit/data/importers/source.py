# SPDX-License-Identifier: Apache-2.0
"""What an importer hands over: where frames lie, when they were taken, with which camera.

An importer is a module with `find(root)`, the sequences a folder or file holds by name (none when
it is of another format), and `load(place, name, options)`, one of them as a `Source`. It writes
nothing: `prepare` does the rest, the same for all.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from depthkit.camera import Camera, SourceCamera, source_camera
from depthkit.camera.calibration import Calibration
from depthkit.data.calibrations import load_calibration
from depthkit.data.calibrations.exif_focal import camera_of_exif
from depthkit.data.image_io import UnreadableImageError, read_size
from depthkit.errors import DataError
from depthkit.picture import Levels
from depthkit.trajectory import Imu, Order

DEFAULT_FPS = 30.0
IMU_MARGIN = 10.0
"""Seconds of inertial samples that are kept before the first and behind the last frame."""
CALIBRATION_NAMES = (
    *("camera.yaml", "camera_info.yaml", "calibration.yaml", "ost.yaml", "K.txt"),
    *("camera.yml", "calibration.yml", "sensor.yaml", "camchain.yaml", "intrinsics.yaml"),
    *("cameras.txt", "camera.txt", "cam.txt", "calib.txt", "calibration.txt", "intrinsics.txt"),
    *(
        "transforms.json",
        "camera.json",
        "intrinsics.json",
        "camera_intrinsic.json",
        "intrinsic.json",
    ),
    *("ost.txt", "ost.ini", "calibration.ini", "calibration.xml"),
)
"""Files that are looked for beside the frames, in this order."""


FrameReader = Callable[[Collection[int]], Iterator[tuple[int, np.ndarray | str]]]
"""Decodes the frames of some indices, in their order: RGB (H, W, 3) uint8, or a word why not."""


@dataclass(frozen=True)
class FrameRef:
    """One frame: a picture file, or the index-th picture of a video or bag."""

    path: Path
    index: int | None = None


@dataclass(frozen=True)
class DepthSource:
    """Depth beside the frames, as pictures on the frame's pixels or as points to be projected."""

    paths: tuple[Path | None, ...]
    """One per frame, None where a frame has no depth."""
    read: Callable[[Path], np.ndarray]
    """Metres, 0 = unknown, (H, W) of the source frame; or points in the camera frame, (N, 3)."""
    scale: float
    """Stored PNG value per metre."""
    kind: str = "metric"
    is_points: bool = False


@dataclass(frozen=True)
class Source:
    """One sequence as its importer found it."""

    name: str
    format: str
    frames: tuple[FrameRef, ...]
    times: np.ndarray
    """Seconds, rising. (N,)"""
    camera: SourceCamera
    poses: np.ndarray | None = None
    """T_world_cam, NaN where unknown. (N, 4, 4)"""
    depth: DepthSource | None = None
    notes: tuple[str, ...] = ()
    """Facts for the user: missing parts, frames that were left out."""
    assumed: tuple[str, ...] = ()
    """Conventions that the source does not state, such as a unit of time or depth, and the value
    that was taken; one sentence each, with the option that changes it."""
    origin: dict[str, Any] = field(default_factory=dict)
    """Plain values for the `source` section of camera.yaml."""
    levels: Levels | None = None
    """How pictures of more than 8 bit become 8 bit; None: 16 bit / 257."""
    metric: bool = True
    """Whether poses and depth are metres; else their common scale is unknown."""
    read: FrameReader | None = None
    """Reader of a source with all frames in one file; None where each frame is a file."""
    imu: Imu | None = None
    """Inertial samples on the clock of the frames, where the source has an IMU."""

    @property
    def all_assumed(self) -> tuple[str, ...]:
        """Every assumption about the source, those made about its camera included, each once."""
        return tuple(dict.fromkeys((*self.assumed, *self.camera.assumed)))


@dataclass(frozen=True)
class ImportOptions:
    """What the user stated about a source."""

    root: Path
    camera: Path | SourceCamera | None = None
    """Calibration file of any known program, or the camera itself."""
    fov: float | None = None
    """Horizontal field of view in degrees: a guess for sources without calibration."""
    fps: float | None = None
    max_gap: float = 0.15
    """Seconds between two poses over which one may be interpolated."""
    poses: Path | None = None
    start: int = 0
    stop: int | None = None
    every: int = 1
    odometry_topic: str = ""
    """Bag topic whose poses are used; empty: the only one, 'none': no poses."""
    bits: int = 16
    """Bits used of a 16-bit pixel in a bag."""
    levels: Levels | None = None
    """Values of pictures of more than 8 bit that become 0 and 255; None: those in use."""
    time_unit: str = "auto"
    """Unit of the times in the source and in a pose file: s, ms, us, ns, auto (by size)."""
    quaternion: Order | None = None
    """Order of quaternions in a pose file; None: detected from the file, and reported."""
    depth_scale: float | None = None
    """Stored depth value per metre; None: that of the format."""
    body_to_camera: Path | None = None
    """File with T_body_cam (4x4), where the poses are those of a body the camera is mounted on."""
    fallback: SourceCamera | None = None
    """Where no calibration is found; None: that is an error."""
    imu: Path | None = None
    """File of inertial samples on the clock of the frames."""
    imu_to_camera: Path | None = None
    """File with T_cam_imu (4x4); None: by the source, where it says so."""
    imu_units: str = ""
    """Units of the samples, such as 'deg/s,g'; empty: those the source states, else rad/s, m/s2."""
    imu_topic: str = ""
    """Bag topic of the IMU; empty: the only one, 'none': none."""

    @property
    def camera_file(self) -> Path | None:
        """Where the camera is read from; such a file may also say how the camera is mounted."""
        return self.camera if isinstance(self.camera, Path) else None


def select(source: Source, options: ImportOptions) -> Source:
    """Keep frames start:stop, every n-th of them."""
    keep = np.arange(len(source.frames))[options.start : options.stop : options.every]
    if len(keep) == 0:
        stop = "" if options.stop is None else options.stop
        raise DataError(
            f"{source.name}: --frames {options.start}:{stop} leaves none of its "
            f"{len(source.frames)} frames"
        )
    depth = source.depth
    if depth is not None:
        depth = replace(depth, paths=tuple(depth.paths[i] for i in keep))
    return replace(
        source,
        frames=tuple(source.frames[i] for i in keep),
        times=source.times[keep],
        poses=None if source.poses is None else source.poses[keep],
        depth=depth,
        imu=_imu_around(source.imu, source.times[keep]),
    )


def _imu_around(imu: Imu | None, times: np.ndarray) -> Imu | None:
    """Keep the samples of the frames' time and IMU_MARGIN around it."""
    if imu is None:
        return None
    rows = imu.between(times[0] - IMU_MARGIN, times[-1] + IMU_MARGIN)
    return replace(imu, rows=rows) if len(rows) else None


# --- helpers of importers ------------------------------------------------------------------------


def find_camera(
    places: Iterable[Path],
    size: tuple[int, int],
    options: ImportOptions,
    *,
    fallback: tuple[SourceCamera, str] | None = None,
    pictures: Sequence[Path] = (),
) -> tuple[SourceCamera, str]:
    """Return the camera and where it came from.

    The first there is of: --camera, a calibration file in one of the places, the data set's own
    published values, the guess of --fov, the focal length in the pictures' EXIF.

    Args:
        places: folders to look in, in order.
        size: (H, W) of the frames.
        options: holds --camera and --fov.
        fallback: published camera and a word on where from.
        pictures: files that may carry EXIF.
    """
    given = given_camera(options, size)
    if given is not None:
        return given, "--camera"
    places = list(places)
    files = [
        path for place in places for name in CALIBRATION_NAMES if (path := place / name).is_file()
    ]
    if files:
        return _load_beside(files, size, options), files[0].name
    if fallback is not None:
        return fallback
    if options.fov is not None:
        return guess_camera(options.fov, size), f"guessed from --fov {options.fov:g}"
    camera = camera_of_exif(pictures, size)
    if camera is None and options.fallback is not None:
        return options.fallback, "none"
    if camera is None:
        raise DataError(
            f"{places[0]}: calibration missing (no {', '.join(CALIBRATION_NAMES[:5])} or the like, "
            "no focal length in EXIF); give --camera FILE, or --fov DEGREES to guess a pinhole"
        )
    return camera, "focal length of EXIF"


def given_camera(options: ImportOptions, size: tuple[int, int]) -> SourceCamera | None:
    """Return --camera for frames of a size, (H, W); None where it was not given."""
    if options.camera is None or isinstance(options.camera, SourceCamera):
        return options.camera
    return load_calibration(options.camera, size)


def guess_camera(fov: float, size: tuple[int, int]) -> SourceCamera:
    """Return a pinhole with its principal point in the middle; fov is horizontal, degrees."""
    height, width = size
    f = width / (2 * math.tan(math.radians(fov) / 2))
    return SourceCamera(Camera(width, height, f, f, (width - 1) / 2, (height - 1) / 2))


def read_matrix(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Read a text file of numbers as a matrix."""
    try:
        values = np.array(path.read_text(encoding="utf-8").split(), dtype=np.float64)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot read numbers: {error}") from None
    if values.size != shape[0] * shape[1]:
        raise DataError(f"{path}: expected {shape[0]}x{shape[1]} numbers, got {values.size}")
    return values.reshape(shape)


def pinhole_of(K: np.ndarray, size: tuple[int, int]) -> SourceCamera:
    """Build an undistorted camera from K (3, 3) and (H, W), checked as one of a file."""
    values = tuple(float(value) for value in K.ravel())
    return source_camera(Calibration(values, distortion_model="none"), size)


def first_size(paths: Iterable[Path], place: Path) -> tuple[int, int]:
    """Return (H, W) of the first picture that can be read."""
    reasons = []
    for path in paths:
        try:
            return read_size(path)
        except UnreadableImageError as error:
            reasons.append(str(error))
    if len(reasons) < 2:
        raise DataError(reasons[0] if reasons else f"{place}: holds no picture")
    raise DataError(
        f"{place}: none of {len(reasons)} pictures can be read; the first: {reasons[0]}"
    )


def frame_times(count: int, fps: float | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return times of frames that carry none, and a note when the rate is a guess."""
    if fps is not None:
        return np.arange(count) / fps, ()
    note = f"no times in the source: {DEFAULT_FPS:g} frames/s assumed (prepare --fps sets it)"
    return np.arange(count) / DEFAULT_FPS, (note,)


def _load_beside(
    files: Sequence[Path], size: tuple[int, int], options: ImportOptions
) -> SourceCamera:
    """Read the first of the calibrations beside the frames, and say which others do not count."""
    camera = load_calibration(files[0], size)
    others = dict.fromkeys(p.name for p in files[1:] if p.resolve() != files[0].resolve())
    said = list[str]()
    if others:
        said.append(
            f"{files[0].name} taken, not {', '.join(others)}: --camera chooses another file"
        )
    if options.fov is not None:
        said.append(f"--fov {options.fov:g} not used: {files[0].name} is the calibration")
    return replace(camera, assumed=(*said, *camera.assumed))
