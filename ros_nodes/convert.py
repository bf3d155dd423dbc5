# SPDX-License-Identifier: Apache-2.0
"""Arrays to ROS messages; `depthkit.ros_messages` reads them back. No node and no rclpy here.

Depth follows REP 118: 32FC1 metres along the optical axis with NaN for unknown, or 16UC1
millimetres with 0 for unknown. Data is passed as array.array, which is fast in every distribution:
bytes and numpy arrays are copied byte by byte where ROS checks fields.
"""

import sys
from array import array as message_array
from typing import Literal

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, Quaternion, Transform, TransformStamped, Vector3
from nav_msgs.msg import MapMetaData, OccupancyGrid
from sensor_msgs.msg import CameraInfo, Image, Imu, PointCloud2, PointField
from std_msgs.msg import Header

from depthkit.camera import Camera
from depthkit.errors import ShapeError, check_shape
from depthkit.rigid import matrix_to_quaternion
from depthkit.runtime.result import SparsePoints

DepthEncoding = Literal["32FC1", "16UC1"]

NOT_MEASURED = -1.0
"""First covariance of a quantity that a sensor_msgs/Imu does not have."""

MOST_MILLIMETRES = 65.535
"""Depth from which on it does not fit into 16 bits of millimetres, metres."""

_POINT_FIELDS = [("x", "f4"), ("y", "f4"), ("z", "f4"), ("id", "u4"), ("sigma", "f4")]
_POINT = np.dtype(_POINT_FIELDS)
_FIELD_TYPES = {"f4": PointField.FLOAT32, "u4": PointField.UINT32}

_PIXELS = {
    "mono8": (np.uint8, "H W"),
    "rgb8": (np.uint8, "H W 3"),
    "bgr8": (np.uint8, "H W 3"),
    "16UC1": (np.uint16, "H W"),
    "32FC1": (np.float32, "H W"),
}


def image_message(pixels: np.ndarray, encoding: str, header: Header) -> Image:
    """Put pixels into an Image.

    Args:
        pixels: image in the encoding's type. (H, W) or (H, W, 3)
        encoding: mono8, rgb8, bgr8, 16UC1 or 32FC1.
        header: stamp and frame of the camera's image.
    """
    dtype, pattern = _PIXELS[encoding]
    check_shape(f"image_message: {encoding} pixels", pixels, pattern)
    if pixels.dtype != dtype:
        raise ShapeError(f"image_message: {encoding} takes {np.dtype(dtype)}, got {pixels.dtype}")
    pixels = np.ascontiguousarray(pixels)
    data = message_array("B")
    data.frombytes(pixels.view(np.uint8).data)  # accepts single bytes only
    height, width = pixels.shape[:2]
    return Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(sys.byteorder == "big"),
        step=pixels.strides[0],
        data=data,
    )


def depth_message(
    depth: np.ndarray, valid: np.ndarray, header: Header, *, encoding: DepthEncoding = "32FC1"
) -> Image:
    """Put depth into an Image.

    Args:
        depth: along the optical axis, metres. (H, W) float32
        valid: pixels with a usable depth. (H, W) bool
        header: stamp and frame of the camera's image.
        encoding: 32FC1: metres, NaN where invalid. 16UC1: rounded to millimetres, 0 where invalid
            and outside 0 to 65.535 m.
    """
    check_shape("depth_message: depth", depth, "H W")
    if encoding == "32FC1":
        return image_message(_where(valid, depth, np.nan), encoding, header)
    fits = valid & (depth > 0) & (depth < MOST_MILLIMETRES)
    millimetres = np.rint(1000.0 * _where(fits, depth, 0.0)).astype(np.uint16)
    return image_message(millimetres, encoding, header)


def _where(chosen: np.ndarray, depth: np.ndarray, other: float) -> np.ndarray:
    """Compute np.where(chosen, depth, other), 15 times as fast for a speckled choice."""
    filled = np.full_like(depth, other)
    return cv2.copyTo(depth, chosen.view(np.uint8), filled)


def camera_info_message(camera: Camera, header: Header) -> CameraInfo:
    """Convert a pinhole camera, that of a rectified image: no distortion, P is K."""
    K = camera.K
    return CameraInfo(
        header=header,
        height=camera.height,
        width=camera.width,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=K.ravel(),
        r=np.eye(3).ravel(),
        p=np.pad(K, ((0, 0), (0, 1))).ravel(),
    )


def imu_message(row: np.ndarray, header: Header) -> Imu:
    """Convert a sample t wx wy wz ax ay az, accelerations NaN where not measured. (7,)

    The header has the stamp; an IMU of this kind measures no orientation [REP 145].
    """
    message = Imu(header=header)
    w, a = row[1:4].tolist(), np.nan_to_num(row[4:7]).tolist()
    message.angular_velocity = Vector3(x=w[0], y=w[1], z=w[2])
    message.linear_acceleration = Vector3(x=a[0], y=a[1], z=a[2])
    message.orientation_covariance[0] = NOT_MEASURED
    if np.isnan(row[4:7]).any():
        message.linear_acceleration_covariance[0] = NOT_MEASURED
    return message


def pose_message(T: np.ndarray) -> Pose:
    """Convert T_a_b to the pose of frame b in a. (4, 4)"""
    x, y, z = T[:3, 3].tolist()
    return Pose(position=Point(x=x, y=y, z=z), orientation=_quaternion(T))


def transform_message(T: np.ndarray, header: Header, child_frame_id: str) -> TransformStamped:
    """Convert T_parent_child; the parent is the header's frame. (4, 4)"""
    x, y, z = T[:3, 3].tolist()
    motion = Transform(translation=Vector3(x=x, y=y, z=z), rotation=_quaternion(T))
    return TransformStamped(header=header, child_frame_id=child_frame_id, transform=motion)


def _quaternion(T: np.ndarray) -> Quaternion:
    x, y, z, w = matrix_to_quaternion(T[:3, :3]).tolist()
    return Quaternion(x=x, y=y, z=z, w=w)


def points_message(points: SparsePoints, T: np.ndarray, header: Header) -> PointCloud2:
    """Put landmarks into a PointCloud2: x, y, z, id and sigma; those that are not finite are left
    out.

    Args:
        points: landmarks of a frame.
        T: points of their world to the header's frame, in one unit. (4, 4)
        header: stamp and frame.
    """
    positions = points.positions @ T[:3, :3].T + T[:3, 3]
    known = np.isfinite(positions).all(axis=1)
    rows = np.zeros(int(known.sum()), _POINT)
    for name, column in zip("xyz", positions[known].T, strict=True):
        rows[name] = column
    rows["id"], rows["sigma"] = points.ids[known], points.sigma[known]
    data = message_array("B")
    data.frombytes(rows.tobytes())
    return PointCloud2(
        header=header,
        height=1,
        width=len(rows),
        fields=[
            PointField(name=name, offset=4 * i, datatype=_FIELD_TYPES[kind], count=1)
            for i, (name, kind) in enumerate(_POINT_FIELDS)
        ],
        is_bigendian=sys.byteorder == "big",
        point_step=_POINT.itemsize,
        row_step=_POINT.itemsize * len(rows),
        data=data,
        is_dense=True,
    )


def cloud_message(positions: np.ndarray, header: Header) -> PointCloud2:
    """Put points into a PointCloud2 with x, y, z.

    Args:
        positions: in the header's frame, metres. (N, 3)
        header: stamp and frame.
    """
    data = message_array("B")
    data.frombytes(np.ascontiguousarray(positions, "<f4").tobytes())
    return PointCloud2(
        header=header,
        height=1,
        width=len(positions),
        fields=[
            PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
            for i, name in enumerate("xyz")
        ],
        is_bigendian=False,
        point_step=12,
        row_step=12 * len(positions),
        data=data,
        is_dense=True,
    )


def grid_message(
    cells: np.ndarray, corner: np.ndarray, cell: float, header: Header
) -> OccupancyGrid:
    """Put a grid into an OccupancyGrid.

    Args:
        cells: -1 unknown, 0 free to 100 occupied; row 0 has the smallest y. (H, W) int8
        corner: position (x, y) of the outer corner of cells[0, 0], metres. (2,)
        cell: side of a cell, metres.
        header: stamp and frame.
    """
    data = message_array("b")
    data.frombytes(np.ascontiguousarray(cells, np.int8).tobytes())
    height, width = cells.shape
    place = Pose(position=Point(x=float(corner[0]), y=float(corner[1]), z=0.0))
    place.orientation.w = 1.0
    about = MapMetaData(
        map_load_time=header.stamp, resolution=cell, width=width, height=height, origin=place
    )
    return OccupancyGrid(header=header, info=about, data=data)


def stamp_message(ns: int) -> Time:
    """Convert nanoseconds to a Time."""
    sec, nanosec = divmod(ns, 1_000_000_000)
    return Time(sec=sec, nanosec=nanosec)
