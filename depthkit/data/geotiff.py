# SPDX-License-Identifier: Apache-2.0
"""GeoTIFF, and any other coordinate system than the built-in ones, through the extra `geo`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from depthkit.errors import DataError
from depthkit.geodesy import Georeference, Unproject, unprojection
from depthkit.installation import install_line

RANGE = (1.0, 99.0)
"""Percentiles of values of more than 8 bit that become 0 and 255."""


def load_rasterio(about: str) -> Any:
    """Import rasterio and pass it on.

    Args:
        about: what is wanted, for the message.

    Raises:
        DataError: it is not installed.
    """
    try:
        import rasterio
        import rasterio.warp
    except ImportError:
        raise DataError(f"{about} needs rasterio; run: {install_line('geo')}") from None
    return rasterio


def library_unprojection(words: str) -> tuple[str, Unproject]:
    """Return name and conversion of a coordinate system that PROJ knows.

    Args:
        words: EPSG:N, well-known text or another spelling of PROJ.

    Raises:
        DataError: rasterio is missing, or does not know the system.
    """
    shown = words if len(words) < 40 else f"{words[:37]}..."
    rasterio = load_rasterio(f"coordinate system {shown!r}")
    try:
        crs = rasterio.crs.CRS.from_user_input(words)
    except rasterio.errors.CRSError:
        raise DataError(
            f"coordinate system {shown!r}: unknown; give --crs EPSG:N, such as EPSG:32618"
        ) from None
    return _conversion(rasterio, crs)


def _conversion(rasterio: Any, crs: Any) -> tuple[str, Unproject]:
    """Take our own conversion where there is one: the same numbers on every machine."""
    number = crs.to_epsg()
    own = None if number is None else unprojection(number)

    def by_library(xy: np.ndarray) -> np.ndarray:
        lon, lat = rasterio.warp.transform(crs, "EPSG:4326", xy[:, 0], xy[:, 1])[:2]
        return np.stack([lat, lon], axis=1)

    return (f"EPSG:{number}" if number else crs.to_string()), own or by_library


def read_geotiff(
    path: Path, *, most_pixels: int
) -> tuple[np.ndarray, np.ndarray, Georeference | None, tuple[str, ...]]:
    """Read a GeoTIFF, smaller where it is large.

    Args:
        path: the file.
        most_pixels: a larger picture is reduced to about this.

    Returns:
        Picture (H, W, 3) uint8, where it is picture at all (H, W) bool, where it lies (None where
        the file does not say), and what the user should hear.

    Raises:
        DataError: rasterio is missing, or cannot read the file.
    """
    rasterio = load_rasterio(f"{path}: GeoTIFF")
    try:
        with rasterio.open(path) as file:
            factor = max(1.0, float(np.sqrt(file.width * file.height / most_pixels)))
            size = max(1, round(file.height / factor)), max(1, round(file.width / factor))
            bands = [1, 2, 3] if file.count >= 3 else [1]
            how = rasterio.enums.Resampling.average
            values = file.read(bands, out_shape=(len(bands), *size), resampling=how)
            valid = file.dataset_mask(out_shape=size) > 0
            transform, crs, whole = file.transform, file.crs, (file.height, file.width)
    except rasterio.errors.RasterioError as error:
        raise DataError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    notes = [] if size == whole else [_about_size(path, whole, size)]
    rgb = _as_rgb(values, valid)
    if values.dtype != np.uint8:
        notes.append(f"{path.name}: {values.dtype} values stretched to 8 bit by their percentiles")
    if crs is None or transform.is_identity:
        return rgb, valid, None, tuple(notes)
    name, convert = _conversion(rasterio, crs)
    # The file counts from the corner of the first pixel, this project from its centre.
    A = np.array(transform, np.float64).reshape(3, 3)[:2]
    scale = np.array(whole[::-1]) / size[::-1]
    centre = np.array([[scale[0], 0, scale[0] / 2], [0, scale[1], scale[1] / 2], [0, 0, 1]])
    return rgb, valid, Georeference(name, A @ centre, convert), tuple(notes)


def _about_size(path: Path, whole: tuple[int, int], size: tuple[int, int]) -> str:
    return f"{path.name}: {whole[1]}x{whole[0]} pixels, read as {size[1]}x{size[0]}"


def _as_rgb(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Turn bands into 8-bit colours. (1 or 3, H, W) -> (H, W, 3) uint8"""
    if values.dtype != np.uint8:
        known = values[:, valid] if valid.any() else values.reshape(len(values), -1)
        low, high = np.nanpercentile(known, RANGE)
        scaled = (values.astype(np.float32) - low) * (255.0 / max(high - low, 1e-12))
        values = np.clip(np.nan_to_num(scaled), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(np.broadcast_to(values, (3, *values.shape[1:])), 0, 2))
