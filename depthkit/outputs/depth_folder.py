# SPDX-License-Identifier: Apache-2.0
"""A folder of depth maps on disk: which files, in which unit, and whether they are metres."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from depthkit.data.image_io import natural_key, read_mask, read_rgb, read_uint16
from depthkit.errors import DataError

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
