# SPDX-License-Identifier: Apache-2.0
"""Settings of ORB-SLAM2/3 and stella_vslam: `Camera.fx`, `Camera1.fx`, `Camera: {fx: ..}`."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from depthkit.camera.calibration import Calibration, coefficients, find, read_scalars
from depthkit.camera.lens import lens_model


def read(record: Mapping[str, Any]) -> list[Calibration]:
    """Return the cameras of a settings file; none where no key is `Camera*.fx`."""
    groups = _groups(record)
    shared = groups.get("Camera", {})
    if groups and not any("fx" in own for own in groups.values()):
        word = str(find(shared, "type|model") or "")
        if word:
            lens_model(word, (1.0,))  # refused by its name where it has no fx
    found = [_camera(name, {**shared, **own}) for name, own in groups.items() if "fx" in own]
    if found and "LEFT.K" in record:
        text = "Camera.* taken, which is of rectified pictures; LEFT.K is of those the lens made"
        found = [replace(one, assumed=(*one.assumed, text)) for one in found]
    return found


def _groups(record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the settings by camera: Camera, Camera1, Camera2."""
    groups: dict[str, dict[str, Any]] = {}
    for key, value in record.items():
        match = re.fullmatch(r"(Camera\d?)\.(\w+)", key)
        if match:
            groups.setdefault(match[1], {})[match[2]] = value
        elif re.fullmatch(r"Camera\d?", key) and isinstance(value, Mapping):
            groups.setdefault(key, {}).update(value)
    return groups


def _camera(name: str, own: Mapping[str, Any]) -> Calibration:
    word = str(find(own, "type|model") or "")
    plain = {key: value for key, value in own.items() if key not in ("model", "name")}
    found = read_scalars(plain)
    if found is None:  # fx is there, so it is a list or a mapping
        found = read_scalars({**plain, "fx": str(plain["fx"])})
    return replace(
        found or Calibration(()),
        camera_model="" if word.lower() in ("pinhole", "perspective") else word,
        distortion_model="brown_conrady" if word.lower() in ("pinhole", "perspective", "") else "",
        D=coefficients(own, word),
        name=name,
    )
