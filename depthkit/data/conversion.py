# SPDX-License-Identifier: Apache-2.0
"""One sequence from its source to its folder: parallel, and restartable after a kill.

Frames grow in a hidden folder `.<name>.partial` that carries a fingerprint of source and settings.
A later run with the same fingerprint keeps what is there; any other starts over. A known error
removes the folder.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from depthkit.data.folder import (
    make_folder,
    publish,
    read_settings,
    sequence_header,
    write_tables,
)
from depthkit.data.frame_conversion import Conversion, convert_frame
from depthkit.data.image_io import encode, write_atomic
from depthkit.data.poses_note import PosesNote, save_poses_note
from depthkit.errors import DataError, DepthkitError
from depthkit.trajectory import Imu, save_imu

QUEUE_PER_WORKER = 4


def convert(
    plan: Conversion,
    *,
    workers: int,
    force: bool,
    advance: Callable[[int], None],
    find_poses: Callable[[Path], None] | None = None,
) -> dict[int, str]:
    """Write the sequence folder of a plan.

    Args:
        plan: what to write and where.
        workers: threads (OpenCV works outside Python's lock).
        force: replace an existing folder.
        advance: called with the number of frames finished since the last call.
        find_poses: writes poses.txt and poses.yaml of the folder it is given, whose frames and
            tables are complete; None where poses are those of the source.

    Returns:
        A message for each frame, by its index, that could not be read and was left out.

    Raises:
        DataError: too many unreadable frames, frames of another size, full disk; nothing is left.
    """
    try:
        todo = _resume(plan)
        advance(len(plan.source.frames) - len(todo))
        _run(plan, todo, workers, advance)
        skipped = _check_skipped(plan)
        _finish(plan, skipped, find_poses)
        publish(plan.partial, plan.path, force=force)
    except DepthkitError:
        shutil.rmtree(plan.partial, ignore_errors=True)
        raise
    return skipped


def fingerprint(plan: Conversion) -> str:
    """Hash what decides the output: source files with their sizes and dates, camera, settings."""
    source, camera = plan.source, plan.geometry.camera
    depths = () if source.depth is None else (p for p in source.depth.paths if p is not None)
    record = {
        "files": [_stat(path) for path in dict.fromkeys(f.path for f in source.frames)],
        "depths": [_stat(path) for path in depths],
        "indices": [frame.index for frame in source.frames],
        "times": source.times.tolist(),
        "poses": None if source.poses is None else source.poses.tolist(),
        "imu": _imu_mark(source.imu),
        "header": _header(plan),
        "camera": [str(camera), plan.geometry.window],
        "bayer": plan.bayer,
        "ext": plan.ext,
    }
    return hashlib.sha256(json.dumps(record, sort_keys=True, default=str).encode()).hexdigest()


def stored_fingerprint(path: Path) -> str | None:
    """Return the fingerprint a finished sequence folder was made with."""
    file = path / "camera.yaml"
    source = read_settings(file).get("source") if file.is_file() else None
    return source.get("fingerprint") if isinstance(source, dict) else None


# --- the stages ----------------------------------------------------------------------------------


def _resume(plan: Conversion) -> list[int]:
    """Open the partial folder, emptied unless it is of the same plan; return the frames to do."""
    mark, wanted = plan.partial / "fingerprint", fingerprint(plan)
    known = mark.read_text(encoding="utf-8") if mark.is_file() else None
    if known != wanted:
        shutil.rmtree(plan.partial, ignore_errors=True)
    for name in ("frames", "skipped", *(["depth"] if plan.source.depth else [])):
        make_folder(plan.partial / name)
        for leftover in (plan.partial / name).glob(".*"):  # half-written when a run was killed
            leftover.unlink()
    write_atomic(mark, wanted)
    count = len(plan.source.frames)
    done = (plan.frame_path(i).exists() or plan.skip_path(i).exists() for i in range(count))
    return [i for i, is_done in enumerate(done) if not is_done]


def _run(plan: Conversion, todo: list[int], workers: int, advance: Callable[[int], None]) -> None:
    """Convert frames on threads, a few a worker in flight so that memory stays bounded."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    pool = ThreadPoolExecutor(workers)
    pending: set[Future[None]] = set()
    try:
        for i, image in _decode(plan, todo):
            pending.add(pool.submit(convert_frame, plan, i, image))
            if len(pending) >= QUEUE_PER_WORKER * workers:
                pending = _collect(pending, advance)
        while pending:
            pending = _collect(pending, advance)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        cv2.setNumThreads(threads)


def _collect(pending: "set[Future[None]]", advance: Callable[[int], None]) -> "set[Future[None]]":
    """Wait for at least one frame, pass on its error, return those still in flight."""
    done, rest = wait(pending, return_when=FIRST_COMPLETED)
    for future in done:
        future.result()
    advance(len(done))
    return rest


def _decode(plan: Conversion, todo: list[int]) -> Iterator[tuple[int, np.ndarray | str | None]]:
    """Yield frames to convert; those of a video or bag decoded here, in order, as it must be."""
    frames, read = plan.source.frames, plan.source.read
    if not todo or read is None:
        yield from ((i, None) for i in todo)
        return
    numbers = {index: i for i in todo if (index := frames[i].index) is not None}
    for index, image in read(numbers.keys()):
        yield numbers[index], image


def _check_skipped(plan: Conversion) -> dict[int, str]:
    files = sorted((plan.partial / "skipped").iterdir())
    return {int(p.name): p.read_text(encoding="utf-8") for p in files if p.name.isdigit()}


def _finish(
    plan: Conversion, skipped: dict[int, str], find_poses: Callable[[Path], None] | None
) -> None:
    """Close the gaps of skipped frames, write the tables, remove what only a restart needs."""
    kept = [i for i in range(len(plan.source.frames)) if i not in skipped]
    if not kept:
        raise DataError(f"{plan.source.name}: no frame could be read")
    for name in ("frames", *(["depth"] if plan.source.depth else [])):
        _renumber(plan.partial / name, kept)
    poses = None if plan.source.poses is None else plan.source.poses[kept]
    header = _header(plan)
    header["source"] |= {"unreadable": list(skipped.values()), "fingerprint": fingerprint(plan)}
    write_tables(plan.partial, header, plan.source.times[kept], poses)
    _note_poses(plan, poses)
    if plan.source.imu is not None:
        save_imu(plan.partial, plan.source.imu)
    if plan.geometry.valid is not None:
        mask = plan.geometry.valid.astype(np.uint8) * 255
        write_atomic(plan.partial / "valid.png", encode(mask, "png"))
    if find_poses is not None:
        find_poses(plan.partial)
    shutil.rmtree(plan.partial / "skipped", ignore_errors=True)
    (plan.partial / "fingerprint").unlink()


def _note_poses(plan: Conversion, poses: np.ndarray | None) -> None:
    """Say in poses.yaml that the poses were given, and in which unit. (N, 4, 4)"""
    known = np.zeros(0) if poses is None else np.isfinite(poses).all(axis=(1, 2))
    if known.any():
        first, last = (int(i) for i in np.flatnonzero(known)[[0, -1]])
        unit: Literal["metric", "up_to_scale"] = "metric" if plan.source.metric else "up_to_scale"
        save_poses_note(plan.partial, PosesNote("given", unit, ((first, last),)))


def _renumber(folder: Path, kept: list[int]) -> None:
    """Name files 0, 1, 2 ... through a new folder: a kill in between only costs some again."""
    if kept == list(range(len(kept))):
        return
    fresh = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    make_folder(fresh)
    ext = next(p.suffix for p in folder.iterdir() if p.name[0] != ".")
    for new, old in enumerate(kept):
        os.replace(folder / f"{old:06d}{ext}", fresh / f"{new:06d}{ext}")
    shutil.rmtree(folder)
    fresh.rename(folder)


def _header(plan: Conversion) -> dict[str, Any]:
    """Return camera.yaml: the stored camera, and where the frames came from."""
    source = plan.source
    origin = {
        "format": source.format,
        "name": source.name,
        **source.origin,
        **dict(plan.settings),
        "camera": source.camera.to_record(),
        "assumed": list(source.all_assumed),
    }
    scale, kind = (source.depth.scale, source.depth.kind) if source.depth else (1000.0, "none")
    kind = kind if source.metric else "up_to_scale"
    return sequence_header(plan.geometry.camera, kind, scale, origin)


def _imu_mark(imu: Imu | None) -> list[str]:
    """Return what changes when samples, mounting or noise do."""
    if imu is None:
        return []
    samples = hashlib.sha256(np.ascontiguousarray(imu.rows).tobytes()).hexdigest()
    mounting = None if imu.T_cam_imu is None else imu.T_cam_imu.tolist()
    return [samples, str(mounting), str(imu.noise)]


def _stat(path: Path) -> tuple[str, int, int]:
    """Return what changes when a file does; a missing one is reported when it is read."""
    try:
        status = path.stat()
    except OSError:
        return os.path.abspath(path), -1, -1
    return os.path.abspath(path), status.st_size, status.st_mtime_ns
