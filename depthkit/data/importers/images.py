# SPDX-License-Identifier: Apache-2.0
"""A folder of pictures, a folder of such folders, or one picture.

Times come from a list beside the pictures, their EXIF or their names; EXIF tells their order, too.
"""

from pathlib import Path

import numpy as np

from depthkit.data.file_kinds import PICTURE, read_kind
from depthkit.data.image_io import list_images
from depthkit.data.importers.depth_unit import is_depth_picture
from depthkit.data.importers.folder_parts import (
    depth_files,
    first_camera,
    kind_of_name,
    smaller_copies,
    split_colour,
)
from depthkit.data.importers.lying_there import say_beside, say_pages, split_about
from depthkit.data.importers.photo_order import time_photos
from depthkit.data.importers.places import find_folders, subfolders
from depthkit.data.importers.rgbd_poses import unused_poses
from depthkit.data.importers.source import (
    FrameRef,
    ImportOptions,
    Source,
    find_camera,
    first_size,
)
from depthkit.errors import DataError


def find(root: Path) -> dict[str, Path]:
    """Return the folders of pictures, by name; depth and masks beside colour are left out.

    One picture file is a sequence, too.
    """
    if root.is_file():
        return {root.stem: root} if read_kind(root).group == PICTURE else {}
    found = find_folders(root, lambda folder: bool(list_images(folder)))
    kinds = {name: kind_of_name(place.name) for name, place in found.items()}
    best = next((kind for kind in ("colour", "map") if kind in kinds.values()), "depth")
    best_found = {name: place for name, place in found.items() if kinds[name] == best}
    copies = smaller_copies([place.name for place in best_found.values()])
    return {name: place for name, place in best_found.items() if place.name not in copies}


def load(place: Path, name: str, options: ImportOptions) -> Source:
    """Take the colour pictures in natural order of their names, or in order of their EXIF times."""
    if place.is_file():
        return _load_one(place, name, options)
    colour, notes = _colour(place)
    paths, others = split_about(colour)
    size = first_size(paths, place)
    camera, calibration = find_camera((place, options.root), size, options, pictures=paths)
    found = time_photos(place, paths, options)
    notes = (*found.notes, *notes, *beside(place), *say_beside(place, paths, others))
    return Source(
        name=name,
        format="images",
        frames=tuple(FrameRef(paths[i]) for i in found.keep),
        times=found.times,
        camera=camera,
        notes=(*notes, *unused_poses((place, options.root), options)),
        assumed=found.assumed,
        origin={"calibration": calibration, **found.origin},
    )


def _load_one(path: Path, name: str, options: ImportOptions) -> Source:
    """Take one picture as a sequence of one frame."""
    size = first_size([path], path)
    camera, calibration = find_camera((path.parent,), size, options, pictures=[path])
    return Source(
        name=name,
        format="images",
        frames=(FrameRef(path),),
        times=np.zeros(1),
        camera=camera,
        notes=say_pages(path),
        origin={"calibration": calibration},
    )


def beside(place: Path) -> tuple[str, ...]:
    """Name the folders of depth, masks and the like beside a folder of pictures."""
    others = [
        p.name
        for p in subfolders(place.resolve().parent)
        if p != place.resolve() and kind_of_name(p.name) != "colour" and depth_files(p)
    ]
    names = [p.name for p in subfolders(place.resolve().parent)]
    copies = sorted(smaller_copies(names)) if place.name in names else []
    notes = []
    if others:
        notes.append(f"{', '.join(others)} beside {place.name}: depth or maps by name, not used")
    if copies and place.name not in copies:
        notes.append(f"{', '.join(copies)} beside {place.name}: smaller copies by name, not used")
    return tuple(notes)


def _colour(place: Path) -> tuple[list[Path], tuple[str, ...]]:
    """Return the colour pictures of a folder; one of depth pictures alone is refused."""
    paths = list_images(place)
    named_depth = kind_of_name(place.resolve().name) == "depth"
    colour, depth, maps = split_colour(paths)
    if (named_depth or not colour) and is_depth_picture(paths[0]) and not maps:
        raise DataError(
            f"{place}: holds depth (16 bit, one channel, named so), not frames; give the folder of "
            "the colour pictures, or the one that holds both"
        )
    colour, other_camera = first_camera(colour or paths)
    notes = (other_camera,) if other_camera else ()
    if not depth + maps or len(depth + maps) == len(paths):
        return colour, notes
    left_out = f"{len(depth)} depth pictures and {len(maps)} masks, labels or other maps by name"
    return colour, (f"{left_out}: left out of the frames", *notes)
