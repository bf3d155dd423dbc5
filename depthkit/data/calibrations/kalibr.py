# SPDX-License-Identifier: Apache-2.0
"""Kalibr camchain.yaml, EuRoC/ASL sensor.yaml and ncamera files: `intrinsics: [fu, fv, cu, cv]`.

Omnidirectional models put their own parameters before these four (kalibr wiki, supported models).
"""

from collections.abc import Mapping
from typing import Any

from depthkit.camera.calibration import Calibration, coefficients, k_of, lens_words, read_size
from depthkit.camera.calibration_text import numbers
from depthkit.errors import DataError


def read(record: Mapping[str, Any]) -> list[Calibration]:
    """Return the camera of a mapping with `intrinsics` of four to six numbers."""
    if str(record.get("sensor_type", "camera")).lower() not in ("camera", "cam"):
        raise DataError(
            f"not a camera file: sensor_type is {record['sensor_type']!r}; give the sensor.yaml of "
            "the camera"
        )
    value = record.get("intrinsics")
    values = value.get("data") if isinstance(value, Mapping) else value
    if not isinstance(values, list) or any(isinstance(v, list | Mapping) for v in values):
        return []
    if len(values) in (9, 12, 16):
        return []
    if not 4 <= len(values) <= 6:
        raise DataError(f"camera: intrinsics must be fx, fy, cx, cy, got {len(values)} numbers")
    camera_word, distortion_word = lens_words(record)
    distortion = record.get("distortion")
    if isinstance(distortion, Mapping) and isinstance(distortion.get("parameters"), list | Mapping):
        return [_asl(record, distortion, numbers(values, "intrinsics"))]
    K = k_of(*numbers(values, "intrinsics")[-4:])
    if len(values) > 4 and not camera_word:
        raise DataError(
            f"camera: intrinsics hold {len(values)} numbers, expected fx, fy, cx, cy, or a "
            "camera_model"
        )
    return [
        Calibration(
            K,
            read_size(record),
            camera_model=camera_word,
            distortion_model=distortion_word,
            D=coefficients(record, f"{camera_word} {distortion_word}"),
        )
    ]


def _asl(
    record: Mapping[str, Any], distortion: Mapping[str, Any], values: tuple[float, ...]
) -> Calibration:
    """Read a camera of an ncamera file, where the distortion is a mapping of its own."""
    return Calibration(
        k_of(*values[-4:]),
        read_size(record),
        camera_model=str(record.get("type", "")),
        distortion_model=str(distortion.get("type", "")),
        D=numbers(distortion["parameters"], "distortion parameters"),
    )
