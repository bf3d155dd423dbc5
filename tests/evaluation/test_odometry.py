# SPDX-License-Identifier: Apache-2.0
"""Odometry scores: published numbers, numbers by hand, and no score that flatters."""

from pathlib import Path

import numpy as np
import pytest

from depthkit.errors import DataError, ShapeError
from depthkit.evaluation.baselines import constant_motion, mean_motion
from depthkit.evaluation.odometry import OdometryScore, score_odometry
from depthkit.evaluation.relative import log_angle, segment_errors, trace_angle
from depthkit.evaluation.snippets import chain_relative, snippet_ate
from depthkit.trajectory import Trajectory, exp_se3, load_kitti

# The published scorer on ORB-SLAM2, 7dof: t_rel %, r_rel deg/100m, ATE m, RPE m, RPE deg.
GOLDEN = {
    "09": (2.884113, 0.249056, 8.386619, 0.343413, 0.063389),
    "10": (3.297840, 0.304590, 6.630158, 0.047353, 0.066264),
}


def drive(frames: int, step: float = 1.0, yaw: float = 0.0, hz: float = 0.0) -> Trajectory:
    """Drive forward, turning by the same angle at every frame; stamps are indices or seconds."""
    steps = np.repeat(exp_se3([0, 0, step, 0, yaw, 0])[None], frames - 1, axis=0)
    stamps = np.arange(frames, dtype=np.float64)
    return Trajectory(stamps / hz if hz else stamps, chain_relative(steps))


def wiggle(frames: int, seed: int = 0, noise: float = 0.3) -> Trajectory:
    """A random drive with turns, of about one metre a frame."""
    twists = np.random.default_rng(seed).normal(0, noise, (frames - 1, 6))
    twists[:, 3:] *= 0.2
    twists[:, 2] += 1
    return Trajectory(np.arange(frames, dtype=np.float64), chain_relative(exp_se3(twists)))


def rescaled(traj: Trajectory, factor: float) -> Trajectory:
    """The same path at another scale."""
    poses = traj.T_world_cam.copy()
    poses[:, :3, 3] *= factor
    return Trajectory(traj.stamps, poses)


@pytest.mark.parametrize("sequence", GOLDEN)
def test_golden_numbers_of_the_published_scorer(sequence: str, data_root: Path) -> None:
    """KITTI 09 and 10 with 7dof agree to 1e-6 relative, or to the last digit that was printed."""
    folder = data_root / "trajectories"
    reference = load_kitti(folder / "kitti_gt" / f"{sequence}.txt")
    estimate = load_kitti(folder / "kitti_estimates" / "orbslam2" / f"{sequence}.txt")
    score = score_odometry(reference, estimate, mode="7dof")
    mine = (
        score.t_rel_percent,
        score.r_rel_deg_per_100m,
        score.ate_m,
        score.rpe_trans_m,
        score.rpe_rot_deg,
    )
    for value, golden in zip(mine, GOLDEN[sequence], strict=True):
        assert value == pytest.approx(golden, rel=1e-6, abs=5.01e-7)
    assert len(score.stamps) == len(estimate) < len(reference)
    assert score.coverage == len(estimate) / len(reference)


def test_perfect_estimate_scores_zero_and_full_coverage() -> None:
    """The reference against itself has no error and no note."""
    score = score_odometry(drive(300, yaw=0.01), drive(300, yaw=0.01))
    assert score.t_rel_percent == pytest.approx(0, abs=1e-9)
    assert score.ate_m == pytest.approx(0, abs=1e-12)
    assert score.coverage == 1 and score.notes == () and score.reasons == {}


def test_wrong_scale_is_t_rel_by_hand() -> None:
    """A straight drive 10 % too long: t_rel 10 % on every segment, plus the frame that ends it."""
    score = score_odometry(drive(1001), drive(1001, step=1.1))
    # A segment ends at the first frame beyond its length: 101 m for 100 m, an error of 10.1 m.
    lengths = np.arange(100, 900, 100)
    counts = np.array([len(range(0, 1001 - n - 1, 10)) for n in lengths])
    expected = np.average(100 * 0.1 * (lengths + 1) / lengths, weights=counts)
    assert score.t_rel_percent == pytest.approx(expected, rel=1e-12)
    assert score.rpe_trans_m == pytest.approx(0.1, rel=1e-9)
    assert score.ate_m == pytest.approx(0.1 * np.sqrt(np.mean(np.arange(1001.0) ** 2)), rel=1e-12)
    assert len(score.segments.length) == counts.sum() == score.segments.possible


def test_wrong_turn_is_r_rel_by_hand() -> None:
    """0.001 rad too much at each metre is 0.1 rad, 5.73 deg, over 100 m, and RPE 0.0573 deg."""
    score = score_odometry(drive(400), drive(400, yaw=0.001))
    frames = score.segments.length + 1  # a segment ends at the first frame beyond its length
    expected = np.mean(np.rad2deg(0.001 * frames) / score.segments.length * 100)
    assert score.r_rel_deg_per_100m == pytest.approx(expected, rel=1e-6)
    assert score.rpe_rot_deg == pytest.approx(np.rad2deg(0.001), rel=1e-6)


def test_rpe_rotation_is_given_in_both_definitions() -> None:
    """Exact rotations: both the same. Matrices of 6 digits: evo's stays, KITTI's takes the error.

    The trace of a rotation by 1e-4 is 3 - 1e-8: 6 digits hold nothing of it.
    """
    exact, turned = drive(50), drive(50, yaw=1e-4)
    score = score_odometry(exact, turned)
    assert score.rpe_rot_evo_deg == pytest.approx(np.rad2deg(1e-4), rel=1e-6)
    assert score.rpe_rot_deg == pytest.approx(score.rpe_rot_evo_deg, rel=1e-3)
    rounded = Trajectory(turned.stamps, np.round(turned.T_world_cam, 6))
    score = score_odometry(exact, rounded)
    assert score.rpe_rot_evo_deg == pytest.approx(np.rad2deg(1e-4), rel=0.01)
    assert abs(score.rpe_rot_deg / score.rpe_rot_evo_deg - 1) > 0.05


def test_alignments_differ_as_they_should() -> None:
    """A path at half scale: three modes recover the 2, the other two leave it and say so."""
    reference = drive(200, yaw=0.02)
    scores = {
        mode: score_odometry(reference, rescaled(reference, 0.5), mode=mode)
        for mode in ("none", "scale", "scale_7dof", "6dof", "7dof")
    }
    for mode in ("scale", "scale_7dof", "7dof"):
        assert scores[mode].aligned.similarity.scale == pytest.approx(2, rel=1e-12)
        assert scores[mode].ate_m == pytest.approx(0, abs=1e-9)
        assert scores[mode].notes == ()
    for mode in ("none", "6dof"):
        assert scores[mode].aligned.similarity.scale == 1
        assert "would scale the estimate by 2:" in scores[mode].notes[0]
    assert scores["6dof"].ate_m < scores["none"].ate_m


def test_a_moved_world_changes_nothing() -> None:
    """Scores do not depend on the frames in which the two files are written."""
    reference, estimate = wiggle(250), wiggle(250, seed=1)
    moved = Trajectory(estimate.stamps, exp_se3([5, 6, 7, 1, 2, 0.5]) @ estimate.T_world_cam)
    for mode in ("none", "7dof"):
        a, b = (score_odometry(reference, e, mode=mode) for e in (estimate, moved))
        assert a.ate_m == pytest.approx(b.ate_m, rel=1e-9)
        assert a.t_rel_percent == pytest.approx(b.t_rel_percent, rel=1e-9)


@pytest.mark.parametrize("frames", [3, 60, 100])
def test_short_path_is_not_scored(frames: int) -> None:
    """Below 100 m t_rel and r_rel are None with the length in the reason, never 0."""
    score = score_odometry(
        wiggle(frames, noise=0.0), wiggle(frames, seed=3, noise=0.5), mode="7dof"
    )
    assert score.t_rel_percent is None and score.r_rel_deg_per_100m is None
    reason = score.reasons["t_rel_percent"]
    assert reason == f"path too short: {frames - 1:.1f} m, t_rel needs at least 100 m"


def test_losing_track_is_seen() -> None:
    """An estimate that stops after 30 % has coverage 0.3, a note, and segments that are missing."""
    reference = drive(1000, yaw=0.005)
    score = score_odometry(reference, reference.take(slice(0, 300)), mode="7dof")
    assert score.coverage == pytest.approx(0.3)
    assert len(score.segments.length) < score.segments.possible
    assert "covers 30.0 % of the reference" in score.notes[0]
    assert len(score.snippets.rmse) == 296 and score.snippets.possible == 996


def test_lost_segments_give_a_reason_not_a_zero() -> None:
    """Where the path is long enough but no segment has both ends, the reason is the coverage."""
    reference = drive(500)
    score = score_odometry(reference, reference.take(slice(0, 50)))
    assert score.t_rel_percent is None
    assert score.reasons["t_rel_percent"].startswith("no segment of 100 m has a pose at both ends")


def test_missing_frames_keep_their_place() -> None:
    """Every second frame missing: coverage one half, no snippet, and RPE spans the holes."""
    reference = drive(40)
    score = score_odometry(reference, rescaled(reference, 1.1).take(slice(0, None, 2)))
    assert score.coverage == 0.5
    assert score.snippets.possible == 36
    assert score.reasons["snippet_ate_mean"] == "no 5 consecutive frames have a pose"
    assert score.rpe_trans_m == pytest.approx(0.2, rel=1e-9)


@pytest.mark.parametrize("reference_hz, estimate_hz", [(100, 30), (30, 30), (10, 30)])
def test_coverage_by_time_does_not_punish_rates(reference_hz: float, estimate_hz: float) -> None:
    """With times, a whole estimate covers all, half of one half, whatever the rates."""
    reference = drive(int(10 * reference_hz), step=1 / reference_hz, hz=reference_hz)
    estimate = drive(int(10 * estimate_hz), step=1 / estimate_hz, hz=estimate_hz)
    whole = score_odometry(reference, estimate, max_gap=0.01)
    half = score_odometry(reference, estimate.take(slice(0, len(estimate) // 2)), max_gap=0.01)
    assert whole.coverage == pytest.approx(1, abs=0.011)
    assert half.coverage == pytest.approx(0.5, abs=0.015)
    assert half.ate_m < 0.01


def test_one_pose_and_nothing_in_common_are_errors() -> None:
    """A score needs two common poses; disjoint stamps are named with both spans."""
    reference = drive(100, hz=10)
    for estimate, message in (
        (reference.take(slice(0, 1)), "the estimate holds 1 pose; a score needs at least 2"),
        (Trajectory(reference.stamps + 100, reference.T_world_cam), "from 100.000 to 109.900, the"),
        (reference.take(slice(0, 0)), "holds 0 poses"),
    ):
        with pytest.raises(DataError, match=message):
            score_odometry(reference, estimate, max_gap=0.01)
    shifted = Trajectory(reference.stamps + 9.9, reference.T_world_cam)
    with pytest.raises(DataError, match="only 1 pose of the estimate"):
        score_odometry(reference, shifted, max_gap=0.01)


def test_no_motion_cannot_be_scaled() -> None:
    """A motionless side has no scale: an error, not a perfect or infinite score."""
    still = Trajectory(np.arange(50.0), np.tile(np.eye(4), (50, 1, 1)))
    for reference, estimate, name in (
        (drive(50), still, "estimate"),
        (still, drive(50), "reference"),
    ):
        for mode in ("scale", "scale_7dof", "7dof"):
            with pytest.raises(DataError, match=f"the {name} does not move"):
                score_odometry(reference, estimate, mode=mode)
    score = score_odometry(drive(50), still, mode="none")
    assert score.ate_m == pytest.approx(np.sqrt(np.mean(np.arange(50.0) ** 2)))
    assert np.all(score.snippets.scale == 0)


def test_json_keeps_the_contract() -> None:
    """The keys that other programs read are all there."""
    figures = score_odometry(drive(30), drive(30)).as_json()
    contract = "t_rel_percent r_rel_deg_per_100m ate_m rpe_trans_m rpe_rot_deg"
    assert list(figures)[:9] == [*contract.split(), "coverage", "poses", "align", "scale"]
    assert figures["t_rel_percent"] is None and "t_rel_percent" in figures["reasons"]


def test_snippet_ate_by_hand() -> None:
    """Truth 0 1 2 against guess 0 1 1: scale (1 + 2) / (1 + 1) = 1.5, errors 0, 0.5, -0.5."""
    truth, guess = (np.tile(np.eye(4), (3, 1, 1)) for _ in range(2))
    truth[:, 2, 3], guess[:, 2, 3] = (0, 1, 2), (0, 1, 1)
    snippet = snippet_ate(truth, guess, 3)
    assert snippet.scale.tolist() == [1.5]
    assert snippet.sfmlearner[0] == pytest.approx(np.sqrt(0.5) / 3)
    assert snippet.rmse[0] == pytest.approx(np.sqrt(0.5 / 3))


def test_snippets_overlap_and_have_their_own_scale() -> None:
    """A scale that jumps costs only the snippets across the jump; both forms differ by sqrt 5."""
    reference = wiggle(30, noise=0.05)
    half = [0.5 * np.ones(15), 3.0 * np.ones(15)]
    steps = np.linalg.inv(reference.T_world_cam[:-1]) @ reference.T_world_cam[1:]
    steps[:, :3, 3] *= np.concatenate(half)[: len(steps), None]
    snippet = snippet_ate(reference.T_world_cam, chain_relative(steps))
    assert len(snippet.rmse) == 26
    assert np.count_nonzero(snippet.rmse > 1e-9) == 3  # only those across the jump
    np.testing.assert_allclose(snippet.rmse, np.sqrt(5) * snippet.sfmlearner)


def test_snippets_refuse_what_they_cannot_score() -> None:
    """One frame is no snippet and two lengths do not match."""
    with pytest.raises(DataError, match="at least 2 frames, got 1"):
        snippet_ate(drive(9).T_world_cam, drive(9).T_world_cam, 1)
    with pytest.raises(ShapeError, match="snippet_ate: expected two"):
        snippet_ate(drive(9).T_world_cam, drive(8).T_world_cam)


def test_segments_ignore_what_an_unknown_frame_holds() -> None:
    """The placeholder of a missing pose never enters an error."""
    reference = drive(400).T_world_cam
    known = np.arange(400) % 10 == 0
    broken = np.where(known[:, None, None], reference, np.nan)
    broken[~known, 3, 3] = 7
    errors = segment_errors(reference, broken, known=known)
    assert len(errors.length) == 0 < errors.possible  # segments end at frames 101, 111, ...
    known[101] = True
    broken[101] = reference[101]
    errors = segment_errors(reference, broken, known=known)
    assert errors.length.tolist() == [100] and errors.translation[0] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("angle", [1e-4, 0.5, 3.0])
def test_both_angles_agree_on_exact_rotations(angle: float) -> None:
    """The published trace form and the rotation vector are one angle."""
    R = exp_se3([0, 0, 0, angle, 0, 0])[:3, :3]
    assert trace_angle(R) == pytest.approx(angle, rel=1e-7)
    assert log_angle(R) == pytest.approx(angle, rel=1e-12)


def test_mean_motion_baseline_matches_the_anchor(data_root: Path) -> None:
    """On KITTI 00 and 02, frames 200-299, the training mean gives about 0.040 and 0.061."""
    folder = data_root / "kitti_odometry" / "poses"
    drives = {name: load_kitti(folder / f"{name}.txt") for name in ("00", "02")}
    motion = mean_motion([t.take(slice(0, 200)) for t in drives.values()])
    for name, anchor in (("00", 0.040), ("02", 0.061)):
        held_out = drives[name].take(slice(200, 300))
        score: OdometryScore = score_odometry(held_out, constant_motion(held_out.stamps, motion))
        assert score.as_json()["snippet_ate_mean"] == pytest.approx(anchor, abs=0.0015)


def test_mean_motion_of_a_constant_drive_is_that_motion() -> None:
    """The mean of equal motions is the motion, and repeating it is the drive."""
    truth = drive(20, step=0.7, yaw=0.1)
    again = constant_motion(truth.stamps, mean_motion([truth]))
    np.testing.assert_allclose(again.T_world_cam, truth.T_world_cam, atol=1e-12)
    with pytest.raises(DataError, match="no training trajectory"):
        mean_motion([truth.take(slice(0, 1))])


def test_segments_of_other_lengths() -> None:
    """On 40 m with a tenth too long steps, every segment of 10 or 20 m drifts by a tenth."""
    reference = np.tile(np.eye(4), (81, 1, 1))
    reference[:, 2, 3] = 0.5 * np.arange(81)
    estimate = reference.copy()
    estimate[:, 2, 3] *= 1.1
    assert len(segment_errors(reference, estimate).length) == 0
    errors = segment_errors(reference, estimate, lengths=(10, 20), step=1)
    # The end is the first frame past the length: 10.5 and 20.5 m, 21 and 41 frames on.
    assert (errors.length == 10).sum() == 81 - 21 and (errors.length == 20).sum() == 81 - 41
    drift = 0.1 * np.where(errors.length == 10, 10.5 / 10, 20.5 / 20)
    np.testing.assert_allclose(errors.translation, drift)
