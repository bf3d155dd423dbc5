# SPDX-License-Identifier: Apache-2.0
"""A sequence folder as a ROS 2 bag: what `ros2 bag play` and the player node publish.

/image (bgr8) or /image/compressed (jpeg), /camera_info, where the sequence has poses in metres
/odometry, where it has an IMU /imu, and a latched /tf_static of what is known of the places of
camera and IMU. Recorded at their stamps.
"""

import heapq
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from depthkit.data.bag import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    ODOMETRY,
    TRANSFORMS,
    is_bag,
    rosbags_module,
    standard_types,
)
from depthkit.data.bag_imu import IMU
from depthkit.data.bag_messages import header, imu_sample, latched, new, rotation, transform
from depthkit.data.folder import check_free, make_folder, partial_path, publish
from depthkit.data.image_io import encode, read_bytes
from depthkit.data.sequence import Sequence
from depthkit.errors import DataError
from depthkit.rigid import inverse, log_se3
from depthkit.trajectory import Trajectory, interpolate_poses

MAX_GAP = 0.5
"""Seconds between two poses of a sequence between which odometry is interpolated."""

# Of one stamp, in this order: whoever waits for the image has what belongs to it already.
_TYPES = {
    "/tf_static": TRANSFORMS,
    "/imu": IMU,
    "/odometry": ODOMETRY,
    "/camera_info": CAMERA_INFO,
    "/image": IMAGE,
    "/image/compressed": COMPRESSED_IMAGE,
}


@dataclass(frozen=True)
class BagOptions:
    """How a bag is written."""

    storage: Literal["mcap", "sqlite3"] = "mcap"
    compressed: bool = False
    """Images as JPEG instead of bgr8."""
    odometry_rate: float | None = None
    """Odometry messages a second, interpolated, and one at the last pose: each frame lies between
    two. None: one at each frame's stamp."""
    T_base_cam: np.ndarray | None = None
    """The camera on its vehicle: then odometry is that of base_link. None: of the camera. (4, 4)"""
    camera_frame: str = "camera_optical"
    base_frame: str = "base_link"
    odom_frame: str = "odom"
    imu_frame: str = "imu"


def write_bag(
    sequence: Sequence,
    out: Path,
    options: BagOptions = BagOptions(),  # noqa: B008
    *,
    force: bool = False,
) -> dict[str, int]:
    """Write a bag folder: all of it appears at the end, or nothing does.

    Args:
        sequence: frames, camera and, where known, poses.
        out: the folder to make.
        options: how.
        force: replace a bag that is there.

    Returns:
        The number of messages of each topic.

    Raises:
        DataError: the folder is there already (with force: and is no bag), a frame cannot be read,
            or the disk is full.
        EngineError: rosbags is not installed.
    """
    rosbag2 = rosbags_module("rosbag2")
    check_free(out, force=force)
    if out.exists() and not (out.is_dir() and is_bag(out)):
        raise DataError(f"{out}: is no bag folder; choose another folder")
    partial = partial_path(out)
    shutil.rmtree(partial, ignore_errors=True)
    make_folder(partial)
    plugin = rosbag2.StoragePlugin[options.storage.upper()]
    try:
        # The storage file inside is named after its folder, so that one has its own name already.
        with rosbag2.Writer(partial / out.name, version=9, storage_plugin=plugin) as writer:
            counts = _write_messages(writer, sequence, options)
        publish(partial / out.name, out, force=force)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return counts


def stamp_of(time: float) -> int:
    """Return seconds in nanoseconds, to the last digit; 0 becomes 1, as ROS reads 0 as not set."""
    return round(Fraction(time) * 10**9) or 1


def twists(times: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """Return velocities along a path, in the moving frame: of the neighbours on both sides.

    Args:
        times: rising, seconds. (N,)
        poses: T_world_body. (N, 4, 4)

    Returns:
        Linear then angular velocity, in the unit of the poses and radians, a second; 0 for a
        single pose. (N, 6)
    """
    if len(times) < 2:
        return np.zeros((len(times), 6))
    last = np.minimum(np.arange(len(times)) + 1, len(times) - 1)
    first = np.maximum(np.arange(len(times)) - 1, 0)
    moved = log_se3(inverse(poses[first]) @ poses[last])
    return moved / (times[last] - times[first])[:, None]


def odometry_poses(sequence: Sequence, options: BagOptions) -> Trajectory | None:
    """Return the poses that a bag's odometry tells, T_odom_base or T_odom_cam.

    Args:
        sequence: its poses count where they are metres.
        options: rate and extrinsic.
    """
    if sequence.poses is None or sequence.depth_kind == "up_to_scale":
        return None
    known = np.isfinite(sequence.poses).all(axis=(1, 2))
    found = Trajectory(sequence.times[known], sequence.poses[known])
    if options.odometry_rate is not None and len(found):
        times = _steps(found.stamps[0], found.stamps[-1], options.odometry_rate)
        poses, inside = interpolate_poses(found, times, MAX_GAP)
        found = Trajectory(times[inside], poses[inside])
    if options.T_base_cam is not None:
        found = Trajectory(found.stamps, found.T_world_cam @ inverse(options.T_base_cam))
    return found if len(found) else None


def _steps(first: float, last: float, rate: float) -> np.ndarray:
    """Return times `rate` a second and the last, which may be less than a step away. (N,)"""
    count = max(0, math.ceil((last - first) * rate - 1e-6))  # a whole step is one, not one and dust
    return np.append(first + np.arange(count) / rate, last)


# --- messages ------------------------------------------------------------------------------------


def _write_messages(writer: Any, sequence: Sequence, options: BagOptions) -> dict[str, int]:
    """Merge all streams by their stamps and write them; count the messages of each topic."""
    types = standard_types()
    parts = (_static, _imu, _odometry, _pictures)
    streams = [part(sequence, options) for part in parts]
    connections: dict[str, Any] = {}
    counts: dict[str, int] = {}
    for stamp, topic, message in heapq.merge(*streams, key=lambda item: item[0]):
        if topic not in connections:
            qos = [latched()] if topic == "/tf_static" else []
            connections[topic] = writer.add_connection(
                topic, _TYPES[topic], typestore=types, offered_qos_profiles=qos
            )
        writer.write(connections[topic], stamp, types.serialize_cdr(message, _TYPES[topic]))
        counts[topic] = counts.get(topic, 0) + 1
    return counts


def _pictures(sequence: Sequence, options: BagOptions) -> Iterator[tuple[int, str, Any]]:
    for i, time in enumerate(sequence.times):
        stamp = stamp_of(time)
        place = header(stamp, options.camera_frame)
        yield stamp, "/camera_info", _camera_info(sequence, place)
        if options.compressed:
            data = np.frombuffer(_jpeg(sequence, i), np.uint8)
            yield stamp, "/image/compressed", new(COMPRESSED_IMAGE, place, "jpeg", data)
            continue
        bgr = np.ascontiguousarray(sequence.read_frame(i)[..., ::-1])
        height, width = bgr.shape[:2]
        message = new(IMAGE, place, height, width, "bgr8", 0, 3 * width, bgr.reshape(-1))
        yield stamp, "/image", message


def _jpeg(sequence: Sequence, i: int) -> bytes:
    """Return a frame as JPEG: its own bytes where it is one."""
    if sequence.frames[i].suffix.lower() in (".jpg", ".jpeg"):
        return read_bytes(sequence.frames[i])
    return encode(sequence.read_frame(i), "jpg")


def _camera_info(sequence: Sequence, place: Any) -> Any:
    camera = sequence.camera
    K = camera.K.reshape(9)
    P = np.concatenate([camera.K, np.zeros((3, 1))], axis=1).reshape(12)
    roi = new("sensor_msgs/msg/RegionOfInterest", 0, 0, 0, 0, False)
    size = (camera.height, camera.width)
    R = np.eye(3).reshape(9)
    return new(CAMERA_INFO, place, *size, "plumb_bob", np.zeros(5), K, R, P, 0, 0, roi)


def _odometry(sequence: Sequence, options: BagOptions) -> Iterator[tuple[int, str, Any]]:
    found = odometry_poses(sequence, options)
    if found is None:
        return
    child = options.camera_frame if options.T_base_cam is None else options.base_frame
    speeds = twists(found.stamps, found.T_world_cam)
    for time, T, speed in zip(found.stamps, found.T_world_cam, speeds, strict=True):
        stamp = stamp_of(time)
        position = new("geometry_msgs/msg/Point", *T[:3, 3].tolist())
        pose = new("geometry_msgs/msg/Pose", position, rotation(T))
        parts = (new("geometry_msgs/msg/Vector3", *part.tolist()) for part in np.split(speed, 2))
        twist = new("geometry_msgs/msg/Twist", *parts)
        unknown = np.zeros(36)
        message = new(
            ODOMETRY,
            header(stamp, options.odom_frame),
            child,
            new("geometry_msgs/msg/PoseWithCovariance", pose, unknown),
            new("geometry_msgs/msg/TwistWithCovariance", twist, unknown),
        )
        yield stamp, "/odometry", message


def _static(sequence: Sequence, options: BagOptions) -> Iterator[tuple[int, str, Any]]:
    """Say once, before all else, how the camera sits on its vehicle, and the IMU on the camera."""
    imu, stamp = sequence.imu, stamp_of(sequence.times[0])
    if imu is not None:
        stamp = min(stamp, stamp_of(float(imu.stamps[0])))
    transforms = []
    if options.T_base_cam is not None:
        place = header(stamp, options.base_frame)
        transforms.append(transform(place, options.camera_frame, options.T_base_cam))
    if imu is not None and imu.T_cam_imu is not None:
        place = header(stamp, options.camera_frame)
        transforms.append(transform(place, options.imu_frame, imu.T_cam_imu))
    if transforms:
        yield stamp, "/tf_static", new(TRANSFORMS, transforms)


def _imu(sequence: Sequence, options: BagOptions) -> Iterator[tuple[int, str, Any]]:
    imu = sequence.imu
    for row in () if imu is None else imu.rows:
        stamp = stamp_of(float(row[0]))
        yield stamp, "/imu", imu_sample(header(stamp, options.imu_frame), row)
