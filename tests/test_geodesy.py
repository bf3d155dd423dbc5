# SPDX-License-Identifier: Apache-2.0
"""Coordinates of maps: values of PROJ, round trips, metres of a pixel by hand."""

import numpy as np
import pytest

from depthkit.errors import DataError
from depthkit.geodesy import (
    RADIUS,
    Georeference,
    epsg_of,
    from_utm,
    metres_between,
    radii,
    to_utm,
    unprojection,
)

# Latitude, longitude and what PROJ 9.5 makes of them.
PROJ = [
    (32615, (46.84260708, -91.99455989), (576663.0978457408, 5188164.555758379)),
    (32733, (-33.9249, 18.4241), (816557.7955966464, 6240887.995569803)),
    (3857, (47.37, 8.55), (951781.6462824891, 6002677.997532714)),
]


@pytest.mark.parametrize(("epsg", "degrees", "xy"), PROJ)
def test_values_of_proj(epsg, degrees, xy):
    """North, south and Web Mercator agree with PROJ to a hundredth of a millimetre."""
    found = unprojection(epsg)(np.array([xy]))[0]
    np.testing.assert_allclose(found, degrees, atol=1e-10)


def test_utm_on_its_axes():
    """The central meridian lies at 500 km; the equator at 0 north, at 10,000 km south."""
    np.testing.assert_allclose(from_utm([[500_000, 0]], 31, True), [[0, 3]], atol=1e-12)
    np.testing.assert_allclose(from_utm([[500_000, 1e7]], 31, False), [[0, 3]], atol=1e-12)
    one_degree = to_utm(np.array([[0.0, 4.0]]), 31, True)[0]
    # On the equator the scale grows with x^2 / (2 R^2): 0.9996 (1 + theta^2 / 6) on the average.
    theta = np.radians(1.0)
    assert one_degree[0] - 500_000 == pytest.approx(
        0.9996 * RADIUS * theta * (1 + theta**2 / 6 * (1 + 0.0067395)), rel=1e-7
    )


def test_utm_there_and_back():
    """A zone and three degrees beyond it: a micrometre."""
    rng = np.random.default_rng(0)
    degrees = np.column_stack([rng.uniform(-80, 84, 200), rng.uniform(-6, 6, 200) + 9])
    xy = to_utm(degrees, 32, True)
    np.testing.assert_allclose(from_utm(xy, 32, True), degrees, atol=1e-11)


@pytest.mark.parametrize(
    ("words", "number"),
    [
        ("EPSG:32618", 32618),
        ("32733", 32733),
        ('PROJCS["WGS_1984_UTM_Zone_18N",GEOGCS["GCS_WGS_1984",UNIT["Degree",0.01]]]', 32618),
        ('PROJCS["WGS 84 / UTM zone 33S",AUTHORITY["EPSG","32733"]]', 32733),
        ('GEOGCS["WGS 84",AUTHORITY["EPSG","4326"]]', 4326),
        ('PROJCS["WGS_1984_Web_Mercator_Auxiliary_Sphere",GEOGCS["GCS_WGS_1984"]]', 3857),
        ('PROJCS["RGF_1993_Lambert_93",GEOGCS["GCS_RGF_1993"]]', None),
        ("somewhere", None),
    ],
)
def test_names_of_systems(words, number):
    """Numbers, both spellings of well-known text; a system that is not told is not guessed."""
    assert epsg_of(words) == number


@pytest.mark.parametrize(
    ("epsg", "affine", "scale"),
    [
        # On the central meridian a UTM metre is 1 / 0.9996 metres of ground.
        (32631, [[0.5, 0, 500_000], [0, -0.5, 5_000_000]], (0.5 / 0.9996, 0.5 / 0.9996)),
        # A degree of latitude and of longitude at the equator.
        (4326, [[1e-5, 0, 10], [0, -1e-5, 0]], "equator"),
    ],
)
def test_metres_of_a_pixel(epsg, affine, scale):
    """East along u, north against v, by the scale of the map there."""
    if scale == "equator":
        meridian, parallel = radii(0.0)
        scale = np.radians(1e-5) * parallel, np.radians(1e-5) * meridian
    reference = Georeference(f"EPSG:{epsg}", np.array(affine), unprojection(epsg))
    found = reference.metres_at(np.zeros(2))
    np.testing.assert_allclose(found, [[scale[0], 0], [0, -scale[1]]], rtol=1e-6, atol=1e-9)


def test_web_mercator_is_stretched():
    """At 60 degrees its metre is about half a metre of ground: cos(60), less the flattening."""
    y = RADIUS * np.arcsinh(np.tan(np.radians(60)))
    reference = Georeference("EPSG:3857", np.array([[1.0, 0, 0], [0, -1, y]]), unprojection(3857))
    meridian, parallel = radii(np.radians(60))
    found = reference.metres_at(np.zeros(2))
    np.testing.assert_allclose(found[0, 0], parallel / RADIUS, rtol=1e-6)
    np.testing.assert_allclose(found[1, 1], -meridian * 0.5 / RADIUS, rtol=1e-6)


def test_metres_between_places():
    """A minute of latitude at 45 degrees is 1852.2 m; there and back are opposite."""
    a, b = np.array([45.0, 7.0]), np.array([45.0 + 1 / 60, 7.0])
    way = metres_between(a, b)
    assert way[1] == pytest.approx(1852.3, abs=0.3) and way[0] == 0
    np.testing.assert_allclose(metres_between(b, a), -way)


def test_a_flat_affine_is_refused():
    """Six numbers that squeeze the picture to a line."""
    with pytest.raises(DataError, match="span a plane"):
        Georeference("EPSG:4326", np.array([[1.0, 2, 0], [2, 4, 0]]), unprojection(4326))
