# SPDX-License-Identifier: Apache-2.0
"""ORB as a detector: bits as numbers, the mask, the count, pictures that hold nothing."""

import cv2
import numpy as np
import pytest

from depthkit.errors import DataError, ShapeError
from depthkit.multiview.features import Sift, squared_distances
from depthkit.multiview.orb import Orb


def texture(size: tuple[int, int] = (240, 320), sigma: float = 2.5) -> np.ndarray:
    """Draw noise smoothed by a Gaussian of sigma pixels, full of features."""
    noise = np.random.default_rng(0).uniform(0, 255, size).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), sigma)
    return np.rint(cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX)).astype(np.uint8)


def test_squared_distance_is_the_number_of_other_bits() -> None:
    """The distances of unpacked bits are OpenCV's Hamming distances of the packed ones."""
    found = Orb(20).detect(texture())
    packed = np.packbits(found.descriptors, axis=1)
    assert found.descriptors.shape == (20, 256) and packed.shape == (20, 32)
    hamming = [[cv2.norm(a, b, cv2.NORM_HAMMING) for b in packed] for a in packed]
    squared = squared_distances(found.descriptors, found.descriptors)
    assert np.array_equal(squared, np.array(hamming, np.float32))


def test_mask_and_count_hold() -> None:
    """Features lie where they may, and no more than were asked for, the same every time."""
    valid = np.zeros((240, 320), bool)
    valid[:, 160:] = True
    found = Orb(50).detect(texture(), valid=valid)
    assert 20 < len(found) <= 50 and found.pixels[:, 0].min() >= 159
    assert (
        found.descriptors.tobytes() == Orb(50).detect(texture(), valid=valid).descriptors.tobytes()
    )


@pytest.mark.parametrize("detector", [Orb(100), Sift(None, 100)])
@pytest.mark.parametrize("size", [(40, 40), (20, 300)])
def test_small_and_blank_pictures_are_no_error(detector: Orb | Sift, size: tuple[int, int]) -> None:
    """A picture of 40 px and one without texture give a record of the right width."""
    for gray in (texture(size), np.full(size, 90, np.uint8)):
        found = detector.detect(gray)
        assert found.descriptors.shape == (len(found), detector.width)
    assert len(found) == 0 or detector.name == "sift"


def test_what_is_no_grey_picture_is_refused() -> None:
    """Another shape, type or mask."""
    with pytest.raises(ShapeError):
        Orb().detect(np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(DataError, match="must be uint8"):
        Orb().detect(np.zeros((9, 9), np.float32))
    with pytest.raises(ShapeError):
        Orb().detect(texture(), valid=np.ones((2, 2), bool))


def test_sift_works_at_full_size_when_asked() -> None:
    """Half size halves the finest octave: its smallest patches are twice as wide at least."""
    gray = texture((240, 320), sigma=1.2)
    full, half = Sift(None, 4000).detect(gray), Sift(160 * 120, 4000).detect(gray)
    assert len(full) > 1.5 * len(half)
    assert 1.5 * full.scales.min() < half.scales.min()
