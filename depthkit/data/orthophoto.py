# SPDX-License-Identifier: Apache-2.0
"""Georeferenced orthophotos: GeoTIFF, or a picture with a world file and a coordinate system."""

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from depthkit.data.geotiff import library_unprojection, read_geotiff
from depthkit.data.image_io import read_rgb
from depthkit.data.world_file import find_world_file, read_world_file
from depthkit.errors import DataError
from depthkit.geodesy import Georeference, Unproject, epsg_of, unprojection

MOST_PIXELS = 120_000_000
"""A larger GeoTIFF is read at a lower resolution."""
TIFF = (".tif", ".tiff")
EMPTY = 5
"""Side of the smallest black square that is taken for no picture, pixels."""


@dataclass(frozen=True, eq=False)
class Orthophoto:
    """A picture of the ground from straight above, and where it lies."""

    rgb: np.ndarray
    """(H, W, 3) uint8"""
    valid: np.ndarray
    """Pixels that are picture at all. (H, W) bool"""
    georeference: Georeference
    notes: tuple[str, ...] = ()
    """What the user should hear."""

    @property
    def middle(self) -> np.ndarray:
        """Its middle, pixels (u, v). (2,)"""
        return (np.array(self.valid.shape[::-1], np.float64) - 1) / 2

    @property
    def metres(self) -> np.ndarray:
        """Metres east and north of a pixel's steps along u and v, at the middle. (2, 2)"""
        return self.georeference.metres_at(self.middle)

    @property
    def origin(self) -> tuple[float, float]:
        """Latitude and longitude of the middle, degrees."""
        latitude, longitude = self.georeference.to_geographic(self.middle[None])[0]
        return float(latitude), float(longitude)


def open_orthophoto(path: Path, *, crs: str = "", most_pixels: int = MOST_PIXELS) -> Orthophoto:
    """Read an orthophoto.

    A GeoTIFF says itself where it lies. Any other picture has a world file beside it, and its
    coordinate system is that of `crs`, else of the .prj file beside it.

    Args:
        path: the picture.
        crs: EPSG:N; for GeoTIFF only where the file names none.
        most_pixels: a larger GeoTIFF is reduced to about this.

    Raises:
        DataError: no picture, no georeference, or an unknown coordinate system.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; give an orthophoto")
    world = find_world_file(path)
    if path.suffix.lower() in TIFF and world is None:
        return _open_geotiff(path, crs, most_pixels)
    if world is None:
        raise DataError(
            f"{path}: no georeference: no world file such as {path.stem}.wld beside it; give a "
            "GeoTIFF, or a picture with a world file"
        )
    name, convert = _coordinate_system(path, crs)
    rgb = read_rgb(path)
    black = cv2.morphologyEx(
        (rgb.max(axis=2) == 0).astype(np.uint8), cv2.MORPH_OPEN, np.ones((EMPTY, EMPTY), np.uint8)
    )
    reference = Georeference(name, read_world_file(world), convert)
    return _checked(path, Orthophoto(rgb, black == 0, reference))


def _open_geotiff(path: Path, crs: str, most_pixels: int) -> Orthophoto:
    rgb, valid, reference, notes = read_geotiff(path, most_pixels=most_pixels)
    if reference is None:
        raise DataError(
            f"{path}: no georeference: neither in the file nor as a world file "
            f"{path.stem}.tfw beside it"
        )
    if crs:
        name, convert = _named_system(crs)
        if name != reference.crs:
            notes = (*notes, f"{path.name}: says {reference.crs}, read as {name} by --crs")
        reference = replace(reference, crs=name, unproject=convert)
    return _checked(path, Orthophoto(rgb, valid, reference, notes))


def _coordinate_system(path: Path, crs: str) -> tuple[str, Unproject]:
    if crs:
        return _named_system(crs)
    sidecar = path.with_suffix(".prj")
    if not sidecar.is_file():
        raise DataError(
            f"{path}: its coordinate system is unknown; give --crs EPSG:N, or a file {sidecar.name}"
        )
    try:
        return _named_system(sidecar.read_text(encoding="utf-8", errors="replace"))
    except DataError as error:
        raise DataError(f"{sidecar}: {error}") from None


def _named_system(words: str) -> tuple[str, Unproject]:
    number = epsg_of(words)
    own = None if number is None else unprojection(number)
    if number is None or own is None:
        return library_unprojection(words if number is None else f"EPSG:{number}")
    return f"EPSG:{number}", own


def _checked(path: Path, photo: Orthophoto) -> Orthophoto:
    """Refuse a georeference that leads off the earth, as metres read as degrees do."""
    height, width = photo.rgb.shape[:2]
    corners = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]])
    degrees = photo.georeference.to_geographic(corners)
    if not np.isfinite(degrees).all() or (np.abs(degrees) > [90, 360]).any():
        raise DataError(
            f"{path}: {photo.georeference.crs} puts it at latitude {degrees[0, 0]:.6g}, longitude "
            f"{degrees[0, 1]:.6g}; check the world file and --crs"
        )
    if not photo.valid.any():
        raise DataError(f"{path}: holds no picture: every pixel is marked as empty")
    return photo
