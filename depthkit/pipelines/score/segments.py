# SPDX-License-Identifier: Apache-2.0
"""The segments of one run of an odometry: its files, and one figure for all of them.

Segments share neither a world nor, without metres, a scale: each is aligned on its own.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depthkit.errors import DataError
from depthkit.evaluation.odometry import OdometryScore
from depthkit.pipelines.output_folder import SUMMARY

RIGID = ("none", "6dof")
"""Alignments that leave the scale as it is."""


@dataclass(frozen=True)
class Together:
    """Several segments of one run, each aligned on its own, in one figure."""

    segments: int
    """Those that were scored."""
    poses: int
    """Poses scored."""
    coverage: float
    """Share of the reference that they cover together."""
    ate_m: float
    """Root mean square distance over all of their poses, metres."""


def put_together(scores: Sequence[OdometryScore]) -> Together:
    """Sum up segments of one run that were aligned one by one.

    Args:
        scores: of one or more segments, against one reference.
    """
    poses = [len(score.stamps) for score in scores]
    squares = sum(count * score.ate_m**2 for count, score in zip(poses, scores, strict=True))
    return Together(
        segments=len(scores),
        poses=sum(poses),
        coverage=sum(score.coverage for score in scores),
        ate_m=float(np.sqrt(squares / sum(poses))),
    )


def runs_of(
    names: Mapping[str, Path], align: str
) -> tuple[dict[str, dict[str, Path]], tuple[str, ...]]:
    """Return the files of each estimate by name: one, or the segments in an odometry's folder.

    Args:
        names: file or folder of each estimate.
        align: a key of `ALIGNMENTS`; where it leaves the scale alone, relative segments beside
            metric ones are left out.

    Returns:
        runs: name of the estimate -> name of the segment -> file.
        left_out: a line for each relative segment that is left out.
    """
    runs, left_out = dict[str, dict[str, Path]](), list[str]()
    for name, path in names.items():
        files = live_trajectories(path) if path.is_dir() else [path]
        if len(files) == 1:
            runs[name] = {name: files[0]}
            continue
        run = {f"{name} segment {number}": file for number, file in enumerate(files)}
        relative = _relative(path, list(run)) if align in RIGID else ()
        runs[name] = {one: file for one, file in run.items() if one not in relative}
        left_out += [
            f"{one}: relative, left out by align {align!r}, which fits no scale; it lowers the "
            "coverage"
            for one in relative
        ]
    return runs, tuple(left_out)


def live_trajectories(folder: Path) -> list[Path]:
    """Return the live trajectories in an output folder of `odometry` or `infer`, in order.

    Raises:
        DataError: there is none.
    """
    for kind in ("tum", "kitti"):
        first = folder / f"trajectory_{kind}.txt"
        if not first.is_file():
            continue
        found = [
            (re.fullmatch(rf"trajectory_{kind}_(\d+)\.txt", p.name), p) for p in folder.iterdir()
        ]
        numbered = {int(match[1]): path for match, path in found if match}
        return [first, *(numbered[number] for number in sorted(numbered))]
    raise DataError(
        f"{folder}: is a folder without trajectory_tum.txt or trajectory_kitti.txt; give the file"
    )


def _relative(folder: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Return the segments that are relative where others are metres, by the folder's summary."""
    try:
        found = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))["segments"]
        units = [str(one["unit"]) for one in found]
    except (OSError, ValueError, KeyError, TypeError):
        return ()  # `infer` counts its segments only; nothing is known of their units
    if len(units) != len(names) or set(units) == {"relative"}:
        return ()
    return tuple(name for name, unit in zip(names, units, strict=True) if unit == "relative")
