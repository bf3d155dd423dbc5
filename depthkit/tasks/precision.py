# SPDX-License-Identifier: Apache-2.0
"""Networks may run in 16 bits; what judges them does not."""

from contextlib import AbstractContextManager

import torch


def full_precision(device: torch.device) -> AbstractContextManager:
    """Keep geometry and losses in 32 bits where the networks run in fewer."""
    return torch.autocast(device.type, enabled=False)
