# SPDX-License-Identifier: Apache-2.0
"""Relative poses of a few views, mended by tracks of corners before dense matching.

A sweep looks along epipolar lines, so a pose that is off by a pixel spoils it. Corners are tracked
into each source, and poses and inverse depths of the corners are fitted together by
Gauss-Newton with a Schur complement [Triggs 1999, section 6]. A prior keeps the given poses: it is
tight where they agree with the tracks already, and gives way where they do not. The total length of
the baselines is held: tracks cannot tell it, and metres must stay metres.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from depthkit.rigid import exp_se3

CORNERS = 250
QUALITY = 0.005
"""Least corner response, as a share of the best corner's."""
SPACING = 0.022
"""Least distance of two corners, as a share of the width."""
ROUND_TRIP = 0.7
"""Largest distance from where tracking there and back ends, pixels."""
NOISE = 0.5
"""Standard deviation of a track, pixels."""
HUBER = 2.0
"""Error above which a track's weight falls, standard deviations."""
PRIOR_TURN, PRIOR_SHIFT = np.radians(0.5), 0.1
"""Standard deviation of a given pose at one pixel of excess residual: radians, and a share of the
baseline. Both grow with the residual."""
CALM = 0.4
"""Residual of good poses, pixels: what is above it counts as the poses' error."""
STIFF = 0.05
"""Least factor of the prior."""
ROUNDS = 5
LEAST = 20
"""Tracks below which poses are left as they are."""
WINDOW, PYRAMID = (15, 15), 3
"""Window of tracking, pixels, and levels of its pyramid."""


@dataclass(frozen=True, eq=False)
class Corrected:
    """Poses after the correction, and the corners that tell the scene's depth."""

    T_sources_target: np.ndarray
    """(S, 4, 4)"""
    pixels: np.ndarray
    """Corners of the target. (N, 2)"""
    inverse_depths: np.ndarray
    """Their inverse depths, in the unit of the poses. (N,)"""
    before: float
    """Median residual with the given poses, pixels; NaN without tracks."""
    after: float
    """Median residual with the corrected poses, pixels."""


def correct_poses(
    target: np.ndarray,
    sources: Sequence[np.ndarray],
    T_sources_target: np.ndarray,
    *,
    K: np.ndarray,
    inverse_depth: float,
    keep: bool = False,
) -> Corrected:
    """Track corners into the sources and fit poses and inverse depths.

    Args:
        target: grey. (H, W) uint8
        sources: grey. (H, W) uint8 each
        T_sources_target: given poses, points of the target to each source. (S, 4, 4)
        K: intrinsics of all, pixels. (3, 3)
        inverse_depth: a typical one, by which sources are warped before tracking.
        keep: leave the poses as given and fit the inverse depths only.
    """
    corners = _corners(target)
    tracks = np.full((len(sources), len(corners), 2), np.nan)
    for i, source in enumerate(sources):
        tracks[i] = _track(target, source, corners, T_sources_target[i], K, inverse_depth)
    seen = np.isfinite(tracks).all(axis=2)
    used = seen.any(axis=0)
    return fit_poses(corners[used], tracks[:, used], T_sources_target, K=K, keep=keep)


def fit_poses(
    pixels: np.ndarray,
    tracks: np.ndarray,
    T_sources_target: np.ndarray,
    *,
    K: np.ndarray,
    keep: bool = False,
) -> Corrected:
    """Fit relative poses and inverse depths to tracks; see the head of the file.

    Args:
        pixels: points of the target. (N, 2)
        tracks: where each source shows them, NaN where it does not. (S, N, 2)
        T_sources_target: given poses. (S, 4, 4)
        K: intrinsics, pixels. (3, 3)
        keep: leave the poses as given.
    """
    given = np.array(T_sources_target, dtype=np.float64)
    seen = np.isfinite(tracks).all(axis=2)
    inverse = np.linalg.inv(K)
    rays = np.c_[pixels, np.ones(len(pixels))] @ inverse.T  # (N, 3)
    observed = np.where(seen[..., None], tracks, 0.0)
    # 1. Inverse depths with the given poses, and how well they explain the tracks.
    q = _triangulate(rays, observed, seen, given, K)
    before = _residual(rays, q, observed, seen, given, K)
    if keep or seen.sum() < LEAST or not np.isfinite(before):
        return Corrected(given, pixels, q, before, before)
    # 2. The prior gives way as far as the tracks contradict the poses.
    slack = max(before - CALM, STIFF)
    lengths = np.linalg.norm(given[:, :3, 3], axis=1)
    shift = PRIOR_SHIFT * slack * np.maximum(lengths, 1e-9)
    turn = np.full(len(given), PRIOR_TURN * slack)
    information = np.c_[np.repeat(shift[:, None], 3, 1), np.repeat(turn[:, None], 3, 1)] ** -2.0
    poses, moved = given.copy(), np.zeros((len(given), 6))
    for _ in range(ROUNDS):
        step, change = _step(rays, q, observed, seen, poses, K, moved, information)
        poses = np.stack([exp_se3(s) @ T for s, T in zip(step, poses, strict=True)])
        moved += step
        q = q + change
        # 3. The tracks do not know the unit: the total length of the baselines stays.
        share = lengths.sum() / max(np.linalg.norm(poses[:, :3, 3], axis=1).sum(), 1e-12)
        poses[:, :3, 3] *= share
        q = q / share
    after = _residual(rays, q, observed, seen, poses, K)
    if not after < before:  # a fit that explains the tracks no better is not used
        return Corrected(
            given, pixels, _triangulate(rays, observed, seen, given, K), before, before
        )
    return Corrected(poses, pixels, q, before, after)


def _corners(grey: np.ndarray) -> np.ndarray:
    """Return corners of the target. (N, 2) float64"""
    least = max(4.0, SPACING * grey.shape[1])
    found = cv2.goodFeaturesToTrack(grey, CORNERS, QUALITY, least)
    return np.zeros((0, 2)) if found is None else found.reshape(-1, 2).astype(np.float64)


def _track(
    target: np.ndarray,
    source: np.ndarray,
    corners: np.ndarray,
    T: np.ndarray,
    K: np.ndarray,
    inverse_depth: float,
) -> np.ndarray:
    """Track corners into a source warped by the plane at a typical depth. (N, 2), NaN if lost"""
    if not len(corners):
        return corners
    plane = T[:3, :3].copy()
    plane[:, 2] += inverse_depth * T[:3, 3]
    H = K @ plane @ np.linalg.inv(K)  # pixels of the target to pixels of the source
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    near = cv2.warpPerspective(source, H, target.shape[::-1], flags=how)
    start = corners.astype(np.float32)[:, None]
    there, found = _follow(target, near, start)
    back, again = _follow(near, target, there)
    good = (found.ravel() > 0) & (again.ravel() > 0)
    good &= np.linalg.norm((back - start).reshape(-1, 2), axis=1) < ROUND_TRIP
    landed = np.c_[there.reshape(-1, 2).astype(np.float64), np.ones(len(corners))] @ H.T
    pixels = landed[:, :2] / landed[:, 2:]
    inside = (pixels > 1).all(axis=1) & (pixels < np.array(target.shape[::-1]) - 2).all(axis=1)
    return np.where((good & inside & (landed[:, 2] > 0))[:, None], pixels, np.nan)


def _follow(
    first: np.ndarray, second: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Track points from one picture to another: (N, 1, 2) and whether each was found."""
    there, found, _ = cv2.calcOpticalFlowPyrLK(
        first, second, points, points.copy(), winSize=WINDOW, maxLevel=PYRAMID
    )
    return there, found


def _project(
    rays: np.ndarray, q: np.ndarray, T: np.ndarray, K: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pixels (S, N, 2), points R m + q t (S, N, 3) and their part in front (S, N) bool."""
    points = np.einsum("sij,nj->sni", T[:, :3, :3], rays) + q[None, :, None] * T[:, None, :3, 3]
    ahead = points[..., 2] > 1e-3
    z = np.where(ahead, points[..., 2], 1.0)
    focal, centre = np.array([K[0, 0], K[1, 1]]), K[:2, 2]
    return points[..., :2] / z[..., None] * focal + centre, points, ahead


def _triangulate(
    rays: np.ndarray, observed: np.ndarray, seen: np.ndarray, T: np.ndarray, K: np.ndarray
) -> np.ndarray:
    """Return least-squares inverse depths on the plane z = 1 of the sources. (N,)"""
    x = (observed - K[:2, 2]) / np.array([K[0, 0], K[1, 1]])
    turned = np.einsum("sij,nj->sni", T[:, :3, :3], rays)
    t = T[:, None, :3, 3]
    # (Rm + q t)_xy = x (Rm + q t)_z: two linear equations a q = b a view.
    a = (t[..., :2] - x * t[..., 2:]) * seen[..., None]
    b = (x * turned[..., 2:] - turned[..., :2]) * seen[..., None]
    weight = (a * a).sum(axis=(0, 2))
    return (a * b).sum(axis=(0, 2)) / np.maximum(weight, 1e-18)


def _errors(
    rays: np.ndarray,
    q: np.ndarray,
    observed: np.ndarray,
    seen: np.ndarray,
    T: np.ndarray,
    K: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return residuals (S, N, 2), their weights (S, N) and the points (S, N, 3)."""
    pixels, points, ahead = _project(rays, q, T, K)
    residual = np.where((seen & ahead)[..., None], pixels - observed, 0.0) / NOISE
    length = np.linalg.norm(residual, axis=2)
    weight = np.where(seen & ahead, 1 / np.maximum(length / HUBER, 1.0), 0.0)
    return residual, weight, points


def _residual(
    rays: np.ndarray,
    q: np.ndarray,
    observed: np.ndarray,
    seen: np.ndarray,
    T: np.ndarray,
    K: np.ndarray,
) -> float:
    """Return the median length of the residuals, pixels; NaN without any."""
    residual, weight, _ = _errors(rays, q, observed, seen, T, K)
    lengths = NOISE * np.linalg.norm(residual, axis=2)[weight > 0]
    return float(np.median(lengths)) if lengths.size else float("nan")


def _step(
    rays: np.ndarray,
    q: np.ndarray,
    observed: np.ndarray,
    seen: np.ndarray,
    T: np.ndarray,
    K: np.ndarray,
    moved: np.ndarray,
    information: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return one Gauss-Newton step: twists (S, 6), translation first, and changes of q (N,)."""
    residual, weight, points = _errors(rays, q, observed, seen, T, K)
    count = len(T)
    z = np.where(points[..., 2] > 1e-3, points[..., 2], 1.0)
    x, y = points[..., 0] / z, points[..., 1] / z
    zero = np.zeros_like(x)
    # Projection by the point, with the point at scale q (R m + q t), so a twist moves it by
    # q v + w x point.
    fx, fy = K[0, 0] / NOISE, K[1, 1] / NOISE
    by_point = np.stack(
        [np.stack([fx / z, zero, -fx * x / z], -1), np.stack([zero, fy / z, -fy * y / z], -1)], -2
    )  # (S, N, 2, 3)
    by_twist = np.concatenate(
        [by_point * q[None, :, None, None], by_point @ -_crosses(points)], axis=-1
    )  # (S, N, 2, 6)
    by_q = np.einsum("snij,sj->sni", by_point, T[:, :3, 3])  # (S, N, 2)
    w = weight[..., None]
    pose_pose = np.einsum("snik,snil->skl", by_twist * w[..., None], by_twist)  # (S, 6, 6)
    pose_q = np.einsum("snik,sni->skn", by_twist, by_q * w)  # (S, 6, N)
    q_q = (by_q * by_q * w).sum(axis=(0, 2)) + 1e-12
    g_pose = -np.einsum("snik,sni->sk", by_twist, residual * w) - information * moved
    g_q = -(by_q * residual * w).sum(axis=(0, 2))
    # Schur complement: inverse depths are eliminated, one number each.
    flat = pose_q.reshape(6 * count, -1)
    system = -(flat / q_q) @ flat.T
    for i in range(count):
        here = slice(6 * i, 6 * i + 6)
        system[here, here] += pose_pose[i] + np.diag(information[i])
    step = np.linalg.solve(system, g_pose.ravel() - (flat / q_q) @ g_q)
    return step.reshape(count, 6), (g_q - flat.T @ step) / q_q


def _crosses(points: np.ndarray) -> np.ndarray:
    """Return the matrices [p]x. (..., 3) -> (..., 3, 3)"""
    x, y, z = np.moveaxis(points, -1, 0)
    zero = np.zeros_like(x)
    rows = ([zero, -z, y], [z, zero, -x], [-y, x, zero])
    return np.stack([np.stack(row, -1) for row in rows], -2)
