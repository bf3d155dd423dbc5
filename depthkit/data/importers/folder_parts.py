# SPDX-License-Identifier: Apache-2.0
"""What pictures of a folder are by their names: colour, depth, or maps that are neither.

A name counts by its words: `depth_0001`, `0001-depth`, `rgbDepth`, `sync_depth_00045`. NYU's raw
recordings write `r-TIME` and `d-TIME`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from depthkit.data.image_io import list_images, natural_key
from depthkit.data.importers.depth_unit import DEPTH_SUFFIXES, is_depth_picture

COLOUR_WORDS = frozenset(
    ("rgb", "color", "colour", "image", "images", "img", "imgs", "left", "frame", "frames", "r")
)
DEPTH_WORDS = frozenset(("depth", "depths", "dpt", "depthmap", "depthmaps", "dep", "d"))
MAP_WORDS = frozenset(
    (
        *("mask", "masks", "label", "labels", "seg", "semantic", "semantics", "sem", "instance"),
        *("instances", "normal", "normals", "confidence", "conf", "albedo", "flow", "disparity"),
        *("disp", "occlusion", "ir", "infrared", "uncertainty", "segmentation", "segmentations"),
        *("segm", "panoptic", "annotation", "annotations", "annot", "matte", "overlay", "gt"),
        *("groundtruth", "heatmap", "heatmaps", "saliency", "trimap"),
    )
)
"""Words of pictures that are neither frames nor depth."""

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_NYU_RAW = re.compile(r"[rd]-\d+\.\d+-\d+$")


def words_of(name: str) -> set[str]:
    """Return the words in a name, in lower case."""
    return {word.lower() for word in _WORD.findall(name)}


def kind_of_name(name: str) -> str:
    """Return 'depth', 'map' or 'colour' for the name of a picture or folder."""
    words = words_of(name)
    single = {"d"} if not _NYU_RAW.match(name) and name.lower() != "d" else set()
    if words & (DEPTH_WORDS - single):
        return "map" if words & (MAP_WORDS - {"ir", "infrared"}) else "depth"
    return "map" if words & MAP_WORDS else "colour"


def is_nyu_raw(path: Path) -> bool:
    """Whether a file is named as in NYU's raw recordings."""
    return _NYU_RAW.match(path.stem) is not None


def depth_files(folder: Path) -> list[Path]:
    """Return files of a depth folder in natural order: pictures, .npy, .exr."""
    files = (p for p in folder.iterdir() if p.suffix.lower() in DEPTH_SUFFIXES)
    return sorted((p for p in files if p.name[0] != "."), key=lambda p: natural_key(p.name))


def split_colour(paths: Sequence[Path]) -> tuple[list[Path], list[Path], list[Path]]:
    """Return (colour, depth, maps) of the pictures of one folder.

    Names decide; where they do not, pictures of 16 bit whose stem another one of 8 bit has are
    depth (0001.jpg and 0001.png).
    """
    kinds: dict[str, list[Path]] = {"colour": [], "depth": [], "map": []}
    for path in paths:
        kinds[kind_of_name(path.stem)].append(path)
    colour = kinds["colour"]
    stems = [path.stem for path in colour]
    doubled = [path for path in colour if stems.count(path.stem) > 1] if not kinds["depth"] else []
    if doubled and len(doubled) == len(colour):
        suffixes = {path.suffix for path in doubled}
        deep = {s for s in suffixes if is_depth_picture(next(p for p in doubled if p.suffix == s))}
        if deep and deep != suffixes:
            kinds["depth"] = [path for path in doubled if path.suffix in deep]
            colour = [path for path in doubled if path.suffix not in deep]
    return colour, kinds["depth"], kinds["map"]


_SIDES = ({"left", "right"}, {"l", "r"}, {"cam0", "cam1"}, {"cam1", "cam2"})
"""Words that distinguish two cameras in one folder; the first is taken."""


def first_camera(paths: Sequence[Path]) -> tuple[list[Path], str]:
    """Keep the first camera of a stereo pair whose pictures lie in one folder.

    Args:
        paths: colour pictures.

    Returns:
        kept: those of the left camera; all where there is one camera.
        note: what was left out; empty where nothing was.
    """
    for first, second in (sorted(pair) for pair in _SIDES):
        sides = {side: _side(paths, side) for side in (first, second)}
        left, right = (dict(side) for side in sides.values())
        if len(left) > 1 and left.keys() == right.keys() and 2 * len(left) == len(paths):
            note = f"{len(right)} pictures of a second camera ({second} beside {first}): left out"
            return list(left.values()), note
    return list(paths), ""


def _side(paths: Sequence[Path], side: str) -> list[tuple[str, Path]]:
    """Return the pictures that have a word in their name, by the rest of it."""
    split = [(path, re.split(r"[^A-Za-z0-9]+", path.stem.lower())) for path in paths]
    return [(" ".join(w for w in words if w != side), p) for p, words in split if side in words]


def smaller_copies(names: Sequence[str]) -> set[str]:
    """Return folders that are named as another one and a factor, such as images_4 of images."""
    return {n for n in names if re.sub(r"_(2|4|8|16)$", "", n) in set(names) - {n}}


def pair_key(stem: str) -> str:
    """Return what names a frame in colour, depth and pose files alike: its stem less kind words.

    `rgb_00045` and `sync_depth_00045` are both 45; `0001_left` and `0001_left_depth` are
    '1 left'; NYU's raw names have no common part and keep their own.
    """
    drop = COLOUR_WORDS | DEPTH_WORDS | {"sync", "pose", "poses", "aligned", "cam", "camera"}
    parts = re.findall(r"\d+(?:\.\d+)?|[A-Z]?[a-z]+|[A-Z]+(?![a-z])", stem)
    kept = [part for part in parts if part.lower() not in drop]
    return " ".join(part.lstrip("0") or "0" if part[0].isdigit() else part.lower() for part in kept)


def pair_by_key(wanted: Sequence[str], keys: Sequence[str]) -> tuple[list[int | None], bool]:
    """Find for each wanted key where it stands; numbers that count from another start are shifted.

    Args:
        wanted: keys of the frames.
        keys: keys of depth or pose files.

    Returns:
        index: into `keys`, None where a key is missing.
        shifted: whether both are unbroken counts of one length from different starts (0 and 1),
            which are paired in order.
    """
    counts = [sorted(int(k) for k in ks) if _are_numbers(ks) else [] for ks in (wanted, keys)]
    unbroken = [c == list(range(c[0], c[0] + len(c))) if c else False for c in counts]
    if all(unbroken) and len(counts[0]) == len(counts[1]) and counts[0] != counts[1]:
        at = {int(key): i for i, key in enumerate(keys)}
        shift = counts[1][0] - counts[0][0]
        return [at[int(key) + shift] for key in wanted], True
    place = {key: i for i, key in reversed(list(enumerate(keys)))}
    return [place.get(key) for key in wanted], False


def _are_numbers(keys: Sequence[str]) -> bool:
    return bool(keys) and all(key.isdecimal() for key in keys)


def depth_beside(folder: Path) -> list[Path]:
    """Return the folders of depth in a folder, the plainest name first."""
    children = [p for p in folder.iterdir() if p.is_dir() and p.name[0] != "."]
    depth = [p for p in children if kind_of_name(p.name) == "depth" and depth_files(p)]
    return sorted(depth, key=lambda p: (len(p.name), p.name))


def colour_folders(folder: Path) -> list[Path]:
    """Return the folders of colour pictures in a folder, those with a usual name first."""
    children = [p for p in folder.iterdir() if p.is_dir() and p.name[0] != "."]
    colour = [p for p in children if kind_of_name(p.name) == "colour" and list_images(p)]
    return sorted(colour, key=lambda p: (not is_usual(p), natural_key(p.name)))


def is_usual(folder: Path) -> bool:
    """Whether a folder has one of the usual names of colour pictures."""
    return bool(words_of(folder.name) & (COLOUR_WORDS - {"r"}))
