# SPDX-License-Identifier: Apache-2.0
"""Loops: a flown lap with drift is closed, segments are joined, wrong ones are refused."""

from dataclasses import replace

import numpy as np
import pytest
from plane_flight import drifted, keyframes, laps

from depthkit.multiview.similarity import make_similarity, rigid_of, scale_of
from depthkit.rigid import exp_se3, inverse, make_pose
from depthkit.runtime.odometry.loop import LoopCloser
from depthkit.runtime.odometry.loop_checks import Since, disagreement, drift_alarm, has_returned
from depthkit.runtime.odometry.loop_graph import LoopGraph
from depthkit.runtime.odometry.loop_records import LoopConfig, LoopEvent
from depthkit.runtime.odometry.place_view import Keyframe

EACH, COUNT = 22, 29
"""Keyframes of one lap, and of the whole flight: a lap and a third."""
CONFIG = LoopConfig(recent=6)
DRIFT = {"scale": 0.012, "turn": np.radians(0.5)}


def flown(frames: list[Keyframe], config: LoopConfig = CONFIG) -> LoopCloser:
    """Hand keyframes over one by one."""
    closer = LoopCloser(config)
    for frame in frames:
        closer.add(frame)
    return closer


def rms(a: np.ndarray, b: np.ndarray) -> float:
    """Root of the mean squared distance of two paths."""
    return float(np.sqrt(np.mean(np.sum((a[:, :3, 3] - b[:, :3, 3]) ** 2, axis=1))))


@pytest.fixture(scope="module")
def lap() -> tuple[np.ndarray, np.ndarray, LoopCloser]:
    """A lap and a quarter, drifted in turn and scale, and the closer after it."""
    truth = laps(COUNT, EACH)
    odom = drifted(truth, **DRIFT)
    return truth, odom, flown(keyframes(truth, odom))


def test_lap_is_closed(lap: tuple[np.ndarray, np.ndarray, LoopCloser]) -> None:
    """The corrected path is four times nearer to the truth; every event names a true return."""
    truth, odom, closer = lap
    stamps, path = closer.corrected()
    assert closer.counts["closed"] >= 1
    for event in closer.events:
        assert np.linalg.norm(truth[event.keyframe, :3, 3] - truth[event.old, :3, 3]) < 2.5
    assert rms(odom, truth) > 1.0
    assert rms(path, truth) < 0.25 * rms(odom, truth)
    np.testing.assert_array_equal(stamps, np.arange(float(COUNT)))


def test_correction_puts_the_newest_keyframe_in_its_place(
    lap: tuple[np.ndarray, np.ndarray, LoopCloser],
) -> None:
    """map -> odom times the odometry's pose is the graph's pose in the odometry's unit."""
    _, odom, closer = lap
    assert closer.correction is not None
    placed, wanted = closer.correction @ odom[-1], closer.corrected()[1][-1]
    np.testing.assert_allclose(placed[:3, :3], wanted[:3, :3], atol=1e-9)
    np.testing.assert_allclose(closer.scale * placed[:3, 3], wanted[:3, 3], atol=1e-9)
    R = closer.correction[:3, :3]
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-9)
    # Lengths of the odometry have grown by exp(0.012 * 28): the map's are shorter.
    assert closer.scale == pytest.approx(np.exp(-0.012 * 28), rel=0.1)


def test_frames_between_move_with_their_keyframe(
    lap: tuple[np.ndarray, np.ndarray, LoopCloser],
) -> None:
    """S_map_odom at a keyframe's stamp, and until the next, gives its corrected pose."""
    _, odom, closer = lap
    S = closer.S_map_odom(np.array([20.0, 20.9, 28.0]), np.zeros(3, int))
    np.testing.assert_allclose(S[0], S[1])
    corrected = closer.corrected()[1]
    np.testing.assert_allclose(rigid_of(S[[0, 2]] @ odom[[20, 28]]), corrected[[20, 28]], atol=1e-9)
    assert np.isnan(closer.S_map_odom(np.array([3.0]), np.array([7]))).all()


def test_no_return_no_loop() -> None:
    """Half a lap: nothing is found, there is no correction, and the path stays to the bit."""
    odom = drifted(laps(11, EACH), **DRIFT)
    closer = flown(keyframes(laps(11, EACH), odom))
    assert list(closer.events) == []
    assert closer.correction is None
    assert closer.scale == pytest.approx(1.0)
    np.testing.assert_allclose(closer.corrected()[1], odom, atol=1e-9)


def test_two_runs_agree_to_the_bit(lap: tuple[np.ndarray, np.ndarray, LoopCloser]) -> None:
    """Same keyframes, same bytes."""
    truth, odom, closer = lap
    again = flown(keyframes(truth, odom))
    np.testing.assert_array_equal(again.corrected()[1], closer.corrected()[1])
    assert [e.kind for e in again.events] == [e.kind for e in closer.events]


def test_thinned_run_still_closes_and_knows_all_keyframes() -> None:
    """With 23 kept of 29: the loop is found, and dropped keyframes have corrected poses too."""
    truth = laps(COUNT, EACH)
    odom = drifted(truth, **DRIFT)
    closer = flown(keyframes(truth, odom), LoopConfig(recent=6, keep=23))
    assert len(closer.places.views) == 23
    assert closer.counts["closed"] >= 1
    path = closer.corrected()[1]
    assert path.shape == (COUNT, 4, 4)
    assert rms(path, truth) < 0.4 * rms(odom, truth)


def test_metric_lap_keeps_its_lengths() -> None:
    """Between keyframes in metres a loop turns and shifts; the scale stays within 2 %."""
    truth = laps(COUNT, EACH)
    odom = drifted(truth, turn=DRIFT["turn"])
    closer = flown(keyframes(truth, odom, metric=True))
    assert closer.counts["closed"] >= 1
    assert closer.scale == pytest.approx(1.0, abs=1e-12)
    assert rms(closer.corrected()[1], truth) < 0.3 * rms(odom, truth)


def test_segments_are_joined_with_their_scale() -> None:
    """Lost after 17 keyframes; the second segment starts anew with half the unit, then returns.

    It is laid into the first one's map at a scale of 2, and the event says so.
    """
    truth = laps(30, EACH)
    other = inverse(truth[18]) @ truth[18:]
    other[:, :3, 3] *= 0.5
    closer = flown(keyframes(truth[:17], truth[:17]))
    for frame in keyframes(truth[18:], other, first=18, segment=1):
        if closer.map == 1:
            assert closer.correction is None
        closer.add(frame)
    joined = [event for event in closer.events if event.kind == "joined"]
    assert len(joined) == 1
    assert joined[0].scale == pytest.approx(2.0, rel=0.05)
    assert set(closer.corrected_maps().tolist()) == {0}
    assert closer.scale == pytest.approx(2.0, rel=0.05)
    expected = np.concatenate([truth[:17], truth[18:]])
    assert rms(closer.corrected()[1], expected) < 0.15


def test_maps_that_never_meet_stay_apart() -> None:
    """Two segments over different ground have two maps, and no correction."""
    frames = keyframes(laps(10), laps(10))
    far = [
        replace(f, id=f.id + 20, stamp=f.stamp + 20, segment=1, gray=np.flipud(f.gray).copy())
        for f in frames
    ]
    closer = flown([*frames, *far])
    assert closer.corrected_maps().tolist() == [0] * 10 + [1] * 10
    assert (closer.map, closer.correction) == (1, None)


def test_metres_that_disagree_are_refused() -> None:
    """The second lap says metres that are half as long: no loop, and the reason is counted."""
    truth = laps(COUNT, EACH)
    odom = truth.copy()
    odom[18:] = np.stack([odom[17] @ half(inverse(truth[17]) @ T) for T in truth[18:]])
    closer = flown(keyframes(truth, odom, metric=True))
    assert closer.counts["closed"] == 0
    assert {e.reason.split(":")[0] for e in closer.events} & {"scale of metres", "jump"}


def half(T: np.ndarray) -> np.ndarray:
    """Halve a motion's translation."""
    return make_pose(T[:3, :3], 0.5 * T[:3, 3])


def pose(shift: float = 0.0, turn_deg: float = 0.0, scale: float = 1.0) -> np.ndarray:
    """Make a pose by one length, one angle and one scale."""
    T = exp_se3([0, 0, 0, 0, np.radians(turn_deg), 0])
    T[0, 3] = shift
    return make_similarity(T, scale)


@pytest.mark.parametrize(
    ("said", "metric", "word"),
    [
        (pose(25.9), False, ""),  # 0.25 of 100 and 0.1 of 10
        (pose(26.1), False, "jump"),
        (pose(11.1), True, "jump"),  # 0.10 of 100 and 0.1 of 10
        (pose(10.9), True, ""),
        (pose(turn_deg=19.9), False, ""),  # 5 and 50 times 0.3
        (pose(turn_deg=20.1), False, "turn"),
        (pose(scale=float(np.exp(1.09))), False, ""),  # the cap, a factor of 3
        (pose(scale=3.1), False, "scale jump"),
    ],
)
def test_alarm_by_hand(said: np.ndarray, metric: bool, word: str) -> None:
    """A path of 100, 50 keyframes, depth 10: the bounds are sums of simple parts."""
    reason = drift_alarm(said, np.eye(4), Since(100.0, 50, 10.0, metric, True))
    assert reason.split(":")[0] == word


def test_two_hits_must_agree() -> None:
    """A tenth of the depth, 5 degrees, and three standard deviations of the scale."""

    def reason(a: np.ndarray, sigma: float | None = 0.01) -> str:
        return disagreement(a, np.eye(4), 10.0, scale_sigma=sigma)

    assert reason(pose(0.9)) == reason(pose(turn_deg=4)) == reason(pose(scale=1.1)) == ""
    assert reason(pose(scale=2.0), None) == ""
    assert all(reason(bad) for bad in (pose(1.1), pose(turn_deg=6), pose(scale=1.2)))


def test_place_must_have_been_left() -> None:
    """There and back over twice the depth is a loop; the same way straight on is none."""
    away = np.concatenate([np.linspace(0, 20, 9), np.linspace(20, 1, 9)])
    path = make_pose(np.tile(np.eye(3), (18, 1, 1)), np.outer(away, [1, 0, 0]))
    assert has_returned(path, path[-1], 10.0)
    assert not has_returned(path[:9], path[8], 10.0)
    assert not has_returned(path * [[[1, 1, 1, 0.3]]] * 1.0, path[-1], 10.0)


def test_graph_without_a_dropped_keyframe_says_the_same() -> None:
    """A loop at a dropped keyframe moves to its neighbour; the solution hardly changes."""
    truth = laps(30)
    odom = drifted(truth, turn=0.02)
    graphs = [LoopGraph(), LoopGraph()]
    for graph in graphs:
        for node, T in enumerate(odom):
            graph.add(node, 0, T, depth=5.0, metric=True)
        graph.link(1, 29, inverse(truth[1]) @ truth[29], np.full(7, 0.02))
        graph.explain(1, 29)
    assert [graphs[1].drop(node) for node in (1, 14, 29)] == [0, 13, 28]
    weights = [graph.solve(False) for graph in graphs]
    assert [list(w) for w in weights] == [[(1, 29)], [(0, 28)]]
    kept = sorted(graphs[1].poses)
    full, thin = (np.stack([g.poses[n] for n in kept]) for g in graphs)
    assert rms(full, thin) < 0.1 * rms(full, odom[kept])
    np.testing.assert_allclose(scale_of(full), 1.0)


def test_event_carries_its_figures(lap: tuple[np.ndarray, np.ndarray, LoopCloser]) -> None:
    """The first closure says how far it moved the keyframe, by how many points, and no reason."""
    truth, odom, closer = lap
    first = next(event for event in closer.events if event.kind == "closed")
    assert isinstance(first, LoopEvent)
    assert first.inliers >= 25
    distance = np.linalg.norm(odom[first.keyframe, :3, 3] - truth[first.keyframe, :3, 3])
    assert first.jump == pytest.approx(distance, rel=0.3)
    assert first.reason == ""
