# SPDX-License-Identifier: Apache-2.0
"""Frames of a plane seen from above, found in its picture with exact truth, or refused."""

import cv2
import numpy as np
import pytest

from depthkit.errors import DataError
from depthkit.geodesy import Georeference, unprojection
from depthkit.multiview.features import Features, Sift
from depthkit.runtime.ortho.config import OrthoConfig
from depthkit.runtime.ortho.fix import NotFound, OrthoFix
from depthkit.runtime.ortho.levels import CELL, TILE, build_level, scales_without_height
from depthkit.runtime.ortho.localiser import OrthoLocaliser
from depthkit.runtime.ortho.tile_index import _square, turned_size, turning

K = np.array([[160.0, 0, 79.5], [0, 160.0, 59.5], [0, 0, 1]])
SIZE, METRES, HEIGHT = (120, 160), 0.2, 40.0
REFERENCE = Georeference(
    "EPSG:32631", np.array([[METRES, 0, 5e5], [0, -METRES, 5e6]]), unprojection(32631)
)


def texture(seed: int, side: int = 512) -> np.ndarray:
    """Structure at several sizes. (side, side, 3) uint8"""
    rng = np.random.default_rng(seed)
    total = np.zeros((side, side), np.float32)
    for sigma in (1.5, 3.0, 8.0):
        noise = cv2.GaussianBlur(rng.standard_normal(total.shape).astype(np.float32), (0, 0), sigma)
        total += noise / noise.std()
    gray = np.clip(128 + 30 * total, 0, 255).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


def look(ground: np.ndarray, foot, heading: float, height: float = HEIGHT) -> np.ndarray:
    """See the ground straight down; heading in degrees from north, clockwise. (H, W, 3)"""
    step = height / K[0, 0] * 0.9996 / METRES  # pixels of the ground a pixel of the frame
    c, s = step * np.cos(np.radians(heading)), step * np.sin(np.radians(heading))
    A = np.array([[c, -s], [s, c]])
    M = np.column_stack([A, np.asarray(foot, float) - A @ K[:2, 2]])
    how = cv2.INTER_AREA | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(ground, M, SIZE[::-1], flags=how)


@pytest.fixture(scope="module")
def ground() -> np.ndarray:
    """The orthophoto."""
    return texture(0)


@pytest.fixture(scope="module")
def localiser(ground) -> OrthoLocaliser:
    """An index of it; the height is known."""
    return OrthoLocaliser(ground, REFERENCE, K=K, size=SIZE, config=OrthoConfig(height=38.0))


def test_a_frame_is_found(ground, localiser):
    """Position within a pixel, height, heading and corners; the sigma is that of the error."""
    localiser.reset()
    foot = np.array([200.3, 310.6])
    found = localiser.process(look(ground, foot, 70.0))
    assert isinstance(found, OrthoFix) and found.found_by == "search"
    error = METRES * np.linalg.norm(found.pixel - foot)
    assert error < 0.5 and error < 4 * found.sigma_position
    assert found.altitude == pytest.approx(HEIGHT, rel=0.01)
    assert found.heading == pytest.approx(70.0, abs=0.5)
    latitude, longitude = REFERENCE.to_geographic(found.pixel[None])[0]
    assert (found.latitude, found.longitude) == (latitude, longitude)
    # The middle of the upper edge lies ahead: 60 pixels of the frame, each 0.25 m.
    ahead = (found.corners[0] + found.corners[1]) / 2 - foot
    assert np.degrees(np.arctan2(ahead[0], -ahead[1])) == pytest.approx(70, abs=2)
    assert METRES * np.linalg.norm(ahead) == pytest.approx(60 * HEIGHT / K[0, 0], rel=0.05)


def test_the_next_frame_is_looked_for_nearby(ground, localiser):
    """It says by what it was found; the same frame after a reset is searched for everywhere."""
    localiser.reset()
    localiser.process(look(ground, (200, 310), 70.0))
    frame = look(ground, (215, 300), 75.0)
    near = localiser.process(frame)
    localiser.reset()
    anew = localiser.process(frame)
    assert (near.found_by, anew.found_by) == ("previous frame", "search")
    np.testing.assert_allclose(near.pixel, anew.pixel, atol=2.0)
    localiser.reset()
    again = localiser.process(frame)
    np.testing.assert_array_equal(again.pixel, anew.pixel)


def test_a_jump_is_searched_for(ground, localiser):
    """A frame far from the last one is not near it: the search takes over."""
    localiser.reset()
    localiser.process(look(ground, (95, 95), 0.0))
    found = localiser.process(look(ground, (415, 415), 180.0))
    assert found.found_by == "search"
    np.testing.assert_allclose(found.pixel, [415, 415], atol=3)


def test_other_ground_is_refused(localiser):
    """Frames of ground that the orthophoto lacks, and a blank one, have a reason."""
    localiser.reset()
    for seed in (1, 2, 3):
        assert isinstance(localiser.process(look(texture(seed), (250, 250), 30.0)), NotFound)
    blank = localiser.process(np.full((*SIZE, 3), 90, np.uint8))
    assert isinstance(blank, NotFound) and "features in the frame" in blank.reason


def test_two_places_alike_are_refused(ground):
    """Where a field lies twice in the orthophoto, no frame of it has a place."""
    twice = np.hstack([ground[:, :320], ground[:, :320]])
    found = OrthoLocaliser(
        twice, REFERENCE, K=K, size=SIZE, config=OrthoConfig(height=38.0)
    ).process(look(ground, (160, 250), 10.0))
    assert isinstance(found, NotFound) and found.reason.startswith("two places look alike")


def test_unknown_height(ground):
    """Searched at several ground resolutions: the height is found with the place."""
    small = np.ascontiguousarray(ground[:300, :300])
    found = OrthoLocaliser(small, REFERENCE, K=K, size=SIZE).process(look(small, (150, 160), 200.0))
    assert isinstance(found, OrthoFix)
    assert found.altitude == pytest.approx(HEIGHT, rel=0.03)


class Blind(Sift):
    """SIFT that does not tell orientations, as learned features do not."""

    name = "blind"

    def detect(self, gray, *, valid=None):
        """Find features as they stand upright."""
        found = super().detect(gray, valid=valid)
        keys = [
            cv2.KeyPoint(float(u), float(v), float(s), 0.0)
            for (u, v), s in zip(found.pixels, found.scales, strict=True)
        ]
        described = cv2.SIFT.create().compute(gray, keys)[1] if keys else found.descriptors
        none = np.zeros(len(keys), np.float32)
        return Features(found.pixels, described.astype(np.uint8), none, none)


def test_features_without_orientation_are_asked_at_several_headings(ground):
    """A frame turned by 130 degrees is found by upright features all the same."""
    small = np.ascontiguousarray(ground[:260, :260])
    found = OrthoLocaliser(
        small, REFERENCE, K=K, size=SIZE, config=OrthoConfig(height=38.0), detector=Blind()
    ).process(look(small, (130, 130), 130.0))
    assert isinstance(found, OrthoFix)
    assert found.heading == pytest.approx(130, abs=1)


def test_a_learnt_descriptor_finds_the_tiles(ground):
    """A coarse picture as the descriptor of a tile: the frame is found by it alone."""

    def coarse(rgb):
        small = cv2.resize(rgb, (16, 16), interpolation=cv2.INTER_AREA)[..., 0].astype(np.float32)
        flat = (small - small.mean()).ravel()
        return flat / np.linalg.norm(flat)

    found = OrthoLocaliser(
        ground, REFERENCE, K=K, size=SIZE, config=OrthoConfig(height=38.0), describe=coarse
    ).process(look(ground, (256, 256), 90.0))
    assert isinstance(found, OrthoFix)
    np.testing.assert_allclose(found.pixel, [256, 256], atol=3)


@pytest.mark.parametrize(
    ("size", "height", "line"),
    [
        ((40, 53), 40.0, "frames of 53x40 pixels show too little"),
        (SIZE, 400.0, "smaller than a frame, which shows 300 m at 400 m height"),
    ],
)
def test_what_cannot_work_is_one_line(ground, size, height, line):
    """Frames of 40 pixels; an orthophoto smaller than a frame."""
    with pytest.raises(DataError, match=line):
        OrthoLocaliser(ground, REFERENCE, K=K, size=size, config=OrthoConfig(height=height))


def test_a_blank_orthophoto_and_another_size_are_one_line(ground, localiser):
    """Nothing to be found in, and a frame that is not what was told."""
    blank = np.full((256, 256, 3), 90, np.uint8)
    with pytest.raises(DataError, match="no feature at all"):
        OrthoLocaliser(blank, REFERENCE, K=K, size=SIZE, config=OrthoConfig(height=38.0))
    with pytest.raises(DataError, match="frame: expected 120x160x3, got 60x80x3"):
        localiser.process(np.zeros((60, 80, 3), np.uint8))


def test_each_feature_lies_once_in_its_cell(ground):
    """Cells share no feature, and a tile holds those of its own square alone."""
    gray = np.ascontiguousarray(ground[:300, :280, 0])
    level = build_level(gray, np.ones(gray.shape, bool), 1.0, Sift())
    assert (level.rows, level.columns) == (3, 3) and len(level.features) == level.starts[-1]
    assert len(np.unique(level.features.pixels, axis=0)) > 0.7 * len(level.features)
    block = level.block(1, 0, size=TILE)
    low, high = np.array([0, CELL]) - 0.5, np.array([TILE, 1 + TILE]) * CELL - 0.5
    assert ((block.pixels >= low) & (block.pixels < high)).all() and len(block) > 50
    assert (level.features.pixels < [280, 300]).all()  # none in the border that was added


def test_levels_reach_from_small_frames_to_all_of_it():
    """Each half as fine as the one before, until a tile covers the shorter side."""
    assert scales_without_height((1024, 2000)) == [2.0, 1.0, 0.5, 0.25]


def test_turned_pictures_keep_their_middle():
    """A quarter turn by hand: right becomes down; the middle stays the middle."""
    A = turning(5, 3, 90.0)
    assert turned_size(5, 3, 90.0) == (3, 5)
    np.testing.assert_allclose(A @ [4, 1, 1], [1, 4], atol=1e-9)
    np.testing.assert_allclose(A @ [2, 1, 1], [1, 2], atol=1e-9)
    ramp = np.repeat(np.arange(120, dtype=np.uint8)[:, None], 160, 1)[..., None].repeat(3, 2)
    square = _square(ramp, 0.0)
    assert square.shape == (256, 256, 3)
    np.testing.assert_allclose(square[128, 128], 59.5, atol=1.5)
