# SPDX-License-Identifier: Apache-2.0
"""What `evaluate places` returns, and its tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depthkit.evaluation.places import PlaceScore
from depthkit.pipelines.score.report import Cell

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
