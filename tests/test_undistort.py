# SPDX-License-Identifier: Apache-2.0
"""Undistortion: points land where K says, lines are straight, K follows crop and resize."""

import cv2
import numpy as np
import pytest

from depthkit.camera import Camera, SourceCamera
from depthkit.undistort import (
    MAX_ANGLE,
    MAX_ZOOM,
    build_geometry,
    distort_points,
    undistorted_camera,
)

H, W = 24, 32
PINHOLE = SourceCamera(Camera(W, H, 30.0, 31.0, 15.0, 12.0))
BARREL = SourceCamera(
    Camera(320, 240, 200.0, 210.0, 155.0, 122.0),
    "brown_conrady",
    (-0.28, 0.07, 0.001, -0.0005, 0.0),
)
PINCUSHION = SourceCamera(
    Camera(320, 240, 200.0, 200.0, 160.0, 120.0), "brown_conrady", (0.6, 0.1, 0.0, 0.0)
)
FISHEYE = SourceCamera(
    Camera(320, 240, 120.0, 120.0, 158.0, 121.0), "kannala_brandt", (0.02, -0.005, 0.001, 0.0)
)
LENSES = [
    pytest.param(BARREL, id="barrel"),
    pytest.param(PINCUSHION, id="pincushion"),
    pytest.param(FISHEYE, id="fisheye"),
]


def blob(camera: Camera, pixel: np.ndarray) -> np.ndarray:
    """A Gaussian spot at a sub-pixel place."""
    v, u = np.mgrid[: camera.height, : camera.width]
    distance = (u - pixel[0]) ** 2 + (v - pixel[1]) ** 2
    spot = np.rint(250 * np.exp(-distance / (2 * 2.0**2))).astype(np.uint8)
    return np.repeat(spot[..., None], 3, axis=2)


def centre_of(image: np.ndarray) -> np.ndarray:
    """The centroid (u, v) of a spot."""
    weight = image[..., 0].astype(np.float64)
    v, u = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(u * weight).sum(), (v * weight).sum()]) / weight.sum()


# --- undistortion --------------------------------------------------------------------------------


@pytest.mark.parametrize("lens", LENSES)
@pytest.mark.parametrize("ray", [(0.0, 0.0), (0.35, -0.2), (-0.3, 0.25)])
def test_undistorted_point_lies_where_the_pinhole_says(lens, ray):
    """A spot drawn through the lens comes out where K projects its ray, within 0.1 px."""
    (source,) = distort_points(lens, np.array([ray]))
    geometry = build_geometry(lens)
    found = centre_of(geometry.colour(blob(lens.camera, source)))
    expected = geometry.camera.K @ [*ray, 1.0]
    np.testing.assert_allclose(found, expected[:2], atol=0.1)


@pytest.mark.parametrize("lens", LENSES)
def test_undistorted_grid_is_straight(lens):
    """Points of a straight line in space lie on a straight line of the stored frame."""
    line = np.stack([np.linspace(-0.35, 0.35, 7), np.linspace(0.2, 0.27, 7)], axis=1)
    geometry = build_geometry(lens)
    pixels = [centre_of(geometry.colour(blob(lens.camera, p))) for p in distort_points(lens, line)]
    u, v = np.array(pixels).T
    slope, offset = np.polyfit(u, v, 1)
    assert np.abs(v - (slope * u + offset)).max() < 0.1


def test_distortion_is_that_of_opencv():
    """Our table agrees with OpenCV's own undistortion map for the same K."""
    geometry = build_geometry(BARREL)
    K, D = BARREL.camera.K, np.array(BARREL.D)
    theirs = cv2.initUndistortRectifyMap(K, D, None, geometry.camera.K, (320, 240), cv2.CV_32FC1)
    np.testing.assert_allclose(geometry.maps[0], theirs[0], atol=1e-2)
    np.testing.assert_allclose(geometry.maps[1], theirs[1], atol=1e-2)


@pytest.mark.parametrize("lens", [LENSES[0], LENSES[2]])
def test_undistorted_frame_has_no_empty_pixel(lens):
    """A white source stays white to the border: no black corners are trained on."""
    geometry = build_geometry(lens)
    white = geometry.colour(np.full((240, 320, 3), 255, np.uint8))
    assert geometry.valid is None
    assert white.min() >= 254


def test_barrel_keeps_as_much_view_as_fits():
    """Zooming out by one more percent would show an empty pixel."""
    pinhole = undistorted_camera(BARREL)
    wider = Camera(320, 240, pinhole.fx * 0.99, pinhole.fy * 0.99, pinhole.cx, pinhole.cy)
    border = np.array([[155, 0], [155, 239], [0, 122], [319, 122]])  # nearest to the axis
    rays = (border - (wider.cx, wider.cy)) / (wider.fx, wider.fy)
    pixels = distort_points(BARREL, rays)
    assert (pixels < -0.01).any() or (pixels > [319.01, 239.01]).any()


def test_fisheye_view_is_limited():
    """No ray of the stored frame lies further off the axis than MAX_ANGLE."""
    wide = SourceCamera(Camera(320, 240, 90.0, 90.0, 160.0, 120.0), "kannala_brandt", (0.0,) * 4)
    pinhole = undistorted_camera(wide)
    corner = np.hypot(160.0 / pinhole.fx, 120.0 / pinhole.fy)
    assert np.arctan(corner) == pytest.approx(MAX_ANGLE, abs=0.01)


def test_strong_pincushion_marks_what_is_empty():
    """Where even the largest zoom leaves holes, valid.png and black pixels agree."""
    lens = SourceCamera(PINCUSHION.camera, "brown_conrady", (1.5, 0.0, 0.0, 0.0))
    geometry = build_geometry(lens)
    assert geometry.camera.fx == pytest.approx(200.0 * MAX_ZOOM)
    white = geometry.colour(np.full((240, 320, 3), 255, np.uint8))[..., 0]
    assert 0.5 < geometry.valid.mean() < 1.0
    assert (white[geometry.valid] == 255).all()
    assert (white[0, 0] == 0) and not geometry.valid[0, 0]


# --- size ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fit", ["stretch", "crop"])
@pytest.mark.parametrize("size", [(120, 160), (60, 120), (90, 80)])
def test_K_follows_crop_and_resize(fit, size):
    """A spot lands where the stored K projects its ray, whatever the new ratio."""
    source = SourceCamera(Camera(320, 240, 200.0, 210.0, 155.0, 122.0))
    geometry = build_geometry(source, size, fit)
    ray = np.array([0.05, -0.08, 1.0])
    image = blob(source.camera, (source.camera.K @ ray)[:2])
    found = centre_of(geometry.colour(image))
    np.testing.assert_allclose(found, (geometry.camera.K @ ray)[:2], atol=0.05)


def test_crop_keeps_the_pixel_ratio_and_stretch_the_view():
    """Crop: fx / fy as before. Stretch: the border of the view as before."""
    source = SourceCamera(Camera(320, 240, 200.0, 200.0, 155.0, 122.0))
    crop = build_geometry(source, (60, 120), "crop").camera
    assert crop.fx == pytest.approx(crop.fy)
    stretch = build_geometry(source, (60, 120), "stretch").camera
    assert (119.5 - stretch.cx) / stretch.fx == pytest.approx((319.5 - 155.0) / 200.0)


def test_shrinking_averages_area():
    """A one-pixel checkerboard becomes grey, not black or white."""
    board = np.indices((H, W)).sum(axis=0) % 2 * 255
    image = np.repeat(board[..., None], 3, axis=2).astype(np.uint8)
    small = build_geometry(PINHOLE, (H // 4, W // 4)).colour(image)
    assert np.abs(small.astype(int) - 127).max() <= 1


@pytest.mark.parametrize("lens", [pytest.param(PINHOLE, id="pinhole"), *LENSES])
def test_depth_never_mixes_two_surfaces(lens):
    """Undistorted and shrunk depth holds only values that were there."""
    pattern = np.indices(lens.camera.size).sum(axis=0) % 3 == 0
    depth = np.where(pattern, 1.0, 9.0).astype(np.float32)
    small = build_geometry(lens, (10, 11)).depth(depth)
    assert set(np.unique(small)) == {1.0, 9.0}
