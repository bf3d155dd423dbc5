# SPDX-License-Identifier: Apache-2.0
"""SIFT features in pixels of the full image, and matches between two images."""

import cv2
import numpy as np
import pytest

from depthkit.errors import DataError, ShapeError
from depthkit.multiview.features import (
    Features,
    detect_sift,
    match,
    no_features,
    root_sift,
    squared_distances,
)


def blob_image(centre: tuple[float, float], size: tuple[int, int] = (480, 640)) -> np.ndarray:
    """Draw one Gaussian blob of 12 pixels on grey."""
    v, u = np.mgrid[: size[0], : size[1]].astype(float)
    squared = (u - centre[0]) ** 2 + (v - centre[1]) ** 2
    return np.rint(40 + 150 * np.exp(-squared / (2 * 12.0**2))).astype(np.uint8)


def texture(seed: int = 0, size: tuple[int, int] = (240, 320)) -> np.ndarray:
    """Draw smoothed noise, full of features."""
    noise = np.random.default_rng(seed).uniform(0, 255, size).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5)
    return np.rint(cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX)).astype(np.uint8)


def plain(descriptors: np.ndarray) -> Features:
    """Wrap descriptors into a record with made-up positions."""
    count = np.zeros(len(descriptors), np.float32)
    return Features(np.zeros((len(descriptors), 2), np.float32), descriptors, count, count)


@pytest.mark.parametrize("area", [480 * 640, 240 * 320, 120 * 160])
@pytest.mark.parametrize("centre", [(320.0, 240.0), (301.5, 222.25)])
def test_pixels_are_those_of_the_full_image(area: int, centre: tuple[float, float]) -> None:
    """A blob is found at its centre at every reduction: no half-pixel shift, no quarter pixel.

    Without the precise pyramid the error is 0.24 px at full and 0.97 px at quarter size.
    """
    found = detect_sift(blob_image(centre), area=area)
    assert len(found) > 0
    nearest = np.linalg.norm(found.pixels - centre, axis=1).min()
    assert nearest < 0.1


def test_scale_is_in_pixels_of_the_full_image() -> None:
    """The blob has one diameter, whatever size it is detected at."""
    full, half = (detect_sift(blob_image((320, 240)), area=n) for n in (640 * 480, 320 * 240))
    assert full.scales[0] == pytest.approx(half.scales[0], rel=0.03)


def test_features_keep_to_the_mask() -> None:
    """None lies where the mask is false, and the other half keeps its own."""
    valid = np.ones((240, 320), bool)
    valid[:, :160] = False
    found = detect_sift(texture(), valid=valid, area=120 * 160)
    assert len(found) > 20
    assert found.pixels[:, 0].min() > 159
    assert found.pixels[:, 0].max() > 250


def test_strongest_are_kept() -> None:
    """The first ten of many are the ten that are asked for."""
    many, few = detect_sift(texture()), detect_sift(texture(), count=10)
    assert len(few) == 10
    np.testing.assert_array_equal(many.descriptors[:10], few.descriptors)


def test_image_without_texture_has_none() -> None:
    """Zero features is an answer, and matches nothing."""
    none = detect_sift(np.full((120, 160), 90, np.uint8))
    assert len(none) == 0
    assert match(none, detect_sift(texture())).shape == (0, 2)
    assert len(no_features(64)) == 0


def test_turned_image_is_matched() -> None:
    """A quarter turn moves (u, v) to (v, W - 1 - u); the matches agree, and so do the angles."""
    image = texture()
    a, b = detect_sift(image), detect_sift(np.ascontiguousarray(np.rot90(image)))
    pairs = match(a, b)
    u, v = a.pixels[pairs[:, 0]].T
    error = np.linalg.norm(b.pixels[pairs[:, 1]] - np.column_stack([v, 319 - u]), axis=1)
    assert len(pairs) > 100
    assert (error < 0.5).mean() > 0.98
    turn = np.degrees(b.angles[pairs[:, 1]] - a.angles[pairs[:, 0]]) % 360
    assert np.median(np.abs(turn - 270)) < 1.0


def test_ratio_and_cross_check_by_hand() -> None:
    """Distances 1 and 2 pass at a ratio of 0.6; 3 and 4 do not; two suitors leave one pair."""
    a = plain(np.array([[1, 0], [13, 0], [102, 0]], np.uint8))
    b = plain(np.array([[0, 0], [100, 0]], np.uint8))
    assert match(a, b, ratio=1.0, cross_check=False).tolist() == [[0, 0], [1, 0], [2, 1]]
    assert match(a, b, ratio=1.0).tolist() == [[0, 0], [2, 1]]
    close = plain(np.array([[0, 0], [3, 0]], np.uint8))
    assert match(plain(np.array([[1, 0]], np.uint8)), close, ratio=0.6).tolist() == [[0, 0]]
    assert match(plain(np.array([[1, 0]], np.uint8)), close, ratio=0.4).tolist() == []


def test_single_candidate_is_a_match() -> None:
    """With one descriptor to choose from there is no second for the ratio test."""
    assert match(plain(np.array([[7, 7]], np.uint8)), plain(np.array([[0, 0]], np.uint8))).tolist()


def test_distances_of_bytes_are_exact() -> None:
    """Whole numbers below 2^24 survive float32, also at the largest values."""
    x = np.vstack([np.full((1, 128), 255), np.random.default_rng(1).integers(0, 256, (9, 128))])
    expected = ((x[:, None].astype(int) - x[None]) ** 2).sum(axis=-1)
    np.testing.assert_array_equal(
        squared_distances(x.astype(np.uint8), x.astype(np.uint8)), expected
    )


def test_root_sift_compares_by_hellinger() -> None:
    """(1, 3) over its sum is (1/4, 3/4): roots 0.5 and 0.866, 512 levels a unit, cut at 255."""
    descriptors = np.zeros((2, 128), np.uint8)
    descriptors[0, :2], descriptors[1] = (50, 150), 9
    rooted = root_sift(descriptors)
    assert rooted[0, :2].tolist() == [255, 255]
    assert np.unique(rooted[1]).tolist() == [round(512 / np.sqrt(128))]


def test_same_image_gives_same_bytes() -> None:
    """Two runs agree to the bit."""
    first, second = detect_sift(texture(3)), detect_sift(texture(3))
    for name in ("pixels", "descriptors", "scales", "angles"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_bad_input_is_named() -> None:
    """Wrong types, sizes and mixed detectors are one line with the remedy."""
    with pytest.raises(DataError, match="uint8"):
        detect_sift(np.zeros((40, 40), np.float32))
    with pytest.raises(ShapeError, match="valid"):
        detect_sift(texture(), valid=np.ones((3, 3), bool))
    with pytest.raises(DataError, match="one detector"):
        match(plain(np.zeros((1, 128), np.uint8)), plain(np.zeros((1, 64), np.uint8)))
    with pytest.raises(DataError, match="float32"):
        plain(np.zeros((1, 64), np.float64))
    with pytest.raises(ShapeError, match="descriptors"):
        Features(np.zeros((2, 2)), np.zeros((1, 8), np.uint8), np.zeros(2), np.zeros(2))
