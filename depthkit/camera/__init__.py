# SPDX-License-Identifier: Apache-2.0
"""Pinhole cameras, the one place that rescales K, and the calibration files that a robot reads."""

from depthkit.camera.pinhole import (
    Camera,
    SourceCamera,
    build_source_camera,
    load_source_camera,
    read_stored_camera,
    resize_matrix,
    source_camera,
)

__all__ = [
    "Camera",
    "SourceCamera",
    "build_source_camera",
    "load_source_camera",
    "read_stored_camera",
    "resize_matrix",
    "source_camera",
]
