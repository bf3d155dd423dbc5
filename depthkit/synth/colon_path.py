# SPDX-License-Identifier: Apache-2.0
"""An endoscope's path through a colon: forward and back beside the centreline, looking around."""

from dataclasses import dataclass

import numpy as np

from depthkit.rigid import make_pose
from depthkit.synth.colon_tube import Tube, draw_waves
from depthkit.synth.path import turns

STEP = (0.001, 0.003)  # metres a frame
TRAVEL = 0.20  # metres; a longer flight turns back
LOOK_AHEAD = 0.02  # metres along the centreline
MOST_TILT = np.radians(50.0)  # off the centreline
OFFSETS = (1.0, 0.75, 0.5, 0.25, 0.0)  # shares of the way off the axis that are tried
CLEARANCE = 0.006  # metres to the nearest vertex; 5 mm to the surface between them


@dataclass(frozen=True)
class Way:
    """Camera path along a tube with its viewing directions, independent of the tube's shape."""

    s: np.ndarray
    """Arc length of each frame, metres. (N,)"""
    offset: np.ndarray
    """Offset from the axis across the centreline, as a share of the radius. (N, 2)"""
    look: np.ndarray
    """Rotation from the camera to the centreline's frame. (N, 3, 3)"""


def draw_way(rng: np.random.Generator, frames: int) -> Way:
    """Draw a way.

    Args:
        rng: source of all randomness.
        frames: number of frames.
    """
    n = np.arange(frames)
    pace = rng.uniform(*STEP) * (1 + 0.3 * draw_waves(rng, 20, 80)(n))
    phase = np.cumsum(pace) * np.pi / TRAVEL + rng.uniform(0, 2 * np.pi)
    # A triangle wave with rounded corners: even speed, smooth turning.
    s = TRAVEL / np.pi * np.arcsin(0.98 * np.sin(phase))
    away = rng.uniform(0.0, 0.5) * (0.6 + 0.4 * draw_waves(rng, 40, 120)(n))
    around = rng.uniform(0, 2 * np.pi) + 1.5 * draw_waves(rng, 60, 200)(n)
    offset = away[:, None] * np.stack([np.cos(around), np.sin(around)], axis=1)
    tilt = MOST_TILT * rng.beta(1.2, 2.6) * (0.65 + 0.35 * draw_waves(rng, 40, 120)(n))
    side = rng.uniform(0, 2 * np.pi) + 1.2 * draw_waves(rng, 60, 200)(n)
    roll = rng.uniform(0, 2 * np.pi) + 0.35 * draw_waves(rng, 50, 150)(n)
    zero = np.zeros(frames)
    # Turn about z to choose the side, tilt, turn back: the tilt itself adds no roll.
    look = turns(zero, zero, side) @ turns(tilt, zero, zero) @ turns(zero, zero, roll - side)
    return Way(s, offset, look)


def camera_poses(way: Way, tube: Tube, obstacles: np.ndarray) -> np.ndarray:
    """Follow a path through a tube, as far off the axis as the obstacles allow.

    Args:
        way: the way.
        tube: the tube; its centreline keeps clear of all obstacles.
        obstacles: points the camera keeps CLEARANCE from, metres. (V, 3)

    Returns:
        T_world_cam of each frame. (N, 4, 4) float64
    """
    middle, frame = tube.centre(way.s), tube.frame(way.s)
    reach = (way.offset * tube.radius(way.s)[:, None])[..., None]
    sideways = frame[..., 0] * reach[:, 0] + frame[..., 1] * reach[:, 1]
    positions = middle
    for share in OFFSETS:
        positions = middle + share * sideways
        if nearest(positions, obstacles) > CLEARANCE:
            break
    return make_pose(tube.frame(way.s + LOOK_AHEAD) @ way.look, positions)


def nearest(positions: np.ndarray, points: np.ndarray) -> float:
    """Return the smallest distance between two sets of points. (N, 3), (V, 3)"""
    origin = points.mean(axis=0)
    p, q = (positions - origin).astype(np.float32), (points - origin).astype(np.float32)
    q2 = (q * q).sum(axis=1)
    least = min(float((q2 - 2 * q @ x).min() + x @ x) for x in p)
    return float(np.sqrt(max(least, 0.0)))
