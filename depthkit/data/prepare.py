# SPDX-License-Identifier: Apache-2.0
"""From a source of any format to sequences of a data set: choose, convert, add to split.yaml."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from depthkit.camera import SourceCamera
from depthkit.data.conversion import convert, fingerprint, stored_fingerprint
from depthkit.data.cropping import Crop, crop_camera, cut_of_source
from depthkit.data.folder import check_free
from depthkit.data.frame_conversion import Conversion
from depthkit.data.importers import find_sequences, load_source, other_sequences
from depthkit.data.importers.bag import sequence_name
from depthkit.data.importers.doubts import with_doubts
from depthkit.data.importers.source import ImportOptions, select
from depthkit.data.sequence import SPLITS, open_sequence, read_split, write_split
from depthkit.errors import DataError
from depthkit.picture import Levels
from depthkit.trajectory import Order
from depthkit.undistort import FrameGeometry, build_geometry, with_mask
from depthkit.watcher import SILENT, Watcher

STRETCHED = 0.05
"""Relative change of fx / fy by --size from which on it is said."""
NAMED_BY_USER = ("images", "video", "sevenscenes", "tum")
"""Formats where a folder is no name of a sequence: with one in it, --sequence names the output."""


@dataclass(frozen=True)
class PrepareOptions:
    """Options of `depthkit prepare`."""

    source: Path
    out: Path
    format: str = "auto"
    camera: Path | SourceCamera | None = None
    fov: float | None = None
    fps: float | None = None
    poses: Path | None = None
    motion: str = ""
    """How the poses are found in the frames, in words; empty where they are given."""
    odometry_topic: str = ""
    bits: int = 16
    levels: tuple[float, float] | None = None
    time_unit: str = "auto"
    quaternion: Order | None = None
    depth_scale: float | None = None
    body_to_camera: Path | None = None
    imu: Path | None = None
    imu_to_camera: Path | None = None
    imu_units: str = ""
    imu_topic: str = ""
    size: tuple[int, int] | None = None
    fit: str = "stretch"
    crop: Crop = "mask"
    every: int = 1
    start: int = 0
    stop: int | None = None
    sequence: str | None = None
    name: str | None = None
    split: str = "train"
    max_gap: float = 0.15
    bayer: str | None = None
    ext: str = "jpg"
    force: bool = False
    workers: int = 2


@dataclass(frozen=True)
class Prepared:
    """What became of one sequence."""

    name: str
    path: Path
    format: str
    split: str
    frames: int
    size: tuple[int, int]
    poses: int
    """Frames with a pose."""
    depth: int
    """Frames with depth."""
    imu: int
    """Inertial samples."""
    unreadable: tuple[str, ...]
    notes: tuple[str, ...]
    assumed: tuple[str, ...]
    """Conventions the source does not state, as camera.yaml keeps them."""


def prepare(
    options: PrepareOptions,
    watcher: Watcher = SILENT,
    *,
    find_poses: Callable[[Path], None] | None = None,
) -> list[Prepared]:
    """Write the chosen sequences of a source as sequence folders of a data set.

    Args:
        options: what to read and how to store it.
        watcher: receives progress and notes.
        find_poses: as in `convert`; the source's own poses are left out then.

    Raises:
        DataError: nothing to read, no calibration, an output that exists; nothing half-written.
    """
    format_name, places = find_sequences(options.source, options.format)
    if options.sequence is not None and options.sequence not in places:
        places |= other_sequences(options.source, format_name)
    chosen = choose(places, format_name, options)
    _check_output(options)
    plans = [_plan(options, format_name, place, name) for name, place in chosen.items()]
    finished = _finished(plans, force=options.force)
    is_new = not options.out.exists()
    try:
        return [
            _convert(plan, options, watcher, find_poses, finished=plan.path in finished)
            for plan in plans
        ]
    except DataError:
        if is_new:
            with suppress(OSError):  # not empty: an earlier sequence of this run is in it
                options.out.rmdir()
        raise


def choose(places: dict[str, Path], format_name: str, options: PrepareOptions) -> dict[str, Path]:
    """Return the sequences to prepare under the names they will get.

    --sequence picks one of several; a folder or video that is one sequence by itself takes it as
    its name. --name names the output of the one that is picked.
    """
    wanted, name = options.sequence, options.name
    if wanted is not None and format_name == "bag":
        wanted = sequence_name(wanted)
    if wanted is not None and wanted in places:
        places = {wanted: places[wanted]}
    elif wanted is not None and len(places) == 1 and format_name in NAMED_BY_USER:
        places = {wanted: next(iter(places.values()))}
    elif wanted is not None:
        raise DataError(f"{options.source}: no sequence {wanted!r}; it holds {', '.join(places)}")
    if name is not None and len(places) > 1:
        raise DataError(
            f"{options.source}: --name needs one sequence, this holds {', '.join(places)}; "
            "pick one with --sequence"
        )
    places = places if name is None else {name: next(iter(places.values()))}
    for output in places:
        if not output or output[0] == "." or "/" in output or output == "split.yaml":
            raise DataError(f"{output!r} cannot name a sequence; choose one with --name")
    return places


def add_to_split(out: Path, name: str, part: str) -> None:
    """Put a sequence into one part of split.yaml and out of the others; one process at a time."""
    with _locked(out):
        split = {key: [n for n in names if n != name] for key, names in read_split(out).items()}
        split[part].append(name)
        write_split(out, **split)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, which is gone with the process that holds it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _check_output(options: PrepareOptions) -> None:
    """Refuse early what would fail late."""
    if options.split not in SPLITS:
        raise DataError(f"split must be one of {', '.join(SPLITS)}, got {options.split!r}")
    if (options.out / "camera.yaml").exists():
        raise DataError(
            f"{options.out}: is a sequence; --out is the data set folder that sequences go into"
        )
    if options.out.exists() and not options.out.is_dir():
        raise DataError(f"{options.out}: is a file; --out is the data set folder")
    read_split(options.out)


def _plan(options: PrepareOptions, format_name: str, place: Path, name: str) -> Conversion:
    """Load a source and decide everything about its output."""
    about = ImportOptions(
        root=options.source,
        camera=options.camera,
        fov=options.fov,
        fps=options.fps,
        max_gap=options.max_gap,
        poses=options.poses,
        odometry_topic=options.odometry_topic,
        bits=options.bits,
        levels=Levels(*options.levels) if options.levels else None,
        time_unit=options.time_unit,
        quaternion=options.quaternion,
        depth_scale=options.depth_scale,
        body_to_camera=options.body_to_camera,
        imu=options.imu,
        imu_to_camera=options.imu_to_camera,
        imu_units=options.imu_units,
        imu_topic=options.imu_topic,
        start=options.start,
        stop=options.stop,
        every=options.every,
    )
    source = select(load_source(format_name, place, name, about), about)
    source = with_doubts(source, about, bayer=options.bayer)
    source = replace(source, poses=None) if options.motion else source
    if not (np.diff(source.times) > 0).all():
        i = int(np.argmin(np.diff(source.times) > 0))
        before, after = source.times[i : i + 2]
        raise DataError(
            f"{name}: frame {i + 1} is not later than frame {i} ({after:.6f} s after "
            f"{before:.6f} s: rounded, or not in order?); give --fps to number them"
        )
    cut = cut_of_source(source, options.crop)
    source = replace(
        source,
        camera=crop_camera(source.camera, cut.window),
        assumed=(*source.assumed, *cut.words),
    )
    geometry = build_geometry(source.camera, options.size, options.fit)
    source = replace(source, notes=(*source.notes, *_say_stretched(geometry)))
    return Conversion(
        source=source,
        geometry=geometry if cut.mask is None else with_mask(geometry, cut.mask),
        crop=cut.window,
        path=options.out / name,
        ext=options.ext,
        bayer=options.bayer,
        settings=(
            ("start", options.start),
            ("stop", options.stop),
            ("every", options.every),
            ("fit", options.fit),
            ("max_gap", options.max_gap),
            *((("motion", options.motion),) if options.motion else ()),
            *((("crop", list(cut.window)),) if cut.window else ()),
        ),
    )


def _say_stretched(geometry: FrameGeometry) -> tuple[str, ...]:
    """Say that --size changes the shape of the frames, which makes pixels oblong."""
    source, camera = geometry.source.camera, geometry.camera
    ratio = (camera.fx / camera.fy) / (source.fx / source.fy)
    if abs(ratio - 1) < STRETCHED:
        return ()
    return (
        f"frames of {source.width}x{source.height} are stretched to "
        f"{camera.width}x{camera.height}: fx and fy differ by {abs(ratio - 1):.0%} more (--fit "
        "crop keeps the shape of pixels)",
    )


def _finished(plans: list[Conversion], *, force: bool) -> set[Path]:
    """Return the outputs an earlier run, stopped before its last sequence, has finished.

    Raises:
        DataError: there is nothing left to do, or an output that exists is of other settings.
    """
    existing = [plan for plan in plans if plan.path.exists()]
    if force or not existing:
        return set()
    same = {plan.path for plan in existing if stored_fingerprint(plan.path) == fingerprint(plan)}
    for plan in existing:
        if len(existing) == len(plans) or plan.path not in same:
            check_free(plan.path, force=False)
    return same


def _convert(
    plan: Conversion,
    options: PrepareOptions,
    watcher: Watcher,
    find_poses: Callable[[Path], None] | None,
    *,
    finished: bool,
) -> Prepared:
    """Write one sequence and enter it in split.yaml, or report the one that is there."""
    source = plan.source
    for text in (*source.notes, *source.all_assumed):
        watcher.note(f"{plan.path.name}: {text}")
    skipped: dict[int, str] = {}
    if finished:
        watcher.note(f"{plan.path.name}: finished by an earlier run, kept")
    else:
        watcher.begin(plan.path.name, len(source.frames))
        skipped = convert(
            plan,
            workers=options.workers,
            force=options.force,
            advance=watcher.advance,
            find_poses=find_poses,
        )
    add_to_split(options.out, plan.path.name, options.split)
    return _report(plan, options.split, skipped)


def _report(plan: Conversion, split: str, skipped: dict[int, str]) -> Prepared:
    source = plan.source
    kept = [i for i in range(len(source.frames)) if i not in skipped]
    depths = () if source.depth is None else source.depth.paths
    return Prepared(
        name=plan.path.name,
        path=plan.path,
        format=source.format,
        split=split,
        frames=len(kept),
        size=plan.geometry.camera.size,
        poses=_count_poses(plan, kept),
        depth=sum(1 for i in kept if depths and depths[i] is not None),
        imu=0 if source.imu is None else len(source.imu),
        unreadable=tuple(skipped.values()),
        notes=source.notes,
        assumed=source.all_assumed,
    )


def _count_poses(plan: Conversion, kept: list[int]) -> int:
    """Count the frames with a pose: those of the source, or those found in the frames."""
    poses = plan.source.poses
    if "motion" in dict(plan.settings):
        poses, kept = open_sequence(plan.path).poses, list(range(len(kept)))
    return 0 if poses is None else int(np.isfinite(poses[kept]).all(axis=(1, 2)).sum())
