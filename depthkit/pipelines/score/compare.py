# SPDX-License-Identifier: Apache-2.0
"""Saved scores of several runs in one table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depthkit.evaluation.saved import SavedScore, compare_notes, compare_table, load_scores


@dataclass(frozen=True)
class Comparison:
    """Scores of one kind beside each other."""

    scores: tuple[SavedScore, ...]
    table: tuple[tuple[Any, ...], ...]
    """One row a score, header first."""
    notes: tuple[str, ...]
    """Why figures of different runs may not be compared."""

    def as_json(self) -> dict[str, Any]:
        """Return the object that the command line prints."""
        estimates = [{"name": s.name, "file": s.source} | s.figures for s in self.scores]
        return {"kind": self.scores[0].kind, "estimates": estimates, "notes": list(self.notes)}


def compare_saved(files: Sequence[Path]) -> Comparison:
    """Read files of `--save` or `--json`, or result archives of evo.

    Raises:
        DataError: a file without scores, or scores of different kinds.
    """
    scores = tuple(score for path in files for score in load_scores(path))
    table = tuple(tuple(row) for row in compare_table(scores))
    return Comparison(scores, table, tuple(compare_notes(scores)))
