# SPDX-License-Identifier: Apache-2.0
"""Files that are no calibration, or that name another file: one line says which program's it is."""

import re
from collections.abc import Mapping
from typing import Any, NoReturn

from depthkit.errors import DataError

EXPECTED = (
    "expected Kalibr, EuRoC, ORB-SLAM, OpenCV, ROS, camodocal, COLMAP, transforms.json, Open3D, "
    "KITTI or DSO files, K as text, or a camera.yaml with width, height, fx, fy, cx, cy"
)

_TEXTS = {
    r"(?i)^#?\s*Image list with two lines": "COLMAP's images.txt; give its cameras.txt",
    r"(?i)^#?\s*3D point list": "COLMAP's points3D.txt; give its cameras.txt",
    r"^NVM_V3": "a VisualSFM model; export COLMAP's cameras.txt or write a camera.yaml",
    r"^# Bundle file": "a Bundler model; export COLMAP's cameras.txt or write a camera.yaml",
    r"^(ply|# \.PCD|OFF)\b": "a point cloud",
    r"Calibration results\s*=*\s*(Camera-system|[Nn]ormalized)": "Kalibr's report; give its "
    "camchain.yaml",
    r"^Pix4D camera calibration": "Pix4D's, in millimetres; write width, height, fx, fy, cx, cy "
    "in pixels into a camera.yaml",
    r"^\s*(IntrinsicMatrix|cameraParameters|RadialDistortion)\b.*\[\d": "what MATLAB prints; write "
    "K as 3x3 numbers alone",
    r"^#omni|Taylor expansion": "an OCamCalib file: its lens model cannot be undistorted here; "
    "calibrate again as pinhole with equidistant distortion",
}
_KEYS = {
    "gyroscope_noise_density": "of an IMU; give the camera's",
    "cam0_calib": "the settings of VINS; give the file it names: {}",
    "sfm_data_version": "OpenMVG's; export COLMAP's cameras.txt or write a camera.yaml",
    "tagFamily": "of a calibration target; give the camera's",
    "target_type": "of a calibration target; give the camera's",
    "topics_with_message_count": "of a ROS bag; prepare the bag itself",
    "rosbag2_bagfile_information": "of a ROS bag; prepare the bag itself",
}


def refuse_text(text: str) -> None:
    """Raise where text is known to be of another kind."""
    for pattern, kind in _TEXTS.items():
        if re.search(pattern, text[:2000], re.MULTILINE):
            raise DataError(f"not a camera file: it is {kind}")


def refuse_record(record: Any) -> NoReturn:
    """Raise, and say what the mapping is or which keys it has."""
    if not isinstance(record, Mapping):
        raise DataError(
            f"not a camera file: it holds neither keys with values nor numbers alone; {EXPECTED}"
        )
    for key, kind in _KEYS.items():
        if key in record:
            raise DataError(f"not a camera file: it is {kind.format(record[key])}")
    if "frames" in record:
        raise DataError(
            "camera: transforms.json without intrinsics: add fl_x, fl_y, cx, cy, w and h, or "
            "camera_angle_x"
        )
    keys = ", ".join(list(record)[:6])
    raise DataError(f"not a camera file: it has keys {keys[:80]}; {EXPECTED}")
