# SPDX-License-Identifier: Apache-2.0
"""A folder of pictures, or a folder of such folders; times come from a list beside them."""

from pathlib import Path

from depthkit.data.image_io import list_images, natural_key
from depthkit.data.importers.source import (
    FrameRef,
    ImportOptions,
    Source,
    find_camera,
    first_size,
)
from depthkit.data.importers.times import find_times


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
    camera, calibration = find_camera((place, options.root), size, options)
    found = find_times(place, paths, options)
    return Source(
        name=name,
        format="images",
        frames=tuple(FrameRef(paths[i]) for i in found.keep),
        times=found.times,
        camera=camera,
        notes=found.notes,
        assumed=found.assumed,
        origin={"calibration": calibration, **found.origin},
    )
