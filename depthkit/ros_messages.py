# SPDX-License-Identifier: Apache-2.0
"""What ROS messages say, as arrays: stamps, images, cameras, poses, the tree of static frames.

Messages are read by their fields only, so that those of rclpy (live) and of rosbags (files, also of
ROS 1) go one way. What cannot be right is refused: what came, what was expected, what to do.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from depthkit.camera import SourceCamera, build_source_camera
from depthkit.camera.camera_info import camera_of_image, model_name, second_camera
from depthkit.errors import DataError
from depthkit.picture import BAYER_CODES, decode_rgb, to_8_bit
from depthkit.rigid import inverse, make_pose, quaternion_to_matrix

LOST = 9999.0
"""Variance of a pose that odometry does not know, as of rtabmap_odom."""

NORM_TOLERANCE = 0.01
"""How far from 1 the squared norm of a quaternion may lie; tf2 refuses at the same limit."""


def nanoseconds(stamp: Any) -> int:
    """Return a builtin_interfaces/Time in nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def seconds(ns: int) -> float:
    """Return nanoseconds in seconds; the one conversion, so that live and offline agree."""
    return ns * 1e-9


# --- images --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Layout:
    """How an encoding lies in memory, and how OpenCV turns it into RGB."""

    channels: int
    code: int | None
    """For cv2.cvtColor; None where it is RGB already."""
    dtype: str = "u1"
    """Type of a channel; two bytes are scaled to one before the code is applied."""
    least: int = 1
    """Pixels a side: OpenCV leaves a smaller mosaic black without a warning."""
    even: tuple[str, ...] = ()
    """Sides that must be even, as two pixels share a colour."""
    rows: float = 1.0
    """Rows in memory per row of the image: NV12 has its colours below the grey."""


_UYVY = _Layout(2, cv2.COLOR_YUV2RGB_UYVY, even=("width",))
_YUYV = _Layout(2, cv2.COLOR_YUV2RGB_YUYV, even=("width",))
_LAYOUTS = {
    "rgb8": _Layout(3, None),
    "bgr8": _Layout(3, cv2.COLOR_BGR2RGB),
    "rgba8": _Layout(4, cv2.COLOR_RGBA2RGB),
    "bgra8": _Layout(4, cv2.COLOR_BGRA2RGB),
    "mono8": _Layout(1, cv2.COLOR_GRAY2RGB),
    # Types of OpenCV name no order of colours: cv_bridge takes them in OpenCV's own, BGR.
    "8UC1": _Layout(1, cv2.COLOR_GRAY2RGB),
    "8UC3": _Layout(3, cv2.COLOR_BGR2RGB),
    "8UC4": _Layout(4, cv2.COLOR_BGRA2RGB),
    "rgb16": _Layout(3, None, "u2"),
    "bgr16": _Layout(3, cv2.COLOR_BGR2RGB, "u2"),
    "rgba16": _Layout(4, cv2.COLOR_RGBA2RGB, "u2"),
    "bgra16": _Layout(4, cv2.COLOR_BGRA2RGB, "u2"),
    "mono16": _Layout(1, cv2.COLOR_GRAY2RGB, "u2"),
    "16UC1": _Layout(1, cv2.COLOR_GRAY2RGB, "u2"),
    **{f"bayer_{name}8": _Layout(1, code, least=3) for name, code in BAYER_CODES.items()},
    **{f"bayer_{name}16": _Layout(1, code, "u2", least=3) for name, code in BAYER_CODES.items()},
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
    "nv12": _Layout(1, cv2.COLOR_YUV2RGB_NV12, even=("width", "height"), rows=1.5),
    "nv21": _Layout(1, cv2.COLOR_YUV2RGB_NV21, even=("width", "height"), rows=1.5),
}


def read_image(msg: Any, *, bits: int = 16) -> np.ndarray:
    """Read a sensor_msgs/Image as 8-bit RGB in memory of its own.

    Args:
        msg: any picture encoding of sensor_msgs/image_encodings; rows may be padded.
        bits: bits in use of a 16-bit pixel; their largest value becomes 255.

    Returns:
        (H, W, 3) uint8, C-contiguous

    Raises:
        DataError: unknown encoding, or size, step and data that do not fit together.
    """
    layout = _LAYOUTS.get(msg.encoding)
    if layout is None:
        raise DataError(
            f"image: encoding {msg.encoding!r} is no picture that can be read; expected rgb8, "
            "bgr8, mono8, mono16, bayer_rggb8, yuv422 or their like of sensor_msgs/image_encodings"
        )
    pixels = _view(msg, layout)
    if layout.dtype == "u2":
        pixels = to_8_bit(np.ascontiguousarray(pixels, dtype=np.uint16), bits)
    if layout.code is None:
        return np.array(pixels, order="C")
    return cv2.cvtColor(pixels, layout.code)


def read_depth(msg: Any) -> np.ndarray:
    """Read a sensor_msgs/Image of depth [REP 118], or of any other value of a pixel.

    Args:
        msg: 32FC1, metres; or 16UC1, millimetres with 0 for unknown. Rows may be padded.

    Returns:
        Metres, NaN unknown, in memory of its own. (H, W) float32

    Raises:
        DataError: another encoding, or size, step and data that do not fit together.
    """
    layout = {"32FC1": _Layout(1, None, "f4"), "16UC1": _Layout(1, None, "u2")}.get(msg.encoding)
    if layout is None:
        raise DataError(
            f"depth: encoding is {msg.encoding!r}, expected 32FC1 (metres) or 16UC1 (millimetres)"
        )
    pixels = np.array(_view(msg, layout), np.float32)
    if layout.dtype == "u2":
        pixels = np.where(pixels > 0, np.float32(1e-3) * pixels, np.float32(np.nan))
    return pixels


def _view(msg: Any, layout: _Layout) -> np.ndarray:
    """Look at the pixels in the message's own memory. (rows, W) or (rows, W, channels)"""
    _check_size(msg, layout)
    dtype = np.dtype(layout.dtype).newbyteorder(">" if msg.is_bigendian else "<")
    pixel = layout.channels * dtype.itemsize
    rows, row = int(msg.height * layout.rows), msg.width * pixel
    if msg.step < row:
        raise DataError(
            f"image: step is {msg.step} bytes, expected at least {row} for a row of {msg.width} "
            f"{msg.encoding} pixels; the publisher fills it wrongly"
        )
    needed, got = msg.step * (rows - 1) + row, memoryview(msg.data).nbytes
    if got < needed:
        raise DataError(
            f"image: data holds {got} bytes, expected {needed} for {msg.width}x{msg.height} "
            f"{msg.encoding} of step {msg.step}; the message was cut or filled wrongly"
        )
    grid = np.ndarray(
        (rows, msg.width, layout.channels),
        dtype,
        buffer=msg.data,
        strides=(msg.step, pixel, dtype.itemsize),
    )
    return grid if layout.channels > 1 else grid[..., 0]


def _check_size(msg: Any, layout: _Layout) -> None:
    size = f"image: size is {msg.width}x{msg.height}"
    if min(msg.width, msg.height) < layout.least:
        raise DataError(
            f"{size}, expected at least {layout.least} pixels a side; look at the camera"
        )
    for side in layout.even:
        if getattr(msg, side) % 2:
            raise DataError(
                f"{size}, expected an even {side} of {msg.encoding}; look at the camera"
            )


_VIDEO_CODECS = (
    *("h264", "avc", "avc1", "x264", "libx264", "h265", "hevc", "hvc1", "av1", "vp8", "vp9"),
    *("mpeg4", "mpeg", "mjpg", "theora", "draco"),
)


def read_compressed(msg: Any, *, bits: int = 16) -> np.ndarray:
    """Read a sensor_msgs/CompressedImage (JPEG, PNG) as 8-bit RGB.

    Args:
        msg: a mosaic that image_transport compressed as it was ("bayer_rggb8; jpeg compressed ")
            is demosaiced.
        bits: bits in use of a 16-bit PNG; their largest value becomes 255.

    Returns:
        (H, W, 3) uint8

    Raises:
        DataError: empty, truncated or no picture, or depth.
    """
    encoding, _, rest = msg.format.partition(";")
    if "compressedDepth" in rest:
        raise DataError(
            f"compressed image: format {msg.format!r} is depth, expected a picture; subscribe to "
            "the colour camera"
        )
    if encoding.strip().lower().partition(".")[0] in _VIDEO_CODECS:
        raise DataError(
            f"compressed image: format {msg.format!r} is video, expected a picture (JPEG, PNG); "
            "decode it on the robot (image_transport republish)"
        )
    pattern = encoding.strip().removeprefix("bayer_").rstrip("0123456789")
    bayer = pattern if pattern in BAYER_CODES and "bgr" not in rest else None
    return decode_rgb(bytes(msg.data), "compressed image", bayer, bits=bits)


# --- cameras -------------------------------------------------------------------------------------


def read_camera(msg: Any, size: tuple[int, int], *, rectified: bool = False) -> SourceCamera:
    """Read the camera of the images that a sensor_msgs/CameraInfo goes with.

    Args:
        msg: K and D of the full sensor; region of interest, then binning, are applied to them.
        size: (H, W) of the image; one of the same ratio is taken for a resized one. A K that
            cannot be of the stated sensor and is central in the image counts as the image's own.
        rectified: the image is rectified already (image_rect): P is its K and nothing is distorted.

    Raises:
        DataError: not calibrated, of another image ratio, or an impossible camera.
    """
    name = "P" if rectified else "K"
    K = np.asarray(_field(msg, name), dtype=np.float64).reshape(3, -1)[:, :3]
    if not np.isfinite(K).all():
        raise DataError(f"camera_info: {name} must be finite, got {K.ravel().tolist()}")
    if K[2, 0] or K[2, 1]:
        raise DataError(
            f"camera_info: the last row of {name} is ({K[2, 0]:g}, {K[2, 1]:g}, {K[2, 2]:g}), "
            "expected (0, 0, 1): it is written by columns; publish it by rows, or name a "
            "calibration file"
        )
    if K[0, 0] == 0:
        raise DataError(
            f"camera_info: {name}[0] is 0, so the camera is not calibrated; calibrate it, or name "
            "a calibration file"
        )
    if K[0, 1] != 0:
        raise DataError(
            f"camera_info: skew is not supported, got {K[0, 1]:g}; calibrate without it"
        )
    try:
        camera, assumed = camera_of_image(msg, K, size)
        if rectified:
            P = np.asarray(_field(msg, "P"), dtype=np.float64)
            return SourceCamera(camera, assumed=(*assumed, *second_camera(msg, P)))
        D = tuple(float(value) for value in _field(msg, "D"))
        model, about = model_name(msg.distortion_model, D)
        return replace(build_source_camera(camera, model, D), assumed=(*assumed, *about))
    except DataError as error:
        raise DataError(f"camera_info: {str(error).removeprefix('camera: ')}") from None


def _field(msg: Any, name: str) -> Any:
    """Return K, D or P: ROS 2 writes them small, ROS 1 in capitals."""
    return getattr(msg, name.lower()) if hasattr(msg, name.lower()) else getattr(msg, name)


# --- poses ---------------------------------------------------------------------------------------


def read_pose(pose: Any) -> np.ndarray:
    """Read a geometry_msgs/Pose of frame b in a as T_a_b; raises DataError if not rigid. (4, 4)"""
    return _rigid("pose", pose.position, pose.orientation)


def read_odometry(msg: Any) -> tuple[float, np.ndarray]:
    """Read a nav_msgs/Odometry.

    Returns:
        Its stamp, seconds, and T_odom_base. (4, 4)

    Raises:
        DataError: no pose, no stamp, or odometry that says it is lost.
    """
    stamp, variance = nanoseconds(msg.header.stamp), msg.pose.covariance[0]
    if stamp == 0:
        raise DataError("odometry: the stamp is zero; the publisher does not set it")
    # Drift alone makes a place so unsure after a long way: a velocity that is known says that it
    # tracks (rtabmap looks at both too); one that is 0 is not filled in.
    if variance >= LOST and not 0 < msg.twist.covariance[0] < LOST:
        raise DataError(f"odometry: it says that it is lost (covariance {variance:g})")
    return seconds(stamp), read_pose(msg.pose.pose)


def read_transform(transform: Any) -> np.ndarray:
    """Read a geometry_msgs/Transform as T_parent_child; raises DataError if not rigid. (4, 4)"""
    return _rigid("transform", transform.translation, transform.rotation)


def _rigid(what: str, place: Any, turn: Any) -> np.ndarray:
    t, q = (place.x, place.y, place.z), (turn.x, turn.y, turn.z, turn.w)
    if not np.isfinite([*t, *q]).all():
        raise DataError(f"{what}: holds NaN or an infinite number: position {t}, quaternion {q}")
    norm = float(np.linalg.norm(q))
    if abs(norm**2 - 1) > NORM_TOLERANCE:
        raise DataError(
            f"{what}: the quaternion {q} has norm {norm:.4g}, expected 1; the publisher does not "
            "set it or does not normalise it"
        )
    return make_pose(quaternion_to_matrix(q), t)


class FrameTree:
    """Frames that do not move against each other, as /tf_static tells them."""

    def __init__(self) -> None:
        self._parents: dict[str, tuple[str, np.ndarray]] = {}

    def add(self, transforms: Iterable[Any]) -> None:
        """Take geometry_msgs/TransformStamped messages; a later one replaces an earlier one.

        Raises:
            DataError: the first that is no transform; the others are taken all the same.
        """
        refused = None
        for one in transforms:
            child, parent = one.child_frame_id.lstrip("/"), one.header.frame_id.lstrip("/")
            try:
                self._parents[child] = parent, read_transform(one.transform)
            except DataError as error:
                refused = refused or DataError(f"frame {child!r} in {parent!r}: {error}")
        if refused:
            raise refused

    def lookup(self, target: str, source: str) -> np.ndarray | None:
        """Return T_target_source, points of source to target; None if nothing joins them. (4, 4)"""
        above = self._ancestors(target.lstrip("/"))
        for frame, T_frame_source in self._ancestors(source.lstrip("/")).items():
            if frame in above:
                return inverse(above[frame]) @ T_frame_source
        return None

    def parent(self, frame: str) -> str | None:
        """Return the frame above one; None where nothing is known above it."""
        return self._parents[frame][0] if frame in self._parents else None

    def _ancestors(self, frame: str) -> dict[str, np.ndarray]:
        """List a frame and those above it with T_ancestor_frame, nearest first; a ring ends."""
        found, T = {frame: np.eye(4)}, np.eye(4)
        while frame in self._parents:
            frame, T_parent_child = self._parents[frame]
            if frame in found:
                break
            T = T_parent_child @ T
            found[frame] = T
        return found
