# SPDX-License-Identifier: Apache-2.0
"""TUM RGB-D: rgb.txt or rgb/<timestamp>.png, groundtruth.txt, depth.txt (5000 a metre).

Depth pictures are registered to the colour camera. Official sequences have published calibrations,
chosen by 'freiburg1|2|3' in the folder's name; others need K.txt, camera.yaml or --camera, and
their unit of depth is detected from the pictures. Files
of associations written by the data set's own tool are used first.
"""

from functools import partial
from pathlib import Path

import numpy as np

from depthkit.camera import Camera, SourceCamera
from depthkit.data.image_io import list_images
from depthkit.data.importers.depth_unit import TUM_SCALE, read_stored, tell_scale, unit_words
from depthkit.data.importers.name_times import seconds_and_ns
from depthkit.data.importers.places import find_folders
from depthkit.data.importers.pose_pairing import Poses, missing_words, spans
from depthkit.data.importers.rgbd_depth import FoundDepth
from depthkit.data.importers.source import (
    DepthSource,
    FrameRef,
    ImportOptions,
    Source,
    find_camera,
    first_size,
)
from depthkit.data.importers.times import read_list
from depthkit.errors import DataError
from depthkit.trajectory import interpolate_poses, load_tum
from depthkit.trajectory.text import is_number
from depthkit.trajectory.time_units import UNITS, detect_unit, to_seconds

OFFICIAL = ("freiburg", "icl", "living_room_traj", "office_room_traj")
"""Parts of names of sequences whose depth is known to be 5000 a metre."""
ASSOCIATIONS = ("associations.txt", "associated.txt", "associate.txt", "assoc.txt")
"""Lists of `time rgb time depth`."""
DEPTH_GAP = 0.02
"""Seconds between a frame and its depth, at most; the default of the data set's own tool."""

# fx, fy, cx, cy and k1 k2 p1 p2 k3 of the colour cameras, 640x480, from the data set's page.
CALIBRATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "freiburg1": (
        (517.3, 516.5, 318.6, 255.3),
        (0.2624, -0.9531, -0.0054, 0.0026, 1.1633),
    ),
    "freiburg2": (
        (520.9, 521.0, 325.1, 249.7),
        (0.2312, -0.7849, -0.0033, -0.0001, 0.9172),
    ),
    "freiburg3": ((535.4, 539.2, 320.1, 247.6), ()),
}


def find(root: Path) -> dict[str, Path]:
    """Return folders with rgb.txt or time-stamped rgb/ pictures, by name."""
    return find_folders(root, _is_sequence)


def load(place: Path, name: str, options: ImportOptions) -> Source:
    """Read the lists, put depth to frames by time and interpolate poses at the frame times."""
    stamps, paths = _listing(place, "rgb")
    stamps, paths, lost = _present(place, stamps, paths)
    fresh = np.concatenate([[True], np.diff(stamps) > 0])[: len(stamps)]
    repeats = int((~fresh).sum())
    doubled = (f"{repeats} rows of rgb repeat the time before: left out",) if repeats else ()
    stamps, paths = stamps[fresh], [p for p, is_new in zip(paths, fresh, strict=True) if is_new]
    times, assumed = to_seconds(stamps, options.time_unit, "rgb")
    size = first_size(paths, place)
    camera, calibration = find_camera(
        (place, options.root), size, options, fallback=_published(place)
    )
    poses = _poses(place / "groundtruth.txt", times, options)
    depth = _depth(place, stamps, paths, options)
    return Source(
        name=name,
        format="tum",
        frames=tuple(FrameRef(path) for path in paths),
        times=times,
        camera=camera,
        poses=poses.T_world_cam,
        depth=depth.source,
        notes=lost + doubled + poses.notes + depth.notes,
        assumed=assumed + poses.assumed + depth.assumed,
        origin={"calibration": calibration},
    )


def _is_sequence(folder: Path) -> bool:
    if (folder / "rgb.txt").is_file():
        return True
    rgb = folder / "rgb"
    images = list_images(rgb) if rgb.is_dir() else []
    return bool(images) and all("." in p.stem and is_number(p.stem) for p in images[:3])


def _listing(place: Path, kind: str) -> tuple[np.ndarray, list[Path]]:
    """Read `timestamp file` lines of rgb.txt or depth.txt, or the names in the folder."""
    table = place / f"{kind}.txt"
    if not table.is_file():
        folder = place / kind
        paths = [p for p in (list_images(folder) if folder.is_dir() else []) if is_number(p.stem)]
        whole = seconds_and_ns(paths)
        stamps = [float(p.stem) for p in paths] if whole is None else (whole / 1e9).tolist()
        pairs = sorted(zip(stamps, paths, strict=True))
    else:
        rows = read_list(table)
        for row in rows:
            if len(row) != 2 or not is_number(row[0]):
                raise DataError(f"{table}: expected 'timestamp file', got {' '.join(row)!r}")
        if not rows and kind == "rgb":
            raise DataError(f"{table}: holds no rows; expected 'timestamp file'")
        pairs = sorted((float(row[0]), _listed(place, kind, row[1])) for row in rows)
    return np.array([t for t, _ in pairs]), [p for _, p in pairs]


def _listed(place: Path, kind: str, name: str) -> Path:
    """Return the file a list names: as it stands, or under its own name in the folder of `kind`."""
    path = place / name.replace("\\", "/")
    own = place / kind / path.name
    return own if not path.is_file() and own.is_file() else path


def _present(
    place: Path, stamps: np.ndarray, paths: list[Path]
) -> tuple[np.ndarray, list[Path], tuple[str, ...]]:
    """Leave out listed pictures that are not there, as in a data set fetched in part."""
    there = np.array([path.is_file() for path in paths], dtype=bool)
    missing = len(paths) - int(there.sum())
    if not missing:
        return stamps, paths, ()
    first = next(path for path, is_there in zip(paths, there, strict=True) if not is_there)
    if missing == len(paths):
        raise DataError(
            f"{place}/rgb.txt: none of the {missing} pictures it names is there: {first}"
        )
    kept = [path for path, is_there in zip(paths, there, strict=True) if is_there]
    note = (
        f"{missing} of {len(paths)} pictures of rgb.txt are not there, {first.name} first: left out"
    )
    return stamps[there], kept, (note,)


def _published(place: Path) -> tuple[SourceCamera, str] | None:
    """Return the data set's own calibration for an official folder name."""
    key = next((key for key in CALIBRATIONS if key in place.resolve().name), None)
    if key is None:
        return None
    intrinsics, D = CALIBRATIONS[key]
    camera = Camera(640, 480, *intrinsics)
    return SourceCamera(camera, "brown_conrady" if D else "none", D), f"published for {key}"


def _poses(path: Path, times: np.ndarray, options: ImportOptions) -> Poses:
    """Interpolate groundtruth.txt at the frame times; outside it a frame has no pose."""
    if options.poses is not None:
        return Poses(None)
    if not path.is_file():
        return Poses(None, ("no groundtruth.txt: frames are stored without poses",))
    try:
        trajectory = load_tum(path, repeats="first", time_unit=options.time_unit)
    except DataError as error:
        raise DataError(f"{error}; --poses FILE takes poses of other layouts") from None
    poses, known = interpolate_poses(trajectory, times, options.max_gap)
    if not known.any():
        where = spans(trajectory.stamps, times)
        return Poses(None, (f"no pose of {path.name} meets a frame; {where}",), trajectory.assumed)
    return Poses(poses, missing_words(poses, path, options.max_gap), trajectory.assumed)


def _depth(
    place: Path, times: np.ndarray, frames: list[Path], options: ImportOptions
) -> FoundDepth:
    """Put the depth picture of an association, or the nearest within `DEPTH_GAP`, to each frame."""
    stamps, files = _listing(place, "depth")
    paths = _associated(place, frames)
    if paths is None and not files:
        return FoundDepth(None, ("no depth: frames are stored without it",))
    if paths is None:
        gap = DEPTH_GAP * UNITS[detect_unit(times)]
        nearest = np.searchsorted((stamps[1:] + stamps[:-1]) / 2, times)
        near = np.abs(times - stamps[nearest]) <= gap
        paths = tuple(files[i] if ok else None for i, ok in zip(nearest, near, strict=True))
    missing = paths.count(None)
    if missing == len(paths):
        note = f"no depth within {DEPTH_GAP:g} s of any frame: stored without it"
        if len(stamps) and (stamps[0] > times[-1] or stamps[-1] < times[0]):
            note += f"; depth spans {stamps[0]:.3f} to {stamps[-1]:.3f}, frames {times[0]:.3f} to "
            note += f"{times[-1]:.3f}"
        return FoundDepth(None, (note,))
    notes = (f"{missing} of {len(paths)} frames have no depth near them",) if missing else ()
    scale, assumed = _scale(place, [path for path in paths if path is not None], options)
    return FoundDepth(DepthSource(paths, partial(read_stored, scale=scale), scale), notes, assumed)


def _scale(place: Path, paths: list[Path], options: ImportOptions) -> tuple[float, tuple[str, ...]]:
    """Choose the stored value per metre: the user's, the data set's, or that of the pictures."""
    if options.depth_scale is not None:
        return options.depth_scale, ()
    if any(word in place.resolve().name.lower() for word in OFFICIAL):
        return TUM_SCALE, ()
    scale, reason = tell_scale(paths)
    return scale, (f"no official sequence of TUM: {unit_words(paths, scale, reason)}",)


def _associated(place: Path, frames: list[Path]) -> tuple[Path | None, ...] | None:
    """Return the depth of each frame that an associations file names; None without such a file."""
    path = next((place / name for name in ASSOCIATIONS if (place / name).is_file()), None)
    if path is None:
        return None
    found = {}
    for row in read_list(path):
        if len(row) == 4:
            pair = (row[1], row[3]) if "depth" not in row[1] else (row[3], row[1])
            found[(place / pair[0]).resolve()] = place / pair[1]
    paths = tuple(found.get(frame.resolve()) for frame in frames)
    return paths if any(paths) else None
