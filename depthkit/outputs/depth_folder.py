# SPDX-License-Identifier: Apache-2.0
"""A folder of depth maps on disk: which files, in which unit, and whether they are metres.

Depth is written with ONE factor for all frames of a folder, kept beside them in depth.yaml with the
kind of scale: frames stay comparable. The reader also takes folders that others wrote.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import yaml

from depthkit.config.yaml_text import dump_yaml
from depthkit.data.image_io import (
    encode,
    natural_key,
    read_mask,
    read_rgb,
    read_uint16,
    write_atomic,
)
from depthkit.errors import DataError

Scale = Literal["metric", "relative"]

LARGEST = np.iinfo(np.uint16).max
HEADROOM = 4.0  # the first frame may be this much nearer than a later one

DEFAULT_DEPTH_SCALE = 1000.0
"""PNG values a metre where nothing says otherwise (millimetres, as RGB-D cameras write)."""

_RELATIVE = {"relative", "up_to_scale"}

_SETTINGS = ("depth.yaml", "camera.yaml")


@dataclass(frozen=True)
class DepthMaps:
    """Depth maps by name; each is read when asked for."""

    root: Path
    """The folder that was named, or the sequence folder around it."""
    files: dict[str, Path]
    """Stem to file, in natural order."""
    depth_scale: float
    """PNG value / depth_scale = metres (or the relative unit)."""
    is_relative: bool
    notes: tuple[str, ...]

    def read(self, name: str) -> np.ndarray:
        """Read one map, 0 = unknown. (H, W) float32"""
        path = self.files[name]
        if path.suffix == ".png":
            return read_uint16(path).astype(np.float32) / np.float32(self.depth_scale)
        return _read_npy(path)

    def read_valid(self) -> np.ndarray | None:
        """Read valid.png of the sequence, None where there is none. (H, W) bool"""
        path = self.root / "valid.png"
        return read_mask(path) if path.exists() else None

    def read_image(self, name: str) -> np.ndarray | None:
        """Read the frame of a sequence folder that belongs to a map. (H, W, 3) uint8"""
        found = sorted((self.root / "frames").glob(f"{name}.*"))
        return read_rgb(found[0]) if found else None


def open_depth_maps(root: str | Path) -> DepthMaps:
    """Open a folder of PNG or .npy maps, or one that keeps them in `depth/`.

    Raises:
        DataError: no such folder, no maps, one name twice, or a bad depth_scale.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    folder = root / "depth" if (root / "depth").is_dir() else root
    if folder is root and (root.resolve().parent / "camera.yaml").exists():
        root = root.resolve().parent  # SEQUENCE/depth was named: its frames and valid.png lie above
    paths = [p for p in folder.iterdir() if p.suffix in (".png", ".npy") and p.name[0] != "."]
    files: dict[str, Path] = {}
    for path in sorted(paths, key=lambda p: natural_key(p.name)):
        if path.stem in files:
            raise DataError(f"{folder}: {path.stem} is there twice, as .png and as .npy; keep one")
        files[path.stem] = path
    if not files:
        raise DataError(f"{folder}: holds no depth maps (.png or .npy)")
    found = _find_settings(folder)
    scale, kind = DEFAULT_DEPTH_SCALE, "metric"
    notes: tuple[str, ...] = ()
    if found is not None:
        scale, kind = _read_settings(found)
    elif any(path.suffix == ".png" for path in files.values()):
        notes = (f"{folder}: no depth.yaml or camera.yaml; PNG values taken as millimetres",)
    return DepthMaps(root, files, scale, kind in _RELATIVE, notes)


def _find_settings(folder: Path) -> Path | None:
    """Look for depth.yaml (of infer) or camera.yaml (of a sequence) here, then one up."""
    candidates = [place / name for place in (folder, folder.parent) for name in _SETTINGS]
    return next((path for path in candidates if path.exists()), None)


def _read_settings(path: Path) -> tuple[float, str]:
    """Return depth_scale and the kind of scale."""
    try:
        settings: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        raise DataError(f"{path}: is not YAML") from None
    settings = settings if isinstance(settings, dict) else {}
    scale = settings.get("depth_scale", DEFAULT_DEPTH_SCALE)
    if not isinstance(scale, (int, float)) or not np.isfinite(scale) or scale <= 0:
        raise DataError(f"{path}: depth_scale must be a number above 0, got {scale!r}")
    return float(scale), str(settings.get("scale", settings.get("depth_kind", "metric")))


def _read_npy(path: Path) -> np.ndarray:
    """Read an array of depth. (H, W) float32"""
    try:
        depth = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError):
        raise DataError(f"{path}: is not a NumPy array file") from None
    if depth.ndim != 2 or not np.issubdtype(depth.dtype, np.floating):
        raise DataError(f"{path}: expected (H, W) floats, got {depth.dtype} of {depth.shape}")
    return np.asarray(depth, dtype=np.float32)


# --- writing -------------------------------------------------------------------------------------


class DepthFolder:
    """Depth as 16-bit PNG and `depth.yaml`, which says how to read them.

    A pixel is round(depth * depth_scale), 0 where depth is unknown. The factor is chosen at the
    first frame; a later frame that does not fit lowers it, and what is there is written again.
    """

    def __init__(self, folder: Path, *, scale: Scale, scale_source: str) -> None:
        """Make the folder.

        Args:
            folder: must not exist.
            scale: metric (depth in metres) or relative (one unknown factor for all frames).
            scale_source: where the scale came from, in words.
        """
        _make_new_folder(folder)
        self.folder, self.scale, self.scale_source = folder, scale, scale_source
        self.depth_scale = 0.0
        self.paths: list[Path] = []

    def add(self, name: str, depth: np.ndarray) -> None:
        """Write one frame.

        Args:
            name: file name without suffix.
            depth: metres or relative; not finite or not positive is unknown. (H, W)
        """
        known = np.isfinite(depth) & (depth > 0)
        largest = float(depth[known].max()) if known.any() else 0.0
        if largest > 0 and not self.depth_scale:
            self.depth_scale = choose_depth_scale(largest)
        elif largest * self.depth_scale > LARGEST:
            self._lower(choose_depth_scale(largest))
        raw = np.rint(np.where(known, depth, 0).astype(np.float64) * self.depth_scale)
        # What is known must not become 0, which means unknown.
        raw = np.where(known, np.maximum(raw, 1), 0)
        path = self.folder / f"{name}.png"
        write_atomic(path, encode(raw.astype(np.uint16), "png"))
        self.paths.append(path)

    def close(self, **more: str) -> None:
        """Write depth.yaml. more: further keys, about what lies beside the maps."""
        record = {
            "depth_scale": self.depth_scale or 1.0,
            "meaning": "PNG value / depth_scale = depth along the optical axis, 0 = unknown",
            "scale": self.scale,
            "unit": "metres" if self.scale == "metric" else "one unknown factor for all frames",
            "scale_source": self.scale_source,
        } | more
        write_atomic(self.folder / "depth.yaml", dump_yaml(record))

    def _lower(self, depth_scale: float) -> None:
        for path in self.paths:
            raw = np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
            lower = np.rint(raw * (depth_scale / self.depth_scale))
            lower = np.where(raw > 0, np.maximum(lower, 1), 0).astype(np.uint16)
            write_atomic(path, encode(lower, "png"))
        self.depth_scale = depth_scale


def choose_depth_scale(largest: float) -> float:
    """Return the factor 1, 2 or 5 times a power of ten that leaves room above a depth.

    Args:
        largest: largest depth of the first frame.
    """
    most = LARGEST / (HEADROOM * largest)
    decade = 10.0 ** math.floor(math.log10(most))
    return next(step * decade for step in (5, 2, 1) if step * decade <= most * (1 + 1e-12))


def _make_new_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot make folder: {error.strerror}") from error
