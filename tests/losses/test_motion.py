# SPDX-License-Identifier: Apache-2.0
"""Known motions: baseline and rotation losses by hand, unknown truths, no NaN at zero rotation."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from depthkit.errors import ShapeError
from depthkit.geometry.se3 import motion_from_vector
from depthkit.losses.motion import baseline_loss, rotation_loss


def motion(*vector: float) -> torch.Tensor:
    """Axis-angle, then translation. (1, 4, 4) float64"""
    return motion_from_vector(torch.tensor([vector], dtype=torch.float64))


YES = torch.tensor([True])


def test_baseline_compares_lengths_only():
    """|(3, 4, 0)| = 5 against 2 m costs 3, in whatever direction."""
    truth = motion(0, 0, 0, 0, 0, 2)
    assert baseline_loss(motion(0, 0, 0, 3, 4, 0), truth, YES).item() == pytest.approx(3)
    assert baseline_loss(motion(1, 0, 0, 0, -2, 0), truth, YES).item() == pytest.approx(0)


def test_rotation_is_the_angle_between():
    """0.5 rad against 0.2 about the same axis costs 0.3; a quarter turn apart costs pi / 2."""
    near = rotation_loss(motion(0, 0.5, 0, 9, 9, 9), motion(0, 0.2, 0, 0, 0, 0), YES)
    assert near.item() == pytest.approx(0.3, rel=1e-9)
    apart = rotation_loss(motion(math.pi / 2, 0, 0, 0, 0, 0), motion(0, 0, 0, 0, 0, 0), YES)
    assert apart.item() == pytest.approx(math.pi / 2, rel=1e-9)


def test_mean_is_over_the_known_ones():
    """Costs 1, 3 and (unknown) 100 average to 2."""
    predicted = torch.cat([motion(0, 0, 0, 0, 0, z) for z in (1.0, 3.0, 100.0)])
    truth = torch.eye(4).double().expand(3, 4, 4)
    known = torch.tensor([True, True, False])
    assert baseline_loss(predicted, truth, known).item() == pytest.approx(2)


@pytest.mark.parametrize("loss", [baseline_loss, rotation_loss])
def test_nothing_known_costs_nothing(loss):
    """Without a single truth the loss is zero, not NaN."""
    predicted = torch.cat([motion(0.1, 0, 0, 1, 0, 0)] * 2)
    assert loss(predicted, predicted, torch.zeros(2, dtype=torch.bool)).item() == 0


@pytest.mark.parametrize("loss", [baseline_loss, rotation_loss])
def test_unknown_truths_may_be_nan(loss):
    """Snippets write NaN where a pose is unknown: value and gradient do not take it up."""
    vectors = torch.tensor([[0.1, 0, 0, 1, 0, 0], [0.2, 0, 0, 2, 0, 0]], dtype=torch.float64)
    vectors.requires_grad_()
    truth = torch.cat([motion(0, 0, 0, 0, 0, 0.5), torch.full((1, 4, 4), math.nan).double()])
    value = loss(motion_from_vector(vectors), truth, torch.tensor([True, False]))
    value.backward()
    assert value.isfinite() and vectors.grad.isfinite().all()
    assert vectors.grad[0].abs().max() > 0 and vectors.grad[1].abs().max() == 0


@pytest.mark.parametrize("loss", [baseline_loss, rotation_loss])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_training_starts_at_rest_without_nan(loss, dtype):
    """A network that answers zero, and truth without motion: a finite gradient."""
    vectors = torch.zeros(2, 6, dtype=dtype, requires_grad=True)
    truth = torch.cat([motion(0, 0, 0, 0, 0, 0), motion(0, 0.1, 0, 0, 0, 1)]).to(dtype)
    value = loss(motion_from_vector(vectors), truth, torch.tensor([True, True]))
    value.backward()
    assert value.isfinite() and vectors.grad.isfinite().all()


def test_rotation_gradient_points_to_the_truth():
    """From rest towards a truth of 0.1 rad about y: the loss falls with y at slope one."""
    vectors = torch.zeros(1, 6, dtype=torch.float64, requires_grad=True)
    rotation_loss(motion_from_vector(vectors), motion(0, 0.1, 0, 0, 0, 0), YES).backward()
    expected = torch.tensor([[0, -1.0, 0, 0, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(vectors.grad, expected, atol=1e-6, rtol=0)


def test_equal_rotations_cost_next_to_nothing():
    """The floor that keeps the gradient finite is a microradian."""
    T = motion(0.3, -0.2, 0.9, 0, 0, 0)
    assert rotation_loss(T, T, YES).item() < 2e-6
    assert rotation_loss(T.float(), T.float(), YES).item() < 1e-3


def test_gradcheck():
    """Finite differences of both losses, away from rest."""
    vectors = torch.tensor([[0.3, -0.2, 0.1, 1, 2, -1], [0, 0.2, 0.4, 0.3, 0, 0.1]]).double()
    truth = torch.cat([motion(0.1, 0, 0, 0, 0, 1), motion(0, 0, 0, 0, 2, 1)])
    known = torch.tensor([True, True])
    vectors.requires_grad_()
    for loss in (baseline_loss, rotation_loss):
        assert gradcheck(lambda x, f=loss: f(motion_from_vector(x), truth, known), vectors)


@pytest.mark.parametrize("loss", [baseline_loss, rotation_loss])
def test_wrong_shapes_are_named(loss):
    """Motions still folded as (B, S), a truth too few, flags too many: refused."""
    T = torch.eye(4).repeat(2, 1, 1)
    with pytest.raises(ShapeError, match=f"{loss.__name__}: T_pred must be"):
        loss(T[None], T, torch.ones(2, dtype=torch.bool))
    with pytest.raises(ShapeError, match=f"{loss.__name__}: T_gt must be"):
        loss(T, T[:1], torch.ones(2, dtype=torch.bool))
    with pytest.raises(ShapeError, match=f"{loss.__name__}: known must be"):
        loss(T, T, torch.ones(3, dtype=torch.bool))
