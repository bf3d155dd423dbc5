# SPDX-License-Identifier: Apache-2.0
"""Small sources in the exact layout of each data set, and shorthands to prepare them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depthkit.camera import Camera, SourceCamera
from depthkit.data.prepare import Prepared, PrepareOptions, Watcher, prepare
from depthkit.data.sequence import Sequence, open_sequence

H, W = 24, 32
PINHOLE = SourceCamera(Camera(W, H, 30.0, 31.0, 15.0, 12.0))


def picture(i: int, size: tuple[int, int] = (H, W)) -> np.ndarray:
    """A smooth picture that differs for each i. (H, W, 3) uint8 RGB"""
    coarse = np.random.default_rng(i).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


def save(path: Path, rgb: np.ndarray) -> None:
    """Write RGB, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), rgb[..., ::-1] if rgb.ndim == 3 else rgb)


def make_images(folder: Path, count: int = 20, size: tuple[int, int] = (H, W)) -> Path:
    """A folder of frame1.png, frame2.png, ..."""
    for i in range(count):
        save(folder / f"frame{i + 1}.png", picture(i, size))
    return folder


def make_video(path: Path, count: int = 10, fps: float = 10.0, codec: str = "mp4v") -> Path:
    """A video whose i-th frame is a flat grey of 20 * i, brighter in its top half."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (64, 48))
    for i in range(count):
        grey = np.full((48, 64, 3), 20 * i, np.uint8)
        grey[:24] += 40
        writer.write(grey)
    writer.release()
    return path


def run(source: Path, out: Path, watcher: Watcher | None = None, **options: Any) -> list[Prepared]:
    """Prepare with the small camera unless told otherwise; PNG so that pixels stay exact."""
    values = {"camera": PINHOLE, "ext": "png", **options}
    request = PrepareOptions(source=source, out=out, **values)
    return prepare(request, watcher or Watcher())


def run_one(source: Path, out: Path, **options: Any) -> Sequence:
    """Prepare a source of one sequence and open it."""
    (result,) = run(source, out, **options)
    return open_sequence(result.path)


def listener() -> tuple[list[str], Watcher]:
    """A list that collects the notes, and its watcher."""
    notes: list[str] = []
    return notes, Watcher(note=notes.append)


def interrupter(after: int) -> Watcher:
    """A watcher that behaves like Ctrl-C once so many frames are finished."""
    done = [0]

    def advance(count: int) -> None:
        done[0] += count
        if done[0] >= after:
            raise KeyboardInterrupt

    return Watcher(advance=advance)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def corrupt(
    path: Path, change: Callable[[bytes], bytes] = lambda data: data[: len(data) // 2]
) -> None:
    """Damage a file; by default its second half is lost."""
    path.write_bytes(change(path.read_bytes()))
