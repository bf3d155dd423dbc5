# SPDX-License-Identifier: Apache-2.0
"""Edges and curvature: numbers by hand, what is free, what is masked, gradients."""

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from depthkit.errors import ShapeError
from depthkit.losses.shape import curvature_loss, edge_loss

LOSSES = (edge_loss, curvature_loss)


def row(*values: float) -> Tensor:
    """Four equal rows of pixels. (1, 1, 4, W) float64"""
    return torch.tensor(values, dtype=torch.float64).expand(1, 1, 4, -1).clone()


def plane(a: float, b: float, size: tuple[int, int] = (8, 12)) -> Tensor:
    """a u + b v. (1, 1, H, W) float64"""
    v, u = torch.meshgrid(*(torch.arange(float(n)).double() for n in size), indexing="ij")
    return (a * u + b * v)[None, None]


def everywhere(x: Tensor) -> Tensor:
    """All pixels count."""
    return torch.ones_like(x, dtype=torch.bool)


def cost(loss, pred: Tensor, truth: Tensor | None = None, scales: int = 1) -> float:
    """The loss against a truth, zero by default."""
    truth = torch.zeros_like(pred) if truth is None else truth
    return loss(pred, truth, everywhere(pred), scales=scales).item()


@pytest.mark.parametrize("loss", LOSSES)
def test_the_truth_and_any_offset_from_it_are_free(loss):
    """The depth term pays for offsets; shape does not."""
    torch.manual_seed(0)
    truth = torch.rand(2, 1, 9, 13).double()
    assert cost(loss, truth, truth, scales=3) == 0
    assert cost(loss, truth + 0.3, truth, scales=3) == pytest.approx(0, abs=1e-12)


def test_a_step_by_hand():
    """0 0 h h: one of three differences along x is h, none along y: h / 3. Of the two second
    differences along x one is +h, one -h; their magnitudes' mean is h."""
    step = row(0, 0, 0.6, 0.6)
    assert cost(edge_loss, step) == pytest.approx(0.2)
    assert cost(curvature_loss, step) == pytest.approx(0.6)


def test_a_bend_by_hand():
    """0 1 0: both differences are 1, the second difference is 2."""
    bend = row(0, 1, 0)
    assert cost(edge_loss, bend) == pytest.approx(1)
    assert cost(curvature_loss, bend) == pytest.approx(2)


def test_a_plane_has_slope_and_no_curvature():
    """a u + b v: |a| + |b| at full size, twice that at each coarser scale; curvature 0."""
    slope = plane(0.02, -0.05)
    assert cost(edge_loss, slope) == pytest.approx(0.07)
    assert cost(edge_loss, slope, scales=3) == pytest.approx(0.07 * (1 + 2 + 4) / 3)
    assert cost(curvature_loss, slope, scales=3) == pytest.approx(0, abs=1e-12)


def test_curvature_of_a_saddle_and_a_bowl():
    """u v: dxy = 1, counted twice, nothing else: 2. u^2: dxx = 2, nothing else: 2."""
    u, v = plane(1, 0), plane(0, 1)
    assert cost(curvature_loss, u * v) == pytest.approx(2)
    assert cost(curvature_loss, u * u) == pytest.approx(2)


def test_axes_are_treated_alike():
    """A map and its transpose cost the same."""
    torch.manual_seed(0)
    x = torch.rand(1, 1, 8, 8).double()
    for loss in LOSSES:
        assert cost(loss, x, scales=3) == pytest.approx(cost(loss, x.mT, scales=3))


def test_a_blurred_fold_costs_in_both():
    """A sharp step in the truth, smeared in the prediction: what the depth term hardly sees."""
    truth, blurred = row(0, 0, 0, 1, 1, 1), row(0, 0, 1 / 3, 2 / 3, 1, 1)
    for loss in LOSSES:
        assert cost(loss, blurred, truth) > 3 * cost(loss, 0.9 * truth, truth)


@pytest.mark.parametrize("loss", LOSSES)
def test_pixels_that_do_not_count_change_nothing(loss):
    """Whatever stands there, NaN too, and however it is predicted; no gradient reaches them."""
    torch.manual_seed(0)
    pred, truth = torch.rand(2, 1, 1, 9, 13).double()
    valid = torch.rand(1, 1, 9, 13) > 0.1
    expected = loss(pred, truth, valid)
    other = torch.where(valid, pred, pred + 5).requires_grad_()
    found = loss(other, truth.where(valid, torch.full_like(truth, torch.nan)), valid)
    torch.testing.assert_close(found, expected)
    found.backward()
    assert other.grad.isfinite().all() and (other.grad[~valid] == 0).all()


def test_a_difference_counts_where_all_its_pixels_do():
    """0 1 9 with 9 unknown: one difference of two is left, of value 1; no second one is."""
    pred = row(0, 1, 9)
    valid = row(1, 1, 0).bool()
    zero = torch.zeros_like(pred)
    assert edge_loss(pred, zero, valid, scales=1).item() == pytest.approx(1)
    assert curvature_loss(pred, zero, valid, scales=1).item() == 0


@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_known_is_zero_with_a_gradient(loss):
    """A batch without truth teaches nothing, and breaks nothing."""
    pred = torch.rand(1, 1, 8, 8, requires_grad=True)
    value = loss(pred, torch.full_like(pred, torch.nan), torch.zeros(1, 1, 8, 8, dtype=torch.bool))
    value.backward()
    assert value.item() == 0 and (pred.grad == 0).all()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 3), (3, 2)])
def test_maps_too_small_for_their_differences_cost_nothing_more(loss, size):
    """No difference, no cost, no NaN: scales that do not fit are left out."""
    value = loss(torch.rand(1, 1, *size), torch.rand(1, 1, *size), torch.ones(1, 1, *size) > 0)
    assert value.isfinite()
    if size == (1, 1):
        assert value == 0


@pytest.mark.parametrize("loss", LOSSES)
def test_gradcheck(loss):
    """Finite differences, with holes, over all scales."""
    torch.manual_seed(0)
    pred = torch.rand(2, 1, 8, 9, dtype=torch.float64, requires_grad=True)
    truth, valid = torch.rand(2, 1, 8, 9, dtype=torch.float64), torch.rand(2, 1, 8, 9) > 0.05
    assert gradcheck(lambda x: loss(x, truth, valid), pred)


@pytest.mark.parametrize("loss", LOSSES)
def test_wrong_shapes_are_named(loss):
    """Three channels, or a mask of another size, are refused with the function's name."""
    good = torch.zeros(2, 1, 4, 5)
    with pytest.raises(ShapeError, match=f"{loss.__name__}: prediction must be"):
        loss(torch.zeros(2, 3, 4, 5), good, good.bool())
    with pytest.raises(ShapeError, match=rf"{loss.__name__}: valid must be \(2, 1, 4, 5\)"):
        loss(good, good, torch.zeros(2, 1, 4, 6).bool())
