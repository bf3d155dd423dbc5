# SPDX-License-Identifier: Apache-2.0
"""A folder of pictures, a folder of such folders, or one picture.

`times.txt` beside the pictures is read; else EXIF tells times and order where it can.
"""

from pathlib import Path

import numpy as np

from depthkit.data.file_kinds import PICTURE, read_kind
from depthkit.data.image_io import list_images, natural_key
from depthkit.data.importers.lying_there import say_beside, say_pages, split_about
from depthkit.data.importers.photo_order import Photos, order_photos
from depthkit.data.importers.source import (
    FrameRef,
    ImportOptions,
    Source,
    find_camera,
    first_size,
    frame_times,
)
from depthkit.errors import DataError


def find(root: Path) -> dict[str, Path]:
    """Return the folders that hold pictures, by name; one picture file is a sequence too."""
    if root.is_file():
        return {root.stem: root} if read_kind(root).group == PICTURE else {}
    if list_images(root):
        return {root.resolve().name: root}
    folders = sorted((p for p in root.iterdir() if p.is_dir()), key=lambda p: natural_key(p.name))
    return {p.name: p for p in folders if p.name[0] not in ".@" and list_images(p)}


def load(place: Path, name: str, options: ImportOptions) -> Source:
    """Take the pictures in natural order of their names, or of EXIF times that contradict it."""
    is_alone = place.is_file()
    paths, others = split_about([place] if is_alone else list_images(place))
    size = first_size(paths, place)
    folders = (place.parent,) if is_alone else (place, options.root)
    camera, calibration = find_camera(folders, size, options, pictures=paths)
    has_list = (place / "times.txt").is_file()
    photos = Photos(tuple(paths)) if has_list else order_photos(paths)
    times, assumed = _times_of(photos, place, options, has_list=has_list)
    about = say_pages(paths[0]) if is_alone else say_beside(place, paths, others)
    return Source(
        name=name,
        format="images",
        frames=tuple(FrameRef(path) for path in photos.paths),
        times=times,
        camera=camera,
        notes=(*photos.notes, *about),
        assumed=assumed,
        origin={"calibration": calibration},
    )


def _times_of(
    photos: Photos, place: Path, options: ImportOptions, *, has_list: bool
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return times and what was assumed of them: --fps, times.txt, EXIF, a guess, in this order."""
    if options.fps is None and photos.times is not None:
        return photos.times, photos.assumed
    if options.fps is None and not has_list and len(photos.paths) == 1:
        return np.zeros(1), ()
    times, guess = _times(place, len(photos.paths), options)
    return times, (*photos.assumed, *guess) if options.fps is None else ()


def _times(place: Path, count: int, options: ImportOptions) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read times.txt (seconds, one a picture) unless --fps overrules it; say what is guessed."""
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
