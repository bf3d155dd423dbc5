# SPDX-License-Identifier: Apache-2.0
"""`depthkit inspect`: look through prepared sequences before training time is spent on them."""

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from depthkit.data.inspect import Inspection
    from depthkit.data.sequence import Dataset

EPILOG = """\
Reports for each sequence whether it can teach depth and with which shifts, the parallax and
rotation at several frame gaps, unreadable, dark, blown-out, duplicate, static and rotation-only
frames, brightness jumps, cuts, and whether K and known poses fit the frames. Parallax is given in
pixels of the frames and of an image with 128 lines, the size it is judged at."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("folder", metavar="DIR", type=Path, help="a sequence folder or a data set")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--sequence", metavar="NAME", help="of the data set, only this one")
    parser.add_argument(
        "--max-frames",
        metavar="N",
        type=_count,
        help="look one by one at the first N frames of a sequence only (default: all)",
    )
    parser.add_argument(
        "--save",
        action="store_true",
        help="write inspect.json into each sequence folder, replacing the last one",
    )


def run(args: argparse.Namespace) -> None:
    """Inspect and report.

    Raises:
        DataError: nothing to inspect, or some sequences cannot be opened (the rest is reported).
    """
    from depthkit.data.inspect import save_inspection
    from depthkit.data.sequence import open_dataset
    from depthkit.errors import DataError

    folders = _folders(open_dataset(args.folder), args.sequence)
    started = time.perf_counter()
    found: dict[str, Inspection] = {}
    errors: dict[str, str] = {}
    for name, outcome in _outcomes(folders, args.max_frames):
        if isinstance(outcome, str):
            errors[name] = outcome
            continue
        found[name] = outcome
        if args.save:
            save_inspection(outcome, folders[name])
    seconds = time.perf_counter() - started
    ordered = [found[name] for name in folders if name in found]
    _print(ordered, errors, seconds, as_json=args.json)
    if errors:
        first = next(iter(errors.values()))
        raise DataError(f"{len(errors)} of {len(folders)} sequences cannot be inspected: {first}")


def _count(text: str) -> int:
    value = int(text)
    if value < 2:
        raise argparse.ArgumentTypeError(f"expected at least 2 frames, got {value}")
    return value


def _folders(dataset: "Dataset", wanted: str | None) -> dict[str, Path]:
    """Name -> folder of the sequences to look at; they are opened later, each in its process."""
    from depthkit.errors import DataError

    names = list(dict.fromkeys(dataset.train + dataset.val + dataset.test))
    if wanted is not None and wanted not in names:
        raise DataError(f"{dataset.root}: no sequence {wanted!r}; it holds {', '.join(names)}")
    alone = (dataset.root / "camera.yaml").exists()
    return {
        name: dataset.root if alone else dataset.root / name
        for name in names
        if wanted in (None, name)
    }


def _outcomes(
    folders: dict[str, Path], max_frames: int | None
) -> Iterator[tuple[str, "Inspection | str"]]:
    """Yield the findings, or the error line, of each sequence as it is done."""
    with _progress() as progress:
        if len(folders) == 1:
            yield from _one(folders, max_frames, progress)
        else:
            yield from _many(folders, max_frames, progress)


def _one(
    folders: dict[str, Path], max_frames: int | None, progress: Any
) -> Iterator[tuple[str, "Inspection"]]:
    from depthkit.data.inspect import inspect_sequence
    from depthkit.data.sequence import open_sequence

    (name, folder), *_ = folders.items()
    seq = open_sequence(folder)
    task = progress.add_task(name, total=min(len(seq), max_frames or len(seq)))
    yield (
        name,
        inspect_sequence(seq, max_frames=max_frames, tick=lambda: progress.advance(task)),
    )


def _many(
    folders: dict[str, Path], max_frames: int | None, progress: Any
) -> Iterator[tuple[str, "Inspection | str"]]:
    """One process a core; spawned, because a fork of OpenCV's threads can hang."""
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from multiprocessing import get_context

    from depthkit.errors import DataError

    workers = min(len(folders), len(os.sched_getaffinity(0)))
    task = progress.add_task("sequences", total=len(folders))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = {pool.submit(_inspect, f, max_frames): name for name, f in folders.items()}
        for job in as_completed(jobs):
            progress.advance(task)
            try:
                yield jobs[job], job.result()
            except DataError as error:
                yield jobs[job], str(error)


def _inspect(folder: Path, max_frames: int | None) -> "Inspection":
    import cv2

    from depthkit.data.inspect import inspect_sequence
    from depthkit.data.sequence import open_sequence

    cv2.setNumThreads(1)
    return inspect_sequence(open_sequence(folder), max_frames=max_frames)


def _progress() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _print(
    found: list["Inspection"], errors: dict[str, str], seconds: float, *, as_json: bool
) -> None:
    from depthkit.cli.inspect_text import print_report
    from depthkit.data.inspect import to_dict

    frames = sum(inspection.checked for inspection in found)
    if not as_json:
        print_report(found, frames_per_second=frames / seconds)
        return
    print(
        json.dumps(
            {
                "sequences": {inspection.name: to_dict(inspection) for inspection in found},
                "errors": errors,
                "can_teach": any(inspection.can_teach for inspection in found),
                "frames_per_second": round(frames / seconds, 1),
            }
        )
    )
