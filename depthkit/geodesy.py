# SPDX-License-Identifier: Apache-2.0
"""Latitude and longitude on WGS84 from the coordinates of a map, and the map of a picture.

Three families need no library: UTM (transverse Mercator by Krueger's series, in the form of Karney,
J. Geodesy 2011, to the fourth order: below a micrometre inside a zone), Web Mercator and degrees.
Others come as a function from whoever read them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from depthkit.errors import DataError

RADIUS = 6_378_137.0
"""Semi-major axis of WGS84, metres."""
FLATTENING = 1 / 298.257223563
ECCENTRICITY2 = FLATTENING * (2 - FLATTENING)
UTM_SCALE, UTM_EASTING, UTM_NORTHING = 0.9996, 500_000.0, 10_000_000.0
STEP = 0.5
"""Half the step of the difference that gives metres a pixel, pixels."""

Unproject: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""Map coordinates (x, y) to latitude and longitude, degrees. (N, 2) -> (N, 2)"""

_N = FLATTENING / (2 - FLATTENING)  # third flattening
# Krueger's coefficients alpha (forward) and beta (inverse), Karney 2011, equations 35 and 36.
_ALPHA = (
    _N / 2 - 2 * _N**2 / 3 + 5 * _N**3 / 16 + 41 * _N**4 / 180,
    13 * _N**2 / 48 - 3 * _N**3 / 5 + 557 * _N**4 / 1440,
    61 * _N**3 / 240 - 103 * _N**4 / 140,
    49561 * _N**4 / 161280,
)
_BETA = (
    _N / 2 - 2 * _N**2 / 3 + 37 * _N**3 / 96 - _N**4 / 360,
    _N**2 / 48 + _N**3 / 15 - 437 * _N**4 / 1440,
    17 * _N**3 / 480 - 37 * _N**4 / 840,
    4397 * _N**4 / 161280,
)
_RECTIFYING = RADIUS / (1 + _N) * (1 + _N**2 / 4 + _N**4 / 64)


@dataclass(frozen=True, eq=False)
class Georeference:
    """Where the pixels of a picture lie on the earth."""

    crs: str
    """Name of the coordinate system, such as EPSG:32618."""
    affine: np.ndarray
    """Map coordinates of a pixel: (x, y) = A (u, v, 1), with (0, 0) the centre of the top-left
    pixel. (2, 3) float64"""
    unproject: Unproject
    """Map coordinates to latitude and longitude, degrees."""

    def __post_init__(self) -> None:
        """Refuse an affine map that squeezes the picture to a line.

        Raises:
            DataError: it does, or holds a number that is not finite.
        """
        A = np.asarray(self.affine, np.float64)
        if A.shape != (2, 3) or not np.isfinite(A).all() or np.linalg.det(A[:, :2]) == 0:
            raise DataError(
                f"georeference: expected six finite numbers that span a plane, got {A.tolist()}"
            )

    def to_geographic(self, pixels: np.ndarray) -> np.ndarray:
        """Return latitude and longitude of pixels (u, v), degrees. (N, 2) -> (N, 2)"""
        pixels = np.asarray(pixels, np.float64)
        return self.unproject(pixels @ self.affine[:, :2].T + self.affine[:, 2])

    def metres_at(self, pixel: np.ndarray) -> np.ndarray:
        """Return the metres to the east and the north that a pixel's steps along u and v make.

        Args:
            pixel: where, (u, v); the scale of a map changes over it. (2,)

        Returns:
            Columns: the step along u and along v; rows: east, north. (2, 2)
        """
        steps = np.array([[STEP, 0], [-STEP, 0], [0, STEP], [0, -STEP]])
        degrees = self.to_geographic(np.asarray(pixel, np.float64) + steps)
        delta = np.radians(np.stack([degrees[0] - degrees[1], degrees[2] - degrees[3]], axis=1))
        latitude = np.radians(degrees[:, 0].mean())
        meridian, parallel = radii(latitude)
        east, north = delta[1] * parallel, delta[0] * meridian
        return np.stack([east, north]) / (2 * STEP)


def radii(latitude: float) -> tuple[float, float]:
    """Return metres a radian of latitude and of longitude at a latitude, radians."""
    w2 = 1 - ECCENTRICITY2 * np.sin(latitude) ** 2
    meridian = RADIUS * (1 - ECCENTRICITY2) / w2**1.5
    return float(meridian), float(RADIUS / np.sqrt(w2) * np.cos(latitude))


def metres_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the way from a to b on the ellipsoid, east and north, metres; for some kilometres.

    Args:
        a, b: latitude and longitude, degrees. (..., 2)
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    middle = np.radians((a[..., 0] + b[..., 0]) / 2)
    w2 = 1 - ECCENTRICITY2 * np.sin(middle) ** 2
    meridian, parallel = RADIUS * (1 - ECCENTRICITY2) / w2**1.5, RADIUS / np.sqrt(w2)
    dlat, dlon = np.radians(b[..., 0] - a[..., 0]), np.radians(b[..., 1] - a[..., 1])
    return np.stack([dlon * parallel * np.cos(middle), dlat * meridian], axis=-1)


def unprojection(epsg: int) -> Unproject | None:
    """Return what turns coordinates of a system into degrees; None where a library must do it.

    Args:
        epsg: 326NN and 327NN (UTM of WGS84, north and south), 3857 (Web Mercator), 4326 (degrees,
            x is the longitude, as files of pictures have it).
    """
    zone = utm_zone(epsg)
    if zone is not None:
        return lambda xy: from_utm(xy, *zone)
    return {4326: _from_degrees, 3857: from_web_mercator}.get(epsg)


def utm_zone(epsg: int) -> tuple[int, bool] | None:
    """Return the zone of a UTM system of WGS84 and whether it is north; None for another system."""
    group, zone = divmod(epsg, 100)
    return (zone, group == 326) if group in (326, 327) and 1 <= zone <= 60 else None


def epsg_of(words: str) -> int | None:
    """Return the number of a coordinate system named by EPSG:N, well-known text or plain words.

    Args:
        words: of --crs, or the contents of a .prj file.

    Returns:
        The number; None where it is not found.
    """
    plain = re.fullmatch(r"\s*(?:EPSG:{1,2})?(\d{4,6})\s*", words, re.IGNORECASE)
    if plain:
        return int(plain[1])
    # The number of the whole system stands last in well-known text; those of its parts before.
    stated = re.findall(r'(?:AUTHORITY|ID)\["EPSG",\s*"?(\d+)"?\]\s*\]\s*$', words.strip())
    if stated:
        return int(stated[-1])
    is_wgs84 = re.search(r"WGS[ _]?(?:19)?84", words, re.IGNORECASE)
    utm = re.search(r"UTM[ _]zone[ _](\d{1,2})([NS])", words, re.IGNORECASE)
    if is_wgs84 and utm and 1 <= int(utm[1]) <= 60:
        return (32600 if utm[2].upper() == "N" else 32700) + int(utm[1])
    if is_wgs84 and re.match(r"\s*GEOG", words):
        return 4326
    mercator = r"Pseudo-Mercator|Mercator_Auxiliary_Sphere"
    return 3857 if is_wgs84 and re.search(mercator, words) else None


def from_web_mercator(xy: np.ndarray) -> np.ndarray:
    """Return degrees of Web Mercator, EPSG:3857. (N, 2) -> (N, 2) latitude, longitude"""
    xy = np.asarray(xy, np.float64) / RADIUS
    return np.degrees(np.stack([np.arctan(np.sinh(xy[:, 1])), xy[:, 0]], axis=1))


def _from_degrees(xy: np.ndarray) -> np.ndarray:
    return np.asarray(xy, np.float64)[:, ::-1]


def from_utm(xy: np.ndarray, zone: int, north: bool) -> np.ndarray:
    """Return latitude and longitude of UTM coordinates.

    Args:
        xy: easting and northing, metres. (N, 2)
        zone: 1 to 60.
        north: False counts northings from 10,000 km south of the equator.

    Returns:
        Degrees. (N, 2)
    """
    xy = np.asarray(xy, np.float64)
    # 1. To the conformal sphere's transverse Mercator (Karney 2011, equations 11, 15 and 16).
    eta = (xy[:, 0] - UTM_EASTING) / (UTM_SCALE * _RECTIFYING)
    xi = (xy[:, 1] - (0.0 if north else UTM_NORTHING)) / (UTM_SCALE * _RECTIFYING)
    terms = [(b, 2 * (j + 1)) for j, b in enumerate(_BETA)]
    xi_ = xi - sum(b * np.sin(k * xi) * np.cosh(k * eta) for b, k in terms)
    eta_ = eta - sum(b * np.cos(k * xi) * np.sinh(k * eta) for b, k in terms)
    # 2. To conformal latitude and longitude (equations 18 and 19).
    tau = np.sin(xi_) / np.hypot(np.sinh(eta_), np.cos(xi_))
    longitude = np.arctan2(np.sinh(eta_), np.cos(xi_)) + _meridian(zone)
    # 3. Geographic latitude from the conformal one, by Newton (equations 19 to 21).
    return np.degrees(np.stack([np.arctan(_geographic_tangent(tau)), longitude], axis=1))


def to_utm(degrees: np.ndarray, zone: int, north: bool) -> np.ndarray:
    """Return UTM coordinates, metres, of latitude and longitude, degrees. (N, 2) -> (N, 2)"""
    phi, lam = np.radians(np.asarray(degrees, np.float64)).T
    lam = lam - _meridian(zone)
    tau = _conformal_tangent(np.tan(phi))
    xi_ = np.arctan2(tau, np.cos(lam))
    eta_ = np.arcsinh(np.sin(lam) / np.hypot(tau, np.cos(lam)))
    terms = [(a, 2 * (j + 1)) for j, a in enumerate(_ALPHA)]
    xi = xi_ + sum(a * np.sin(k * xi_) * np.cosh(k * eta_) for a, k in terms)
    eta = eta_ + sum(a * np.cos(k * xi_) * np.sinh(k * eta_) for a, k in terms)
    easting = UTM_EASTING + UTM_SCALE * _RECTIFYING * eta
    northing = (0.0 if north else UTM_NORTHING) + UTM_SCALE * _RECTIFYING * xi
    return np.stack([easting, northing], axis=1)


def _meridian(zone: int) -> float:
    """Return the central meridian of a zone, radians."""
    return float(np.radians(6 * zone - 183))


def _conformal_tangent(tau: np.ndarray) -> np.ndarray:
    """Return the tangent of the conformal latitude (Karney 2011, equations 7 to 9)."""
    e = np.sqrt(ECCENTRICITY2)
    sigma = np.sinh(e * np.arctanh(e * tau / np.hypot(1, tau)))
    return tau * np.hypot(1, sigma) - sigma * np.hypot(1, tau)


def _geographic_tangent(conformal: np.ndarray) -> np.ndarray:
    """Invert `_conformal_tangent` by three Newton steps, which reach rounding."""
    tau = conformal / (1 - ECCENTRICITY2)
    for _ in range(3):
        found = _conformal_tangent(tau)
        slope = (
            (1 - ECCENTRICITY2)
            * np.hypot(1, found)
            * np.hypot(1, tau)
            / (1 + (1 - ECCENTRICITY2) * tau**2)
        )
        tau = tau + (conformal - found) / slope
    return tau
