# SPDX-License-Identifier: Apache-2.0
"""A textured wall seen by a moving camera: exact images for the tests of the data doctor."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from depthkit.camera import Camera
from depthkit.data.sequence import Sequence, SequenceWriter, open_sequence

CAMERA = Camera(width=320, height=240, fx=260.0, fy=260.0, cx=159.5, cy=119.5)
WALL = 2.0
"""Metres from the origin to the wall, along z."""
SCALE = 260.0 / WALL
"""Texture pixels a metre: one texture pixel an image pixel at the origin."""


def make_texture(seed: int = 0, size: tuple[int, int] = (900, 1600)) -> np.ndarray:
    """Structure at several sizes, 40..215. (H, W, 3) uint8"""
    rng = np.random.default_rng(seed)
    total = np.zeros((*size, 3), np.float32)
    for sigma in (1.5, 4.0, 12.0):
        noise = cv2.GaussianBlur(rng.standard_normal((*size, 3)).astype(np.float32), (0, 0), sigma)
        total += noise / noise.std()
    return np.clip(128 + 30 * total, 40, 215).astype(np.uint8)


def pose(*, x: float = 0.0, z: float = 0.0, yaw: float = 0.0, pitch: float = 0.0) -> np.ndarray:
    """T_world_cam; metres, degrees. (4, 4)"""
    T = np.eye(4)
    T[:3, :3] = cv2.Rodrigues(np.radians([pitch, yaw, 0.0]))[0]
    T[:3, 3] = (x, 0.0, z)
    return T


def render(texture: np.ndarray, T_world_cam: np.ndarray, camera: Camera = CAMERA) -> np.ndarray:
    """See the wall z = WALL from a pose: the homography K [r1 r2 t'] of the plane. (H, W, 3)"""
    T = np.linalg.inv(T_world_cam)
    wall = np.column_stack([T[:3, 0], T[:3, 1], T[:3, 2] * WALL + T[:3, 3]])
    height, width = texture.shape[:2]
    metres = np.array([[1 / SCALE, 0, -width / SCALE / 2], [0, 1 / SCALE, -height / SCALE / 2]])
    H = camera.K @ wall @ np.vstack([metres, [0, 0, 1]])
    return cv2.warpPerspective(texture, H, (camera.width, camera.height), flags=cv2.INTER_LINEAR)


def write_sequence(
    path: Path,
    frames: Iterable[np.ndarray],
    *,
    poses: list[np.ndarray] | None = None,
    camera: Camera = CAMERA,
    ext: str = "png",
) -> Sequence:
    """Write frames at 30 Hz and open the folder."""
    with SequenceWriter(path, camera, ext=ext) as writer:
        for i, frame in enumerate(frames):
            writer.add_frame(frame, i / 30.0, None if poses is None else poses[i])
    return open_sequence(path)
