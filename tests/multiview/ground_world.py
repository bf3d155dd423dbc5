# SPDX-License-Identifier: Apache-2.0
"""A textured ground that is evaluated at each pixel: exact frames for an exact step and slope."""

import numpy as np

from depthkit.rigid import inverse, make_pose

HEIGHT = 1.5
SIZE = (160, 480)
K = np.array([[300.0, 0, 240], [0, 300.0, 50], [0, 0, 1]])
WAVES = 24


def rotation(*, pitch: float = 0.0, roll: float = 0.0, yaw: float = 0.0) -> np.ndarray:
    """Turn of a camera against a level one, degrees: nose up, right side down, to the right."""
    p, r, y = np.radians((pitch, roll, yaw))
    X = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    Z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    Y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    return Y @ X @ Z


def drive(steps: list[float], **turns: float) -> list[np.ndarray]:
    """Poses T_world_cam of a camera that drives ahead, one more than steps; metres, degrees."""
    ahead = np.concatenate([[0.0], np.cumsum(steps)])
    return [make_pose(rotation(**turns), np.array([0.0, 0.0, z])) for z in ahead]


def render(T_world_cam: np.ndarray, K: np.ndarray = K) -> np.ndarray:
    """Render the ground y = HEIGHT: cosines of 0.3 to 3 m, faded where a pixel is too coarse.

    Above the horizon the frame is grey. (H, W) uint8
    """
    # 1. Where each pixel meets the ground, and how far that moves from pixel to pixel.
    v, u = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float64)
    rays = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(K).T @ T_world_cam[:3, :3].T
    below = rays[..., 1] > 0.02
    reach = (HEIGHT - T_world_cam[1, 3]) / np.where(below, rays[..., 1], 1)
    x, z = (reach * rays[..., i] + T_world_cam[i, 3] for i in (0, 2))
    spread = np.stack([np.gradient(x), np.gradient(z)])[..., below]  # (2, 2, N)
    x, z = x[below], z[below]
    # 2. Sum of waves, each faded by its phase's change over a pixel.
    rng, total = np.random.default_rng(1), np.zeros(len(x))
    for _ in range(WAVES):
        angle, number = rng.uniform(0, 2 * np.pi), 2 * np.pi / np.exp(rng.uniform(-1.2, 1.1))
        wave = number * np.array([np.cos(angle), np.sin(angle)])
        change = np.tensordot(wave, spread, 1)
        phase = wave[0] * x + wave[1] * z + rng.uniform(0, 2 * np.pi)
        total += np.cos(phase) * np.exp(-0.5 * (change**2).sum(axis=0))
    frame = np.full(SIZE, 128, np.uint8)
    frame[below] = np.clip(128 + 15 * total, 0, 255)
    return frame


def motion(T_world_a: np.ndarray, T_world_b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation and unit direction of T_b_a."""
    T = inverse(T_world_b) @ T_world_a
    return T[:3, :3], T[:3, 3] / np.linalg.norm(T[:3, 3])
