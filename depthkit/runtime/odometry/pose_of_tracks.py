# SPDX-License-Identifier: Apache-2.0
"""The pose of a frame from its tracks, and where tracks are expected before it is known."""

from dataclasses import replace

import numpy as np

from depthkit.multiview.resection import PoseFit, Sightings, fit_pose
from depthkit.runtime.odometry.front_end import Tracks, WorkingFrame
from depthkit.runtime.odometry.landmark_map import MAPPED, LandmarkMap

NOISE = 0.7
"""Standard deviation of a track, pixels of the working image."""
OFF = 4.0
"""Error of a track that is dropped, standard deviations."""
UNITED = 0.7
"""Share of the mapped landmarks, and of the fresh ones, that agree with a pose of both; below it
something may move, and the mapped ones are asked alone."""
LEAST_SEEN = 20
"""Tracks that must agree on a pose; with fewer the camera is lost."""
WILD = 0.25
"""Expected motion of a track in one frame, in widths of the picture, that is not believed."""
AHEAD = 0.1
"""Smallest depth of a turned ray of length about 1 that is still in view."""


def turned_pixels(frame: WorkingFrame, tracks: Tracks) -> np.ndarray:
    """Return where tracks would be after the gyro's rotation alone. (N, 2) float32"""
    R, pixels = frame.R_current_previous, tracks.pixels
    if R is None or len(pixels) == 0:
        return pixels
    rays = np.column_stack([frame.rays(pixels), np.ones(len(pixels))]) @ R.T
    ahead = rays[:, 2:] > AHEAD
    turned = frame.pixels(rays[:, :2] / np.maximum(rays[:, 2:], AHEAD))
    return np.where(ahead, turned, pixels).astype(np.float32)


def expected_pixels(
    world: LandmarkMap, frame: WorkingFrame, tracks: Tracks, T_cam_world: np.ndarray
) -> np.ndarray:
    """Return where landmarks would be seen from a pose; where they were if that is far off.

    Args:
        world: the map.
        frame: the newest frame.
        tracks: where the landmarks were seen last.
        T_cam_world: expected pose. (4, 4)

    Returns:
        Pixels. (N, 2) float32
    """
    rays, depth = world.project(T_cam_world, tracks.slots)
    guess = frame.pixels(rays).astype(np.float32)
    moved = np.abs(guess - tracks.pixels).max(axis=1, initial=0.0)
    wild = (depth < 1e-3) | (moved > WILD * frame.image.shape[1])
    return np.where(wild[:, None], tracks.pixels, guess)


def fit_tracks(
    world: LandmarkMap,
    frame: WorkingFrame,
    tracks: Tracks,
    T_cam_world: np.ndarray,
    *,
    T_before: np.ndarray,
) -> PoseFit:
    """Fit the pose to mapped and fresh landmarks together, or to the map alone where they differ.

    Args:
        world: the map.
        frame: the newest frame.
        tracks: where it sees landmarks.
        T_cam_world: start value. (4, 4)
        T_before: pose of the frame before, to which the gyro's rotation is added. (4, 4)
    """
    seen = Sightings(
        points=world.position[tracks.slots],
        lever=world.lever(tracks.slots),
        rays=frame.rays(tracks.pixels),
        sigma=NOISE / frame.focal,
        weight=frame.trust(tracks.pixels),
    )
    R = frame.R_current_previous
    R_prior, sigma = None if R is None else R @ T_before[:3, :3], frame.turn_sigma
    fit = fit_pose(T_cam_world, seen, R_prior=R_prior, prior_sigma=sigma)
    # Fresh tracks have no say against the map: they may lie on something that moves.
    mapped = world.sigma[tracks.slots] < MAPPED
    share = [
        float((fit.errors[one] < OFF).mean()) if one.any() else 1.0 for one in (mapped, ~mapped)
    ]
    if min(share) >= UNITED or mapped.sum() < LEAST_SEEN:
        return fit
    fits = [
        fit_pose(start, seen.part(mapped), R_prior=R_prior, prior_sigma=sigma)
        for start in (fit.T_cam_world, T_cam_world, T_before)
    ]
    best = max(fits, key=lambda one: int((one.errors < OFF).sum()))
    compared = fit_pose(best.T_cam_world, seen, iterations=0)
    return replace(compared, information=best.information)


def agreeing(world: LandmarkMap, tracks: Tracks, fit: PoseFit, before: Tracks) -> int:
    """Count the mapped landmarks that agree with a pose; all tracks where few are mapped.

    Args:
        world: the map.
        tracks: those that were followed.
        fit: a pose for them.
        before: all tracks of the frame before.
    """
    good = fit.errors < OFF
    if (world.sigma[before.slots] < MAPPED).sum() >= 2 * LEAST_SEEN:
        good = good & (world.sigma[tracks.slots] < MAPPED)
    return int(good.sum())
