# SPDX-License-Identifier: Apache-2.0
"""A camera followed in a rendered world: start, keyframes, landmarks found again, loss."""

from functools import cache

import numpy as np
import pytest
from layered_world import SIZE, K, depth_at, frame, swaying

from depthkit.rigid import exp_se3, inverse, log_so3
from depthkit.runtime.odometry.anchors import anchored
from depthkit.runtime.odometry.front_end import Tracks
from depthkit.runtime.odometry.landmark_map import MAPPED
from depthkit.runtime.odometry.local_map import correlation, search_map
from depthkit.runtime.odometry.map_tracker import MapTracker, Tracked

POSES = swaying(16)


def run(poses: np.ndarray, tracker: MapTracker) -> list[Tracked]:
    return [tracker.process(frame(T, float(i))) for i, T in enumerate(poses)]


@cache
def flown() -> tuple[MapTracker, tuple[Tracked, ...]]:
    """The whole path; readers leave the tracker as it is."""
    tracker = MapTracker(tracks_wanted=150)
    return tracker, tuple(run(POSES, tracker))


def unit_of(tracker: MapTracker) -> float:
    """True length of the map's unit: what landmarks in view say of their depths."""
    slots, pixels = tracker.tracks.slots, tracker.tracks.pixels
    good = tracker.world.sigma[slots] < 0.05
    _, depth = tracker.world.project(tracker.T, slots[good])
    return float(np.median(depth_at(POSES[-1], pixels[good]) / depth))


def test_path_is_followed() -> None:
    """From the start on every frame is known: rotation to half a degree, place to 0.06 units.

    A short baseline hardly tells a turn from a sideways step, and half a degree at a depth of six
    units is 0.05; corners at the edge of a nearer plane belong to neither plane.
    """
    tracker, results = flown()
    states = [one.state for one in results]
    start = states.index("started")
    assert 1 <= start <= 8 and set(states[start + 1 :]) == {"tracking"}
    assert set(states[:start]) == {"waiting"} and all(one.reason for one in results[:start])
    unit = unit_of(tracker)
    for T, one in zip(POSES[start:], results[start:], strict=True):
        found = inverse(one.T_cam_world)
        assert np.degrees(np.abs(log_so3(found[:3, :3] @ T[:3, :3].T)).max()) < 0.5
        assert np.linalg.norm(unit * found[:3, 3] - T[:3, 3]) < 0.06


def test_landmarks_lie_on_the_planes() -> None:
    """Measured depths in the newest view: four in five within four of their sigmas and 2 %."""
    tracker, _ = flown()
    slots = tracker.tracks.slots
    _, depth = tracker.world.project(tracker.T, slots)
    sigma = tracker.world.sigma[slots]
    true = depth_at(POSES[-1], tracker.tracks.pixels)
    good = sigma < MAPPED
    off = np.abs(np.log(unit_of(tracker) * depth[good] / true[good]))
    assert good.sum() > 60 and (off < 4 * sigma[good] + 0.02).mean() > 0.8


def test_frames_before_the_start_get_their_poses_afterwards() -> None:
    """In the order of their stamps, none twice, and close to the truth."""
    tracker = MapTracker(tracks_wanted=150)
    results = run(POSES[:9], tracker)
    start = [one.state for one in results].index("started")
    waited = tracker.waited()
    assert [stamp for stamp, _ in waited] == [float(i) for i in range(1, start)]
    for stamp, T in waited:
        turn = inverse(T)[:3, :3] @ POSES[int(stamp), :3, :3].T
        assert np.degrees(np.abs(log_so3(turn)).max()) < 0.3
    assert tracker.waited() == []


def test_same_frames_same_bytes() -> None:
    """Five keyframes long, twice."""
    pair = []
    for _ in range(2):
        tracker = MapTracker(tracks_wanted=120)
        results = run(POSES[:9], tracker)
        pair.append((np.stack([one.T_cam_world for one in results]), tracker.world.position))
    assert pair[0][0].tobytes() == pair[1][0].tobytes()
    assert pair[0][1].tobytes() == pair[1][1].tobytes()


def test_turning_and_standing_never_start() -> None:
    """On the spot there is no parallax: the rotation is told, the translation stays nil."""
    turns = exp_se3(np.array([[0, 0, 0, 0, 0.02 * i, 0] for i in range(6)]))
    for poses in (turns, np.tile(np.eye(4), (4, 1, 1))):
        tracker = MapTracker(tracks_wanted=120)
        results = run(poses, tracker)
        assert {one.state for one in results} == {"waiting"}
        for T, one in zip(poses, results, strict=True):
            assert not one.T_cam_world[:3, 3].any()
            assert np.abs(log_so3(one.T_cam_world[:3, :3] @ T[:3, :3])).max() < 2e-3


def test_unknown_view_is_lost_and_kept_for_a_return() -> None:
    """A view of elsewhere: said, and a new map begins; the old one is resumed where it is seen."""
    tracker = MapTracker(tracks_wanted=150)
    run(POSES[:12], tracker)
    elsewhere = exp_se3(np.array([0, 0, 0, 0, np.pi, 0])) @ POSES[0]
    result = tracker.process(frame(elsewhere @ exp_se3([0, 0, 2, 0, 0.3, 0]), 12.0))
    assert result.state == "lost" and result.reason.startswith("lost: ")
    old = tracker.lost_world
    assert len(old.keyframes) >= 2 and tracker.world is not old
    seen = frame(POSES[11], 13.0)
    guess = old.keyframes[-1].T_cam_world
    resumed = tracker.resume(seen, old, guess)
    assert resumed is not None and resumed.state == "resumed" and tracker.world is old
    turn = inverse(resumed.T_cam_world)[:3, :3] @ POSES[11, :3, :3].T
    assert np.degrees(np.abs(log_so3(turn)).max()) < 0.3


def test_a_failed_return_changes_nothing() -> None:
    """Where the map is not seen: None, and tracks, pose and map are the old ones."""
    tracker, _ = flown()
    mine = tracker.world, tracker.tracks, tracker.T.tobytes()
    dark = frame(exp_se3(np.array([0, 0, 0, 0, np.pi, 0])), 99.0)
    assert tracker.resume(dark, tracker.world, tracker.T) is None
    assert (tracker.world, tracker.tracks, tracker.T.tobytes()) == mine


def test_landmarks_are_found_again_by_projection() -> None:
    """Untracked landmarks of earlier keyframes, where the newest view shows them, to half a pixel.

    Their true place is that of the newest tracks of the same landmarks.
    """
    tracker, _ = flown()
    view = frame(POSES[-1])
    none = np.zeros(0, int)
    found = search_map(tracker.world, view.image, tracker.T, K=K, tracked=none)
    assert len(found.slots) > 30 and len(np.unique(found.slots)) == len(found.slots)
    place = {int(slot): at for slot, at in zip(*_tracks(tracker), strict=True)}
    both = [i for i, slot in enumerate(found.slots) if int(slot) in place]
    tracked = np.array([place[int(found.slots[i])] for i in both])
    assert len(both) > 15
    assert np.median(np.abs(found.pixels[both] - tracked)) < 0.5
    rest = search_map(tracker.world, view.image, tracker.T, K=K, tracked=found.slots)
    assert not np.isin(rest.slots, found.slots).any()


def _tracks(tracker: MapTracker) -> tuple[np.ndarray, np.ndarray]:
    return tracker.tracks.slots, tracker.tracks.pixels


def test_nothing_to_search() -> None:
    """Facing away, no landmark projects into the view."""
    tracker, _ = flown()
    away = exp_se3(np.array([0, 0, 0, 0, np.pi, 0]))
    none = np.zeros(0, int)
    found = search_map(tracker.world, frame(POSES[-1]).image, away, K=K, tracked=none)
    assert len(found.slots) == len(found.pixels) == len(found.expected) == 0


def test_anchors_take_drift_out_of_tracks() -> None:
    """Tracks pushed off by up to 0.7 pixels return to where their first keyframes put them."""
    tracker, _ = flown()
    view, tracks = frame(POSES[-1]), tracker.tracks
    push = np.random.default_rng(0).uniform(-0.7, 0.7, tracks.pixels.shape).astype(np.float32)
    old = np.isin(tracks.slots, np.concatenate([one.slots for one in tracker.world.keyframes[:-1]]))
    clean = anchored(tracker.world, view, tracks, tracker.T).pixels[old]
    pushed = Tracks(tracks.slots, tracks.pixels + push)
    after = anchored(tracker.world, view, pushed, tracker.T)
    assert (after.slots == tracks.slots).all() and old.sum() > 40
    left = np.linalg.norm(after.pixels[old] - clean, axis=1)
    assert np.median(left) < 0.05 * np.median(np.linalg.norm(push, axis=1))
    none = anchored(tracker.world, view, Tracks(), tracker.T)
    assert len(none) == 0


def test_correlation_by_hand() -> None:
    """A picture with itself 1, with its negative -1, with a flat one 0."""
    image = frame(np.eye(4)).image
    at = np.array([[100.0, 80.0], [200.5, 120.25]], np.float32)
    assert correlation(image, image, at, at) == pytest.approx(np.ones(2), abs=1e-5)
    assert correlation(image, 255 - image, at, at) == pytest.approx(-np.ones(2), abs=1e-3)
    assert correlation(image, np.full(SIZE[::-1], 7, np.uint8), at, at) == pytest.approx([0, 0])
