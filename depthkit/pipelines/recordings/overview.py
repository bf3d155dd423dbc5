# SPDX-License-Identifier: Apache-2.0
"""The overview of many recordings: a record for programs, a page with links for people."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from depthkit.errors import DataError
from depthkit.evaluation.report import Section, format_cell, write_report
from depthkit.pipelines.recordings.job import Figure, Outcome
from depthkit.pipelines.records import load_record, save_record

OVERVIEW = "recordings.json"
PAGE = "index.html"


@dataclass(frozen=True)
class RecordingsSummary:
    """What became of many recordings: printed, and kept as recordings.json."""

    verb: str
    out: str
    recordings: tuple[Outcome, ...]
    """In the order of the sources; while it works, those that have ended."""

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of those that failed."""
        return tuple(one.name for one in self.recordings if one.state == "failed")


def read_earlier(out: Path) -> dict[str, Outcome]:
    """Return the outcomes of an earlier run by name; none where its overview is of another kind."""
    try:
        summary = load_record(RecordingsSummary, out / OVERVIEW)
    except DataError:
        return {}
    return {one.name: one for one in summary.recordings}


def write_overview(summary: RecordingsSummary) -> None:
    """Write recordings.json."""
    save_record(summary, Path(summary.out) / OVERVIEW)


def table_of(summary: RecordingsSummary) -> list[list[Figure]]:
    """Return one row a recording, the header first."""
    names = list(dict.fromkeys(key for one in summary.recordings for key in one.figures))
    header = ["recording", "state", *(name.replace("_", " ") for name in names), "seconds"]
    rows: list[list[Figure]] = [list(header)]
    for one in summary.recordings:
        figures = [one.figures.get(name) for name in names]
        rows.append([one.name, one.state, *figures, one.seconds or None])
    return rows


def write_page(summary: RecordingsSummary) -> None:
    """Write index.html: a table whose names lead to the reports, or to the folders."""
    failed = [one for one in summary.recordings if one.state == "failed"]
    count = len(summary.recordings)
    words = f"{count - len(failed)} of {count} recordings are there."
    sections = [Section("Recordings", text=words, html=_table(summary))]
    if failed:
        rows = [("recording", "why"), *((one.name, one.error) for one in failed)]
        again = "The same command tries these again and keeps the others."
        sections.append(Section("Failed", text=again, rows=rows))
    title = f"depthkit {summary.verb}: {count} recordings"
    write_report(Path(summary.out) / PAGE, title, sections)


def _table(summary: RecordingsSummary) -> str:
    """Write the table with links, which a plain section has none of."""
    header, *rows = table_of(summary)
    head = "".join(f"<th scope='col'>{html.escape(str(cell))}</th>" for cell in header)
    lines = [
        _row(one, row[1:], Path(summary.out))
        for one, row in zip(summary.recordings, rows, strict=True)
    ]
    body = "\n".join(lines)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div class='scroll'>{table}</div>"


def _row(one: Outcome, cells: Sequence[Figure], out: Path) -> str:
    name = html.escape(one.name)
    place = one.report if (out / one.report).is_file() else f"{one.name}/"
    if one.state != "failed":
        name = f"<a href='{quote(place)}'>{name}</a>"
    texts = ["-" if cell is None else html.escape(format_cell(cell)) for cell in cells]
    return "<tr>" + "".join(f"<td>{text}</td>" for text in (name, *texts)) + "</tr>"
