# SPDX-License-Identifier: Apache-2.0
"""The mask network: sizes, what it says before training, and that it can learn looks and places."""

import pytest
import torch
import torch.nn.functional as F

from depthkit.errors import ShapeError
from depthkit.models.mask_net import MaskNet


@pytest.fixture
def net() -> MaskNet:
    """One with random weights."""
    torch.manual_seed(0)
    return MaskNet()


@pytest.mark.parametrize("size", [(33, 33), (64, 208), (75, 101)])
def test_one_number_a_pixel(net, size):
    """At any size from 33 pixels on, in 32 bits even where the network runs in 16."""
    image = torch.rand(2, 3, *size)
    assert net(image).shape == (2, 1, *size)
    with torch.autocast("cpu", torch.bfloat16):
        assert net(image).dtype == torch.float32


def test_nearly_all_is_static_before_it_has_learnt(net):
    """About nine of ten, so that the first masks are those of the evidence."""
    probability = net.eval()(torch.rand(2, 3, 64, 96)).sigmoid()
    assert probability.min() > 0.85 and probability.max() < 0.95


def test_every_weight_learns(net):
    """No branch is dead."""
    net(torch.rand(2, 3, 64, 96)).square().mean().backward()
    assert all(weight.grad.abs().sum() > 0 for weight in net.parameters())


def test_looks_and_place_are_learnt(net):
    """Red moves in the lower half only; half of the labels there are wrong one way: odds of one.

    What labels say on the average comes out, not what one of them says.
    """
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    rows = torch.arange(48).view(1, 1, -1, 1).expand(4, 1, 48, 64)
    for _ in range(120):
        red = torch.rand(4, 1, 6, 8, generator=generator).repeat_interleave(8, 2)
        red = (red.repeat_interleave(8, 3) > 0.7).float()
        lucky = (torch.rand(4, 1, 1, 1, generator=generator) > 0.5).float()
        static = 1 - red * (rows >= 24) * lucky
        image = torch.cat([red, torch.zeros(4, 2, 48, 64)], 1)
        loss = F.binary_cross_entropy_with_logits(net(image), static)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    said = net.eval()(image).sigmoid()
    moves = (red > 0) & (rows >= 24)
    assert 0.3 < said[moves].mean() < 0.7
    assert said[~moves].mean() > 0.9


def test_too_small_a_picture_is_refused(net):
    """One line, with the size."""
    with pytest.raises(ShapeError, match=r"33 pixels a side or more, got \(32, 64\)"):
        net(torch.rand(1, 3, 32, 64))
    with pytest.raises(ShapeError, match="image"):
        net(torch.rand(1, 4, 64, 64))
