# SPDX-License-Identifier: Apache-2.0
"""The sequence folder: the one format between every source of frames and training.

`camera.yaml`, `frames/%06d.jpg|png`, `times.txt`, and where known `poses.txt` (TUM rows),
`depth/%06d.png` (uint16 / depth_scale metres, 0 = unknown), `imu.csv` with `imu.yaml`,
`valid.png`, `poses.yaml` (`poses_note.py`) and `points/` (`point_files.py`); of synthetic worlds
the maps of `truth.py` too. A data set is a folder of these and `split.yaml`.
"""

import math
import shutil
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from depthkit.camera import Camera, read_stored_camera
from depthkit.data.folder import (
    DEPTH_KINDS,
    check_free,
    make_folder,
    partial_path,
    publish,
    read_poses,
    read_settings,
    read_times,
    sequence_header,
    write_depth,
    write_tables,
)
from depthkit.data.image_io import (
    encode,
    list_images,
    read_mask,
    read_rgb,
    read_uint16,
    write_atomic,
)
from depthkit.data.point_files import FOLDER as POINTS
from depthkit.data.point_files import read_points, write_points
from depthkit.data.poses_note import PosesNote, load_poses_note
from depthkit.data.truth import FrameTruth, read_truth, write_truth
from depthkit.errors import DataError
from depthkit.trajectory import Imu, load_imu, save_imu

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Sequence:
    """One opened sequence folder; pictures are read on demand."""

    root: Path
    name: str
    camera: Camera
    frames: tuple[Path, ...]
    times: np.ndarray
    """Seconds, rising. (N,)"""
    poses: np.ndarray | None
    """T_world_cam, metres where depth_kind is metric; NaN where unknown. (N, 4, 4)"""
    depth_scale: float | None
    depth_kind: str
    note: PosesNote | None = None
    """Where the poses come from, their unit and segments; None where that is not written."""

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def has_depth(self) -> bool:
        """Whether the folder holds depth pictures."""
        return self.depth_scale is not None

    @property
    def has_points(self) -> bool:
        """Whether the folder lists known keypoints of its frames."""
        return (self.root / POINTS).is_dir()

    @property
    def has_metric_poses(self) -> bool:
        """Whether the poses are metres: by poses.yaml, without it where the depth is metric."""
        if self.note is not None:
            return self.note.unit == "metric"
        return self.depth_kind == "metric"

    def segments(self) -> np.ndarray:
        """Number the segment of each frame whose pose is known, -1 for the others. (N,) int"""
        if self.poses is None:
            return np.full(len(self), -1)
        known = np.isfinite(self.poses).all((1, 2))
        labels = np.zeros(len(self), int) if self.note is None else self.note.labels(len(self))
        return np.where(known, labels, -1)

    @cached_property
    def imu(self) -> Imu | None:
        """Inertial samples on the clock of `times`, read when first wanted; None without an IMU.

        Raises:
            DataError: its files are damaged, or its samples and the frames have no common time.
        """
        imu = load_imu(self.root)
        apart = "" if imu is None else imu.apart_from(self.times)
        if apart:
            raise DataError(f"{self.root / 'imu.csv'}: {apart}")
        return imu

    def read_frame(self, i: int) -> np.ndarray:
        """Read frame i. (H, W, 3) uint8 RGB"""
        image = read_rgb(self.frames[i])
        _check_size(image, self.camera, self.frames[i])
        return image

    def depth_path(self, i: int) -> Path:
        """Return where the depth of frame i lies."""
        return self.root / "depth" / f"{self.frames[i].stem}.png"

    def read_depth(self, i: int) -> np.ndarray:
        """Read the depth of frame i, metres, 0 = unknown. (H, W) float32"""
        if self.depth_scale is None:
            raise DataError(f"{self.root}: holds no depth, but that of frame {i} was requested")
        raw = read_uint16(self.depth_path(i))
        _check_size(raw, self.camera, self.depth_path(i))
        return raw.astype(np.float32) / np.float32(self.depth_scale)

    def read_truth(self, i: int) -> FrameTruth:
        """Read what else is known of frame i: flow, occlusion, ids, moving."""
        return read_truth(self.root, self.frames[i].stem)

    def read_points(self, i: int) -> np.ndarray:
        """Read the known keypoints of frame i, pixels (u, v). (N, 2)"""
        return read_points(self.root / POINTS / f"{self.frames[i].stem}.txt")

    def read_valid(self) -> np.ndarray | None:
        """Read which pixels are image at all, None when all are. (H, W) bool"""
        path = self.root / "valid.png"
        if not path.exists():
            return None
        valid = read_mask(path)
        _check_size(valid, self.camera, path)
        return valid


@dataclass(frozen=True)
class Dataset:
    """A folder of sequences and who is trained, validated and tested on."""

    root: Path
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]

    def open(self, name: str) -> Sequence:
        """Open one of the sequences by its name."""
        names = self.train + self.val + self.test
        if name not in names:
            raise DataError(f"{self.root}: no sequence {name!r}; it holds {', '.join(names)}")
        alone = (self.root / "camera.yaml").exists()
        return open_sequence(self.root if alone else self.root / name)


# --- reading -------------------------------------------------------------------------------------


def open_sequence(path: Path | str) -> Sequence:
    """Open a sequence folder.

    Raises:
        DataError: a part is missing, damaged or does not fit the others.
    """
    root = Path(path)
    if not (root / "camera.yaml").exists():
        if (root / "split.yaml").exists():
            names = ", ".join(name for part in read_split(root).values() for name in part)
            raise DataError(f"{root}: is a data set; give one of its sequences ({names})")
        raise DataError(f"{root}: not a sequence folder (no camera.yaml); run 'depthkit prepare'")
    settings = read_settings(root / "camera.yaml")
    try:
        camera = read_stored_camera(settings)
    except DataError as error:
        raise DataError(f"{root / 'camera.yaml'}: {error}") from None
    frames = list_images(root / "frames") if (root / "frames").is_dir() else []
    if not frames:
        raise DataError(f"{root}: no images in frames/; run 'depthkit prepare' again")
    times = read_times(root / "times.txt", len(frames))
    kind, scale = _depth_of(root, settings)
    return Sequence(
        root=root,
        name=root.resolve().name,
        camera=camera,
        frames=tuple(frames),
        times=times,
        poses=read_poses(root / "poses.txt", times),
        depth_scale=scale,
        depth_kind=kind,
        note=load_poses_note(root, len(frames)),
    )


def open_dataset(root: Path | str) -> Dataset:
    """Open a data set folder, or one sequence folder as a data set that trains on it.

    Raises:
        DataError: neither split.yaml nor camera.yaml is there, or a named sequence is missing.
    """
    root = Path(root)
    if (root / "camera.yaml").exists():
        return Dataset(root, (root.resolve().name,), (), ())
    if not (root / "split.yaml").exists():
        raise DataError(
            f"{root}: no data set (no split.yaml, no camera.yaml); run 'depthkit prepare'"
        )
    split = read_split(root)
    if not any(split.values()):
        raise DataError(f"{root}: split.yaml names no sequence")
    for part, names in split.items():
        for name in names:
            if not (root / name / "camera.yaml").exists():
                raise DataError(f"{root}: split.yaml: {part} names {name!r}, which is no sequence")
    return Dataset(root, split["train"], split["val"], split["test"])


def read_split(root: Path) -> dict[str, tuple[str, ...]]:
    """Read split.yaml; a data set without one has three empty parts."""
    path = root / "split.yaml"
    record = read_settings(path) if path.exists() else {}
    for key in record:
        if key not in SPLITS:
            raise DataError(f"{path}: unknown key {key!r}; expected {', '.join(SPLITS)}")
    parts = {part: record.get(part) or [] for part in SPLITS}
    for part, names in parts.items():
        if not isinstance(names, list):
            raise DataError(f"{path}: {part} must be a list of sequence names, got {names!r}")
    return {part: tuple(str(name) for name in names) for part, names in parts.items()}


def _depth_of(root: Path, settings: Mapping[str, Any]) -> tuple[str, float | None]:
    """Return the kind of depth and, where there are pictures, their scale."""
    kind, scale = settings.get("depth_kind", "none"), settings.get("depth_scale")
    if kind not in DEPTH_KINDS:
        raise DataError(
            f"{root}: camera.yaml: depth_kind {kind!r} is invalid; expected one of "
            f"{', '.join(DEPTH_KINDS)}"
        )
    if not (root / "depth").is_dir():
        return kind, None
    if not isinstance(scale, (int, float)) or not 0 < scale < math.inf:
        raise DataError(f"{root}: camera.yaml: depth_scale must be positive, got {scale!r}")
    return kind, float(scale)


def _check_size(image: np.ndarray, camera: Camera, path: Path) -> None:
    if image.shape[:2] != camera.size:
        height, width = image.shape[:2]
        raise DataError(
            f"{path}: image is {width}x{height}, camera.yaml says {camera.width}x{camera.height}"
        )


def write_split(
    root: Path | str, train: Seq[str] = (), val: Seq[str] = (), test: Seq[str] = ()
) -> None:
    """Write split.yaml of a data set folder."""
    record = {"train": list(train), "val": list(val), "test": list(test)}
    write_atomic(Path(root) / "split.yaml", yaml.safe_dump(record, sort_keys=False))


# --- writing -------------------------------------------------------------------------------------


class SequenceWriter:
    """Write a sequence frame by frame: all of it appears at the end, or nothing does.

    Use as a context manager; frames go to a hidden folder beside `path` that is renamed on success
    and removed on failure.
    """

    def __init__(
        self,
        path: Path | str,
        camera: Camera,
        *,
        depth_scale: float = 1000.0,
        depth_kind: str = "metric",
        source: Mapping[str, Any] | None = None,
        ext: str = "jpg",
        force: bool = False,
    ) -> None:
        self.path = Path(path)
        self.partial = partial_path(self.path)
        self.camera = camera
        self.header = sequence_header(camera, depth_kind, depth_scale, source)
        self.depth_scale, self.ext, self.force = depth_scale, ext, force
        self.times: list[float] = []
        self.poses: list[np.ndarray | None] = []

    def __enter__(self) -> "SequenceWriter":
        check_free(self.path, force=self.force)
        shutil.rmtree(self.partial, ignore_errors=True)
        make_folder(self.partial / "frames")
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is not None:
            shutil.rmtree(self.partial, ignore_errors=True)
            return
        try:
            self._finish()
        except BaseException:
            shutil.rmtree(self.partial, ignore_errors=True)
            raise

    def add_frame(
        self,
        rgb_uint8: np.ndarray,
        time: float,
        T_world_cam: np.ndarray | None = None,
        depth: np.ndarray | None = None,
        truth: FrameTruth | None = None,
        points: np.ndarray | None = None,
    ) -> None:
        """Append one frame.

        Args:
            rgb_uint8: colours. (H, W, 3) uint8
            time: seconds, later than the last one.
            T_world_cam: pose where known. (4, 4)
            depth: metres, 0 = unknown; for all frames or for none. (H, W)
            truth: what else is known of it.
            points: known keypoints, pixels (u, v); for all frames or for none. (P, 2)
        """
        name = f"{len(self.times):06d}"
        _check_size(rgb_uint8, self.camera, self.path / "frames" / name)
        if self.times and time <= self.times[-1]:
            raise DataError(f"{self.path}: frame {name}: time {time} is not after {self.times[-1]}")
        for part, given in (("depth", depth is not None), (POINTS, points is not None)):
            if self.times and (self.partial / part).is_dir() != given:
                raise DataError(
                    f"{self.path}: frame {name}: {part} must come with all frames or none"
                )
        write_atomic(self.partial / "frames" / f"{name}.{self.ext}", encode(rgb_uint8, self.ext))
        if depth is not None:
            make_folder(self.partial / "depth")
            write_depth(self.partial / "depth" / f"{name}.png", depth, self.depth_scale)
        if points is not None:
            make_folder(self.partial / POINTS)
            write_points(self.partial / POINTS / f"{name}.txt", points)
        if truth is not None:
            write_truth(self.partial, name, truth)
        self.times.append(float(time))
        self.poses.append(T_world_cam)

    def write_imu(self, imu: Imu) -> None:
        """Write the samples of an IMU, on the clock of the frames."""
        save_imu(self.partial, imu)

    def write_valid(self, valid: np.ndarray) -> None:
        """Write which pixels are image at all. (H, W) bool"""
        write_atomic(self.partial / "valid.png", encode(valid.astype(np.uint8) * 255, "png"))

    def _finish(self) -> None:
        if not self.times:
            raise DataError(f"{self.path}: no frames were written")
        nan = np.full((4, 4), np.nan)
        poses = np.stack([nan if pose is None else np.asarray(pose) for pose in self.poses])
        write_tables(self.partial, self.header, np.array(self.times), poses)
        publish(self.partial, self.path, force=self.force)
