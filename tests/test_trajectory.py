# SPDX-License-Identifier: Apache-2.0
"""Trajectories: SE(3) arithmetic, interpolation, files, and every bad file in one clear line."""

from pathlib import Path

import numpy as np
import pytest

from depthkit.errors import DataError, ShapeError
from depthkit.trajectory import (
    Trajectory,
    check_trajectory,
    detect_format,
    exp_se3,
    interpolate_poses,
    inverse,
    load_euroc,
    load_kitti,
    load_trajectory,
    load_tum,
    log_se3,
    matrix_to_quaternion,
    quaternion_to_matrix,
    save_kitti,
    save_tum,
)


def random_poses(count: int, seed: int = 0) -> np.ndarray:
    """Poses with angles up to nearly pi. (N, 4, 4)"""
    return exp_se3(np.random.default_rng(seed).uniform(-1.7, 1.7, (count, 6)))


def write(folder: Path, text: str) -> Path:
    """Put a text into a file named poses.txt."""
    path = folder / "poses.txt"
    path.write_text(text)
    return path


def test_quaternion_of_a_quarter_turn_about_z() -> None:
    """A quarter turn about z takes x to y: (0, 0, sin 45, cos 45) in the order xyzw."""
    half = np.sqrt(0.5)
    R = quaternion_to_matrix([0, 0, half, half])
    np.testing.assert_allclose(R @ [1, 0, 0], [0, 1, 0], atol=1e-15)
    np.testing.assert_allclose(matrix_to_quaternion(R), [0, 0, half, half], atol=1e-15)


@pytest.mark.parametrize("axis", range(3))
def test_quaternion_of_a_half_turn_is_exact(axis: int) -> None:
    """At 180 degrees w is 0 and the largest component must be the pivot."""
    R = -np.eye(3)
    R[axis, axis] = 1
    np.testing.assert_allclose(matrix_to_quaternion(R), np.eye(4)[axis], atol=1e-15)


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-6, 0.0099, 0.0101, 1.0, 3.14159])
def test_exp_undoes_log_at_every_angle(angle: float) -> None:
    """exp(log T) = T from no rotation to nearly half a turn, across the switch to the series."""
    xi = np.array([0.3, -2.0, 5.0, *(angle * np.array([2, -1, 2]) / 3)])
    np.testing.assert_allclose(log_se3(exp_se3(xi)), xi, atol=1e-9)
    np.testing.assert_allclose(exp_se3(log_se3(exp_se3(xi))), exp_se3(xi), atol=1e-12)


def test_exp_follows_the_circle() -> None:
    """Driving pi/2 metres while turning pi/2 about y is a quarter of a unit circle: (1, 0, 1)."""
    T = exp_se3([0, 0, np.pi / 2, 0, np.pi / 2, 0])
    np.testing.assert_allclose(T[:3, 3], [1, 0, 1], atol=1e-15)


def test_inverse_times_pose_is_identity() -> None:
    """inverse(T) @ T = I for a batch of any shape."""
    T = random_poses(12).reshape(3, 4, 4, 4)
    np.testing.assert_allclose(inverse(T) @ T, np.broadcast_to(np.eye(4), T.shape), atol=1e-14)


def test_interpolation_halves_the_motion() -> None:
    """Half way in time is half of the twist, for rotation and translation together."""
    xi = np.array([1.0, 0, 2.0, 0, 0.8, 0.2])
    start = random_poses(1, seed=4)[0]
    traj = Trajectory(np.array([10.0, 12.0]), np.stack([start, start @ exp_se3(xi)]))
    poses, known = interpolate_poses(traj, [11.0, 12.0], max_gap=2.0)
    assert known.all()
    np.testing.assert_allclose(poses, [start @ exp_se3(xi / 2), start @ exp_se3(xi)], atol=1e-12)


def test_interpolation_leaves_gaps_and_ends_unknown() -> None:
    """Nothing is made up across a gap or outside the trajectory; a time on a stamp is known."""
    traj = Trajectory(np.array([0.0, 0.1, 1.0, 1.1]), random_poses(4))
    poses, known = interpolate_poses(traj, [-0.01, 0.05, 0.5, 1.0, 1.1, 1.2], max_gap=0.2)
    assert known.tolist() == [False, True, False, True, True, False]
    assert np.isnan(poses[~known]).all()
    np.testing.assert_array_equal(poses[3:5], traj.T_world_cam[2:])


def test_interpolation_of_nothing() -> None:
    """An empty trajectory knows no time, and no times give no poses."""
    empty = Trajectory(np.zeros(0), np.zeros((0, 4, 4)))
    assert not interpolate_poses(empty, [0.0], 1.0)[1].any()
    assert interpolate_poses(Trajectory(np.zeros(1), random_poses(1)), [], 1.0)[0].shape == (
        0,
        4,
        4,
    )


def test_tum_round_trip(tmp_path: Path) -> None:
    """A TUM file read back is the trajectory that was written."""
    traj = Trajectory(1305031102.160407 + np.arange(5) / 30, random_poses(5))
    save_tum(tmp_path / "t.txt", traj)
    back = load_tum(tmp_path / "t.txt")
    np.testing.assert_allclose(back.stamps, traj.stamps, rtol=0, atol=1e-6)
    np.testing.assert_allclose(back.T_world_cam, traj.T_world_cam, atol=1e-11)
    assert [p.name for p in tmp_path.iterdir()] == ["t.txt"]


def test_kitti_round_trip_keeps_missing_frames(tmp_path: Path) -> None:
    """13 columns keep the frame index, so a hole stays a hole; 12 columns count from 0."""
    traj = Trajectory(np.array([2.0, 3.0, 7.0]), random_poses(3))
    save_kitti(tmp_path / "13.txt", traj, indices=[2, 3, 7])
    save_kitti(tmp_path / "12.txt", traj)
    assert load_kitti(tmp_path / "13.txt").stamps.tolist() == [2, 3, 7]
    assert load_kitti(tmp_path / "12.txt").stamps.tolist() == [0, 1, 2]
    np.testing.assert_allclose(
        load_kitti(tmp_path / "13.txt").T_world_cam, traj.T_world_cam, atol=1e-11
    )


def test_kitti_times_are_looked_up_by_index(tmp_path: Path) -> None:
    """Frame 7 gets the eighth time; a frame beyond the times is named."""
    save_kitti(tmp_path / "k.txt", Trajectory(np.arange(2.0), random_poses(2)), indices=[3, 7])
    assert load_kitti(tmp_path / "k.txt", stamps=np.arange(8) / 10).stamps.tolist() == [0.3, 0.7]
    with pytest.raises(DataError, match="frame 7 has no time; 5 times were given"):
        load_kitti(tmp_path / "k.txt", stamps=np.arange(5) / 10)


def test_euroc_reads_nanoseconds_and_w_first(tmp_path: Path) -> None:
    """EuRoC stores wxyz and nanoseconds; columns after the eighth are velocities and biases."""
    half = np.sqrt(0.5)
    row = f"1403715524907143168,1,2,3,{half},0,0,{half},9,9,9\n"
    path = write(tmp_path, "#timestamp, p_x, ...\n" + row)
    assert detect_format(path) == "euroc"
    traj = load_euroc(path)
    assert traj.stamps[0] == pytest.approx(1403715524.907143168, abs=1e-6)
    np.testing.assert_allclose(traj.T_world_cam[0] @ [1, 0, 0, 1], [1, 3, 3, 1], atol=1e-12)


def test_nearly_unit_quaternions_are_normalised(tmp_path: Path) -> None:
    """A norm within 1e-3 of 1 is rounding: the matrix still rotates."""
    R = load_tum(write(tmp_path, "0 0 0 0 0 0 0 1.0008\n")).T_world_cam[0, :3, :3]
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-15)


UNIT = "0 0 0 0 0 0 1"
BAD_FILES = {
    "empty": ("", "holds no poses"),
    "comments only": ("# t x y z\n\n", "holds no poses"),
    "seven columns": (f"0 {UNIT}\n1 0 0 0 0 0 1\n", "line 2 has 7 columns, expected 8"),
    "five columns": ("0 1 2 3 4\n", "line 1 has 5 columns, expected 8"),
    "garbage": (f"0 {UNIT}\n# fine\n1 0 0 zero 0 0 0 1\n", "line 3: 'zero' is not a number"),
    "prose": ("to be or not to be that question\n", "line 1: 'to' is not a number"),
    "nan": ("0 nan 0 0 0 0 0 1\n", "holds no poses: in all 1 rows they are NaN"),
    "nan stamp": (f"0 {UNIT}\nnan {UNIT}\n", "line 2 holds NaN or an infinite number"),
    "long quaternion": (f"0 {UNIT}\n1 0 0 0 0 0 0 1.01\n", "line 2 has a quaternion of norm 1.01"),
    "zero quaternion": ("0 1 0 0 0 0 0 0\n", "line 1 has a quaternion of norm 0"),
    "repeated": (f"0 {UNIT}\n1 {UNIT}\n1 {UNIT}\n", "line 3 has stamp 1.0, which repeats"),
    "falling": (f"0 {UNIT}\n2 {UNIT}\n1 {UNIT}\n", "line 3 has stamp 1.0, which falls behind"),
    "scaled matrix": ("2 0 0 0 0 2 0 0 0 0 2 0\n", "line 1 holds a matrix that is no rotation"),
    "mirror": ("1 0 0 0 0 1 0 0 0 0 -1 0\n", "line 1 holds a matrix that is no rotation"),
    "positions": ("0 1 2 3\n1 2 3 4\n", "4 columns .t x y z without a rotation"),
    "euler": ("0 1 2 3 0.1 0.2 0.3\n", "7 columns .a time and three angles"),
    "words in data": ("a.png 1 2 3 0 0 0 1\n", "line 1: 'a.png' is not a number"),
    "json": ('{"frames": []}', "is a JSON file"),
    "transposed": ("1 0 0 0 0 1 0 0 0 0 1 0 5 6 7 1\n", "transpose the matrices"),
    "half a matrix": ("1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n1 0 0 0\n", "no whole number of 4x4"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_is_one_line_that_names_the_row(name: str, tmp_path: Path) -> None:
    """Every broken file is a DataError of one line with its path, and no warning beside it."""
    text, message = BAD_FILES[name]
    with pytest.raises(DataError, match=message) as error:
        load_trajectory(write(tmp_path, text))
    assert "poses.txt" in str(error.value) and "\n" not in str(error.value)


def test_files_that_are_no_files(tmp_path: Path) -> None:
    """A missing file, a folder and a binary file are said plainly."""
    binary = tmp_path / "b.txt"
    binary.write_bytes(b"\x89PNG\xff\xfe\x00")
    for path, message in ((tmp_path / "none", "no such"), (tmp_path, "read"), (binary, "text")):
        with pytest.raises(DataError, match=message):
            load_trajectory(path)


def test_first_of_equal_stamps_is_kept_on_request(tmp_path: Path) -> None:
    """repeats='first' keeps one pose a stamp and still refuses a falling one, at its own line."""
    path = write(tmp_path, f"0 {UNIT}\n1 1 0 0 0 0 0 1\n1 2 0 0 0 0 0 1\n3 {UNIT}\n2 {UNIT}\n")
    with pytest.raises(DataError, match="line 5 has stamp 2.0, which falls behind"):
        load_tum(path, repeats="first")
    path = write(tmp_path, f"0 {UNIT}\n1 1 0 0 0 0 0 1\n1 2 0 0 0 0 0 1\n3 {UNIT}\n")
    assert load_trajectory(path, repeats="first").positions[:, 0].tolist() == [0, 1, 0]


def test_check_counts_rows_from_one_without_lines() -> None:
    """Without a file, check_trajectory names the row."""
    poses = random_poses(3)
    poses[1, 0, 3] = np.nan
    with pytest.raises(DataError, match="^drive: row 2 holds NaN"):
        check_trajectory(Trajectory(np.arange(3.0), poses), "drive")


def test_record_refuses_other_shapes() -> None:
    """Stamps and poses must be as many."""
    with pytest.raises(ShapeError, match=r"expected \(N,\) and \(N, 4, 4\)"):
        Trajectory(np.arange(3.0), random_poses(2))


def test_real_files_of_all_three_formats_load(data_root: Path) -> None:
    """The public files load with their known lengths; one official file repeats a stamp."""
    folder = data_root / "trajectories" / "evo"
    lengths = {"KITTI_00_gt.txt": 4541, "freiburg1_xyz-groundtruth.txt": 3000}
    for name, length in (lengths | {"V102_groundtruth.csv": 16702}).items():
        assert len(load_trajectory(folder / name)) == length
    official = folder / "fr2_desk_groundtruth.txt"
    with pytest.raises(DataError, match="line 10863 .* repeats .* keep the first of equal stamps"):
        load_trajectory(official)
    assert len(load_trajectory(official, repeats="first")) == 20956


def test_stamps_of_too_few_digits_are_told_from_a_row_that_repeats() -> None:
    """Whole seconds at 10 Hz: nine of ten stamps repeat; one of a hundred is a row."""
    poses = np.tile(np.eye(4), (100, 1, 1))
    with pytest.raises(DataError, match="90 of 100 stamps repeat .* too few digits"):
        check_trajectory(Trajectory(np.arange(100) // 10 * 1.0, poses), "a")
    once = np.sort([*range(99), 50]) * 1.0
    with pytest.raises(DataError, match="row 52 has stamp 50.0, which repeats .*--repeats first"):
        check_trajectory(Trajectory(once, poses), "a")


@pytest.mark.parametrize(
    "text, words",
    [
        ("t,latitude,longitude,alt,qx,qy,qz,qw\n0,47,8,400,0,0,0,1\n1,47,8,400,0,0,0,1", "east"),
        ("0 1 2 3 0 0 0 1\n1 1 2 3 0 0 0 1\n2 1 2", "last one: was the file cut short"),
        ("0 1 2 3 0 0 0 1.01\n1 1 2 3 0 0 0 1.01", "norm 1.01, expected 1; normalise"),
    ],
)
def test_what_to_do_is_said(text: str, words: str, tmp_path: Path) -> None:
    """Degrees for metres, a cut last line, quaternions that are not normalised."""
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        load_trajectory(tmp_path / "a.csv")
