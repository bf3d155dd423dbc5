# SPDX-License-Identifier: Apache-2.0
"""Folders of colour and depth as other programs export them, and depth that must be no frame."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from depthkit.data.importers.folder_parts import (
    kind_of_name,
    pair_by_key,
    pair_key,
    split_colour,
)
from depthkit.data.importers.rgbd_camera import depth_map, move_depth, read_intrinsics
from depthkit.data.sequence import open_sequence
from depthkit.errors import DataError
from depthkit.rigid import exp_se3, matrix_to_quaternion
from tests.data.source_makers import (
    PINHOLE,
    H,
    W,
    listener,
    make_images,
    picture,
    run,
    run_one,
    save,
)

POSES = np.stack([exp_se3([i, 2 * i, 0, 0, 0, 0.1 * i]) for i in range(6)])
K44 = "30 0 15 0\n0 31 12 0\n0 0 1 0\n0 0 0 1\n"


def depth_picture(i: int, size: tuple[int, int] = (H, W)) -> np.ndarray:
    """Millimetres: many values, no multiples of 5 alone."""
    ramp = np.arange(size[0] * size[1]).reshape(size)
    return (1000 + 100 * i + ramp).astype(np.uint16)


def text_of(T: np.ndarray) -> str:
    return "\n".join(" ".join(map(str, row)) for row in T.tolist())


def make_scannet(root: Path, count: int = 4, colour: str = "color", depth: str = "depth") -> Path:
    for i in range(count):
        save(root / colour / f"{i}.png", picture(i))
        save(root / depth / f"{i}.png", depth_picture(i))
        (root / "pose").mkdir(parents=True, exist_ok=True)
        (root / "pose" / f"{i}.txt").write_text(text_of(POSES[i]))
    (root / "intrinsic").mkdir()
    (root / "intrinsic" / "intrinsic_color.txt").write_text(K44)
    (root / "intrinsic" / "intrinsic_depth.txt").write_text(K44)
    return root


def test_scannet_export_is_one_sequence(tmp_path):
    """Colour, K, poses and depth by number; an infinite pose is unknown."""
    root = make_scannet(tmp_path / "scene0000_00")
    (root / "pose" / "2.txt").write_text("\n".join(["-inf -inf -inf -inf"] * 4))
    notes, watcher = listener()
    (result,) = run(root, tmp_path / "out", watcher, camera=None)
    sequence = open_sequence(result.path)
    assert (result.name, result.frames, result.poses, result.depth) == ("scene0000_00", 4, 3, 4)
    assert sequence.camera == PINHOLE.camera
    np.testing.assert_allclose(sequence.poses[[0, 1, 3]], POSES[[0, 1, 3]], atol=1e-6)
    np.testing.assert_allclose(sequence.read_depth(1)[0, :3], [1.1, 1.101, 1.102], atol=1e-6)
    assert any("depth taken as millimetres" in n and "--depth-scale" in n for n in notes)
    assert any("1 of 4 frames have no usable pose" in n for n in notes)


@pytest.mark.parametrize(
    ("colour", "depth"),
    [("rgb", "depth"), ("image", "depth"), ("images", "depths"), ("color", "depth_aligned"),
     ("left", "aligned_depth"), ("RGB", "Depth"), ("cam", "depth")],
)  # fmt: skip
def test_folders_of_other_names(tmp_path, colour, depth):
    """The words count, in any case; depth is never a sequence of its own."""
    root = make_scannet(tmp_path / "scene", colour=colour, depth=depth)
    (result,) = run(root, tmp_path / "out", camera=None)
    assert (result.name, result.frames, result.poses, result.depth) == ("scene", 4, 4, 4)


def test_scenes_two_levels_down_with_odd_names(tmp_path):
    """scans/mein Büro/scene: each is a sequence of its own name."""
    make_scannet(tmp_path / "scans" / "mein Büro" / "erste Szene")
    make_scannet(tmp_path / "scans" / "b" / "zweite")
    results = run(tmp_path / "scans", tmp_path / "out", camera=None)
    assert sorted(result.name for result in results) == ["erste Szene", "zweite"]


def test_missing_depth_and_poses_stay_with_their_frames(tmp_path):
    """What is lost of frame 1 shifts nothing of frame 2."""
    root = make_scannet(tmp_path / "scene")
    (root / "depth" / "1.png").unlink()
    (root / "pose" / "1.txt").unlink()
    notes, watcher = listener()
    (result,) = run(root, tmp_path / "out", watcher, camera=None)
    sequence = open_sequence(result.path)
    assert (result.depth, result.poses) == (3, 3)
    assert (sequence.read_depth(1) == 0).all() and np.isnan(sequence.poses[1]).all()
    np.testing.assert_allclose(sequence.read_depth(2)[0, 0], 1.2, atol=1e-6)
    assert any("1 of 4 frames have no depth" in note for note in notes)


def test_one_broken_frame_in_the_middle(tmp_path):
    """It is left out with a word; depth and poses of the others stay theirs."""
    root = make_scannet(tmp_path / "scene", count=6)
    for i in range(6, 30):
        shutil.copy(root / "color" / "5.png", root / "color" / f"{i}.png")
        shutil.copy(root / "depth" / "5.png", root / "depth" / f"{i}.png")
    (root / "color" / "2.png").write_bytes(b"broken")
    (result,) = run(root, tmp_path / "out", camera=None)
    sequence = open_sequence(result.path)
    assert result.frames == 29 and len(result.unreadable) == 1
    np.testing.assert_allclose(sequence.read_depth(2)[0, 0], 1.3, atol=1e-6)
    np.testing.assert_allclose(sequence.poses[2], POSES[3], atol=1e-6)


def test_depth_scale_of_the_user(tmp_path):
    """--depth-scale 5000 reads 1100 as 0.22 m, and nothing is assumed."""
    root = make_scannet(tmp_path / "scene")
    (result,) = run(root, tmp_path / "out", camera=None, depth_scale=5000)
    np.testing.assert_allclose(open_sequence(result.path).read_depth(1)[0, 0], 0.22, atol=1e-6)
    assert not any("depth" in text for text in result.assumed)


@pytest.mark.parametrize(
    ("colour", "depth"),
    [
        ("rgb_{:05d}.png", "depth_{:05d}.png"),
        ("rgb_{:05d}.jpg", "sync_depth_{:05d}.png"),
        ("{:04d}.jpg", "{:04d}_depth.png"),
        ("{:04d}_rgb.png", "{:04d}_depth.png"),
        ("{:04d}-color.png", "{:04d}-depth.pgm"),
        ("{:04d}.jpg", "{:04d}.png"),
    ],
)
def test_colour_and_depth_in_one_folder(tmp_path, colour, depth):
    """Pairs by name, and by 16 bit where names are the same."""
    for i in range(3):
        save(tmp_path / "room" / colour.format(i), picture(i))
        save(tmp_path / "room" / depth.format(i), depth_picture(i))
    (result,) = run(tmp_path / "room", tmp_path / "out")
    sequence = open_sequence(result.path)
    assert (result.frames, result.depth) == (3, 3)
    np.testing.assert_allclose(sequence.read_depth(2)[0, 0], 1.2, atol=1e-6)


def test_replica_layout(tmp_path):
    """results/frame, results/depth, traj.txt of 16 numbers a row, scale of cam_params.json."""
    root = tmp_path / "Replica" / "office0"
    for i in range(3):
        save(root / "results" / f"frame{i:06d}.jpg", picture(i))
        save(root / "results" / f"depth{i:06d}.png", np.full((H, W), 6000, np.uint16))
    (root / "traj.txt").write_text("\n".join(" ".join(map(str, T.ravel())) for T in POSES[:3]))
    camera = {"w": W, "h": H, "fx": 30, "fy": 31, "cx": 15, "cy": 12, "scale": 6000}
    (root.parent / "cam_params.json").write_text(json.dumps({"camera": camera}))
    sequence = run_one(tmp_path / "Replica" / "office0", tmp_path / "out", camera=None)
    np.testing.assert_allclose(sequence.poses, POSES[:3], atol=1e-6)
    np.testing.assert_allclose(sequence.read_depth(0), 1.0, atol=1e-6)
    assert sequence.camera == PINHOLE.camera
    (root.parent / "cam_params.json").unlink()
    (result,) = run(root, tmp_path / "again")
    assert any("6553.5 a metre (the layout is Replica's)" in text for text in result.assumed)


def test_nyu_raw_depth_is_no_frame(tmp_path):
    """r-TIME.ppm are the frames with their times; d-TIME.pgm is not registered and left out."""
    for i in range(3):
        stamp = f"{1294851097.54 + 0.1 * i:.6f}"
        save(tmp_path / "nyu" / f"r-{stamp}-{2618663810 + i}.ppm", picture(i))
        save(tmp_path / "nyu" / f"d-{stamp}-{2618663910 + i}.pgm", depth_picture(i))
    notes, watcher = listener()
    (result,) = run(tmp_path / "nyu", tmp_path / "out", watcher)
    assert (result.frames, result.depth) == (3, 0)
    np.testing.assert_allclose(np.diff(open_sequence(result.path).times), 0.1, atol=1e-5)
    assert any("raw depth is not registered" in note for note in notes)


def test_poses_that_cannot_be_paired_are_said(tmp_path):
    """Two rows for four frames are not put to the first two."""
    root = make_scannet(tmp_path / "scene")
    shutil.rmtree(root / "pose")
    (root / "traj.txt").write_text("\n".join(" ".join(map(str, T.ravel())) for T in POSES[:2]))
    notes, watcher = listener()
    (result,) = run(root, tmp_path / "out", watcher, camera=None)
    assert result.poses == 0
    assert any("poses are not used" in n and "2 poses for 4 frames" in n for n in notes)


def test_tum_poses_meet_frames_by_time(tmp_path):
    """rgb/ named in nanoseconds with groundtruth.txt in seconds."""
    root, q = tmp_path / "walk", matrix_to_quaternion(POSES[:, :3, :3])
    rows = []
    for i in range(3):
        save(root / "rgb" / f"{1403636579_000000000 + 50_000_000 * i}.png", picture(i))
        save(root / "depth" / f"{1403636579_010000000 + 50_000_000 * i}.png", depth_picture(i))
        row = " ".join(f"{v:.12f}" for v in (*POSES[i, :3, 3], *q[i]))
        rows.append(f"{1403636579 + 0.05 * i:.3f} {row}")
    (root / "groundtruth.txt").write_text("\n".join(rows))
    (result,) = run(root, tmp_path / "out")
    sequence = open_sequence(result.path)
    assert (result.poses, result.depth) == (3, 3)
    np.testing.assert_allclose(sequence.poses[2], POSES[2], atol=1e-3)
    np.testing.assert_allclose(sequence.read_depth(2)[0, 0], 1.2, atol=1e-6)


def test_depth_of_another_size_is_moved(tmp_path):
    """Depth of half the size: a pixel takes the value of the nearest depth pixel."""
    root = make_scannet(tmp_path / "scene")
    shutil.rmtree(root / "depth")
    for i in range(4):
        save(root / "depth" / f"{i}.png", depth_picture(i, (H // 2, W // 2)))
    (root / "intrinsic" / "intrinsic_depth.txt").unlink()
    (result,) = run(root, tmp_path / "out", camera=None)
    depth = open_sequence(result.path).read_depth(0)
    assert depth.shape == (H, W)
    np.testing.assert_allclose(depth[2:4, 2:4], (1000 + W // 2 + 1) / 1000, atol=1e-6)
    assert any("depth of 16x12 moved" in text for text in result.assumed)


def test_depth_of_another_shape_is_left_out(tmp_path):
    """A square depth picture under a wide frame is registered to nothing."""
    root = make_scannet(tmp_path / "scene")
    (root / "intrinsic" / "intrinsic_depth.txt").unlink()
    for i in range(4):
        save(root / "depth" / f"{i}.png", depth_picture(i, (W, W)))
    notes, watcher = listener()
    (result,) = run(root, tmp_path / "out", watcher, camera=None)
    assert result.depth == 0
    assert any("depth left out: depth is 32x32, frames 32x24" in note for note in notes)


def test_depth_map_follows_both_cameras():
    """Depth of twice the focal length about the same centre: u_d - c = 2 (u - c)."""
    K = np.array([[60.0, 0, 15], [0, 62, 12], [0, 0, 1]])
    maps = depth_map((H, W), PINHOLE.camera, K)
    assert maps is not None
    np.testing.assert_allclose([maps[0][12, 20], maps[1][14, 15]], [25, 16], atol=1e-5)
    moved = move_depth(np.arange(H * W, dtype=np.float32).reshape(H, W), maps)
    assert moved[12, 20] == 12 * W + 25 and moved[0, 0] == 0


@pytest.mark.parametrize(
    ("dtype", "words"), [(np.uint8, "hold 8 bit, pictures for the eye"), (np.float32, "")]
)
def test_depth_of_other_kinds(tmp_path, dtype, words):
    """8-bit depth is left out with a word; floating-point metres are read."""
    root = make_scannet(tmp_path / "scene")
    shutil.rmtree(root / "depth")
    suffix = "png" if dtype is np.uint8 else "tiff"
    for i in range(4):
        save(root / "depth" / f"{i}.{suffix}", np.full((H, W), 2.5, np.float64).astype(dtype))
    notes, watcher = listener()
    (result,) = run(root, tmp_path / "out", watcher, camera=None)
    assert result.depth == (0 if words else 4)
    assert any((words or "floating-point depth taken as metres: median 2.5 m") in n for n in notes)


def test_depth_arrays(tmp_path):
    """.npy in metres; negative and NaN are unknown."""
    root = make_scannet(tmp_path / "scene")
    shutil.rmtree(root / "depth")
    (root / "depth").mkdir()
    for i in range(4):
        depth = np.full((H, W), 1.5, np.float32)
        depth[0, :2] = np.nan, -1
        np.save(root / "depth" / f"{i}.npy", depth)
    sequence = run_one(root, tmp_path / "out", camera=None)
    np.testing.assert_allclose(sequence.read_depth(3)[0, :3], [0, 0, 1.5], atol=1e-3)


# --- plain folders -------------------------------------------------------------------------------


def test_depth_and_masks_beside_frames_are_no_sequences(tmp_path):
    """Several cameras with depth and masks beside: only colour is prepared, the rest is named."""
    for name in ("take1", "take2"):
        save(tmp_path / "in" / name / "0.png", picture(0))
        save(tmp_path / "in" / name / "1.png", picture(1))
    for name in ("depth", "masks", "semantic_label"):
        save(tmp_path / "in" / name / "0.png", depth_picture(0))
    notes, watcher = listener()
    results = run(tmp_path / "in", tmp_path / "out", watcher)
    assert [result.name for result in results] == ["take1", "take2"]
    assert any("depth, masks, semantic_label beside take1" in note for note in notes)


def test_masks_among_frames_are_left_out(tmp_path):
    """0001.png and 0001_mask.png: half of the pictures are frames."""
    for i in range(3):
        save(tmp_path / "in" / f"{i:04d}.png", picture(i))
        save(tmp_path / "in" / f"{i:04d}_mask.png", np.full((H, W), 255, np.uint8))
    notes, watcher = listener()
    (result,) = run(tmp_path / "in", tmp_path / "out", watcher)
    assert result.frames == 3
    assert any("3 masks, labels or other maps" in note for note in notes)


def test_depth_alone_is_refused(tmp_path):
    """A folder of 16-bit pictures named depth holds no frames."""
    for i in range(3):
        save(tmp_path / "scene" / "depth" / f"{i}.png", depth_picture(i))
    for place in ("scene", "scene/depth"):
        with pytest.raises(DataError, match="holds depth .* not frames"):
            run(tmp_path / place, tmp_path / "out")


def test_16_bit_frames_of_other_names_stay_frames(tmp_path):
    """A thermal camera writes 16 bit too: the name decides."""
    for i in range(3):
        save(tmp_path / "thermal" / f"{i}.png", depth_picture(i))
    (result,) = run(tmp_path / "thermal", tmp_path / "out")
    assert result.frames == 3


# --- names and intrinsics ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("depth", "depth"), ("sync_depth_00045", "depth"), ("rgbDepth", "depth"),
        ("0001", "colour"),
        ("frame-000001.color", "colour"), ("0001_mask", "map"), ("semantic", "map"),
        ("depth_mask", "map"), ("d-1294851097.5-2618", "depth"), ("r-1294851097.5-2618", "colour"),
        ("img_d_12", "colour"), ("firefly", "colour"), ("normals", "map"), ("IR_12", "map"),
    ],
)  # fmt: skip
def test_kind_of_name(name, kind):
    """Whole words decide, not letters in them."""
    assert kind_of_name(name) == kind


def test_pair_key_leaves_out_kind_words():
    """Colour, depth and pose of one frame have one key; two cameras have two."""
    keys = {pair_key(s) for s in ("rgb_00045", "sync_depth_00045", "45", "frame-00045.color")}
    assert keys == {"45"}
    assert pair_key("000001_lcam_front_depth") == pair_key("000001_lcam_front") != pair_key("1")


def test_counts_from_0_and_from_1_are_paired_in_order(tmp_path):
    """Depth 1 to 4 belongs to colour 0 to 3: said, and the first is not lost."""
    root = make_scannet(tmp_path / "scene")
    for i in reversed(range(4)):
        (root / "depth" / f"{i}.png").rename(root / "depth" / f"{i + 1}.png")
    (result,) = run(root, tmp_path / "out", camera=None)
    assert result.depth == 4
    np.testing.assert_allclose(open_sequence(result.path).read_depth(3)[0, 0], 1.3, atol=1e-6)
    assert any("depth counts from 1, frames from 0: paired in order" in t for t in result.assumed)


def test_lost_files_are_no_other_start():
    """One lost on each side leaves equal counts, but no unbroken ones: names decide."""
    assert pair_by_key(["0", "1", "3"], ["0", "2", "3"]) == ([0, None, 2], False)
    assert pair_by_key(["0", "1"], ["5", "6"]) == ([0, 1], True)
    assert pair_by_key([], ["5"]) == ([], False)


def test_split_without_colour(tmp_path):
    """A folder of masks alone has no colour; nothing is invented."""
    paths = [tmp_path / "0_mask.png", tmp_path / "1_mask.png"]
    assert split_colour(paths) == ([], [], paths)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "30 0 15\n0 31 12\n0 0 1\n"),
        ("a.txt", K44),
        ("a.txt", "30 31 15 12"),
        ("a.csv", "30,0,15\n0,31,12\n0,0,1"),
        ("a.json", '{"intrinsic_matrix": [30, 0, 0, 0, 31, 0, 15, 12, 1], "width": 32}'),
        ("a.json", '{"camera": {"fx": 30, "fy": 31, "cx": 15, "cy": 12, "scale": 6553.5}}'),
        ("a.txt", "fx_color = 30\nfy_color = 31\nmx_color = 15\nmy_color = 12\nnumDepth = 9\n"),
    ],
)
def test_intrinsics_of_many_programs(tmp_path, name, text):
    """3x3, 4x4, four numbers, csv, Open3D (column by column), Replica, ScanNet."""
    (tmp_path / name).write_text(text)
    np.testing.assert_allclose(read_intrinsics(tmp_path / name, (H, W)), PINHOLE.camera.K)


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.txt", ""), ("a.txt", "1 2 3"), ("a.txt", "a b"), ("a.json", "{"), ("a.json", "[]")],
)
def test_bad_intrinsics_are_one_line(tmp_path, name, text):
    """Empty, short, text, cut short and of another shape."""
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError) as caught:
        read_intrinsics(tmp_path / name, (H, W))
    assert str(tmp_path / name) in str(caught.value) and "\n" not in str(caught.value)


def test_intrinsics_of_the_larger_picture(tmp_path):
    """Colour resized to the depth's size, with K of the original: K of depth fits and is said."""
    root = make_scannet(tmp_path / "scene")
    (root / "intrinsic" / "intrinsic_color.txt").write_text(
        "60 0 30 0\n0 62 24 0\n0 0 1 0\n0 0 0 1"
    )
    (result,) = run(root, tmp_path / "out", camera=None)
    assert open_sequence(result.path).camera == PINHOLE.camera
    assert any("is of another size than the frames" in text for text in result.assumed)


@pytest.mark.parametrize(
    ("stated", "words"),
    [((W, H), ""), ((H, W), "width and height taken as swapped"), ((64, 48), "refused")],
)
def test_size_beside_intrinsics(tmp_path, stated, words):
    """Open3D's JSON says its size: that of the pictures, swapped (said) or another (refused)."""
    root = make_scannet(tmp_path / "scene")
    shutil.rmtree(root / "intrinsic")
    record = {"width": stated[0], "height": stated[1]}
    record["intrinsic_matrix"] = [30, 0, 0, 0, 31, 0, 15, 12, 1]
    (root / "camera_intrinsic.json").write_text(json.dumps(record))
    if words == "refused":
        with pytest.raises(DataError, match="the calibration is for 64x48, the frames are 32x24"):
            run(root, tmp_path / "out", camera=None)
        return
    (result,) = run(root, tmp_path / "out", camera=None)
    assert open_sequence(result.path).camera == PINHOLE.camera
    assert any("taken as swapped" in text for text in result.assumed) == bool(words)


def test_infrared_frames_with_depth(tmp_path):
    """ir/ and depth/ without colour: the infrared pictures are the frames."""
    for i in range(3):
        save(tmp_path / "in" / "ir" / f"{i}.png", picture(i))
        save(tmp_path / "in" / "depth" / f"{i}.png", depth_picture(i))
    (result,) = run(tmp_path / "in", tmp_path / "out")
    assert (result.name, result.frames) == ("ir", 3)


def test_real_open3d(tmp_path, data_root):
    """Colour, depth and trajectory.log become one; the camera is Open3D's default, said."""
    (result,) = run(data_root / "rgbd_open3d_5", tmp_path / "out", camera=None, ext="jpg")
    assert (result.frames, result.poses, result.depth) == (5, 5, 5)
    assert any("Open3D's default" in text for text in result.assumed)
    np.testing.assert_allclose(
        open_sequence(result.path).poses[1, :3, 3], [-0.31035872, 0.5963094, 2.12603614], atol=1e-6
    )


def test_real_tartanair(tmp_path, data_root):
    """NED poses are turned, depth is unpacked from four bytes, f is half the width."""
    root = data_root / "tartanair2"
    (result,) = run(root, tmp_path / "out", camera=None, stop=2, ext="jpg")
    sequence = open_sequence(result.path)
    truth = np.loadtxt(root / "poses.txt")[:2].reshape(-1, 3, 4)
    np.testing.assert_allclose(sequence.poses[:, :3], truth, atol=1e-6)
    assert (result.format, result.depth, sequence.camera.fx) == ("tartanair", 2, 320.0)
    assert 0.5 < np.median(sequence.read_depth(0)) < 5


def test_imu_of_another_tartanair_recording_is_said(tmp_path, data_root):
    """This copy's IMU is of 860 frames, its poses of 1360: they part by 0.4 m in one frame."""
    notes, watcher = listener()
    (result,) = run(data_root / "tartanair2", tmp_path / "out", watcher, camera=None, stop=2)
    assert open_sequence(result.path).imu is None
    assert any("imu: is of 860 frames, pose_lcam_front.txt of 1360" in note for note in notes)


def test_tartanair_imu_by_hand(tmp_path):
    """x forward, y right, z down become the camera's z, x, y; frames have the times of the IMU."""
    place = tmp_path / "P000"
    for i in range(3):
        save(place / "image_lcam_front" / f"{i:06d}_lcam_front.png", picture(i))
    np.savetxt(place / "pose_lcam_front.txt", np.tile([0, 0, 0, 0, 0, 0, 1.0], (3, 1)))
    (place / "imu").mkdir()
    arrays = {"imu_time": np.arange(30) / 100, "cam_time": np.float32([0.0, 0.1, 0.2])}
    arrays |= {"gyro": np.tile([1.0, 2, 3], (30, 1)), "acc": np.tile([0, 0, -9.8], (30, 1))}
    for name, values in arrays.items():
        np.save(place / "imu" / f"{name}.npy", values)
    sequence = run_one(place, tmp_path / "out", camera=None)
    np.testing.assert_allclose(sequence.times, [0, 0.1, 0.2], atol=1e-6)
    R = sequence.imu.T_cam_imu[:3, :3]
    np.testing.assert_allclose(R @ sequence.imu.gyro[0], [2, 3, 1], atol=1e-12)
    np.testing.assert_allclose(R @ sequence.imu.accel[0], [0, -9.8, 0], atol=1e-12)  # y is down


# --- the unit of depth in TUM's layout -----------------------------------------------------------


def make_tum(folder: Path, values: np.ndarray, name: str = "depth") -> Path:
    for i in range(3):
        save(folder / "rgb" / f"{100 + 0.1 * i:.6f}.png", picture(i))
        save(folder / name / f"{100.005 + 0.1 * i:.6f}.png", values)
    return folder


@pytest.mark.parametrize(
    ("name", "factor", "metres", "words"),
    [
        ("walk", 1, 1.0, "depth taken as millimetres"),
        ("walk", 5, 1.0, "5000 a metre (every value is a multiple of 5"),
        ("rgbd_dataset_freiburg1_walk", 1, 0.2, ""),
        ("icl_living_room", 1, 0.2, ""),
    ],
)
def test_unit_of_tum_layout(tmp_path, name, factor, metres, words):
    """Multiples of 5 are at 5000 a metre, others millimetres; official names need no word."""
    folder = make_tum(tmp_path / name, depth_picture(0) * np.uint16(factor))
    (result,) = run(folder, tmp_path / "out")
    depth = open_sequence(result.path).read_depth(0)
    np.testing.assert_allclose(depth[0, 0], metres, atol=1e-6)
    said = [text for text in result.assumed if "depth taken" in text]
    assert words in said[0] and "median" in said[0] if words else not said


def test_unit_of_tum_layout_is_set(tmp_path):
    """--depth-scale 100 reads centimetres and silences the assumption."""
    (result,) = run(make_tum(tmp_path / "w", depth_picture(0)), tmp_path / "out", depth_scale=100)
    np.testing.assert_allclose(open_sequence(result.path).read_depth(0)[0, 0], 10.0, atol=1e-6)
    assert result.assumed == ()


def test_associations_come_before_the_nearest(tmp_path):
    """A file that names pairs is followed: frame 0 has the depth of a later stamp."""
    folder = make_tum(tmp_path / "walk", depth_picture(0))
    save(folder / "depth" / "100.300000.png", depth_picture(3))
    row = "100.0 rgb/100.000000.png 100.3 depth/100.300000.png"
    (folder / "associations.txt").write_text(row)
    (result,) = run(folder, tmp_path / "out")
    assert result.depth == 1
    np.testing.assert_allclose(open_sequence(result.path).read_depth(0)[0, 0], 1.3, atol=1e-6)


def test_two_clocks_in_tum_layout_are_named(tmp_path):
    """Ground truth of another clock: frames without poses, both spans said."""
    folder = make_tum(tmp_path / "walk", depth_picture(0))
    (folder / "groundtruth.txt").write_text(
        "1700000000.0 0 0 0 0 0 0 1\n1700000000.1 0 0 0 0 0 0 1\n"
    )
    notes, watcher = listener()
    (result,) = run(folder, tmp_path / "out", watcher)
    assert result.poses == 0
    assert any("poses span 1700000000.000" in n and "frames 100.000" in n for n in notes)


def test_unused_depth_scale_is_said(tmp_path):
    """An option that changes nothing is named."""
    save(tmp_path / "in" / "0.png", picture(0))
    notes, watcher = listener()
    run(tmp_path / "in", tmp_path / "out", watcher, depth_scale=1000)
    assert any("--depth-scale 1000: unused, the source has no depth" in note for note in notes)


def test_matrices_by_columns_are_transposed(tmp_path):
    """0 0 0 1 in the last column: the translation stands in the last row, and is not lost."""
    for i in range(3):
        save(tmp_path / "s" / "color" / f"{i}.png", picture(i))
        T = np.eye(4)
        T[0, 3] = i + 1
        (tmp_path / "s" / "pose").mkdir(exist_ok=True)
        np.savetxt(tmp_path / "s" / "pose" / f"{i}.txt", T.T)
    notes, watcher = listener()
    (result,) = run(tmp_path / "s", tmp_path / "out", watcher)
    np.testing.assert_allclose(open_sequence(result.path).poses[:, 0, 3], [1, 2, 3])
    assert any("written by columns, transposed" in note for note in notes)


@pytest.mark.parametrize(("metres", "words"), [(2.0, "as metres"), (2000.0, "as millimetres")])
def test_unit_of_floating_point_depth(tmp_path, metres, words):
    """A median of 2000 m can only be 2000 mm; both come out as 2 m."""
    for i in range(3):
        save(tmp_path / "s" / "color" / f"{i}.png", picture(i))
        (tmp_path / "s" / "depth").mkdir(exist_ok=True)
        np.savez(tmp_path / "s" / "depth" / f"{i}.npz", depth=np.full((24, 32), metres, np.float32))
    notes, watcher = listener()
    (result,) = run(tmp_path / "s", tmp_path / "out", watcher)
    np.testing.assert_allclose(open_sequence(result.path).read_depth(0), 2.0)
    assert any(f"floating-point depth taken {words}" in note for note in notes)


@pytest.mark.parametrize("sides", [("left", "right"), ("L", "R"), ("cam0", "cam1")])
def test_second_camera_in_one_folder_is_left_out(tmp_path, sides):
    """Frames must not jump between two cameras; frames of one alone stay."""
    for i in range(3):
        for k, side in enumerate(sides):
            save(tmp_path / "s" / f"{i:03d}_{side}.png", picture(10 * k + i))
    notes, watcher = listener()
    (result,) = run(tmp_path / "s", tmp_path / "out", watcher, fps=10.0)
    np.testing.assert_array_equal(open_sequence(result.path).read_frame(1), picture(1))
    assert result.frames == 3 and "3 pictures of a second camera" in notes[0]


def test_smaller_copies_and_annotations_are_no_sequences(tmp_path):
    """images_4 of images, SegmentationClass and annotations beside frames are named, not stored."""
    for name in ("images", "images_4", "SegmentationClass", "annotations"):
        make_images(tmp_path / "s" / name, 3)
    notes, watcher = listener()
    (result,) = run(tmp_path / "s", tmp_path / "out", watcher, fps=10.0)
    assert result.name == "images"
    assert any("images_4 beside images: smaller copies" in note for note in notes)


@pytest.mark.parametrize("form", ["rgb\\{}", "{}", "C:\\data\\rgb\\{}", "/elsewhere/{}"])
def test_paths_of_other_machines_in_lists_of_tum(tmp_path, form):
    """Pictures are found by name in rgb/; those that are not there are left out and counted."""
    make_images(tmp_path / "s" / "rgb", 3)
    rows = [f"{0.1 * i:g} {form.format(f'frame{i + 1}.png')}\r\n" for i in range(5)]
    (tmp_path / "s" / "rgb.txt").write_text("".join(rows))
    notes, watcher = listener()
    (result,) = run(tmp_path / "s", tmp_path / "out", watcher)
    assert result.frames == 3 and "2 of 5 pictures of rgb.txt are not there" in notes[0]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("0.1 rgb/none.png", "none of the 1 pictures it names is there"),
        ("# empty", "holds no rows"),
    ],
)
def test_lists_of_nothing_are_one_line(tmp_path, rows, words):
    """A list whose pictures are elsewhere, or without rows, is named."""
    make_images(tmp_path / "s" / "rgb", 3)
    (tmp_path / "s" / "rgb.txt").write_text(rows)
    with pytest.raises(DataError, match=words):
        run(tmp_path / "s", tmp_path / "out")
