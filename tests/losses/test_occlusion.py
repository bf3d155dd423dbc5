# SPDX-License-Identifier: Apache-2.0
"""What the other view sees: by hand, and against the exact occlusion of a rendered street."""

import pytest
import torch
from street_truth import street_pair

from depthkit.errors import ShapeError
from depthkit.geometry.rigid_flow import rigid_flow
from depthkit.losses.occlusion import forward_backward, range_map, seen_by_splatting


def row(*u: float) -> torch.Tensor:
    """Horizontal flow of one row of pixels. (1, 2, 1, W)"""
    return torch.stack([torch.tensor(u), torch.zeros(len(u))])[None, :, None]


def share(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Share of the wanted pixels that are found."""
    return (found & wanted).sum().item() / wanted.sum().item()


# --- by hand -------------------------------------------------------------------------------------


def test_flow_that_comes_back_is_seen():
    """2 px to the right and 2 px back: all that stays inside."""
    visible = forward_backward(row(2, 2, 2, 2, 2), row(-2, -2, -2, -2, -2))
    assert visible.flatten().tolist() == [True, True, True, False, False]


def test_slack_is_half_a_square_pixel_and_one_percent_of_the_lengths():
    """Gap^2 against 0.01 (|f|^2 + |b|^2) + 0.5: 0.49 < 0.5498 < 0.64; at 20 px 2.56 < 8.22."""
    assert forward_backward(row(0, 0, 0), row(0.7, 0.7, 0.7)).all()  # 0.49 < 0.5049
    assert not forward_backward(row(0, 0, 0), row(0.72, 0.72, 0.72)).any()  # 0.518 > 0.5052
    far = row(*[20.0] * 30)
    assert forward_backward(far, row(*[-22.9] * 30))[..., :10].all()  # 8.41 < 9.74
    assert not forward_backward(far, row(*[-23.5] * 30)).any()  # 12.25 > 10.0


def test_what_a_moving_thing_covers_is_hidden():
    """A thing on pixels 1, 2 goes 2 to the right: pixels 3, 4 are covered, and only they."""
    flow = row(0, 2, 2, 0, 0, 0, 0)
    backward = row(0, 0, 0, -2, -2, 0, 0)  # 1, 2: background come to light, which stayed
    expected = [True, True, True, False, False, True, True]
    assert forward_backward(flow, backward).flatten().tolist() == expected
    assert seen_by_splatting(backward).flatten().tolist() == expected


def test_range_map_counts_what_arrives():
    """Whole pixels arrive whole, half pixels by halves, and what leads outside is lost."""
    assert range_map(row(1, 0, 0, 0.5, 9)).flatten().tolist() == [0, 2, 1, 0.5, 0.5]
    vertical = row(0, 0, 0).flip(1).transpose(2, 3) + torch.tensor([0.0, 0.25]).view(1, 2, 1, 1)
    assert range_map(vertical).flatten().tolist() == [0.75, 1, 1]


def test_batch_elements_do_not_mix():
    """Each pair is judged alone."""
    torch.manual_seed(0)
    flow, backward = torch.randn(2, 2, 2, 6, 7).unbind()
    for judge in (lambda f, b: forward_backward(f, b), lambda f, b: seen_by_splatting(b)):
        both = judge(flow, backward)
        assert torch.equal(both[1:], judge(flow[1:], backward[1:]))
        assert both.any() and not both.all()


def test_masks_are_choices_without_gradient():
    """No gradient passes, none is asked for."""
    flow = row(0, 1, 0).requires_grad_()
    assert not forward_backward(flow, -flow).requires_grad
    assert not seen_by_splatting(flow).requires_grad


def test_flows_of_two_sizes_are_the_callers_bug():
    """Forward and backward are of one size."""
    with pytest.raises(ShapeError, match="forward_backward: backward"):
        forward_backward(row(0, 0), row(0, 0, 0))


# --- exact truth ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["forward_backward", "splatting"])
def test_exact_flow_tells_exact_occlusion(name):
    """Of a rendered street: what is seen is found seen, what is hidden is found hidden."""
    street = street_pair()
    if name == "splatting":
        visible, least = seen_by_splatting(street.backward), 0.9
    else:
        visible, least = forward_backward(street.flow, street.backward), 0.95
    assert share(visible, street.visible) > 0.98
    assert share(~visible, ~street.visible) > least  # poles thinner than a pixel hide little


def test_rigid_flows_tell_occlusion_of_what_stands_still():
    """Rigid flow forth and exact flow back: vehicles drop out as well, what stands still stays."""
    street = street_pair()
    rigid, _ = rigid_flow(street.depth, T_source_target=street.T_second_first, K=street.K)
    visible = forward_backward(rigid, street.backward)
    assert share(visible, street.visible & ~street.moving) > 0.98
    assert share(visible, street.visible & street.moving) < 0.5
