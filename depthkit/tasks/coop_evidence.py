# SPDX-License-Identifier: Apache-2.0
"""Task coop's two reconstructions of a target side by side: by depth and motion, and by flow."""

from typing import NamedTuple

import torch
from torch import Tensor

from depthkit.data.snippet import Snippet
from depthkit.geometry.projection import resize_intrinsics, size_of
from depthkit.geometry.rigid_flow import RigidFlow, rigid_flow
from depthkit.geometry.warp import resize, stack_views, warp_by_flow
from depthkit.losses.coop import Difference, compare_errors, gap_score
from depthkit.losses.photometric import photometric_error
from depthkit.tasks.flow import FlowPairs
from depthkit.tasks.pictures import flow_picture


class Answers(NamedTuple):
    """Predictions of the networks for a snippet."""

    inverse_depths: list[Tensor]
    """Finest first. (B, 1, h, w) each"""
    T_source_target: Tensor
    """Source by source. (S*B, 4, 4)"""
    explainability: list[Tensor] | None
    pairs: FlowPairs
    """Its first half is target -> source, source by source."""
    static_odds: Tensor | None = None
    """Log odds of static by the mask network; None without a mask network. (B, 1, H, W)"""


class Evidence(NamedTuple):
    """Both reconstructions of the target side by side, without gradient."""

    difference: Difference
    score: Tensor
    """`gap_score`: how far flow is from rigid flow; 0 where unknown. (B, 1, H, W)"""
    gap: Tensor
    """Flow minus rigid flow, of the source where they agree best, pixels. (B, 2, H, W)"""
    rigid: RigidFlow
    """Target -> source, source by source. (S*B, ...)"""
    by_flow: Tensor
    """The target rebuilt by flow. (S*B, 3, H, W)"""


@torch.no_grad()
def compare_rebuilt(
    snippet: Snippet, answers: Answers, *, ssim_weight: float, window: int, ratio: bool
) -> Evidence:
    """Rebuild the target both ways at full size, and compare.

    Args:
        snippet: the frames.
        answers: predictions of the networks for them.
        ssim_weight: share of SSIM in the photometric error.
        window: side of the square that Delta and the score are averaged over, odd, pixels.
        ratio: Delta is the logarithm of the errors' ratio, not their difference.
    """
    count = snippet.sources.shape[1]
    rigid = predicted_rigid_flow(snippet, answers)
    flow = answers.pairs.flows[0].chunk(2)[0]
    sources, target = stack_views(snippet.sources), snippet.target.repeat(2 * count, 1, 1, 1)
    image, inside = warp_by_flow(sources.repeat(2, 1, 1, 1), torch.cat([rigid.flow, flow]))
    errors = photometric_error(image, target, ssim_weight=ssim_weight)
    by_rigid, by_flow = errors.unflatten(0, (2, count, -1))
    seen = rigid.valid & inside.chunk(2)[1] & snippet.valid.repeat(count, 1, 1, 1)
    seen = seen.unflatten(0, (count, -1))
    difference = compare_errors(by_rigid, by_flow, seen, window=window, ratio=ratio)
    gaps = (flow - rigid.flow).unflatten(0, (count, -1))  # (S, B, 2, H, W)
    turned = predicted_rigid_flow(snippet, answers, turns=True)
    parallax = (rigid.flow - turned.flow).unflatten(0, (count, -1))
    score = gap_score(gaps, parallax, seen, window=window)
    return Evidence(difference, score, _least(gaps), rigid, image.chunk(2)[1])


def _least(gaps: Tensor) -> Tensor:
    """Return the shortest of each pixel's vectors. (S, B, 2, H, W) -> (B, 2, H, W)

    Taken source by source: `norm` and `argmin` along such dimensions are ten times slower.
    """
    least, length = gaps[0], gaps[0].square().sum(1, keepdim=True)
    for other in gaps[1:]:
        other_length = other.square().sum(1, keepdim=True)
        shorter = other_length < length
        least = torch.where(shorter, other, least)
        length = torch.where(shorter, other_length, length)
    return least


def predicted_rigid_flow(
    snippet: Snippet, answers: Answers, *, shrink: int = 1, turns: bool = False
) -> RigidFlow:
    """Return the flow of a static scene, at a share of the size; as if the camera only turned.

    Returns:
        Target -> source, source by source. (S*B, 2, H/shrink, W/shrink)
    """
    count, full = snippet.sources.shape[1], size_of(snippet.target)
    size = (full[0] // shrink, full[1] // shrink)
    depth = 1 / resize(answers.inverse_depths[0], size)
    T = answers.T_source_target
    if turns:
        T = T * T.new_tensor([1.0, 1.0, 1.0, 0.0])  # T[3, 3] is not used
    K = resize_intrinsics(snippet.K, full, size).repeat(count, 1, 1)
    return rigid_flow(depth.repeat(count, 1, 1, 1), T_source_target=T, K=K)


@torch.no_grad()
def parallax_share(snippet: Snippet, answers: Answers) -> Tensor:
    """Return the share of rigid flow that goes when the camera only turns: 0 of rotation. ()"""
    whole, turned = (
        predicted_rigid_flow(snippet, answers, shrink=4, turns=turns) for turns in (False, True)
    )
    seen = (whole.valid & turned.valid).float()
    lengths = [
        (flow.square().sum(1, keepdim=True).sqrt() * seen).sum()
        for flow in (whole.flow - turned.flow, whole.flow)
    ]
    return lengths[0] / lengths[1].clamp(min=1e-3)


@torch.no_grad()
def draw(
    answers: Answers, evidence: Evidence, static: Tensor, visible: Tensor
) -> dict[str, Tensor]:
    """Show the first source's flow, both ways to it, and what is taken for static."""
    batch, learnt = len(static), answers.static_odds
    most = evidence.difference.delta.abs().amax().clamp(min=1e-6)
    return ({} if learnt is None else {"static_by_looks": learnt.sigmoid()}) | {
        "flow": flow_picture(answers.pairs.flows[0][:batch]),
        "rigid_flow": flow_picture(evidence.rigid.flow[:batch]),
        "rebuilt_by_flow": evidence.by_flow[:batch],
        "visible": visible[:batch].float(),
        "delta": 0.5 + 0.5 * evidence.difference.delta / most,  # grey: no difference
        "static": static,
    }
