# SPDX-License-Identifier: Apache-2.0
"""Landmarks that left the view are found again by projection, so a known place costs no drift.

The keyframe that saw them is warped into the new view by the plane at their median depth; what
remains is a small shift for each landmark, which KLT measures from the projected position.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from depthkit.multiview.tracks import track
from depthkit.runtime.odometry.landmark_map import Keyframe, LandmarkMap

KEYFRAMES = 3
"""Number of keyframes searched for one new keyframe."""
LEAST = 12
"""Landmarks that a keyframe must offer."""
TURN = np.cos(np.radians(35))
"""Cosine of the largest angle between the two views of a landmark."""
RATIO = 1.8
"""Largest ratio of a landmark's distances in both views."""
MARGIN = 10
"""Pixels from the border inside which nothing is searched."""
ALIKE = 0.7
"""Smallest normalised correlation of the two patches."""
PATCH = 11
"""Side of a patch that is compared, pixels."""


@dataclass(frozen=True, eq=False)
class Found:
    """Landmarks found again."""

    slots: np.ndarray
    """(n,)"""
    pixels: np.ndarray
    """(n, 2) float32"""
    expected: np.ndarray
    """Where the map put them, pixels. (n, 2)"""


def search_map(
    world: LandmarkMap,
    image: np.ndarray,
    T_cam_world: np.ndarray,
    *,
    K: np.ndarray,
    tracked: np.ndarray,
    keyframes: int = KEYFRAMES,
) -> Found:
    """Search landmarks that are not tracked in a new frame.

    Args:
        world: the map.
        image: the new frame, contrast-normalised. (H, W) uint8
        T_cam_world: its pose, by its tracks. (4, 4)
        K: intrinsics, pixels. (3, 3)
        tracked: slots that are tracked already.
        keyframes: largest number of keyframes searched.
    """
    # What the newest keyframe saw and the tracks have lost since is hidden or was wrong.
    kept = world.keyframes[:-1] if len(tracked) else world.keyframes
    candidates = _visible(world, image.shape, T_cam_world, K, tracked)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for _ in range(keyframes):
        offer = _best_keyframe(kept, candidates, world, T_cam_world)
        if offer is None:
            break
        keyframe, slots, rays = offer
        candidates[slots] = False
        found.append(_find(world, keyframe, slots, rays, image, T_cam_world, K))
    if not found:
        return Found(np.zeros(0, int), np.zeros((0, 2), np.float32), np.zeros((0, 2)))
    slots, pixels, expected = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Found(slots, pixels, expected)


def _visible(
    world: LandmarkMap,
    shape: tuple[int, ...],
    T_cam_world: np.ndarray,
    K: np.ndarray,
    tracked: np.ndarray,
) -> np.ndarray:
    """Mark the measured landmarks that project into the frame and are not tracked. (slots,)"""
    wanted = np.zeros(len(world.sigma), bool)
    slots = world.mapped()
    rays, depth = world.project(T_cam_world, slots)
    pixels = rays * (K[0, 0], K[1, 1]) + K[:2, 2]
    height, width = shape[:2]
    inside = ((pixels > MARGIN) & (pixels < (width - MARGIN, height - MARGIN))).all(axis=1)
    wanted[slots[inside & (depth > 1e-3)]] = True
    wanted[tracked] = False
    return wanted


def _best_keyframe(
    keyframes: list[Keyframe], candidates: np.ndarray, world: LandmarkMap, T_cam_world: np.ndarray
) -> tuple[Keyframe, np.ndarray, np.ndarray] | None:
    """Return the keyframe that sees most candidates from a like place, with them."""
    centre = -T_cam_world[:3, :3].T @ T_cam_world[:3, 3]
    best, most = None, LEAST - 1
    for keyframe in keyframes:
        on = candidates[keyframe.slots]
        if on.sum() <= most:
            continue
        slots = keyframe.slots[on]
        here, there = world.position[slots] - centre, world.position[slots] - keyframe.centre
        d_here, d_there = np.linalg.norm(here, axis=1), np.linalg.norm(there, axis=1)
        near = (here * there).sum(axis=1) > TURN * d_here * d_there
        near &= np.abs(np.log(d_here / d_there)) < np.log(RATIO)
        if near.sum() > most:
            best, most = (keyframe, slots[near], keyframe.rays[on][near]), int(near.sum())
    return best


def _find(
    world: LandmarkMap,
    keyframe: Keyframe,
    slots: np.ndarray,
    rays: np.ndarray,
    image: np.ndarray,
    T_cam_world: np.ndarray,
    K: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find a keyframe's landmarks in the new frame: slots, pixels, expected pixels."""
    # 1. The keyframe as the new view would show it, were all at the median depth.
    H = _plane_homography(world, keyframe, slots, T_cam_world, K)
    warped = cv2.warpPerspective(keyframe.image, H, image.shape[::-1], flags=cv2.INTER_LINEAR)
    # 2. Where the landmarks lie in the warped keyframe, and where the map puts them.
    at = cv2.perspectiveTransform((rays * (K[0, 0], K[1, 1]) + K[:2, 2])[:, None], H)[:, 0]
    expected = world.project(T_cam_world, slots)[0] * (K[0, 0], K[1, 1]) + K[:2, 2]
    height, width = image.shape
    inside = ((at > MARGIN) & (at < (width - MARGIN, height - MARGIN))).all(axis=1)
    slots, at, expected = slots[inside], at[inside].astype(np.float32), expected[inside]
    # 3. KLT from there, with a round trip, and a comparison of the patches.
    pixels, kept = track(warped, image, at, guess=expected.astype(np.float32), levels=2)
    if kept.any():
        kept[kept] = correlation(warped, image, at[kept], pixels[kept]) > ALIKE
    return slots[kept], pixels[kept], expected[kept]


def _plane_homography(
    world: LandmarkMap,
    keyframe: Keyframe,
    slots: np.ndarray,
    T_cam_world: np.ndarray,
    K: np.ndarray,
) -> np.ndarray:
    """Return the homography from the keyframe to the new view of the plane at median depth."""
    depth = float(np.median(world.project(keyframe.T_cam_world, slots)[1]))
    T = T_cam_world @ keyframe.T_world_cam
    plane = T[:3, :3].copy()
    plane[:, 2] += T[:3, 3] / max(depth, 1e-6)  # R + t n^T / d, with n the optical axis
    return K @ plane @ np.linalg.inv(K)


def correlation(
    a: np.ndarray, b: np.ndarray, points_a: np.ndarray, points_b: np.ndarray
) -> np.ndarray:
    """Return the normalised correlation of patches around points. (N,)"""
    patches = [_patches(a, points_a), _patches(b, points_b)]
    patches = [one - one.mean(axis=1, keepdims=True) for one in patches]
    norm = [np.sqrt((one**2).sum(axis=1)) + 1e-6 for one in patches]
    return (patches[0] * patches[1]).sum(axis=1) / (norm[0] * norm[1])


def _patches(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Sample patches around points, bilinearly. (N, PATCH^2) float32"""
    offset = np.arange(PATCH, dtype=np.float32) - PATCH // 2
    x = (points[:, 0:1] + np.tile(offset, PATCH)).astype(np.float32)
    y = (points[:, 1:2] + np.repeat(offset, PATCH)).astype(np.float32)
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(
        np.float32
    )
