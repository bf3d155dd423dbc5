# SPDX-License-Identifier: Apache-2.0
"""What a bundle adjustment is given and what it returns, whichever solver does it."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class StepPrior:
    """Known lengths between the centres of frames, each with its own certainty."""

    frames: np.ndarray
    """Indices of both frames. (S, 2) int"""
    lengths: np.ndarray
    """Lengths in the unit of the world. (S,)"""
    sigma: np.ndarray
    """Standard deviations of the lengths' logarithms. (S,)"""


@dataclass(frozen=True, eq=False)
class PosePrior:
    """What is known of one frame's pose from elsewhere, as an information matrix about it."""

    frame: int
    """Index of the frame."""
    T_cam_world: np.ndarray
    """The pose it is drawn to. (4, 4)"""
    information: np.ndarray
    """Inverse covariance of the twist that takes it to the pose, translation first. (6, 6)"""


@dataclass(frozen=True, eq=False)
class BundleProblem:
    """Frames, points and observations; the order of observations does not matter."""

    T_cam_world: np.ndarray
    """Start values. (F, 4, 4)"""
    free: np.ndarray
    """Frames that are optimised; the others are held. (F,) bool"""
    points: np.ndarray
    """Start values. (N, 3)"""
    frame: np.ndarray
    """Frame of each observation. (M,) int"""
    point: np.ndarray
    """Point of each observation; a frame sees a point once. (M,) int"""
    rays: np.ndarray
    """Observed position on the plane z = 1. (M, 2)"""
    sigma: np.ndarray
    """Standard deviation of `rays`, the pixel's over the focal length. (M,)"""
    steps: StepPrior | None = None
    poses: tuple[PosePrior, ...] = ()


@dataclass(frozen=True, eq=False)
class BundleSolution:
    """The optimum, and what the observations say about it."""

    T_cam_world: np.ndarray
    """(F, 4, 4)"""
    points: np.ndarray
    """(N, 3)"""
    errors: np.ndarray
    """Reprojection error of each observation, standard deviations; infinite behind the camera.
    (M,)"""
    information: np.ndarray
    """Information of the free poses with the points eliminated, as twists on the left of
    `T_cam_world`, translation first. (6 free, 6 free)"""
    iterations: int
