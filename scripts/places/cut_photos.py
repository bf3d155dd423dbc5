#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cut photographs into tiles that do not overlap: each is a place of its own for task place.

    python scripts/places/cut_photos.py OUT FOLDER...    folders are searched to any depth

Of pictures in one folder the largest is taken, because the others are often the same one smaller.
Flat tiles (sky, plain colour) are left out: nobody could tell them apart.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from depthkit.data.image_io import encode, list_images, read_rgb, read_size, write_atomic

ROWS, COLUMNS = 3, 3
LEAST_SIDE = 900  # pixels: smaller pictures are icons and previews
LEAST_TEXTURE = 12.0  # grey levels: standard deviation of a tile
SIZE = (240, 320)  # of a tile on disk, pixels


def main() -> None:
    """Cut all, say how many tiles there are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("folders", type=Path, nargs="+", help="folders of photographs")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    count = 0
    for number, path in enumerate(path for root in args.folders for path in photographs(root)):
        for place, tile in enumerate(tiles(read_rgb(path))):
            data = encode(tile, "jpg")
            write_atomic(args.out / f"{number:04d}_{place}_{path.stem}.jpg", data)
            count += 1
    print(f"{args.out}: {count} tiles")


def photographs(root: Path) -> list[Path]:
    """List the photographs below a folder: in folders of one subject's sizes the largest alone."""
    found = []
    for folder in sorted({root, *(path for path in root.rglob("*") if path.is_dir())}):
        pictures = [path for path in list_images(folder) if min(read_size(path)) >= LEAST_SIDE]
        if folder.name.startswith("images") and pictures:
            pictures = [max(pictures, key=lambda path: min(read_size(path)))]
        found += pictures
    return found


def tiles(picture: np.ndarray) -> list[np.ndarray]:
    """Cut a picture into a grid, and keep what has texture. (H, W, 3) uint8 -> (h, w, 3) each"""
    kept = []
    for band in np.array_split(picture, ROWS, axis=0):
        for tile in np.array_split(band, COLUMNS, axis=1):
            small = cv2.resize(tile, SIZE[::-1], interpolation=cv2.INTER_AREA)
            if cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).std() >= LEAST_TEXTURE:
                kept.append(small)
    return kept


if __name__ == "__main__":
    main()
