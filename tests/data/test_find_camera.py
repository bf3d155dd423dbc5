# SPDX-License-Identifier: Apache-2.0
"""--camera and the files beside pictures: a K without size, sizes that differ, what is not used."""

import json

import numpy as np
import pytest
from source_makers import listener, make_images, make_video, picture, run, run_one, save

from depthkit.cli import main
from depthkit.data.stream import open_stream
from depthkit.errors import DataError

K = "30 0 15\n0 31 12\n0 0 1\n"  # of 32x24 pictures


@pytest.mark.parametrize("name", ["K.txt", "K.anything"])
def test_K_alone_takes_the_size_of_the_frames(tmp_path, name):
    """A 3x3 given as --camera is read as the K.txt beside the pictures is."""
    source = make_images(tmp_path / "in", 3)
    (tmp_path / name).write_text(K)
    camera = run_one(source, tmp_path / "o", camera=tmp_path / name).camera
    assert (camera.size, camera.fx, camera.fy, camera.cx, camera.cy) == ((24, 32), 30, 31, 15, 12)


def test_infer_takes_the_same_files(tmp_path):
    """open_stream finds format and size as prepare does; a lens that bends is refused by name."""
    source = make_images(tmp_path / "in", 3)
    path = tmp_path / "K.txt"
    path.write_text(K)
    camera = open_stream(source, camera=path).camera
    assert camera is not None
    assert (camera.width, camera.fx) == (32, 30.0)
    path.write_text("30 31 15 12 -0.1 0 0 0\n")
    with pytest.raises(DataError, match="K.txt: inference takes undistorted frames"):
        open_stream(source, camera=path)


def test_camera_of_another_size_names_both(tmp_path, capsys):
    """64x48 for 32x24: fx 60 / 2, cx (30.5 + 0.5) / 2 - 0.5 = 15."""
    source = make_images(tmp_path / "in", 3)
    path = tmp_path / "big.json"
    path.write_text(
        json.dumps({"width": 64, "height": 48, "fx": 60, "fy": 62, "cx": 30.5, "cy": 24.5})
    )
    assert main(["prepare", str(source), "--out", str(tmp_path / "o"), "--camera", str(path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"depthkit: error: {path}: the calibration is for 64x48")
    assert "frames are 32x24" in error
    assert "fx 30, fy 31, cx 15, cy 12" in error
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("name", ["cameras.txt", "transforms.json", "sensor.yaml", "calib.txt"])
def test_files_of_others_beside_pictures_are_found(tmp_path, name):
    """Each program's own name, told by its content."""
    text = {
        "cameras.txt": "1 PINHOLE 32 24 30 31 15.5 12.5\n",
        "transforms.json": '{"fl_x": 30, "fl_y": 31, "cx": 15.5, "cy": 12.5, "w": 32, "h": 24}',
        "sensor.yaml": "intrinsics: [30, 31, 15, 12]\nresolution: [32, 24]\n",
        "calib.txt": "P2: 30 0 15 0 31 12 0 0 1\n",
    }[name]
    source = make_images(tmp_path / "in", 3)
    (source / name).write_text(text)
    camera = run_one(source, tmp_path / "o", camera=None).camera
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (30, 31, 15, 12)


def test_second_file_and_fov_that_do_not_count_are_said(tmp_path):
    """camera.yaml wins over K.txt and over --fov, aloud."""
    source = make_images(tmp_path / "in", 3)
    (source / "camera.yaml").write_text("width: 32\nheight: 24\nfx: 30\nfy: 31\ncx: 15\ncy: 12\n")
    (source / "K.txt").write_text(K.replace("30", "40"))
    notes, watcher = listener()
    run(source, tmp_path / "o", watcher, camera=None, fov=60.0)
    assert any("camera.yaml taken, not K.txt" in note for note in notes)
    assert any("--fov 60 not used" in note for note in notes)


def test_missing_calibration_names_the_ways_out(tmp_path):
    """No file, no EXIF: --camera or --fov."""
    source = make_images(tmp_path / "in", 3)
    with pytest.raises(DataError, match="calibration missing .*--camera FILE, or --fov DEGREES"):
        run(source, tmp_path / "o", camera=None)


def test_video_takes_a_matrix(tmp_path):
    """The frames of the makers' video are 64x48."""
    video = make_video(tmp_path / "a.mp4", 3)
    (tmp_path / "K.yaml").write_text("camera_matrix: [[60, 0, 31], [0, 60, 23], [0, 0, 1]]\n")
    camera = run_one(video, tmp_path / "o", camera=tmp_path / "K.yaml").camera
    assert (camera.size, camera.fx) == ((48, 64), 60.0)


# --- KITTI calibrations written by hand ----------------------------------------------------------


def make_kitti(folder, calib: str):
    """Three frames of sequence 00, with the given calib.txt."""
    place = folder / "sequences" / "00"
    for i in range(3):
        save(place / "image_2" / f"{i:06d}.png", picture(i))
    (place / "times.txt").write_text("0\n0.1\n0.2\n")
    (place / "calib.txt").write_text(calib)
    return folder


def test_kitti_calibration_of_nine_numbers_is_K(tmp_path):
    """P2 of nine numbers has no offset from camera 0: it is K itself."""
    source = make_kitti(tmp_path / "in", "P2: 30 0 15 0 31 12 0 0 1\n")
    camera = run_one(source, tmp_path / "o", camera=None).camera
    assert np.array_equal(camera.K, [[30, 0, 15], [0, 31, 12], [0, 0, 1]])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ("", "P2 holds 0 numbers, expected 12 or 9"),
        ("30 0 15 0 31", "P2 holds 5 numbers"),
        ("30 0 15 0 0 31 12 0 0 0 1 0 0", "P2 holds 13 numbers"),
        ("30 0 x 0 31 12 0 0 1", "text that is no number"),
        ("nan 0 15 0 31 12 0 0 1", "NaN"),
        ("0 0 0 0 0 0 0 0 0", "no camera matrix"),
        ("1 0 0 0 1 0 0 0 1", "field of view"),
    ],
)
def test_kitti_calibration_that_is_none_is_one_line(tmp_path, values, words):
    """Short, long, empty, text and impossible rows are named with the file."""
    source = make_kitti(tmp_path / "in", f"P2: {values}\n")
    with pytest.raises(DataError, match=words) as caught:
        run(source, tmp_path / "o", camera=None)
    assert "calib.txt" in str(caught.value)
    assert "\n" not in str(caught.value)
