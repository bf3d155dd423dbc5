# SPDX-License-Identifier: Apache-2.0
"""A folder of depth maps on disk: which files, in which unit, and whether they are metres."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from depthkit.data.depth_files import DEPTH_SUFFIXES, StoredDepth, read_depth_file
from depthkit.data.image_io import natural_key, read_mask, read_rgb
from depthkit.errors import DataError

DEFAULT_DEPTH_SCALE = 1000.0
"""PNG values a metre where nothing says otherwise (millimetres, as RGB-D cameras write)."""

SATURATED = 65535
"""Largest number of 16 bits: unknown depth (7-Scenes), or more than fits; no depth in any case."""

_RELATIVE = {"relative", "up_to_scale"}

_SETTINGS = ("depth.yaml", "camera.yaml")

_ROLE = r"[._-]?(depth|color|colour|rgb|image|pred|gt|disp|left|aligned)(?=$|[._-])"
"""Words in a file's name that say what it shows, not which frame it is."""


@dataclass(frozen=True)
class DepthMaps:
    """Depth maps by name; each is read when asked for."""

    root: Path
    """The folder that was named, or the sequence folder around it."""
    files: dict[str, Path]
    """Stem to file, in natural order."""
    depth_scale: float
    """Stored whole number / depth_scale = metres (or the relative unit)."""
    float_scale: float
    """The same of stored floats: 1, metres, unless the user says otherwise."""
    is_relative: bool
    is_unit_assumed: bool
    """Nobody states the unit of the stored numbers."""
    notes: tuple[str, ...]

    def read(self, name: str) -> np.ndarray:
        """Read one map, 0 = unknown. (H, W) float32"""
        stored = read_depth_file(self.files[name])
        if stored.is_whole:
            stored.values[stored.values == SATURATED] = 0
        return stored.values / np.float32(self.depth_scale if stored.is_whole else self.float_scale)

    def read_valid(self) -> np.ndarray | None:
        """Read valid.png of the sequence, None where there is none. (H, W) bool"""
        path = self.root / "valid.png"
        return read_mask(path) if path.exists() else None

    def read_image(self, name: str) -> np.ndarray | None:
        """Read the frame of a sequence folder that belongs to a map. (H, W, 3) uint8"""
        found = sorted((self.root / "frames").glob(f"{name}.*"))
        return read_rgb(found[0]) if found else None


def open_depth_maps(
    root: str | Path, scale: float | None = None, option: str = "--depth-scale"
) -> DepthMaps:
    """Open a folder of depth maps, or one that keeps them in `depth/`.

    Args:
        root: the folder.
        scale: stored value per metre; None: as depth.yaml or camera.yaml say, else millimetres
            for whole numbers and metres for floats, which is said.
        option: name of the option that sets `scale`, for the note.

    Raises:
        DataError: no such folder, no maps, one name twice, or a bad depth_scale.
    """
    root = Path(root)
    if not root.is_dir():
        what = "is a file; name the folder that holds it" if root.exists() else "no such folder"
        raise DataError(f"{root}: {what}")
    folder = root / "depth" if (root / "depth").is_dir() else root
    if folder is root and (root.resolve().parent / "camera.yaml").exists():
        root = root.resolve().parent  # SEQUENCE/depth was named: its frames and valid.png lie above
    files = _list_maps(folder)
    found = _find_settings(folder)
    first = read_depth_file(next(iter(files.values())))
    stored, kind = (None, "metric") if found is None else _read_settings(found)
    is_assumed = scale is None and (stored is None or not first.is_whole)
    notes = [f"{folder}: {first.note}"] if first.note else []
    if is_assumed:
        suffix = next(iter(files.values())).suffix.lower()
        notes += _assumption(folder, first.is_whole, suffix, found, option)
    elif scale and stored and found and first.is_whole and scale != stored:
        notes += [f"{folder}: {found.name} says depth_scale {stored:g}, {option} {scale:g} is used"]
    notes += _saturated(folder, first)
    whole = scale or stored or DEFAULT_DEPTH_SCALE
    return DepthMaps(root, files, whole, scale or 1.0, kind in _RELATIVE, is_assumed, tuple(notes))


def _saturated(folder: Path, first: StoredDepth) -> list[str]:
    """Say that the largest number of 16 bits is no depth."""
    share = float(np.mean(first.values == SATURATED)) if first.is_whole else 0.0
    if share <= 1e-3:
        return []
    return [
        f"{folder}: {100 * share:.1f} % of the first map is 65535, the largest number of 16 bits, "
        "and is taken as unknown"
    ]


def _list_maps(folder: Path) -> dict[str, Path]:
    """List the depth files of a folder by their stems."""
    inside = [p for p in folder.iterdir() if p.is_file() and p.name[0] != "."]
    paths = [p for p in inside if p.suffix.lower() in DEPTH_SUFFIXES]
    files: dict[str, Path] = {}
    for path in sorted(paths, key=lambda p: natural_key(p.name)):
        if path.stem in files:
            suffixes = f"as {files[path.stem].suffix} and as {path.suffix}"
            raise DataError(f"{folder}: {path.stem} is there twice, {suffixes}; keep one")
        files[path.stem] = path
    if not files:
        others = ", ".join(sorted({p.suffix.lower() or p.name for p in inside})[:5])
        raise DataError(
            f"{folder}: holds no depth maps ({' '.join(DEPTH_SUFFIXES)})"
            + (f", only {others}" if others else "")
        )
    return files


def _assumption(
    folder: Path, is_whole: bool, suffix: str, settings: Path | None, option: str
) -> list[str]:
    """Say in which unit stored numbers are read that nobody states; .npy of infer are metres."""
    remedy = f"({option} N: stored value per metre)"
    if not is_whole:
        is_known = settings is not None or suffix == ".npy"
        return [] if is_known else [f"{folder}: floats taken as metres {remedy}"]
    none = "no depth.yaml or camera.yaml"
    why = none if settings is None else f"no depth_scale in {settings.name}"
    return [f"{folder}: {why}; {suffix[1:].upper()} values taken as millimetres {remedy}"]


def plain_names(files: dict[str, Path]) -> dict[str, Path]:
    """Name maps by the number in their names, else without words such as _depth or _color.

    The names as they are remain where neither keeps the maps apart.
    """
    plain = {re.sub(_ROLE, "", stem, flags=re.IGNORECASE): path for stem, path in files.items()}
    if len(plain) < len(files):
        return files
    found = {stem: re.findall(r"\d+", stem) for stem in plain}
    numbers = {str(int(found[stem][-1])): path for stem, path in plain.items() if found[stem]}
    return numbers if len(numbers) == len(files) else plain


def _find_settings(folder: Path) -> Path | None:
    """Look for depth.yaml (of infer) or camera.yaml (of a sequence) here, then one up."""
    candidates = [place / name for place in (folder, folder.parent) for name in _SETTINGS]
    return next((path for path in candidates if path.exists()), None)


def _read_settings(path: Path) -> tuple[float | None, str]:
    """Return depth_scale, None where it is not there, and the kind of scale."""
    try:
        settings: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        raise DataError(f"{path}: is not YAML") from None
    settings = settings if isinstance(settings, dict) else {}
    kind = str(settings.get("scale", settings.get("depth_kind", "metric")))
    if "depth_scale" not in settings:
        return None, kind
    scale = settings["depth_scale"]
    if not isinstance(scale, (int, float)) or not np.isfinite(scale) or scale <= 0:
        raise DataError(f"{path}: depth_scale must be a number above 0, got {scale!r}")
    return float(scale), kind
