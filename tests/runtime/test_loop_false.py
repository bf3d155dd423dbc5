# SPDX-License-Identifier: Apache-2.0
"""False loops: planted ones are refused, forced ones are undone by the graph."""

from dataclasses import replace

import numpy as np
import pytest
from plane_flight import K, drifted, keyframes, laps, view

from depthkit.errors import DataError
from depthkit.multiview.features import Features, detect_sift, no_features
from depthkit.rigid import exp_se3, inverse, make_pose
from depthkit.runtime.odometry.loop import LoopCloser
from depthkit.runtime.odometry.loop_graph import LoopGraph
from depthkit.runtime.odometry.loop_records import LoopConfig
from depthkit.runtime.odometry.place_match import Query, check_place
from depthkit.runtime.odometry.place_view import Keyframe, add_points, view_of

EACH, COUNT = 40, 80
"""Keyframes of a lap, and of two."""
DRIFT = {"turn": np.radians(0.1)}


class Blind:
    """A detector that finds nothing, so that only `tie` enters loops."""

    name = "blind"
    width = 128

    def detect(self, gray: np.ndarray, *, valid: np.ndarray | None = None) -> Features:
        """Find nothing."""
        return no_features()


def flight(count: int = COUNT) -> tuple[np.ndarray, np.ndarray, list[Keyframe]]:
    """Fly two laps, drifted; pictures are blank."""
    truth = laps(count, EACH)
    odom = drifted(truth, **DRIFT)
    gray, none = np.zeros((4, 4), np.uint8), (np.zeros((0, 2)), np.zeros((0, 3)))
    frames = [Keyframe(i, float(i), 0, gray, K, T, *none, metric=True) for i, T in enumerate(odom)]
    return truth, odom, frames


def flown(frames: list[Keyframe]) -> LoopCloser:
    """Hand keyframes over without looking for loops."""
    closer = LoopCloser(detector=Blind())
    for frame in frames:
        closer.add(frame)
    return closer


def rms(a: np.ndarray, b: np.ndarray) -> float:
    """Root of the mean squared distance of two paths."""
    return float(np.sqrt(np.mean(np.sum((a[:, :3, 3] - b[:, :3, 3]) ** 2, axis=1))))


def true_loops(closer: LoopCloser, truth: np.ndarray, first: int, last: int) -> None:
    """Tie every fourth keyframe of the second lap to the first one's, as it truly lies."""
    for i in range(first, last, 4):
        assert closer.tie(i, EACH + i, inverse(truth[i]) @ truth[EACH + i])


def test_right_loops_are_followed() -> None:
    """Five true ties take two thirds of the drift of two laps."""
    truth, odom, frames = flight()
    closer = flown(frames)
    true_loops(closer, truth, 0, 20)
    assert closer.counts["closed"] == 5
    assert closer.counts["undone"] == 0
    assert rms(closer.corrected()[1], truth) < rms(odom, truth) / 3


def test_forced_loop_against_the_odometry_leaves_no_trace() -> None:
    """Opposite ends of the circle, 8 m apart, are said to be one place: no bit changes."""
    _, _, frames = flight(30)
    closer = flown(frames)
    before = closer.corrected()[1]
    assert not closer.tie(5, 25, np.eye(4))
    np.testing.assert_array_equal(closer.corrected()[1], before)
    assert closer.correction is None
    assert [e.kind for e in closer.events] == ["refused"]
    assert closer.events[0].reason.startswith("contradicted")


def test_forced_loop_against_right_ones_leaves_no_trace() -> None:
    """After true loops the same false one is refused, and the corrected path stays."""
    truth, _, frames = flight()
    closer = flown(frames)
    true_loops(closer, truth, 0, 20)
    before = closer.corrected()[1]
    assert not closer.tie(5, 25, np.eye(4))
    np.testing.assert_array_equal(closer.corrected()[1], before)


def test_forced_loop_is_undone_by_later_ones() -> None:
    """1.8 m off after 19 m, as drift could be: followed at first, taken out by true loops.

    The path is then as good as one that never saw the false loop.
    """
    truth, odom, frames = flight()
    closer = flown(frames[:36])
    wrong = inverse(truth[3]) @ truth[33] @ exp_se3([0, 1.8, 0, 0, 0, 0])
    assert closer.tie(3, 33, wrong)
    assert rms(closer.corrected()[1], truth[:36]) > 2 * rms(odom[:36], truth[:36])
    for frame in frames[36:]:
        closer.add(frame)
    true_loops(closer, truth, 0, 20)
    assert closer.counts["undone"] == 1
    clean = flown(frames)
    true_loops(clean, truth, 0, 20)
    error = rms(clean.corrected()[1], truth)
    assert rms(closer.corrected()[1], truth) < 1.05 * error


def test_a_wrong_loop_between_joined_segments_is_taken_out() -> None:
    """Two right loops hold two segments, a third is 3 m off; a lone one stays: nothing else holds.

    The poses are then those of the right loops, to the micrometre.
    """
    truth, graph = laps(20, EACH), LoopGraph()
    for node, T in enumerate(truth):
        graph.add(node, int(node >= 10), T, depth=5.0, metric=True)
    graph.join(2, 12, inverse(truth[2]) @ truth[12])
    off = exp_se3([3.0, 0, 0, 0, 0, 0])
    sigmas = np.full(7, 0.02)
    graph.link(2, 12, inverse(truth[2]) @ truth[12], sigmas)
    graph.link(3, 13, inverse(truth[3]) @ truth[13], sigmas)
    graph.link(5, 15, inverse(truth[5]) @ truth[15] @ off, sigmas)
    assert graph.settle(False) == [(5, 15)]
    found = np.stack([graph.poses[node] for node in range(20)])
    np.testing.assert_allclose(found, truth, atol=1e-6)
    for pair in ((2, 12), (3, 13)):
        graph.unlink(*pair)
    graph.link(5, 15, inverse(truth[5]) @ truth[15] @ off, sigmas)
    assert graph.settle(False) == []


def test_ties_that_make_no_sense_are_named() -> None:
    """A keyframe that is not kept, the wrong order, and two maps."""
    _, _, frames = flight(6)
    closer = flown(frames)
    closer.add(replace(frames[-1], id=9, segment=1))
    for pair in ((0, 99), (4, 2), (3, 3)):
        with pytest.raises(DataError, match="two kept keyframes, the older one first"):
            closer.tie(*pair, np.eye(4))
    with pytest.raises(DataError, match="two maps"):
        closer.tie(0, 9, np.eye(4))


def test_planted_places_of_alike_ground_are_refused() -> None:
    """Forty pairs of other ground of the same statistics: none passes the geometric check."""
    first, second = keyframes(laps(2), laps(2))
    kept = []
    for seed in range(1, 6):
        pictures = (replace(k, gray=view(k.T_world_cam, seed)) for k in (first, second))
        a, b = (view_of(k, detect_sift(k.gray)) for k in pictures)
        kept.append(add_points(a, b)[0])
    assert min(one.known.sum() for one in kept) > 50
    found = 0
    for T in laps(8, 8):
        features = detect_sift(view(T, seed=0))
        query = Query(features, K, 320)
        found += sum(check_place(query, one) is not None for one in kept)
    assert found == 0


def test_a_second_room_that_looks_the_same_is_no_loop() -> None:
    """After a straight flight the very pictures of its start come again: a jump, not a loop."""
    truth = make_pose(np.tile(np.eye(3), (30, 1, 1)), np.outer(np.arange(30), [1.0, 0, 0]))
    seen = [view(make_pose(np.eye(3), [min(i, i % 20) - 6.0, 0, 0])) for i in range(30)]
    none = np.zeros((0, 2)), np.zeros((0, 3))
    closer = LoopCloser(LoopConfig(recent=6))
    for i, (T, gray) in enumerate(zip(truth, seen, strict=True)):
        closer.add(Keyframe(i, float(i), 0, gray, K, T, *none, metric=True))
    assert closer.counts["jump"] >= 5
    assert set(closer.counts) == {"jump"}
    np.testing.assert_allclose(closer.corrected()[1], truth, atol=1e-9)
