# SPDX-License-Identifier: Apache-2.0
"""Looks at turned and tilted pictures: exact places, and matches that are there only by them."""

import cv2
import numpy as np
import pytest

from depthkit.multiview.features import Features, Sift
from depthkit.multiview.view_search import (
    detect_in_look,
    look_size,
    look_transforms,
    match_best_look,
)


class Brightest:
    """A detector of the brightest pixel, described by its value."""

    name, width = "brightest", 1

    def detect(self, gray, *, valid=None):
        """Return one feature."""
        v, u = np.unravel_index(np.argmax(gray), gray.shape)
        one = np.zeros(1, np.float32)
        return Features(
            np.array([[u, v]], np.float32), gray[v : v + 1, u : u + 1].astype(np.float32), one, one
        )


@pytest.mark.parametrize("turns", [1, 2, 4])
def test_quarters_are_exact(turns):
    """A dot at (12, 5) of a picture of 40 x 60 is found at (12, 5) in every turned look, whose
    size is that of the turned picture."""
    gray = np.zeros((40, 60), np.uint8)
    gray[5, 12] = 200
    looks = look_transforms(gray.shape, turns=turns)
    assert len(looks) == turns
    for number, A in enumerate(looks):
        quarter = number * (4 // turns)
        assert look_size(gray.shape, A) == ((40, 60) if quarter % 2 == 0 else (60, 40))
        found = detect_in_look(Brightest(), gray, A)
        np.testing.assert_allclose(found.pixels, [[12, 5]], atol=1e-4)
        np.testing.assert_array_equal(found.descriptors, [[200]])


def test_a_quarter_turns_from_u_towards_v():
    """The first quarter takes pixel (0, 0) of a picture 60 wide and 40 high to (39, 0), by hand."""
    A = look_transforms((40, 60))[1]
    np.testing.assert_allclose(A @ [0, 0, 1], [39, 0, 1], atol=1e-12)


def test_tilts_halve_a_side():
    """Shortened along u: half as wide, as high as before; a blob is found to half a pixel."""
    looks = look_transforms((80, 120), turns=1, tilts=True)
    assert [look_size((80, 120), A) for A in (looks[0], looks[1], looks[3])] == [
        (80, 120),
        (80, 60),
        (40, 120),
    ]
    v, u = np.mgrid[:80, :120]
    blob = (250 * np.exp(-((u - 70.0) ** 2 + (v - 33.0) ** 2) / 60)).astype(np.uint8)
    for A in looks:
        found = detect_in_look(Brightest(), blob, A)
        assert np.abs(found.pixels - [70, 33]).max() <= 1.5


def test_tilts_match_what_is_tilted():
    """A picture shortened to a third in a slanted direction: with tilted looks SIFT finds at least
    half more true matches than without."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (48, 64), dtype=np.uint8)
    gray = cv2.resize(coarse, (384, 288), interpolation=cv2.INTER_CUBIC)
    along = np.array([np.cos(0.8), np.sin(0.8)])
    A = np.eye(2) - (2 / 3) * np.outer(along, along)
    A = np.column_stack([A, np.array([192, 144]) - A @ [192, 144]])
    tilted = cv2.warpAffine(cv2.GaussianBlur(gray, (0, 0), 1.2), A, (384, 288))
    second = Sift().detect(tilted)

    def true_matches(tilts: bool) -> int:
        looks = [
            detect_in_look(Sift(), gray, B)
            for B in look_transforms(gray.shape, turns=1, tilts=tilts)
        ]
        best, pairs = match_best_look(second, looks)
        wanted = looks[best].pixels[pairs[:, 1]] @ A[:, :2].T + A[:, 2]
        error = np.linalg.norm(wanted - second.pixels[pairs[:, 0]], axis=1)
        return int((error < 3).sum())

    assert true_matches(True) > 1.5 * true_matches(False)
