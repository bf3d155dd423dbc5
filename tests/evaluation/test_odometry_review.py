# SPDX-License-Identifier: Apache-2.0
"""Conventions and times that an estimate does not share with its reference are named."""

from collections.abc import Callable

import numpy as np
import pytest

from depthkit.errors import DataError
from depthkit.evaluation.association import associate
from depthkit.evaluation.odometry import score_odometry
from depthkit.evaluation.odometry_review import counted_from_one, no_better, suspicions
from depthkit.trajectory import Trajectory, exp_se3, inverse, make_pose

TIMES = np.arange(120) / 10
QUARTER = make_pose(np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]), [0.0, 0, 0])  # 120 deg


def walk() -> np.ndarray:
    """A bent path, 4 by 3 by 1 m, whose turning speed changes. (120, 4, 4)"""
    s = TIMES
    turning = np.stack([0.4 * np.sin(s), 0.3 * np.cos(1.3 * s), s + 0.5 * np.sin(0.7 * s)], 1)
    way = np.stack([4 * np.cos(s / 2), 3 * np.sin(s / 2), np.sin(s)], 1)
    T = exp_se3(np.concatenate([np.zeros((len(s), 3)), turning], 1))
    T[:, :3, 3] = way
    return T


def noisy(T: np.ndarray, metres: float = 0.01, radians: float = 1e-3) -> np.ndarray:
    """Poses with errors of an estimate."""
    noise = np.random.default_rng(0).normal(0, 1, (len(T), 6)) * [*[metres] * 3, *[radians] * 3]
    return T @ exp_se3(noise)


def mirrored(T: np.ndarray) -> np.ndarray:
    """z with the other sign."""
    moved = T.copy()
    moved[:, 2, 3] *= -1
    return moved


@pytest.mark.parametrize(
    "change, word",
    [
        (inverse, "T_cam_world"),
        (mirrored, "mirror image"),
        (lambda T: T @ QUARTER, "fixed 120 deg"),
        (lambda T: T * 0 + np.eye(4), "does not move"),
    ],
)
def test_another_convention_is_named(change: Callable[[np.ndarray], np.ndarray], word: str) -> None:
    """One sentence, of the change that was made."""
    estimate = change(noisy(walk()))
    (text,) = suspicions(walk(), estimate, TIMES)
    assert word in text


@pytest.mark.parametrize("scale", [1.0, 0.02, 30.0])
@pytest.mark.parametrize("metres, radians", [(0.01, 1e-3), (0.3, 0.05)])
def test_good_and_mediocre_estimates_are_not_suspected(
    scale: float, metres: float, radians: float
) -> None:
    """Another scale and another world are no faults: an alignment takes them out."""
    T = exp_se3([1.0, 2, 3, 0.4, 0.5, 0.6]) @ noisy(walk(), metres, radians)
    T[:, :3, 3] *= scale
    assert suspicions(walk(), T, TIMES) == ()


def test_a_clock_that_runs_ahead_is_told_by_the_turning() -> None:
    """Poses of 1 s later stand at each stamp: 1 s has to be added."""
    T = walk()
    (text,) = suspicions(T[:-10], noisy(T, 0.01, 1e-4)[10:], TIMES[:-10])
    assert "+1 (seconds, or frames)" in text
    (text,) = suspicions(T[10:], noisy(T, 0.01, 1e-4)[:-10], TIMES[10:])
    assert "-1 (seconds, or frames)" in text


def test_few_poses_are_not_judged() -> None:
    """Seven positions may agree by chance."""
    assert suspicions(walk()[:7], inverse(walk()[:7]), TIMES[:7]) == ()


def test_standing_still_is_the_measure() -> None:
    """Positions -1 and 1 about the centre: 1 m after a fit, sqrt(2) m from the first."""
    reference = np.array([[0.0, 0, 0], [2, 0, 0]])
    assert "1 m" in no_better(np.array([1.0, 1.0]), reference, "6dof")[0]
    assert no_better(np.array([0.9, 0.9]), reference, "7dof") == ()
    assert "1.414 m" in no_better(np.array([1.4, 1.4]), reference, "none")[0]
    assert no_better(np.array([1.0, 1.0]), reference, "none") == ()


def test_frames_counted_from_one_are_said() -> None:
    """1 to 120 against 0 to 119; a keyframe at the end is none of it."""
    frames = np.arange(120.0)
    zero, one = (Trajectory(frames + k, walk()) for k in (0, 1))
    assert "counted from 1" in counted_from_one(zero, one)[0]
    assert counted_from_one(zero, zero) == ()
    assert counted_from_one(zero, one.take(slice(0, -1))) == ()
    score = score_odometry(zero, one)
    assert any("counted from 1" in note for note in score.notes)


@pytest.mark.parametrize(
    "behind, words",
    [
        (0.02, "--max-gap 0.022 pairs them"),
        (7200.0, "2 h apart: a time zone"),
        (-1.4e9, "add 1400000000.000 s to the stamps"),
    ],
)
def test_files_without_a_common_time_say_what_to_do(behind: float, words: str) -> None:
    """A larger gap, a time zone, or two clocks."""
    reference = Trajectory(1.4e9 + TIMES, walk())
    with pytest.raises(DataError, match=words):
        associate(reference, Trajectory(reference.stamps + behind, walk()), max_gap=0.01)


@pytest.mark.parametrize(
    "factor, words",
    [(1000.0, "are its positions millimetres"), (0.01, "reference's positions centimetres")],
)
def test_another_unit_of_length_is_asked_for(factor: float, words: str) -> None:
    """Millimetres fit by 0.001, metres beside centimetres by 100."""
    T = walk()
    T[:, :3, 3] *= factor
    notes = score_odometry(Trajectory(TIMES, walk()), Trajectory(TIMES, T), mode="6dof").notes
    assert any(words in note for note in notes)


def test_a_truth_that_stands_still_is_questioned() -> None:
    """Nothing can be scored against it."""
    (text,) = suspicions(walk() * 0 + np.eye(4), walk(), TIMES)
    assert "the reference does not move" in text


def test_one_common_pose_is_as_good_as_none() -> None:
    """Hours beside seconds share their zero: both spans are said."""
    hours = Trajectory(TIMES / 3600, walk())
    with pytest.raises(DataError, match="only 1 pose .* runs from 0.000 to 0.002.* in one unit"):
        associate(Trajectory(TIMES, walk()), hours.take(slice(0, None, 60)), max_gap=1e-4)
