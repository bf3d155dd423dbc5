# SPDX-License-Identifier: Apache-2.0
"""Camera trajectories: the record, its checks and its files; rigid motions beside them."""

from depthkit.rigid import (
    exp_se3,
    inverse,
    log_se3,
    log_so3,
    make_pose,
    matrix_to_quaternion,
    quaternion_to_matrix,
)
from depthkit.trajectory.files import (
    TrajectoryFile,
    detect_format,
    load_euroc,
    load_kitti,
    load_trajectory,
    load_tum,
    read_trajectory,
    save_kitti,
    save_tum,
)
from depthkit.trajectory.imu import Imu, ImuNoise, check_imu, load_imu, save_imu
from depthkit.trajectory.record import Trajectory, check_trajectory, interpolate_poses
from depthkit.trajectory.table import ROTATION_TOLERANCE, Order

__all__ = [
    "Imu",
    "ImuNoise",
    "Order",
    "ROTATION_TOLERANCE",
    "Trajectory",
    "TrajectoryFile",
    "check_imu",
    "check_trajectory",
    "detect_format",
    "exp_se3",
    "interpolate_poses",
    "inverse",
    "load_euroc",
    "load_imu",
    "load_kitti",
    "load_trajectory",
    "load_tum",
    "log_se3",
    "log_so3",
    "make_pose",
    "matrix_to_quaternion",
    "quaternion_to_matrix",
    "read_trajectory",
    "save_imu",
    "save_kitti",
    "save_tum",
]
