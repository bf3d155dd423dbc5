# SPDX-License-Identifier: Apache-2.0
"""Losses of keypoints: likelihoods and classes by hand, and their gradients."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from depthkit.errors import ShapeError
from depthkit.losses.keypoints import (
    NO_POINT,
    UNKNOWN,
    cell_classes,
    cycle_likelihood,
    detector_loss,
)
from depthkit.models.keypoint_net import CELL, keypoint_probability

FAR = torch.tensor([[[0.0, 0.0], [100.0, 0.0], [0.0, 100.0]]])
ALL = torch.ones(1, 3, dtype=torch.bool)


def three(*rows: tuple[float, ...]) -> torch.Tensor:
    """Return three descriptors as a batch of one. (1, 3, C)"""
    return torch.tensor([rows])


def test_likelihood_of_three_points_by_hand():
    """Three orthogonal descriptors that match themselves, temperature 1: each true one has the
    probability e / (e + 2) there and back."""
    eye = torch.eye(3)[None]
    got = cycle_likelihood(eye, eye, places=(FAR, FAR), usable=ALL, temperature=1.0)
    assert got.loss.item() == pytest.approx(-2 * math.log(math.e / (math.e + 2)), rel=1e-5)
    assert got.success.all()


def test_close_points_and_unusable_ones_do_not_compete():
    """Two points 3 pixels apart leave each other out, and a point that is not seen counts neither
    as true nor as false: only the third is left, which has nothing to be mistaken for."""
    places = torch.tensor([[[0.0, 0.0], [3.0, 0.0], [0.0, 100.0]]])
    usable = torch.tensor([[True, True, False]])
    eye = torch.eye(3)[None]
    got = cycle_likelihood(eye, eye, places=(places, places), usable=usable, temperature=1.0)
    assert got.loss.item() == pytest.approx(0.0, abs=1e-6)
    assert got.success.tolist() == [[True, True, False]]


def test_a_match_that_is_not_mutual_fails():
    """Point 0 finds its match, but that looks more like point 1: neither there and back works."""
    first = three((1.0, 0.0), (0.8, 0.6), (0.0, -1.0))
    second = three((0.8, 0.6), (0.6, 0.8), (0.0, -1.0))
    got = cycle_likelihood(first, second, places=(FAR, FAR), usable=ALL)
    assert got.success.tolist() == [[False, False, True]]


def test_no_usable_point_gives_no_loss():
    """Views that share nothing teach nothing, and no NaN."""
    none = torch.zeros_like(ALL)
    first = torch.eye(3)[None].requires_grad_()
    loss = cycle_likelihood(first, torch.eye(3)[None], places=(FAR, FAR), usable=none).loss
    loss.backward()
    assert loss.item() == 0 and first.grad.isfinite().all()


def test_gradients_of_the_likelihood():
    """Analytic against numeric gradients."""
    torch.manual_seed(0)
    first, second = (torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True) for _ in "ab")
    places = FAR.double()

    def loss(a, b):
        return cycle_likelihood(a, b, places=(places, places), usable=ALL, temperature=0.7).loss

    assert gradcheck(loss, (first, second))


def test_descriptors_of_two_shapes_are_refused():
    """One line says which shape was expected."""
    with pytest.raises(ShapeError, match="cycle_likelihood: second"):
        cycle_likelihood(torch.eye(3)[None], torch.eye(2)[None], places=(FAR, FAR), usable=ALL)


def test_classes_of_cells_by_hand():
    """(9, 2) lies in cell (0, 1) at u 1, v 2: class 17; (3.4, 8.6) rounds to (3, 9): cell (1, 0),
    class 11; a point outside and one that is none leave no trace."""
    points = torch.tensor([[[9.0, 2.0], [3.4, 8.6], [-3.0, 1.0], [1.0, 1.0], [math.nan, 0.0]]])
    present = torch.tensor([[True, True, True, False, True]])
    classes = cell_classes(points, present, (16, 16))
    assert classes.tolist() == [[[NO_POINT, 17], [11, NO_POINT]]]


def test_detector_loss_by_hand():
    """All logits 0: each of 65 classes has the same probability, -log(1 / 65), whatever the class;
    unknown cells count for nothing."""
    classes = torch.tensor([[[5, NO_POINT], [UNKNOWN, 63]]])
    assert detector_loss(torch.zeros(1, 1, 16, 16), classes).item() == pytest.approx(math.log(65))
    logits = torch.zeros(1, 1, 16, 16)
    logits[0, 0, 9, 2] = 30.0  # in the unknown cell
    assert detector_loss(logits, classes).item() == pytest.approx(math.log(65))
    logits[0, 0, 0, 5] = 30.0  # where cell 0 has its keypoint
    assert detector_loss(logits, classes).item() == pytest.approx(2 / 3 * math.log(65), rel=1e-5)


def test_the_probability_is_that_of_the_loss():
    """The loss of a cell is minus the logarithm of the probability at its keypoint."""
    torch.manual_seed(1)
    logits = torch.randn(1, 1, 8, 8)
    classes = torch.tensor([[[19]]])
    probability = keypoint_probability(logits)
    assert detector_loss(logits, classes).item() == pytest.approx(
        -math.log(probability[0, 0, 2, 3].item()), rel=1e-5
    )
    assert probability.sum() < 1 and CELL * CELL == NO_POINT
