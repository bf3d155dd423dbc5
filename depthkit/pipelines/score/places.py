# SPDX-License-Identifier: Apache-2.0
"""Scores of place recognition: models beside what they must beat, shorter codes, and the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depthkit.data.image_io import list_images
from depthkit.errors import DataError
from depthkit.evaluation.place_vectors import (
    Projection,
    concatenate,
    fuse_late,
    principal_axes,
    similarities,
)
from depthkit.evaluation.places import PlaceScore, score_places
from depthkit.pipelines.score.options import PlacesOptions
from depthkit.pipelines.score.places_data import PlaceData, load_places
from depthkit.pipelines.score.places_methods import Described, describe_all
from depthkit.pipelines.score.report import Cell, check_report
from depthkit.watcher import SILENT, Watcher

KEYFRAMES_AN_HOUR = 2 * 3600
"""Places of an hour's map at two keyframes a second."""
BYTES_A_NUMBER = 4
"""Bytes of a number of a descriptor, float32."""
METHOD = (
    "R@k: a right place among the k most similar; map@5: mean of 1 / rank of the first right "
    "place, 0 beyond rank 5; AP: area below precision and recall of the best matches; R@100%P: "
    "recall without a false match. Behind the threshold, on queries it was not chosen on: loops "
    "found of those there are, and the share of the queries with a false loop"
)
HEADER: tuple[Cell, ...] = (
    "",
    "numbers",
    "R@1",
    "R@5",
    "R@10",
    "map@5",
    "AP",
    "R@100%P",
    "threshold",
    "loops found",
    "false loops",
    "ms",
)


@dataclass(frozen=True)
class CompactRow:
    """Scores of one method with shorter codes."""

    method: str
    size: int
    """Numbers of a code."""
    bytes: int
    """Bytes a place."""
    recall_at_1: float
    map_at_5: float
    whitened_recall_at_1: float
    """With all axes of one deviation."""
    whitened_map_at_5: float


@dataclass(frozen=True, eq=False)
class PlaceRow:
    """Scores of one method."""

    method: str
    size: int
    """Numbers of a descriptor."""
    milliseconds: float | None
    """Median time to describe a picture; None for a fusion."""
    score: PlaceScore
    similarity: np.ndarray
    """Similarities of queries to places. (Q, D) float32"""

    def as_json(self) -> dict[str, Any]:
        """Return the figures of the command line's contract."""
        score, loops = self.score, self.score.loops
        figures: dict[str, Any] = {
            "method": self.method,
            "size": self.size,
            "bytes_a_place": BYTES_A_NUMBER * self.size,
            "bytes_an_hour": BYTES_A_NUMBER * self.size * KEYFRAMES_AN_HOUR,
            "ms_a_picture": self.milliseconds,
        }
        figures |= {f"recall_at_{k}": value for k, value in score.recall.items()}
        figures |= {
            "map_at_5": score.map_at_5,
            "average_precision": score.curve.average_precision,
            "recall_at_full_precision": score.curve.recall_at_full_precision,
            "threshold": loops and loops.threshold,
            "threshold_from": loops and ("given" if loops.given else "calibration"),
            "judged": loops and loops.queries,
            "loops": loops and loops.answerable,
            "loops_found": loops and loops.found,
            "false_loops": loops and loops.false,
            "false_loop_rate": loops and loops.false_rate,
        }
        return figures


@dataclass(frozen=True, eq=False)
class PlacesEvaluation:
    """Scores of methods on recordings of places."""

    data: str
    rule: str
    """What is right, in words."""
    queries: int
    """Number of queries."""
    answerable: int
    """Number of these with a right answer."""
    places: int
    """Number of places of the database."""
    rows: tuple[PlaceRow, ...]
    """One a method: trivial ones, models, their fusion."""
    compact: tuple[CompactRow, ...]
    """Shorter codes, where they were asked for."""
    notes: tuple[str, ...]
    """What the figures alone would hide."""
    page: Path | None = None
    """The HTML report, if one was written."""

    @property
    def coverage(self) -> float:
        """Share of the queries that have a right answer."""
        return self.answerable / self.queries

    def as_json(self) -> dict[str, Any]:
        """Return the figures of the command line's contract."""
        return {
            "data": self.data,
            "right": self.rule,
            "queries": self.queries,
            "answerable": self.answerable,
            "coverage": self.coverage,
            "places": self.places,
            "methods": [row.as_json() for row in self.rows],
            "compact": [vars(row) for row in self.compact],
            "notes": list(self.notes),
        }


def evaluate_places(options: PlacesOptions, watcher: Watcher = SILENT) -> PlacesEvaluation:
    """Describe pictures by each method, look for their places, and score the answers.

    Args:
        options: recordings, models, what counts as one place.
        watcher: receives progress, and notes that the user should read.

    Raises:
        DataError: no recording with a truth, or no query with a right answer.
        CheckpointError: there is no such model.
        EngineError: a model is of another kind, or does not run here.
    """
    folder = check_report(options.report, force=options.force)
    data = load_places(options.data, options.database, options.rules)
    count = len(data.pictures)
    extra = () if options.fit is None else _pictures_to_learn(options.fit)
    found = list(describe_all((*data.pictures, *extra), data.learn, options, watcher))
    rows = _score_all(found, data, options)
    learnt = np.arange(count, count + len(extra)) if extra else data.learn
    compact, notes = _compact(found, data, learnt, options.sizes)
    first = rows[0].score
    result = PlacesEvaluation(
        data=data.name,
        rule=data.rule,
        queries=first.queries,
        answerable=first.answerable,
        places=len(data.database),
        rows=tuple(rows),
        compact=tuple(compact),
        notes=(*data.notes, *_notes(rows), *notes),
    )
    if folder is None:
        return result
    from depthkit.pipelines.score.places_report import write_places_report

    return write_places_report(folder, result, data)


def _pictures_to_learn(folder: Path) -> tuple[Path, ...]:
    pictures = tuple(list_images(folder)) if folder.is_dir() else ()
    if not pictures:
        raise DataError(f"{folder}: no folder of pictures; --fit learns axes of codes on one")
    return pictures


def _score_all(
    found: list[Described], data: PlaceData, options: PlacesOptions
) -> list[PlaceRow]:
    """Score each method, and the models as one; a given threshold is that of the last row."""
    cases = [
        (one.name, one.vectors.shape[1], one.milliseconds, similarity_of(one.vectors, data))
        for one in found
    ]
    models = found[len(found) - len(options.models) :]
    if options.fuse:
        cases.append(_fused(models, data, options.fuse))
    rows = []
    for name, size, milliseconds, similarity in cases:
        threshold = options.threshold if name == cases[-1][0] else None
        score = score_places(similarity, data.truth, threshold=threshold)
        rows.append(PlaceRow(name, size, milliseconds, score, similarity))
    return rows


def similarity_of(vectors: np.ndarray, data: PlaceData) -> np.ndarray:
    """Return the similarity of the queries to the places. (N, K) -> (Q, D)"""
    return similarities(vectors[data.query], vectors[data.database])


def _fused(
    models: list[Described], data: PlaceData, how: str
) -> tuple[str, int, None, np.ndarray]:
    """Make one method of several models."""
    vectors = [one.vectors for one in models]
    size = sum(one.shape[1] for one in vectors)
    name = f"{' + '.join(one.name for one in models)} ({how})"
    if how == "concat":
        return name, size, None, similarity_of(concatenate(vectors), data)
    parts = [similarity_of(one, data) for one in vectors]
    return name, size, None, fuse_late(parts, [one[data.learn] for one in vectors])


def _compact(
    found: list[Described], data: PlaceData, learnt: np.ndarray, sizes: Sequence[int]
) -> tuple[list[CompactRow], list[str]]:
    """Score shorter codes of every method; say which sizes cannot be."""
    rows, notes = [], []
    for one in found if sizes else ():
        axes = principal_axes(one.vectors[learnt])
        fitting = [size for size in sorted(sizes, reverse=True) if size <= axes.rank]
        rows += [_compact_row(one, axes, data, size) for size in fitting]
        if len(fitting) < len(sizes):
            notes.append(
                f"{one.name}: {len(learnt)} pictures give {axes.rank} axes; longer codes are left "
                "out; learn them on more with --fit"
            )
    return rows, notes


def _compact_row(one: Described, axes: Projection, data: PlaceData, size: int) -> CompactRow:
    plain, white = (
        score_places(
            similarity_of(axes.apply(one.vectors, size, whiten=whiten), data), data.truth
        )
        for whiten in (False, True)
    )
    return CompactRow(
        method=one.name,
        size=size,
        bytes=BYTES_A_NUMBER * size,
        recall_at_1=plain.recall[1],
        map_at_5=plain.map_at_5,
        whitened_recall_at_1=white.recall[1],
        whitened_map_at_5=white.map_at_5,
    )


def _notes(rows: list[PlaceRow]) -> list[str]:
    """Say what the figures alone would hide."""
    notes = []
    score = rows[0].score
    if score.answerable < 30:
        notes.append(
            f"{score.answerable} queries with a right answer: a single one is "
            f"{100 / score.answerable:.1f} % of R@1"
        )
    if score.loops is None:
        notes.append("no threshold: the calibration holds no two different places")
    return notes


# --- tables --------------------------------------------------------------------------------------


def place_table(rows: Sequence[PlaceRow]) -> list[tuple[Cell, ...]]:
    """Return one row a method, header first."""
    return [HEADER, *(_table_row(row) for row in rows)]


def _table_row(row: PlaceRow) -> tuple[Cell, ...]:
    score, loops = row.score, row.score.loops
    return (
        row.method,
        row.size,
        *score.recall.values(),
        score.map_at_5,
        score.curve.average_precision,
        score.curve.recall_at_full_precision,
        None if loops is None else loops.threshold,
        None if loops is None else f"{loops.found} of {loops.answerable}",
        None if loops is None else f"{loops.false} of {loops.queries}",
        row.milliseconds,
    )


def compact_table(rows: Sequence[CompactRow]) -> list[tuple[Cell, ...]]:
    """Return one row a method and size, header first."""
    header = ("", "numbers", "bytes a place", "R@1", "map@5", "whitened R@1", "whitened map@5")
    return [header, *(tuple(vars(row).values()) for row in rows)]
