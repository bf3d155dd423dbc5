# SPDX-License-Identifier: Apache-2.0
"""Two reconstructions side by side: the nearest vectors, and what a camera that only turns sees."""

import pytest
import torch
from street_truth import street_pair

from depthkit.geometry.rigid_flow import rigid_flow
from depthkit.tasks.coop_evidence import Answers, _least, parallax_share, predicted_rigid_flow


def test_the_shortest_vector_is_taken_pixel_by_pixel():
    """(3, 4) or (0, 4.9), (-1, 0) or (1, 1), and of equal lengths the first source's."""
    one = torch.tensor([[3.0, 4.0], [-1.0, 0.0], [0.0, 2.0]]).T[None, :, None]
    other = torch.tensor([[0.0, 4.9], [1.0, 1.0], [2.0, 0.0]]).T[None, :, None]
    found = _least(torch.stack([one, other]))
    assert found[0, :, 0].T.tolist() == torch.tensor([[0, 4.9], [-1, 0], [0, 2]]).tolist()
    assert torch.equal(_least(one[None]), one)


@pytest.mark.parametrize("sources", [1, 2, 3])
def test_the_shortest_vector_is_that_of_norm_and_argmin(sources):
    """Whatever the number of sources: the definition, which is slower."""
    torch.manual_seed(0)
    gaps = torch.randn(sources, 2, 2, 5, 7)
    chosen = gaps.norm(dim=2, keepdim=True).argmin(0, keepdim=True).expand(1, -1, 2, -1, -1)
    assert torch.equal(_least(gaps), gaps.gather(0, chosen)[0])


def test_a_camera_that_only_turns_sees_no_parallax():
    """Its flow is that of the same turn without translation; its share of parallax is 0, 1 else."""
    street = street_pair()
    snippet = street.snippet()
    turn = torch.eye(4)[None]
    turn[0, :2, :2] = torch.tensor([[0.8, -0.6], [0.6, 0.8]])  # about the optical axis
    both = turn.clone()
    both[0, :3, 3] = torch.tensor([0.5, 0.0, 1.0])
    inverse_depth = 1 / street.depth.where(street.known, 1e5)
    said = Answers([inverse_depth], both, None, None)
    found = predicted_rigid_flow(snippet, said, turns=True)
    wanted = rigid_flow(1 / inverse_depth, T_source_target=turn, K=street.K)
    torch.testing.assert_close(found.flow, wanted.flow)
    assert (predicted_rigid_flow(snippet, said).flow - found.flow).abs().max() > 1
    assert parallax_share(snippet, said._replace(T_source_target=turn)) == 0
    moved = torch.eye(4)[None] + (both - turn)
    share = parallax_share(snippet, said._replace(T_source_target=moved))
    assert share.item() == pytest.approx(1, abs=1e-4)
