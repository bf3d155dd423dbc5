# SPDX-License-Identifier: Apache-2.0
"""Frames inside a network's input: borders, K and the way back, by hand."""

import numpy as np
import pytest

from depthkit.errors import EngineError
from depthkit.runtime.network.manifest_parts import Resize
from depthkit.runtime.picture_fit import fit_picture, place_K, place_picture

K = np.array([[100.0, 0, 79.5], [0, 120.0, 59.5], [0, 0, 1]])  # centre of 160 x 120


@pytest.mark.parametrize(
    ("resize", "inner", "corner"),
    [
        (Resize("stretch"), (60, 160), (0, 0)),
        (Resize("letterbox"), (60, 80), (0, 40)),
        (Resize("pad"), (60, 80), (0, 0)),
        (Resize("pad", side="left-above"), (60, 80), (0, 80)),
    ],
)
def test_where_the_picture_lies(resize, inner, corner):
    """120 x 160 in 60 x 160: half the size with the aspect kept, 80 columns to spare."""
    fit = fit_picture((120, 160), (60, 160), resize)
    assert (fit.inner, (fit.top, fit.left)) == (inner, corner)
    placed = place_picture(np.full((120, 160, 3), 200, np.uint8), fit, Resize(value=(1, 2, 3)))
    assert placed.shape == (60, 160, 3)
    assert (placed[fit.window] == 200).all()
    outside = placed.astype(int).sum() - 600 * inner[0] * inner[1]
    assert outside == 6 * (60 * 160 - inner[0] * inner[1])


def test_border_above_where_frames_are_wide():
    """An odd row to spare goes below: 3 rows are 1 above and 2 below."""
    fit = fit_picture((20, 40), (23, 40), Resize("letterbox"))
    assert (fit.inner, fit.top, fit.left) == ((20, 40), 1, 0)


def test_K_follows_the_picture():
    """fx halves, and the centre of the picture stays the centre of the picture."""
    fit = fit_picture((120, 160), (60, 160), Resize("letterbox"))
    moved = place_K(K, fit)
    # c' = (79.5 + 0.5) / 2 - 0.5 + 40 and (59.5 + 0.5) / 2 - 0.5
    assert np.allclose(moved, [[50, 0, 79.5], [0, 60, 29.5], [0, 0, 1]], atol=1e-12)
    stretched = place_K(K, fit_picture((120, 160), (60, 160), Resize()))
    assert np.allclose(stretched, [[100, 0, 79.5], [0, 60, 29.5], [0, 0, 1]], atol=1e-12)


def test_nothing_is_left_of_a_thread():
    """A frame of 1 x 5000 has no row in 32 x 32."""
    with pytest.raises(EngineError, match="leaves no pixel"):
        fit_picture((1, 5000), (32, 32), Resize("letterbox"))
