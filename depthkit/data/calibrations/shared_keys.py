# SPDX-License-Identifier: Apache-2.0
"""depthkit's camera.yaml, ROS camera_info, OpenCV FileStorage, Open3D JSON: keys most write.

Open3D writes `intrinsic_matrix` by columns (PinholeCameraIntrinsic). OpenCV's stereo sample writes
M1, D1, M2, D2 of two cameras into one file.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from depthkit.camera.calibration import Calibration, read_matrices, read_scalars

_PAIR = (
    (("M1", "D1"), ("M2", "D2")),
    (("K1", "D1"), ("K2", "D2")),
    (
        ("cameraMatrix1", "distCoeffs1"),
        ("cameraMatrix2", "distCoeffs2"),
    ),
    (("cameraMatrixL", "distCoeffsL"), ("cameraMatrixR", "distCoeffsR")),
)


def read(record: Mapping[str, Any]) -> list[Calibration]:
    """Return the camera, or the two of a stereo file; none where the keys are others."""
    for pair in _PAIR:
        if all(isinstance(record.get(K), list | Mapping) for K, _ in pair):
            return [found for K, D in pair if (found := _one_of_two(record, K, D)) is not None]
    found = read_scalars(record) or read_matrices(record)
    if found is None:
        return []
    by_columns = "intrinsic_matrix" in record and not any((found.K[2], found.K[5]))
    if by_columns and found.K[6] and found.K[7]:
        found = replace(found, K=tuple(found.K[3 * j + i] for i in range(3) for j in range(3)))
    return [found]


def _one_of_two(record: Mapping[str, Any], K: str, D: str) -> Calibration | None:
    own = {"camera_matrix": record[K], "distortion_coefficients": record.get(D, [])}
    beside = {k: v for k, v in record.items() if k not in {"M1", "M2", "K1", "K2", "D1", "D2"}}
    found = read_matrices(
        {**own, **{k: v for k, v in beside.items() if not isinstance(v, Mapping)}}
    )
    return None if found is None else replace(found, name=K)
