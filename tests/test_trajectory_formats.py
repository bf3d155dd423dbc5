# SPDX-License-Identifier: Apache-2.0
"""One trajectory in every layout that people write: all read as the same poses, or said."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from depthkit.errors import DataError
from depthkit.trajectory import (
    TrajectoryFile,
    exp_se3,
    inverse,
    load_kitti,
    load_tum,
    matrix_to_quaternion,
    read_trajectory,
)

TIMES = 1403715270 + 0.05 * np.arange(6)
POSES = exp_se3(np.random.default_rng(2).uniform(-1, 1, (6, 6)))
Q = matrix_to_quaternion(POSES[:, :3, :3])
XYZ = POSES[:, :3, 3]
XYZW = np.concatenate([XYZ, Q], axis=1)
WXYZ = np.concatenate([XYZ, Q[:, [3, 0, 1, 2]]], axis=1)


def lines(columns: np.ndarray, *, stamps: list[str] | None = None, mark: str = " ") -> str:
    """Write rows, the stamps in front as they stand."""
    rows = [[f"{v:.9f}" for v in row] for row in columns]
    if stamps is not None:
        rows = [[stamp, *row] for stamp, row in zip(stamps, rows, strict=True)]
    return "".join(mark.join(row) + "\n" for row in rows)


SECONDS = [f"{t:.6f}" for t in TIMES]
NANOSECONDS = [f"{round(t * 1e3)}000000" for t in TIMES]
IDS = [f"{i} {t}" for i, t in enumerate(SECONDS)]
FLAT = POSES[:, :3].reshape(6, 12)
FULL = POSES.reshape(6, 16)
EXTRA = np.concatenate([WXYZ, np.full((6, 9), 0.25)], axis=1)
EUROC = "#timestamp, p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], q_RS_y [], "
EUROC += "q_RS_z []" + ", v_RS_R_x [m s^-1]" * 9 + "\n"
ECHO = "%time,field.header.seq,field.header.stamp,field.header.frame_id,"
ECHO += ",".join(f"field.pose.position.{a}" for a in "xyz") + ","
ECHO += ",".join(f"field.pose.orientation.{a}" for a in "xyzw") + "\n"
SEC_NSEC = [f"{int(t)} {round(t % 1 * 1e3)}000000" for t in TIMES + 0.8]

TIMED: dict[str, str] = {
    "tum": "# timestamp tx ty tz qx qy qz qw\n" + lines(XYZW, stamps=SECONDS),
    "bare tum": lines(XYZW, stamps=SECONDS),
    "tabs": lines(XYZW, stamps=SECONDS, mark="\t"),
    "commas and blanks": lines(XYZW, stamps=SECONDS, mark=", "),
    "semicolons": lines(XYZW, stamps=SECONDS, mark=";"),
    "decimal commas": lines(XYZW, stamps=SECONDS, mark=";").replace(".", ","),
    "windows": lines(XYZW, stamps=SECONDS).replace("\n", "\r\n"),
    "header line": "timestamp tx ty tz qx qy qz qw\n" + lines(XYZW, stamps=SECONDS),
    "pandas": "time,x,y,z,qw,qx,qy,qz\n" + lines(WXYZ, stamps=SECONDS, mark=","),
    "w first by name": "# t,x,y,z,q_w,q_x,q_y,q_z\n" + lines(WXYZ, stamps=SECONDS, mark=","),
    "orb-slam3 euroc": lines(XYZW, stamps=[f"{n}.000000" for n in NANOSECONDS]),
    "ns and blanks": lines(XYZW, stamps=NANOSECONDS),
    "euroc": EUROC + lines(EXTRA, stamps=NANOSECONDS, mark=","),
    "euroc without header": lines(EXTRA, stamps=NANOSECONDS, mark=","),
    "vins": lines(EXTRA[:, :10], stamps=NANOSECONDS, mark=",").replace("\n", ",\n"),
    "id first": lines(XYZW, stamps=IDS),
    "flag last": lines(np.column_stack([XYZW, np.ones(6)]), stamps=SECONDS),
    "seconds and nanoseconds": lines(XYZW, stamps=SEC_NSEC),
    "time and matrix": lines(FLAT, stamps=SECONDS),
    "time and 4x4": lines(FULL, stamps=SECONDS),
    "rostopic echo -p": ECHO
    + lines(XYZW, stamps=[f"0,{i},{n},cam" for i, n in enumerate(NANOSECONDS)], mark=","),
}


def block(i: int) -> str:
    """One 4x4 matrix in four lines."""
    return lines(POSES[i])


FRAMES: dict[str, str] = {
    "kitti": lines(FLAT),
    "kitti with commas": lines(FLAT, mark=","),
    "kitti with index": lines(FLAT, stamps=list("012345")),
    "4x4 by rows": lines(FULL),
    "4x4 with index": lines(FULL, stamps=list("012345")),
    "four lines": "\n".join(block(i) for i in range(6)),
    "redwood": "".join(f"{i} {i} {i + 1}\n{block(i)}" for i in range(6)),
    "seven columns": lines(XYZW),
    "g2o": lines(XYZW, stamps=[f"VERTEX_SE3:QUAT {i}" for i in range(6)])
    + "EDGE_SE3:QUAT 0 1 0 0 0 0 0 0 1\n",
    "frame by name": "frame,x,y,z,qx,qy,qz,qw\n" + lines(XYZW, stamps=list("012345"), mark=","),
}


def read(folder: Path, text: str, **options: str) -> TrajectoryFile:
    """Read a text as a pose file."""
    path = folder / "poses.txt"
    path.write_bytes(text.encode())
    return read_trajectory(path, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", TIMED)
def test_poses_by_time_are_the_same_in_every_layout(name: str, tmp_path: Path) -> None:
    """Times and poses are those that were written, whatever separates and names the columns."""
    file = read(tmp_path, TIMED[name])
    offset = 0.8 if name == "seconds and nanoseconds" else 0
    assert file.axis == "time"
    np.testing.assert_allclose(file.trajectory.stamps, TIMES + offset, rtol=0, atol=2e-6)
    np.testing.assert_allclose(file.trajectory.T_world_cam, POSES, atol=1e-7)


@pytest.mark.parametrize("name", FRAMES)
def test_poses_by_frame_are_the_same_in_every_layout(name: str, tmp_path: Path) -> None:
    """Frame indices and poses are those that were written."""
    file = read(tmp_path, FRAMES[name])
    assert file.axis in ("index", "row") and file.kind == "kitti"
    assert file.trajectory.stamps.tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose(file.trajectory.T_world_cam, POSES, atol=1e-7)


def test_colmap_images_are_inverted_and_sorted_by_name(tmp_path: Path) -> None:
    """COLMAP stores world to camera, w first, a line of points after each image."""
    back = inverse(POSES)
    q = matrix_to_quaternion(back[:, :3, :3])[:, [3, 0, 1, 2]]
    numbers = lines(np.concatenate([q, back[:, :3, 3]], axis=1)).splitlines()
    rows = [
        f"{9 - i} {row} 1 f_{i:04d}.jpg\n1.5 2.5 -1 3.5 4.5 7\n" for i, row in enumerate(numbers)
    ]
    head = "# Image list\n#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME\n"
    file = read(tmp_path, head + "".join(rows[::-1]))
    np.testing.assert_allclose(file.trajectory.T_world_cam, POSES, atol=1e-7)
    assert file.axis == "index" and "picture names" in file.trajectory.assumed[0]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_are_no_part_of_the_first_stamp(encoding: str, tmp_path: Path) -> None:
    """Windows tools write UTF-8 with a mark, PowerShell UTF-16."""
    (tmp_path / "t.txt").write_text(TIMED["bare tum"], encoding=encoding)
    assert read_trajectory(tmp_path / "t.txt").trajectory.stamps[0] == TIMES[0]


LOST: dict[str, Callable[[str], str]] = {
    "nan": lambda stamp: f"{stamp} nan nan nan nan nan nan nan",
    "zeros": lambda stamp: f"{stamp} 0 0 0 0 0 0 0",
    "lost": lambda stamp: f"{stamp} LOST",
    "infinite": lambda stamp: f"{stamp} -inf -inf -inf -inf -inf -inf -inf",
}


@pytest.mark.parametrize("kind", LOST)
def test_rows_without_a_pose_are_counted_and_left_out(kind: str, tmp_path: Path) -> None:
    """A tracker that lost its way writes NaN, zeros or a word; the others keep their stamps."""
    rows = TIMED["tum"].splitlines()
    rows[3], rows[5] = LOST[kind](SECONDS[2]), LOST[kind](SECONDS[4])
    file = read(tmp_path, "\n".join(rows))
    np.testing.assert_allclose(file.trajectory.T_world_cam, POSES[[0, 1, 3, 5]], atol=1e-7)
    assert file.trajectory.notes == (
        "poses.txt: 2 of 6 rows hold no pose (NaN, zeros or 'lost') and were left out",
    )


def test_a_lost_matrix_keeps_the_frames_of_the_others(tmp_path: Path) -> None:
    """ScanNet writes -inf for a frame without a pose: frame 3 stays frame 3."""
    rows = FRAMES["kitti"].splitlines()
    rows[1], rows[2] = " ".join(["-inf"] * 12), "lost"
    file = read(tmp_path, "\n".join(rows))
    assert file.trajectory.stamps.tolist() == [0, 3, 4, 5]


@pytest.mark.parametrize(
    "name, order, stated",
    [
        ("tum", "xyzw", True),
        ("pandas", "wxyz", True),
        ("euroc", "wxyz", True),
        ("bare tum", "xyzw", False),
        ("ns and blanks", "xyzw", False),
        ("euroc without header", "wxyz", False),
    ],
)
def test_an_order_nobody_states_is_said(
    name: str, order: str, stated: bool, tmp_path: Path
) -> None:
    """A header states the order of a quaternion; without one the order taken is a sentence."""
    file = read(tmp_path, TIMED[name])
    said = [text for text in file.trajectory.assumed if "quaternions read as" in text]
    assert (file.order, file.is_order_stated, len(said)) == (order, stated, 0 if stated else 1)
    assert all(" ".join(order) in text and "--quaternion" in text for text in said)


def test_a_first_pose_at_the_identity_shows_the_order(tmp_path: Path) -> None:
    """1 0 0 0 is no rotation with w first, and half a turn with w last."""
    rows = lines(WXYZ, stamps=SECONDS).splitlines()
    rows[0] = f"{SECONDS[0]} 0 0 0 1 0 0 0"
    file = read(tmp_path, "\n".join(rows))
    assert file.order == "wxyz" and "first pose is the identity" in file.trajectory.assumed[0]
    np.testing.assert_allclose(file.trajectory.T_world_cam[1:], POSES[1:], atol=1e-7)


def test_the_caller_sets_the_order_but_not_against_the_header(tmp_path: Path) -> None:
    """An order that is given needs no word; one that the header denies is refused."""
    file = read(tmp_path, lines(WXYZ, stamps=SECONDS), quaternion="wxyz")
    assert file.trajectory.assumed == ()
    np.testing.assert_allclose(file.trajectory.T_world_cam, POSES, atol=1e-7)
    with pytest.raises(DataError, match="header says the quaternion is x y z w, not w x y z"):
        read(tmp_path, TIMED["tum"], quaternion="wxyz")


def test_loaders_of_one_format_refuse_the_other(tmp_path: Path) -> None:
    """TUM rows have no frames, KITTI rows no time."""
    path = tmp_path / "p.txt"
    path.write_text(FRAMES["kitti"])
    with pytest.raises(DataError, match="holds poses by frame, expected TUM rows"):
        load_tum(path)
    for name in ("euroc", "euroc without header", "pandas"):
        path.write_text(TIMED[name])
        with pytest.raises(DataError, match="holds quaternions with w first, expected TUM rows"):
            load_tum(path)
    path.write_text(TIMED["bare tum"])
    assert load_tum(path).assumed == ()
    with pytest.raises(DataError, match="holds poses by time, expected KITTI"):
        load_kitti(path)


def test_nine_columns_that_fit_twice_are_refused(tmp_path: Path) -> None:
    """Where both readings have unit quaternions, a header must decide."""
    row = "0 0 0 0 0.5 0.5 0.5 0.5 0.5\n"
    with pytest.raises(DataError, match="could be 't x y z q ...' or 'id t x y z q ...'"):
        read(tmp_path, row + row.replace("0", "1", 1))
