# SPDX-License-Identifier: Apache-2.0
"""A folder of depth maps on disk: which files, in which unit, and whether they are metres.

Depth is written with ONE factor for all frames of a folder, kept beside them in depth.yaml with the
kind of scale: frames stay comparable. The reader also takes folders that others wrote.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import yaml

from depthkit.config.yaml_text import dump_yaml
from depthkit.data.depth_files import DEPTH_SUFFIXES, StoredDepth, read_depth_file
from depthkit.data.image_io import encode, natural_key, read_mask, read_rgb, write_atomic
from depthkit.errors import DataError

Scale = Literal["metric", "relative"]

LARGEST = np.iinfo(np.uint16).max - 1  # the last number is unknown depth to those who read it
HEADROOM = 4.0  # the first frame may be this much nearer than a later one
OUTLIERS = 0.005
"""Share of a frame's known pixels, the farthest ones, that the factor does not follow."""

DEFAULT_DEPTH_SCALE = 1000.0
"""PNG values per metre where none is stated (millimetres, as RGB-D cameras write)."""

SATURATED = 65535
"""Largest number of 16 bits: unknown depth (7-Scenes), or more than fits; no depth in any case."""

_RELATIVE = {"relative", "up_to_scale"}

_SETTINGS = ("depth.yaml", "camera.yaml")

_ROLE = r"[._-]?(depth|color|colour|rgb|image|pred|gt|disp|left|aligned)(?=$|[._-])"
"""Words in a file's name that say what it shows, not which frame it is."""


@dataclass(frozen=True)
class DepthMaps:
    """Depth maps by name; each is read on demand."""

    root: Path
    """The folder that was named, or the sequence folder around it."""
    files: dict[str, Path]
    """Stem to file, in natural order."""
    depth_scale: float
    """Stored whole number / depth_scale = metres (or the relative unit)."""
    float_scale: float
    """The same of stored floats: 1, metres, unless the user states a scale."""
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
        """Read valid.png of the sequence; None if missing. (H, W) bool"""
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
            for whole numbers and metres for floats, which is reported.
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


# --- writing -------------------------------------------------------------------------------------


class DepthFolder:
    """Depth as 16-bit PNG and `depth.yaml`, which says how to read them.

    A pixel is round(depth * depth_scale), 0 where depth is unknown. The factor is chosen at the
    first frame, with room for 4 times its depth but for the farthest 0.5 % of the pixels; a later
    frame with more pixels than that beyond the range lowers it, and what is there is written again.
    Single pixels beyond the range are written as unknown, counted, and named in depth.yaml.
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
        self.beyond = 0
        """Number of pixels written as unknown because they lie beyond the range."""
        self.paths: list[Path] = []

    def add(self, name: str, depth: np.ndarray) -> None:
        """Write one frame.

        Args:
            name: file name without suffix.
            depth: metres or relative; not finite or not positive is unknown. (H, W)
        """
        known = np.isfinite(depth) & (depth > 0)
        # 1. The factor.
        if known.any():
            largest = float(np.quantile(depth[known], 1 - OUTLIERS, method="higher"))
            if not self.depth_scale:
                self.depth_scale = choose_depth_scale(largest)
            elif largest * self.depth_scale > LARGEST:
                self._lower(choose_depth_scale(largest))
        # 2. Whole numbers; what is known must not become 0, which means unknown.
        raw = np.rint(np.where(known, depth, 0).astype(np.float64) * self.depth_scale)
        fits = raw <= LARGEST
        self.beyond += int((~fits).sum())
        raw = np.where(known & fits, np.maximum(raw, 1), 0)
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
        }
        if self.beyond:
            most = f"{LARGEST / self.depth_scale:g}"
            record["beyond"] = f"{self.beyond} pixels deeper than {most} are stored as unknown"
        record |= more
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
        largest: depth of the first frame that nearly all of its pixels reach at most.
    """
    most = LARGEST / (HEADROOM * largest)
    decade = 10.0 ** math.floor(math.log10(most))
    return next(step * decade for step in (5, 2, 1) if step * decade <= most * (1 + 1e-12))


def _make_new_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot make folder: {error.strerror}") from error
