# SPDX-License-Identifier: Apache-2.0
"""Regression losses on numbers worked out by hand; unknown pixels, empty masks, gradients."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from depthkit.config import SupervisedConfig
from depthkit.config.declared_types import convert
from depthkit.errors import ConfigError, ShapeError
from depthkit.losses.supervised import LOSSES, build_loss, gradient_loss, shrink_known

ALL = pytest.mark.parametrize("name", LOSSES)
LOGS = ("log_l1", "scale_invariant", "gradient")


def row(*values: float) -> Tensor:
    """One image of one row. (1, 1, 1, N) float64"""
    return torch.tensor(values, dtype=torch.float64)[None, None, None]


def judge(name: str, pred: Tensor, truth: Tensor, valid: Tensor | None = None) -> float:
    """Return the loss of all pixels, or of the valid ones."""
    known = torch.ones_like(pred, dtype=torch.bool) if valid is None else valid
    return build_loss(name)(pred, truth, known).item()


# Errors 0, -1, 2 and 10 metres: c = 0.2 * 10 = 2.
PRED, TRUTH = row(5, 4, 7, 20), row(5, 5, 5, 10)
BY_HAND = {
    "l1": (0 + 1 + 2 + 10) / 4,
    "l2": (0 + 1 + 4 + 100) / 4,
    "huber": (0 + 1 / 2 + 4 / 2 + 2 * (10 - 1)) / 4,
    "berhu": (0 + 1 + 2 + (100 + 4) / (2 * 2)) / 4,
}


@pytest.mark.parametrize("name", BY_HAND)
def test_errors_in_metres_by_hand(name):
    """Errors 0, 1, 2, 10 with the threshold at a fifth of the largest."""
    assert judge(name, PRED, TRUTH) == pytest.approx(BY_HAND[name])


def test_log_errors_by_hand():
    """Ratios e and e^-3: |1| and |-3| average to 2; mean square 5, less half of (-1)^2."""
    pred, truth = row(math.e, 2), row(1, 2 * math.e**3)
    assert judge("log_l1", pred, truth) == pytest.approx(2)
    assert judge("scale_invariant", pred, truth) == pytest.approx(5 - 0.5 * 1)


def test_gradient_by_hand():
    """Log errors 0, 1, 3, 3 in a row: steps 1, 2, 0, then of every second pixel 3; one image row.

    At full size (1 + 2 + 0) / 3, at half size 3; a single pixel is left at a quarter and below.
    """
    pred, truth = row(1, math.e, math.e**3, math.e**3), row(1, 1, 1, 1)
    assert judge("gradient", pred, truth) == pytest.approx((1 + 3 + 0 + 0) / 4)


def test_gradient_looks_both_ways():
    """A ramp down the rows costs what a ramp along the columns costs."""
    ramp = torch.arange(1.0, 9).double()[None].expand(8, 8)[None, None]
    flat = torch.full_like(ramp, 3)
    assert judge("gradient", ramp, flat) == pytest.approx(judge("gradient", ramp.mT, flat))


@pytest.mark.parametrize("name", ["scale_invariant", "gradient"])
def test_a_common_factor_is_half_or_wholly_free(name):
    """Twice the depth everywhere costs (log 2)^2 / 2 of Eigen's loss, and no gradient."""
    cost = judge(name, 2 * TRUTH, TRUTH)
    assert cost == pytest.approx(math.log(2) ** 2 / 2 if name == "scale_invariant" else 0)


def test_scale_invariance_is_of_each_image():
    """One image too large and one too small: the factors do not cancel between images."""
    truth = torch.cat([row(1, 2), row(3, 4)])
    pred = truth * torch.tensor([2.0, 0.5]).double().view(2, 1, 1, 1)
    assert judge("scale_invariant", pred, truth) == pytest.approx(math.log(2) ** 2 / 2)


@ALL
def test_truth_costs_nothing(name):
    """The true depth has no loss."""
    assert judge(name, TRUTH, TRUTH) == pytest.approx(0, abs=1e-12)


@ALL
def test_unknown_pixels_do_not_count(name):
    """NaN, zero and nonsense truth outside the mask leave the mean of the others."""
    valid = torch.tensor([1, 1, 1, 1, 0, 0, 0], dtype=torch.bool)[None, None, None]
    pred = torch.cat([PRED, row(9, 1e3, 0)], -1).requires_grad_()
    truth = torch.cat([TRUTH, row(math.nan, 0, 1e9)], -1)
    loss = build_loss(name)(pred, truth, valid)
    loss.backward()
    if name != "gradient":  # its coarse steps fall on other pixels in a longer row
        assert loss.item() == pytest.approx(judge(name, PRED, TRUTH))
    assert pred.grad.isfinite().all() and (pred.grad[..., 4:] == 0).all()
    assert pred.grad[..., :4].abs().max() > 0


@ALL
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_known_costs_nothing(name, dtype):
    """An empty mask is a loss of 0 with a finite gradient, not NaN and not detached."""
    pred = torch.rand(2, 1, 5, 6, dtype=dtype).requires_grad_()
    truth, none = torch.full_like(pred, math.nan), torch.zeros(2, 1, 5, 6, dtype=torch.bool)
    loss = build_loss(name)(pred, truth, none)
    loss.backward()
    assert loss.item() == 0 and pred.grad.abs().max() == 0


@ALL
def test_a_prediction_of_zero_keeps_the_gradient_finite(name):
    """ELU + 1 rounds to zero now and then; its logarithm must not end the run."""
    pred = torch.zeros(1, 1, 4, 4, requires_grad=True)
    build_loss(name)(pred, torch.ones(1, 1, 4, 4), pred >= 0).backward()
    assert pred.grad.isfinite().all()


@ALL
def test_gradcheck(name):
    """Finite differences agree; the largest error, which sets c, is not moved."""
    torch.manual_seed(0)
    pred, truth = (1 + 4 * torch.rand(2, 1, 4, 5, dtype=torch.float64) for _ in range(2))
    valid = torch.rand(2, 1, 4, 5) > 0.2
    valid[0, 0, 0, 0] = True
    far = torch.zeros_like(truth)
    far[0, 0, 0, 0] = 30
    truth = truth + far
    moves = (far == 0).double()
    fixed = pred.clone()

    def f(x):
        return build_loss(name)(x * moves + fixed * (1 - moves), truth, valid)

    assert gradcheck(f, pred.requires_grad_())


def test_the_configuration_offers_what_there_is():
    """Every loss can be chosen, and no other."""
    choices = SupervisedConfig.__dataclass_fields__["loss"].type
    assert all(convert(choices, name) == name for name in LOSSES)
    with pytest.raises(ConfigError, match="unknown loss 'l3'; choose one of l1, l2"):
        build_loss("l3")


@ALL
def test_wrong_shapes_are_named(name):
    """A truth without its channel, a mask of another size."""
    x = torch.ones(2, 1, 4, 4)
    with pytest.raises(ShapeError, match="loss: truth must be"):
        build_loss(name)(x, x[:, 0], x > 0)
    with pytest.raises(ShapeError, match="loss: valid must be"):
        build_loss(name)(x, x, x[..., :2] > 0)


def test_shrinking_averages_the_known_pixels_alone():
    """Blocks of 2 x 2 on 3 x 5: means of the known, partial blocks at the border, 0 for none."""
    depth = torch.arange(15.0).view(1, 1, 3, 5)
    known = torch.ones(1, 1, 3, 5, dtype=torch.bool)
    known[0, 0, 0, :2] = False
    known[0, 0, :2, 2:4] = False
    depth = depth.where(known, torch.tensor(math.nan))
    mean, found = shrink_known(depth, known, 2)
    assert found[0, 0].tolist() == [[True, False, True], [True, True, True]]
    expected = [[(5 + 6) / 2, 0, (4 + 9) / 2], [(10 + 11) / 2, (12 + 13) / 2, 14]]
    torch.testing.assert_close(mean[0, 0], torch.tensor(expected))


@pytest.mark.parametrize("scales", [1, 3])
def test_gradient_scales_are_averaged(scales):
    """A plane of log errors with slope 1 costs 2^k at scale k, both directions together 2^(k+1)."""
    u, v = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    pred = ((u + v) / 8).exp()[None, None].double()
    loss = gradient_loss(pred, torch.ones_like(pred), pred > 0, scales=scales)
    assert loss.item() == pytest.approx(sum(2 * 2**k / 8 for k in range(scales)) / scales)
