# SPDX-License-Identifier: Apache-2.0
"""Task coop's own terms: what its networks learn from each other, and which of them diverged."""

import torch
import torch.nn.functional as F
from torch import Tensor

from depthkit.data.snippet import Snippet
from depthkit.geometry.projection import size_of
from depthkit.geometry.warp import resize
from depthkit.losses.contact import ground_contact_loss
from depthkit.tasks.coop_evidence import Answers, Evidence, predicted_rigid_flow


def agreement(
    snippet: Snippet,
    answers: Answers,
    evidence: Evidence,
    static: Tensor,
    *,
    to_flow: float,
    to_rigid: float,
) -> dict[str, Tensor]:
    """Pull flow to rigid flow where the scene is static, and the other way, each as weighted.

    Args:
        snippet: the frames.
        answers: predictions of the networks for them.
        evidence: both reconstructions.
        static: weight of each pixel. (B, 1, H, W)
        to_flow: weight of rigid flow teaching flow; 0 leaves the term out.
        to_rigid: weight of flow teaching depth and motion; 0 leaves the term out.

    Returns:
        Weighted, by name.
    """
    if to_flow == to_rigid == 0:
        return {}
    # Only static pixels: there camera motion and depth explain all of the flow.
    weight = evidence.rigid.valid * static.repeat(snippet.sources.shape[1], 1, 1, 1)
    flow = answers.pairs.flows[0].chunk(2)[0]
    terms = {}
    if to_flow > 0:
        terms["rigid_teaches_flow"] = to_flow * _distance(flow, evidence.rigid.flow, weight)
    if to_rigid > 0:
        # Computed again: that of the evidence has no gradient to depth and motion.
        rigid = predicted_rigid_flow(snippet, answers).flow
        terms["flow_teaches_rigid"] = to_rigid * _distance(rigid, flow.detach(), weight)
    return terms


def _distance(flow: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean length of a flow's error, pixels; square below 0.1. ()"""
    length = ((flow - wanted).square().sum(1, keepdim=True) + 0.01).sqrt() - 0.1
    return (length * weight).sum() / weight.sum().clamp(min=1)


def contact(
    answers: Answers, evidence: Evidence, static: Tensor, *, weight: float
) -> dict[str, Tensor]:
    """Teach depth of what moves by the ground it stands on; nothing at weight 0.

    Args:
        answers: predictions of the networks.
        evidence: what is not known does not move.
        static: weight of each pixel. (B, 1, H, W)
        weight: weight of the term.

    Returns:
        Weighted, by name.
    """
    if weight == 0:
        return {}
    # 1 - static: what probably moves is pulled to the ground below it, the rest stays free.
    inverse_depth = resize(answers.inverse_depths[0], size_of(static))
    value = ground_contact_loss(inverse_depth, (1 - static) * evidence.difference.known)
    return {"ground_contact": weight * value}


def appearance(odds: Tensor, wanted: Tensor, known: Tensor, *, weight: float) -> dict[str, Tensor]:
    """Teach the mask network a static probability, by cross entropy on known pixels.

    Args:
        odds: log odds of static by the mask network. (B, 1, H, W)
        wanted: without gradient. (B, 1, H, W)
        known: (B, 1, H, W) bool
        weight: weight of the term.

    Returns:
        Weighted, by name.
    """
    surprise = F.binary_cross_entropy_with_logits(odds, wanted, reduction="none")
    return {"mask": weight * (surprise * known).mean()}


@torch.no_grad()
def diverged(answers: Answers) -> dict[str, Tensor]:
    """Name the networks whose answers are no numbers; nothing where all are well."""
    sums = {
        "depth_net": answers.inverse_depths[0].sum(),
        "pose_net": answers.T_source_target.sum(),
        "flow_net": answers.pairs.flows[0].sum(),
    }
    if answers.static_odds is not None:
        sums["mask_net"] = answers.static_odds.sum()
    return {f"loss/{name}": value for name, value in sums.items() if not value.isfinite()}
