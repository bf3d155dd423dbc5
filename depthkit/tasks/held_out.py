# SPDX-License-Identifier: Apache-2.0
"""Tasks that draw what they are judged on: the same draws in every validation."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_SEED = 0


@contextmanager
def same_draws(device: torch.device, *, training: bool) -> Iterator[None]:
    """Draw alike each time outside training; torch's own generator stays where it was.

    Args:
        device: where is drawn.
        training: then nothing changes.
    """
    if training:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(_SEED)
        yield
