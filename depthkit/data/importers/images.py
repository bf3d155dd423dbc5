# SPDX-License-Identifier: Apache-2.0
"""A folder of pictures, a folder of such folders, or one picture.

`times.txt` beside the pictures is read; else EXIF tells times and order where it can.
"""

from pathlib import Path

import cv2
import numpy as np

from depthkit.data.file_kinds import PICTURE, read_kind
from depthkit.data.image_io import list_images, natural_key
from depthkit.data.importers.lying_there import name_unread, split_about
from depthkit.data.importers.photo_order import Photos, order_photos
from depthkit.data.importers.source import (
    FrameRef,
    ImportOptions,
    Source,
    find_camera,
    first_size,
    frame_times,
)
from depthkit.data.importers.video_file import list_videos
from depthkit.errors import DataError

READ_BY_CONTENT = ("a JPEG picture", "a PNG picture", "a TIFF picture", "a BMP picture")
"""Kinds that are taken whatever the suffix of their file, where no file has that of a picture."""
MOST_MISSES = 20
_NO_PICTURES = (".txt", ".csv", ".json", ".yaml", ".yml", ".xml", ".md", ".thm", ".bin", ".npy")


def find(root: Path) -> dict[str, Path]:
    """Return the folders that hold pictures, by name; one picture file is a sequence too."""
    if root.is_file():
        return {root.stem: root} if read_kind(root).group == PICTURE else {}
    if pictures_at(root):
        return {root.resolve().name: root}
    folders = sorted((p for p in root.iterdir() if p.is_dir()), key=lambda p: natural_key(p.name))
    return {p.name: p for p in folders if p.name[0] not in ".@" and pictures_at(p)}


def pictures_at(place: Path) -> list[Path]:
    """Return a picture, or those of a folder: by content where no suffix is that of a picture."""
    if place.is_file():
        return [place]
    if named := list_images(place):
        return named
    files = [p for p in place.iterdir() if p.is_file() and p.suffix.lower() not in _NO_PICTURES]
    files = sorted((p for p in files if p.name[0] != "."), key=lambda p: natural_key(p.name))
    if not any(read_kind(path).name in READ_BY_CONTENT for path in files[:MOST_MISSES]):
        return []
    return [path for path in files if read_kind(path).name in READ_BY_CONTENT]


def load(place: Path, name: str, options: ImportOptions) -> Source:
    """Take the pictures in natural order of their names, or of EXIF times that contradict it."""
    folder, given = (place.parent, ()) if place.is_file() else (place, (options.root,))
    paths, others = split_about(pictures_at(place))
    size = first_size(paths, place)
    camera, calibration = find_camera((folder, *given), size, options)
    has_times = (folder / "times.txt").is_file() and not place.is_file()
    photos = Photos(tuple(paths)) if has_times else order_photos(paths)
    times, notes, assumed = _times_of(photos, folder, options)
    return Source(
        name=name,
        format="images",
        frames=tuple(FrameRef(path) for path in photos.paths),
        times=times,
        camera=camera,
        notes=(*photos.notes, *notes, *_about_others(folder, paths, others, is_alone=not given)),
        assumed=assumed,
        origin={"calibration": calibration},
    )


def _about_others(
    folder: Path, taken: list[Path], others: list[Path], *, is_alone: bool
) -> tuple[str, ...]:
    """Say which pictures, of a folder or beside the one that was given, are no frames."""
    if is_alone:
        return _about_pages(taken[0])
    notes = [name_unread(folder, taken), *_about_pages(taken[0])]
    if others:
        notes.append(
            f"{len(others)} pictures are masks, labels or thumbnails of frames by their names, "
            f"left out ({others[0].name})"
        )
    if videos := list_videos(folder):
        notes.append(f"{len(videos)} videos lie there too, {videos[0].name} (--format video)")
    return tuple(note for note in notes if note)


def _about_pages(path: Path) -> tuple[str, ...]:
    """Say that a TIFF holds more than one picture."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return ()
    pages = cv2.imcount(str(path))
    if pages < 2:
        return ()
    return (f"{path.name} holds {pages} pages, the first is taken; split it into files for all",)


def _times_of(
    photos: Photos, folder: Path, options: ImportOptions
) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """Return times, notes and assumptions: --fps, times.txt, EXIF, a guess, in this order."""
    has_times = options.fps is not None or (folder / "times.txt").is_file()
    if len(photos.paths) == 1 and not has_times:
        return np.zeros(1), (), ()
    if photos.times is not None and options.fps is None:
        return photos.times, (), photos.assumed
    times, notes = _times(folder, len(photos.paths), options)
    return times, notes, photos.assumed if options.fps is None else ()


def _times(place: Path, count: int, options: ImportOptions) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read times.txt (seconds, one a picture) unless --fps overrules it."""
    path = place / "times.txt"
    if options.fps is not None or not path.is_file():
        return frame_times(count, options.fps)
    try:
        times = np.array(path.read_text(encoding="utf-8").split(), dtype=np.float64)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot read times: {error}") from None
    if len(times) != count:
        raise DataError(f"{path}: {len(times)} times for {count} images; fix it or give --fps")
    return times, ()
