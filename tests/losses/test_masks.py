# SPDX-License-Identifier: Apache-2.0
"""Which pixels teach: minimum and mean over sources, auto-mask, explainability, by hand."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from depthkit.errors import ShapeError
from depthkit.losses.masks import explainability_loss, reduce_mean, reduce_minimum


def stack(*sources: list[float]) -> torch.Tensor:
    """One row of pixels from each source. (S, 1, 1, 1, W) float64"""
    return torch.tensor(sources, dtype=torch.float64).view(len(sources), 1, 1, 1, -1)


def flags(*sources: list[int]) -> torch.Tensor:
    """The same of zeros and ones, as bool."""
    return stack(*sources).bool()


ALL = flags([1, 1, 1], [1, 1, 1])


# --- minimum -------------------------------------------------------------------------------------


def test_minimum_takes_the_better_source_of_each_pixel():
    """[1 5 2] and [4 3 2] give [1 3 2], and all teach."""
    reduced = reduce_minimum(stack([1, 5, 2], [4, 3, 2]), ALL)
    assert reduced.error.flatten().tolist() == [1, 3, 2]
    assert reduced.kept.all() and reduced.kept.dtype == torch.bool


def test_minimum_passes_over_invalid_sources():
    """A source that does not see the pixel does not count, however small its error."""
    reduced = reduce_minimum(stack([0, 5, 0], [4, 3, 2]), flags([0, 1, 0], [1, 1, 1]))
    assert reduced.error.flatten().tolist() == [4, 3, 2]
    assert reduced.kept.all()


def test_auto_mask_drops_what_looks_best_unwarped():
    """Identity [2 1 9] against warped minimum [1 3 2]: the middle pixel is dropped and shows 1."""
    reduced = reduce_minimum(stack([1, 5, 2], [4, 3, 2]), ALL, stack([2, 8, 9], [7, 1, 9]))
    assert reduced.kept.flatten().tolist() == [True, False, True]
    assert reduced.error.flatten().tolist() == [1, 1, 2]


def test_auto_mask_drops_a_tie():
    """Static frames, where warped and unwarped are equally good, teach nothing."""
    errors = stack([0.3, 0, 1], [0.3, 0, 1])
    assert not reduce_minimum(errors, ALL, errors.clone()).kept.any()


def test_auto_mask_compares_with_the_best_identity_of_any_source():
    """The identity error is a minimum over the sources too, valid or not."""
    reduced = reduce_minimum(stack([2], [3]), flags([1], [0]), stack([5], [1]))
    assert not reduced.kept.any() and reduced.error.item() == 1


def test_pixels_no_source_sees_carry_the_identity_error():
    """All sources invalid: never kept; the identity error stands in, so leaving never pays."""
    valid = flags([0, 1, 0], [0, 0, 0])
    reduced = reduce_minimum(stack([1, 1, 1], [1, 1, 1]), valid, stack([6, 7, 8], [9, 9, 5]))
    assert reduced.kept.flatten().tolist() == [False, True, False]
    assert reduced.error.flatten().tolist() == [6, 1, 5]


def test_pixels_no_source_sees_are_zero_without_an_auto_mask():
    """All sources invalid and nothing to stand in: zero, finite, not kept."""
    reduced = reduce_minimum(stack([1, 2, 3], [4, 5, 6]), flags([0, 0, 1], [0, 0, 0]))
    assert reduced.error.flatten().tolist() == [0, 0, 3]
    assert reduced.kept.flatten().tolist() == [False, False, True]


def test_gradient_flows_to_the_best_kept_source_alone():
    """One of two sources learns at each kept pixel; dropped and unseen ones give exactly zero."""
    errors = stack([1, 5, 2, 1], [4, 3, 9, 1]).requires_grad_()
    valid = flags([1, 1, 1, 0], [1, 1, 0, 0])
    identity = stack([2, 1, 9, 9], [7, 9, 9, 9])
    reduce_minimum(errors, valid, identity).error.sum().backward()
    assert errors.grad.view(2, 4).tolist() == [[1, 0, 1, 0], [0, 0, 0, 0]]


def test_infinite_errors_of_invalid_sources_do_no_harm():
    """What lies behind the camera may be anything: neither value nor gradient takes it up."""
    errors = stack([math.inf, 1], [2, math.nan]).requires_grad_()
    reduced = reduce_minimum(errors, flags([0, 1], [1, 0]))
    reduced.error.sum().backward()
    assert reduced.error.flatten().tolist() == [2, 1]
    assert errors.grad.view(2, 2).tolist() == [[0, 1], [1, 0]]


def test_one_source_is_enough():
    """With a single source the minimum is that source."""
    reduced = reduce_minimum(stack([3, 4]), flags([1, 0]))
    assert reduced.error.flatten().tolist() == [3, 0]


def test_order_of_sources_does_not_matter():
    """Neither error nor mask depends on which source comes first."""
    torch.manual_seed(0)
    errors, identity = torch.rand(3, 2, 1, 4, 5), torch.rand(3, 2, 1, 4, 5)
    valid = torch.rand(3, 2, 1, 4, 5) > 0.4
    first = reduce_minimum(errors, valid, identity)
    second = reduce_minimum(errors.flip(0), valid.flip(0), identity.flip(0))
    assert torch.equal(first.error, second.error) and torch.equal(first.kept, second.kept)


# --- mean ----------------------------------------------------------------------------------------


def test_mean_counts_invalid_sources_as_zero():
    """[1 5] and [3 7] with the last invalid: [2 2.5]."""
    reduced = reduce_mean(stack([1, 5], [3, 7]), flags([1, 1], [1, 0]))
    assert reduced.error.flatten().tolist() == [2, 2.5]
    assert reduced.kept.all()


def test_mean_weighs_by_explainability():
    """(1 * 0.5 + 3 * 1) / 2 = 1.75; a pixel no source sees is zero and not kept."""
    reduced = reduce_mean(stack([1, 5], [3, 7]), flags([1, 0], [1, 0]), stack([0.5, 1], [1, 1]))
    assert reduced.error.flatten().tolist() == [1.75, 0]
    assert reduced.kept.flatten().tolist() == [True, False]


def test_mean_teaches_explainability_only_where_it_is_seen():
    """The gradient by the weights is error / S where valid, zero elsewhere."""
    weights = stack([0.5, 1], [1, 1]).requires_grad_()
    reduced = reduce_mean(stack([1, 5], [3, 7]), flags([1, 0], [1, 1]), weights)
    reduced.error.sum().backward()
    assert weights.grad.view(2, 2).tolist() == [[0.5, 0], [1.5, 3.5]]


def test_explainability_loss_by_hand():
    """Cross-entropy against one: -log w, averaged; zero when all is explained."""
    weights = torch.tensor([[0.5, 0.25]])
    assert explainability_loss(weights).item() == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert explainability_loss(torch.ones(2, 3)).item() == 0


def test_explainability_loss_survives_a_weight_of_zero():
    """A sigmoid that underflows to zero gives a large, finite loss."""
    assert explainability_loss(torch.zeros(1, 1)).isfinite()


# --- gradients and bad input ---------------------------------------------------------------------


@pytest.mark.parametrize("masked", [False, True])
def test_gradcheck(masked):
    """Finite differences confirm both reductions, invalid pixels and auto-mask included."""
    torch.manual_seed(1)
    shape = (2, 1, 1, 3, 4)
    errors = torch.rand(shape, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(shape, dtype=torch.float64, requires_grad=True)
    valid = torch.rand(shape) > 0.3
    identity = torch.rand(shape, dtype=torch.float64) if masked else None
    assert gradcheck(lambda e: reduce_minimum(e, valid, identity).error, errors)
    assert gradcheck(lambda e, w: reduce_mean(e, valid, w).error, (errors, weights))
    assert gradcheck(explainability_loss, weights)


def test_wrong_shapes_are_named():
    """Errors without the axis of sources, and masks of another size, stop at the door."""
    errors = torch.zeros(2, 3, 1, 4, 5)
    with pytest.raises(ShapeError, match=r"reduce_minimum: errors must be \(S, B, 1, H, W\)"):
        reduce_minimum(errors[0], errors[0].bool())
    with pytest.raises(ShapeError, match=r"reduce_minimum: valid must be \(2, 3, 1, 4, 5\)"):
        reduce_minimum(errors, errors[:1].bool())
    with pytest.raises(ShapeError, match="reduce_minimum: identity_errors must be"):
        reduce_minimum(errors, errors.bool(), errors[:, :1])
    with pytest.raises(ShapeError, match=r"reduce_mean: errors must be"):
        reduce_mean(errors[0], errors[0].bool())
    with pytest.raises(ShapeError, match=r"reduce_mean: valid must be"):
        reduce_mean(errors, errors[:, :1].bool())
    with pytest.raises(ShapeError, match=r"reduce_mean: weights must be"):
        reduce_mean(errors, errors.bool(), errors[:, :1])
