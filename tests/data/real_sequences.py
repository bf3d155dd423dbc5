# SPDX-License-Identifier: Apache-2.0
"""Real data opened in place as sequences, without copying a frame."""

from pathlib import Path

import numpy as np

from depthkit.camera import Camera
from depthkit.data.sequence import Sequence


def open_redkitchen(data_root: Path) -> Sequence:
    """7-Scenes RedKitchen, 400 frames at 30 Hz."""
    folder = data_root / "sevenscenes_redkitchen"
    frames = sorted(folder.glob("*.color.jpg"))
    poses = [np.loadtxt(str(f).replace(".color.jpg", ".pose.txt")) for f in frames]
    return _sequence(folder, Camera(640, 480, 585.0, 585.0, 320.0, 240.0), frames, poses, rate=30)


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
