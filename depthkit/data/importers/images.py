# SPDX-License-Identifier: Apache-2.0
"""A folder of pictures, or a folder of such folders; `times.txt` beside the pictures is read."""

from pathlib import Path

import numpy as np

from depthkit.data.image_io import list_images, natural_key
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
    """Return the folders that hold pictures, by name."""
    if not root.is_dir():
        return {}
    if list_images(root):
        return {root.resolve().name: root}
    folders = sorted((p for p in root.iterdir() if p.is_dir()), key=lambda p: natural_key(p.name))
    return {p.name: p for p in folders if p.name[0] != "." and list_images(p)}


def load(place: Path, name: str, options: ImportOptions) -> Source:
    """Take the pictures in natural order of their names."""
    paths = list_images(place)
    size = first_size(paths, place)
    camera, calibration = find_camera((place, options.root), size, options, pictures=paths)
    times, notes = _times(place, len(paths), options)
    return Source(
        name=name,
        format="images",
        frames=tuple(FrameRef(path) for path in paths),
        times=times,
        camera=camera,
        notes=notes,
        origin={"calibration": calibration},
    )


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
