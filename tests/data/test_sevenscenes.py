# SPDX-License-Identifier: Apache-2.0
"""7-Scenes: its layout, the two cameras of its sensor, other cameras in the same layout."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from source_makers import PINHOLE, H, W, listener, picture, run, run_one, save

from depthkit.camera import Camera
from depthkit.data.importers import load_source
from depthkit.data.importers.sevenscenes import T_COLOUR_DEPTH, read_registered
from depthkit.data.importers.source import ImportOptions, Source
from depthkit.data.sequence import open_sequence
from depthkit.errors import DataError
from depthkit.trajectory import inverse, make_pose, quaternion_to_matrix

FULL = (480, 640)
COLOUR = Camera(640, 480, 525.0, 525.0, 320.0, 240.0)
K_OF_DEPTH = "585 0 320\n0 585 240\n0 0 1\n"
K_OF_ANOTHER = "570.3 0 319.5\n0 570.3 239.5\n0 0 1\n"


def make_scene(folder: Path) -> Path:
    """Frames 3, 4 and 6; the pose of frame 4 was lost by the tracker."""
    for number in (3, 4, 6):
        name = f"frame-{number:06d}"
        save(folder / f"{name}.color.png", picture(number))
        depth = np.full((H, W), 1000 + number, np.uint16)
        depth[0, :2] = (0, 65535)
        save(folder / f"{name}.depth.png", depth)
        T = make_pose(quaternion_to_matrix([0.1, 0.2, 0.3, 0.9]), np.array([0.0, number, 0]))
        T = np.full((4, 4), -np.inf) if number == 4 else T
        np.savetxt(folder / f"{name}.pose.txt", T)
    return folder


def make_full(folder: Path, intrinsics: str = "") -> Path:
    """One frame of 640x480: 2 m in the depth camera's middle pixel, its pose the identity."""
    save(folder / "frame-000000.color.png", picture(0, FULL))
    depth = np.zeros(FULL, np.uint16)
    depth[240, 320] = 2000
    depth[0, 0] = 65535
    save(folder / "frame-000000.depth.png", depth)
    np.savetxt(folder / "frame-000000.pose.txt", np.eye(4))
    if intrinsics:
        (folder / "camera-intrinsics.txt").write_text(intrinsics)
    return folder


# --- layout --------------------------------------------------------------------------------------


def test_sevenscenes_reads_its_layout(tmp_path: Path) -> None:
    """Numbers are times at 30 Hz, 0 and 65535 are unknown, a lost pose stays unknown."""
    notes, watcher = listener()
    (result,) = run(make_scene(tmp_path / "seq-01"), tmp_path / "out", watcher)
    sequence = open_sequence(result.path)
    np.testing.assert_allclose(sequence.times, np.array([3, 4, 6]) / 30, atol=1e-9)
    depth = sequence.read_depth(2)
    assert depth[0, 0] == depth[0, 1] == 0 and depth[3, 3] == pytest.approx(1.006)
    assert np.isnan(sequence.poses[1]).all()
    assert sequence.poses[2, 1, 3] == pytest.approx(6.0)
    assert notes == ["seq-01: 1 of 3 frames have no usable pose"]


def test_sevenscenes_scene_holds_its_sequences(tmp_path: Path) -> None:
    """A scene folder is prepared whole, or --sequence picks one."""
    for name in ("seq-01", "seq-02"):
        make_scene(tmp_path / "office" / name)
    assert [r.name for r in run(tmp_path / "office", tmp_path / "a")] == ["seq-01", "seq-02"]
    only = run_one(tmp_path / "office", tmp_path / "b", sequence="seq-02", name="office_2")
    assert only.name == "office_2"


def test_sevenscenes_published_camera_is_for_its_own_size(tmp_path: Path) -> None:
    """The published calibration belongs to 640x480 frames and to no others."""
    with pytest.raises(DataError, match="frame is 32x24 but the calibration is for 640x480"):
        run(make_scene(tmp_path / "seq-01"), tmp_path / "out", camera=None)


# --- the two cameras -----------------------------------------------------------------------------


@pytest.mark.parametrize("intrinsics", [K_OF_DEPTH, ""])
def test_depth_and_poses_go_to_the_colour_camera(tmp_path: Path, intrinsics: str) -> None:
    """The published K beside the frames, or none: K, one depth and the pose by hand.

    Two metres along the depth camera's axis are 2 R[:, 2] + t = (-0.0413671, -0.0161998, 2.0019029)
    in the colour camera: pixel 320 - 525 * 0.0206639 = 309.15, 240 - 525 * 0.0080922 = 235.75.
    """
    notes, watcher = listener()
    folder = make_full(tmp_path / "seq-01", intrinsics)
    (result,) = run(folder, tmp_path / "out", watcher, camera=None)
    sequence = open_sequence(result.path)
    assert sequence.camera == COLOUR
    depth = sequence.read_depth(0)
    assert [part.tolist() for part in np.nonzero(depth)] == [[236], [309]]
    assert depth[236, 309] == pytest.approx(2.002, abs=1e-6)  # stored as millimetres
    place = sequence.poses[0, :3, 3]  # -R^T t
    np.testing.assert_allclose(place, [0.0255423, -0.0000493, -0.0022329], atol=1e-6)
    said = "the K beside the frames is the depth camera's (585, 320, 240)"
    stored = yaml.safe_load((result.path / "camera.yaml").read_text())["source"]
    assert len(notes) == 1 and said in notes[0]
    assert said in stored["assumed"][0] and stored["calibration"] == "published for 7-Scenes"


def test_a_moved_pose_shows_the_same_points(tmp_path: Path) -> None:
    """A point of the depth camera is in the world where the stored pose puts its colour image."""
    folder = make_full(tmp_path / "seq-01")
    T_world_depth = make_pose(quaternion_to_matrix([0.1, 0.2, 0.3, 0.9]), [1.0, 2.0, 3.0])
    np.savetxt(folder / "frame-000000.pose.txt", T_world_depth)
    sequence = run_one(folder, tmp_path / "out", camera=None)
    point = np.array([0.3, -0.2, 2.0, 1.0])
    found = sequence.poses[0] @ (T_COLOUR_DEPTH @ point)
    np.testing.assert_allclose(found, T_world_depth @ point, atol=1e-6)


def test_lost_poses_stay_lost(tmp_path: Path) -> None:
    """Moving a pose that the tracker lost gives none."""
    folder = make_full(tmp_path / "seq-01")
    (folder / "frame-000000.pose.txt").write_text("-inf " * 16)
    assert run_one(folder, tmp_path / "out", camera=None).poses is None


@pytest.mark.parametrize("size", [(240, 320), (480, 600)])
def test_depth_of_another_size_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    """K of the depth camera is for 640x480 depth."""
    folder = make_full(tmp_path / "seq-01")
    save(folder / "frame-000000.depth.png", np.full(size, 1000, np.uint16))
    with pytest.raises(DataError, match=f"depth is {size[1]}x{size[0]}, .* for 640x480; --camera"):
        run(folder, tmp_path / "out", camera=None)


# --- other cameras -------------------------------------------------------------------------------


def test_another_camera_in_this_layout_is_left_as_it_is(tmp_path: Path) -> None:
    """Its own camera-intrinsics.txt: K of the file, depth and poses as stored, nothing assumed."""
    notes, watcher = listener()
    folder = make_full(tmp_path / "seq-01", K_OF_ANOTHER)
    (result,) = run(folder, tmp_path / "out", watcher, camera=None)
    check_as_stored(result.path, Camera(640, 480, 570.3, 570.3, 319.5, 239.5))
    assert notes == []


def test_a_given_camera_takes_all_as_stored(tmp_path: Path) -> None:
    """--camera with the depth camera's own file gives what lies there, and that is said."""
    notes, watcher = listener()
    folder = make_full(tmp_path / "seq-01", K_OF_DEPTH)
    given = folder / "camera-intrinsics.txt"
    (result,) = run(folder, tmp_path / "out", watcher, camera=given)
    check_as_stored(result.path, Camera(640, 480, 585.0, 585.0, 320.0, 240.0))
    assert len(notes) == 1 and "--camera is the camera of frames, poses and depth" in notes[0]


def test_the_published_k_of_other_frames_is_their_own(tmp_path: Path) -> None:
    """585 beside small frames is not the calibration of 7-Scenes but what the file says."""
    folder = make_scene(tmp_path / "seq-01")
    (folder / "camera-intrinsics.txt").write_text("585 0 16\n0 585 12\n0 0 1\n")
    assert run_one(folder, tmp_path / "out", camera=None).camera.fx == 585


def test_sevenscenes_intrinsics_of_the_folder_come_first(tmp_path: Path) -> None:
    """camera-intrinsics.txt beside the frames overrules the published K."""
    folder = make_scene(tmp_path / "seq-01")
    (folder / "camera-intrinsics.txt").write_text("30 0 15\n0 31 12\n0 0 1\n")
    assert run_one(folder, tmp_path / "out", camera=None).camera == PINHOLE.camera


def check_as_stored(path: Path, camera: Camera) -> None:
    """Depth and pose of `make_full` as its files hold them."""
    sequence = open_sequence(path)
    assert sequence.camera == camera
    depth = sequence.read_depth(0)
    assert [part.tolist() for part in np.nonzero(depth)] == [[240], [320]]
    assert depth[240, 320] == pytest.approx(2.0)
    np.testing.assert_array_equal(sequence.poses[0], np.eye(4))


# --- real frames ---------------------------------------------------------------------------------


def test_real_sevenscenes(tmp_path: Path, data_root: Path) -> None:
    """Depth, colour and K have one size; depth is that at the pixel nearest the centre."""
    source = data_root / "sevenscenes_redkitchen"
    sequence = run_one(source, tmp_path / "out", camera=None, every=150, size=(120, 160))
    assert sequence.camera.size == (120, 160) == sequence.read_depth(1).shape
    assert sequence.camera.fx == pytest.approx(525.0 / 4)
    np.testing.assert_allclose(sequence.times, [0.0, 5.0, 10.0], atol=1e-9)
    truth = np.loadtxt(source / "frame-000150.pose.txt") @ inverse(T_COLOUR_DEPTH)
    np.testing.assert_allclose(sequence.poses[1], truth, atol=1e-4)  # its R is not quite orthogonal
    depth = read_registered(source / "frame-000150.depth.png")
    np.testing.assert_allclose(sequence.read_depth(1), depth[2::4, 2::4], atol=5.1e-4)


@pytest.fixture(scope="module")
def kitchens(data_root: Path) -> tuple[Source, Source]:
    """RedKitchen by default, and with --camera its own camera-intrinsics.txt: all as stored."""
    folder = data_root / "sevenscenes_redkitchen"
    given = ImportOptions(folder, camera=folder / "camera-intrinsics.txt")
    return load_source("sevenscenes", folder, "kitchen", ImportOptions(folder)), load_source(
        "sevenscenes", folder, "kitchen", given
    )


@pytest.mark.parametrize("first", [100, 200, 250])
def test_moved_depth_explains_real_frames(kitchens: tuple[Source, Source], first: int) -> None:
    """A frame rebuilt from the tenth after it, by depth and poses, is a fifth better when moved."""
    depths = [source.depth.read(source.depth.paths[first]) for source in kitchens]
    both = (depths[0] > 0) & (depths[1] > 0)
    moved, stored = (
        photometric_error(source, depth, first, both)
        for source, depth in zip(kitchens, depths, strict=True)
    )
    assert moved < 0.8 * stored


def photometric_error(source: Source, depth: np.ndarray, first: int, counted: np.ndarray) -> float:
    """Mean grey difference of a frame and the tenth after it seen through depth and poses."""
    a, b = (
        np.asarray(cv2.imread(str(source.frames[i].path), cv2.IMREAD_GRAYSCALE), np.float32)
        for i in (first, first + 10)
    )
    K = source.camera.camera.K
    T = inverse(source.poses[first + 10]) @ source.poses[first]
    v, u = np.mgrid[:480, :640]
    points = (np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(K).T) * depth[..., None]
    q = (points @ T[:3, :3].T + T[:3, 3]) @ K.T
    z = np.where(counted, q[..., 2], 1.0)
    x, y = ((q[..., i] / z).astype(np.float32) for i in (0, 1))
    seen = cv2.remap(b, x, y, cv2.INTER_LINEAR)
    inside = counted & (x > 0) & (y > 0) & (x < 639) & (y < 479)
    return float(np.abs(seen - a)[inside].mean())
