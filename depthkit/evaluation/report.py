# SPDX-License-Identifier: Apache-2.0
"""An HTML report in one file: text, tables and pictures, nothing loaded from anywhere.

Pictures are kept inside as base64, so that the file can be mailed, archived or opened on a robot.
"""

import base64
import html
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from depthkit.errors import DataError

Cell = str | int | float | None


@dataclass(frozen=True)
class Picture:
    """A PNG or JPEG file and what it shows."""

    path: Path
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """One part of a report; an empty field is left out."""

    heading: str
    text: str = ""
    """Paragraphs, a blank line between them."""
    rows: Sequence[Sequence[Cell]] = ()
    """A table, its header first; numbers are set right, None reads 'not scored'."""
    pictures: Sequence[Picture] = ()
    notes: Sequence[str] = ()
    """Important note, set apart."""
    html: str = ""
    """Made by depthkit itself, such as a 3-D view; it stands below the text as it is."""


def write_report(
    path: str | Path, title: str, sections: Sequence[Section], *, subtitle: str = ""
) -> Path:
    """Write a report, whole or not at all.

    Args:
        path: the .html file; replaced when it is there.
        title: title of the page.
        sections: in reading order.
        subtitle: one line below the title.

    Raises:
        DataError: a picture cannot be read.
    """
    file = Path(path)
    body = "\n".join(_section(section) for section in sections)
    lead = f"<p class='lead'>{html.escape(subtitle)}</p>" if subtitle else ""
    page = (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        "<meta name='color-scheme' content='light dark'>"
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style></head>\n"
        f"<body><main><header><h1>{html.escape(title)}</h1>{lead}</header>\n{body}\n"
        "<footer>Written by depthkit.</footer></main></body></html>\n"
    )
    part = file.with_name(f".{file.name}.part")
    part.write_text(page, encoding="utf-8")
    os.replace(part, file)
    return file


def format_cell(value: Cell) -> str:
    """Write a figure with four significant digits, a count or a text as it stands."""
    if value is None:
        return "not scored"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _section(section: Section) -> str:
    paragraphs = [p.strip() for p in section.text.split("\n\n") if p.strip()]
    parts = [f"<h2>{html.escape(section.heading)}</h2>"]
    parts += [f"<p class='note'>{html.escape(note)}</p>" for note in section.notes]
    parts += [f"<p>{html.escape(paragraph)}</p>" for paragraph in paragraphs]
    parts += [section.html] if section.html else []
    if section.rows:
        parts.append(_table(section.rows))
    parts += [_figure(picture) for picture in section.pictures]
    return "<section>" + "\n".join(parts) + "</section>"


def _table(rows: Sequence[Sequence[Cell]]) -> str:
    columns = zip(*rows[1:], strict=True)
    right = [any(isinstance(cell, (int, float)) for cell in column) for column in columns]
    head = "".join(
        f"<th scope='col'{_RIGHT * is_right}>{html.escape(format_cell(cell))}</th>"
        for cell, is_right in zip(rows[0], right, strict=True)
    )
    body = "\n".join(
        f"<tr>{''.join(_cell(cell, side) for cell, side in zip(row, right, strict=True))}</tr>"
        for row in rows[1:]
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div class='scroll'>{table}</div>"


def _cell(value: Cell, is_right: bool) -> str:
    kind = " class='missing'" if value is None else ""
    return f"<td{kind}{_RIGHT * is_right}>{html.escape(format_cell(value))}</td>"


def _figure(picture: Picture) -> str:
    kind = "jpeg" if picture.path.suffix.lower() in (".jpg", ".jpeg") else "png"
    try:
        data = base64.b64encode(picture.path.read_bytes()).decode("ascii")
    except OSError as error:
        raise DataError(f"{picture.path}: cannot read picture: {error.strerror}") from None
    caption = html.escape(picture.caption)
    return (
        f"<figure><img alt='{caption}' src='data:image/{kind};base64,{data}'>"
        f"<figcaption>{caption}</figcaption></figure>"
    )


_RIGHT = " data-right"

_STYLE = """
:root { --ink: #1d2329; --soft: #5b6672; --line: #dde2e7; --page: #f6f7f9; --card: #ffffff;
  --accent: #0072b2; --note: #fff4e5; --note-line: #d55e00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7ebef; --soft: #9aa6b2; --line: #343c45;
  --page: #14181c; --card: #1c2228; --accent: #56b4e9; --note: #33261a; --note-line: #e69f00; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 70rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
header { border-bottom: 3px solid var(--accent); margin-bottom: 1.75rem; }
h1 { font-size: 1.9rem; margin: 0 0 .3rem; letter-spacing: -.01em; }
h2 { font-size: 1.2rem; margin: 0 0 .8rem; }
.lead { color: var(--soft); margin: 0 0 1rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 1.4rem 1.5rem; margin-bottom: 1.25rem; }
p { margin: 0 0 .8rem; max-width: 75ch; }
.note { background: var(--note); border-left: 4px solid var(--note-line); border-radius: 4px;
  padding: .55rem .9rem; max-width: none; }
.scroll { overflow-x: auto; margin-bottom: .6rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .95rem; }
th, td { padding: .4rem 1.6rem .4rem 0; border-bottom: 1px solid var(--line); text-align: left; }
th { color: var(--soft); font-weight: 600; }
[data-right] { text-align: right; }
td.missing { color: var(--soft); font-style: italic; }
figure { margin: .8rem 0 0; }
img { max-width: 100%; height: auto; border-radius: 6px; background: #fff; }
figcaption, footer { color: var(--soft); font-size: .88rem; margin-top: .35rem; }
"""
