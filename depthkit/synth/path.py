# SPDX-License-Identifier: Apache-2.0
"""Flights through the room of boxes: smooth positions, gentle turns, even steps."""

import numpy as np

from depthkit.errors import DataError
from depthkit.trajectory import make_pose

STEP = 0.3  # metres between neighbouring frames
FORWARD_START, FORWARD_LENGTH = -1.0, 7.2  # metres; where a forward flight begins, how far it goes


def camera_path(n: int, seed: int, step: float = STEP) -> np.ndarray:
    """Fly a smooth bounded curve: forward, back and sideways, with gentle turns.

    Args:
        n: number of frames.
        seed: same seed, same path.
        step: distance between neighbouring frames along the curve, metres.

    Returns:
        T_world_cam of each frame. (n, 4, 4) float64
    """
    if n < 1:
        raise DataError(f"camera_path: expected at least one frame, got {n}")
    rng = np.random.default_rng((seed, 1))
    phases = rng.uniform(0, 2 * np.pi, size=6)
    # The curve runs 1.3 m a unit of its parameter on average: three times what is needed.
    parameter = np.linspace(0, 3 * n * step + 1, 200 * n + 200)
    curve = _curve(parameter, phases[:3])
    lengths = np.linalg.norm(np.diff(curve, axis=0), axis=1)
    travelled = np.concatenate([[0.0], np.cumsum(lengths)])
    distance = step * np.arange(n)
    at = np.interp(distance, travelled, parameter)
    return make_pose(_sway(distance, phases[3:]), _curve(at, phases[:3]))


def forward_path(n: int, seed: int) -> np.ndarray:
    """Fly forward through the room once, weaving a little, as a car or a drone on its way does.

    Args:
        n: number of frames; the room ends after 25.
        seed: same seed, same path.

    Returns:
        T_world_cam of each frame. (n, 4, 4) float64
    """
    distance = STEP * np.arange(n)
    if n < 1 or distance[-1] > FORWARD_LENGTH + 1e-9:
        most = round(FORWARD_LENGTH / STEP) + 1
        raise DataError(f"forward_path: expected 1 to {most} frames, got {n}")
    phases = np.random.default_rng((seed, 2)).uniform(0, 2 * np.pi, size=5)
    x = 0.9 * np.sin(0.5 * distance + phases[0])
    y = 0.3 * np.sin(0.6 * distance + phases[1])
    positions = np.stack([x, y, FORWARD_START + 0.95 * distance], axis=1)
    return make_pose(_sway(distance, phases[2:]), positions)


def turns(yaw: np.ndarray, pitch: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """Turn about y (down), then x, then z (the optical axis), radians. (..., 3, 3)"""
    one, zero = np.ones_like(yaw), np.zeros_like(yaw)
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (np.cos, np.sin))
    Ry = np.stack([cy, zero, sy, zero, one, zero, -sy, zero, cy], -1)
    Rx = np.stack([one, zero, zero, zero, cp, -sp, zero, sp, cp], -1)
    Rz = np.stack([cr, -sr, zero, sr, cr, zero, zero, zero, one], -1)
    Ry, Rx, Rz = (m.reshape(*m.shape[:-1], 3, 3) for m in (Ry, Rx, Rz))
    return Ry @ Rx @ Rz


def _sway(distance: np.ndarray, phases: np.ndarray) -> np.ndarray:
    """Look about gently: 7, 3 and 2 degrees of yaw, pitch and roll. (N, 3, 3)"""
    angles = np.sin(np.outer(distance, [0.4, 0.55, 0.5]) + phases)
    return turns(*(np.radians([7.0, 3.0, 2.0]) * angles).T)


def _curve(t: np.ndarray, phases: np.ndarray) -> np.ndarray:
    """Positions in the free part of the room, metres. (N, 3)"""
    x = 1.5 * np.sin(t + phases[0])
    y = 0.4 * np.sin(0.83 * t + phases[1])
    z = 2.5 + 2.5 * np.sin(0.61 * t + phases[2])
    return np.stack([x, y, z], axis=1)
