# SPDX-License-Identifier: Apache-2.0
"""Tracks measured against the keyframe that saw their landmark first, so that none drifts."""

import numpy as np

from depthkit.multiview.patches import SIDE, align_patches, cut_patches, plane_warps
from depthkit.runtime.odometry.front_end import Tracks, WorkingFrame
from depthkit.runtime.odometry.landmark_map import LandmarkMap

BACK = 20
"""Number of keyframes among which the first sight is looked for."""
ZOOM = (0.6, 1.7)
"""Range of the change of size between both views."""
STRAYED = 1.5
"""Largest distance between a track and its anchored place, pixels; beyond it neither is trusted
over the other and the track stays."""
ALIKE = 0.8
"""Smallest normalised correlation of the patches."""


def anchored(
    world: LandmarkMap, frame: WorkingFrame, tracks: Tracks, T_cam_world: np.ndarray
) -> Tracks:
    """Return the tracks with their pixels measured against their landmarks' first keyframes.

    Args:
        world: the map.
        frame: the newest frame.
        tracks: where they were followed to.
        T_cam_world: pose of the newest frame. (4, 4)
    """
    pixels = tracks.pixels.copy()
    place = np.full(len(world.sigma), -1)
    place[tracks.slots] = np.arange(len(tracks))
    chosen, patches = [np.zeros(0, int)], [np.zeros((0, SIDE + 2, SIDE + 2), np.float32)]
    for keyframe in world.keyframes[-BACK:]:
        # 1. Tracks that this keyframe saw and no earlier one of these did, at a like size.
        on = place[keyframe.slots] >= 0
        if not on.any():
            continue
        slots, rays = keyframe.slots[on], keyframe.rays[on]
        _, depth = world.project(keyframe.T_cam_world, slots)
        warps = plane_warps(
            rays, np.maximum(depth, 1e-3), T_cam_world @ keyframe.T_world_cam, frame.K
        )
        zoom = np.sqrt(np.abs(warps[:, 0, 0] * warps[:, 1, 1] - warps[:, 0, 1] * warps[:, 1, 0]))
        like = (depth > 1e-3) & (zoom > ZOOM[0]) & (zoom < ZOOM[1])
        if not like.any():
            continue
        chosen.append(place[slots[like]])
        place[slots[like]] = -1
        patches.append(cut_patches(keyframe.image, frame.pixels(rays[like]), warps[like]))
    # 2. Align, and take over what arrived nearby.
    index = np.concatenate(chosen)
    found = align_patches(np.concatenate(patches), frame.image, tracks.pixels[index])
    moved = np.linalg.norm(found.pixels - tracks.pixels[index], axis=1)
    good = (found.alike > ALIKE) & (moved < STRAYED)
    pixels[index[good]] = found.pixels[good]
    return Tracks(tracks.slots, pixels)
