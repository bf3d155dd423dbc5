# SPDX-License-Identifier: Apache-2.0
"""Which frames show one place: overlap by depth, by tracks, along the film, and verified loops."""

import cv2
import numpy as np
import pytest

from depthkit.data.place_overlap import (
    Visits,
    _by_poses,
    _by_tracks,
    add_loops,
    find_visits,
    read_loops,
    shared_views,
    track_reach,
)
from depthkit.data.sequence import open_sequence
from depthkit.errors import DataError
from depthkit.synth.boxes import write_box_sequence

K = np.array([[24.0, 0, 23.5], [0, 24.0, 17.5], [0, 0, 1]])  # 90 degrees wide at 48 x 36


def poses_at(*positions: float, turned: tuple[float, ...] = ()) -> np.ndarray:
    """Return cameras along x, looking along z or turned about y by degrees. (N, 4, 4)"""
    poses = np.tile(np.eye(4), (len(positions), 1, 1))
    poses[:, 0, 3] = positions
    for pose, angle in zip(poses, np.radians(turned), strict=False):
        pose[:3, :3] = [
            [np.cos(angle), 0, np.sin(angle)],
            [0, 1, 0],
            [-np.sin(angle), 0, np.cos(angle)],
        ]
    return poses


def test_shared_views_of_a_wall():
    """A wall at 2 m is 4 m wide in the picture: 1 m to the side shares three quarters of it, 3 m a
    quarter, 5 m and the look back nothing. A column of the grid is a twelfth."""
    depths = np.full((5, 36, 48), 2.0)
    poses = poses_at(0, 1, 3, 5, 0, turned=(0, 0, 0, 0, 180))
    shares = shared_views(depths, poses, K)
    np.testing.assert_allclose(np.diag(shares)[:4], 1)
    np.testing.assert_allclose(shares[0, :4], [1, 0.75, 0.25, 0], atol=1 / 12 + 1e-9)
    np.testing.assert_allclose(shares[1, 0], 0.75, atol=1 / 12 + 1e-9)
    assert shares[0, 4] == 0


def test_what_is_hidden_is_not_shared():
    """A camera with a board before it at 0.5 m does not see the wall at 2 m; unknown depth hides
    nothing, and a frame of unknown depth or pose is not judged."""
    depths = np.full((4, 36, 48), 2.0)
    depths[1], depths[2] = 0.5, 0.0
    poses = poses_at(0, 0, 0, 0)
    poses[3] = np.nan
    shares = shared_views(depths, poses, K)
    assert shares[0, 1] == 0 and shares[0, 2] == 1
    assert shares[2, 0] == 0 and (shares[:, 3] == 0).all() and (shares[3] == 0).all()


def test_a_film_that_slides_is_left_after_its_share():
    """A texture slides by 8 of 160 pixels a frame: after 9 frames 55 % of it are left, after 11
    45 %. KLT needs half a window at the border, so it may lose half two frames sooner."""
    rng = np.random.default_rng(0)
    wide = cv2.resize(rng.integers(0, 256, (20, 80), dtype=np.uint8), (480, 120))
    frames = [np.repeat(wide[:, x : x + 160, None], 3, 2) for x in range(0, 320, 8)]
    reach = track_reach(frames, 0.5)
    assert len(reach) == 40 and reach[:24].min() >= 7 and reach[:24].max() <= 10
    assert (track_reach(frames, 0.3)[:24] > reach[:24]).all()
    assert track_reach(frames[:1], 0.5).tolist() == [1]


def test_poses_find_another_visit():
    """Out along x and back, 1 m a frame, reach 2 frames (2 m): the frame that comes back within 1 m
    looking the same way is the same place, looking the other way it is not."""
    out_and_back = poses_at(0, 1, 2, 3, 4, 5, 0.5, 20, turned=(0, 0, 0, 0, 0, 0, 0, 0))
    reach = np.full(8, 2)
    found = _by_poses(out_and_back, reach, turned=40)
    assert found.same[0].tolist() == [1, 2, 6]
    assert found.places[0].tolist() == [0, 0, 0, 2]
    turned = poses_at(0, 1, 2, 3, 4, 5, 0.5, 20, turned=(0, 0, 0, 0, 0, 0, 180, 0))
    assert _by_poses(turned, reach, turned=40).same[0].tolist() == [1, 2]


def test_a_frame_without_a_pose_teaches_nothing():
    """It is nobody's place, and its row stays finite."""
    poses = poses_at(0, 1, 2, 3)
    poses[2] = np.nan
    found = _by_poses(poses, np.full(4, 2), turned=40)
    assert found.same[2].size == 0 and 2 not in np.concatenate(found.same)
    assert np.isfinite(found.places).all()


def test_without_poses_the_film_is_the_path():
    """A reach of 4 frames is one unit of the path; frames within it are one place."""
    found = _by_tracks(np.full(12, 4))
    assert found.same[5].tolist() == [1, 2, 3, 4, 6, 7, 8, 9]
    np.testing.assert_allclose(found.places[:, 0], np.arange(12) / 4)
    assert (found.places[:, 3] == 1).all()


def test_a_verified_loop_is_one_place():
    """Frames 0 and 9 at 0 and 9 m become one place; frames near them are no proof of another one
    for what lies near the other end, and those in the middle are as they were."""
    places = np.column_stack([np.arange(10.0), np.zeros((10, 2)), np.ones(10)])
    visits = Visits(tuple(np.zeros(0, int) for _ in range(10)), places, "tracks")
    found = add_loops(visits, np.array([[0, 9], [3, 3]]))
    assert found.same[0].tolist() == [9] and found.same[9].tolist() == [0]
    assert found.same[3].size == 0
    assert found.places[:, 3].tolist() == [10, 10, 1, 1, 1, 1, 1, 1, 10, 10]
    assert visits.places[0, 3] == 1  # nothing edits its argument


def test_a_file_of_loops(tmp_path):
    """Rows of two frame numbers; comments and empty lines are skipped, anything else is named."""
    path = tmp_path / "loops.txt"
    path.write_text("# verified\n3 17\n\n0 5 # again\n")
    assert read_loops(path, 20).tolist() == [[3, 17], [0, 5]]
    for text in ("3 20\n", "3\n", "a b\n", "1 2 3\n", "-1 4\n"):
        path.write_text(text)
        with pytest.raises(DataError, match=r"loops\.txt: line 1: expected two frame numbers"):
            read_loops(path, 20)


def test_a_rendered_room_is_judged_by_its_depth(tmp_path):
    """Depth and poses of one unit are there: neighbours are one place, and loops are read."""
    write_box_sequence(tmp_path / "room", 8, (48, 64), seed=3)
    sequence = open_sequence(tmp_path / "room")
    found = find_visits(sequence, overlap=0.3, turned=40)
    assert found.rule == "depth" and len(found.same) == 8
    assert all(1 in found.same[i] for i in (0, 2)) and np.isfinite(found.places).all()
    (tmp_path / "room" / "loops.txt").write_text("0 99\n")
    with pytest.raises(DataError, match="frame numbers below 8"):
        find_visits(sequence, overlap=0.3, turned=40)


def test_poses_of_another_unit_are_not_compared_with_depth(tmp_path):
    """Depth in metres beside poses up to scale: tracks tell, not reprojection. Without poses, or
    with poses that break off, the film alone does."""
    write_box_sequence(tmp_path / "room", 6, (48, 64), seed=3)
    note = "source: odometry\nunit: up_to_scale\nsegments: [[0, 5]]\n"
    (tmp_path / "room" / "poses.yaml").write_text(note)
    rule = {"overlap": 0.3, "turned": 40}
    assert find_visits(open_sequence(tmp_path / "room"), **rule).rule == "poses"
    (tmp_path / "room" / "poses.yaml").write_text(note.replace("[[0, 5]]", "[[0, 2], [3, 5]]"))
    assert find_visits(open_sequence(tmp_path / "room"), **rule).rule == "tracks"
