# SPDX-License-Identifier: Apache-2.0
"""Which recordings a list of words names: files, folders, folders of recordings, lists in files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from depthkit.data.bag import is_bag
from depthkit.data.importers import find_sequences
from depthkit.data.importers.places import find_folders
from depthkit.data.sequence import read_split
from depthkit.errors import DataError

LIST = "@"
"""Before the path of a text file that names a recording a line."""
WITHOUT_CAMERA = ("euroc", "images", "video")
"""Formats that `infer` reads beside sequence folders and bags."""
RESERVED = ("recordings.json", "index.html", "split.yaml")
"""Names in the output folder that no recording may take."""


@dataclass(frozen=True)
class Recording:
    """One recording, and the name of the folder that it gets."""

    name: str
    source: Path
    """What the verb reads."""
    whole: Path
    """The folder of recordings it was found in; the source itself for one that was named alone."""
    sequence: str = ""
    """Its name in `whole`, as `prepare --sequence` takes it; empty for one that was named alone."""


def find_recordings(words: Iterable[str | Path], verb: str) -> tuple[Recording, ...]:
    """List the recordings that words name, each with a name that no other has.

    Args:
        words: paths of recordings or of folders of them, or @FILE with a path a line (relative
            ones from the file's folder; lines that begin with # are left out).
        verb: what they are for; `infer` reads fewer layouts than the others.

    Raises:
        DataError: a list that cannot be read, no recording at all, or two of one name.
    """
    paths = [path for word in words for path in _read_list(word)]
    found = [one for path in paths for one in _expand(path, verb)]
    if not found:
        raise DataError("no recording is named; give videos, folders or @list.txt")
    return _with_own_names(found)


def _read_list(word: str | Path) -> Iterator[Path]:
    """Pass on a path as it is, and the paths of a list."""
    if not str(word).startswith(LIST) or Path(word).exists():
        yield Path(word)
        return
    file = Path(str(word)[len(LIST) :])
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not text"
        raise DataError(f"{file}: cannot read the list of recordings: {reason}") from None
    stripped = (line.strip() for line in lines)
    yield from (file.parent / line for line in stripped if line and not line.startswith("#"))


def _expand(path: Path, verb: str) -> list[Recording]:
    """List the recordings in a folder of several; anything else is one recording."""
    places = _places(path, verb) if path.is_dir() else {}
    if not places:
        return [Recording(_name_of(path), path, path)]
    return [Recording(name, place, path, name) for name, place in places.items()]


def _places(path: Path, verb: str) -> dict[str, Path]:
    """List recordings by name: sequences of a data set, or what the importers find.

    Empty for what is one recording itself.
    """
    if is_bag(path) or _is_sequence(path):
        return {}
    if (path / "split.yaml").is_file():
        names = (name for part in read_split(path).values() for name in part)
        return {name: path / name for name in names}
    prepared = find_folders(path, _is_sequence)
    if prepared:
        return prepared
    try:
        kind, places = find_sequences(path, *(WITHOUT_CAMERA if verb == "infer" else ()))
    except DataError:  # the verb itself says what is wrong with it
        return {}
    if len(places) == 1 and not next(iter(places.values())).is_file():
        return {}
    alone = {name: _alone(place, path, kind) for name, place in places.items()}
    return {name: place for name, place in alone.items() if place is not None}


def _alone(place: Path, root: Path, kind: str) -> Path | None:
    """Return the largest folder below the root that is this sequence alone, calibration and all.

    The place of a EuRoC recording, for one, is its camera's folder, without the IMU.
    """
    between = [path for path in (place, *place.parents) if root in path.parents]
    for path in reversed(between):
        try:
            _, found = find_sequences(path, kind)
        except DataError:
            continue
        if list(found.values()) == [place]:
            return path
    return None


def _is_sequence(path: Path) -> bool:
    return (path / "camera.yaml").is_file() and (path / "frames").is_dir()


def _name_of(path: Path) -> str:
    """Name a folder by its name, a file by its name without the suffix."""
    path = path.resolve()
    return path.name if path.is_dir() else path.stem


def _with_own_names(found: Sequence[Recording]) -> tuple[Recording, ...]:
    """Put the folder above before names that several recordings share.

    Raises:
        DataError: two of one name even then, or a name that the overview needs.
    """
    count = Counter(one.name for one in found)
    named = [
        replace(one, name=f"{one.source.resolve().parent.name}_{one.name}")
        if count[one.name] > 1
        else one
        for one in found
    ]
    seen: dict[str, Recording] = {}
    for one in named:
        if one.name in RESERVED:
            raise DataError(f"{one.source}: no recording can be called {one.name}; rename it")
        other = seen.setdefault(one.name, one)
        if other is not one:
            raise DataError(
                f"{other.source} and {one.source} would both be written as {one.name}; rename one, "
                "or give it another --out"
            )
    return tuple(named)
