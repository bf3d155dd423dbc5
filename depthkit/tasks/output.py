# SPDX-License-Identifier: Apache-2.0
"""What every task returns: the one seam between a task and the training loop."""

from typing import NamedTuple

from torch import Tensor


class TaskOutput(NamedTuple):
    """The result of one forward pass over a snippet."""

    loss: Tensor
    """What is minimised. ()"""
    terms: dict[str, Tensor]
    """Numbers to log, without gradient; those under `health/` tell whether there is anything to learn."""
    images: dict[str, Tensor]
    """Pictures to log, without gradient: RGB (B, 3, H, W) or one channel (B, 1, H, W), in [0, 1]."""
