# SPDX-License-Identifier: Apache-2.0
"""What a source holds that is not taken as a frame: named, with its number and what to do."""

import re
from collections.abc import Sequence
from pathlib import Path

import cv2

from depthkit.data.file_kinds import OTHER, PICTURE, TEXT, VIDEO, count_suffixes, read_kind
from depthkit.data.heif import HEIF_REMEDY, HEIF_SUFFIXES, has_heif
from depthkit.data.image_io import is_image
from depthkit.data.importers.video_file import list_videos

RAW_SUFFIXES = (
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".rw2", ".orf", ".pef", ".srw", ".gpr"),
    *(".raw", ".3fr", ".iiq"),
)
FOREIGN_SUFFIXES = (".exr", ".psd", ".jxl", ".tga", ".svg", ".xcf", ".jxr", ".pcx")
_MOST_FOLDERS = 20

# Words for a picture about another one: 0001_mask.png, mask_0001.png, 0001-label.png.
_ABOUT = "mask|masks|label|labels|seg|segmentation|semantic|matte|trimap|annotation|thumb|thumbnail"
_ABOUT_NAME = re.compile(rf"(?:(.+)[_.\- ](?:{_ABOUT})|(?:{_ABOUT})[_.\- ](.+))", re.IGNORECASE)


def say_what_lies_there(root: Path, expected: Sequence[str]) -> str:
    """Say why a source gives no frames of some formats: what the file is, or the folder holds."""
    wanted = f"expected {'one of ' if len(expected) > 2 else ''}{', '.join(expected)}"
    if root.is_file():
        whole = "expected a picture, a video or a bag" if len(expected) > 1 else wanted
        return f"is {read_kind(root).name}; {whole}"
    named = name_unread(root)
    if named:
        return f"no frames found; {named}"
    for folder in _folders_below(root):
        named = name_unread(folder) or _name_media(folder)
        if named:
            return f"no frames found; in {folder.relative_to(root)}: {named}"
    files = [p for p in root.iterdir() if p.is_file() and p.name[0] != "."]
    held = f"it holds {count_suffixes(files)} files" if files else "no file lies in it"
    return f"no frames found; {held}; {wanted}"


def _folders_below(root: Path) -> list[Path]:
    """Return the first folders below, nearest first, three levels deep."""
    found, level = list[Path](), [root]
    for _ in range(3):
        level = [p for folder in level for p in sorted(folder.iterdir()) if p.is_dir()]
        level = [p for p in level if p.name[0] != "."][:_MOST_FOLDERS]
        found += level
    return found


def name_unread(folder: Path, taken: Sequence[Path] = ()) -> str:
    """Name the picture files of a folder that cannot be read, with what to do; '' for none.

    Args:
        folder: it is searched itself, not what lies below.
        taken: frames found; a raw or HEIC twin of one of them is not missed.
    """
    stems = {path.stem for path in taken}
    files = [p for p in folder.iterdir() if p.name[0] != "." and p.stem not in stems]
    phone = [p for p in files if p.suffix.lower() in HEIF_SUFFIXES and not has_heif()]
    other = [p for p in files if p.suffix.lower() in RAW_SUFFIXES + FOREIGN_SUFFIXES]
    parts = []
    if phone:
        parts.append(f"{count_suffixes(phone)} files cannot be read; {HEIF_REMEDY}")
    if other:
        parts.append(f"{count_suffixes(other)} files cannot be read; convert them to JPEG or PNG")
    return "; ".join(parts)


def say_beside(folder: Path, taken: Sequence[Path], others: Sequence[Path]) -> tuple[str, ...]:
    """Say which files of a folder of pictures are no frames.

    Args:
        folder: of the pictures.
        taken: the frames.
        others: pictures about them, as `split_about` tells.
    """
    notes = [name_unread(folder, taken), *say_pages(taken[0])]
    if others:
        notes.append(
            f"{len(others)} pictures are masks, labels or thumbnails of frames by their names, "
            f"left out ({others[0].name})"
        )
    if videos := list_videos(folder):
        notes.append(f"{len(videos)} videos lie there too, {videos[0].name} (--format video)")
    return tuple(note for note in notes if note)


def say_pages(path: Path) -> tuple[str, ...]:
    """Say that a TIFF holds more than one picture."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return ()
    pages = cv2.imcount(str(path))
    if pages < 2:
        return ()
    return (f"{path.name} holds {pages} pages, the first is taken; split it into files for all",)


def split_about(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Part frames from pictures about them: masks, labels and thumbnails among them.

    A picture is about another one if its name begins or ends with a word such as mask, or is the
    name of another picture plus a suffix (0001.jpg.png). The rest of its name must also begin or
    end the name of a picture without such a word.

    Returns:
        frames and the others, each in the given order; all are frames where every name has one.
    """
    names = {path.name for path in paths}
    about = {path: _subject(path, names) for path in paths}
    plain = [path for path in paths if about[path] is None]
    known = names.union(*(_ends(path.stem) for path in plain))
    others = [path for path in paths if about[path] in known] if plain else []
    left = set(others)
    return [path for path in paths if path not in left], others


def _subject(path: Path, names: set[str]) -> str | None:
    """Return the name of the picture that another one is about by its own name."""
    if path.stem in names:
        return path.stem
    match = _ABOUT_NAME.fullmatch(path.stem)
    return None if match is None else match[1] or match[2]


def _ends(stem: str) -> set[str]:
    """Return all that a name begins or ends with, cut at its separators."""
    cuts = [match.span() for match in re.finditer(r"[_.\- ]", stem)]
    return {stem} | {stem[:a] for a, _ in cuts} | {stem[b:] for _, b in cuts}


def _name_media(folder: Path) -> str:
    files = [p for p in folder.iterdir() if p.is_file() and p.name[0] != "."]
    if any(is_image(p) for p in files):
        return "pictures; give this folder"
    groups = {read_kind(p).group for p in files[:_MOST_FOLDERS]} - {TEXT, OTHER, PICTURE}
    return "videos; give this folder" if VIDEO in groups else ""
