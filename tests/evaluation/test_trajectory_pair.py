# SPDX-License-Identifier: Apache-2.0
"""Two trajectory files: the order of quaternions by evidence, rows that cannot be paired."""

from dataclasses import replace

import numpy as np
import pytest

from depthkit.errors import DataError
from depthkit.evaluation.snippets import chain_relative
from depthkit.evaluation.trajectory_pair import check_axes, reorder, settle_orders
from depthkit.trajectory import (
    Trajectory,
    TrajectoryFile,
    exp_se3,
    log_so3,
    matrix_to_quaternion,
    quaternion_to_matrix,
)

NAMES = ("ref.txt", "est.txt")
NOTE = "est.txt: quaternions read as something"


def walk(count: int = 60, *, turning: float = 0.1) -> np.ndarray:
    """Poses that turn about all axes. (N, 4, 4)"""
    twists = np.random.default_rng(0).normal(0, 1, (count - 1, 6)) * [1, 1, 1, *[turning] * 3]
    return exp_se3([0.3, 0, 0, 0.4, -0.5, 0.2]) @ chain_relative(exp_se3(twists))


def file(poses: np.ndarray, *, stated: bool, order: str | None = "xyzw") -> TrajectoryFile:
    """A file as read in an order."""
    note = "" if stated else NOTE
    traj = Trajectory(np.arange(len(poses)) / 10, poses, (note,) if note else ())
    return TrajectoryFile(traj, "time", order, stated, note, len(poses))  # type: ignore[arg-type]


def settle(reference: TrajectoryFile, estimate: TrajectoryFile) -> tuple[np.ndarray, tuple, tuple]:
    """Return the estimate's poses, its assumptions and the notes."""
    _, guess, notes = settle_orders(reference, estimate, max_gap=0.01, names=NAMES)
    return guess.T_world_cam, guess.assumed, notes


@pytest.mark.parametrize("order, columns", [("xyzw", [1, 2, 3, 0]), ("wxyz", [3, 0, 1, 2])])
def test_reordering_moves_w(order: str, columns: list[int]) -> None:
    """0.1 0.2 0.3 w read in the other order is the rotation of the moved numbers."""
    q = np.array([0.1, 0.2, 0.3, np.sqrt(1 - 0.14)])
    T = np.eye(4)[None].copy()
    T[0, :3, :3] = quaternion_to_matrix(q)
    moved = matrix_to_quaternion(reorder(T, order)[0, :3, :3])
    expected = q[columns] * np.sign(q[columns][3])
    np.testing.assert_allclose(moved, expected, atol=1e-12)


def test_angles_between_poses_say_nothing_about_the_order() -> None:
    """Moving w keeps every angle between two poses: smoothness cannot decide, the axis does."""
    poses, other = walk(), reorder(walk(), "xyzw")
    steps = [T[:-1, :3, :3].swapaxes(1, 2) @ T[1:, :3, :3] for T in (poses, other)]
    a, b = (log_so3(R) for R in steps)
    np.testing.assert_allclose(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1), atol=1e-9)
    assert np.abs(a - b).max() > 0.05


def test_an_open_order_is_turned_where_the_reference_shows_it() -> None:
    """Read wrongly, nothing agrees; read otherwise, all does: turned, and said."""
    poses, assumed, notes = settle(
        file(walk(), stated=True), file(reorder(walk(), "xyzw"), stated=False, order="wxyz")
    )
    np.testing.assert_allclose(poses, walk(), atol=1e-9)
    assert assumed == () and "est.txt: quaternions read as x y z w, as the rotation" in notes[0]


def test_an_open_order_that_agrees_is_no_assumption_any_more() -> None:
    """Matrices on the other side confirm as well as a header does."""
    reference = file(walk(), stated=True, order=None)
    _, assumed, notes = settle(reference, file(walk(), stated=False))
    assert assumed == () and notes == ()


@pytest.mark.parametrize("turning", [0.0, 1e-9])
def test_without_turning_the_assumption_stays(turning: float) -> None:
    """A straight path shows no order."""
    poses = walk(turning=turning)
    _, assumed, notes = settle(file(poses, stated=True), file(poses, stated=False))
    assert assumed == (NOTE,) and notes == ()


def test_a_body_frame_is_not_taken_for_an_order() -> None:
    """Where the estimate is of a body with other axes no order agrees, and nothing is turned."""
    T_cam_body = exp_se3([0, 0, 0, 1.2, -0.7, 2.0])
    poses, assumed, _ = settle(file(walk(), stated=True), file(walk() @ T_cam_body, stated=False))
    np.testing.assert_allclose(poses, walk() @ T_cam_body)
    assert assumed == (NOTE,)


def test_two_open_orders_that_disagree_are_refused() -> None:
    """One of the two is read wrongly, and nobody knows which."""
    wrong = file(reorder(walk(), "xyzw"), stated=False)
    with pytest.raises(DataError, match="give --quaternion or --reference-quaternion"):
        settle_orders(file(walk(), stated=False), wrong, max_gap=0.01, names=NAMES)


def test_headers_that_disagree_are_kept_and_doubted() -> None:
    """What both files state is not changed; the reader is warned."""
    wrong = reorder(walk(), "xyzw")
    poses, _, notes = settle(file(walk(), stated=True), file(wrong, stated=True))
    np.testing.assert_array_equal(poses, wrong)
    assert "agree only if one of them has its quaternion in the other order" in notes[0]


def test_rows_pair_only_where_there_are_as_many() -> None:
    """Rows without index: as many as the reference's, or an index; times never pair with frames."""
    by_row = replace(file(walk(), stated=True), axis="row")
    by_index = replace(by_row, axis="index", rows=20)
    by_time = file(walk(), stated=True)
    assert check_axes(by_row, by_row, *NAMES) and check_axes(by_row, by_index, *NAMES)
    assert not check_axes(by_time, by_time, *NAMES)
    with pytest.raises(DataError, match="est.txt holds 20 rows .* ref.txt 60"):
        check_axes(by_row, replace(by_row, rows=20), *NAMES)
    with pytest.raises(DataError, match="one has frame indices, the other times"):
        check_axes(by_time, by_row, *NAMES)


def test_a_truth_is_not_turned_by_a_header_of_the_estimate() -> None:
    """Which of the two is wrong cannot be known: a header lies as often as a file has none."""
    reference = file(walk(), stated=False)
    stated = file(reorder(walk(), "xyzw"), stated=True)
    with pytest.raises(DataError, match="--reference-quaternion wxyz if it is the reference, xyzw"):
        settle(reference, stated)
    shown = replace(stated, order_note="est.txt: the first pose is the identity then")
    assert "ref.txt: quaternions read as w x y z" in settle(reference, shown)[2][0]


def test_frame_numbers_are_no_seconds() -> None:
    """0, 1, 2 ... beside poses at 10 Hz; at 1 Hz they may be seconds."""
    reference, estimate = file(walk(), stated=True), file(walk(), stated=True)
    count = replace(estimate.trajectory, stamps=np.arange(60.0))
    counted = replace(estimate, trajectory=count)
    with pytest.raises(DataError, match=r"est\.txt: its times are 0, 1, 2 \.\.\.: frame numbers"):
        check_axes(reference, counted, *NAMES)
    assert not check_axes(counted, counted, *NAMES)
