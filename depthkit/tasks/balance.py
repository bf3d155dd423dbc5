# SPDX-License-Identifier: Apache-2.0
"""Shares the gradient out between networks that learn together, by its measured norms.

The paper's [Hariat 2023, abstract]: that the gradient's share of each network is adapted so that
none starves. Ours is how: c_i |g_i| is brought to the wanted share of sum |g|, with |g_i| the
running norm of the gradient of all weights of network i, by scaling the gradient at its outputs.

What this can do and what not: plain gradient descent then moves each network by its share. Adam
divides by the gradient's running size anyway, so a constant factor per network changes nothing in
its steps; there the balance acts through clipping alone, where otherwise the network with the
largest gradient decides how much the others lose, and through changes faster than Adam's memory.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

_MOST = 100.0  # largest factor, and one over the smallest


class GradientBalance(nn.Module):
    """Measures the gradients of some networks and scales them; all of it is in its buffers.

    Over processes the first one's share of the batch is measured: buffers are sent from there.
    """

    measured: Tensor
    """Norms of this step's gradients with the factors in, filled by the backward pass. (N,)"""
    norms: Tensor
    """Running norms without the factors; 0 until measured. (N,)"""
    factors: Tensor
    """What gradients are multiplied by. (N,)"""
    counts: Tensor
    """Measurements behind the running norms: at first they are plain means. (N,)"""

    def __init__(
        self,
        networks: dict[str, nn.Module],
        *,
        shares: tuple[float, ...] | None = None,
        momentum: float = 0.98,
        persistent: bool = True,
    ) -> None:
        """Watch the weights of networks.

        Args:
            networks: by name; they are not made a part of this module.
            shares: wanted share of each in the sum of the norms, in any unit; None to measure only.
            momentum: share of the old norms that each step keeps.
            persistent: checkpoints hold what was measured.
        """
        super().__init__()
        self.names, self.momentum = tuple(networks), momentum
        self.shares = shares
        for name, first in (("measured", 0.0), ("norms", 0.0), ("factors", 1.0), ("counts", 0.0)):
            values = torch.full((len(networks),), first)
            self.register_buffer(name, values, persistent=persistent)
        for index, network in enumerate(networks.values()):
            for weight in network.parameters():
                if weight.requires_grad:
                    weight.register_hook(partial(self._measure, index))

    def _measure(self, index: int, gradient: Tensor) -> None:
        """Add a weight's gradient to its network's norm."""
        place = self.measured[index]
        torch.hypot(place, torch.linalg.vector_norm(gradient.detach()).to(place), out=place)

    @torch.no_grad()
    def begin_step(self) -> None:
        """Take in what the last backward pass has measured, and choose the factors."""
        # Norms as they would be without the balance; without a gradient the old one stays.
        raw = self.measured / self.factors
        valid = raw.isfinite() & (raw > 0)
        # Running mean: a plain one at first, then with the momentum.
        self.counts.add_(valid)
        kept = (1 - 1 / self.counts.clamp(min=1)).clamp(max=self.momentum)
        self.norms.copy_(torch.where(valid, kept * self.norms + (1 - kept) * raw, self.norms))
        self.measured.zero_()
        if self.shares is not None:
            # c_i |g_i| = wanted share of sum |g|, once all networks have been measured.
            wanted = self.norms.new_tensor(self.shares)
            factors = wanted / wanted.sum() * self.norms.sum() / self.norms
            known = (self.norms > 0).all()
            self.factors.copy_(torch.where(known, factors.clamp(1 / _MOST, _MOST), 1.0))

    def scale(self, name: str, output: Tensor) -> Tensor:
        """Pass a network's output on; its gradient is multiplied on the way back."""
        if self.shares is None or not torch.is_grad_enabled():
            return output
        return _ScaledGradient.apply(output, self.factors[self.names.index(name)].clone())

    @torch.no_grad()
    def terms(self) -> dict[str, Tensor]:
        """Return what is logged.

        `gradient/` this step's norms as the optimiser sees them, which the backward pass fills in;
        `share/` the shares there would be without the balance; `factor/` the factors.
        """
        shares = self.norms / self.norms.sum().clamp(min=1e-30)
        figures = {"gradient": self.measured, "share": shares, "factor": self.factors.clone()}
        return {
            f"{kind}/{name}": value
            for kind, values in figures.items()
            for name, value in zip(self.names, values.unbind(), strict=True)
        }


class _ScaledGradient(torch.autograd.Function):
    """Identity whose gradient is multiplied by a factor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(factor)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (factor,) = ctx.saved_tensors
        return grads[0] * factor, None
