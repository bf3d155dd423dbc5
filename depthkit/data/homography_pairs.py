# SPDX-License-Identifier: Apache-2.0
"""Picture pairs that a known homography relates: HPatches' layout and that of Oxford's pictures.

HPatches (Balntas et al., CVPR 2017): SCENE/1.ppm .. 6.ppm and H_1_2 .. H_1_6. Oxford (Mikolajczyk
et al., IJCV 2005): SCENE/img1.ppm .. img6.ppm and H1to2p .. H1to6p. Both map pixels of the first
picture to pixels of the other one, integer pixel centres, (0, 0) the centre of the first pixel.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depthkit.data.image_io import list_images, natural_key, read_rgb
from depthkit.errors import DataError

_PICTURE = re.compile(r"(?:img)?(\d+)")
_TRUTH = ("H_1_{}", "H1to{}p", "H_1_{}.txt", "H1to{}p.txt")


@dataclass(frozen=True, eq=False)
class HomographyPair:
    """Two pictures of a plane, or of one place from one point."""

    scene: str
    name: str
    """Numbers of the two pictures, as 1-3."""
    first: Path
    second: Path
    H_second_first: np.ndarray
    """Pixels of the first to pixels of the second. (3, 3)"""

    def read_pictures(self) -> tuple[np.ndarray, np.ndarray]:
        """Read both. (H, W, 3) uint8 RGB each"""
        return read_rgb(self.first), read_rgb(self.second)


def find_homography_pairs(root: Path | str) -> list[HomographyPair]:
    """Find the pairs of a scene, or of all scenes in a folder, in natural order.

    Raises:
        DataError: no such folder, no scene in it, or a scene that lacks a homography.
    """
    root = Path(root)
    if not root.is_dir():
        what = "is a file; name its folder" if root.exists() else "no such folder"
        raise DataError(f"{root}: {what}")
    if _pictures(root):
        return _pairs_of(root)
    inner = sorted((p for p in root.iterdir() if p.is_dir()), key=lambda p: natural_key(p.name))
    scenes = [folder for folder in inner if folder.name[0] != "." and _pictures(folder)]
    if not scenes:
        raise DataError(
            f"{root}: holds no scene; expected folders with 1.ppm, 2.ppm .. and H_1_2 .. "
            "(HPatches), or img1.ppm .. and H1to2p .. (Oxford); png, jpg and pgm will do"
        )
    return [pair for scene in scenes for pair in _pairs_of(scene)]


def _pictures(folder: Path) -> dict[int, Path]:
    """Return the numbered pictures of a folder; none where the first is not there."""
    found = {
        int(named[1]): path
        for path in list_images(folder)
        if (named := _PICTURE.fullmatch(path.stem.lower()))
    }
    return found if 1 in found and len(found) > 1 else {}


def _pairs_of(scene: Path) -> list[HomographyPair]:
    """Pair the first picture with each other one."""
    pictures = _pictures(scene)
    return [
        HomographyPair(
            scene.resolve().name,
            f"1-{number}",
            pictures[1],
            path,
            _read_homography(scene, number),
        )
        for number, path in sorted(pictures.items())
        if number != 1
    ]


def _read_homography(scene: Path, number: int) -> np.ndarray:
    """Read a file of nine numbers. (3, 3)"""
    names = [form.format(number) for form in _TRUTH]
    file = next((scene / name for name in names if (scene / name).is_file()), None)
    if file is None:
        raise DataError(
            f"{scene}: no homography of picture {number}; expected {names[0]} or {names[1]}, 3x3 "
            "numbers from the first picture to it"
        )
    try:
        numbers = np.array(file.read_text(encoding="utf-8").split(), float)
    except (ValueError, UnicodeDecodeError):
        raise DataError(f"{file}: expected 3x3 numbers, found other text") from None
    if numbers.size != 9:
        raise DataError(f"{file}: expected 3x3 numbers, found {numbers.size}")
    H = numbers.reshape(3, 3)
    if not np.isfinite(H).all() or not H[2, 2] or np.linalg.cond(H / H[2, 2]) > 1e12:
        raise DataError(f"{file}: its 3x3 numbers are no homography (not invertible)")
    return H / H[2, 2]
