# SPDX-License-Identifier: Apache-2.0
"""`teacher/` in a sequence folder: depth that a method without learning is sure of, for training.

`depth/%06d.png` (uint16 / depth_scale, in the unit of the poses, 0 = unknown), `sigma/%06d.png`
(relative standard deviation, uint16 / 10000) and `teacher.yaml`: depth_scale, what it was made of,
by which settings. It is a cache: training makes it anew where poses or settings have changed.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from depthkit.data.folder import make_folder, partial_path, publish, read_settings, write_depth
from depthkit.data.image_io import read_uint16, write_atomic
from depthkit.data.sequence import Sequence
from depthkit.errors import DataError

FOLDER, NAME = "teacher", "teacher.yaml"
SIGMA_SCALE = 10_000.0


@dataclass(frozen=True, eq=False)
class TeacherMaps:
    """The teacher's depth of a sequence; pictures are read on demand."""

    root: Path
    depth_scale: float
    made_of: str
    """Digest of frames' number, camera, poses and settings."""
    factors: np.ndarray | None = None
    """Factor on the lengths of each frame, where training uses another unit. (N,)"""

    def read(self, stem: str, frame: int) -> np.ndarray | None:
        """Read depth and its relative standard deviation, 0 where unknown. (2, h, w) float32

        Args:
            stem: name of the frame.
            frame: its number.

        Returns:
            None where the teacher was not asked about the frame.
        """
        depth_path, sigma_path = (self.root / part / f"{stem}.png" for part in ("depth", "sigma"))
        if not depth_path.exists():
            return None
        factor = 1.0 if self.factors is None else float(self.factors[frame])
        depth = read_uint16(depth_path).astype(np.float32) * np.float32(factor / self.depth_scale)
        return np.stack([depth, read_uint16(sigma_path).astype(np.float32) / SIGMA_SCALE])


class TeacherWriter:
    """Write the maps of a sequence: all of them appear at the end, or nothing does."""

    def __init__(self, sequence: Sequence, made_of: str, depth_scale: float) -> None:
        self.path, self.made_of = sequence.root / FOLDER, made_of
        self.partial, self.depth_scale = partial_path(self.path), depth_scale

    def __enter__(self) -> "TeacherWriter":
        shutil.rmtree(self.partial, ignore_errors=True)
        for part in ("depth", "sigma"):
            make_folder(self.partial / part)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            record = {"depth_scale": self.depth_scale, "made_of": self.made_of}
            write_atomic(self.partial / NAME, yaml.safe_dump(record, sort_keys=False))
            publish(self.partial, self.path, force=True)
        shutil.rmtree(self.partial, ignore_errors=True)

    def add(self, stem: str, depth: np.ndarray, sigma: np.ndarray) -> None:
        """Write one frame.

        Args:
            stem: name of the frame.
            depth: in the unit of the poses, 0 where it is to teach nothing. (h, w)
            sigma: its relative standard deviation, anything there. (h, w)
        """
        known = depth > 0
        write_depth(self.partial / "depth" / f"{stem}.png", depth, self.depth_scale)
        sigma = np.where(known, np.maximum(sigma, 1 / SIGMA_SCALE), 0)
        write_depth(self.partial / "sigma" / f"{stem}.png", sigma, SIGMA_SCALE)


def digest(sequence: Sequence, settings: Mapping[str, Any]) -> str:
    """Name what the teacher's maps follow from: camera, times, poses, segments, settings."""
    known = [sequence.camera.K.tolist(), list(sequence.camera.size), dict(settings)]
    text = hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode())
    for values in (sequence.times, sequence.poses, sequence.segments()):
        text.update(np.ascontiguousarray(values).tobytes() if values is not None else b"none")
    return text.hexdigest()[:16]


def open_teacher(sequence: Sequence) -> TeacherMaps | None:
    """Open the maps of a sequence folder; None without any.

    Raises:
        DataError: teacher.yaml is damaged.
    """
    path = sequence.root / FOLDER / NAME
    if not path.exists():
        return None
    record = read_settings(path)
    scale, made_of = record.get("depth_scale"), record.get("made_of")
    if not isinstance(scale, float) or scale <= 0 or not isinstance(made_of, str):
        raise DataError(f"{path}: expected depth_scale > 0 and made_of, got {record!r}"[:200])
    return TeacherMaps(path.parent, scale, made_of)
