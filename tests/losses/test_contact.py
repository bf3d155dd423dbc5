# SPDX-License-Identifier: Apache-2.0
"""Ground contact: by hand, where its gradient goes, what it converges to."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from depthkit.errors import ShapeError
from depthkit.losses.contact import ground_contact_loss


def column(*values: float) -> torch.Tensor:
    """One pixel wide, from the top. (1, 1, H, 1) float64"""
    return torch.tensor(values, dtype=torch.float64).view(1, 1, -1, 1)


def test_by_hand():
    """Both upper pixels stand on the third, 3 and 2 away in logarithms: (1 * 3 + 0.6 * 2) / 4.

    A second column that stands still halves it."""
    inverse_depth, moving = column(1, math.e, math.e**3, 1), column(1, 0.6, 0.1, 0)
    near_ground = 0  # its own ground: no distance, whatever its weight
    value = (1 * 3 + 0.6 * 2 + near_ground) / 4
    assert ground_contact_loss(inverse_depth, moving).item() == pytest.approx(value)
    still = torch.cat([moving, torch.zeros_like(moving)], 3)
    both = ground_contact_loss(inverse_depth.expand(-1, -1, -1, 2), still)
    assert both.item() == pytest.approx(value / 2)


def test_what_the_border_cuts_is_nearer_than_the_road_there():
    """The left column is cut, the right one stands on road of 4 there: the left is to have 6."""
    left, right = column(1, 1, 2), column(2, 3, 4)
    inverse_depth = torch.cat([left, right], 3).requires_grad_()
    moving = torch.cat([column(1, 1, 1), column(1, 1, 0)], 3)
    value = ground_contact_loss(inverse_depth, moving)
    expected = (2 * math.log(6) + math.log(3) + math.log(2) + math.log(4 / 3)) / 6
    assert value.item() == pytest.approx(expected)
    value.backward()
    assert inverse_depth.grad[..., -1, 1].item() == 0  # the road
    assert inverse_depth.grad[..., 0].flatten().tolist() == pytest.approx([-1 / 6, -1 / 6, -1 / 12])


def test_a_border_without_road_teaches_nothing():
    """All cut: no loss and a gradient of 0, not NaN; what stands above a static pixel is taught."""
    inverse_depth = column(1, math.e, math.e**3).requires_grad_()
    value = ground_contact_loss(inverse_depth, torch.ones_like(inverse_depth))
    value.backward()
    assert value.item() == 0 and not inverse_depth.grad.any()
    value = ground_contact_loss(inverse_depth, column(1, 0, 1))
    assert value.item() == pytest.approx(1 / 3)  # the first stands on the second


def test_teaches_what_moves_alone():
    """d |log a - log b| / d a = sign / a as weighted, of three pixels; the ground gets none."""
    inverse_depth = column(2, 4, 1).requires_grad_()
    ground_contact_loss(inverse_depth, column(1, 0.5, 0.2)).backward()
    torch.testing.assert_close(inverse_depth.grad, column(1 / 2 / 3, 0.5 / 4 / 3, 0))


def test_knows_no_unit():
    """All depths a hundred times as large cost the same; depth that does not climb is free."""
    torch.manual_seed(0)
    inverse_depth, moving = 0.1 + torch.rand(2, 1, 5, 6).double(), torch.rand(2, 1, 5, 6).double()
    moving[..., -1, :] = 0  # nothing is cut
    value = ground_contact_loss(inverse_depth, moving)
    torch.testing.assert_close(ground_contact_loss(inverse_depth / 100, moving), value)
    upright = inverse_depth[..., -1:, :].expand(-1, -1, 5, -1)
    assert ground_contact_loss(upright, moving).item() == 0 < value.item()


def test_what_moves_takes_the_depth_of_its_ground():
    """Minimised, a moving column is as deep as the highest static pixel below; that one stays."""
    start = column(0.02, 0.9, 0.05, 0.3, 0.2, 0.25)  # the road: the two lowest, nearer below
    moving = column(1, 1, 1, 1, 0, 0)
    inverse_depth = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([inverse_depth], lr=0.01)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.99)
    for _ in range(800):
        optimiser.zero_grad()
        ground_contact_loss(inverse_depth, moving).backward()
        optimiser.step()
        schedule.step()
    found = inverse_depth.detach()
    assert torch.equal(found[..., 4:, :], start[..., 4:, :])
    assert (found[..., :4, :] - 0.2).abs().max() < 0.005


def test_gradcheck_and_shapes():
    """Finite differences where the ground is not asked; a mask of another size is refused."""
    torch.manual_seed(0)
    upper = (0.1 + torch.rand(2, 1, 1, 5)).double().requires_grad_()
    lower = 0.1 + torch.rand(2, 1, 1, 5).double()
    moving = torch.cat([0.5 + 0.5 * torch.rand(2, 1, 1, 5), torch.zeros(2, 1, 1, 5)], 2).double()
    assert gradcheck(lambda d: ground_contact_loss(torch.cat([d, lower], 2), moving), upper)
    with pytest.raises(ShapeError, match=r"ground_contact_loss: moving must be"):
        ground_contact_loss(torch.ones(1, 1, 4, 5), torch.ones(1, 1, 5, 5))
