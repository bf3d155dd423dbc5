# SPDX-License-Identifier: Apache-2.0
"""Drawn shapes: coverage and crossings by hand, what hides what, points where corners are seen."""

import json

import cv2
import numpy as np
import pytest

from depthkit.cli import main
from depthkit.data.sequence import open_dataset
from depthkit.errors import ConfigError
from depthkit.synth.figure_parts import (
    Ellipse,
    Figure,
    Polygon,
    Stroke,
    closed,
    coverage,
    crossings,
    paint,
)
from depthkit.synth.figures import MAKERS, is_clear, make_cube, make_ellipse, make_star
from depthkit.synth.shapes import ShapesOptions, draw_picture, visible_points

PLAIN = ShapesOptions(clutter=0, blur=0, noise=0, empty=0, contrast=0.3)


def box(left, top, right, bottom) -> Figure:
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)
    return Figure((Polygon(corners),), corners, closed(corners))


@pytest.mark.parametrize("order", [1, -1])
def test_polygon_coverage_by_hand(order):
    """A square from 2.25 to 5.5 covers a quarter of column 2, all of 3 to 5 and none of 6."""
    square = Polygon(box(2.25, 2.25, 5.5, 5.5).points[::order])
    window, share = coverage(square, (8, 9))
    row = np.zeros((8, 9))
    row[window] = share
    np.testing.assert_allclose(row[4], [0, 0, 0.25, 1, 1, 1, 0, 0, 0], atol=1e-12)


def test_stroke_and_ellipse_distances_by_hand():
    """A level stroke of length 10 and width 3; an upright ellipse of half axes 4 and 2."""
    stroke = Stroke(np.array([0.0, 5]), np.array([10.0, 5]), 1.5)
    places = np.array([[5.0, 5], [5, 8], [12, 5], [10, 6.5]])
    np.testing.assert_allclose(stroke.distance(places), [-1.5, 1.5, 2.0, 0.0], atol=1e-12)
    ellipse = Ellipse(np.array([1.0, 1]), np.array([4.0, 2]), np.pi / 2)
    places = np.array([[1.0, 1], [1, 5], [3, 1], [1, 5.1]])
    np.testing.assert_allclose(ellipse.distance(places), [-2, 0, 0, 0.1], atol=3e-3)


def test_painting_stays_inside_the_picture():
    """A part that reaches over the border, or lies outside, leaves the rest as it was."""
    picture = np.zeros((6, 6, 3))
    paint(picture, box(-9, -9, 1.5, 1.5).parts[0], np.ones(3))
    paint(picture, box(50, 50, 60, 60).parts[0], np.ones(3))
    assert picture.sum() == pytest.approx(3 * 4)


def test_crossing_by_hand():
    """Two diagonals meet in the middle; parallel and too short ones do not."""
    first = np.array([[[0.0, 0], [4, 4]]])
    second = np.array([[[0.0, 4], [4, 0]], [[1, 0], [5, 4]], [[0, 4], [1, 3]]])
    found = crossings(first, second, least_angle=0.3)
    np.testing.assert_allclose(found[0], [[2, 2], [np.nan, np.nan], [np.nan, np.nan]])
    assert np.isnan(crossings(first, first, least_angle=0.0)).all()


def test_covered_corners_vanish_and_crossings_appear():
    """A box over another's lower right corner: 3 + 4 corners and 2 crossings are seen."""
    points = visible_points([box(10, 10, 30, 30), box(20, 20, 50, 50)], (60, 60))
    expected = [(10, 10), (30, 10), (10, 30), (20, 20), (50, 20), (50, 50), (20, 50)]
    assert {tuple(p) for p in points} == {*expected, (30.0, 20.0), (20.0, 30.0)}


def test_a_crossing_behind_a_third_figure_is_hidden():
    """What lies between the two figures, or in front of both, hides their crossing."""
    below, above, lid = box(10, 10, 30, 30), box(20, 20, 50, 50), box(25, 15, 35, 25)
    crossing = np.array([30.0, 20])
    for order in ([below, lid, above], [below, above, lid]):
        points = visible_points(order, (60, 60))
        assert np.linalg.norm(points - crossing, axis=1).min() > 3


def test_points_outside_the_picture_are_left_out():
    """The picture ends at the centre of its last pixel."""
    points = visible_points([box(-5, 10, 59, 30)], (40, 60))
    assert {tuple(p) for p in points} == {(59.0, 10.0), (59.0, 30.0)}


@pytest.mark.parametrize("make", [maker for maker, _ in MAKERS])
def test_every_maker_stays_near_its_place(make):
    """Points lie within twice the radius, on the figure, and the same seed draws the same."""
    for seed in range(20):
        one, two = (make(np.random.default_rng(seed), np.array([60.0, 50]), 30.0) for _ in range(2))
        np.testing.assert_array_equal(one.points, two.points)
        assert (np.linalg.norm(one.points - [60, 50], axis=1) < 60).all()
        assert (one.distance(one.points) < 1e-4).all()  # a hull's corners are float32


def test_numbers_of_points_by_hand():
    """An ellipse has none; a cube shows seven corners; a star its middle and its ends."""
    rng, centre = np.random.default_rng(0), np.array([60.0, 50])
    assert len(make_ellipse(rng, centre, 30.0).points) == 0
    assert len(make_cube(rng, centre, 30.0).points) == 7
    star = make_star(rng, centre, 30.0)
    assert len(star.points) == 1 + len(star.parts) and (star.points[0] == centre).all()


def test_unclear_corners_are_known():
    """A square is clear; a side of 3 pixels, a corner of 160 degrees and one of 10 are not."""
    square = np.array([[0.0, 0], [20, 0], [20, 20], [0, 20]])
    assert is_clear(square)
    assert not is_clear(square * [1, 0.15])
    assert not is_clear(np.array([[0.0, 0], [20, -3.5], [40, 0], [20, 30]]))
    assert not is_clear(np.array([[0.0, 0], [100, 9], [100, -9]]))


def test_listed_corners_are_where_the_picture_has_them():
    """OpenCV's corner refinement, begun beside the listed inner corners of boards, returns there.

    The refinement itself is good to a tenth of a pixel on a clean board.
    """
    picture = np.zeros((120, 160, 3)) + 0.1
    board = next(m for m, _ in MAKERS if m.__name__ == "make_board")
    figure = board(np.random.default_rng(5), np.array([80.0, 60]), 55.0)
    for part in figure.parts:
        paint(picture, part, np.full(3, (0.9, 0.3)[part.tone]))
    inner = figure.points[(figure.distance(figure.points) < -8)]
    grey = (255 * picture[..., 0]).astype(np.uint8)
    begun = (inner[:, None] + 0.7).astype(np.float32)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 50, 1e-3)
    found = cv2.cornerSubPix(grey, begun, (4, 4), (-1, -1), stop)[:, 0]
    assert len(inner) >= 2
    assert np.abs(found - inner).max() < 0.15


def test_pictures_are_seeded_and_empty_ones_have_no_points():
    """The same generator draws the same bytes; noise alone lists nothing."""
    one, two = (draw_picture(PLAIN, np.random.default_rng(3), (96, 128)) for _ in range(2))
    np.testing.assert_array_equal(one.rgb, two.rgb)
    np.testing.assert_array_equal(one.points, two.points)
    assert one.rgb.shape == (96, 128, 3) and one.rgb.dtype == np.uint8 and len(one.points)
    empty = draw_picture(ShapesOptions(empty=1), np.random.default_rng(3), (96, 128))
    assert len(empty.points) == 0 and empty.rgb.std() > 3


def test_command_writes_points_of_every_frame(tmp_path, capsys):
    """Sequences open as any other, have points inside their frames, and no depth or poses."""
    words = ["--scenes", "2", "--frames", "3", "--size", "48x64", "--workers", "1", "--json"]
    assert main(["synth", "shapes", "--out", str(tmp_path), *words]) == 0
    assert json.loads(capsys.readouterr().out)["sequences"] == 2
    sequence = open_dataset(tmp_path).open("shapes_00001")
    assert len(sequence) == 3 and sequence.camera.size == (48, 64)
    assert sequence.has_points and not sequence.has_depth and sequence.poses is None
    points = [sequence.read_points(i) for i in range(3)]
    assert sum(map(len, points)) > 0
    assert all(((p >= 0) & (p <= [63, 47])).all() for p in points)
    assert not np.array_equal(sequence.read_frame(0), sequence.read_frame(1))


@pytest.mark.parametrize("words", [["--imu", "phone"], ["--depth-only"], ["--noise", "2"]])
def test_what_a_drawing_cannot_have_is_refused(tmp_path, capsys, words):
    """An IMU, depth and the renderer's faults are no part of drawn pictures."""
    assert main(["synth", "shapes", "--out", str(tmp_path / "out"), *words]) == 1
    err = capsys.readouterr().err
    assert "drawn pictures have no motion" in err and "Traceback" not in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"figures": (0, 3)},
        {"figures": (4, 3)},
        {"radius": (0.0, 0.5)},
        {"contrast": 0.9},
        {"blur": -1.0},
        {"empty": 1.5},
    ],
)
def test_options_are_checked(options):
    """What cannot be drawn is refused by its name."""
    with pytest.raises(ConfigError, match=f"shapes: {next(iter(options))}"):
        ShapesOptions(**options)
