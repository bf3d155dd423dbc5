# SPDX-License-Identifier: Apache-2.0
"""Optical flow without labels: each frame rebuilt from the other, by flow both ways.

The recipe of UnFlow [Meister 2018] and UFlow [Jonschkowski 2020]: a census distance on pixels that
the other frame sees, and smoothness that gives way at edges. What is hidden learns from smoothness
alone, and from a teacher where one is given.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.utils import flow_to_image

from depthkit.config import FlowConfig, TrainConfig
from depthkit.data.snippet import Snippet
from depthkit.geometry.projection import size_of
from depthkit.geometry.warp import resize, stack_views, warp_by_flow
from depthkit.losses.census import census_distance
from depthkit.losses.occlusion import forward_backward, seen_by_splatting
from depthkit.losses.photometric import photometric_error
from depthkit.losses.smoothness import flow_smoothness
from depthkit.models.flow_net import PwcFlow, RaftSmall, build_flow_network
from depthkit.tasks.output import TaskOutput
from depthkit.tasks.precision import full_precision

_LEAST_SIDE = 4  # pixels: smaller maps have no neighbourhoods to compare


class FlowPairs(NamedTuple):
    """Both directions of every pair of target and source, in one batch of N = 2 * S * B."""

    first: Tensor
    """The target for each source, then the sources. RGB in [0, 1]. (N, 3, H, W)"""
    second: Tensor
    """The sources, then the target for each. (N, 3, H, W)"""
    flows: list[Tensor]
    """First -> second at each scale, pixels of the full picture. (N, 2, h, w) each"""
    valid: Tensor
    """Pixels of both frames that are image at all. (N, 1, H, W) bool"""


class FlowTask(nn.Module):
    """The task; its network is `flow_net`."""

    steps: Tensor
    """Training steps done; occlusion begins by it. () int64"""

    def __init__(
        self,
        flow_net: PwcFlow | RaftSmall,
        *,
        flow: FlowConfig,
        ssim_weight: float,
        teacher: RaftSmall | None = None,
    ) -> None:
        super().__init__()
        self.flow_net, self.flow, self.ssim_weight = flow_net, flow, ssim_weight
        self.teacher = [] if teacher is None else [teacher]  # in a list: no part of a checkpoint
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, snippet: Snippet) -> TaskOutput:
        """Rebuild the target from each source and each source from the target, and judge it."""
        pairs = predict_pairs(self.flow_net, snippet)
        taught = self._teach(pairs)
        with full_precision(snippet.target.device):
            visible = self._visible(pairs)
            terms = judge_pairs(pairs, visible, flow=self.flow, ssim_weight=self.ssim_weight)
            if taught is not None:
                distance = (pairs.flows[0] - taught).abs().mean()
                terms["teacher"] = self.flow.teacher_weight * distance
            if self.training:
                self.steps += 1
            logged = {f"loss/{name}": value.detach() for name, value in terms.items()}
            loss = torch.stack(list(terms.values())).sum()
            with torch.no_grad():
                return TaskOutput(loss, logged | _health(pairs, visible), _pictures(pairs, visible))

    def _visible(self, pairs: FlowPairs) -> Tensor:
        """Find the pixels that may teach: all, until the flow is good enough to tell."""
        if self.training and self.steps < self.flow.occlusion_from:
            return pairs.valid
        return pairs.valid & find_visible(pairs.flows[0], self.flow.occlusion)

    def _teach(self, pairs: FlowPairs) -> Tensor | None:
        """Ask the teacher for its flow. (N, 2, H, W)"""
        if not self.teacher:
            return None
        teacher = self.teacher[0].to(pairs.first.device)
        with torch.no_grad():
            return teacher(torch.cat([pairs.first, pairs.second], 1))[0]


def predict_pairs(flow_net: PwcFlow | RaftSmall, snippet: Snippet) -> FlowPairs:
    """Estimate flow from the target to every source and back, in one batch.

    A frame's features are computed once for all of its pairs, where the network lets us.
    """
    count, size = snippet.sources.shape[1], size_of(snippet.target)
    target, sources = snippet.target, stack_views(snippet.sources)
    first = torch.cat([target.repeat(count, 1, 1, 1), sources])
    second = torch.cat([sources, first[: len(sources)]])
    if isinstance(flow_net, PwcFlow):
        features = [
            (level[: len(target)].repeat(count, 1, 1, 1), level[len(target) :])
            for level in flow_net.encode(torch.cat([target, sources]))
        ]
        here = [torch.cat([t, s]) for t, s in features]
        there = [torch.cat([s, t]) for t, s in features]
        flows = flow_net.decode(here, there, size)
    else:
        flows = flow_net(torch.cat([first, second], 1))
    return FlowPairs(first, second, flows, snippet.valid.repeat(2 * count, 1, 1, 1))


def find_visible(flow: Tensor, how: str) -> Tensor:
    """Tell which pixels of the first frames the second ones see, without gradient.

    Args:
        flow: of `FlowPairs`, both directions, pixels. (N, 2, H, W)
        how: "forward_backward", "splatting" or "none", which leaves out what flows outside alone.

    Returns:
        (N, 1, H, W) bool
    """
    flow = flow.detach()
    there, back = flow.chunk(2)
    match how:
        case "forward_backward":
            return forward_backward(flow, torch.cat([back, there]))
        case "splatting":
            return seen_by_splatting(torch.cat([back, there]))
    return warp_by_flow(flow[:, :1], flow)[1]


def flow_error(
    pairs: FlowPairs, flow: Tensor, *, judge: FlowConfig, ssim_weight: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Rebuild the first frames from the second ones at a flow's own size, and compare.

    Args:
        pairs: the frames.
        flow: first -> second, pixels of the full picture. (N, 2, h, w)
        judge: how.
        ssim_weight: share of SSIM where it is not the census.

    Returns:
        error: (N, 1, h, w)
        seen: the flow ends inside and on image. (N, 1, h, w) bool
        rebuilt: (N, 3, h, w)
    """
    size = size_of(flow)
    first, second = resize(pairs.first, size), resize(pairs.second, size)
    usable = resize(pairs.valid.float(), size)
    image, inside = warp_by_flow(torch.cat([second, usable], 1), own_pixels(flow, pairs))
    rebuilt, on_image = image[:, :3], image[:, 3:].detach() > 0.99
    if judge.photometric == "census":
        radius = min(judge.census_radius, min(size) - 1)
        error = census_distance(rebuilt, first, radius=radius)
    else:
        error = photometric_error(rebuilt, first, ssim_weight=ssim_weight)
    return error, inside & on_image, rebuilt


def own_pixels(flow: Tensor, pairs: FlowPairs) -> Tensor:
    """Turn pixels of the full picture into those of a map's own size. (N, 2, h, w)"""
    (height, width), (h, w) = size_of(pairs.first), size_of(flow)
    return flow * flow.new_tensor([w / width, h / height])[:, None, None]


def judge_pairs(
    pairs: FlowPairs, visible: Tensor, *, flow: FlowConfig, ssim_weight: float
) -> dict[str, Tensor]:
    """Return the weighted loss terms of flow, summed over its scales.

    Args:
        pairs: frames and flow, both directions.
        visible: pixels of the first frames that teach colours. (N, 1, H, W) bool
        flow: weights and choices.
        ssim_weight: share of SSIM where the error is not the census.

    Returns:
        photometric and smoothness, () each. A map under 4 pixels a side is not judged.
    """
    photometric, smoothness = [], []
    order = 1 if flow.smoothness == "first_order" else 2
    for scale, weight in zip(pairs.flows, flow.scale_weights, strict=False):
        if weight == 0 or min(size_of(scale)) < _LEAST_SIDE:
            continue
        error, seen, _ = flow_error(pairs, scale, judge=flow, ssim_weight=ssim_weight)
        kept = resize(visible.float(), size_of(scale)) * seen
        photometric.append(weight * (error * kept).sum() / kept.sum().clamp(min=1))
        small = _at_a_quarter(scale, pairs)
        smoothness.append(
            weight
            * flow_smoothness(
                own_pixels(small, pairs),
                resize(pairs.first, size_of(small)),
                order=order,
                sharpness=flow.edge_sharpness,
            )
        )
    total = torch.stack(smoothness).sum()
    return {
        "photometric": torch.stack(photometric).sum(),
        "smoothness": flow.smoothness_weight * total,
    }


def _at_a_quarter(flow: Tensor, pairs: FlowPairs) -> Tensor:
    """Bring the full-size flow back to the size it was estimated at; between, it is smooth."""
    height, width = size_of(flow)
    if (height, width) != size_of(pairs.first):
        return flow
    return resize(flow, (max(height // 4, 1), max(width // 4, 1)))


def _health(pairs: FlowPairs, visible: Tensor) -> dict[str, Tensor]:
    """Measure what shows a run that learns nothing."""
    return {
        "health/displacement": pairs.flows[0].norm(dim=1).mean(),
        "health/visible": visible.float().mean(),
        "health/in_view": warp_by_flow(pairs.first[:, :1], pairs.flows[0])[1].float().mean(),
        "health/identity_error": (pairs.first - pairs.second).abs().mean(),
    }


def _pictures(pairs: FlowPairs, visible: Tensor) -> dict[str, Tensor]:
    few = slice(0, 4)
    first, second, flow = pairs.first[few], pairs.second[few], pairs.flows[0][few]
    rebuilt = warp_by_flow(second, flow)[0]
    return {
        "target": first,
        "rebuilt": rebuilt,
        "flow": flow_to_image(flow).float() / 255,
        "visible": visible[few].float(),
        "error": (rebuilt - first).abs().mean(1, keepdim=True),
    }


def build_flow(config: TrainConfig, shifts: tuple[int, ...]) -> FlowTask:
    """Make the task from its configuration, the network with random weights or a file's."""
    model, teacher = config.model, config.flow.teacher
    return FlowTask(
        build_flow_network(model.flow, width=model.flow_width, weights=model.flow_weights),
        flow=config.flow,
        ssim_weight=config.loss.ssim_weight,
        teacher=None if teacher is None else load_teacher(teacher),
    )


def load_teacher(path: Path) -> RaftSmall:
    """Load a teacher that learns nothing itself.

    Raises:
        CheckpointError: the file is missing or does not fit.
    """
    teacher = RaftSmall()
    teacher.load(path)
    return teacher.requires_grad_(False).eval()
