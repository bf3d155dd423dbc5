# SPDX-License-Identifier: Apache-2.0
"""Scores of features and matchers beside SIFT and ORB, a table a scene."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from depthkit.data.homography_pairs import HomographyPair, find_homography_pairs
from depthkit.data.image_io import read_rgb
from depthkit.errors import DataError
from depthkit.evaluation.report import Cell
from depthkit.pipelines.score.degradations import DEGRADATIONS, WARPS
from depthkit.pipelines.score.frames import open_sequences
from depthkit.pipelines.score.matching_methods import open_methods
from depthkit.pipelines.score.matching_options import MatchingOptions
from depthkit.pipelines.score.matching_pairs import (
    Case,
    PairRow,
    degraded_cases,
    homography_cases,
    posed_cases,
    posed_pairs,
    score_cases,
)
from depthkit.pipelines.score.matching_tables import MEAN, Group, group_rows, table_of
from depthkit.watcher import SILENT, Watcher

Kind = Literal["homography", "degraded", "pose"]


@dataclass(frozen=True)
class MatchingEvaluation:
    """Scores of every method on every picture pair."""

    data: str
    kind: Kind
    """Known homographies, degraded copies of pictures, or frames with poses."""
    text: str
    """What is compared, in words."""
    groups: tuple[Group, ...]
    """Means of each method in each scene, then over all pairs."""
    rows: tuple[PairRow, ...]
    """Every method on every pair."""
    settings: dict[str, Any]
    """Options that change the figures."""
    notes: tuple[str, ...] = ()
    """What the figures alone would hide."""

    @property
    def table(self) -> tuple[tuple[Cell, ...], ...]:
        """Rows of the table, its header first."""
        return table_of(self.groups)

    def mean(self, method: str) -> Group:
        """Return the figures of a method over all pairs.

        Raises:
            DataError: no such method.
        """
        for group in self.groups:
            if group.scene == MEAN and group.method == method:
                return group
        names = ", ".join(dict.fromkeys(group.method for group in self.groups))
        raise DataError(f"no method {method!r} was scored; there are {names}")

    def as_json(self) -> dict[str, Any]:
        """Return the figures of the command line's contract."""
        return {
            "kind": self.kind,
            "data": self.data,
            "settings": self.settings,
            "means": [group.as_json() for group in self.groups],
            "pairs": [row.as_json() for row in self.rows],
            "notes": list(self.notes),
        }


def evaluate_matching(options: MatchingOptions, watcher: Watcher = SILENT) -> MatchingEvaluation:
    """Score SIFT, ORB and the models on pictures whose relation is known.

    Args:
        options: the data, the models, the matcher.
        watcher: receives progress, and notes that the user should read.

    Raises:
        DataError: no such data, or a truth that is missing.
        CheckpointError: no such model, or weights that are not the matcher's.
        EngineError: a model of another kind, or one without a score.
    """
    work = _plan(options)
    with open_methods(options, note=watcher.note) as methods:
        scored = watcher.track(score_cases(methods, work.cases), "evaluate", work.count)
        rows = tuple(row for case in scored for row in case)
    looks = "" if options.looks == "upright" else f"; second pictures also {options.looks}"
    return MatchingEvaluation(
        data=str(options.data),
        kind=work.kind,
        text=f"{work.text}; {_METHODS.format(count=options.count)}{looks}",
        groups=group_rows(rows),
        rows=rows,
        settings=_settings(options, work.kind),
        notes=tuple(_notes(rows)),
    )


@dataclass(frozen=True)
class _Work:
    """What is to be scored."""

    kind: Kind
    cases: Iterator[Case]
    count: int
    text: str


_METHODS = (
    "sift: RootSIFT at full size, ratio 0.8; at most {count} features of every method; ms: "
    "processor time on one thread, of a picture's features and of matching a pair"
)
_HOMOGRAPHY = (
    "rep: features found again within 3 px, of those visible in both; share: matches over the "
    "features visible in both; mma: share of the matches within 1, 3, 5 px; H: share of the pairs "
    "whose homography ({robust}, 3 px) moves the corners by less than 1, 3, 5 px on average; "
    "found: pairs with any homography"
)
_POSE = (
    "error: larger of rotation and direction of translation, degrees (essential matrix by "
    "{robust}, 1 px); auc: area under the share of pairs up to 5, 10, 20 degrees, in per cent; "
    "found: pairs with any pose"
)


def _plan(options: MatchingOptions) -> _Work:
    """Find out what the data are."""
    is_sequence = any((options.data / name).exists() for name in ("camera.yaml", "split.yaml"))
    text = _POSE if is_sequence and not options.degrade else _HOMOGRAPHY
    text = text.format(robust=options.robust)
    if options.degrade:
        pictures = _frames(options) if is_sequence else _first_pictures(options.data)
        count = len(pictures) * len(DEGRADATIONS) * WARPS
        return _Work("degraded", degraded_cases(pictures, options.robust), count, text)
    if is_sequence:
        pairs = posed_pairs(open_sequences([options.data]), options.gap, options.pairs)
        return _Work("pose", posed_cases(pairs, options.robust), len(pairs), text)
    found = find_homography_pairs(options.data)
    return _Work("homography", homography_cases(found, options.robust), len(found), text)


def _first_pictures(data: Path) -> list[tuple[str, np.ndarray]]:
    """Read the first picture of each scene."""
    scenes: dict[str, HomographyPair] = {}
    for pair in find_homography_pairs(data):
        scenes.setdefault(pair.scene, pair)
    return [(scene, read_rgb(pair.first)) for scene, pair in scenes.items()]


def _frames(options: MatchingOptions) -> list[tuple[str, np.ndarray]]:
    """Read frames evenly along the sequences."""
    chosen = []
    for sequence in open_sequences([options.data]):
        count = min(options.pairs, len(sequence))
        for i in np.linspace(0, len(sequence) - 1, count).round().astype(int).tolist():
            chosen.append((f"{sequence.name} {i}", sequence.read_frame(i)))
    return chosen


def _settings(options: MatchingOptions, kind: Kind) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "matcher": options.matcher,
        "count": options.count,
        "robust": options.robust,
        "looks": options.looks,
    }
    if kind == "pose":
        settings |= {"gap": list(options.gap), "pairs": options.pairs}
    return settings


def _notes(rows: tuple[PairRow, ...]) -> list[str]:
    """Name the methods that found nothing to match in some pictures."""
    notes = []
    for method in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if row.method == method]
        empty = sum(row.score.matches == 0 for row in own)
        if empty:
            notes.append(f"{method}: no match in {empty} of {len(own)} pairs; they count as failed")
    return notes
