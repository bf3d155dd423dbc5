# SPDX-License-Identifier: Apache-2.0
"""Cameras: K follows the pixels, and calibration files of three programs read alike."""

import math
from pathlib import Path

import numpy as np
import pytest
import yaml

from depthkit.camera import Camera, SourceCamera, load_source_camera, resize_matrix
from depthkit.errors import DataError

CAMERA = Camera(64, 48, 50.0, 52.0, 30.0, 25.0)

OWN = {"width": 64, "height": 48, "fx": 50.0, "fy": 52.0, "cx": 30.0, "cy": 25.0}

ROS = """\
image_width: 64
image_height: 48
camera_name: left
camera_matrix: {rows: 3, cols: 3, data: [50, 0, 30, 0, 52.0, 25, 0, 0, 1]}
distortion_model: MODEL
distortion_coefficients: {rows: 1, cols: 5, data: [COEFFICIENTS]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
"""

OPENCV = """\
%YAML:1.0
---
calibration_time: "Thu"
image_width: 64
image_height: 48
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 5.0e+01, 0., 30., 0., 52., 25., 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 5
   cols: 1
   dt: d
   data: [ -0.25, 1e-2, 0., 0., 0. ]
"""


def project(K: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Pinhole projection to (u, v)."""
    p = K @ point
    return p[:2] / p[2]


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_resize_by_half_follows_the_pixel_convention():
    """c' = s (c + 0.5) - 0.5 with s = 1/2: 30 -> 14.75, 25 -> 12.25."""
    half = CAMERA.resized((24, 32))
    assert (half.fx, half.fy, half.cx, half.cy) == (25.0, 26.0, 14.75, 12.25)
    assert half.size == (24, 32)


def test_resize_then_project_is_project_then_resize():
    """Scaling K and scaling the pixel agree for uneven factors too."""
    point = np.array([0.3, -0.2, 1.7])
    A = resize_matrix((48, 64), (36, 128))
    expected = (A @ np.append(project(CAMERA.K, point), 1.0))[:2]
    np.testing.assert_allclose(project(CAMERA.resized((36, 128)).K, point), expected, atol=1e-12)


def test_resize_keeps_the_outer_borders():
    """The left border -0.5 and the right border W - 0.5 stay borders."""
    A = resize_matrix((48, 64), (30, 20))
    np.testing.assert_allclose(A @ [-0.5, -0.5, 1], [-0.5, -0.5, 1])
    np.testing.assert_allclose(A @ [63.5, 47.5, 1], [19.5, 29.5, 1])


def test_resize_and_back_is_the_camera_itself():
    """Nothing is lost on the way to another size and back."""
    back = CAMERA.resized((17, 23)).resized(CAMERA.size)
    np.testing.assert_allclose(back.K, CAMERA.K, atol=1e-12)


def test_crop_moves_the_principal_point():
    """The window's first pixel becomes (0, 0)."""
    crop = CAMERA.cropped(5, 8, (30, 40))
    assert (crop.cx, crop.cy, crop.size) == (22.0, 20.0, (30, 40))


def test_crop_outside_the_image_is_refused():
    """A window that leaves the image has no pixels there."""
    with pytest.raises(DataError, match="leaves the 64x48"):
        CAMERA.cropped(20, 0, (30, 40))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fx": 0.0}, "fx and fy must be positive"),
        ({"fy": -1.0}, "fx and fy must be positive"),
        ({"cx": math.nan}, "cx must be finite"),
        ({"fx": math.inf}, "fx must be finite"),
        ({"width": 0}, "size must be positive"),
    ],
)
def test_impossible_camera_is_refused(change, words):
    """A camera that cannot project never comes to be."""
    with pytest.raises(DataError, match=words):
        Camera(**{**OWN, **change})


def test_own_file_reads_back_what_was_written(tmp_path):
    """to_record and load_source_camera are inverses."""
    source = SourceCamera(CAMERA, "kannala_brandt", (0.1, -0.02, 0.003, 1e-5))
    path = write(tmp_path / "camera.yaml", yaml.safe_dump(source.to_record()))
    assert load_source_camera(path) == source


@pytest.mark.parametrize(
    ("model", "coefficients", "expected"),
    [
        ("plumb_bob", (-0.25, 0.01, 0.001, 0.002, 0.0), "brown_conrady"),
        ("rational_polynomial", (0.1,) * 8, "brown_conrady"),
        ("equidistant", (0.1, 0.2, 0.3, 0.4), "kannala_brandt"),
    ],
)
def test_ros_camera_info_reads(tmp_path, model, coefficients, expected):
    """The three distortion models of ROS map to ours with their coefficients in order."""
    text = ROS.replace("MODEL", model).replace("COEFFICIENTS", str(list(coefficients))[1:-1])
    assert load_source_camera(write(tmp_path / "info.yaml", text)) == SourceCamera(
        CAMERA, expected, coefficients
    )


def test_ros_topic_echo_reads(tmp_path):
    """A message printed by `ros2 topic echo` has one-letter keys."""
    text = (
        "height: 48\nwidth: 64\ndistortion_model: plumb_bob\nd: [0, 0, 0, 0, 0]\n"
        "k: [50, 0, 30, 0, 52, 25, 0, 0, 1]\n"
    )
    assert load_source_camera(write(tmp_path / "info.yaml", text)) == SourceCamera(CAMERA)


def test_opencv_file_storage_reads(tmp_path):
    """OpenCV's header and matrix tag are no hindrance, nor is 1e-2 without a dot."""
    source = load_source_camera(write(tmp_path / "c.yml", OPENCV))
    assert source == SourceCamera(CAMERA, "brown_conrady", (-0.25, 0.01, 0.0, 0.0, 0.0))


def test_opencv_writes_what_we_read(tmp_path):
    """A file made by OpenCV itself reads, fisheye flag included."""
    cv2 = pytest.importorskip("cv2")
    path = str(tmp_path / "c.yaml")
    storage = cv2.FileStorage(path, cv2.FILE_STORAGE_WRITE)
    storage.write("image_width", 64)
    storage.write("image_height", 48)
    storage.write("fisheye_model", 1)
    storage.write("camera_matrix", CAMERA.K)
    storage.write("distortion_coefficients", np.array([[0.1], [0.2], [0.0], [1e-7]]))
    storage.release()
    expected = SourceCamera(CAMERA, "kannala_brandt", (0.1, 0.2, 0.0, 1e-7))
    assert load_source_camera(path) == expected


def test_fisheye_without_coefficients_is_still_distorted():
    """r = f theta bends lines although all k are 0; Brown-Conrady of zeros does not."""
    assert SourceCamera(CAMERA, "kannala_brandt", (0.0,) * 4).is_distorted
    assert not SourceCamera(CAMERA, "brown_conrady", (0.0,) * 5).is_distorted


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fx": 0}, "fx and fy must be positive"),
        ({"fx": ".nan"}, "fx must be finite"),
        ({"fx": "wide"}, "fx must be a number, got 'wide'"),
        ({"width": 64.5}, "whole number"),
        ({"cx": 64}, "outside the 64x48"),
        ({"cy": -1}, "outside the 64x48"),
        ({"model": "brown_conrady", "distortion": [0.1, 0.2]}, "4 or 5 or 8 or 12 or 14"),
        ({"model": "kannala_brandt", "distortion": [0.1] * 5}, "takes 4 distortion"),
        ({"model": "pinhole", "distortion": [0.1] * 4}, "takes 0 distortion"),
        ({"model": "cubic"}, "unknown distortion model 'cubic'"),
        ({"cy": None}, "must be a number"),
    ],
)
def test_bad_own_file_is_one_line(tmp_path, change, words):
    """Each mistake in camera.yaml is named together with the file."""
    path = write(
        tmp_path / "camera.yaml", yaml.safe_dump({**OWN, **change}).replace("'.nan'", ".nan")
    )
    with pytest.raises(DataError, match=words) as caught:
        load_source_camera(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1, 2", "not valid JSON"),
        ("a: [1, 2", "not valid YAML"),
        ("just words", "expected a mapping"),
        ("a: 1", "not a camera file"),
        ("fx: 50", "missing width, height, fy, cx, cy"),
        (ROS.replace("MODEL", "plumb_bob").replace("COEFFICIENTS", "1, 2, 3"), "takes 5"),
        (ROS.replace("MODEL", "none").replace("[50, 0,", "[50, 5,"), "skew"),
        (OPENCV.replace("image_width: 64\n", ""), "missing image_width"),
    ],
)
def test_bad_calibration_text_is_one_line(tmp_path, text, words):
    """Files that are no calibration say what was expected."""
    with pytest.raises(DataError, match=words) as caught:
        load_source_camera(write(tmp_path / "c.yaml", text.replace("COEFFICIENTS", "")))
    assert "\n" not in str(caught.value)


def test_missing_camera_file_is_named(tmp_path):
    """The path that was asked for is in the message."""
    with pytest.raises(DataError, match="nowhere.yaml: camera file not found"):
        load_source_camera(tmp_path / "nowhere.yaml")
