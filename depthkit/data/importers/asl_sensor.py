# SPDX-License-Identifier: Apache-2.0
"""The camera of a sensor.yaml of the ASL format (EuRoC, TUM-VI)."""

from pathlib import Path
from typing import Any

from depthkit.camera import Camera, SourceCamera, build_source_camera, load_source_camera
from depthkit.data.folder import read_settings
from depthkit.errors import DataError

_MODELS = {"radial-tangential": "radtan", "radtan": "radtan", "equidistant": "equidistant"}


def load_camera(path: Path) -> SourceCamera:
    """Read a sensor.yaml, or whatever else `load_source_camera` reads."""
    if path.suffix.lower() in (".yaml", ".yml") and path.is_file():
        try:
            record = read_settings(path)
        except DataError:
            record = {}
        if "intrinsics" in record and "resolution" in record:
            return _from_sensor(path, record)
    return load_source_camera(path)


def _from_sensor(path: Path, record: dict[str, Any]) -> SourceCamera:
    try:
        width, height = (int(v) for v in record["resolution"])
        fx, fy, cx, cy = (float(v) for v in record["intrinsics"])
        D = tuple(float(v) for v in record.get("distortion_coefficients") or ())
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{path}: expected intrinsics [fu, fv, cu, cv] and resolution [width, height]: {error}"
        ) from None
    model = str(record.get("distortion_model") or "none").lower()
    try:
        camera = Camera(width, height, fx, fy, cx, cy)
        return build_source_camera(camera, _MODELS.get(model, model), D)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
