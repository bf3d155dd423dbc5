# SPDX-License-Identifier: Apache-2.0
"""A second session over a rendered plane begins in the map of the first one, in its frame."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from odometry_flights import K, noisy, pictures, play, poses, truth

from depthkit.errors import DataError
from depthkit.rigid import exp_se3
from depthkit.runtime.odometry.finder import Finder, open_finder
from depthkit.runtime.odometry.geometric import IN_MAP, GeometricConfig, GeometricOdometry
from depthkit.runtime.odometry.known_start import StartInMap
from depthkit.runtime.odometry.place_match import PlaceHit
from depthkit.runtime.odometry.saved_map import SavedMap
from depthkit.runtime.odometry.saved_map_files import load_map, save_map

BEGIN, END = 12, 24


@cache
def first() -> SavedMap:
    """Return the map of a flight of forty frames."""
    odometry = GeometricOdometry(GeometricConfig(loops=True))
    play(pictures(poses()), odometry)
    saved = odometry.saved_map()
    assert saved is not None
    return saved


@cache
def second() -> tuple[GeometricOdometry, list, list]:
    """Fly a part of the way again, with noise: odometry, results, poses in the map."""
    odometry = GeometricOdometry(finder=Finder(saved=first()))
    results, places = [], []
    for i, image in enumerate(pictures(poses()[BEGIN:END])):
        results.append(odometry.process(noisy(image, i), stamp=100 + 0.05 * i, K=K))
        places.append(odometry.map_pose)
    return odometry, results, places


@pytest.mark.slow
def test_the_second_frame_is_in_the_map() -> None:
    """Two pictures that agree are enough; nobody waits for parallax."""
    _, results, places = second()
    assert places[0] is None
    assert results[1].reason == IN_MAP
    assert all(one is not None and one.map == 0 and not one.metric for one in places[1:])
    assert all(one.reason == "" for one in results[2:])


@pytest.mark.slow
def test_poses_are_in_the_frame_and_unit_of_the_first_session() -> None:
    """Within 1 % of the depth, 1 in the map's unit, and half a degree of where it truly is."""
    _, _, places = second()
    for place, T in zip(places[1:], truth(poses())[BEGIN + 1 : END], strict=True):
        assert place is not None
        assert np.linalg.norm(place.T_map_cam[:3, 3] - T[:3, 3]) < 0.01
        turn = np.arccos(np.clip((np.trace(place.T_map_cam[:3, :3].T @ T[:3, :3]) - 1) / 2, -1, 1))
        assert np.degrees(turn) < 0.5


@pytest.mark.slow
def test_odom_is_a_world_of_its_own() -> None:
    """It begins at the identity and does not jump; the correction carries the map."""
    _, results, _ = second()
    np.testing.assert_allclose(results[1].T_world_cam, np.eye(4), atol=0.01)
    steps = [np.linalg.norm(one.T_previous_current[:3, 3]) for one in results[2:]]
    assert max(steps) < 0.06  # 0.12 to 0.16 m a frame at a depth of 5 m
    moved = np.linalg.norm(results[-1].correction[:3, 3])
    assert moved == pytest.approx(np.linalg.norm(truth(poses())[BEGIN + 1, :3, 3]), rel=0.05)


@pytest.mark.slow
def test_the_map_is_extended(tmp_path: Path) -> None:
    """What was there stays where it is; the new keyframes are a segment of a second session."""
    before, now = first(), second()[0].saved_map()
    assert now is not None
    assert len(now.views) > len(before.views)
    assert [(one.session, one.map) for one in now.segments] == [(0, 0), (1, 0)]
    for a, b in zip(before.views, now.views, strict=False):
        np.testing.assert_allclose(b.T_world_cam, a.T_world_cam, atol=1e-9)
    save_map(tmp_path, now)
    assert load_map(tmp_path).sessions == 2


@pytest.mark.slow
def test_another_camera_is_refused_at_its_first_frame() -> None:
    """By its intrinsics, in one line."""
    wide = K.copy()
    wide[0, 0] *= 1.1
    odometry = GeometricOdometry(finder=Finder(saved=first(), folder=Path("m")))
    with pytest.raises(DataError, match="m: is the map of another camera"):
        odometry.process(pictures(poses()[:1])[0], stamp=0.0, K=wide)


@pytest.mark.slow
def test_a_picture_of_40_pixels_is_no_crash() -> None:
    """A map of such a camera may be begun; frames without corners leave it empty."""
    small = np.diag([0.125, 0.125, 1.0]) @ K
    odometry = GeometricOdometry(finder=Finder(folder=Path("new")))
    for i, image in enumerate(pictures(poses()[:4])):
        odometry.process(np.ascontiguousarray(image[::8, ::8]), stamp=0.1 * i, K=small)
    assert odometry.map_pose is None
    with pytest.raises(DataError, match="40x30"):
        GeometricOdometry(finder=Finder(saved=first())).process(
            np.ascontiguousarray(image[::8, ::8]), stamp=0.0, K=small
        )


@pytest.mark.slow
def test_a_place_that_is_not_in_the_map_is_not_found() -> None:
    """Another plane: the session goes on in a world of its own, and says so by no pose."""
    odometry = GeometricOdometry(finder=Finder(saved=first()))
    for i, image in enumerate(pictures(poses()[:12])):
        odometry.process(np.ascontiguousarray(255 - image[::-1, ::-1]), stamp=0.05 * i, K=K)
        assert odometry.map_pose is None
    now = odometry.saved_map()
    assert now is not None
    assert {one.map for one in now.segments} == {0, 1}


def test_two_hits_must_agree() -> None:
    """A jump, a turn that the tracks have not seen, another map: none of them is a start."""

    def hit(x: float, turn: float = 0.0) -> PlaceHit:
        T = exp_se3(np.array([x, 0, 0, 0, turn, 0]))
        return PlaceHit(0, T, 40, 0.5, float("nan"), float("inf"), 1.0)

    def asked(now: PlaceHit, *, map: int = 0, told: float = 0.0) -> bool:
        start = StartInMap()
        words = {"T_map_view": np.eye(4), "R_cam_start": np.eye(3)}
        assert not start.confirmed(hit(0.0), map=0, **words)
        words["R_cam_start"] = exp_se3(np.array([0, 0, 0, 0, told, 0]))[:3, :3].T
        return start.confirmed(now, map=map, **words)

    assert asked(hit(0.1))
    assert not asked(hit(0.5))
    assert not asked(hit(0.1, turn=0.2))
    assert asked(hit(0.1, turn=0.2), told=0.2)
    assert not asked(hit(0.1), map=1)


def test_a_missed_picture_ends_the_row() -> None:
    """Hits count only one after the other."""
    start, T = StartInMap(), np.eye(4)
    place = PlaceHit(0, T, 40, 0.5, float("nan"), float("inf"), 1.0)
    words = {"T_map_view": T, "map": 0, "R_cam_start": np.eye(3)}
    start.confirmed(place, **words)
    start.miss()
    assert not start.confirmed(place, **words)


def test_a_finder_of_a_new_map_keeps_keyframes(tmp_path: Path) -> None:
    """A folder that is not there yet asks for keyframes as loops do."""
    finder = open_finder(map=tmp_path / "new")
    assert finder.is_mapping
    assert not replace(finder, folder=None).is_mapping
