# SPDX-License-Identifier: Apache-2.0
"""Real data opened in place as sequences, without copying a frame."""

from pathlib import Path

import numpy as np

from depthkit.camera import Camera
from depthkit.data.importers import load_source
from depthkit.data.importers.source import ImportOptions
from depthkit.data.sequence import Sequence


def open_redkitchen(data_root: Path) -> Sequence:
    """7-Scenes RedKitchen, 400 frames at 30 Hz, K and poses of its colour camera."""
    folder = data_root / "sevenscenes_redkitchen"
    source = load_source("sevenscenes", folder, "kitchen", ImportOptions(folder))
    frames = [frame.path for frame in source.frames]
    return _sequence(folder, source.camera.camera, frames, list(source.poses), rate=30)


def open_kitti(data_root: Path, *, first: int, last: int) -> Sequence:
    """KITTI odometry 00, frames first to last - 1, 10 Hz."""
    folder = data_root / "kitti_odometry"
    frames = sorted((folder / "sequences" / "00" / "image_0").glob("*.jpg"))[first:last]
    rows = np.loadtxt(folder / "poses" / "00.txt").reshape(-1, 3, 4)[first:last]
    poses = [np.vstack([row, [0, 0, 0, 1]]) for row in rows]
    camera = Camera(1241, 376, 718.856, 718.856, 607.1928, 185.2157)
    return _sequence(folder, camera, frames, poses, rate=10)


def _sequence(
    root: Path, camera: Camera, frames: list[Path], poses: list[np.ndarray], *, rate: float
) -> Sequence:
    return Sequence(
        root=root,
        name=root.name,
        camera=camera,
        frames=tuple(frames),
        times=np.arange(len(frames)) / rate,
        poses=np.stack(poses),
        depth_scale=None,
        depth_kind="metric",
    )
