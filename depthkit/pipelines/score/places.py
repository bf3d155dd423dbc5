# SPDX-License-Identifier: Apache-2.0
"""Scores of place recognition: models beside what they must beat, fused, and shortened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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
from depthkit.evaluation.places import score_places
from depthkit.pipelines.score.options import PlacesOptions
from depthkit.pipelines.score.places_data import PlaceData, View, load_places
from depthkit.pipelines.score.places_methods import Described, describe_all
from depthkit.pipelines.score.places_records import (
    BYTES_A_NUMBER,
    CompactRow,
    PlaceRow,
    PlacesEvaluation,
)
from depthkit.pipelines.score.places_report import write_places_report
from depthkit.pipelines.score.report import check_report
from depthkit.watcher import SILENT, Watcher

Case = tuple[str, int, float | None, np.ndarray]
"""Name of a method, numbers of its descriptor, milliseconds a picture, similarities (Q, D)."""


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
    return write_places_report(folder, result, data)


def _pictures_to_learn(folder: Path) -> tuple[View, ...]:
    pictures = tuple(list_images(folder)) if folder.is_dir() else ()
    if not pictures:
        raise DataError(f"{folder}: no folder of pictures; --fit learns axes of codes on one")
    return tuple(map(View, pictures))


def _score_all(found: list[Described], data: PlaceData, options: PlacesOptions) -> list[PlaceRow]:
    """Score each method, and the models as one; a given threshold is that of the last row."""
    cases: list[Case] = [
        (one.name, one.vectors.shape[1], one.milliseconds, similarity_of(one.vectors, data))
        for one in found
    ]
    models = found[len(found) - len(options.models) :]
    if options.fuse:
        cases.append(_fused(models, data, options.fuse))
    rows = []
    for number, (name, size, milliseconds, similarity) in enumerate(cases, 1):
        threshold = options.threshold if number == len(cases) else None
        score = score_places(similarity, data.truth, threshold=threshold)
        rows.append(PlaceRow(name, size, milliseconds, score, similarity))
    return rows


def similarity_of(vectors: np.ndarray, data: PlaceData) -> np.ndarray:
    """Return the similarity of the queries to the places. (N, K) -> (Q, D)"""
    return similarities(vectors[data.query], vectors[data.database])


def _fused(models: list[Described], data: PlaceData, how: str) -> Case:
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
    rows: list[CompactRow] = []
    notes: list[str] = []
    for one in found if sizes else ():
        try:
            axes = principal_axes(one.vectors[learnt])
        except DataError as error:
            notes.append(f"{one.name}: {error}")
            continue
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
        score_places(similarity_of(axes.apply(one.vectors, size, whiten=whiten), data), data.truth)
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
