# SPDX-License-Identifier: Apache-2.0
"""A pinhole from the focal length that photos carry in EXIF, for pictures without calibration.

FocalLengthIn35mmFilm is of the same view on 36x24 mm film: the longer side is taken as 36 mm, so
that a 4:3 picture is a few per cent off where a maker meant the diagonal (CIPA DCG-001). Without
it, FocalLength times FocalPlaneXResolution are pixels.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from depthkit.camera import Camera, SourceCamera
from depthkit.data.exif import Exif, read_exif
from depthkit.errors import DataError

FILM_WIDTH = 36.0
"""Millimetres."""
FILM_DIAGONAL = math.hypot(36.0, 24.0)
LARGEST_SAMPLE = 200
"""Pictures whose EXIF is read, spread over all."""
ZOOM_TOLERANCE = 0.02
"""Relative difference of focal lengths that are one lens at one setting."""
SHAPE_TOLERANCE = 0.02
USUAL_VIEW = (3.0, 170.0)
"""Degrees; outside it EXIF is wrong."""


def camera_of_exif(pictures: Sequence[Path], size: tuple[int, int]) -> SourceCamera | None:
    """Return the pinhole that the pictures' EXIF tells of, None where it tells of none.

    Args:
        pictures: files of one camera.
        size: (H, W) of the pictures, turned upright.

    Raises:
        DataError: focal lengths differ (a zoom), or the pictures were cropped since.
    """
    step = max(1, -(-len(pictures) // LARGEST_SAMPLE))
    sample = pictures[::step]
    tables = [(path, exif) for path in sample if (exif := read_exif(path)) is not None]
    found = [(focal, path, exif) for path, exif in tables if (focal := _focal(exif, size))]
    if not found:
        return None
    shortest, longest = min(found, key=lambda f: f[0]), max(found, key=lambda f: f[0])
    if longest[0] > shortest[0] * (1 + ZOOM_TOLERANCE):
        raise DataError(
            f"{longest[1]}: focal length of {longest[0]:.1f} pixels by EXIF, {shortest[1].name}: "
            f"{shortest[0]:.1f}, a zoom or two cameras; put each into a folder of its own, or give "
            "--camera"
        )
    focal, path, exif = found[0]
    _check_shape(exif, size, path)
    height, width = size
    view = math.degrees(2 * math.atan(width / (2 * focal)))
    if not USUAL_VIEW[0] <= view <= USUAL_VIEW[1]:
        return None
    camera = Camera(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)
    count = "" if len(found) == len(sample) else f" (of {len(found)} of {len(sample)} pictures)"
    text = (
        f"no calibration: focal length from EXIF{count}, {_words(exif, size)}: fx {focal:.1f}, a "
        f"horizontal field of view of {view:.1f} degrees, no distortion, principal point in the "
        "middle; --camera or --fov overrides it"
    )
    return SourceCamera(camera, assumed=(text,))


def _focal(exif: Exif, size: tuple[int, int]) -> float | None:
    """Return the focal length, pixels of a picture of (H, W)."""
    if exif.focal_35mm is not None:
        return exif.focal_35mm / FILM_WIDTH * max(size)
    if exif.focal_mm is None or exif.focal_plane_x_resolution is None:
        return None
    stored = max(exif.width or 0, exif.height or 0) or max(size)
    pixels = exif.focal_mm * exif.focal_plane_x_resolution / exif.focal_plane_unit_mm
    return pixels * max(size) / stored


def _words(exif: Exif, size: tuple[int, int]) -> str:
    zoom = exif.digital_zoom
    zoomed = f", digital zoom {zoom:g} taken as in it" if zoom is not None and zoom > 1 else ""
    if exif.focal_35mm is None:
        return f"{exif.focal_mm:g} mm by the resolution of the focal plane{zoomed}"
    diagonal = exif.focal_35mm / FILM_DIAGONAL * math.hypot(*size)
    return (
        f"{exif.focal_35mm:g} mm on 36 mm film along the longer side (along the diagonal it would "
        f"be fx {diagonal:.1f}){zoomed}"
    )


def _check_shape(exif: Exif, size: tuple[int, int], path: Path) -> None:
    """Refuse pictures that were cropped after EXIF was written."""
    if exif.width is None or exif.height is None:
        return
    before, now = (max(pair) / min(pair) for pair in ((exif.width, exif.height), size))
    if abs(before / now - 1) > SHAPE_TOLERANCE:
        raise DataError(
            f"{path}: EXIF is of a {exif.width}x{exif.height} picture, this one is "
            f"{size[1]}x{size[0]}: cropped since, its focal length does not give the field of "
            "view; give --camera, or --fov DEGREES"
        )
