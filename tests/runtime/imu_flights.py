# SPDX-License-Identifier: Apache-2.0
"""Flights with a simulated IMU and a visual path of unknown scale, for the tests of the IMU."""

from dataclasses import dataclass

import numpy as np

from depthkit.rigid import exp_se3
from depthkit.synth.imu import T_CAM_IMU, SmoothPath, find_grade, simulate_imu
from depthkit.trajectory.imu import Imu

UNIT = 0.37  # units of the visual path in a metre
RATE = 20.0  # frames a second


@dataclass(frozen=True, eq=False)
class Flight:
    """One flight: what was, and what is measured of it."""

    stamps: np.ndarray
    T_world_cam: np.ndarray
    """True poses, metres."""
    visual: np.ndarray
    """Poses of a visual odometry: in its own unit, with noise."""
    imu: Imu
    biases: np.ndarray
    """True biases at each sample."""


def make_flight(
    seed: int,
    *,
    seconds: float = 8.0,
    amplitude: float = 0.3,
    turning: float = 0.3,
    grade: str = "adis",
    noise: tuple[float, float] = (1e-3, np.radians(0.05)),
) -> Flight:
    """Fly smooth curves about a point; the world's y axis points down.

    Args:
        seed: same seed, same flight.
        seconds: length.
        amplitude: of the swings, metres.
        turning: of the turns, rad.
        grade: kind of IMU.
        noise: standard deviations of visual places and rotations, metres and rad.
    """
    rng = np.random.default_rng((seed, 3))
    stamps = np.arange(0, seconds, 1 / RATE)
    poses = _turned(np.tile(np.eye(4), (len(stamps), 1, 1)), turning * _waves(rng, stamps))
    poses[:, :3, 3] = amplitude * _waves(rng, stamps)
    imu, biases = simulate_imu(SmoothPath(stamps, poses, T_CAM_IMU), find_grade(grade), seed=seed)
    visual = _turned(poses, noise[1] * rng.normal(size=(len(stamps), 3)))
    visual[:, :3, 3] = UNIT * (poses[:, :3, 3] + noise[0] * rng.normal(size=(len(stamps), 3)))
    return Flight(stamps, poses, visual, imu, biases)


def _waves(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    """Sums of two sines of 0.12 to 0.4 Hz an axis. (N, 3)"""
    waves = np.zeros((len(t), 3))
    for _ in range(2):
        rate = 2 * np.pi * rng.uniform(0.12, 0.4, 3)
        waves += np.sin(t[:, None] * rate + rng.uniform(0, 2 * np.pi, 3))
    return waves


def _turned(poses: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Turn poses about their own axes."""
    return poses @ exp_se3(np.concatenate([np.zeros_like(turns), turns], axis=1))
