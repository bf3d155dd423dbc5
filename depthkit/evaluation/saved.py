# SPDX-License-Identifier: Apache-2.0
"""Scores on disk: written by `--save`, read back, and compared between runs in one table.

What `--json` printed is read as well, and the result archives of evo (its figures, not its code).
"""

import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depthkit.errors import DataError

_KINDS = {"ate_m": "odometry", "abs_rel": "depth", "epe": "flow"}
"""The figure that shows what was scored."""

_COLUMNS = {
    "odometry": (
        ("t_rel_percent", "t_rel [%]"),
        ("r_rel_deg_per_100m", "r_rel [deg/100m]"),
        ("ate_m", "ATE [m]"),
        ("ate_straight_m", "straight on [m]"),
        ("ate_still_m", "still [m]"),
        ("rpe_trans_m", "RPE [m]"),
        ("rpe_rot_deg", "RPE [deg]"),
        ("rpe_rot_evo_deg", "RPE as evo [deg]"),
        ("coverage", "coverage"),
        ("poses", "poses"),
        ("align", "align"),
        ("scale", "scale"),
    ),
    "depth": (
        ("abs_rel", "abs_rel"),
        ("sq_rel", "sq_rel"),
        ("rmse", "rmse"),
        ("rmse_log", "rmse_log"),
        ("a1", "a1"),
        ("a2", "a2"),
        ("a3", "a3"),
        ("coverage", "coverage"),
        ("frames", "frames"),
        ("align", "align"),
    ),
    "flow": (
        ("epe", "EPE [px]"),
        ("fl_all_percent", "Fl-all [%]"),
        ("coverage", "coverage"),
        ("frames", "frames"),
    ),
}

_EVO = {
    "APE w.r.t. translation part": ("ate_m", "rmse"),
    "RPE w.r.t. translation part": ("rpe_trans_m", "mean"),
    "RPE w.r.t. rotation angle in degrees": ("rpe_rot_evo_deg", "mean"),
}
"""Title of an evo result: the figure it stands for here, and evo's statistic."""

_EVO_ALIGN = {"with SE(3)": "6dof", "with Sim(3)": "7dof", "not aligned": "not aligned (evo)"}


@dataclass(frozen=True)
class SavedScore:
    """The figures of one estimate."""

    name: str
    figures: dict[str, Any]
    """By the keys of `--json`; None where not scored."""
    source: str = ""
    """The file they came from."""

    @property
    def kind(self) -> str:
        """odometry, depth or flow."""
        return next(kind for key, kind in _KINDS.items() if key in self.figures)


def save_scores(path: str | Path, scores: Sequence[SavedScore], about: Mapping[str, Any]) -> Path:
    """Write scores as JSON, whole or not at all.

    Args:
        path: the file.
        scores: of one or more estimates against one reference.
        about: what they have in common, such as the reference's name.
    """
    file = Path(path)
    record = dict(about) | {"estimates": [{"name": s.name} | s.figures for s in scores]}
    part = file.with_name(f".{file.name}.part")
    part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    os.replace(part, file)
    return file


def load_scores(path: str | Path) -> list[SavedScore]:
    """Read scores of `--save` or `--json`, or a result archive of evo.

    Raises:
        DataError: no such file, not JSON, or no figures of a score in it.
    """
    file = Path(path)
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "no such file"
        raise DataError(f"{path}: {what}; expected scores written by --save or --json")
    if zipfile.is_zipfile(file):
        return [_load_evo(file)]
    try:
        record = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError, RecursionError):
        raise DataError(
            f"{path}: is not JSON; expected scores written by --save or --json"
        ) from None
    record = record if isinstance(record, dict) else {}
    estimates = record.get("estimates", [record])
    common = {key: value for key, value in record.items() if key != "estimates"}
    if not isinstance(estimates, list) or not estimates:
        raise DataError(f"{path}: 'estimates' must be a list of scores, got {estimates!r:.60}")
    return [_to_score(file, common, one) for one in estimates]


def _to_score(file: Path, common: dict[str, Any], record: Any) -> SavedScore:
    """Check that a record holds figures."""
    figures = common | record if isinstance(record, dict) else {}
    if not any(key in figures for key in _KINDS):
        raise DataError(f"{file}: holds no score ({', '.join(_KINDS)} missing)")
    for key in {key for columns in _COLUMNS.values() for key, _ in columns} - {"align"}:
        value = figures.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise DataError(f"{file}: {key} must be a number, got {value!r:.60}")
    if all(figures.get(key) is None for key in _KINDS):
        raise DataError(f"{file}: its score is null; it was not scored, or not a finite number")
    return SavedScore(str(figures.pop("name", file.stem)), figures, str(file))


def _load_evo(file: Path) -> SavedScore:
    """Read stats.json and info.json of an evo result."""
    try:
        with zipfile.ZipFile(file) as archive:
            stats, info = (json.loads(archive.read(f"{one}.json")) for one in ("stats", "info"))
        title = str(info["title"])
        found = [value for name, value in _EVO.items() if title.startswith(name)]
        if not found or "delta" in title and "delta = 1 (frames)" not in title:
            raise DataError(
                f"{file}: evo's figure {title.replace(chr(10), ' ')!r} is not compared here; "
                f"expected one of {', '.join(_EVO)} (delta 1 frame)"
            )
        key, statistic = found[0]
        figures: dict[str, Any] = {"ate_m": None, key: float(stats[statistic])}
        name, reference = (Path(str(info[f"{one}_name"])).name for one in ("est", "ref"))
    except (KeyError, ValueError, TypeError, AttributeError, zipfile.BadZipFile):
        raise DataError(f"{file}: is no result archive of evo (--save_results)") from None
    align = next((mode for text, mode in _EVO_ALIGN.items() if text in title), None)
    return SavedScore(
        Path(name).stem, figures | {"align": align, "reference": reference}, str(file)
    )


def compare_table(scores: Sequence[SavedScore]) -> list[list[Any]]:
    """Put scores of one kind into rows, header first; a figure that all lack has no column.

    Raises:
        DataError: scores of different kinds.
    """
    kinds = {score.kind for score in scores}
    if len(kinds) > 1:
        raise DataError(f"scores of {' and '.join(sorted(kinds))} cannot stand in one table")
    columns = [
        (key, title)
        for key, title in _COLUMNS[kinds.pop()]
        if any(score.figures.get(key) is not None for score in scores)
    ]
    rows = [[name, *(s.figures.get(key) for key, _ in columns)] for name, s in _named(scores)]
    return [["", *(title for _, title in columns)], *rows]


def compare_notes(scores: Sequence[SavedScore]) -> list[str]:
    """Say why figures of different runs may not be compared."""
    notes = []
    for key, what in (("reference", "reference"), ("align", "alignment"), ("crop", "crop")):
        found = {str(s.figures[key]) for s in scores if s.figures.get(key) is not None}
        if len(found) > 1:
            notes.append(f"not the same {what}: {', '.join(sorted(found))}; compare with care")
    covered = [s.figures["coverage"] for s in scores if s.figures.get("coverage") is not None]
    if covered and max(covered) - min(covered) > 0.05:
        notes.append(
            f"coverage from {100 * min(covered):.1f} to {100 * max(covered):.1f} %: who covers "
            "less is scored on less"
        )
    return notes


def _named(scores: Sequence[SavedScore]) -> list[tuple[str, SavedScore]]:
    """Name each score, with its file where a name is there twice."""
    names = [score.name for score in scores]
    return [
        (f"{s.name} ({s.source})" if names.count(s.name) > 1 and s.source else s.name, s)
        for s in scores
    ]
