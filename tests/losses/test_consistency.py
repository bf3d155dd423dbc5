# SPDX-License-Identifier: Apache-2.0
"""Agreement of depth between views: by hand, bounded, symmetric, differentiable."""

import pytest
import torch
from torch.autograd import gradcheck

from depthkit.errors import ShapeError
from depthkit.losses.consistency import depth_difference


def maps(*values: float) -> torch.Tensor:
    """A row of depths. (1, 1, 1, W) float64"""
    return torch.tensor(values, dtype=torch.float64).view(1, 1, 1, -1)


def test_difference_by_hand():
    """3 m against 1 m differ by 2 / 4; equal depths by nothing."""
    found = depth_difference(maps(3, 1, 2), maps(1, 3, 2))
    torch.testing.assert_close(found, maps(0.5, 0.5, 0))


def test_scale_does_not_matter():
    """Millimetres or kilometres: the difference is relative."""
    a, b = maps(3, 5, 0.1), maps(4, 2, 0.3)
    torch.testing.assert_close(depth_difference(1e3 * a, 1e3 * b), depth_difference(a, b))


def test_difference_stays_below_one_behind_the_camera_too():
    """Points at or behind the source differ at most wholly: weights 1 - d stay >= 0."""
    found = depth_difference(maps(-5, 0, 1e-9, 1e6), maps(2, 2, 2, 1e-3))
    assert (found >= 0).all() and (found <= 1).all()
    assert found[..., :3].min() > 0.999


def test_gradcheck():
    """Finite differences, by both depths; behind the camera the gradient is finite."""
    a, b = maps(3, 1, 2).requires_grad_(), maps(1, 3, 2.5).requires_grad_()
    assert gradcheck(depth_difference, (a, b))
    behind = maps(-1.0, 0.0).requires_grad_()
    depth_difference(behind, maps(1, 1)).sum().backward()
    assert behind.grad.isfinite().all()


def test_shapes_that_would_broadcast_are_refused():
    """One map against a batch must not be spread silently."""
    with pytest.raises(ShapeError, match="depth_difference: interpolated must be"):
        depth_difference(torch.ones(2, 1, 3, 4), torch.ones(1, 1, 3, 4))
