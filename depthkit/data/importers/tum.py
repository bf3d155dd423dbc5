# SPDX-License-Identifier: Apache-2.0
"""TUM RGB-D: rgb.txt or rgb/<timestamp>.png, groundtruth.txt, depth.txt (5000 a metre).

Depth pictures are registered to the colour camera. Official sequences have published calibrations,
chosen by 'freiburg1|2|3' in the folder's name; others need K.txt, camera.yaml or --camera.
"""

from pathlib import Path

import numpy as np

from depthkit.camera import Camera, SourceCamera
from depthkit.data.image_io import list_images, read_uint16
from depthkit.data.importers.source import (
    DepthSource,
    FrameRef,
    ImportOptions,
    Source,
    find_camera,
    first_size,
)
from depthkit.errors import DataError
from depthkit.trajectory import interpolate_poses, load_tum

DEPTH_SCALE = 5000.0
DEPTH_GAP = 0.02
"""Seconds between a frame and its depth, at most; the default of the data set's own tool."""

# fx, fy, cx, cy and k1 k2 p1 p2 k3 of the colour cameras, 640x480, from the data set's page.
CALIBRATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "freiburg1": (
        (517.3, 516.5, 318.6, 255.3),
        (0.2624, -0.9531, -0.0054, 0.0026, 1.1633),
    ),
    "freiburg2": (
        (520.9, 521.0, 325.1, 249.7),
        (0.2312, -0.7849, -0.0033, -0.0001, 0.9172),
    ),
    "freiburg3": ((535.4, 539.2, 320.1, 247.6), ()),
}


def find(root: Path) -> dict[str, Path]:
    """Return folders with rgb.txt or time-stamped rgb/ pictures, by name."""
    if not root.is_dir():
        return {}
    if _is_sequence(root):
        return {root.resolve().name: root}
    return {p.name: p for p in sorted(root.iterdir()) if p.is_dir() and _is_sequence(p)}


def load(place: Path, name: str, options: ImportOptions) -> Source:
    """Read the lists, put depth to frames by time and interpolate poses at the frame times."""
    times, paths = _listing(place, "rgb")
    size = first_size(paths, place)
    camera, calibration = find_camera(
        (place, options.root), size, options, fallback=_published(place)
    )
    poses, pose_notes = _poses(place / "groundtruth.txt", times, options.max_gap)
    depth, depth_notes = _depth(place, times)
    return Source(
        name=name,
        format="tum",
        frames=tuple(FrameRef(path) for path in paths),
        times=times,
        camera=camera,
        poses=poses,
        depth=depth,
        notes=pose_notes + depth_notes,
        origin={"calibration": calibration},
    )


def read_depth(path: Path) -> np.ndarray:
    """Read depth in metres, 0 = unknown. (H, W) float32"""
    return read_uint16(path).astype(np.float32) / np.float32(DEPTH_SCALE)


def _is_sequence(folder: Path) -> bool:
    if (folder / "rgb.txt").is_file():
        return True
    rgb = folder / "rgb"
    images = list_images(rgb) if rgb.is_dir() else []
    return bool(images) and all("." in p.stem and _is_number(p.stem) for p in images[:3])


def _listing(place: Path, kind: str) -> tuple[np.ndarray, list[Path]]:
    """Read `timestamp file` lines of rgb.txt or depth.txt, or the names in the folder."""
    table = place / f"{kind}.txt"
    if not table.is_file():
        folder = place / kind
        paths = [p for p in (list_images(folder) if folder.is_dir() else []) if _is_number(p.stem)]
        pairs = sorted((float(p.stem), p) for p in paths)
    else:
        try:
            rows = [line.split() for line in table.read_text(encoding="utf-8").splitlines()]
        except UnicodeDecodeError:
            raise DataError(f"{table}: is not a text file") from None
        rows = [row for row in rows if row and not row[0].startswith("#")]
        for row in rows:
            if len(row) != 2 or not _is_number(row[0]):
                raise DataError(f"{table}: expected 'timestamp file', got {' '.join(row)!r}")
        pairs = sorted((float(row[0]), place / row[1]) for row in rows)
    return np.array([t for t, _ in pairs]), [p for _, p in pairs]


def _published(place: Path) -> tuple[SourceCamera, str] | None:
    """Return the data set's own calibration for an official folder name."""
    key = next((key for key in CALIBRATIONS if key in place.resolve().name), None)
    if key is None:
        return None
    intrinsics, D = CALIBRATIONS[key]
    camera = Camera(640, 480, *intrinsics)
    return SourceCamera(camera, "brown_conrady" if D else "none", D), f"published for {key}"


def _poses(
    path: Path, times: np.ndarray, max_gap: float
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Interpolate groundtruth.txt at the frame times; outside it a frame has no pose."""
    if not path.is_file():
        return None, ("no groundtruth.txt: frames are stored without poses",)
    poses, _ = interpolate_poses(load_tum(path, repeats="first"), times, max_gap)
    return poses, ()


def _depth(place: Path, times: np.ndarray) -> tuple[DepthSource | None, tuple[str, ...]]:
    """Put the nearest depth picture within `DEPTH_GAP` to each frame."""
    stamps, files = _listing(place, "depth")
    if not files:
        return None, ("no depth: frames are stored without it",)
    nearest = np.searchsorted((stamps[1:] + stamps[:-1]) / 2, times)
    near = np.abs(times - stamps[nearest]) <= DEPTH_GAP
    paths = tuple(files[i] if ok else None for i, ok in zip(nearest, near, strict=True))
    missing = paths.count(None)
    if missing == len(paths):
        return None, (f"no depth within {DEPTH_GAP:g} s of any frame: stored without it",)
    notes = (f"{missing} of {len(paths)} frames have no depth near them",) if missing else ()
    return DepthSource(paths, read_depth, DEPTH_SCALE), notes


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
