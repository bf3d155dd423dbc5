# SPDX-License-Identifier: Apache-2.0
"""Teachers of the first matches of a flow network: classical flow, or a trained network. No labels.

Photometric losses see a few pixels far; flow of a hundred is found by luck. What another matcher
finds both ways alike is nearly always right, and pulls from any distance.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from depthkit.geometry.projection import size_of
from depthkit.geometry.warp import shrink
from depthkit.models.flow_net import RaftSmall, stride_of
from depthkit.models.pose_net import dis_flow

Teacher = Callable[[Tensor, Tensor], Tensor]
"""From first and second frames, RGB in [0, 1], (N, 3, H, W), to flow, pixels. (N, 2, H, W)"""


def build_teacher(name: str, *, file: Path | None) -> Teacher | None:
    """Return a teacher by name: "none", "dis" (OpenCV, medium preset) or "raft_small".

    Raises:
        CheckpointError: the file of RAFT's weights is missing or does not fit.
    """
    if name == "dis":
        return dis_flow
    if name == "raft_small" and file is not None:
        return _raft(file)
    return None


def _raft(file: Path) -> Teacher:
    network = RaftSmall()
    network.load(file)
    network.requires_grad_(False).eval()

    @torch.no_grad()
    def teach(first: Tensor, second: Tensor) -> Tensor:
        return network.to(first.device)(torch.cat([first, second], 1))[0]

    return teach


def teacher_distance(
    flows: list[Tensor], taught: Tensor, known: Tensor, *, weights: tuple[float, ...]
) -> Tensor:
    """Return the mean distance to the teacher's flow, summed over scales, pixels. ()

    Args:
        flows: finest first, pixels of the full picture. (N, 2, h, w) each
        taught: the teacher's. (N, 2, H, W)
        known: pixels where it can be trusted. (N, 1, H, W) bool
        weights: weight of each scale; one beyond the list does not count.
    """
    total = taught.new_zeros(())
    for flow, weight in zip(flows, weights, strict=False):
        stride = stride_of(flow, size_of(taught))
        share = shrink(known.float(), stride)
        wanted = shrink(taught * known, stride) / share.clamp(min=1e-3)
        distance = ((flow - wanted).square().sum(1, keepdim=True) + 1e-4).sqrt()
        trusted = share > 0.3
        total = total + weight * (distance * trusted).sum() / trusted.sum().clamp(min=1)
    return total
