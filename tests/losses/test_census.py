# SPDX-License-Identifier: Apache-2.0
"""The census distance: by hand, by its definition, what it forgives, gradients."""

import math

import pytest
import torch
import torch.nn.functional as F
from street_truth import street_pair
from torch.autograd import gradcheck

from depthkit.errors import ShapeError
from depthkit.geometry.warp import warp_by_flow
from depthkit.losses.census import census_distance, charbonnier


def grey(*rows: list[float]) -> torch.Tensor:
    """A grey picture from grey levels 0 to 255. (1, 3, H, W) float64"""
    return (torch.tensor(rows, dtype=torch.float64) / 255).expand(1, 3, -1, -1)


def by_definition(image: torch.Tensor, target: torch.Tensor, radius: int) -> torch.Tensor:
    """All neighbours of all pixels, those outside left out."""
    side = 2 * radius + 1

    def signs(x: torch.Tensor) -> torch.Tensor:
        around = F.unfold(255 * x.mean(1, keepdim=True), side, padding=radius)
        difference = around.unflatten(2, x.shape[-2:]) - 255 * x.mean(1, keepdim=True)
        return difference / (0.81 + difference.square()).sqrt()

    inside = F.unfold(torch.ones_like(image[:, :1]), side, padding=radius)
    inside = inside.unflatten(2, image.shape[-2:])
    inside[:, side**2 // 2] = 0
    e = (signs(image) - signs(target)).square()
    return (inside * e / (0.1 + e)).sum(1, keepdim=True) / inside.sum(1, keepdim=True)


def test_two_by_two_by_hand():
    """One bright pixel against none: its three neighbours see 10 levels, t = 10 / sqrt(100.81)."""
    e = 100 / 100.81
    one = e / (0.1 + e)
    distance = census_distance(grey([10, 0], [0, 0]), grey([0, 0], [0, 0]))
    expected = torch.tensor([[one, one / 3], [one / 3, one / 3]], dtype=torch.float64)
    torch.testing.assert_close(distance[0, 0], expected)


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_pairs_make_the_sum_of_the_definition(radius):
    """Looking once at each pair gives what looking at all neighbours gives, borders too."""
    torch.manual_seed(0)
    image, target = torch.rand(2, 2, 3, 7, 9, dtype=torch.float64).unbind()
    torch.testing.assert_close(
        census_distance(image, target, radius=radius), by_definition(image, target, radius)
    )


def test_light_is_forgiven_and_its_order_is_not():
    """An added brightness costs nothing, a stronger contrast next to nothing, an inverse much."""
    torch.manual_seed(0)
    image = 0.2 + 0.6 * torch.rand(1, 3, 16, 16, dtype=torch.float64)
    assert census_distance(image + 0.1, image).max() < 1e-12
    assert census_distance(1.2 * image, image).mean() < 0.01
    assert census_distance(1 - image, image).mean() > 0.9


def test_equal_pictures_have_no_distance_and_no_gradient():
    """The minimum is where it should be."""
    image = torch.rand(1, 3, 8, 8).requires_grad_()
    distance = census_distance(image, image.detach().clone())
    distance.sum().backward()
    assert not distance.any() and not image.grad.any()


@pytest.mark.parametrize("radius", [1, 2])
def test_gradient_by_the_picture(radius):
    """gradcheck in float64, on differences of a few grey levels; the target gets none."""
    torch.manual_seed(1)
    image, target = (0.02 * torch.rand(2, 2, 3, 5, 6, dtype=torch.float64)).unbind()
    image, target = image.clone().requires_grad_(), target.clone().requires_grad_()
    assert gradcheck(lambda x: census_distance(x, target, radius=radius), image, eps=1e-8)
    census_distance(image, target).sum().backward()
    assert target.grad is None


def test_exact_flow_costs_less_than_none():
    """On a rendered street, where both see the point."""
    street = street_pair()
    seen = street.visible & street.known
    exact = census_distance(warp_by_flow(street.second, street.flow)[0], street.first)[seen].mean()
    assert exact < 0.6 * census_distance(street.second, street.first)[seen].mean()


def test_charbonnier_by_hand():
    """(x^2 + 1e-6)^0.45: 0 gives 1e-3^0.9, 1 gives about 1; both signs alike."""
    x = torch.tensor([0.0, 1, -1], dtype=torch.float64)
    assert charbonnier(x).tolist() == pytest.approx([math.pow(1e-3, 0.9), 1, 1], rel=1e-6)


def test_bad_input_is_said():
    """Sizes must agree, a radius must fit."""
    with pytest.raises(ShapeError, match="census_distance: target"):
        census_distance(torch.rand(1, 3, 5, 6), torch.rand(1, 3, 5, 7))
    with pytest.raises(ValueError, match="radius"):
        census_distance(torch.rand(1, 3, 5, 6), torch.rand(1, 3, 5, 6), radius=5)
