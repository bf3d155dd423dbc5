# SPDX-License-Identifier: Apache-2.0
"""Gradients are measured by network and shared out; what Adam makes of it."""

import pytest
import torch
from torch import Tensor, nn

from depthkit.tasks.balance import GradientBalance

NAMES = ("near", "middle", "far")


class Line(nn.Module):
    """A network of two weights."""

    def __init__(self) -> None:
        super().__init__()
        self.slope, self.offset = (nn.Parameter(torch.zeros(())) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Return the line at x."""
        return self.slope * x + self.offset


def three() -> dict[str, nn.Module]:
    """Return networks that all answer 0."""
    return {name: Line() for name in NAMES}


def step(nets: dict[str, nn.Module], balance: GradientBalance, weights: tuple[float, ...]) -> None:
    """Go forward and backward once: the loss is the weighted sum of the lines at x = 4 / 3.

    Each gradient is weight * (4/3, 1), of norm weight * 5/3.
    """
    balance.begin_step()
    for net in nets.values():
        net.zero_grad()
    x = torch.tensor(4 / 3)
    outputs = [balance.scale(name, net(x)) for name, net in nets.items()]
    sum(w * y for w, y in zip(weights, outputs, strict=True)).backward()


def test_norms_are_measured_by_hand():
    """Weights 3, 0.3 and 30: norms 5, 0.5 and 50; no factor without shares."""
    nets = three()
    balance = GradientBalance(nets)
    step(nets, balance, (3, 0.3, 30))
    torch.testing.assert_close(balance.measured, torch.tensor([5.0, 0.5, 50]))
    assert balance.terms()["gradient/far"] == pytest.approx(50)
    step(nets, balance, (3, 0.3, 30))
    torch.testing.assert_close(balance.norms, torch.tensor([5.0, 0.5, 50]))
    assert balance.terms()["share/far"].item() == pytest.approx(50 / 55.5)
    assert balance.factors.tolist() == [1, 1, 1] and nets["far"].slope.grad.item() == 40


def test_balance_makes_the_norms_equal():
    """From the second step on all three are a third of 55.5; their sum stays."""
    nets = three()
    balance = GradientBalance(nets, shares=(1, 1, 1))
    step(nets, balance, (3, 0.3, 30))
    torch.testing.assert_close(balance.measured, torch.tensor([5.0, 0.5, 50]))
    for _ in range(3):
        step(nets, balance, (3, 0.3, 30))
        torch.testing.assert_close(balance.measured, torch.full((3,), 18.5))
    torch.testing.assert_close(balance.factors, torch.tensor([3.7, 37, 0.37]))
    assert balance.terms()["share/near"].item() == pytest.approx(5 / 55.5)  # as without it


def test_shares_are_as_configured():
    """Shares 2 : 1 : 1 of 60."""
    nets = three()
    balance = GradientBalance(nets, shares=(2, 1, 1))
    for _ in range(2):
        step(nets, balance, (6, 6, 24))
    torch.testing.assert_close(balance.measured, torch.tensor([30.0, 15, 15]))


def test_norms_run():
    """At first plain means, 5 and 10 make 7.5; later each step moves them by 1 - momentum."""
    nets = three()
    balance = GradientBalance(nets, momentum=0.75)
    for weight in (3, 6, 3):
        step(nets, balance, (weight, 1, 1))
    assert balance.norms[0].item() == pytest.approx(7.5)
    for weight in (3, 9):
        step(nets, balance, (weight, 1, 1))
    before = balance.norms[0].item()
    balance.begin_step()
    assert balance.norms[0].item() == pytest.approx(0.75 * before + 0.25 * 15)


def test_factors_have_a_limit():
    """A network with next to no gradient is not raised by more than a hundred."""
    nets = three()
    balance = GradientBalance(nets, shares=(1, 1, 1))
    for _ in range(2):
        step(nets, balance, (1, 1e-6, 1))
    assert balance.factors[1] == 100 and balance.factors.isfinite().all()


@pytest.mark.parametrize("bad", [0.0, torch.nan, torch.inf])
def test_a_step_that_measures_nothing_changes_nothing(bad):
    """No gradient, or one that is no number (fp16 skips such steps): the norm is kept."""
    nets = three()
    balance = GradientBalance(nets, shares=(1, 1, 1))
    for _ in range(2):
        step(nets, balance, (1, 2, 3))
    norms = balance.norms.clone()
    step(nets, balance, (1, bad, 3))
    balance.begin_step()
    torch.testing.assert_close(balance.norms, norms)
    assert balance.factors.isfinite().all()


def test_a_network_without_gradient_so_far_waits():
    """Until each was measured once all factors are 1."""
    nets = three()
    balance = GradientBalance(nets, shares=(1, 1, 1))
    for _ in range(3):
        step(nets, balance, (1, 0, 3))
    assert balance.factors.tolist() == [1, 1, 1]


def after_training(shares, *, clip: float | None, adam: bool) -> Tensor:
    """Return the slopes after 20 steps with weights 1, 0.1 and 10. (3,)"""
    nets = three()
    balance = GradientBalance(nets, shares=shares)
    weights = [p for net in nets.values() for p in net.parameters()]
    build = torch.optim.Adam if adam else torch.optim.SGD
    optimizer = build(weights, lr=1e-3)
    for _ in range(20):
        step(nets, balance, (1, 0.1, 10))
        if clip is not None:
            nn.utils.clip_grad_norm_(weights, clip)
        optimizer.step()
    return torch.stack([net.slope.detach() for net in nets.values()])


def test_gradient_descent_moves_by_the_shares():
    """Plain descent moves them by 1 : 0.1 : 10 without the balance, about alike with it."""
    free, shared = (after_training(s, clip=None, adam=False).abs() for s in (None, (1.0, 1.0, 1.0)))
    assert (free[2] / free[1]).item() == pytest.approx(100, rel=1e-3)
    # 19 equal steps of 3.7 after a first one of 1, 0.1 and 10
    torch.testing.assert_close(shared[1] / shared[2], torch.tensor(70.4 / 80.3))


def test_adam_undoes_constant_factors():
    """The limit of it: Adam moves all three alike with the balance and without."""
    free, shared = (after_training(s, clip=None, adam=True) for s in (None, (1.0, 1.0, 1.0)))
    torch.testing.assert_close(free, torch.full((3,), -0.02), rtol=1e-3, atol=0)
    assert ((shared / free) - 1).abs().max() < 0.6  # its first step is of another size: memory


def test_all_of_it_is_in_the_checkpoint():
    """Another balance with the buffers of one goes on as it does."""
    nets, others = three(), three()
    one, other = (GradientBalance(n, shares=(1, 1, 1)) for n in (nets, others))
    for weight in (1, 2, 3):
        step(nets, one, (weight, 1, 5))
    assert not list(one.parameters()) and not list(one.children())
    other.load_state_dict(one.state_dict())
    step(nets, one, (2, 3, 4)), step(others, other, (2, 3, 4))
    torch.testing.assert_close(other.measured, one.measured)
    torch.testing.assert_close(other.norms, one.norms)
