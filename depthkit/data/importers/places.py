# SPDX-License-Identifier: Apache-2.0
"""Which folders of a source are sequences: itself, those in it, or those two levels down."""

from collections.abc import Callable
from pathlib import Path

from depthkit.data.image_io import natural_key

LEVELS = 2


def find_folders(root: Path, is_sequence: Callable[[Path], bool]) -> dict[str, Path]:
    """Return the folders that are sequences, by name, from the first level that has any.

    Two of the same name are distinguished by the folder above. Hidden folders are passed over.
    """
    if not root.is_dir():
        return {}
    level = [root]
    for _ in range(LEVELS + 1):
        found = [folder for folder in level if is_sequence(folder)]
        if found:
            return _named(found, root)
        level = [child for folder in level for child in subfolders(folder)]
    return {}


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder in natural order, hidden ones and @eaDir left out."""
    children = (p for p in folder.iterdir() if p.name[0] not in ".@" and p.is_dir())
    return sorted(children, key=lambda p: natural_key(p.name))


def _named(folders: list[Path], root: Path) -> dict[str, Path]:
    if folders == [root]:
        return {root.resolve().name: root}
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names):
        names = [f"{folder.parent.name}_{folder.name}" for folder in folders]
    return dict(zip(names, folders, strict=True))
