# SPDX-License-Identifier: Apache-2.0
"""Importers: each data set's own layout, built here exactly or read from real frames."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from source_makers import (
    PINHOLE,
    H,
    W,
    corrupt,
    listener,
    make_images,
    make_video,
    picture,
    run,
    run_one,
    save,
)

from depthkit.camera import Camera
from depthkit.data.frame_conversion import project_points
from depthkit.data.image_io import natural_key
from depthkit.data.importers import find_sequences
from depthkit.data.importers.kitti_raw import oxts_poses, read_timestamps
from depthkit.data.sequence import open_sequence
from depthkit.errors import DataError
from depthkit.trajectory import inverse, load_kitti, load_tum

# --- images --------------------------------------------------------------------------------------


def test_images_come_in_natural_order(tmp_path):
    """frame2 before frame10, which plain sorting turns round."""
    sequence = run_one(make_images(tmp_path / "in", 12), tmp_path / "out")
    for i in range(12):
        np.testing.assert_array_equal(sequence.read_frame(i), picture(i))


def test_natural_key_mixes_names_and_numbers():
    """Names that start with a digit and names that do not can be compared."""
    names = ["b2", "10", "b10", "9", "a"]
    assert sorted(names, key=natural_key) == ["9", "10", "a", "b2", "b10"]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda rgb: rgb[..., 0], lambda rgb: np.repeat(rgb[..., :1], 3, axis=2)),
        (lambda rgb: rgb.astype(np.uint16) * 257, lambda rgb: rgb),
        (lambda rgb: np.dstack([rgb, np.full(rgb.shape[:2], 9, np.uint8)]), lambda rgb: rgb),
    ],
    ids=["grey", "16 bit", "alpha"],
)
def test_any_picture_becomes_rgb_8_bit(tmp_path, make, expected):
    """Grey is tripled, 16 bit scaled, alpha dropped."""
    (tmp_path / "in").mkdir()
    for i in range(2):
        image = make(picture(i))
        bgr = image[..., [2, 1, 0, *range(3, image.shape[2])]] if image.ndim == 3 else image
        cv2.imwrite(str(tmp_path / "in" / f"{i}.png"), bgr)
    sequence = run_one(tmp_path / "in", tmp_path / "out")
    np.testing.assert_array_equal(sequence.read_frame(1), expected(picture(1)))


def test_bayer_mosaic_becomes_colour(tmp_path):
    """A red surface seen through an RGGB mosaic is red again."""
    mosaic = np.zeros((H, W), np.uint8)
    mosaic[::2, ::2] = 200
    for i in range(2):
        save(tmp_path / "in" / f"{i}.png", mosaic)
    sequence = run_one(tmp_path / "in", tmp_path / "out", bayer="rggb")
    np.testing.assert_array_equal(sequence.read_frame(0)[8, 8], [200, 0, 0])


def test_times_beside_the_images_are_kept(tmp_path):
    """times.txt gives the times; without it 30 frames/s are assumed and said."""
    source = make_images(tmp_path / "in", 3)
    notes, watcher = listener()
    (result,) = run(source, tmp_path / "a", watcher)
    np.testing.assert_allclose(open_sequence(result.path).times, [0, 1 / 30, 2 / 30], atol=1e-9)
    assert "30 frames/s assumed" in notes[0]
    (source / "times.txt").write_text("5.0\n5.5\n7.25\n")
    np.testing.assert_allclose(run_one(source, tmp_path / "b").times, [5.0, 5.5, 7.25])


@pytest.mark.parametrize(
    ("text", "words"),
    [("1\n2\n", "2 times for 3 images"), ("1\n2\n2\n", "frame 2 is not later"), ("a", "cannot")],
)
def test_bad_times_are_named(tmp_path, text, words):
    """Too few, falling and unreadable times."""
    source = make_images(tmp_path / "in", 3)
    (source / "times.txt").write_text(text)
    with pytest.raises(DataError, match=words):
        run(source, tmp_path / "out")


def test_folder_of_folders_is_several_sequences(tmp_path):
    """One shared camera.yaml in the source serves all of them."""
    for name in ("take2", "take10"):
        make_images(tmp_path / "in" / name, 2)
    (tmp_path / "in" / "camera.yaml").write_text(yaml.safe_dump(PINHOLE.to_record()))
    results = run(tmp_path / "in", tmp_path / "out", camera=None)
    assert [r.name for r in results] == ["take2", "take10"]
    assert open_sequence(results[0].path).camera == PINHOLE.camera


def test_fov_is_a_recorded_guess(tmp_path):
    """90 degrees over 32 pixels: f = 16, centre 15.5; camera.yaml says that it was guessed."""
    sequence = run_one(make_images(tmp_path / "in", 2), tmp_path / "out", camera=None, fov=90.0)
    assert sequence.camera.fx == pytest.approx(16.0)
    assert (sequence.camera.cx, sequence.camera.cy) == (15.5, 11.5)
    record = yaml.safe_load((sequence.root / "camera.yaml").read_text())
    assert record["source"]["calibration"] == "guessed from --fov 90"


def test_poses_of_a_file_are_interpolated(tmp_path):
    """Halfway between two poses of 1 m and 60 degrees lie 30 degrees of the same screw."""
    source = make_images(tmp_path / "in", 3)
    rows = "0 0 0 0 0 0 0 1\n0.1 1 0 0 0 0 0.5 0.8660254037844386\n"
    (tmp_path / "poses.txt").write_text(rows)
    sequence = run_one(source, tmp_path / "out", fps=20.0, poses=tmp_path / "poses.txt")
    middle = sequence.poses[1]
    angle = math.degrees(math.atan2(middle[1, 0], middle[0, 0]))
    assert angle == pytest.approx(30.0, abs=1e-6)
    # The centre of the screw is where the turn of 60 degrees takes (0, 0) to (1, 0).
    centre = np.array([0.5, 0.5 / math.tan(math.radians(30.0)), 0.0])
    assert np.linalg.norm(middle[:3, 3] - centre) == pytest.approx(np.linalg.norm(centre))


def test_poses_that_meet_no_frame_are_refused(tmp_path):
    """Both spans are in the message: the usual cause is another clock."""
    source = make_images(tmp_path / "in", 3)
    (tmp_path / "poses.txt").write_text("100 0 0 0 0 0 0 1\n101 0 0 0 0 0 0 1\n")
    with pytest.raises(DataError, match=r"poses span 100.000 to 101.000 s, frames 0.000"):
        run(source, tmp_path / "out", poses=tmp_path / "poses.txt")


# --- video ---------------------------------------------------------------------------------------


def test_video_frames_and_times(tmp_path):
    """Every third frame of a 10 Hz video: its own grey, its own time."""
    video = make_video(tmp_path / "clip.mp4")
    sequence = run_one(video, tmp_path / "out", camera=None, fov=60.0, every=3)
    assert sequence.name == "clip"
    np.testing.assert_allclose(sequence.times, [0.0, 0.3, 0.6, 0.9], atol=1e-6)
    greys = [sequence.read_frame(i)[40].mean() for i in range(4)]
    np.testing.assert_allclose(greys, [0, 60, 120, 180], atol=4)


def test_folder_of_videos_is_several_sequences(tmp_path):
    """MJPEG in AVI opens as well as MPEG-4."""
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in" / "a.avi", codec="MJPG")
    make_video(tmp_path / "in" / "b.mp4", 5)
    results = run(tmp_path / "in", tmp_path / "out", camera=None, fov=60.0)
    assert [(r.name, r.frames) for r in results] == [("a", 10), ("b", 5)]


def test_rotation_of_a_video_is_applied(tmp_path):
    """A phone held upright: 64x48 turned by 90 degrees, the bright top half now to the right."""
    video = make_video(tmp_path / "clip.mp4", 3)
    data = video.read_bytes()
    at = data.index(b"tkhd") + 4 + 40  # the 3x3 matrix of a version-0 track header
    quarter = np.array([0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30], ">i4").tobytes()
    video.write_bytes(data[:at] + quarter + data[at + 36 :])
    sequence = run_one(video, tmp_path / "out", camera=None, fov=60.0)
    assert sequence.camera.size == (64, 48)
    image = sequence.read_frame(1).astype(int)
    assert image[:, 36:].mean() > image[:, :12].mean() + 30


@pytest.mark.parametrize(
    "change",
    [lambda data: b"", lambda data: b"no video at all" * 40, lambda data: data[: len(data) // 2]],
    ids=["empty", "text", "truncated"],
)
def test_video_that_does_not_open_is_named(tmp_path, change):
    """An mp4 without its index does not open; the file is in the line, nothing is left."""
    video = make_video(tmp_path / "clip.mp4")
    corrupt(video, change)
    with pytest.raises(DataError, match="clip.mp4: video does not open"):
        run(video, tmp_path / "out", camera=None, fov=60.0)
    assert not (tmp_path / "out").exists()


def test_truncated_video_is_reported(tmp_path):
    """A Matroska file cut in half gives what it has, and says that frames are missing."""
    video = make_video(tmp_path / "clip.mkv", codec="MJPG")
    corrupt(video)
    notes, watcher = listener()
    (result,) = run(video, tmp_path / "out", watcher, camera=None, fov=60.0)
    assert 0 < result.frames < 10
    assert any("the file is cut short" in note for note in notes)


def test_video_needs_a_calibration_of_its_size(tmp_path):
    """The small camera does not fit 64x48."""
    video = make_video(tmp_path / "clip.mp4", 3)
    with pytest.raises(DataError, match="frame is 64x48 but the calibration is for 32x24"):
        run(video, tmp_path / "out")


# --- KITTI odometry ------------------------------------------------------------------------------

P0 = "20 0 15 0 0 20 12 0 0 0 1 0"
P2 = "20 0 15 1.2 0 20 12 -0.4 0 0 1 0"


def make_kitti(root: Path, cameras: tuple[int, ...] = (0,)) -> Path:
    """Sequence 05 of four frames that move 1 m a frame along z."""
    folder = root / "sequences" / "05"
    for camera in cameras:
        for i in range(4):
            save(folder / f"image_{camera}" / f"{i:06d}.png", picture(10 * camera + i))
    (folder / "calib.txt").write_text(f"P0: {P0}\nP1: {P0}\nP2: {P2}\nP3: {P2}\n")
    (folder / "times.txt").write_text("0.0\n1.0e-01\n2.1e-01\n3.0e-01\n")
    (root / "poses").mkdir()
    rows = [f"1 0 0 0 0 1 0 0 0 0 1 {i}" for i in range(4)]
    (root / "poses" / "05.txt").write_text("\n".join(rows))
    return root


def test_kitti_odometry_reads_its_layout(tmp_path):
    """Times, poses and P0; no --camera is needed."""
    sequence = run_one(make_kitti(tmp_path / "in"), tmp_path / "out", camera=None)
    assert (sequence.name, sequence.camera) == ("05", Camera(W, H, 20.0, 20.0, 15.0, 12.0))
    np.testing.assert_allclose(sequence.times, [0.0, 0.1, 0.21, 0.3])
    np.testing.assert_allclose(sequence.poses[:, 2, 3], [0, 1, 2, 3], atol=1e-9)


def test_kitti_colour_camera_stands_beside_camera_0(tmp_path):
    """P2[0, 3] = 1.2 = fx * 0.06: camera 2 stands 6 cm left and 2 cm below (y = +0.02)."""
    sequence = run_one(make_kitti(tmp_path / "in", (0, 2)), tmp_path / "out", camera=None)
    np.testing.assert_array_equal(sequence.read_frame(1), picture(21))
    np.testing.assert_allclose(sequence.poses[3, :3, 3], [-0.06, 0.02, 3.0], atol=1e-9)


def test_kitti_frame_numbers_index_times_and_poses(tmp_path):
    """A frame that is missing from the folder shifts nothing."""
    root = make_kitti(tmp_path / "in")
    (root / "sequences" / "05" / "image_0" / "000001.png").unlink()
    sequence = run_one(root, tmp_path / "out", camera=None)
    np.testing.assert_allclose(sequence.times, [0.0, 0.21, 0.3])
    np.testing.assert_allclose(sequence.poses[:, 2, 3], [0, 2, 3], atol=1e-9)


def test_kitti_without_poses_says_so(tmp_path):
    """Test sequences 11-21 have none: a note, not an error."""
    root = make_kitti(tmp_path / "in")
    (root / "poses" / "05.txt").unlink()
    notes, watcher = listener()
    (result,) = run(root, tmp_path / "out", watcher, camera=None)
    assert result.poses == 0 and open_sequence(result.path).poses is None
    assert notes == ["05: no poses/05.txt: frames are stored without poses"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("calib.txt", None, "calib.txt: calibration missing"),
        ("calib.txt", f"P1: {P0}\n", "no line 'P0'"),
        ("calib.txt", "P0: 1 x 3\n", "text that is no number"),
        ("times.txt", "0\n1\n", "2 times, but frame 3 exists"),
    ],
)
def test_broken_kitti_is_named(tmp_path, name, text, words):
    """Missing or damaged tables are one line that names the file."""
    root = make_kitti(tmp_path / "in")
    path = root / "sequences" / "05" / name
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(DataError, match=words):
        run(root, tmp_path / "out", camera=None)


def test_real_kitti_odometry(tmp_path, data_root):
    """00 and 02 with their own calibrations; poses equal the official file."""
    results = run(data_root / "kitti_odometry", tmp_path / "out", camera=None, every=100)
    assert [(r.name, r.frames, r.poses) for r in results] == [("00", 3, 3), ("02", 3, 3)]
    official = load_kitti(data_root / "kitti_odometry" / "poses" / "00.txt").T_world_cam
    sequence = open_sequence(results[0].path)
    np.testing.assert_allclose(sequence.poses[1], official[100], atol=1e-6)
    assert sequence.camera == Camera(1241, 376, 718.856, 718.856, 607.1928, 185.2157)


# --- KITTI raw -----------------------------------------------------------------------------------

CALIB_CAM = f"""\
calib_time: 09-Jan-2012 13:57:47
corner_dist: 9.950000e-02
S_rect_00: {W} {H}
R_rect_00: 1 0 0 0 1 0 0 0 1
P_rect_00: 20 0 15 0 0 20 12 0 0 0 1 0
S_rect_02: {W} {H}
R_rect_02: 1 0 0 0 1 0 0 0 1
P_rect_02: 20 0 15 1.2 0 20 12 0 0 0 1 0
"""
# Velodyne x forward, y left, z up to camera z forward, x right, y down; 0.3 m behind camera 0.
CALIB_VELO = "calib_time: 1\nR: 0 -1 0 0 0 -1 1 0 0\nT: 0 0 -0.3\n"
CALIB_IMU = "calib_time: 1\nR: 1 0 0 0 1 0 0 0 1\nT: -0.8 0 0\n"
DRIVE = "2011_09_26_drive_0042_sync"


def stamp_lines(count: int, offset: float = 0.0) -> str:
    """One line a 0.1 s, nanoseconds as KITTI writes them."""
    seconds = [25 + 0.1 * i + offset for i in range(count)]
    return "".join(f"2011-09-26 13:02:{s:012.9f}\n" for s in seconds)


def make_drive(root: Path, oxts: bool = True, velodyne: bool = True) -> Path:
    """A drive of four frames, 1 m a frame to the east, seen by camera 2."""
    date, drive = root / "2011_09_26", root / "2011_09_26" / DRIVE
    for i in range(4):
        save(drive / "image_02" / "data" / f"{i:010d}.png", picture(i))
    (drive / "image_02" / "timestamps.txt").write_text(stamp_lines(4, 0.05))
    (date / "calib_cam_to_cam.txt").write_text(CALIB_CAM)
    (date / "calib_velo_to_cam.txt").write_text(CALIB_VELO)
    (date / "calib_imu_to_velo.txt").write_text(CALIB_IMU)
    if oxts:
        write_oxts(drive / "oxts")
    if velodyne:
        write_scans(drive / "velodyne_points" / "data")
    return root


def write_oxts(folder: Path) -> None:
    (folder / "data").mkdir(parents=True)
    (folder / "timestamps.txt").write_text(stamp_lines(5))
    metres_per_degree = 6378137.0 * math.cos(math.radians(49.0)) * math.pi / 180
    for i in range(5):
        fields = [49.0, 8.4 + i / metres_per_degree, 112.0, 0.0, 0.0, 0.0, *[0.0] * 24]
        fields[11:14], fields[17:20] = [0.1, 0.2, 9.8], [0.0, 0.0, 0.01 * i]  # a, w of the IMU
        text = " ".join(f"{v:.12f}" for v in fields)
        (folder / "data" / f"{i:010d}.txt").write_text(text + "\n")


def write_scans(folder: Path) -> None:
    """Two points on one ray, one to the left, one behind; frame 2 has no scan."""
    folder.mkdir(parents=True)
    points = [[10.3, 0, 0, 0.5], [5.3, 0, 0, 0.5], [10.3, 2.5, 0, 0.1], [-6, 0, 0, 0]]
    for i in (0, 1, 3):
        np.array(points, "<f4").tofile(folder / f"{i:010d}.bin")


def test_kitti_raw_oxts_become_camera_poses(tmp_path):
    """East at yaw 0 is the IMU's x, the camera's z; frames lie halfway between two packets."""
    notes, watcher = listener()
    (result,) = run(make_drive(tmp_path / "in"), tmp_path / "out", watcher, camera=None)
    poses = open_sequence(result.path).poses
    expected = np.tile(np.eye(4), (4, 1, 1))
    expected[:, 2, 3] = [0.5, 1.5, 2.5, 3.5]
    np.testing.assert_allclose(poses, expected, atol=1e-5)
    assert result.poses == 4
    assert notes == [
        f"{DRIVE}: 1 of 4 frames have no velodyne scan",
        f"{DRIVE}: IMU: 5 samples at 10 Hz",
    ]


def test_kitti_raw_oxts_become_imu_samples(tmp_path):
    """Fields 12 to 14 and 18 to 20 of a packet, and IMU -> velodyne -> camera."""
    sequence = run_one(make_drive(tmp_path / "in"), tmp_path / "out", camera=None)
    expected = [[0, 0, 0.01 * i, 0.1, 0.2, 9.8] for i in range(5)]
    np.testing.assert_allclose(sequence.imu.rows[:, 1:], expected, atol=1e-12)
    # x forward, y left, z up become the camera's z, -x and -y.
    turned = sequence.imu.T_cam_imu[:3, :3] @ [1.0, 2.0, 3.0]
    np.testing.assert_allclose(turned, [-2, -3, 1], atol=1e-9)
    assert open_sequence(sequence.root).imu.rate == pytest.approx(10.0)


def test_oxts_rotation_is_yaw_pitch_roll():
    """Rz(90): the IMU's x points north. Roll and pitch apply before it."""
    rows = np.array([[49.0, 8.4, 1.0, 0.1, -0.2, math.pi / 2], [49.0, 8.4, 1.0, 0, 0, math.pi / 2]])
    poses = oxts_poses(rows)
    np.testing.assert_allclose(poses[1, :3, 0], [0, 1, 0], atol=1e-12)
    c, s = math.cos, math.sin
    Ry = np.array([[c(-0.2), 0, s(-0.2)], [0, 1, 0], [-s(-0.2), 0, c(-0.2)]])
    Rx = np.array([[1, 0, 0], [0, c(0.1), -s(0.1)], [0, s(0.1), c(0.1)]])
    np.testing.assert_allclose(poses[0, :3, :3], poses[1, :3, :3] @ Ry @ Rx, atol=1e-12)


def test_oxts_position_is_mercator():
    """One degree north at 49 degrees is scaled as the devkit does: about 110.6 km here."""
    rows = np.zeros((2, 6))
    rows[:, 0] = [49.0, 50.0]
    north = np.diff(oxts_poses(rows)[:, 1, 3])[0]
    scale = math.cos(math.radians(49.0)) * 6378137.0
    expected = scale * (
        math.asinh(math.tan(math.radians(50))) - math.asinh(math.tan(math.radians(49)))
    )
    assert north == pytest.approx(expected, rel=1e-9)


def test_kitti_raw_lidar_becomes_depth(tmp_path):
    """Hand-derived pixels: x_cam = -y + 0.06, z_cam = x - 0.3; of two on a ray the nearest wins."""
    sequence = run_one(make_drive(tmp_path / "in"), tmp_path / "out", camera=None)
    depth = sequence.read_depth(0)
    # 5 m ahead, offset 0.06 m: u = 15 + 20 * 0.06 / 5 = 15.24; left: u = 15 + 20 * -2.44 / 10.
    expected = np.zeros((H, W), np.float32)
    expected[12, 15] = 5.0
    expected[12, 10] = 10.0
    np.testing.assert_allclose(depth, expected, atol=1 / 256)
    assert (sequence.read_depth(2) == 0).all()
    assert sequence.depth_kind == "metric" and sequence.depth_scale == 256.0


def test_lidar_is_projected_at_the_stored_size(tmp_path):
    """At half the size the same point lies at (15.24 + 0.5) / 2 - 0.5 = 7.37."""
    root = make_drive(tmp_path / "in")
    depth = run_one(root, tmp_path / "out", camera=None, size=(H // 2, W // 2)).read_depth(0)
    assert depth.shape == (H // 2, W // 2)
    assert depth[6, 7] == pytest.approx(5.0, abs=1 / 256)


def test_point_falls_on_the_nearest_pixel_centre():
    """u = 15 + 30 * 0.12 / 5 = 15.72 is pixel 16, v = 12 - 31 * 0.1 / 5 = 11.38 is pixel 11."""
    depth = project_points(np.array([[0.12, -0.1, 5.0]]), PINHOLE.camera)
    assert np.argwhere(depth).tolist() == [[11, 16]]


def test_points_outside_the_view_are_left_out():
    """Behind, at the camera plane and beside the picture."""
    points = np.array([[0, 0, -5.0], [0, 0, 0.0], [90, 0, 5], [0, -90, 5], [0, 0, 5]])
    depth = project_points(points, PINHOLE.camera)
    assert np.argwhere(depth).tolist() == [[12, 15]]


def test_drive_without_oxts_and_lidar_says_so(tmp_path):
    """Both parts are optional; their lack is two notes."""
    notes, watcher = listener()
    root = make_drive(tmp_path / "in", oxts=False, velodyne=False)
    (result,) = run(root, tmp_path / "out", watcher, camera=None)
    assert (result.poses, result.depth) == (0, 0)
    assert [note.split(": ")[1] for note in notes] == ["no oxts", "no velodyne_points"]
    assert not open_sequence(result.path).has_depth


@pytest.mark.parametrize("place", ["", "2011_09_26", f"2011_09_26/{DRIVE}"])
def test_kitti_raw_is_found_from_root_date_or_drive(tmp_path, place):
    """All three folders a user may name lead to the drive."""
    root = make_drive(tmp_path / "in")
    assert find_sequences(root / place) == ("kitti-raw", {DRIVE: root / "2011_09_26" / DRIVE})


def test_drive_without_calibration_is_refused(tmp_path):
    """The file that KITTI offers as a separate download is named."""
    root = make_drive(tmp_path / "in")
    (root / "2011_09_26" / "calib_cam_to_cam.txt").unlink()
    with pytest.raises(DataError, match="calibration missing: calib_cam_to_cam.txt"):
        run(root, tmp_path / "out", camera=None)


def test_timestamps_keep_nanoseconds(tmp_path):
    """Differences are those of the text, to a microsecond of float64."""
    (tmp_path / "t.txt").write_text(
        "2011-09-26 13:02:25.961661696\n2011-09-26 13:02:26.064785152\n"
    )
    stamps = read_timestamps(tmp_path / "t.txt")
    assert stamps[1] - stamps[0] == pytest.approx(0.103123456, abs=1e-6)
    assert stamps[0] == pytest.approx(1317042145.961661696, abs=1e-6)


def test_real_kitti_raw(tmp_path, data_root):
    """Drive 0001: rectified K of camera 2, no poses and no lidar here."""
    sequence = run_one(data_root / "kitti_raw", tmp_path / "out", camera=None, every=40)
    assert len(sequence) == 3 and sequence.poses is None and not sequence.has_depth
    assert sequence.camera == Camera(1242, 375, 721.5377, 721.5377, 609.5593, 172.854)


# --- TUM -----------------------------------------------------------------------------------------


def make_tum(folder: Path) -> Path:
    """Three frames at 0.1 s, poses at 0.05 s from the second on, depth for two of the frames."""
    lines, depth_lines = ["# color images"], ["# depth maps"]
    for i in range(3):
        save(folder / "rgb" / f"{100 + 0.1 * i:.6f}.png", picture(i))
        lines.append(f"{100 + 0.1 * i:.6f} rgb/{100 + 0.1 * i:.6f}.png")
    for i in (1, 2):
        stamp = 100.01 + 0.1 * i
        save(folder / "depth" / f"{stamp:.6f}.png", np.full((H, W), 5000 * i + 1, np.uint16))
        depth_lines.append(f"{stamp:.6f} depth/{stamp:.6f}.png")
    poses = [f"{100.08 + 0.04 * i:.4f} {i} 0 0 0 0 0 1" for i in range(4)]
    (folder / "rgb.txt").write_text("\n".join(lines))
    (folder / "depth.txt").write_text("\n".join(depth_lines))
    (folder / "groundtruth.txt").write_text("# timestamp tx ty tz qx qy qz qw\n" + "\n".join(poses))
    return folder


def test_tum_associates_depth_and_poses(tmp_path):
    """Depth 10 ms away belongs to its frame; 100.1 lies halfway between two poses."""
    (result,) = run(make_tum(tmp_path / "desk"), tmp_path / "out")
    sequence = open_sequence(result.path)
    assert (result.depth, result.poses) == (2, 2)
    assert (sequence.read_depth(0) == 0).all()
    np.testing.assert_allclose(sequence.read_depth(2), 2.0002, atol=1e-6)
    assert np.isnan(sequence.poses[0]).all()
    np.testing.assert_allclose(sequence.poses[1:, 0, 3], [0.5, 3.0], atol=1e-6)


def test_poses_further_apart_than_the_gap_are_not_bridged(tmp_path):
    """At --max-gap 0.03 the 0.04 s between two poses are too long."""
    (result,) = run(make_tum(tmp_path / "desk"), tmp_path / "out", max_gap=0.03)
    poses = open_sequence(result.path).poses
    assert result.poses == 1 and np.isnan(poses[1]).all()


def test_tum_calibration_is_not_guessed(tmp_path):
    """Only an official name or a file gives a camera."""
    with pytest.raises(DataError, match="calibration missing"):
        run(make_tum(tmp_path / "desk"), tmp_path / "out", camera=None)
    (tmp_path / "desk" / "K.txt").write_text("30 0 15\n0 31 12\n0 0 1\n")
    assert run_one(tmp_path / "desk", tmp_path / "out", camera=None).camera == PINHOLE.camera


def test_K_of_another_size_is_refused(tmp_path):
    """A principal point outside the frames gives the mistake away."""
    folder = make_tum(tmp_path / "desk")
    (folder / "K.txt").write_text("525 0 319.5\n0 525 239.5\n0 0 1\n")
    with pytest.raises(DataError, match="outside the 32x24 image; is the calibration for another"):
        run(folder, tmp_path / "out", camera=None)


def test_tum_official_name_brings_its_calibration(tmp_path):
    """freiburg3 is published as 640x480 without distortion."""
    folder = tmp_path / "rgbd_dataset_freiburg3_desk"
    for i in range(2):
        save(folder / "rgb" / f"{i}.5.png", picture(i, (480, 640)))
    camera = run_one(folder, tmp_path / "out", camera=None).camera
    assert camera == Camera(640, 480, 535.4, 539.2, 320.1, 247.6)


def test_broken_tum_list_is_named(tmp_path):
    """A line that is no association."""
    folder = make_tum(tmp_path / "desk")
    (folder / "rgb.txt").write_text("100.0\n")
    with pytest.raises(DataError, match="rgb.txt: expected 'timestamp file', got '100.0'"):
        run(folder, tmp_path / "out")


def test_real_tum(tmp_path, data_root):
    """Frame 0 lies 67 ms before the first pose; the next ones equal the truth near them."""
    (result,) = run(data_root / "tum_fr3_office", tmp_path / "out", camera=None, stop=3)
    sequence = open_sequence(result.path)
    assert (result.frames, result.poses) == (3, 2)
    assert np.isnan(sequence.poses[0]).all()
    truth = load_tum(data_root / "tum_fr3_office" / "groundtruth.txt", repeats="first")
    nearest = truth.T_world_cam[np.abs(truth.stamps - sequence.times[1]).argmin()]
    assert np.linalg.norm((inverse(nearest) @ sequence.poses[1])[:3, 3]) < 0.005
    assert sequence.camera == Camera(640, 480, 535.4, 539.2, 320.1, 247.6)


# --- broken depth ---------------------------------------------------------------------------------


def test_unreadable_depth_skips_its_frame(tmp_path):
    """A frame whose truth is broken is skipped and counted like one that is broken itself."""
    folder = tmp_path / "seq-01"
    for i in range(20):
        save(folder / f"frame-{i:06d}.color.png", picture(i))
        save(folder / f"frame-{i:06d}.depth.png", np.full((H, W), 1000, np.uint16))
    corrupt(folder / "frame-000005.depth.png")
    (result,) = run(folder, tmp_path / "out")
    assert (result.frames, result.depth) == (19, 19)
    assert "frame-000005.depth.png" in result.unreadable[0]
    assert len(list((result.path / "depth").iterdir())) == 19


# --- detection -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("kitti_odometry", "kitti-odometry"),
        ("kitti_odometry/sequences/00", "kitti-odometry"),
        ("kitti_raw", "kitti-raw"),
        ("tum_fr3_office", "tum"),
        ("sevenscenes_redkitchen", "sevenscenes"),
        ("rgbd_open3d_5/color", "images"),
        ("uav_brighton_beach", "images"),
    ],
)
def test_real_layouts_are_told_apart(data_root, folder, expected):
    """--format auto sees what a person sees."""
    assert find_sequences(data_root / folder)[0] == expected


def test_a_file_of_another_kind_is_no_folder(tmp_path: Path) -> None:
    """What is named is a file, and this is said of it."""
    file = tmp_path / "README.md"
    file.write_text("words", encoding="utf-8")
    with pytest.raises(DataError, match=r"README.md: is a text file; expected video$"):
        find_sequences(file, "video")
