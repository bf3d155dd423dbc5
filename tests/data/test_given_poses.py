# SPDX-License-Identifier: Apache-2.0
"""Poses of a file: which row belongs to which frame, whose they are, where the camera sits."""

from pathlib import Path

import numpy as np
import pytest

from depthkit.data.importers.mounting import load_mounting
from depthkit.data.sequence import open_sequence
from depthkit.errors import DataError
from depthkit.rigid import exp_se3, inverse, matrix_to_quaternion
from tests.data.source_makers import listener, make_images, run, run_one

T_BODY_CAM = exp_se3([0.1, -0.2, 0.3, 0.4, -0.5, 0.6])
POSES = np.stack([exp_se3([i, 2 * i, 0, 0, 0, 0.1 * i]) for i in range(6)])


def kitti(path: Path, count: int, numbers: bool = False) -> Path:
    rows = [" ".join(f"{v:.9f}" for v in T[:3].ravel()) for T in POSES[:count]]
    path.write_text("\n".join(f"{i} {row}" if numbers else row for i, row in enumerate(rows)))
    return path


def tum(path: Path, times: list[float | int], header: str = "# time x y z qx qy qz qw") -> Path:
    q = matrix_to_quaternion(POSES[:, :3, :3])
    rows = [
        f"{t!r} " + " ".join(f"{v:.12f}" for v in (*T[:3, 3], *xyzw))
        for t, T, xyzw in zip(times, POSES, q, strict=False)
    ]
    path.write_text("\n".join([header, *rows]))
    return path


def clip(tmp_path: Path, count: int = 4, times: str = "0.0\n0.1\n0.2\n0.3\n") -> Path:
    source = make_images(tmp_path / "clip", count)
    (source / "times.txt").write_text(times)
    return source


def test_as_many_rows_as_frames_go_by_row(tmp_path):
    """KITTI rows without numbers belong to the frames in order."""
    sequence = run_one(clip(tmp_path), tmp_path / "out", poses=kitti(tmp_path / "p.txt", 4))
    np.testing.assert_allclose(sequence.poses, POSES[:4], atol=1e-6)


def test_fewer_rows_than_frames_are_refused(tmp_path):
    """Three rows for four frames: nothing says which frame has none."""
    with pytest.raises(DataError, match="3 poses for 4 frames, and no times or names pair"):
        run(clip(tmp_path), tmp_path / "out", poses=kitti(tmp_path / "p.txt", 3))


def test_numbered_rows_go_by_number(tmp_path):
    """Frame 1 to 4 by name, rows 0 to 4: those of their numbers are theirs."""
    poses = kitti(tmp_path / "p.txt", 5, numbers=True)
    sequence = run_one(clip(tmp_path), tmp_path / "out", poses=poses)
    np.testing.assert_allclose(sequence.poses, POSES[1:5], atol=1e-6)


def test_more_rows_than_frames_go_by_number_with_a_word(tmp_path):
    """Pictures frame1 to frame4 of a longer recording have rows 1 to 4, counted from 0."""
    notes, watcher = listener()
    (result,) = run(clip(tmp_path), tmp_path / "out", watcher, poses=kitti(tmp_path / "p", 6))
    np.testing.assert_allclose(open_sequence(result.path).poses, POSES[1:5], atol=1e-6)
    assert any("row n is taken as the pose of frame number n" in note for note in notes)


@pytest.mark.parametrize(
    ("make", "times"),
    [
        ([0, 100, 200, 300], "0\n100\n200\n300\n"),  # both in milliseconds
        ([0, 100_000_000, 200_000_000, 300_000_000], "0.0\n0.1\n0.2\n0.3\n"),
        ([0, 5, 10, 100], "0.0\n0.005\n0.01\n0.1\n"),  # 5 apart: told by the frames they meet
    ],
)
def test_units_of_poses_are_told(tmp_path, make, times):
    """Stamps of the file and of the frames meet whatever their units."""
    notes, watcher = listener()
    poses = tum(tmp_path / "p.txt", make)
    (result,) = run(clip(tmp_path, 4, times), tmp_path / "out", watcher, poses=poses)
    assert result.poses == 4
    np.testing.assert_allclose(open_sequence(result.path).poses, POSES[:4], atol=1e-6)
    assert any("p.txt: times" in note for note in notes)


def test_two_clocks_are_named_with_both_spans(tmp_path):
    """Frames since boot and poses since 1970 meet nowhere, and both spans are said."""
    poses = tum(tmp_path / "p.txt", [1700000000.0, 1700000000.1])
    with pytest.raises(DataError) as caught:
        run(clip(tmp_path), tmp_path / "out", poses=poses)
    assert "poses span 1700000000.000 to 1700000000.100 s, frames 0.000 to 0.300" in str(
        caught.value
    )
    assert "one counts since 1970, the other since a start" in str(caught.value)


def test_log_of_open3d(tmp_path):
    """Blocks of a line of numbers and a 4x4 matrix; the first number is the frame's."""
    blocks = [
        f"{i} {i} {i + 1}\n" + "\n".join(" ".join(map(repr, row)) for row in POSES[i].tolist())
        for i in (1, 2, 4)
    ]
    (tmp_path / "trajectory.log").write_text("\n".join(blocks))
    sequence = run_one(clip(tmp_path), tmp_path / "out", poses=tmp_path / "trajectory.log")
    np.testing.assert_allclose(sequence.poses[[0, 1, 3]], POSES[[1, 2, 4]], atol=1e-6)
    assert np.isnan(sequence.poses[2]).all()


def test_infinite_poses_are_unknown(tmp_path):
    """Rows of 16 with -inf mean that the camera was lost."""
    T = POSES[:4].copy()
    T[2] = -np.inf
    (tmp_path / "p.txt").write_text("\n".join(" ".join(map(str, M.ravel())) for M in T))
    sequence = run_one(clip(tmp_path), tmp_path / "out", poses=tmp_path / "p.txt")
    assert np.isnan(sequence.poses[2]).all()
    np.testing.assert_allclose(sequence.poses[[0, 1, 3]], POSES[[0, 1, 3]], atol=1e-6)


def test_colmap_images_are_inverted_and_up_to_scale(tmp_path):
    """COLMAP stores world to camera with qw first; the sequence must not claim metres."""
    lines = ["# Image list with two lines of data per image:"]
    for i in range(3):
        T = inverse(POSES[i + 1])
        x, y, z, w = matrix_to_quaternion(T[:3, :3])
        pose = " ".join(f"{v:.12f}" for v in (w, x, y, z, *T[:3, 3]))
        lines += [f"{i + 1} {pose} 1 frame{i + 1}.png", "10.5 20.5 -1 30.5 40.5 7"]
    (tmp_path / "images.txt").write_text("\n".join(lines))
    sequence = run_one(clip(tmp_path), tmp_path / "out", poses=tmp_path / "images.txt")
    np.testing.assert_allclose(sequence.poses[:3], POSES[1:4], atol=1e-6)
    assert np.isnan(sequence.poses[3]).all()
    assert sequence.depth_kind == "up_to_scale"


# --- poses of a body -----------------------------------------------------------------------------


def write_rows(M: np.ndarray) -> str:
    return "\n".join(" ".join(map(repr, row)) for row in M.tolist())


def as_yaml(M: np.ndarray) -> str:
    return "[" + ", ".join(map(repr, M.ravel().tolist())) + "]"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (write_rows(T_BODY_CAM), "the matrix"),
        (write_rows(T_BODY_CAM[:3]), "the matrix"),
        (f"T_BS:\n  cols: 4\n  rows: 4\n  data: {as_yaml(T_BODY_CAM)}\n", "T_BS"),
        (f"cam0:\n  T_cam_imu: {inverse(T_BODY_CAM).tolist()}\n", "inverse of cam0.T_cam_imu"),
        (
            "%YAML:1.0\n---\nbody_T_cam0: !!opencv-matrix\n   rows: 4\n   cols: 4\n   dt: d\n"
            f"   data: {as_yaml(T_BODY_CAM)}\n",
            "body_T_cam0",
        ),
        (
            "%YAML:1.0\nTbc: !!opencv-matrix\n  rows: 4\n  cols: 4\n  dt: f\n"
            f"  data: {as_yaml(T_BODY_CAM)}\n",
            "Tbc",
        ),
        (
            "%YAML:1.0\nextrinsicRotation: !!opencv-matrix\n  rows: 3\n  cols: 3\n  dt: d\n"
            f"  data: {as_yaml(T_BODY_CAM[:3, :3])}\nextrinsicTranslation: !!opencv-matrix\n"
            f"  rows: 3\n  cols: 1\n  dt: d\n  data: {as_yaml(T_BODY_CAM[:3, 3])}\n",
            "extrinsicRotation",
        ),
        (
            " ".join(map(repr, (*T_BODY_CAM[:3, 3].tolist(),
                                *matrix_to_quaternion(T_BODY_CAM[:3, :3]).tolist()))),
            "x y z qx qy qz qw",
        ),
    ],
)  # fmt: skip
def test_mounting_of_many_programs(tmp_path, text, words):
    """EuRoC, Kalibr (inverse), VINS, ORB-SLAM3 and plain numbers mean one T_body_cam."""
    (tmp_path / "mount.yaml").write_text(text)
    T, said = load_mounting(tmp_path / "mount.yaml")
    np.testing.assert_allclose(T, T_BODY_CAM, atol=1e-9)
    assert words in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no mounting"),
        ("fx: 1\n", "holds no mounting of the camera"),
        ("1 2 3", "expected the 16 numbers"),
        ("T_BS: [1, 2, 3]", "T_BS: expected 4x4 numbers, got 3"),
        (write_rows(2 * T_BODY_CAM), "no rigid motion"),
        ("1 0 0 0 0 1 0 0 0 0 nan 0 0 0 0 1", "no rigid motion"),
        ("0 0 0 0 0 0 0", "no rigid motion"),
        ("a: [1, 2\n b: }", "not valid YAML"),
    ],
)
def test_bad_mountings_are_one_line(tmp_path, text, words):
    """Nothing there, too few numbers, no rotation, broken YAML."""
    (tmp_path / "mount.yaml").write_text(text)
    with pytest.raises(DataError, match=words) as caught:
        load_mounting(tmp_path / "mount.yaml")
    assert "\n" not in str(caught.value)


def test_body_to_camera_moves_poses(tmp_path):
    """T_world_cam = T_world_body T_body_cam, and it is said."""
    (tmp_path / "mount.txt").write_text(write_rows(T_BODY_CAM))
    notes, watcher = listener()
    (result,) = run(
        clip(tmp_path),
        tmp_path / "out",
        watcher,
        poses=tum(tmp_path / "p.txt", [0.0, 0.1, 0.2, 0.3]),
        body_to_camera=tmp_path / "mount.txt",
    )
    found = open_sequence(result.path).poses
    np.testing.assert_allclose(found, POSES[:4] @ T_BODY_CAM, atol=1e-6)
    assert any("T_body_cam is the matrix of mount.txt" in note for note in notes)


def test_poses_of_a_body_need_a_mounting(tmp_path):
    """A file that says it is of the body is not taken for the camera's without a word."""
    poses = tum(tmp_path / "p.txt", [0.0, 0.1, 0.2, 0.3], "# t x y z q, body (IMU) in world")
    notes, watcher = listener()
    run(clip(tmp_path), tmp_path / "out", watcher, poses=poses)
    assert any("says its poses are a body's" in note for note in notes)


def test_unused_mounting_is_said(tmp_path):
    """Without poses there is nothing to move."""
    (tmp_path / "mount.txt").write_text(write_rows(T_BODY_CAM))
    notes, watcher = listener()
    run(clip(tmp_path), tmp_path / "out", watcher, body_to_camera=tmp_path / "mount.txt")
    assert any("unused, the source has no poses" in note for note in notes)


def test_times_that_are_frame_numbers(tmp_path):
    """TUM rows that count frames (ICL-NUIM) go by number, with a word."""
    source = make_images(tmp_path / "clip", 4)
    notes, watcher = listener()
    poses = tum(tmp_path / "p.txt", [0, 1, 2, 3, 4])
    (result,) = run(source, tmp_path / "out", watcher, poses=poses)
    np.testing.assert_allclose(open_sequence(result.path).poses, POSES[1:5], atol=1e-6)
    assert any("its times are taken as frame numbers" in note for note in notes)


def test_unused_poses_are_named(tmp_path):
    """Poses above folders of pictures belong to nobody in particular: the option is named."""
    for name in ("take1", "take2"):
        make_images(tmp_path / "in" / name, 2)
    kitti(tmp_path / "in" / "poses.txt", 2)
    notes, watcher = listener()
    run(tmp_path / "in", tmp_path / "out", watcher)
    assert sum("poses.txt lies there, unused: --poses" in note for note in notes) == 2


@pytest.mark.parametrize("with_times", [False, True])
def test_counts_from_another_start_go_in_order(tmp_path, with_times):
    """Frames 1 to 4 and rows 0 to 3 are the same four, in KITTI rows and in TUM's; it is said."""
    path = tmp_path / "p.txt"
    poses = tum(path, [0, 1, 2, 3]) if with_times else kitti(path, 4, numbers=True)
    notes, watcher = listener()
    (result,) = run(make_images(tmp_path / "clip", 4), tmp_path / "out", watcher, poses=poses)
    np.testing.assert_allclose(open_sequence(result.path).poses, POSES[:4], atol=1e-6)
    assert any("counts from 0, frames from 1: paired in order" in note for note in notes)


def test_rows_that_begin_with_a_name(tmp_path):
    """`name x y z q` goes by name; a frame without a row has no pose, and is counted."""
    rows = [f"frame{i}.png {i} 0 0 0 0 0 1" for i in (3, 1)]
    (tmp_path / "p.txt").write_text("\n".join(rows))
    notes, watcher = listener()
    (result,) = run(clip(tmp_path), tmp_path / "out", watcher, poses=tmp_path / "p.txt")
    np.testing.assert_array_equal(open_sequence(result.path).poses[:, 0, 3], [1, np.nan, 3, np.nan])
    assert any("2 of 4 frames have no pose in p.txt" in note for note in notes)


@pytest.mark.parametrize(
    ("comment", "words"),
    [
        ("# T_cam_world of each frame", "from world to camera"),
        ("# camera axes as in Blender", "axes of OpenGL"),
        ("# t x[mm] y[mm] z[mm] q", "millimetres"),
        ("# time x y z qx qy qz qw", ""),
    ],
)
def test_comments_of_another_convention_are_said(tmp_path, comment, words):
    """What a file says of itself and depthkit does not do is one sentence; plain headers none."""
    poses = tum(tmp_path / "p.txt", [0.0, 0.1, 0.2, 0.3], comment)
    (result,) = run(clip(tmp_path), tmp_path / "out", poses=poses)
    said = [text for text in result.assumed if "comments speak of" in text]
    assert len(said) == bool(words) and all(words in text for text in said)


def test_header_of_a_recorder_is_no_colmap_file(tmp_path):
    """Columns of `rostopic echo -p` are found by name, though the tenth is a word as in COLMAP."""
    head = "%time,field.header.seq,field.header.stamp,field.header.frame_id"
    head += "".join(f",field.pose.position.{a}" for a in "xyz")
    head += "".join(f",field.pose.orientation.{a}" for a in "xyzw")
    rows = [f"{10**8 * i},{i},{10**8 * i},map,{i},0,0,0,0,0,1" for i in range(4)]
    (tmp_path / "p.csv").write_text("\n".join([head, *rows]))
    source = clip(tmp_path, times="0\n100000000\n200000000\n300000000\n")
    sequence = run_one(source, tmp_path / "out", poses=tmp_path / "p.csv", time_unit="ns")
    np.testing.assert_allclose(sequence.poses[:, 0, 3], [0, 1, 2, 3])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x93NUMPY\x01\x00v", "is a NumPy array file; save it as text"),
        (b"PK\x03\x04rest", "is a zip archive"),
        (b"\xff\xd8\xff\xe0\x81", "is not a text file"),
    ],
)
def test_files_that_are_no_text_say_what_to_do(tmp_path, data, words):
    """A NumPy, zip or picture file given as poses is named."""
    (tmp_path / "p.npy").write_bytes(data)
    with pytest.raises(DataError, match=words):
        run(clip(tmp_path), tmp_path / "out", poses=tmp_path / "p.npy")
