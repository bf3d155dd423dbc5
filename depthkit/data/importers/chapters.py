# SPDX-License-Identifier: Apache-2.0
"""Chapters of one recording: GoPro cameras begin a new file every few gigabytes.

Names: GXccnnnn, GHccnnnn, GSccnnnn (HERO6 on, MAX; chapter cc of recording nnnn), and GOPRnnnn,
GP01nnnn, GP02nnnn ... (up to HERO5). Other makers number recordings, not chapters: theirs stay
apart.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from depthkit.data.image_io import natural_key

_NEW = re.compile(r"(G[HXSL])(\d\d)(\d{4})", re.IGNORECASE)
_OLD = re.compile(r"(GOPR|GP(\d\d))(\d{4})", re.IGNORECASE)


@dataclass(frozen=True)
class Chapter:
    """Which part of which recording a file is."""

    recording: tuple[str, str, str]
    """Kind, number and suffix, lower case."""
    number: int
    """From 1."""


def read_chapter(path: Path) -> Chapter | None:
    """Read the chapter from a file's name; None for names of another kind."""
    suffix = path.suffix.lower()
    if match := _NEW.fullmatch(path.stem):
        return Chapter((match[1].lower(), match[3], suffix), int(match[2]))
    if match := _OLD.fullmatch(path.stem):
        return Chapter(("gopr", match[3], suffix), int(match[2] or 0) + 1)
    return None


def join_chapters(files: Iterable[Path]) -> list[tuple[Path, ...]]:
    """Group files into recordings, in natural order of the first file of each.

    A chapter whose predecessor is missing begins a group of its own: how long the missing one was
    is not known.
    """
    groups: list[list[Path]] = []
    for path in sorted(files, key=_chapter_order):
        if groups and _follows(groups[-1][-1], path):
            groups[-1].append(path)
        else:
            groups.append([path])
    return [tuple(group) for group in sorted(groups, key=lambda group: natural_key(group[0].name))]


def _chapter_order(path: Path) -> tuple[tuple[str, ...], int, str]:
    chapter = read_chapter(path)
    return ((), 0, path.name) if chapter is None else (chapter.recording, chapter.number, path.name)


def _follows(before: Path, after: Path) -> bool:
    first, second = read_chapter(before), read_chapter(after)
    if first is None or second is None or first.recording != second.recording:
        return False
    return second.number == first.number + 1


def say_missing(path: Path) -> str:
    """Say that a file is a later chapter, taken alone; '' where it is the first or none."""
    chapter = read_chapter(path)
    if chapter is None or chapter.number == 1:
        return ""
    return (
        f"{path.name} is chapter {chapter.number} of a recording and the one before is not taken "
        "with it: its times begin at 0"
    )
