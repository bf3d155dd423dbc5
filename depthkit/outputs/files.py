# SPDX-License-Identifier: Apache-2.0
"""What inference leaves behind: 16-bit depth, colour pictures, point clouds.

Every writer takes one frame at a time and keeps none of them. Depth is stored with ONE factor for
all frames of a folder, written beside them with the kind of scale: frames stay comparable.
"""

import math
import os
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from depthkit.config.yaml_text import dump_yaml
from depthkit.errors import DataError

Scale = Literal["metric", "relative"]

LARGEST = np.iinfo(np.uint16).max
HEADROOM = 4.0  # the first frame may be this much nearer than a later one
PERCENTILES = (2.0, 98.0)  # of inverse depth: what the colours span
FOLLOW = 0.1  # share of a new frame's percentiles in the colours' range: no flicker
CONFIDENCE_LEVELS = 255
POINT = np.dtype([("xyz", "<f4", (3,)), ("rgb", "u1", (3,))])


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
        _make_folder(folder)
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
        _write_image(path, raw.astype(np.uint16))
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
        _write(self.folder / "depth.yaml", dump_yaml(record).encode())

    def _lower(self, depth_scale: float) -> None:
        for path in self.paths:
            raw = np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
            lower = np.rint(raw * (depth_scale / self.depth_scale))
            _write_image(path, np.where(raw > 0, np.maximum(lower, 1), 0).astype(np.uint16))
        self.depth_scale = depth_scale


def choose_depth_scale(largest: float) -> float:
    """Return the factor 1, 2 or 5 times a power of ten that leaves room above a depth.

    Args:
        largest: largest depth of the first frame.
    """
    most = LARGEST / (HEADROOM * largest)
    decade = 10.0 ** math.floor(math.log10(most))
    return next(step * decade for step in (5, 2, 1) if step * decade <= most * (1 + 1e-12))


class InverseDepthColours:
    """Paint near bright and far dark (magma of inverse depth), unknown black.

    The range spans the 2nd to the 98th percentile of the frame, followed slowly over a video, so
    that neither one odd pixel nor one odd frame changes the colours.
    """

    def __init__(self) -> None:
        self.range: np.ndarray | None = None

    def paint(self, depth: np.ndarray) -> np.ndarray:
        """Paint one frame. depth: any unit, (H, W). Returns RGB, (H, W, 3) uint8"""
        known = np.isfinite(depth) & (depth > 0)
        if not known.any():
            return np.zeros((*depth.shape, 3), np.uint8)
        inverse = 1 / np.where(known, depth, 1)
        now = np.percentile(inverse[known], PERCENTILES)
        old = now if self.range is None else self.range
        self.range = old + FOLLOW * (now - old)
        low, high = self.range
        level = (inverse - low) / max(high - low, 1e-6 * high)
        grey = np.rint(255 * np.clip(level, 0, 1)).astype(np.uint8)
        rgb = cv2.applyColorMap(grey, cv2.COLORMAP_MAGMA)[..., ::-1]
        return np.where(known[..., None], rgb, np.uint8(0))


def save_picture(path: Path, rgb: np.ndarray) -> None:
    """Write RGB as a picture, in the format of the path's suffix. (H, W, 3) uint8"""
    _write_image(path, np.ascontiguousarray(rgb[..., ::-1]))


def save_confidence(path: Path, confidence: np.ndarray) -> None:
    """Write a map of confidence as a picture of 8 bits, CONFIDENCE_LEVELS being sure.

    Args:
        path: ends in .png.
        confidence: 0 to 1; NaN is 0. (H, W)
    """
    levels = np.rint(np.clip(np.nan_to_num(confidence), 0, 1) * CONFIDENCE_LEVELS)
    _write_image(path, levels.astype(np.uint8))


def back_project(depth: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Turn depth into points of the camera frame, M = Z K^-1 m.

    Args:
        depth: along the optical axis. (H, W)
        K: intrinsics, pixels. (3, 3)

    Returns:
        x right, y down, z forward, in the unit of depth. (H, W, 3) float64
    """
    v, u = np.indices(depth.shape, dtype=np.float64)
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1)
    return depth[..., None] * (pixels @ np.linalg.inv(K).T)


def save_cloud(path: Path, depth: np.ndarray, rgb: np.ndarray, *, K: np.ndarray) -> int:
    """Write a coloured point cloud (PLY, binary little endian) of the pixels with known depth.

    Args:
        path: ends in .ply.
        depth: unknown pixels (not finite or not positive) are left out. (H, W)
        rgb: colours. (H, W, 3) uint8
        K: intrinsics of this image size, pixels. (3, 3)

    Returns:
        The number of points.
    """
    known = np.isfinite(depth) & (depth > 0)
    points = np.empty(int(known.sum()), dtype=POINT)
    points["xyz"] = back_project(np.where(known, depth, 0), K)[known]
    points["rgb"] = rgb[known]
    axes = "".join(f"property float {axis}\n" for axis in "xyz")
    colours = "".join(f"property uchar {colour}\n" for colour in ("red", "green", "blue"))
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        "comment camera frame: x right, y down, z forward\n"
        f"element vertex {len(points)}\n{axes}{colours}end_header\n"
    )
    _write(path, header.encode() + points.tobytes())
    return len(points)


# --- files ---------------------------------------------------------------------------------------


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot make folder: {error.strerror}") from error


def _write_image(path: Path, image: np.ndarray) -> None:
    """Encode in memory first: imwrite forgets a full disk."""
    ok, data = cv2.imencode(path.suffix, image)
    if not ok:
        raise DataError(f"{path}: cannot encode {image.dtype} of {image.shape}")
    _write(path, data.tobytes())


def _write(path: Path, data: bytes) -> None:
    """Write under a temporary name, then rename."""
    temporary = path.with_name(f".partial_{path.name}")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot write: {error.strerror}") from error
