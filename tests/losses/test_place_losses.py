# SPDX-License-Identifier: Apache-2.0
"""Losses of a place's descriptor: numbers by hand, properties, gradients."""

import math

import pytest
import torch

from depthkit.errors import ShapeError
from depthkit.losses.place import (
    Relations,
    contrastive_loss,
    decision_loss,
    false_wins,
    first_is_right,
    multi_similarity_loss,
    relate,
    triplet_loss,
)


def at_angles(*degrees: float) -> torch.Tensor:
    """Return unit vectors of the plane. (N, 2) float64"""
    angles = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([angles.cos(), angles.sin()], 1)


def two_places() -> Relations:
    """Pictures 0 and 2 show one place, 1 and 3 another."""
    world = torch.zeros(4, 5)
    world[:, 0] = torch.tensor([0.0, 1, 0, 1])
    return relate(world, apart=2)


def test_relations_of_a_path():
    """Frames at 0, 10, 1 and 10.5 m, other places from 2 m on, twice as far to be sure: pairs 0-2
    and 1-3 are one place, 0-1, 0-3, 1-2 and 2-3 are two, and nothing is both or on the diagonal."""
    places = torch.zeros(4, 5)
    places[:, 1] = torch.tensor([0.0, 10, 1, 10.5])
    places[:, 4] = 2
    same, different = relate(places, apart=2)
    assert same.nonzero().tolist() == [[0, 2], [1, 3], [2, 0], [3, 1]]
    assert torch.equal(different, ~same & ~torch.eye(4, dtype=torch.bool))
    # Neighbours within reach are neither: one picture at 3 m, less than 4 from 0.
    places[1, 1] = 3
    same, different = relate(places, apart=2)
    assert not different[0, 1] and not same[0, 1] and different[0, 3]


def test_the_larger_distance_of_two_pictures_counts():
    """A picture whose place reaches 8 m is not another place than one 10 m away."""
    places = torch.zeros(4, 5)
    places[:, 1] = torch.tensor([0.0, 10, 0, 10])
    places[:, 4] = torch.tensor([8.0, 1, 1, 1])
    different = relate(places, apart=2).different
    assert not different[0, 1] and not different[1, 0] and different[1, 2]
    with pytest.raises(ShapeError):
        relate(torch.zeros(4, 3), apart=2)


def test_triplet_by_hand():
    """Right pairs at 60 degrees have the cosine 0.5, the hardest wrong one of each is at 30 or 90:
    anchors at 0 and 60 lose to 30 by cos 30 - 0.5 + 0.1, those at 30 and 90 likewise."""
    codes = at_angles(0, 30, 60, 90)
    lead = math.cos(math.radians(30)) - 0.5 + 0.1
    found = triplet_loss(codes, two_places(), margin=0.1)
    assert float(found) == pytest.approx(lead, rel=1e-12)
    # Far enough apart nothing is left.
    assert float(triplet_loss(at_angles(0, 90, 5, 95), two_places(), margin=0.1)) == 0


def test_contrastive_by_hand():
    """Right pairs 60 degrees apart are at distance 1; wrong ones at 30 (twice as chord of 15),
    30, 30 and 90 degrees: half of 1, and half the mean of their shortfalls from 1, squared."""
    codes = at_angles(0, 30, 60, 90)
    chord = 2 * math.sin(math.radians(15))
    # Wrong pairs: 0-30, 30-60, 60-90 and 0-90, whose chord sqrt(2) is beyond the margin.
    wanted = 0.5 * 1 + 0.5 * (3 * (1 - chord) ** 2 / 4)
    found = contrastive_loss(codes, two_places(), margin=1.0)
    assert float(found) == pytest.approx(wanted, rel=1e-9)


def test_decision_by_hand():
    """Log odds of 0 everywhere cost log 2; right ones sure and wrong ones as sure cost nothing."""
    relations = two_places()
    assert float(decision_loss(torch.zeros(4, 4), relations)) == pytest.approx(math.log(2))
    sure = torch.where(relations.same, 30.0, -30.0)
    assert float(decision_loss(sure, relations)) < 1e-9
    half = torch.where(relations.same, -30.0, -30.0)  # right ones taken for wrong
    assert float(decision_loss(half, relations)) == pytest.approx(15, rel=1e-6)


def test_multi_similarity_by_hand():
    """Orthogonal places, right pairs at 60 degrees: the right cosine 0.5 lies below the wrong ones'
    highest plus 0.1 for 0 and 60 alone, and wrong cosines above 0.5 - 0.1 count."""
    codes = at_angles(0, 30, 60, 90)
    pull = math.log(1 + math.exp(-2 * (0.5 - 0.5))) / 2
    near = math.exp(50 * (math.cos(math.radians(30)) - 0.5))
    # Anchors 0 and 90 have one near wrong answer (30 degrees), 30 and 60 have two.
    one, two = math.log(1 + near) / 50, math.log(1 + 2 * near) / 50
    wanted = pull + (one + two + two + one) / 4
    assert float(multi_similarity_loss(codes, two_places())) == pytest.approx(wanted, rel=1e-9)


def test_mining_leaves_easy_pairs_out():
    """Right pairs 5 degrees apart and places 90 apart: nothing is hard, and nothing costs."""
    loss = multi_similarity_loss(at_angles(0, 90, 5, 95), two_places())
    assert float(loss) == 0


def test_shares_by_hand():
    """Angles 0, 30, 60, 90: three of the two wrong answers of each anchor beat its right one at 60
    degrees: those at 30. Nobody's best answer is right; far apart everybody's is."""
    relations = two_places()
    cosines = at_angles(0, 30, 60, 90).float()
    cosines = cosines @ cosines.T
    assert float(false_wins(cosines, relations)) == pytest.approx(6 / 8)
    assert float(first_is_right(cosines, relations)) == 0
    good = at_angles(0, 90, 5, 95).float()
    assert float(first_is_right(good @ good.T, relations)) == 1
    assert float(false_wins(good @ good.T, relations)) == 0


@pytest.mark.parametrize("unknown", [True, False])
def test_a_batch_without_wrong_answers_costs_nothing(unknown):
    """All pictures near each other: cosines that cannot be judged give 0 and a finite gradient."""
    places = torch.zeros(4, 5)
    places[:, 4] = 1
    codes = at_angles(0, 30, 60, 90).requires_grad_()
    relations = relate(places, apart=2)
    assert not relations.different.any()
    if unknown:
        loss = triplet_loss(codes, relations, margin=0.1) + multi_similarity_loss(codes, relations)
        assert float(loss.detach()) == 0
    else:  # the right pairs of contrastive alone: half the mean of 1
        loss = contrastive_loss(codes, relations, margin=1.0)
        assert float(loss.detach()) == pytest.approx(0.5)
    loss.backward()
    assert codes.grad is not None and codes.grad.isfinite().all()


@pytest.mark.parametrize(
    "loss",
    [
        multi_similarity_loss,
        lambda codes, relations: triplet_loss(codes, relations, margin=0.7),
        lambda codes, relations: contrastive_loss(codes, relations, margin=1.2),
        lambda codes, relations: decision_loss((codes @ codes.T) * 3 - 1, relations),
    ],
    ids=["multi_similarity", "triplet", "contrastive", "decision"],
)
def test_gradients(loss):
    """Analytical gradients are those of small differences, in 64 bits."""
    torch.manual_seed(3)
    free = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    places = torch.zeros(6, 5)
    places[:, 0] = torch.tensor([0.0, 1, 2, 0, 1, 2])
    relations = relate(places, apart=2)

    def value(x: torch.Tensor) -> torch.Tensor:
        return loss(torch.nn.functional.normalize(x, dim=1), relations)

    assert torch.autograd.gradcheck(value, (free,))
