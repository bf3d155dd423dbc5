# SPDX-License-Identifier: Apache-2.0
"""When two float32 results that were added in different orders are the same.

A sum is rounded in proportion to its largest terms, not to what is left of them: where they cancel,
a value near 0 carries the error of the large ones. Which order a convolution adds in depends on the
processor, the batch and the memory layout, so values are judged by the largest of all.
"""

from typing import Any

import torch

SUMS = 1e-5
"""Share of the largest value: some 80 roundings of float32 that all fall the same way."""
NETWORK = 1e-4
"""The same after tens of layers, each of which adds to the error of those before."""


def assert_close_to_largest(actual: Any, expected: Any, *, relative: float = SUMS) -> None:
    """Check that two arrays agree to a share of the largest expected value.

    Args:
        actual: tensor, array or number.
        expected: of the same shape and type.
        relative: allowed difference over the largest absolute value of `expected`.
    """
    actual, expected = torch.as_tensor(actual), torch.as_tensor(expected)
    largest = expected.detach().abs().max().item()
    torch.testing.assert_close(actual, expected, rtol=0, atol=relative * largest)
