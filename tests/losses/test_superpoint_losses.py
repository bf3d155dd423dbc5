# SPDX-License-Identifier: Apache-2.0
"""Losses of SuperPoint by hand: the hinge on descriptors, cells of the detector, gradients."""

import math

import pytest
import torch
import torch.nn.functional as F

from depthkit.errors import ShapeError
from depthkit.losses.keypoints import (
    NO_POINT,
    UNKNOWN,
    cell_classes,
    detector_loss,
)
from depthkit.losses.superpoint import hinge_loss, same_place
from depthkit.models.keypoint_net import keypoint_probability


def turned(*degrees: float) -> torch.Tensor:
    """Descriptors of two numbers at these angles. (1, N, 2)"""
    angle = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angle.cos(), angle.sin()], 1)[None]


def test_hinge_by_hand():
    """One place at 60 degrees costs 250 (1 - 0.5); another at 60 costs 0.5 - 0.2, at 90 nothing."""
    first, second = turned(0), turned(60, -60, 90)
    same = torch.tensor([[[True, False, False]]])
    usable = torch.ones_like(same)
    loss = hinge_loss(first, second, same=same, usable=usable)
    assert loss.item() == pytest.approx((125 + 0.3 + 0) / 3, rel=1e-12)
    light = hinge_loss(first, second, same=same, usable=usable, positive_weight=2.0)
    assert light.item() == pytest.approx((1 + 0.3) / 3, rel=1e-12)


def test_hinge_leaves_out_what_does_not_count():
    """The mean is over usable pairs; without any it is 0 and has a gradient of 0."""
    first, second = turned(0).requires_grad_(), turned(60, 10)
    same = torch.tensor([[[True, False]]])
    one = hinge_loss(first, second, same=same, usable=torch.tensor([[[True, False]]]))
    assert one.item() == pytest.approx(125, rel=1e-12)
    none = hinge_loss(first, second, same=same, usable=torch.zeros_like(same))
    none.backward()
    assert none.item() == 0 and (first.grad == 0).all()


def test_hinge_gradient():
    """Numerical and analytical gradients agree in float64."""
    torch.manual_seed(0)
    first, second = (torch.randn(2, 3, 4, dtype=torch.float64).requires_grad_() for _ in "12")
    same, usable = torch.rand(2, 3, 3) < 0.4, torch.rand(2, 3, 3) < 0.8

    def loss(a, b):
        return hinge_loss(F.normalize(a, dim=2), F.normalize(b, dim=2), same=same, usable=usable)

    assert torch.autograd.gradcheck(loss, (first, second))


def test_same_place_is_a_distance_in_the_second_view():
    """(3, 4) is 5 from the origin: within 5, not within 4.9."""
    first, second = torch.tensor([[[0.0, 0]]]), torch.tensor([[[3.0, 4], [9, 0]]])
    assert same_place(first, second, radius=5.0).tolist() == [[[True, False]]]
    assert same_place(first, second, radius=4.9).tolist() == [[[False, False]]]


def test_wrong_shapes_are_refused():
    """Descriptors of another length, and marks of another number of points."""
    ok = torch.ones(1, 2, 2, dtype=torch.bool)
    with pytest.raises(ShapeError, match="hinge_loss: second"):
        hinge_loss(torch.ones(1, 2, 3), torch.ones(1, 2, 4), same=ok, usable=ok)
    with pytest.raises(ShapeError, match="hinge_loss: same"):
        hinge_loss(torch.ones(1, 2, 3), torch.ones(1, 3, 3), same=ok, usable=ok)
    with pytest.raises(ShapeError, match="same_place: second"):
        same_place(torch.ones(1, 2, 2), torch.ones(2, 2, 2), radius=1.0)


def test_cells_by_hand():
    """(9, 2) is column 1, row 2 of cell (0, 1): 2 * 8 + 1; the others hold no point."""
    points = torch.tensor([[[9.4, 1.6], [99.0, 3.0], [torch.nan, torch.nan]]])
    present = torch.ones(1, 3, dtype=torch.bool)
    classes = cell_classes(points, present, (16, 16))
    assert classes.tolist() == [[[NO_POINT, 17], [NO_POINT, NO_POINT]]]


def test_detector_loss_by_hand():
    """All logits 0: every one of 65 classes has 1 / 65; unknown cells do not count."""
    logits = torch.zeros(1, 1, 8, 24, dtype=torch.float64)
    classes = torch.tensor([[[5, NO_POINT, UNKNOWN]]])
    assert detector_loss(logits, classes).item() == pytest.approx(math.log(65), rel=1e-12)
    logits[0, 0, 0, 5] = math.log(36)  # the point: 36 of 100 in its cell
    expected = (-math.log(0.36) + math.log(65)) / 2
    assert detector_loss(logits, classes).item() == pytest.approx(expected, rel=1e-12)
    assert keypoint_probability(logits)[0, 0, 0, 5].item() == pytest.approx(0.36, rel=1e-12)
    nothing = torch.full_like(classes, UNKNOWN)
    assert detector_loss(logits, nothing).item() == 0


def test_detector_gradient():
    """Numerical and analytical gradients agree in float64."""
    torch.manual_seed(0)
    logits = torch.randn(1, 1, 8, 16, dtype=torch.float64).requires_grad_()
    classes = torch.tensor([[[63, NO_POINT]]])
    assert torch.autograd.gradcheck(lambda x: detector_loss(x, classes), (logits,))
