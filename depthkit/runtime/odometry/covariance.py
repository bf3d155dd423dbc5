# SPDX-License-Identifier: Apache-2.0
"""Covariance of the poses of a geometric odometry against the start of their map, without scale.

Each keyframe keeps its drift. A window holds its older keyframes, so the drift of a free one is
that of the held ones, weighted by how many landmarks tie the window to each, plus what the window
leaves open. Along a path of new landmarks drift grows; where old landmarks are seen again, it falls
back to theirs. A frame between keyframes adds the uncertainty of its own fit. The drift is kept in
axes of the world: there an error that moves a whole neighbourhood rigidly is one and the same twist
for all of its keyframes.

Independent pixels of a perfect camera would make poses as good as that. Tracks err together, and so
do calibrations and rolling shutters: each map measures how much by itself, from how far the next
window moves a keyframe against what the last one left open, and a constant pair of factors takes
it from there to the errors of poses [INFLATION].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from depthkit.rigid import inverse, log_se3, skew

if TYPE_CHECKING:  # the map keeps the state of this module
    from depthkit.multiview.resection import PoseFit
    from depthkit.runtime.odometry.landmark_map import Keyframe

INFLATION = 22.0, 19.0
"""Factors on the standard deviations of translation and rotation, beside the root of the unrest.

Chosen so that the normalised squared error (6 dof, against the first pose of the segment, over 6)
is 1 in the mean over KITTI 02 with true steps, RedKitchen 0-199 and EuRoC MH_01, the latter two at
one scale: 0.99, 1.63, 0.42. On clips that were not used: KITTI 00 with true steps 5.8, fr1_desk
0.35, V1_01 0.39, RedKitchen 200-399 2.9, sinus 2.9. Without true steps KITTI 02 has 14.5: drift of
scale is not in the covariance."""
SCALE_KNOWN = 1e-3
"""Relative standard deviation at which the size of a window is held, as scale is left out."""
UNTIED = 100.0
"""Standard deviation of a pose that nothing ties to the map, units of the map and radians."""
USUAL = 0.5
"""Unrest of a map that has measured none yet; on the clips above it was 0.2 to 1.3."""
MEMORY = 30
"""Number of keyframes over which the unrest is averaged."""
EXTREME = 1e3
"""Unrest of one keyframe is read up to this factor on either side of 1."""


@dataclass(frozen=True, eq=False)
class _Newest:
    """The newest keyframe of a window."""

    number: int
    T_cam_world: np.ndarray
    """(4, 4)"""
    information: np.ndarray
    """Inverse of what the window left open, as a twist on the left of the pose. (6, 6)"""
    growth: np.ndarray
    """Twist of the pose while the window grows. (6,)"""

    def surprise(self, T_cam_world: np.ndarray) -> float:
        """Normalised square of a motion away from here, per degree of freedom, without scale."""
        moved = log_se3(T_cam_world @ inverse(self.T_cam_world))
        along, own = self.information @ self.growth, self.information @ moved
        scale = (moved @ along) ** 2 / max(float(self.growth @ along), 1e-12)
        return float(moved @ own - scale) / 5


@dataclass(eq=False)
class Unrest:
    """Squared motion of a keyframe in its second window over the variance that the first one left
    open (kept state): how much worse than independent pixels the observations are."""

    ratio: float = USUAL
    """Geometric mean over the newest keyframes, as single ones scatter by a factor of ten."""
    _last: _Newest | None = None

    def update(self, free: Sequence[Keyframe], left_open: np.ndarray, growth: np.ndarray) -> None:
        """Take the free keyframes of a new window.

        Args:
            free: in order, with their adjusted poses.
            left_open: covariance of the newest against the held ones, as a twist on the left of
                T_cam_world. (6, 6)
            growth: twist of the newest while the window grows. (6,)
        """
        last, newest = self._last, free[-1]
        again = [one.T_cam_world for one in free if last is not None and one.number == last.number]
        if last is not None and again:
            found = float(np.clip(last.surprise(again[0]), 1 / EXTREME, EXTREME))
            self.ratio *= float((found / self.ratio) ** (1 / min(last.number + 2, MEMORY)))
        information = np.linalg.inv(left_open)
        self._last = _Newest(newest.number, newest.T_cam_world.copy(), information, growth)


def spread_drift(
    frames: Sequence[Keyframe], information: np.ndarray, seen: np.ndarray, unrest: Unrest
) -> None:
    """Set the drift of the free keyframes of an adjusted window, in place.

    Args:
        frames: keyframes of the window, the held ones first; poses are the adjusted ones.
        information: of the free ones, the held ones perfect [bundle.BundleSolution]. (6 K, 6 K)
        seen: observations of each frame that took part in the adjustment. (F,)
        unrest: that of the map; is updated.
    """
    count = len(information) // 6
    held, free = frames[: len(frames) - count], frames[len(frames) - count :]
    # 1. What the held keyframes bring along.
    common = _common_drift(np.stack([one.drift for one in held]), seen[: len(held)])
    # 2. What the window leaves open, with its size as it is.
    T = np.stack([one.T_cam_world for one in free])
    growth = _growth(T, held[-1].centre)
    pull = growth / (SCALE_KNOWN * max(float(growth @ growth), 1e-12))
    H = information + np.outer(pull, pull)
    H[np.diag_indices(len(H))] += 1 / UNTIED**2
    blocks = np.linalg.inv(H).reshape(count, 6, count, 6)
    left_open = _symmetric(np.einsum("kikj->kij", blocks))
    unrest.update(free, left_open[-1], growth[-6:])
    # 3. Both in axes of the world.
    A = adjoint(inverse(T))
    drifts = common + _symmetric(A @ left_open @ A.swapaxes(1, 2))
    for one, drift in zip(free, drifts, strict=True):
        one.drift = drift


def pose_covariance(
    T_cam_world: np.ndarray,
    keyframe: Keyframe,
    fit: PoseFit | None,
    *,
    factor: float,
    unrest: float = USUAL,
) -> np.ndarray:
    """Return the covariance of a published pose in the axes of its camera, translation first.

    Args:
        T_cam_world: pose of the frame in its map. (4, 4)
        keyframe: the newest keyframe, whose drift the frame shares.
        fit: fit of the frame to the map; None where the frame is that keyframe.
        factor: published unit per unit of the map.
        unrest: ratio of the map [Unrest].

    Returns:
        Covariance of the twist x in T_world_cam = true pose exp(x), to first order. (6, 6)
    """
    A = adjoint(T_cam_world)
    covariance = A @ keyframe.drift @ A.T
    if fit is not None:
        covariance = covariance + np.linalg.inv(fit.information + np.eye(6) / UNTIED**2)
    scale = np.repeat((INFLATION[0] * factor, INFLATION[1]), 3) * np.sqrt(unrest)
    return _symmetric(covariance) * np.outer(scale, scale)


def blind_start(parallax: float) -> np.ndarray:
    """Return the drift of a map's first keyframe that is not the first frame of its segment.

    Until a start only rotation is known: motion below the parallax went unseen, and rotation took
    it up. Before inflation, as all drifts are kept.

    Args:
        parallax: at which a start is tried, degrees; the unit is the median depth.
    """
    sigma = np.radians(parallax) / np.repeat(INFLATION, 3)
    return np.diag(sigma**2 / USUAL)


def adjoint(T: np.ndarray) -> np.ndarray:
    """Return the matrices that bring twists (translation first) from one frame to another.

    T exp(x) = exp(adjoint(T) x) T.

    Args:
        T: rigid motions. (..., 4, 4)

    Returns:
        (..., 6, 6)
    """
    R = T[..., :3, :3]
    A = np.zeros((*T.shape[:-2], 6, 6))
    A[..., :3, :3] = A[..., 3:, 3:] = R
    A[..., :3, 3:] = skew(T[..., :3, 3]) @ R
    return A


def _common_drift(drifts: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return the covariance of the held keyframes' mean error, weighted by their observations.

    The weighted mean of the covariances is the largest that this can be, reached where the held
    keyframes share their error, as in a chain they mostly do. On RedKitchen, MH_01 and KITTI 02 the
    standard deviations of the full joint covariance of all keyframes are within a factor of 2.

    Args:
        drifts: of the held keyframes in the order they were made. (F, 6, 6)
        seen: their observations; the newest one counts alone where there are none. (F,)
    """
    total = float(np.sum(seen))
    if total == 0:
        return drifts[-1]
    return np.tensordot(np.asarray(seen) / total, drifts, axes=1)


def _growth(T_cam_world: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Return the twists of poses while their world grows about a point, per unit of its log. (6 K,)

    Args:
        T_cam_world: (K, 4, 4)
        origin: the point that stays. (3,)
    """
    R, t = T_cam_world[:, :3, :3], T_cam_world[:, :3, 3]
    twists = np.zeros((len(T_cam_world), 6))
    twists[:, :3] = t + R @ origin  # -R (c - origin) of the centre c, as t = -R c
    return twists.reshape(-1)


def _symmetric(matrices: np.ndarray) -> np.ndarray:
    """Remove rounding from covariances. (..., 6, 6)"""
    return 0.5 * (matrices + matrices.swapaxes(-1, -2))
