# SPDX-License-Identifier: Apache-2.0
"""Look through prepared sequences: one record with the findings of each, and which failed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depthkit.data.inspect import (
    DensityFigures,
    GapFigures,
    ImuFigures,
    Inspection,
    PoseFigures,
    inspect_sequence,
    save_inspection,
    to_dict,
)
from depthkit.data.sequence import Dataset, open_dataset, open_sequence
from depthkit.errors import DataError
from depthkit.pipelines.checks import check_at_least
from depthkit.watcher import SILENT, Watcher

__all__ = [
    "DensityFigures",
    "GapFigures",
    "ImuFigures",
    "InspectOptions",
    "InspectSummary",
    "Inspection",
    "PoseFigures",
    "inspect",
]


@dataclass(frozen=True)
class InspectOptions:
    """One run of `inspect`."""

    folder: Path
    """Sequence folder, or a data set."""
    sequence: str | None = None
    """Only this sequence of the data set."""
    max_frames: int | None = None
    """Look one by one at the first frames of a sequence only; None for all."""
    save: bool = False
    """Write inspect.json into each sequence folder, replacing the last one."""
    workers: int = 1
    """Processes for a data set; more than one needs a `__main__` guard in a script."""

    def __post_init__(self) -> None:
        check_at_least(2, max_frames=self.max_frames)
        check_at_least(1, workers=self.workers)


@dataclass(frozen=True)
class InspectSummary:
    """Findings of all sequences."""

    sequences: dict[str, Inspection]
    """Name -> findings."""
    errors: dict[str, str]
    """Name -> why the sequence cannot be inspected."""
    seconds: float
    """Wall time."""

    @property
    def can_teach(self) -> bool:
        """Whether one of the sequences can teach depth."""
        return any(one.can_teach for one in self.sequences.values())

    @property
    def frames_per_second(self) -> float:
        """Frames looked at in a second."""
        return sum(one.checked for one in self.sequences.values()) / self.seconds

    def as_json(self) -> dict[str, Any]:
        """Return the object that the command line prints."""
        return {
            "sequences": {name: to_dict(one) for name, one in self.sequences.items()},
            "errors": self.errors,
            "can_teach": self.can_teach,
            "frames_per_second": round(self.frames_per_second, 1),
        }


def inspect(options: InspectOptions, watcher: Watcher = SILENT) -> InspectSummary:
    """Inspect one sequence, or all of a data set.

    Args:
        options: which sequences, and how many frames of each.
        watcher: receives progress.

    Raises:
        DataError: no such folder or sequence. A sequence that fails alone is in `errors`.
    """
    folders = _folders(open_dataset(options.folder), options.sequence)
    started = time.perf_counter()
    found: dict[str, Inspection] = {}
    errors: dict[str, str] = {}
    for name, outcome in _outcomes(folders, options, watcher):
        if isinstance(outcome, str):
            errors[name] = outcome
            continue
        found[name] = outcome
        if options.save:
            save_inspection(outcome, folders[name])
    ordered = {name: found[name] for name in folders if name in found}
    return InspectSummary(ordered, errors, time.perf_counter() - started)


def _folders(dataset: Dataset, wanted: str | None) -> dict[str, Path]:
    """Name -> folder of the sequences to look at; they are opened later, each in its process."""
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
    folders: dict[str, Path], options: InspectOptions, watcher: Watcher
) -> Iterator[tuple[str, Inspection | str]]:
    """Yield the findings, or the error line, of each sequence as it is done."""
    if len(folders) == 1:
        ((name, folder),) = folders.items()
        yield name, _inspect_watched(name, folder, options, watcher)
    elif options.workers == 1:
        for name, folder in watcher.track(folders.items(), "sequences", len(folders)):
            yield name, _inspect_or_error(folder, options.max_frames)
    else:
        yield from _in_processes(folders, options, watcher)


def _inspect_watched(
    name: str, folder: Path, options: InspectOptions, watcher: Watcher
) -> Inspection:
    """Inspect the only sequence, frame after frame under the watcher."""
    sequence = open_sequence(folder)
    watcher.begin(name, min(len(sequence), options.max_frames or len(sequence)))
    return inspect_sequence(
        sequence, max_frames=options.max_frames, tick=lambda: watcher.advance(1)
    )


def _in_processes(
    folders: dict[str, Path], options: InspectOptions, watcher: Watcher
) -> Iterator[tuple[str, Inspection | str]]:
    """Several processes; spawned, because a fork of OpenCV's threads can hang."""
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from multiprocessing import get_context

    workers = min(len(folders), options.workers)
    watcher.begin("sequences", len(folders))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = {
            pool.submit(_inspect_alone, folder, options.max_frames): name
            for name, folder in folders.items()
        }
        for job in as_completed(jobs):
            watcher.advance(1)
            yield jobs[job], job.result()


def _inspect_alone(folder: Path, max_frames: int | None) -> Inspection | str:
    import cv2

    cv2.setNumThreads(1)
    return _inspect_or_error(folder, max_frames)


def _inspect_or_error(folder: Path, max_frames: int | None) -> Inspection | str:
    try:
        return inspect_sequence(open_sequence(folder), max_frames=max_frames)
    except DataError as error:
        return str(error)
