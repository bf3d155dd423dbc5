# SPDX-License-Identifier: Apache-2.0
"""Losses of learned similarity: numbers by hand, gradients, and which false match is taken."""

import math

import pytest
import torch

from depthkit.losses.similarity import (
    Candidates,
    contrast_loss,
    decision_loss,
    hardest,
    hidden_loss,
    mean_of,
    offsets,
    random_admissible,
    triplet_loss,
)

YES, NO = True, False


def test_triplet_by_hand():
    """Leads of 0.5 and 0.1 with margin 0.3 cost 0 and 0.2; the third point does not count."""
    true, false = torch.tensor([[0.9, 0.6, -1.0]]), torch.tensor([[0.4, 0.5, 1.0]])
    usable = torch.tensor([[YES, YES, NO]])
    assert triplet_loss(true, false, usable, margin=0.3).item() == pytest.approx(0.1)


def test_nothing_to_compare_costs_nothing():
    """No usable point gives 0 with a gradient of 0, not NaN, even beside infinite values."""
    true = torch.tensor([[math.inf]], requires_grad=True)
    loss = mean_of(true, torch.tensor([[NO]]))
    loss.backward()
    assert loss.item() == 0 and true.grad is not None and true.grad.item() == 0


def test_contrast_by_hand():
    """Two admissible offsets as good as the true one: one chance in three, ln 3; the offset that is
    not admissible does not count however good it is."""
    candidates = Candidates(
        torch.tensor([[0.2]]), torch.tensor([[[0.2, 0.9, 0.2]]]), torch.tensor([[[YES, NO, YES]]])
    )
    loss = contrast_loss(candidates, torch.tensor([[YES]]), temperature=0.1)
    assert loss.item() == pytest.approx(math.log(3), rel=1e-6)


def test_hidden_points_stay_below_true_matches():
    """At 0.7 beside true matches of 0.8 with margin 0.3 the cost is 0.2; at 0.5 it is 0."""
    found, hidden = torch.tensor([[0.7, 0.5, 1.0]]), torch.tensor([[YES, YES, NO]])
    loss = hidden_loss(found, hidden, level=torch.tensor(0.8), margin=0.3)
    assert loss.item() == pytest.approx(0.1)


def test_decision_by_hand():
    """Log odds of 0 cost ln 2 either way; ln 3 costs ln 4/3 as a match, else ln 4."""
    usable = torch.tensor([[YES]])
    for odds, match, cost in (
        (0.0, True, math.log(2)),
        (0.0, False, math.log(2)),
        (math.log(3), True, math.log(4 / 3)),
        (math.log(3), False, math.log(4)),
    ):
        loss = decision_loss(torch.tensor([[odds]]), usable, match=match)
        assert loss.item() == pytest.approx(cost, rel=1e-6)


def test_offsets_are_those_of_the_paper():
    """-8 .. 7."""
    assert offsets(8, torch.zeros(1)).tolist() == list(range(-8, 8))


def test_the_hardest_admissible_offset_is_taken():
    """The best score is next to the true place and not admissible; the second best is taken."""
    others = torch.tensor([[[0.1, 0.95, 0.6, 0.3]], [[0.2, 0.1, 0.0, -0.5]]])
    admissible = torch.tensor([[[YES, NO, YES, YES]], [[NO, NO, NO, YES]]])
    candidates = Candidates(torch.zeros(2, 1), others, admissible)
    pick = hardest(candidates)
    assert pick.tolist() == [[2], [3]]
    torch.testing.assert_close(candidates.false(pick), torch.tensor([[0.6], [-0.5]]))


def test_random_offsets_are_admissible_and_all_occur():
    """Of 600 points each of the two admissible offsets takes about a half."""
    torch.manual_seed(0)
    admissible = torch.tensor([YES, NO, YES, NO]).expand(1, 600, 4)
    pick = random_admissible(Candidates(torch.zeros(1, 600), torch.zeros(1, 600, 4), admissible))
    counts = torch.bincount(pick.flatten(), minlength=4)
    assert counts[1] == counts[3] == 0 and 240 < counts[0] < 360


@pytest.mark.parametrize("name", ["triplet", "contrast", "hidden", "match", "no match"])
def test_gradients(name):
    """Derivatives are those of finite differences."""
    torch.manual_seed(1)
    true = torch.rand(2, 5, dtype=torch.float64, requires_grad=True)
    others = torch.rand(2, 5, 4, dtype=torch.float64, requires_grad=True)
    usable = torch.rand(2, 5) > 0.3
    admissible = torch.ones(2, 5, 4, dtype=torch.bool)
    admissible[..., 1] = False

    def judge(true, others):
        candidates = Candidates(true, others, admissible)
        match name:
            case "triplet":
                false = candidates.false(hardest(candidates))
                return triplet_loss(true, false, usable, margin=0.3)
            case "contrast":
                return contrast_loss(candidates, usable, temperature=0.2)
            case "hidden":
                return hidden_loss(true, usable, level=torch.tensor(0.55), margin=0.1)
        return decision_loss(true - 0.5, usable, match=name == "match") + 0 * others.sum()

    assert torch.autograd.gradcheck(judge, (true, others))
