# SPDX-License-Identifier: Apache-2.0
"""Places: the vocabulary, what looks alike, points of kept keyframes, and the geometric check."""

from dataclasses import replace

import numpy as np
import pytest
from plane_flight import DEPTH, SIZE, K, keyframes, laps, view

from depthkit.errors import DataError, ShapeError
from depthkit.multiview.features import Features, detect_sift, no_features
from depthkit.rigid import exp_se3, inverse, log_so3
from depthkit.runtime.odometry.place_map import PlaceMap
from depthkit.runtime.odometry.place_match import Query, check_place
from depthkit.runtime.odometry.place_view import add_points, intersect_rays, view_of
from depthkit.runtime.odometry.places import LEARN_AT, Places, learn_words, vlad
from depthkit.runtime.odometry.relocaliser import Relocaliser


def test_vlad_by_hand() -> None:
    """Two words: (3, 4) beside (0, 0) gives (0.6, 0.8); the other word has none; norm 1."""
    words = np.array([[0, 0], [100, 0]], np.float32)
    np.testing.assert_allclose(vlad(np.array([[3, 4]], np.uint8), words), [0.6, 0.8, 0, 0])
    # Both words in use: each part has norm 1, the whole is divided by sqrt(2).
    both = vlad(np.array([[3, 4], [100, 9]], np.uint8), words)
    np.testing.assert_allclose(both * np.sqrt(2), [0.6, 0.8, 0, 1], atol=1e-6)


def test_words_are_the_middles_of_clusters() -> None:
    """Two heaps far apart: the words are their means, and the same each time."""
    heaps = [np.full((50, 2), 10, np.uint8), np.full((50, 2), 200, np.uint8)]
    words = learn_words(heaps, words=2)
    assert sorted(words[:, 0].tolist()) == [10, 200]
    np.testing.assert_array_equal(words, learn_words(heaps, words=2))


def test_nothing_is_found_before_the_vocabulary() -> None:
    """The first places only teach; with the eighth they are found, but not those left out."""
    rng, places = np.random.default_rng(0), Places()
    images = [random_features(rng) for _ in range(LEARN_AT[0])]
    for key, image in enumerate(images):
        assert places.find(image) == []
        places.add(key, image)
    assert places.find(images[3])[0] == (3, pytest.approx(1.0, abs=1e-5))
    assert places.find(images[3], leave_out=frozenset([3]))[0][0] != 3
    places.remove(3)
    assert 3 not in [key for key, _ in places.find(images[3], count=99)]
    assert places.find(no_features()) == []


def random_features(rng: np.random.Generator) -> Features:
    """Make features that have nothing in common with others."""
    count = np.zeros(60, np.float32)
    descriptors = rng.integers(0, 256, (60, 128)).astype(np.uint8)
    return Features(np.zeros((60, 2), np.float32), descriptors, count, count)


def test_rays_meet_at_the_point() -> None:
    """Points at depths 2 to 9, seen from 1 m beside and turned: both depths are exact.

    A point at 1000 m has no parallax, and one behind the camera is refused.
    """
    X = np.array([[0.3, -0.2, 2.0], [1.0, 0.5, 9.0], [0, 0, 1000.0], [0.2, 0.1, -4.0]])
    T_a_b = exp_se3([1.0, 0.2, 0.1, 0.02, -0.1, 0.05])
    in_b = (X - T_a_b[:3, 3]) @ T_a_b[:3, :3]
    depths, _, good = intersect_rays(X / X[:, 2:], in_b / in_b[:, 2:], T_a_b, 500.0)
    assert good.tolist() == [True, True, False, False]
    np.testing.assert_allclose(depths[:2, 0], X[:2, 2], rtol=1e-9)
    np.testing.assert_allclose(depths[:2, 1], in_b[:2, 2], rtol=1e-9)


def test_rays_that_miss_each_other_are_refused() -> None:
    """3 pixels off the epipolar line is no intersection, 1 pixel is."""
    T_a_b = exp_se3([1.0, 0, 0, 0, 0, 0])
    ray_a = np.array([[0.0, 0, 1], [0, 0, 1]])
    ray_b = np.array([[-0.2, 3 / 500, 1], [-0.2, 1 / 500, 1]])
    assert intersect_rays(ray_a, ray_b, T_a_b, 500.0)[2].tolist() == [False, True]


def test_points_of_neighbours_lie_on_the_plane() -> None:
    """Two keyframes of the flight: their common features are placed on z = 5 within 2 %."""
    first, second = keyframes(laps(2), laps(2))
    a, b = (view_of(k, detect_sift(k.gray)) for k in (first, second))
    a, b = add_points(a, b)
    for one in (a, b):
        assert one.known.sum() > 50
        R, t = one.T_world_cam[:3, :3], one.T_world_cam[:3, 3]
        world = one.points[one.known] @ R.T + t
        assert np.median(np.abs(world[:, 2] - DEPTH)) < 0.02 * DEPTH
    assert len(a.thinned(30).features) == 30


def test_landmark_beside_a_feature_gives_its_position() -> None:
    """A landmark one pixel away is taken, one three pixels away is not."""
    frame = keyframes(laps(1), laps(1))[0]
    features = detect_sift(frame.gray)
    far = np.linalg.norm(features.pixels - features.pixels[0], axis=1) > 20
    features = features.take(np.array([0, int(far.argmax())]))
    spots = features.pixels + np.array([[1, 0], [3, 0]])
    camera = np.array([[0.1, 0.2, 5.0], [0.3, 0.4, 6.0]])
    T = frame.T_world_cam
    world = camera @ T[:3, :3].T + T[:3, 3]
    made = view_of(replace(frame, pixels=spots, positions=world), features)
    np.testing.assert_allclose(made.points[0], camera[0], atol=1e-5)
    assert made.known.tolist() == [True, False]


@pytest.fixture(scope="module")
def place_map() -> PlaceMap:
    """Fifteen keyframes of half a lap."""
    places = PlaceMap()
    for frame in keyframes(laps(15), laps(15)):
        places.add(frame)
    return places


def test_pose_and_scale_of_a_place(place_map: PlaceMap) -> None:
    """A view 0.3 m beside a keyframe: pose within 2 cm and 0.3 degrees; doubled depths halve s."""
    other = laps(15)[7] @ exp_se3([0.2, 0.2, -0.1, 0, 0, 0.1])
    features = detect_sift(view(other))
    rays = np.column_stack([(features.pixels - K[:2, 2]) / K[0, 0], np.ones(len(features))])
    R, t = other[:3, :3], other[:3, 3]
    depth = (DEPTH - t[2]) / (rays @ R.T)[:, 2]
    sigmas = np.full(len(features), 0.01)
    query = Query(features, K, SIZE[0], rays * 2.0 * depth[:, None], sigmas)
    hit = check_place(query, place_map.views[7])
    assert hit is not None
    difference = inverse(place_map.views[7].T_world_cam @ hit.T_view_cam) @ other
    assert np.linalg.norm(difference[:3, 3]) < 0.02
    assert np.degrees(np.linalg.norm(log_so3(difference[:3, :3]))) < 0.3
    assert hit.scale == pytest.approx(0.5, rel=0.02)
    assert hit.depth == pytest.approx(DEPTH, rel=0.1)


def test_lost_camera_is_found_again(place_map: PlaceMap) -> None:
    """Between two keyframes, rolled by 40 degrees: pose within 3 cm, keyframe and segment said."""
    truth = laps(15)[9] @ exp_se3([0.3, 0, 0.2, 0, 0, np.radians(40)])
    found = Relocaliser(place_map).find(view(truth), K)
    assert found is not None
    assert np.linalg.norm(found.T_world_cam[:3, 3] - truth[:3, 3]) < 0.03
    assert found.inliers >= 25
    assert (found.segment, abs(found.keyframe - 9) <= 2) == (0, True)


def test_other_ground_is_not_found(place_map: PlaceMap) -> None:
    """Another texture, and none at all, are no known place."""
    relocaliser = Relocaliser(place_map)
    assert relocaliser.find(view(laps(15)[9], seed=5), K) is None
    assert relocaliser.find(np.full(SIZE[::-1], 100, np.uint8), K) is None


def test_bad_keyframes_are_named(place_map: PlaceMap) -> None:
    """Numbers that fall, poses that are NaN, landmarks without pixels."""
    frame = keyframes(laps(1), laps(1))[0]
    with pytest.raises(DataError, match="must rise"):
        place_map.add(frame)
    with pytest.raises(DataError, match="NaN"):
        replace(frame, T_world_cam=np.full((4, 4), np.nan))
    with pytest.raises(ShapeError, match="pixels"):
        replace(frame, positions=np.zeros((3, 3)))
