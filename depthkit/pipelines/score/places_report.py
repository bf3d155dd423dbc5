# SPDX-License-Identifier: Apache-2.0
"""The report of place recognition: tables, precision over recall, queries with best matches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from depthkit.evaluation.place_plots import Tile, plot_precision_recall, plot_strip
from depthkit.evaluation.places import first_right_ranks
from depthkit.evaluation.report import Picture, Section, write_report
from depthkit.pipelines.score.places_data import PlaceData
from depthkit.pipelines.score.places_records import (
    METHOD,
    PlaceRow,
    PlacesEvaluation,
    compact_table,
    place_table,
)

SHOWN = 4
"""Number of queries shown whose best match is right, and of those whose is not."""
MATCHES = 3
"""Number of best matches shown of a query."""


def write_places_report(folder: Path, found: PlacesEvaluation, data: PlaceData) -> PlacesEvaluation:
    """Write pictures and page; return the evaluation with the page in it.

    The strip is that of the last method: the fusion, else the last model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    curve = plot_precision_recall(
        folder / "precision_recall.png", [(row.method, row.score.curve) for row in found.rows]
    )
    text = (
        f"{found.queries} queries among {found.places} places, {found.answerable} "
        f"({100 * found.coverage:.1f} %) with a right answer; {found.rule}.\n\n{METHOD}."
    )
    table = place_table(found.rows)
    sections = [
        Section("Scores", text=text, rows=table, notes=found.notes),
        Section("Precision and recall", pictures=[Picture(curve, "Best matches, by similarity")]),
    ]
    if found.compact:
        sections.append(Section("Shorter codes", rows=compact_table(found.compact)))
    row = found.rows[-1]
    strip = plot_strip(folder / "matches.png", _strip(row, data))
    caption = f"{row.method}: queries and the most similar places, wrong ones first"
    sections.append(Section("Matches", pictures=[Picture(strip, caption)]))
    page = write_report(
        folder / "report.html",
        "Places",
        sections,
        subtitle=f"{found.data}: {len(found.rows)} methods",
    )
    return replace(found, page=page)


def _strip(row: PlaceRow, data: PlaceData) -> list[list[Tile]]:
    """Choose queries evenly among those answered wrongly and rightly, the wrong ones first."""
    ranks = first_right_ranks(row.similarity, data.truth)
    chosen: list[int] = []
    for group in (ranks > 1, ranks == 1):
        numbers = np.flatnonzero(data.truth.answerable & group)
        chosen += [int(i) for i in numbers[:: max(1, len(numbers) // SHOWN)][:SHOWN]]
    return [_strip_row(query, int(ranks[query]), row.similarity[query], data) for query in chosen]


def _strip_row(query: int, rank: int, similarity: np.ndarray, data: PlaceData) -> list[Tile]:
    """Show a query, its best matches, and the right place that is most similar."""
    candidates = data.truth.candidates[query]
    right = data.truth.right[query] & candidates
    order = np.argsort(-np.where(candidates, similarity, -np.inf), kind="stable")
    best = order[: min(MATCHES, int(candidates.sum()))]
    answer = order[right[order]][0]
    tiles = [Tile(data.pictures[data.query[query]].read(), f"query {query}")]
    for place in best:
        image = data.pictures[data.database[place]].read()
        near = "near" if data.truth.near[query, place] else "wrong"
        tiles.append(Tile(image, f"{similarity[place]:.3f}", "right" if right[place] else near))
    tiles += [Tile(np.full((8, 8, 3), 255, np.uint8), "none")] * (MATCHES - len(best))
    image = data.pictures[data.database[answer]].read()
    return [*tiles, Tile(image, f"truth, rank {rank}")]
