# SPDX-License-Identifier: Apache-2.0
"""The comparison by the largest value: what it lets pass and what it does not."""

import numpy as np
import pytest
import torch
from close import NETWORK, assert_close_to_largest


def test_a_small_value_carries_the_error_of_the_largest():
    """Beside 1000, 0.005 is the rounding of a sum; beside 1, it is an error."""
    assert_close_to_largest(torch.tensor([1000.0, 0.005]), torch.tensor([1000.0, 0.0]))
    with pytest.raises(AssertionError):
        assert_close_to_largest(torch.tensor([1.0, 0.005]), torch.tensor([1.0, 0.0]))


def test_the_share_is_the_limit():
    """Just inside and just outside of 1e-5 and of 1e-4, either sign."""
    for sign in (1, -1):
        expected = torch.tensor([2.0 * sign, 0.0])
        assert_close_to_largest(expected + 1.9e-5, expected)
        assert_close_to_largest(expected + 1.9e-4, expected, relative=NETWORK)
        for off, relative in ((2.2e-5, 1e-5), (2.2e-4, NETWORK)):
            with pytest.raises(AssertionError):
                assert_close_to_largest(expected + off, expected, relative=relative)


def test_zeros_must_be_zeros_and_shapes_and_types_must_agree():
    """Nothing to be close to: exact. Shapes are not broadcast; float64 is not float32."""
    assert_close_to_largest(np.zeros(3), np.zeros(3))
    with pytest.raises(AssertionError):
        assert_close_to_largest(np.full(3, 1e-30), np.zeros(3))
    with pytest.raises(AssertionError):
        assert_close_to_largest(torch.ones(1, 3), torch.ones(3))
    with pytest.raises(AssertionError):
        assert_close_to_largest(torch.ones(3), torch.ones(3, dtype=torch.float64))
    with pytest.raises(AssertionError):
        assert_close_to_largest(torch.tensor([1.0, torch.nan]), torch.ones(2))
