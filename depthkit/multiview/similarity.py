# SPDX-License-Identifier: Apache-2.0
"""Similarities: rigid motions with one scale, the group Sim(3), as 4x4 matrices; all batched.

`S_a_b = [[s R, t], [0, 1]]` takes points in b to points in a; lengths in b times s are lengths in
a. A rigid motion is the similarity with s = 1.
"""

import numpy as np
from numpy.typing import ArrayLike

from depthkit.rigid import make_pose


def make_similarity(T: ArrayLike, scale: ArrayLike) -> np.ndarray:
    """Put a scale into rigid motions: points are scaled, then moved.

    Args:
        T: rigid motions. (..., 4, 4)
        scale: factors above 0. (...)

    Returns:
        Similarities. (..., 4, 4) float64
    """
    S = np.array(T, dtype=np.float64)
    S[..., :3, :3] *= np.asarray(scale, dtype=np.float64)[..., None, None]
    return S


def scale_of(S: np.ndarray) -> np.ndarray:
    """Return the scale of similarities. (..., 4, 4) -> (...)"""
    return np.cbrt(np.linalg.det(S[..., :3, :3]))


def rigid_of(S: np.ndarray) -> np.ndarray:
    """Return similarities without their scale: rotation and translation as they are.

    For a pose `S_world_cam` this is the camera's place and attitude in the world, in the unit of
    the world. (..., 4, 4) -> (..., 4, 4)
    """
    return make_pose(S[..., :3, :3] / scale_of(S)[..., None, None], S[..., :3, 3])


def inverse_similarity(S: np.ndarray) -> np.ndarray:
    """Invert similarities: the scale becomes 1 / s. (..., 4, 4) -> (..., 4, 4)"""
    A = np.swapaxes(S[..., :3, :3], -1, -2) / (scale_of(S) ** 2)[..., None, None]
    return make_pose(A, -(A @ S[..., :3, 3:])[..., 0])
