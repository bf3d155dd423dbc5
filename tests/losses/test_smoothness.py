# SPDX-License-Identifier: Apache-2.0
"""Smoothness of inverse depth: numbers by hand, planes cost nothing extra, gradients."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from depthkit.errors import ShapeError
from depthkit.losses.smoothness import (
    edge_aware_smoothness,
    gradient_diffusion_smoothness,
    second_order_smoothness,
)


def row(*values: float) -> torch.Tensor:
    """Two equal rows of pixels. (1, 1, 2, W) float64"""
    return torch.tensor(values, dtype=torch.float64).expand(1, 1, 2, -1).clone()


def grey(*values: float) -> torch.Tensor:
    """The same as a colour image. (1, 3, 2, W)"""
    return row(*values).expand(1, 3, -1, -1)


def test_flat_depth_costs_nothing():
    """No difference, no loss, whatever the picture."""
    torch.manual_seed(0)
    flat = torch.full((2, 1, 5, 6), 0.3)
    assert edge_aware_smoothness(flat, torch.rand(2, 3, 5, 6)).item() == 0
    assert second_order_smoothness(flat).item() == 0


def test_first_order_by_hand():
    """d = [1 3], mean 2: |dx d*| = 1; under an image step of 0.5 it costs exp(-0.5)."""
    assert edge_aware_smoothness(row(1, 3), grey(0, 0)).item() == pytest.approx(1, rel=1e-6)
    edge = edge_aware_smoothness(row(1, 3), grey(0.2, 0.7)).item()
    assert edge == pytest.approx(math.exp(-0.5), rel=1e-6)


def test_image_edges_are_the_mean_over_colours():
    """An edge of 0.6 in one colour of three counts 0.2."""
    image = torch.zeros(1, 3, 2, 2, dtype=torch.float64)
    image[:, 0, :, 1] = 0.6
    value = edge_aware_smoothness(row(1, 3), image).item()
    assert value == pytest.approx(math.exp(-0.2), rel=1e-6)


def test_an_edge_excuses_only_its_own_direction():
    """A vertical step in depth along a horizontal edge of the image pays in full."""
    depth = row(1, 3).mT.contiguous()
    assert edge_aware_smoothness(depth, grey(0, 1)).item() == pytest.approx(1, rel=1e-6)


def test_scale_of_depth_does_not_matter_but_shape_does():
    """Each image is divided by its own mean: no gain in drifting to infinity."""
    torch.manual_seed(0)
    depth, image = 0.5 + torch.rand(2, 1, 5, 6).double(), torch.rand(2, 3, 5, 6).double()
    factors = torch.tensor([10.0, 0.1]).view(2, 1, 1, 1)
    torch.testing.assert_close(
        edge_aware_smoothness(depth * factors, image),
        edge_aware_smoothness(depth, image),
        rtol=1e-5,
        atol=0,
    )
    assert edge_aware_smoothness(depth.square(), image) > edge_aware_smoothness(depth, image)


def test_second_order_leaves_ramps_alone_and_counts_bends():
    """[1 2 3] is free; [0 1 0]: dxx = 2 on the only triple of each row, nothing else."""
    assert second_order_smoothness(row(1, 2, 3).repeat(1, 1, 2, 1)).item() == 0
    bend = row(0, 1, 0).repeat(1, 1, 2, 1)
    assert second_order_smoothness(bend).item() == pytest.approx(2)


def test_second_order_counts_the_mixed_derivative_twice():
    """The saddle u v has dxy = dyx = 1 everywhere and nothing else: 2."""
    v, u = torch.meshgrid(torch.arange(4.0), torch.arange(5.0), indexing="ij")
    assert second_order_smoothness((u * v)[None, None]).item() == pytest.approx(2)


def test_inverse_depth_of_a_plane_is_free_of_second_order_cost():
    """A slanted wall's inverse depth is linear in the pixel: Zhou's prior holds for planes."""
    v, u = torch.meshgrid(torch.arange(6.0), torch.arange(7.0), indexing="ij")
    assert second_order_smoothness((0.2 + 0.01 * u - 0.02 * v)[None, None]).item() < 1e-7


def test_gradcheck():
    """Finite differences, away from equal neighbours where |.| has its corner."""
    torch.manual_seed(0)
    depth = torch.rand(2, 1, 4, 5, dtype=torch.float64, requires_grad=True)
    image = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    assert gradcheck(lambda d: edge_aware_smoothness(d, image), depth)
    assert gradcheck(second_order_smoothness, depth)


def test_wrong_shapes_are_named():
    """Inverse depth with three channels, and an image of another size, are refused."""
    with pytest.raises(ShapeError, match=r"edge_aware_smoothness: inverse_depth must be"):
        edge_aware_smoothness(torch.zeros(1, 3, 4, 5), torch.zeros(1, 3, 4, 5))
    with pytest.raises(ShapeError, match=r"edge_aware_smoothness: image must be \(2, C, 4, 5\)"):
        edge_aware_smoothness(torch.zeros(2, 1, 4, 5), torch.zeros(1, 3, 4, 5))
    with pytest.raises(ShapeError, match=r"second_order_smoothness: inverse_depth must be"):
        second_order_smoothness(torch.zeros(4, 5))


def test_gradient_diffusion_by_hand():
    """d = [0 1 0 0]: dxx = -2, 1, so (4 + 1) / 2; an edge of 0.25 a colour over kappa 0.5 at the
    first bend leaves it exp(-(0.75 / 0.5)^2) of its cost."""
    bend = row(0, 1, 0, 0).repeat(1, 1, 2, 1)
    flat = grey(0, 0, 0, 0).repeat(1, 1, 2, 1)
    assert gradient_diffusion_smoothness(bend, flat).item() == pytest.approx(2.5)
    edge = grey(0, 0, 0.5, 0).repeat(1, 1, 2, 1)  # central differences 0.25 and 0
    expected = (4 * math.exp(-2.25) + 1) / 2
    assert gradient_diffusion_smoothness(bend, edge).item() == pytest.approx(expected)


def test_gradient_diffusion_leaves_planes_alone():
    """A slanted wall's inverse depth is linear in the pixel: free, whatever the picture."""
    v, u = torch.meshgrid(torch.arange(6.0), torch.arange(7.0), indexing="ij")
    plane = (0.2 + 0.01 * u - 0.02 * v)[None, None]
    assert gradient_diffusion_smoothness(plane, torch.rand(1, 3, 6, 7)).item() < 1e-12


def test_gradient_diffusion_gradcheck_and_shapes():
    """Finite differences in double precision; an image of another size is refused."""
    torch.manual_seed(0)
    depth = torch.rand(2, 1, 5, 6, dtype=torch.float64, requires_grad=True)
    image = torch.rand(2, 3, 5, 6, dtype=torch.float64)
    assert gradcheck(lambda d: gradient_diffusion_smoothness(d, image), depth)
    with pytest.raises(ShapeError, match="gradient_diffusion_smoothness: image must be"):
        gradient_diffusion_smoothness(depth, image[..., 1:])
