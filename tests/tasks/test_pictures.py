# SPDX-License-Identifier: Apache-2.0
"""Pictures of inverse depth show structure, whatever its range."""

import pytest
import torch

from depthkit.tasks.output import Prediction
from depthkit.tasks.pictures import nearness_picture


def test_nearness_is_stretched_between_its_percentiles() -> None:
    """101 values 1.00 to 2.00: the second percentile, 1.02, is black, the 98th, 1.98, white, and
    1.5 is grey; each image by itself."""
    ramp = torch.linspace(1, 2, 101).view(1, 1, 1, 101)
    pictures = nearness_picture(torch.cat([ramp, 50 * ramp]))
    assert torch.allclose(pictures[0], pictures[1], atol=1e-5)
    row = pictures[0, 0, 0]
    assert row[:3].tolist() == pytest.approx([0, 0, 0], abs=1e-5)
    assert row[50] == pytest.approx(0.5, abs=1e-5)
    assert row[98:].tolist() == pytest.approx([1, 1, 1], abs=1e-5)
    assert row[26] == pytest.approx(0.25, abs=1e-5)


def test_a_single_near_pixel_does_not_make_the_rest_black() -> None:
    """One pixel 100 times nearer than a ramp: the ramp still spans the greys."""
    inverse_depth = torch.linspace(0.5, 1, 400).view(1, 1, 20, 20).clone()
    inverse_depth[0, 0, 3, 3] = 100
    picture = nearness_picture(inverse_depth)
    assert picture.std() > 0.25 and 0.4 < picture.median() < 0.6


def test_a_constant_map_is_grey_and_a_nearly_constant_one_nearly_so() -> None:
    """Not white, as division by the largest value would make it; noise is not blown up."""
    flat = torch.full((2, 1, 6, 5), 0.37)
    assert (nearness_picture(flat) == 0.5).all()
    noise = flat + 1e-5 * torch.rand(2, 1, 6, 5)
    assert (nearness_picture(noise) - 0.5).abs().max() < 0.01


def test_depth_of_a_prediction() -> None:
    """Depth as it is, or one over inverse depth; 0 stays finite."""
    values = torch.tensor([[[[0.0, 0.5]]]])
    assert Prediction("depth", values, metric=True).depth() is values
    inverse = Prediction("inverse_depth", values, metric=False).depth()
    assert inverse.flatten().tolist() == pytest.approx([1e6, 2.0])
