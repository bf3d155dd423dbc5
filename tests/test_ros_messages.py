# SPDX-License-Identifier: Apache-2.0
"""Messages to arrays: rclpy's and rosbags' own objects, every encoding by hand, every refusal."""

from array import array
from importlib import import_module
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from depthkit.errors import DataError
from depthkit.ros_messages import (
    FrameTree,
    nanoseconds,
    read_camera,
    read_compressed,
    read_depth,
    read_image,
    read_odometry,
    read_pose,
    read_transform,
    seconds,
)

KINDS = ["rosbags", pytest.param("rclpy", marks=pytest.mark.ros)]
every_kind = pytest.mark.parametrize("kind", KINDS)

# Four colours, (2, 2, 3) RGB.
COLOURS = np.array([[[250, 10, 20], [30, 240, 40]], [[50, 60, 230], [200, 190, 180]]], np.uint8)


def message(kind, name, **fields):
    """A real message of rclpy, or of the type store in which rosbags reads a bag of Jazzy."""
    package, cls = name.split("/")
    if kind == "rclpy":
        return getattr(import_module(f"{package}.msg"), cls)(**fields)
    typesys = pytest.importorskip("rosbags.typesys")
    store = typesys.Stores.ROS1_NOETIC if kind == "ros1" else typesys.Stores.ROS2_JAZZY
    cls = typesys.get_typestore(store).types[f"{package}/msg/{cls}"]
    return cls(**({"seq": 0} if kind == "ros1" and "Header" in name else {}), **fields)


def header(kind, frame_id="camera"):
    stamp = message(kind, "builtin_interfaces/Time", sec=3, nanosec=500_000_000)
    return message(kind, "std_msgs/Header", stamp=stamp, frame_id=frame_id)


def data_of(kind, content: bytes):
    """The bytes as the kind holds them."""
    return array("B", content) if kind == "rclpy" else np.frombuffer(content, np.uint8)


def image(kind, encoding, content: bytes, size, *, step=None, big=False):
    """An Image of (H, W) size whose rows are not padded unless a step is given."""
    height, width = size
    return message(
        kind,
        "sensor_msgs/Image",
        header=header(kind),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(big),
        step=len(content) // height if step is None else step,
        data=data_of(kind, content),
    )


def compressed(kind, content: bytes, form="jpeg"):
    return message(
        kind,
        "sensor_msgs/CompressedImage",
        header=header(kind),
        format=form,
        data=data_of(kind, content),
    )


def camera_info(kind, **changes):
    """A camera of 640x480 pixels; fields may be changed."""
    K = [500.0, 0, 320.0, 0, 510.0, 240.0, 0, 0, 1]
    P = [480.0, 0, 310.0, -48.0, 0, 490.0, 250.0, 0, 0, 0, 1, 0]
    whole = {"x_offset": 0, "y_offset": 0, "height": 0, "width": 0, "do_rectify": False}
    roi = message(kind, "sensor_msgs/RegionOfInterest", **whole | changes.pop("roi", {}))
    fields = {"height": 480, "width": 640, "distortion_model": "plumb_bob", "d": [0.0] * 5}
    fields |= {"k": K, "r": np.eye(3).ravel().tolist(), "p": P, "binning_x": 0, "binning_y": 0}
    fields |= changes
    for name in "dkrp":
        values = np.array(fields.pop(name), np.float64)
        fields[name.upper() if kind == "ros1" else name] = values
    if kind == "rclpy":
        fields["d"] = fields["d"].tolist()
    return message(kind, "sensor_msgs/CameraInfo", header=header(kind), roi=roi, **fields)


def triple(kind, name, xyz):
    return message(kind, name, **dict(zip("xyz", map(float, xyz), strict=True)))


def pose(kind, xyz, xyzw):
    """A Pose of float values."""
    q = dict(zip("xyzw", map(float, xyzw), strict=True))
    place = triple(kind, "geometry_msgs/Point", xyz)
    turn = message(kind, "geometry_msgs/Quaternion", **q)
    return message(kind, "geometry_msgs/Pose", position=place, orientation=turn)


def transform(kind, parent, child, xyz, xyzw=(0, 0, 0, 1)):
    q = dict(zip("xyzw", map(float, xyzw), strict=True))
    motion = message(
        kind,
        "geometry_msgs/Transform",
        translation=triple(kind, "geometry_msgs/Vector3", xyz),
        rotation=message(kind, "geometry_msgs/Quaternion", **q),
    )
    return message(
        kind,
        "geometry_msgs/TransformStamped",
        header=header(kind, parent),
        child_frame_id=child,
        transform=motion,
    )


# --- stamps --------------------------------------------------------------------------------------


@every_kind
def test_stamp_keeps_every_nanosecond(kind):
    """Seconds and nanoseconds of today add up without a float between them."""
    stamp = message(kind, "builtin_interfaces/Time", sec=1_795_000_000, nanosec=123_456_789)
    assert nanoseconds(stamp) == 1_795_000_000_123_456_789
    assert seconds(1_500_000_000) == 1.5


# --- images --------------------------------------------------------------------------------------

GREY = np.array([[0, 100], [200, 255]], np.uint8)
OPAQUE = np.full((2, 2, 1), 7, np.uint8)
EIGHT_BIT = {
    "rgb8": (COLOURS, COLOURS),
    "bgr8": (COLOURS[..., ::-1], COLOURS),
    "8UC3": (COLOURS[..., ::-1], COLOURS),
    "rgba8": (np.concatenate([COLOURS, OPAQUE], 2), COLOURS),
    "bgra8": (np.concatenate([COLOURS[..., ::-1], OPAQUE], 2), COLOURS),
    "8UC4": (np.concatenate([COLOURS[..., ::-1], OPAQUE], 2), COLOURS),
    "mono8": (GREY, np.stack([GREY] * 3, 2)),
    "8UC1": (GREY, np.stack([GREY] * 3, 2)),
}


@every_kind
@pytest.mark.parametrize("encoding", EIGHT_BIT)
def test_8_bit_encodings_become_rgb(kind, encoding):
    """Each order of channels ends as red, green, blue; grey is tripled."""
    pixels, expected = EIGHT_BIT[encoding]
    rgb = read_image(image(kind, encoding, pixels.tobytes(), (2, 2)))
    np.testing.assert_array_equal(rgb, expected)


@every_kind
@pytest.mark.parametrize("encoding", EIGHT_BIT)
def test_padded_rows_are_read_without_their_padding(kind, encoding):
    """A step above the row's bytes skips what lies behind; the last row needs no padding."""
    pixels, expected = EIGHT_BIT[encoding]
    rows = pixels.reshape(2, -1)
    padded = np.pad(rows, ((0, 0), (0, 5)), constant_values=99).tobytes()[:-5]
    rgb = read_image(image(kind, encoding, padded, (2, 2), step=rows.shape[1] + 5))
    np.testing.assert_array_equal(rgb, expected)


@every_kind
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    ("bits", "values", "expected"),
    [
        (16, [0, 128, 129, 257, 65535], [0, 0, 1, 1, 255]),  # 65535 / 255 = 257
        (12, [0, 8, 9, 2048, 4095, 5000], [0, 0, 1, 128, 255, 255]),  # 4095 / 255 = 16.06
        (10, [0, 2, 3, 512, 1023, 1024], [0, 0, 1, 128, 255, 255]),  # 1023 / 255 = 4.01
    ],
)
def test_16_bit_is_scaled_by_the_bits_in_use(kind, big, bits, values, expected):
    """The sensor's brightest value becomes 255, in either byte order; above it stays 255."""
    content = np.array(values, ">u2" if big else "<u2").tobytes()
    for encoding in ("mono16", "16UC1"):
        msg = image(kind, encoding, content, (1, len(values)), big=big)
        rgb = read_image(msg, bits=bits)
        np.testing.assert_array_equal(rgb[0], np.stack([expected] * 3, 1))


@every_kind
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("name", ["rgb", "bgr", "rgba", "bgra"])
def test_16_bit_colours_keep_their_order(kind, name, big):
    """Values of 257 times a colour come back as the colour, also with rows of an odd step."""
    order = ["rgba".index(letter) for letter in name]
    wide = np.dstack([COLOURS, OPAQUE])[..., order].astype(np.uint16) * 257
    rows = wide.astype(">u2" if big else "<u2").reshape(2, -1).view(np.uint8)
    padded = np.pad(rows, ((0, 0), (0, 3)))
    msg = image(kind, f"{name}16", padded.tobytes(), (2, 2), step=padded.shape[1], big=big)
    np.testing.assert_array_equal(read_image(msg), COLOURS)


def mosaic(pattern: str, colour, size=(6, 8)) -> np.ndarray:
    """A flat colour behind a colour filter, whose first 2x2 pixels spell the pattern."""
    value = dict(zip("rgb", colour, strict=True))
    tile = np.array([value[letter] for letter in pattern]).reshape(2, 2)
    return np.tile(tile, (size[0] // 2, size[1] // 2))


@every_kind
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "grbg", "gbrg"])
def test_mosaic_gives_back_its_colour(kind, pattern):
    """The name is the order of the first pixels, by rows (OpenCV's old names are shifted)."""
    eight = mosaic(pattern, (200, 100, 50)).astype(np.uint8)
    rgb = read_image(image(kind, f"bayer_{pattern}8", eight.tobytes(), eight.shape))
    assert (rgb == (200, 100, 50)).all()
    twelve = mosaic(pattern, (4095, 2048, 0)).astype(">u2")
    msg = image(kind, f"bayer_{pattern}16", twelve.tobytes(), twelve.shape, big=True)
    assert (read_image(msg, bits=12) == (255, 128, 0)).all()


# BT.601, 16..235: y, u, v of grey, white, red and blue.
YUV = {
    (128, 128, 128): (126, 128, 128),
    (255, 255, 255): (235, 128, 128),
    (254, 0, 0): (81, 90, 240),
    (0, 0, 255): (41, 240, 110),
}


@every_kind
@pytest.mark.parametrize("colour", YUV)
@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv12", "nv21"])
def test_yuv_gives_back_its_colour(kind, encoding, colour):
    """Two pixels share a colour, in the byte order of the name, also in padded rows."""
    y, u, v = YUV[colour]
    rows = {
        "yuv422": [[u, y, v, y]] * 2,
        "uyvy": [[u, y, v, y]] * 2,
        "yuv422_yuy2": [[y, u, y, v]] * 2,
        "yuyv": [[y, u, y, v]] * 2,
        "nv12": [[y, y], [y, y], [u, v]],
        "nv21": [[y, y], [y, y], [v, u]],
    }[encoding]
    padded = np.pad(np.array(rows, np.uint8), ((0, 0), (0, 3)))
    rgb = read_image(image(kind, encoding, padded.tobytes(), (2, 2), step=padded.shape[1]))
    assert rgb.shape == (2, 2, 3)
    assert np.abs(rgb.astype(int) - colour).max() <= 2


@every_kind
@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "mono8", "rgb16", "bayer_rggb8"])
def test_image_has_memory_of_its_own(kind, encoding):
    """The answer outlives the message and its buffer, and can be written."""
    content = np.arange(4 * 4 * 8, dtype=np.uint8).tobytes()
    msg = image(kind, encoding, content, (4, 4), step=32)
    rgb = read_image(msg)
    before = rgb.copy()
    held = np.frombuffer(msg.data, np.uint8)
    assert rgb.flags.c_contiguous and rgb.flags.writeable and not np.shares_memory(rgb, held)
    rgb[:] = 0
    np.testing.assert_array_equal(read_image(msg), before)


@every_kind
@pytest.mark.parametrize("big", [False, True])
def test_depth_is_metres(kind, big):
    """32FC1 as it is, NaN too; 16UC1 in millimetres with 0 unknown; padded rows, either order."""
    order = ">" if big else "<"
    metres = np.array([[1.5, np.nan], [0.25, 7.0]], f"{order}f4")
    np.testing.assert_array_equal(
        read_depth(image(kind, "32FC1", metres.tobytes(), (2, 2), big=big)), metres
    )
    millimetres = np.array([[1500, 0, 9], [250, 65535, 9]], f"{order}u2").tobytes()
    found = read_depth(image(kind, "16UC1", millimetres, (2, 2), step=6, big=big))
    np.testing.assert_allclose(found, [[1.5, np.nan], [0.25, 65.535]], rtol=1e-6)
    assert found.dtype == np.float32 and found.flags.writeable


@every_kind
def test_a_picture_is_no_depth(kind):
    """Another encoding is named beside what is expected; data that are cut are refused."""
    with pytest.raises(DataError, match="encoding is 'mono8', expected 32FC1"):
        read_depth(image(kind, "mono8", bytes(4), (2, 2)))
    with pytest.raises(DataError, match="data holds 4 bytes"):
        read_depth(image(kind, "32FC1", bytes(4), (2, 2), step=8))


@pytest.mark.ros
def test_both_kinds_read_the_same_from_the_wire():
    """One serialised image is one picture, whoever deserialised it."""
    from rclpy.serialization import deserialize_message
    from rosbags.typesys import Stores, get_typestore
    from sensor_msgs.msg import Image

    content = np.random.default_rng(0).bytes(6 * 40)
    store = get_typestore(Stores.ROS2_JAZZY)
    name = "sensor_msgs/msg/Image"
    raw = store.serialize_cdr(image("rosbags", "bgr8", content, (6, 8), step=40), name)
    offline = store.deserialize_cdr(raw, name)
    live = deserialize_message(bytes(raw), Image)
    np.testing.assert_array_equal(read_image(offline), read_image(live))
    assert nanoseconds(offline.header.stamp) == nanoseconds(live.header.stamp) == 3_500_000_000


BAD_IMAGES = {
    "unknown": (("32FC1", 16, (2, 2), 8), "encoding '32FC1' is no picture"),
    "no encoding": (("", 16, (2, 2), 8), "encoding ''"),
    "no rows": (("bgr8", 12, (0, 2), 6), "size is 2x0, expected at least 1"),
    "no columns": (("bgr8", 12, (2, 0), 6), "size is 0x2, expected at least 1"),
    "short step": (("bgr8", 12, (2, 2), 5), "step is 5 bytes, expected at least 6 for a row of 2"),
    "no step": (("mono8", 4, (2, 2), 0), "step is 0 bytes, expected at least 2"),
    "step of 16 bit": (("mono16", 8, (2, 2), 2), "step is 2 bytes, expected at least 4"),
    "short data": (("bgr8", 11, (2, 2), 6), "data holds 11 bytes, expected 12 for 2x2 bgr8"),
    "no data": (("bgr8", 0, (2, 2), 6), "data holds 0 bytes, expected 12"),
    "short nv12": (("nv12", 5, (2, 2), 2), "data holds 5 bytes, expected 6"),
    "odd uyvy": (("uyvy", 12, (2, 3), 6), "size is 3x2, expected an even width of uyvy"),
    "odd nv12": (("nv12", 9, (3, 2), 2), "size is 2x3, expected an even height of nv12"),
    "small mosaic": (("bayer_rggb8", 4, (2, 2), 2), "expected at least 3 pixels a side"),
    "huge": (("bgr8", 12, (2**32 - 1, 2**31), 2**32 - 1), "expected at least 6442450944"),
}


@every_kind
@pytest.mark.parametrize("case", BAD_IMAGES)
def test_image_that_cannot_be_right_is_refused(kind, case):
    """One line says what came and what was expected."""
    (encoding, count, size, step), reason = BAD_IMAGES[case]
    msg = SimpleNamespace(height=size[0], width=size[1], encoding=encoding, is_bigendian=0)
    msg.step, msg.data = step, data_of(kind, b"\x01" * count)
    with pytest.raises(DataError, match=reason) as caught:
        read_image(msg)
    assert "\n" not in str(caught.value)


# --- compressed images ---------------------------------------------------------------------------


def smooth(size=(48, 64)) -> np.ndarray:
    """A picture that JPEG keeps. (H, W, 3) uint8 RGB"""
    coarse = np.random.default_rng(1).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_LINEAR)


def encoded(pixels: np.ndarray, ext: str) -> bytes:
    """Encode RGB or grey."""
    bgr = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    return cv2.imencode(ext, np.ascontiguousarray(bgr))[1].tobytes()


@every_kind
def test_jpeg_and_png_come_back_as_rgb(kind):
    """PNG is exact, JPEG close; neither is named by anything but its bytes."""
    rgb = smooth()
    np.testing.assert_array_equal(read_compressed(compressed(kind, encoded(rgb, ".png"))), rgb)
    jpeg = read_compressed(compressed(kind, encoded(rgb, ".jpg"), "rgb8; jpeg compressed bgr8"))
    assert np.abs(jpeg.astype(int) - rgb).mean() < 3


@every_kind
def test_16_bit_png_is_scaled_by_the_bits_in_use(kind):
    """A 12-bit sensor's 4095 is white."""
    grey = np.array([[0, 2048, 4095]], np.uint16)
    msg = compressed(kind, encoded(grey, ".png"), "mono16; png compressed mono16")
    np.testing.assert_array_equal(read_compressed(msg, bits=12)[0, :, 0], [0, 128, 255])
    np.testing.assert_array_equal(read_compressed(msg)[0, :, 0], [0, 8, 16])


@every_kind
def test_compressed_mosaic_is_demosaiced(kind):
    """image_transport compresses a mosaic as grey and says so in the format only."""
    content = encoded(mosaic("grbg", (200, 100, 50)).astype(np.uint8), ".png")
    rgb = read_compressed(compressed(kind, content, "bayer_grbg8; png compressed "))
    assert (rgb == (200, 100, 50)).all()
    colour = encoded(smooth(), ".png")
    rgb = read_compressed(compressed(kind, colour, "bayer_grbg8; jpeg compressed bgr8"))
    np.testing.assert_array_equal(rgb, smooth())


@every_kind
@pytest.mark.parametrize("ext", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_truncated_picture_is_refused(kind, ext, share):
    """OpenCV would fill what is missing with grey and say nothing."""
    content = encoded(smooth((240, 320)), ext)
    cut = content[: int(len(content) * share)]
    with pytest.raises(DataError, match="compressed image: (truncated|not a readable)"):
        read_compressed(compressed(kind, cut))


@every_kind
@pytest.mark.parametrize(
    ("content", "form", "reason"),
    [
        (b"", "jpeg", r"not a readable image \(0 bytes\)"),
        (b"no picture at all", "jpeg", r"not a readable image \(17 bytes\)"),
        (b"\x00" * 40, "16UC1; compressedDepth png", "is depth, expected a picture"),
    ],
)
def test_what_is_no_picture_is_refused(kind, content, form, reason):
    """Empty, garbage and depth each say so."""
    with pytest.raises(DataError, match=reason):
        read_compressed(compressed(kind, content, form))


# --- cameras -------------------------------------------------------------------------------------

INFO_KINDS = [*KINDS, "ros1"]


@pytest.mark.parametrize("kind", INFO_KINDS)
def test_camera_is_read_as_calibrated(kind):
    """K and D are those of the message: small letters in ROS 2, capitals in ROS 1."""
    D = [-0.3, 0.1, 0.001, -0.002, 0.0]
    source = read_camera(camera_info(kind, d=D), (480, 640))
    assert source.camera.size == (480, 640)
    np.testing.assert_array_equal(source.camera.K, [[500, 0, 320], [0, 510, 240], [0, 0, 1]])
    assert source.distortion_model == "brown_conrady" and list(source.D) == D


@every_kind
@pytest.mark.parametrize(
    ("model", "D", "expected"),
    [
        ("plumb_bob", [0.0] * 5, "none"),
        ("plumb_bob", [], "none"),
        ("", [], "none"),
        ("", [0.0] * 5, "none"),
        ("plumb_bob", [0.1, 0, 0, 0, 0], "brown_conrady"),
        ("rational_polynomial", [0.1] * 8, "brown_conrady"),
        ("equidistant", [0.0] * 4, "kannala_brandt"),
    ],
)
def test_distortion_models_of_ros_are_known(kind, model, D, expected):
    """No coefficients, or zeros only, is a pinhole; an equidistant lens bends even with zeros."""
    source = read_camera(camera_info(kind, distortion_model=model, d=D), (480, 640))
    assert source.distortion_model == expected
    assert source.is_distorted == (expected != "none")


@every_kind
def test_region_and_binning_move_the_camera_with_the_pixels(kind):
    """A sensor pixel lies in the image where the window and the averaging of pixels put it."""
    roi = {"x_offset": 100, "y_offset": 60, "width": 402, "height": 300}
    info = camera_info(kind, roi=roi, binning_x=4, binning_y=2)
    camera = read_camera(info, (150, 100)).camera
    ray = np.array([0.1, -0.2, 1.0])
    sensor = [500 * 0.1 + 320, 510 * -0.2 + 240]
    expected = [(sensor[0] - 100 + 0.5) / 4 - 0.5, (sensor[1] - 60 + 0.5) / 2 - 0.5]
    np.testing.assert_allclose((camera.K @ ray)[:2], expected)


@every_kind
def test_image_of_another_size_takes_the_camera_along(kind):
    """Half the size: half the focal length, and the centre of the picture stays its centre."""
    camera = read_camera(camera_info(kind, d=[0.1, 0, 0, 0, 0]), (240, 320)).camera
    np.testing.assert_allclose(camera.K, [[250, 0, 159.75], [0, 255, 119.75], [0, 0, 1]])
    rounded = camera_info(kind, width=427, height=240, k=[300.0, 0, 213, 0, 300, 120, 0, 0, 1])
    assert read_camera(rounded, (720, 1280)).camera.size == (720, 1280)  # 426.67 columns once


@every_kind
def test_rectified_image_has_the_camera_of_P(kind):
    """An image_rect comes with the K and D of the lens it no longer shows."""
    info = camera_info(kind, d=[-0.3, 0.1, 0, 0, 0])
    source = read_camera(info, (480, 640), rectified=True)
    np.testing.assert_array_equal(source.camera.K, [[480, 0, 310], [0, 490, 250], [0, 0, 1]])
    assert not source.is_distorted


BAD_CAMERAS = {
    "not calibrated": ({"k": [0.0] * 9}, r"K\[0\] is 0, so the camera is not calibrated; "),
    "no size": ({"width": 0, "height": 0}, "size must be positive, got 0x0"),
    "other ratio": (
        {"width": 1280, "height": 720},
        "calibration is for 1280x720, expected the ratio of the 640x480 image; publish",
    ),
    "one row less": (
        {"height": 479},
        "calibration is for 640x479, expected the ratio of the 640x480",
    ),
    "skew": ({"k": [500.0, 1, 320, 0, 500, 240, 0, 0, 1]}, "skew is not supported, got 1;"),
    "NaN": ({"k": [500.0, 0, np.nan, 0, 500, 240, 0, 0, 1]}, "K must be finite"),
    "by columns": (
        {"k": [500.0, 0, 0, 0, 500, 0, 320, 240, 1]},
        r"last row of K is \(320, 240, 1\)",
    ),
    "negative": ({"k": [500.0, 0, 320, 0, -500, 240, 0, 0, 1]}, "fx and fy must be positive"),
    "centre outside": (
        {"k": [500.0, 0, 3200, 0, 500, 240, 0, 0, 1]},
        "principal point at 5.00, 0.50 of",
    ),
    "unknown model": ({"distortion_model": "magic"}, "unknown distortion model 'magic'"),
    "wrong D": ({"d": [0.1, 0.1]}, "plumb_bob takes 5 distortion coefficients, got 2"),
    "region too large": ({"roi": {"width": 640, "height": 480, "x_offset": 1}}, "leaves the"),
    "binned away": ({"binning_x": 700}, "size must be positive"),
}


@every_kind
@pytest.mark.parametrize("case", BAD_CAMERAS)
def test_impossible_camera_is_refused_in_one_line(kind, case):
    """The message says camera_info and what is wrong with it."""
    changes, reason = BAD_CAMERAS[case]
    with pytest.raises(DataError, match=f"^camera_info: .*{reason}") as caught:
        read_camera(camera_info(kind, **dict(changes)), (480, 640))
    assert "\n" not in str(caught.value)


def test_image_not_rectified_by_P_of_zeros():
    """A calibration without stereo or rectification may leave P empty."""
    info = camera_info("rosbags", p=[0.0] * 12)
    with pytest.raises(DataError, match=r"P\[0\] is 0"):
        read_camera(info, (480, 640), rectified=True)


# --- poses ---------------------------------------------------------------------------------------

HALF = np.sqrt(0.5)


@every_kind
def test_pose_takes_points_of_the_body_to_the_world(kind):
    """A quarter turn to the left: ahead (x) becomes left (y)."""
    T = read_pose(pose(kind, (1, 2, 3), (0, 0, HALF, HALF)))
    np.testing.assert_allclose(T @ [1, 0, 0, 1], [1, 3, 3, 1], atol=1e-12)


@every_kind
def test_quaternion_of_few_digits_is_normalised(kind):
    """0.707 typed by hand is a rotation all the same."""
    R = read_pose(pose(kind, (0, 0, 0), (0, 0, 0.707, 0.707)))[:3, :3]
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)


@every_kind
@pytest.mark.parametrize(
    ("xyz", "xyzw", "reason"),
    [
        ((0, 0, 0), (0, 0, 0, 0), "norm 0, expected 1"),
        ((0, 0, 0), (0, 0, 1, 1), "norm 1.414, expected 1"),
        ((0, np.nan, 0), (0, 0, 0, 1), "holds NaN or an infinite number"),
        ((0, np.inf, 0), (0, 0, 0, 1), "holds NaN or an infinite number"),
        ((0, 0, 0), (0, 0, 0, np.nan), "holds NaN or an infinite number"),
    ],
)
def test_pose_that_is_none_is_refused(kind, xyz, xyzw, reason):
    """A quaternion nobody set is all zeros: no pose, not the identity."""
    with pytest.raises(DataError, match=f"^pose: .*{reason}"):
        read_pose(pose(kind, xyz, xyzw))
    with pytest.raises(DataError, match=f"^transform: .*{reason}"):
        read_transform(transform(kind, "a", "b", xyz, xyzw).transform)


def odometry(sec: int, covariance: float, speed: float = 0.0) -> SimpleNamespace:
    """What is read of an Odometry; the variances are those of the place and of the speed."""
    stamp = SimpleNamespace(sec=sec, nanosec=500_000_000 if sec else 0)
    told = SimpleNamespace(pose=pose("rosbags", (1, 2, 3), (0, 0, 0, 1)), covariance=[covariance])
    twist = SimpleNamespace(covariance=[speed])
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp), pose=told, twist=twist)


def test_odometry_is_a_stamp_and_a_pose():
    """Seconds, and the body in the odometry's world."""
    stamp, T = read_odometry(odometry(3, 0.5))
    assert stamp == 3.5 and T[:3, 3].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("sec", "covariance", "speed", "reason"),
    [
        (0, 0.0, 0.0, "stamp is zero"),
        (3, 9999.0, 0.0, "it is lost"),
        (3, 9999.0, 9999.0, "it is lost"),
    ],
)
def test_odometry_that_knows_nothing_is_refused(sec, covariance, speed, reason):
    """The pose beside a covariance of 9999 is a filler."""
    with pytest.raises(DataError, match=f"^odometry: .*{reason}"):
        read_odometry(odometry(sec, covariance, speed))


def test_odometry_that_has_drifted_is_not_lost():
    """After a kilometre at 10 % the place is 100 m unsure, 10 000 m^2; the motion is as before."""
    assert read_odometry(odometry(3, 1e4, 0.01))[0] == 3.5


# --- frames --------------------------------------------------------------------------------------


@every_kind
def test_tree_joins_frames_in_both_directions(kind):
    """base -> mast -> camera, base -> imu: each to each, through the frame they share."""
    tree = FrameTree()
    quarter = (0, 0, HALF, HALF)
    mast = transform(kind, "base", "mast", (0, 0, 2), quarter)
    tree.add([mast, transform(kind, "base", "imu", (1, 0, 0))])
    tree.add([transform(kind, "mast", "camera", (0.5, 0, 0), quarter)])
    T = tree.lookup("base", "camera")  # half a metre ahead of the mast is to the left of the base
    np.testing.assert_allclose(T @ [1, 0, 0, 1], [-1, 0.5, 2, 1], atol=1e-12)
    np.testing.assert_allclose(tree.lookup("camera", "base") @ T, np.eye(4), atol=1e-12)
    in_imu = tree.lookup("imu", "camera") @ [0, 0, 0, 1]
    np.testing.assert_allclose(in_imu, [-1, 0.5, 2, 1], atol=1e-12)
    np.testing.assert_array_equal(tree.lookup("camera", "camera"), np.eye(4))


def test_tree_says_when_nothing_joins_two_frames():
    """Unknown frames and separate trees have no transform."""
    tree = FrameTree()
    tree.add([transform("rosbags", "base", "camera", (1, 0, 0))])
    tree.add([transform("rosbags", "other", "lamp", (1, 0, 0))])
    assert tree.lookup("base", "lamp") is None
    assert tree.lookup("base", "nobody") is None


def test_ring_of_frames_ends():
    """Frames that are each other's parent, or their own, end a search and do not hang it."""
    tree = FrameTree()
    ring = [("a", "b"), ("b", "c"), ("c", "a"), ("d", "d")]
    tree.add([transform("rosbags", parent, child, (1, 0, 0)) for parent, child in ring])
    assert tree.lookup("a", "c") is not None
    assert tree.lookup("a", "nobody") is None and tree.lookup("d", "a") is None


def test_tree_takes_the_latest_and_ignores_a_leading_slash():
    """A frame that is told again is replaced; ROS 1 wrote /base for base."""
    tree = FrameTree()
    tree.add([transform("rosbags", "base", "camera", (1, 0, 0))])
    tree.add([transform("rosbags", "/base", "/camera", (2, 0, 0))])
    np.testing.assert_allclose(tree.lookup("base", "/camera")[:3, 3], [2, 0, 0])


def test_bad_transform_is_named_and_the_others_are_taken():
    """One publisher that is wrong does not take the frames of the others away."""
    bad = transform("rosbags", "base", "lamp", (0, 0, 0), (0, 0, 0, 0))
    tree = FrameTree()
    with pytest.raises(DataError, match="frame 'lamp' in 'base': transform: .*norm 0"):
        tree.add([bad, transform("rosbags", "base", "camera", (1, 0, 0))])
    assert tree.lookup("base", "lamp") is None
    assert tree.lookup("base", "camera") is not None


# --- camera_info that contradicts itself ----------------------------------------------------------

SMALL = (120, 160)
OF_SMALL = [82.0, 0, 80.2, 0, 81.5, 58.9, 0, 0, 1]  # centre of 160x120
OF_FULL = [328.0, 0, 322.3, 0, 326, 237.1, 0, 0, 1]  # four times that: c' = 4 (c + 0.5) - 0.5


@pytest.mark.parametrize(
    ("changes", "is_said"),
    [
        ({"k": OF_FULL, "binning_x": 4, "binning_y": 4}, False),  # as the standard wants it
        ({"k": OF_SMALL, "binning_x": 4, "binning_y": 4}, True),  # the driver binned K already
        ({"k": OF_SMALL}, True),  # the same driver, no binning stated
        ({"k": OF_FULL}, False),  # pictures resized behind the driver
        ({"k": OF_SMALL, "width": 160, "height": 120, "binning_x": 1, "binning_y": 1}, False),
        # Width and height are those of the picture, K that of the full sensor.
        ({"k": OF_FULL, "width": 160, "height": 120, "binning_x": 4, "binning_y": 4}, True),
    ],
)
def test_K_is_told_by_its_principal_point(changes, is_said):
    """Whatever the driver states, K of the picture is the one whose centre is its middle."""
    source = read_camera(camera_info("rosbags", **changes), SMALL)
    np.testing.assert_allclose(source.camera.K.ravel(), OF_SMALL, atol=1e-9)
    assert bool(source.assumed) == is_said
    assert all("principal point at 0.50, 0.49" in text for text in source.assumed)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"k": [20.5, 0, 20, 0, 20.4, 14.7, 0, 0, 1]}, "at 0.13, 0.13 of the 160x120"),
        ({"k": [328.0, 0, 322, 0, 326, 237, 0, 0, 1]}, "of about 645x475 pixels"),
        ({"k": [82.0, 0, 59.5, 0, 82, 79.5, 0, 0, 1]}, "turned by 90 degrees"),
        ({"width": 120, "height": 160}, "turned by 90 degrees"),
    ],
)
def test_K_of_no_reading_is_refused_with_its_place(changes, words):
    """Scaled twice, of a larger picture, of a turned one: where the centre lies is named."""
    fields = {"width": 160, "height": 120, "k": OF_SMALL} | changes
    with pytest.raises(DataError, match=words) as caught:
        read_camera(camera_info("rosbags", **fields), SMALL)
    assert "\n" not in str(caught.value)


def test_region_of_interest_may_lie_off_the_axis():
    """A window in the corner of the sensor has its principal point in its own corner."""
    roi = {"x_offset": 200, "y_offset": 150, "width": 160, "height": 120}
    source = read_camera(camera_info("rosbags", roi=roi), SMALL)
    assert (source.camera.cx, source.camera.cy) == (120, 90) and not source.assumed
    corner = {"x_offset": 310, "y_offset": 230, "width": 160, "height": 120}
    source = read_camera(camera_info("rosbags", roi=corner), SMALL)
    assert (source.camera.cx, source.camera.cy) == (10, 10)


def test_principal_point_off_in_one_axis_is_taken_with_a_word():
    """Pictures cut at the top are common; the place is named."""
    source = read_camera(camera_info("rosbags", k=[500.0, 0, 320, 0, 500, 60, 0, 0, 1]), (480, 640))
    assert source.camera.cy == 60 and "0.50, 0.13" in source.assumed[0]


@pytest.mark.parametrize(
    ("model", "D", "expected"),
    [
        ("equidistant", [-0.01, 0.05, -0.04, 0.01, 0.0], (-0.01, 0.05, -0.04, 0.01)),
        ("fisheye", [0.1, 0.0, 0.0, 0.0, 0, 0, 0, 0], (0.1, 0, 0, 0)),
        ("plumb_bob", [-0.3, 0.1, 0, 0, 0, 0, 0, 0], (-0.3, 0.1, 0, 0, 0)),
        ("rational_polynomial", [0.1, 0.2, 0, 0, 0.3, 0.4, 0.5, 0.6, 0, 0], None),
    ],
)
def test_zeros_behind_the_coefficients_mean_nothing(model, D, expected):
    """RealSense T265 sends a fifth that is 0; other drivers fill an array of fixed length."""
    source = read_camera(camera_info("rosbags", distortion_model=model, d=D), (480, 640))
    assert (tuple(D[:8]) if expected is None else expected) == source.D


def test_a_fifth_coefficient_that_is_not_zero_is_refused():
    """It is of another model."""
    info = camera_info("rosbags", distortion_model="equidistant", d=[0.1, 0, 0, 0, 0.2])
    with pytest.raises(DataError, match="takes 4 distortion coefficients, got 5"):
        read_camera(info, (480, 640))


def test_distortion_without_a_model_is_told_by_its_length():
    """An empty name with coefficients: five are plumb_bob, and that is said."""
    source = read_camera(
        camera_info("rosbags", distortion_model="", d=[-0.3, 0.1, 0, 0, 0]), (480, 640)
    )
    assert source.distortion_model == "brown_conrady" and "plumb_bob" in source.assumed[0]
    assert not read_camera(camera_info("rosbags", distortion_model="", d=[]), (480, 640)).assumed


def test_second_camera_of_a_pair_is_named():
    """P[3] = -fx B: 48 px of 480 px are 0.1 m."""
    source = read_camera(camera_info("rosbags"), (480, 640), rectified=True)
    assert "0.1 m beside the first" in source.assumed[0]
