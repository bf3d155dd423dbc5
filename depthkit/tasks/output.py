# SPDX-License-Identifier: Apache-2.0
"""What every task returns: the one seam between a task and the training loop."""

from typing import NamedTuple

from torch import Tensor


class TaskOutput(NamedTuple):
    """The result of one forward pass over a snippet."""

    loss: Tensor
    """What is minimised. ()"""
    terms: dict[str, Tensor]
    """Numbers to log, without gradient; those under `health/` tell whether anything is learnt."""
    images: dict[str, Tensor]
    """Pictures to log, without gradient: RGB or one channel, in [0, 1]. (B, 3 or 1, H, W)"""
    depth: Tensor | None = None
    """Of tasks that learn metres, when evaluating: predicted depth at the target's size, metres,
    to be scored without scaling. (B, 1, H, W)"""
    truth: Tensor | None = None
    """What `depth` is to be, 0 where unknown; None for the snippet's own depth. (B, 1, H, W)"""
    values: dict[str, Tensor] = {}
    """Values whose histogram is logged with the pictures, without gradient. Any shape"""
