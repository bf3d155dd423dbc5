# SPDX-License-Identifier: Apache-2.0
"""Orthophotos: pixels to coordinates by world file and GeoTIFF, and what is refused."""

import sys

import cv2
import numpy as np
import pytest

from depthkit.data.orthophoto import open_orthophoto
from depthkit.data.world_file import find_world_file, read_world_file, write_world_file
from depthkit.errors import DataError

AFFINE = np.array([[0.25, 0.0, 500_010.0], [0.0, -0.25, 4_000_020.0]])
UTM = 'PROJCS["WGS_1984_UTM_Zone_31N",GEOGCS["GCS_WGS_1984"]]'


@pytest.fixture
def picture(tmp_path):
    """A grey ramp of 40x30 pixels whose left part is empty."""
    image = np.full((30, 40, 3), 90, np.uint8)
    image[:, :12] = 0
    cv2.imwrite(str(tmp_path / "field.png"), image)
    return tmp_path / "field.png"


def test_six_numbers_in_their_order(tmp_path):
    """A, D, B, E, C, F; written and read again."""
    (tmp_path / "a.pgw").write_text("0.5\n0.1\n-0.2\n-0.4\n700\n800\n")
    A = read_world_file(tmp_path / "a.pgw")
    np.testing.assert_array_equal(A, [[0.5, -0.2, 700], [0.1, -0.4, 800]])
    write_world_file(tmp_path / "b.pgw", A)
    np.testing.assert_array_equal(read_world_file(tmp_path / "b.pgw"), A)


@pytest.mark.parametrize("name", ["field.pgw", "field.pngw", "field.wld", "field.png.wld"])
def test_names_of_world_files(picture, name):
    """All four spellings are found."""
    assert find_world_file(picture) is None
    write_world_file(picture.with_name(name), AFFINE)
    assert find_world_file(picture) == picture.with_name(name)


@pytest.mark.parametrize("how", ["option", "prj"])
def test_picture_with_world_file(picture, how):
    """The world file's point is the centre of the first pixel; black squares are no picture."""
    write_world_file(picture.with_suffix(".pgw"), AFFINE)
    if how == "prj":
        picture.with_suffix(".prj").write_text(UTM)
    photo = open_orthophoto(picture, crs="EPSG:32631" if how == "option" else "")
    assert photo.georeference.crs == "EPSG:32631" and photo.rgb.shape == (30, 40, 3)
    assert not photo.valid[:, :12].any() and photo.valid[:, 12:].all()
    # 40 pixels west of x = 500,010 + 0.25 u lies the central meridian, 3 degrees east.
    longitude = photo.georeference.to_geographic(np.array([[-40.0, 0.0]]))[0, 1]
    assert longitude == pytest.approx(3.0, abs=1e-12)


@pytest.mark.parametrize(
    ("spoil", "crs", "line"),
    [
        (lambda p: p.unlink(), "EPSG:32631", "no such file; give an orthophoto"),
        (lambda p: p.with_suffix(".pgw").unlink(), "EPSG:32631", "no georeference"),
        (lambda p: None, "", "its coordinate system is unknown; give --crs EPSG:N"),
        (lambda p: p.with_suffix(".pgw").write_text("1 2 3"), "EPSG:32631", "expected six numbers"),
        (lambda p: p.with_suffix(".pgw").write_text("1 1 1 1 0 0"), "EPSG:4326", "span no plane"),
        (lambda p: p.write_text("none"), "EPSG:32631", "not a readable image"),
        (lambda p: None, "EPSG:4326", "puts it at latitude"),
    ],
)
def test_bad_orthophotos_are_one_line(picture, spoil, crs, line):
    """Missing, without a place, without a system, damaged, metres read as degrees."""
    write_world_file(picture.with_suffix(".pgw"), AFFINE)
    spoil(picture)
    with pytest.raises(DataError, match=line) as caught:
        open_orthophoto(picture, crs=crs)
    assert "\n" not in str(caught.value)


def test_the_extra_is_named(picture, monkeypatch):
    """Without rasterio: GeoTIFF and other systems say how to install it."""
    monkeypatch.setitem(sys.modules, "rasterio", None)
    picture.rename(picture.with_suffix(".tif"))
    with pytest.raises(DataError, match=r"GeoTIFF needs rasterio; run: .*\[geo\]"):
        open_orthophoto(picture.with_suffix(".tif"))
    picture.with_suffix(".tif").rename(picture)
    write_world_file(picture.with_suffix(".pgw"), AFFINE)
    with pytest.raises(DataError, match=r"coordinate system 'EPSG:2154' needs rasterio"):
        open_orthophoto(picture, crs="EPSG:2154")


def write_geotiff(path, **words):
    """A GeoTIFF whose corner lies at (500,000, 4,000,000)."""
    rasterio = pytest.importorskip("rasterio")
    values = np.arange(3 * 30 * 40, dtype=words.pop("dtype", "uint8")).reshape(3, 30, 40) % 200 + 20
    given = {"transform": rasterio.transform.from_origin(500_000, 4_000_000, 0.5, 0.5)} | words
    with rasterio.open(
        path, "w", driver="GTiff", width=40, height=30, count=3, dtype=values.dtype, **given
    ) as file:
        file.write(values)
    return values


def test_geotiff_counts_from_the_corner(tmp_path):
    """Its corner is pixel (-0.5, -0.5) here."""
    values = write_geotiff(tmp_path / "a.tif", crs="EPSG:32631")
    photo = open_orthophoto(tmp_path / "a.tif")
    np.testing.assert_array_equal(photo.rgb, np.moveaxis(values, 0, 2))
    corner = photo.georeference.affine @ [-0.5, -0.5, 1]
    np.testing.assert_allclose(corner, [500_000, 4_000_000])
    assert photo.georeference.crs == "EPSG:32631" and photo.valid.all()


def test_large_geotiff_keeps_its_corners(tmp_path):
    """Read at half the size: both corners stay where they are, and it is said."""
    write_geotiff(tmp_path / "a.tif", crs="EPSG:32631")
    photo = open_orthophoto(tmp_path / "a.tif", most_pixels=300)
    assert photo.rgb.shape == (15, 20, 3) and "read as 20x15" in photo.notes[0]
    np.testing.assert_allclose(photo.georeference.affine @ [-0.5, -0.5, 1], [500_000, 4_000_000])
    np.testing.assert_allclose(photo.georeference.affine @ [19.5, 14.5, 1], [500_020, 3_999_985])


def test_geotiff_without_georeference(tmp_path):
    """One line, whichever part is missing."""
    write_geotiff(tmp_path / "a.tif")
    with pytest.raises(DataError, match="no georeference: neither in the file"):
        open_orthophoto(tmp_path / "a.tif")


def test_other_systems_through_the_library(tmp_path):
    """Lambert 93 of France: its origin of projection is 46.5 north, 3 east."""
    write_geotiff(tmp_path / "a.tif", crs="EPSG:2154")
    photo = open_orthophoto(tmp_path / "a.tif")
    A = photo.georeference.affine
    pixel = np.linalg.solve(A[:, :2], np.array([700_000, 6_600_000]) - A[:, 2])
    np.testing.assert_allclose(
        photo.georeference.to_geographic(pixel[None])[0], [46.5, 3.0], atol=1e-6
    )
