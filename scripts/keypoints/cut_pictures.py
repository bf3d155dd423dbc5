# SPDX-License-Identifier: Apache-2.0
"""Cut random windows of pictures of any size into one sequence folder: unlabelled training data.

Pictures with transparent parts are pasted over the windows of the others, turned and enlarged at
random. `python scripts/keypoints/cut_pictures.py OUT FOLDER...`; the same seed gives the same
windows.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from depthkit.camera import Camera
from depthkit.data.sequence import SequenceWriter, read_split, write_split

SIDE = 96  # pixels: smaller pictures are left out
ENLARGE = 1.6  # largest enlargement of a picture's own pixels
PASTED = 5  # largest number of pictures pasted on a window


def main() -> None:
    """Read arguments, cut windows, write the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="sequence folder to write")
    parser.add_argument("folders", type=Path, nargs="+", help="folders of pictures, at any depth")
    parser.add_argument("--count", type=int, default=1500, help="windows to write")
    parser.add_argument("--size", default="480x640", help="height and width of a window, HxW")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    height, width = (int(side) for side in args.size.split("x"))
    files = sorted(
        file
        for folder in args.folders
        for file in folder.rglob("*")
        if file.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp") and file.is_file()
    )
    write_windows(args.out, files, size=(height, width), count=args.count, seed=args.seed)


def write_windows(
    out: Path, files: list[Path], *, size: tuple[int, int], count: int, seed: int
) -> None:
    """Write `count` windows of (H, W) pixels; every picture is read once."""
    rng = np.random.default_rng(seed)
    grounds, pasted = list[np.ndarray](), list[np.ndarray]()
    for file in files:
        picture = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        if picture is None or picture.dtype != np.uint8 or min(picture.shape[:2]) < SIDE:
            continue
        if picture.ndim == 2:
            picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
        shrink = min(1.0, 1600 / max(picture.shape[:2]))
        picture = cv2.resize(picture, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        see_through = picture.shape[2] == 4 and float((picture[..., 3] < 128).mean()) > 0.02
        (pasted if see_through else grounds).append(
            picture if see_through else np.ascontiguousarray(picture[..., :3])
        )
    if not grounds:
        raise SystemExit("no picture of 96 pixels or more in these folders")
    print(f"{len(grounds)} pictures, {len(pasted)} to paste")
    height, width = size
    camera = Camera(width, height, width, width, (width - 1) / 2, (height - 1) / 2)
    with SequenceWriter(out, camera, depth_kind="none") as writer:
        for number in range(count):
            window = cut(grounds[rng.integers(len(grounds))], size, rng)
            for _ in range(rng.integers(PASTED + 1) if pasted else 0):
                paste(window, pasted[rng.integers(len(pasted))], rng)
            writer.add_frame(window[..., ::-1], float(number))
    # The folder joins the training sequences of the data set that it lies in.
    split = read_split(out.parent) if (out.parent / "split.yaml").exists() else {"train": ()}
    write_split(out.parent, **split | {"train": sorted({*split["train"], out.name})})


def cut(picture: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Cut a window of a random part of a picture, mirrored at its edges where it is too small."""
    whole = min(picture.shape[0] / size[0], picture.shape[1] / size[1])
    scale = whole * float(np.exp(rng.uniform(np.log(min(0.4, 1 / (ENLARGE * whole))), 0)))
    scale = max(scale, min(whole, 1 / ENLARGE))
    h, w = (max(8, round(side * scale)) for side in size)
    top, left = rng.integers(picture.shape[0] - h + 1), rng.integers(picture.shape[1] - w + 1)
    part = picture[top : top + h, left : left + w]
    way = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
    return cv2.resize(part, size[::-1], interpolation=way)


def paste(window: np.ndarray, picture: np.ndarray, rng: np.random.Generator) -> None:
    """Paste a picture with transparent parts, in place: turned, scaled and moved at random."""
    height, width = window.shape[:2]
    side = rng.uniform(0.15, 0.7) * height
    scale = min(ENLARGE, side / max(picture.shape[:2]))
    middle = picture.shape[1] / 2, picture.shape[0] / 2
    A = cv2.getRotationMatrix2D(middle, rng.uniform(-180, 180), scale)
    A[:, 2] += np.array([rng.uniform(0.1, 0.9) * width, rng.uniform(0.1, 0.9) * height]) - middle
    way = cv2.INTER_LINEAR if scale > 0.6 else cv2.INTER_AREA
    if scale < 0.6:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=way)
        A[:, :2] /= scale
        middle_small = picture.shape[1] / 2, picture.shape[0] / 2
        A[:, 2] += A[:, :2] @ (np.array(middle) * scale - middle_small)
    placed = cv2.warpAffine(picture, A, (width, height))
    alpha = placed[..., 3:].astype(np.float32) / 255
    window[:] = (window * (1 - alpha) + placed[..., :3] * alpha).astype(np.uint8)


if __name__ == "__main__":
    main()
