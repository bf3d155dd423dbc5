# SPDX-License-Identifier: Apache-2.0
"""Places by another detector and by a learnt descriptor; finished keyframes of a saved map."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from plane_flight import K, keyframes, laps, view

from depthkit.errors import DataError
from depthkit.multiview.features import Features, detect_sift, no_features
from depthkit.rigid import exp_se3
from depthkit.runtime.odometry.loop import LoopCloser
from depthkit.runtime.odometry.place_map import FEATURES_KEPT, PlaceMap
from depthkit.runtime.odometry.place_view import PlaceView
from depthkit.runtime.odometry.places import LEARN_AT, Places
from depthkit.runtime.odometry.relocaliser import Relocaliser


class Floats:
    """SIFT as a learnt detector gives it: float32 of unit length."""

    name = "floats"
    width = 128

    def detect(self, gray: np.ndarray, *, valid: np.ndarray | None = None) -> Features:
        """Find features."""
        found = detect_sift(gray, valid=valid)
        long = found.descriptors.astype(np.float32)
        long /= np.maximum(np.linalg.norm(long, axis=1, keepdims=True), 1e-6)
        return replace(found, descriptors=long)


def thumbnail(gray: np.ndarray) -> np.ndarray:
    """Describe a picture by 48 grey values of unit length."""
    small = cv2.resize(gray, (8, 6), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    small -= small.mean()
    return small / max(float(np.linalg.norm(small)), 1e-6)


def filled(count: int = 10, **kind) -> PlaceMap:
    """Keep some keyframes of the flight."""
    places = PlaceMap(**kind)
    for frame in keyframes(laps(count), laps(count)):
        places.add(frame)
    return places


@pytest.fixture(scope="module")
def learnt() -> PlaceMap:
    """A map by float descriptors and thumbnails."""
    return filled(detector=Floats(), describe=thumbnail)


def test_lost_camera_is_found_by_learnt_features(learnt: PlaceMap) -> None:
    """Beside the fifth keyframe: pose within 3 cm; the views keep float32 of known position."""
    truth = laps(10)[4] @ exp_se3([0.2, 0.1, 0.1, 0, 0, 0.1])
    found = Relocaliser(learnt).find(view(truth), K)
    assert found is not None
    assert np.linalg.norm(found.T_world_cam[:3, 3] - truth[:3, 3]) < 0.03
    oldest = learnt.views[0]
    assert oldest.features.descriptors.dtype == np.float32
    assert oldest.known.all() and len(oldest.features) <= FEATURES_KEPT


def test_a_learnt_descriptor_finds_from_the_first_place_on() -> None:
    """No vocabulary is waited for: two places are enough."""
    places = Places()
    for key, frame in enumerate(keyframes(laps(2, 4), laps(2, 4))):
        places.add(key, no_features(), thumbnail(frame.gray))
    code = thumbnail(view(laps(2, 4)[1]))
    assert places.find(no_features(), code)[0] == (1, pytest.approx(1.0, abs=1e-5))


def test_float_descriptors_make_a_vocabulary() -> None:
    """VLAD of float32: each picture is most like itself."""
    places = Places()
    found = [Floats().detect(f.gray) for f in keyframes(laps(LEARN_AT[0]), laps(LEARN_AT[0]))]
    for key, features in enumerate(found):
        places.add(key, features)
    for key, features in enumerate(found):
        assert places.find(features)[0][0] == key


def test_pictures_without_texture_teach_no_words() -> None:
    """Eight blank ones, then texture: the vocabulary waits, and then serves."""
    places = Places()
    for key in range(LEARN_AT[0]):
        places.add(key, no_features())
    features = detect_sift(view(laps(1)[0]))
    assert places.find(features) == []
    places.add(99, features)
    assert places.find(features)[0][0] == 99


def test_saved_keyframes_go_on_in_another_map(learnt: PlaceMap) -> None:
    """Views and codes handed over: the same camera is found at the same place."""
    other = PlaceMap(detector=Floats(), describe=thumbnail)
    for key, one in learnt.views.items():
        other.keep(one, learnt.code(key))
    gray = view(laps(10)[4] @ exp_se3([0.2, 0.1, 0.1, 0, 0, 0.1]))
    first, second = (Relocaliser(places).find(gray, K) for places in (learnt, other))
    assert first is not None and second is not None
    np.testing.assert_array_equal(first.T_world_cam, second.T_world_cam)


def test_an_empty_map_finds_nothing() -> None:
    """By words and by a learnt descriptor."""
    for kind in ({}, {"describe": thumbnail}):
        assert Relocaliser(PlaceMap(**kind)).find(view(laps(1)[0]), K) is None


def test_keyframes_that_do_not_fit_a_map_are_named(learnt: PlaceMap) -> None:
    """Another length of descriptors, a code that is missing or too much, a number that falls."""
    one, code = learnt.views[9], learnt.code(9)
    narrow = replace(one, id=20, features=cut(one))
    with pytest.raises(DataError, match=r"descriptors of 128 numbers \(floats\), got 64"):
        learnt.keep(narrow, code)
    with pytest.raises(DataError, match="keyframe 20 lacks a learnt descriptor"):
        learnt.keep(replace(one, id=20))
    with pytest.raises(DataError, match="keyframe 20 has a learnt descriptor"):
        PlaceMap().keep(replace(one, id=20), code)
    with pytest.raises(DataError, match="codes of 48 numbers, got"):
        learnt.keep(replace(one, id=20), np.ones(7))
    with pytest.raises(DataError, match="must rise, got 9 after 9"):
        learnt.keep(one, code)
    assert sorted(learnt.views) == list(range(10))


def cut(one: PlaceView) -> Features:
    """Halve the descriptors of a keyframe."""
    return replace(one.features, descriptors=one.features.descriptors[:, :64].copy())


def test_places_of_two_kinds_do_not_mix() -> None:
    """A code beside images without, and words of another length."""
    places = Places()
    places.add(0, no_features(64))
    with pytest.raises(DataError, match="all images need a learnt descriptor, or none"):
        places.add(1, no_features(64), np.ones(4))
    with pytest.raises(DataError, match="descriptors of 64 numbers, got 128"):
        places.add(1, no_features(128))
    assert len(places) == 1


def test_loops_take_both(learnt: PlaceMap) -> None:
    """The closer hands detector and descriptor to its places, and says what a place costs."""
    closer = LoopCloser(detector=Floats(), describe=thumbnail)
    assert closer.places.detector.name == "floats"
    assert closer.places.bytes_each == 0
    each = learnt.views[0].bytes
    assert each > len(learnt.views[0].features) * (128 * 4 + 16)
    assert learnt.bytes_each > 4 * 48
