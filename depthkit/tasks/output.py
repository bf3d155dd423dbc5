# SPDX-License-Identifier: Apache-2.0
"""What every task returns: the one seam between a task and the training loop."""

from typing import Literal, NamedTuple

from torch import Tensor

_LEAST_INVERSE = 1e-6  # 1 / depth stays finite


class Prediction(NamedTuple):
    """Depth of a batch of targets, for validation to score."""

    quantity: Literal["depth", "inverse_depth"]
    """What `values` are."""
    values: Tensor
    """At the target's size, without gradient. (B, 1, H, W)"""
    metric: bool
    """Metres, to be scored as they are; else known up to a factor for each image."""
    truth: Tensor | None = None
    """Known depth, 0 where unknown; None for the snippet's own. (B, 1, H, W)"""

    def depth(self) -> Tensor:
        """Return depth, metres or relative. (B, 1, H, W)"""
        if self.quantity == "depth":
            return self.values
        return 1 / self.values.clamp(min=_LEAST_INVERSE)


class TaskOutput(NamedTuple):
    """The result of one forward pass over a snippet."""

    loss: Tensor
    """What is minimised. ()"""
    judged: Tensor
    """The task's own criterion on held-out snippets: the lowest mean becomes val/loss and the best
    checkpoint. Without gradient. ()"""
    terms: dict[str, Tensor]
    """Numbers to log, without gradient; those under `health/` show whether anything is learnt."""
    prediction: Prediction | None = None
    """Predicted depth in evaluation mode; None in training, and of a task without depth."""
    images: dict[str, Tensor] = {}
    """Pictures to log, without gradient: RGB or one channel, in [0, 1]; only those of a forward
    pass with `draws`. (B, 3 or 1, H, W)"""
    values: dict[str, Tensor] = {}
    """Values whose histogram is logged with the pictures, without gradient. Any shape"""
    flow: Tensor | None = None
    """Flow (u, v) from the target to each source in evaluation mode, pixels: of a flow network, or
    of predicted depth and motion; None in training, and of a task without either. (B, S, 2, H,
    W)"""
