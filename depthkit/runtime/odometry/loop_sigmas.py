# SPDX-License-Identifier: Apache-2.0
"""How sure the edges of the graph of keyframes are, and how far its keyframes lie apart."""

import numpy as np

from depthkit.rigid import log_so3


def gaps(poses: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Return how far each keyframe lies from both neighbours of its segment.

    Args:
        poses: keyframes in the order of time, rigid. (N, 4, 4)
        segments: segment of each. (N,)

    Returns:
        For all but the first and the last: the sum of both distances, in median steps; a radian of
        turn counts as ten, about a field of view. inf at the ends of segments. (N - 2,)
    """
    step = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    turn = np.swapaxes(poses[:-1, :3, :3], 1, 2) @ poses[1:, :3, :3]
    far = step / max(float(np.median(step)), 1e-9) + 10 * np.linalg.norm(log_so3(turn), axis=1)
    far = np.where(segments[:-1] == segments[1:], far, np.inf)
    return far[:-1] + far[1:]


def chain_sigmas(motion: np.ndarray, depth: float, metric: bool) -> np.ndarray:
    """Standard deviations of one step of the odometry, as `Edges` takes them. (7,)

    2 % of the step and 0.1 % of the depth, 0.1 degrees, and 1 % of scale where lengths are not
    metres: over 100 keyframes 1 degree and 10 % of scale, the size seen on KITTI 02,
    RedKitchen and TUM desk.
    """
    step = float(np.linalg.norm(motion[:3, 3]))
    translation = 0.02 * step + 0.001 * (depth if np.isfinite(depth) else step) + 1e-6
    return np.r_[np.full(3, translation), np.full(3, np.radians(0.1)), 0.001 if metric else 0.01]


def loop_sigmas(depth: float, log_scale: float) -> np.ndarray:
    """Standard deviations of a pose found by PnP, as `Edges` takes them. (7,)

    2 % of the depth, 1 degree and 8 % of scale: more inliers do not help much, the old points have
    errors in common, and rolling shutter bends both views (chosen on RedKitchen, MH_01 and TUM
    desk).
    """
    translation, rotation = 0.02 * depth, np.radians(1.0)
    return np.r_[np.full(3, translation), np.full(3, rotation), max(0.08, log_scale)]
