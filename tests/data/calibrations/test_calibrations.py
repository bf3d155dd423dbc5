# SPDX-License-Identifier: Apache-2.0
"""One camera in the files of many programs, and files that are none or of an impossible camera."""

from pathlib import Path

import calibration_formats as formats
import pytest
from calibration_formats import FORMATS, KALIBR, MATRIX, ROS_YAML, SIZE

from depthkit.camera import Camera, SourceCamera
from depthkit.data.calibrations import load_calibration
from depthkit.errors import DataError


def load(folder: Path, text: str | bytes, size: tuple[int, int] | None = SIZE) -> SourceCamera:
    path = folder / "unknown.suffix"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_calibration(path, size)


def numbers(source: SourceCamera) -> tuple[float, ...]:
    camera = source.camera
    return camera.fx, camera.fy, camera.cx, camera.cy


def refusal(folder: Path, text: str | bytes, size: tuple[int, int] | None = SIZE) -> str:
    """The message of a file that is refused: one line that names the file."""
    with pytest.raises(DataError) as caught:
        load(folder, text, size)
    message = str(caught.value)
    assert "\n" not in message
    assert "unknown.suffix" in message
    return message


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_camera(tmp_path, name):
    """82, 81.5, 80.2, 58.9 in our convention, whatever the program counts from or by."""
    text, lens = FORMATS[name]
    source = load(tmp_path, text)
    assert source.camera.size == SIZE
    assert numbers(source) == pytest.approx(formats.NUMBERS, abs=1e-5)
    assert source.distortion_model == lens[0]
    assert list(source.D) == pytest.approx(list(lens[1]))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("colmap", "corner of the first pixel"),
        ("transforms", "corner of the first pixel"),
        ("3x3-by-columns", "transposed"),
        ("line-of-9", "fx fy cx cy k1 k2 p1 p2 k3"),
        ("line-size-last", "fx fy cx cy width height"),
        ("opencv-mtx", "Brown-Conrady"),
        ("dso", "fractions of the 160x120 picture"),
        ("kitti", "P2 taken"),
        ("middlebury", "cam0 taken"),
    ],
)
def test_what_a_file_leaves_open_is_said(tmp_path, name, words):
    """The convention that was taken stands in `assumed`, under the file's name."""
    said = load(tmp_path, FORMATS[name][0]).assumed
    assert any(words in line and line.startswith("unknown.suffix: ") for line in said)


@pytest.mark.parametrize("name", ["kalibr", "euroc", "orbslam", "open3d", "3x3", "ros-echo"])
def test_what_a_file_states_needs_no_words(tmp_path, name):
    """Where the format leaves nothing open, nothing is said."""
    assert load(tmp_path, FORMATS[name][0]).assumed == ()


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + MATRIX.encode(),
        MATRIX.replace("\n", "\r\n").encode(),
        MATRIX.encode("utf-16"),
        b"# Gro\xdfe Kamera\n" + MATRIX.encode(),
        MATRIX.encode() + b"\n\n% measured twice\n",
    ],
    ids=["bom", "crlf", "utf-16", "latin-1", "comment"],
)
def test_text_of_any_editor_reads(tmp_path, data):
    """Byte order marks, Windows line ends, Latin-1 comments do not matter."""
    assert numbers(load(tmp_path, data)) == formats.NUMBERS


# --- several cameras -----------------------------------------------------------------------------


def test_first_of_two_cameras_is_taken_and_said(tmp_path):
    """cam1 has fx 90: cam0 counts and the user hears of both."""
    two = KALIBR + KALIBR.replace("cam0", "cam1").replace("82.0", "90.0")
    source = load(tmp_path, two)
    assert source.camera.fx == 82.0
    assert "2 cameras (cam0, cam1): cam0 taken" in source.assumed[0]


def test_camera_of_the_frames_size_is_taken(tmp_path):
    """cam0 is for 320x240, the frames are 160x120: cam1."""
    other = KALIBR.replace("[160, 120]", "[320, 240]").replace("82.0", "90.0")
    source = load(tmp_path, other + KALIBR.replace("cam0", "cam1"))
    assert source.camera.fx == 82.0
    assert "cam1 taken" in source.assumed[0]


def test_kitti_rectified_camera_is_chosen_by_its_size(tmp_path):
    """Frames of S_rect take P_rect, frames of S take K and D."""
    source = load(tmp_path, formats.KITTI_RAW, (110, 150))
    assert numbers(source) == (70.0, 70.0, 75.0, 55.0)
    assert not source.is_distorted


# --- lens words ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "D", "model", "expected"),
    [
        ("camera_model: equidistant", "[0.1, 0, 0, 0.4]", "kannala_brandt", (0.1, 0, 0, 0.4)),
        ("camera_model: fisheye", "[0, 0, 0, 0]", "kannala_brandt", (0, 0, 0, 0)),
        ("distortion_model: equi", "[0.1, 0, 0, 0.4, 0]", "kannala_brandt", (0.1, 0, 0, 0.4)),
        ("camera_model: KANNALA_BRANDT8", "[0.1, 0, 0, 0]", "kannala_brandt", (0.1, 0, 0, 0)),
        ("distortion_model: plumb_bob", "[0.1, 0, 0, 0, 0.2, 0, 0, 0]", "brown_conrady",
         (0.1, 0, 0, 0, 0.2)),
        ("distortion_model: Radial-Tangential", "[0.1, 0, 0, 0]", "brown_conrady", (0.1, 0, 0, 0)),
        ("camera_model: rational_polynomial", "[0.1, 0, 0, 0, 0, 0.2, 0, 0]", "brown_conrady",
         (0.1, 0, 0, 0, 0, 0.2, 0, 0)),
        ("camera_model: pinhole\ndistortion_model: radtan", "[0.1, 0, 0, 0]", "brown_conrady",
         (0.1, 0, 0, 0)),
        ("distortion_model: plumb_bob", "[0, 0, 0, 0, 0]", "none", ()),
        ("distortion_model: fov", "[0]", "none", ()),
    ],
)  # fmt: skip
def test_lens_words_mean_what_they_say(tmp_path, words, D, model, expected):
    """A fisheye bends even with zeros, zeros beyond a model's coefficients mean nothing."""
    source = load(tmp_path, ROS_YAML.replace("WORD", words).replace("COEFFICIENTS", D))
    assert (source.distortion_model, source.D) == (model, expected)


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("fov", "FOV"),
        ("omni", "Mei"),
        ("mei", "Mei"),
        ("ds", "double sphere"),
        ("eucm", "EUCM"),
        ("division", "division"),
        ("equirectangular", "panorama"),
    ],
)
def test_lens_that_cannot_be_undistorted_is_refused_by_name(tmp_path, word, name):
    """The model is named, and what to calibrate instead."""
    text = ROS_YAML.replace("WORD", f"camera_model: {word}").replace("COEFFICIENTS", "[0.9]")
    message = refusal(tmp_path, text)
    assert name in message
    assert "calibrate again as pinhole" in message


def test_kalibr_omni_with_five_intrinsics_is_refused_by_name(tmp_path):
    """xi stands before fu: the model is named, not the count."""
    text = KALIBR.replace("pinhole", "omni").replace("[82.0,", "[1.2, 82.0,")
    assert "unified omnidirectional" in refusal(tmp_path, text)


def test_words_that_contradict_are_refused(tmp_path):
    """A fisheye of plumb_bob is one of the two."""
    words = "camera_model: fisheye\ndistortion_model: plumb_bob"
    text = ROS_YAML.replace("WORD", words).replace("COEFFICIENTS", "[0.1, 0, 0, 0]")
    assert "contradict" in refusal(tmp_path, text)


# --- what no camera looks like -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("K", "words"),
    [
        ("0 0 0\n0 0 0\n0 0 0", "not calibrated"),
        ("82 0 80.2\n0 -82 58.9\n0 0 1", "positive"),
        ("nan 0 80.2\n0 82 58.9\n0 0 1", "finite"),
        ("82 0 80.2\n0 82 58.9\n0 0 2", "expected K as"),
        ("1 0 0\n0 1 0\n0 0 1", "178.6 degrees"),
        ("4000 0 80.2\n0 4000 58.9\n0 0 1", "2.3 degrees"),
        ("82 0 80.2\n0 250 58.9\n0 0 1", "factor of 3.05"),
        ("82 9 80.2\n0 81.5 58.9\n0 0 1", "skew"),
        ("328 0 322.3\n0 326 237.1\n0 0 1", "outside the 160x120"),
        ("41 0 39.85\n0 40.75 29.2\n0 0 1", "picture of about 81x59"),
        ("82 0 59\n0 81.5 80\n0 0 1", "turned by 90 degrees"),
        ("82 0 130\n0 81.5 58.9\n0 0 1", "far off the middle"),
        ("0.8 0 0.5\n0 0.8 0.5\n0 0 1", "fractions, but of which side"),
        ("82 0 abc\n0 82 59\n0 0 1", "'abc' stands among its numbers"),
        ("82 0 80.2\n0 81.5 58.9", "6 numbers"),
    ],
)
def test_impossible_K_is_refused_with_its_numbers(tmp_path, K, words):
    """K of another picture, of fractions of an unknown side, of no camera at all."""
    assert words in refusal(tmp_path, K)


def test_fractions_of_the_size_become_pixels_aloud(tmp_path):
    """0.5 * 160 = 80, 0.68 * 120 = 81.6, 0.5 * 160 - 0.5 = 79.5, 0.5 * 120 - 0.5 = 59.5."""
    source = load(tmp_path, "width: 160\nheight: 120\nfx: 0.5\nfy: 0.68\ncx: 0.5\ncy: 0.5\n")
    assert numbers(source) == pytest.approx((80.0, 81.6, 79.5, 59.5))
    assert "fractions" in source.assumed[0]


@pytest.mark.parametrize(
    ("K", "words"),
    [
        ("82 0 80.2\n0 110 58.9\n0 0 1", "not square"),
        ("82 0 60\n0 81.5 58.9\n0 0 1", "off the middle"),
        ("800 0 80.2\n0 800 58.9\n0 0 1", "telephoto"),
        ("82 0.3 80.2\n0 81.5 58.9\n0 0 1", "skew 0.3 left out"),
    ],
)
def test_unusual_K_is_taken_aloud(tmp_path, K, words):
    """What a real camera may have, but most have not, is one line."""
    assert any(words in line for line in load(tmp_path, K).assumed)


def test_other_size_names_both_and_what_would_fit(tmp_path):
    """320x240 for frames of 160x120: fx 164 / 2, cx (160.9 + 0.5) / 2 - 0.5 = 80.2."""
    text = "width: 320\nheight: 240\nfx: 164\nfy: 163\ncx: 160.9\ncy: 118.3\n"
    message = refusal(tmp_path, text)
    assert "320x240" in message
    assert "160x120" in message
    assert "fx 82, fy 81.5, cx 80.2, cy 58.9" in message
    turned = (
        text.replace("320", "120")
        .replace("240", "160")
        .replace("160.9", "59")
        .replace("118.3", "80")
    )
    assert "turned by 90 degrees" in refusal(tmp_path, turned)


def test_size_is_needed_from_somewhere(tmp_path):
    """K alone, without frames, has no size."""
    assert "missing image_width" in refusal(tmp_path, MATRIX, None)


# --- binning and region of interest --------------------------------------------------------------

SENSOR = "height: 480\nwidth: 640\ndistortion_model: plumb_bob\nd: [0, 0, 0, 0, 0]\nk: {}\n"


def test_binning_divides_the_sensor(tmp_path):
    """fx 328 / 4 = 82; cx (322.3 + 0.5) / 4 - 0.5 = 80.2."""
    text = SENSOR.format([328, 0, 322.3, 0, 326, 237.1, 0, 0, 1]) + "binning_x: 4\nbinning_y: 4\n"
    assert numbers(load(tmp_path, text)) == pytest.approx((82.0, 81.5, 80.2, 58.9))


def test_K_that_is_binned_already_is_not_binned_again(tmp_path):
    """A driver that scales K and states the binning: the centre fits the binned picture."""
    text = SENSOR.format([82, 0, 80.2, 0, 81.5, 58.9, 0, 0, 1]) + "binning_x: 4\nbinning_y: 4\n"
    source = load(tmp_path, text)
    assert numbers(source) == (82.0, 81.5, 80.2, 58.9)
    assert "binned already" in source.assumed[0]


def test_region_of_interest_moves_the_centre(tmp_path):
    """The window begins at (320, 200): cx 322.3 - 320, cy 237.1 - 200; its centre may lie there."""
    roi = "roi: {x_offset: 320, y_offset: 200, height: 120, width: 160}\n"
    source = load(tmp_path, SENSOR.format([328, 0, 322.3, 0, 326, 237.1, 0, 0, 1]) + roi)
    assert source.camera.size == SIZE
    assert numbers(source) == pytest.approx((328.0, 326.0, 2.3, 37.1))


# --- files that are no calibration ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("", "empty"),
        ("# nothing\n# at all\n", "empty but for comments"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "a JPEG picture"),
        (b"\x1f\x8b\x08\0\0", "gzip"),
        (b"\x93NUMPY\x01\0v\0", "NumPy array"),
        (bytes(range(256)), "binary"),
        ("these are words", "neither keys"),
        ("hello: world", "it has keys hello"),
        ("width: 160\nheight: 120\nfx: 82\nfx: 90\nfy: 82\ncx: 80\ncy: 59\n", "appears twice"),
        ('{"fl_x": 82, ', "not valid JSON"),
        ('{"frames": [{"transform_matrix": [[1]]}]}', "without intrinsics"),
        ("# Image list with two lines of data per image:\n1 1 0 0 0 1 a.jpg\n", "cameras.txt"),
        ("sensor_type: imu\nrate_hz: 200\n", "'imu'"),
        ("gyroscope_noise_density: 1e-4\nupdate_rate: 200\n", "IMU"),
        ('imu: 1\ncam0_calib: "left.yaml"\n', "left.yaml"),
        ("<calibration><f>1</f></calibration>", "<calibration>"),
        ("<opencv_storage><camera_matrix>", "not valid XML"),
        ("1 PINHOLE 160 120 82 81.5 80.7\n", "PINHOLE takes"),
        ("P2: 1 2 3\n", "P2 holds 3 numbers"),
        ("P2: 80 0 a 0 80 59.5 0 0 1\n", "'a'"),
        ("P2:\n", "P2 holds 0 numbers"),
        (KALIBR.replace("[82.0, 81.5, 80.2, 58.9]", "[82.0, 81.5]"), "got 2 numbers"),
        (KALIBR.replace("[160, 120]", "160"), "resolution"),
        ("\n".join(f"{i} 0 0 0 0 0 0 1" for i in range(9)), "9 rows of 8 numbers"),
        ("a: " + "{a: " * 3000, "not valid YAML"),
        ("&a [*a]", "not valid YAML"),
    ],
)  # fmt: skip
def test_what_is_no_calibration_is_one_line(tmp_path, data, words):
    """Short, long, empty, damaged and foreign files say what they are."""
    assert words in refusal(tmp_path, data)


def test_missing_file_and_folder_are_named(tmp_path):
    """The path that was given is in the message."""
    with pytest.raises(DataError, match="nowhere.yaml: camera file not found"):
        load_calibration(tmp_path / "nowhere.yaml")
    with pytest.raises(DataError, match="is a folder"):
        load_calibration(tmp_path)


def test_own_file_needs_no_frames(tmp_path):
    """width and height in the file are enough."""
    text = "width: 160\nheight: 120\nfx: 82\nfy: 81.5\ncx: 80.2\ncy: 58.9\n"
    assert load(tmp_path, text, None).camera == Camera(160, 120, 82.0, 81.5, 80.2, 58.9)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Pix4D camera calibration file 0\n\n#Focal\nF  3.28 \npx 3.2\n", "it is Pix4D's"),
        ("IntrinsicMatrix: [3x3 double]\n  82 0 0\n 0 81 0\n", "it is what MATLAB prints"),
        ("fx 82\n: what\n  - [", "expected Kalibr, EuRoC"),
        (
            "width: 160\nheight: 120\nfx: 0.0037\nfy: 0.0037\ncx: 0.003\ncy: 0.002\n",
            "field of view",
        ),
    ],
)
def test_text_of_other_programs_says_what_to_write(tmp_path, text, words):
    """Text that YAML stumbles over, and K in metres, tell what would be a calibration."""
    assert words in refusal(tmp_path, text)


def test_sections_of_a_zed_are_cameras(tmp_path):
    """The left camera of the frames' size; keys that repeat are not those of the last section."""
    section = "[{}]\nfx={}\nfy={}\ncx={}\ncy={}\nk1=0\nk2=0\np1=0\np2=0\nk3=0\n"
    text = "".join(
        section.format(f"{side}_CAM_{name}", f + extra, f + extra, (w - 1) / 2, (h - 1) / 2)
        for name, f, w, h in (("FHD", 1050, 1920, 1080), ("VGA", 350, 672, 376))
        for side, extra in (("LEFT", 0), ("RIGHT", 1))
    )
    source = load(tmp_path, text, (376, 672))
    assert numbers(source) == (350.0, 350.0, 335.5, 187.5)
    assert "LEFT_CAM_VGA taken" in source.assumed[0]
    assert "the calibration is for 1920x1080" in refusal(tmp_path, text, (100, 200))


@pytest.mark.parametrize(("D", "is_read"), [("0 0 0 0 0", True), ("0.1 0 0 0 0", False)])
def test_what_librealsense_prints(tmp_path, D, is_read):
    """Intrinsics as printed; inverse Brown-Conrady is read where it has no coefficients."""
    text = f"[ 160x120  p[80.2 58.9]  f[82 81.5]  Inverse Brown Conrady [{D}] ]\n"
    if is_read:
        assert numbers(load(tmp_path, text)) == (82.0, 81.5, 80.2, 58.9)
    else:
        assert "inverse Brown-Conrady" in refusal(tmp_path, text)


def test_four_radial_numbers_are_a_fisheye(tmp_path):
    """k1 to k4 without p1 and p2 and without a word; with p1 they are OpenCV's."""
    text = "width: 160\nheight: 120\nfx: 82\nfy: 81.5\ncx: 80.2\ncy: 58.9\n"
    radial = "k1: 0.1\nk2: 0.02\nk3: 0.01\nk4: 0.005\n"
    source = load(tmp_path, text + radial)
    assert (source.distortion_model, source.D) == ("kannala_brandt", (0.1, 0.02, 0.01, 0.005))
    assert "taken as a fisheye's" in source.assumed[0]
    assert load(tmp_path, f"{text}{radial}p1: 0\np2: 0\n").distortion_model == "brown_conrady"
