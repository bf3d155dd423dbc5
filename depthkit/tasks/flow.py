# SPDX-License-Identifier: Apache-2.0
"""Optical flow without labels: each frame rebuilt from the other, by flow both ways.

The recipe of UnFlow [Meister 2018] and UFlow [Jonschkowski 2020]: a census distance on pixels that
the other frame sees, and smoothness that gives way at edges. Two things make short trainings
enough. The network may see a window of the frames only, and is judged by the rest where its flow
leaves the window [Luo 2021, UPFlow], which teaches what lies beyond a border. And a teacher without
labels, classical flow by default where one is asked for, may show it the first matches (ours).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthkit.config import FlowConfig, TrainConfig
from depthkit.data.snippet import Snippet
from depthkit.geometry.projection import size_of
from depthkit.geometry.warp import ends_inside, resize, shrink, stack_views, warp_by_flow
from depthkit.losses.census import census_distance
from depthkit.losses.occlusion import forward_backward, seen_by_splatting
from depthkit.losses.photometric import photometric_error
from depthkit.losses.smoothness import flow_smoothness
from depthkit.models.flow_net import PwcFlow, RaftSmall, build_flow_network, stride_of
from depthkit.tasks.flow_teacher import Teacher, build_teacher, teacher_distance
from depthkit.tasks.output import TaskOutput
from depthkit.tasks.pictures import flow_picture
from depthkit.tasks.precision import full_precision

_LEAST_SIDE = 4  # pixels: smaller maps have no neighbourhoods to compare


class FlowPairs(NamedTuple):
    """Both directions of every pair of target and source, in one batch of N = 2 * S * B."""

    first: Tensor
    """The target for each source, then the sources, as the network saw them. (N, 3, H, W)"""
    second: Tensor
    """The sources, then the target for each. RGB in [0, 1]. (N, 3, H, W)"""
    flows: list[Tensor]
    """First -> second at each scale, pixels of the full picture. (N, 2, h, w) each"""
    valid: Tensor
    """Pixels of the first that are image at all. (N, 1, H, W) bool"""
    scene: Tensor
    """The whole second frames where `second` is a window of them. (N, 3, H', W')"""
    scene_valid: Tensor
    """Pixels of the scene that are image at all. (N, 1, H', W') bool"""
    corner: Tensor
    """First pixel (u, v) of the window in the scene. (2, 1, 1)"""
    size: tuple[int, int]
    """(H, W) of the frames before they were enlarged to the scene."""

    def turned(self, x: Tensor) -> Tensor:
        """Bring what is known of each pair to the pair that goes the other way. (N, ...)"""
        there, back = x.chunk(2)
        return torch.cat([back, there])


class FlowTask(nn.Module):
    """The task; its network is `flow_net`."""

    steps: Tensor
    """Training steps done: occlusion begins, and the teacher ends, by it. () int64"""

    def __init__(
        self,
        flow_net: PwcFlow | RaftSmall,
        *,
        flow: FlowConfig,
        ssim_weight: float,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__()
        self.flow_net, self.flow, self.ssim_weight = flow_net, flow, ssim_weight
        self.teacher = teacher  # no module: its weights are no part of a checkpoint
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, snippet: Snippet, *, draws: bool = False) -> TaskOutput:
        """Rebuild the target from each source and each source from the target, and judge it."""
        window = self.flow.window if self.training else None
        pairs = predict_pairs(self.flow_net, snippet, window=window, zoom=self.flow.window_zoom)
        with full_precision(snippet.target.device):
            visible = self._visible(pairs)
            terms = judge_pairs(pairs, visible, flow=self.flow, ssim_weight=self.ssim_weight)
            if self.training:
                terms |= taught_terms(pairs, self.teacher, flow=self.flow, steps=int(self.steps))
                self.steps += 1
            logged = {f"loss/{name}": value.detach() for name, value in terms.items()}
            # Flow without numbers makes no pixel visible and so no error; it must show.
            loss = torch.stack(list(terms.values())).sum() + 0 * pairs.flows[0].sum()
            with torch.no_grad():
                health = _health(pairs, visible)
                pictures = _pictures(pairs, visible) if draws else {}
                flow = None if self.training else _to_sources(pairs, snippet.sources.shape[1])
            judged = logged["loss/photometric"]
            return TaskOutput(loss, judged, logged | health, images=pictures, flow=flow)

    def _visible(self, pairs: FlowPairs) -> Tensor:
        """Find the pixels that may teach: all, until the flow is good enough to judge.

        Where flow leaves the window no flow comes back: those pixels count as seen.
        """
        if self.training and self.steps < self.flow.occlusion_from:
            return pairs.valid
        visible = find_visible(pairs.flows[0], self.flow.occlusion)
        if self.training and self.flow.window is not None:
            visible = visible | ~find_visible(pairs.flows[0], "none")
        return pairs.valid & visible


def taught_terms(
    pairs: FlowPairs, teacher: Teacher | None, *, flow: FlowConfig, steps: int
) -> dict[str, Tensor]:
    """Return the term of the teacher, whose weight falls to 0; nothing after its steps."""
    left = 1 - steps / max(flow.teacher_steps, 1)
    if teacher is None or left <= 0:
        return {}
    second, size = resize(pairs.scene, pairs.size), size_of(pairs.scene)
    # Only what the teacher finds both ways alike is shown.
    taught = teacher(pairs.turned(second), second)
    comes_back = resize(forward_backward(taught, pairs.turned(taught)).float(), size) > 0.99
    growth = [now / before for now, before in zip(size, pairs.size, strict=True)]
    taught = resize(taught, size) * taught.new_tensor(growth[::-1])[:, None, None]
    left_edge, top = (int(x) for x in pairs.corner.flatten())
    height, width = size_of(pairs.first)
    rows, columns = slice(top, top + height), slice(left_edge, left_edge + width)
    distance = teacher_distance(
        pairs.flows,
        taught[..., rows, columns],
        comes_back[..., rows, columns] & pairs.valid,
        weights=flow.scale_weights,
    )
    return {"teacher": flow.teacher_weight * left * distance}


def predict_pairs(
    flow_net: PwcFlow | RaftSmall,
    snippet: Snippet,
    *,
    window: tuple[int, int] | None = None,
    zoom: float = 1.0,
) -> FlowPairs:
    """Estimate flow from the target to every source and back, in one batch.

    A frame's features are computed once for all of its pairs, where the network lets us.

    Args:
        flow_net: the network.
        snippet: the frames.
        window: (H, W) of a random part that the network is shown; None for whole frames.
        zoom: largest random enlargement of the frames before the window is cut.
    """
    count, batch = snippet.sources.shape[1], len(snippet.target)
    whole, valid = torch.cat([snippet.target, stack_views(snippet.sources)]), snippet.valid
    top = left = 0
    size = size_of(whole)
    if window is not None:
        scale = 1 + (zoom - 1) * float(torch.rand(()))
        large = (round(size[0] * scale), round(size[1] * scale))
        whole, valid, size = resize(whole, large), resize(valid.float(), large).ge(1), window
        top, left = (int(torch.randint(b - s + 1, ())) for b, s in zip(large, size, strict=True))
    frames = whole[..., top : top + size[0], left : left + size[1]]

    def ordered(x: Tensor, *, second: bool) -> Tensor:
        target, sources = x[:batch].repeat(count, 1, 1, 1), x[batch:]
        return torch.cat([sources, target] if second else [target, sources])

    here, there = (ordered(frames, second=second) for second in (False, True))
    if isinstance(flow_net, PwcFlow):
        features = flow_net.encode(frames)
        flows = flow_net.decode(
            [ordered(level, second=False) for level in features],
            [ordered(level, second=True) for level in features],
            size,
        )
    else:
        flows = flow_net(torch.cat([here, there], 1))
    valid = valid.repeat(2 * count, 1, 1, 1)
    return FlowPairs(
        here,
        there,
        flows,
        valid=valid[..., top : top + size[0], left : left + size[1]],
        scene=ordered(whole, second=True),
        scene_valid=valid,
        corner=whole.new_tensor([left, top]).view(2, 1, 1),
        size=size_of(snippet.target),
    )


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
    return ends_inside(flow, size_of(flow))


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
    total = pairs.flows[0].new_zeros(2)
    order = 1 if flow.smoothness == "first_order" else 2
    for scale, weight in zip(pairs.flows, flow.scale_weights, strict=False):
        if weight == 0 or min(size_of(scale)) < _LEAST_SIDE:
            continue
        # Photometric error where the pixel is seen, smoothness everywhere.
        error, seen = _rebuilding_error(pairs, scale, judge=flow, ssim_weight=ssim_weight)
        stride = stride_of(scale, size_of(pairs.first))
        kept = shrink(visible.float(), stride) * seen
        # The full-size flow is enlarged from a quarter: between those pixels it is smooth anyway.
        small, step = (F.avg_pool2d(scale, 4), 4) if stride == 1 else (scale, stride)
        image = shrink(pairs.first, step)[..., : small.shape[-2], : small.shape[-1]]
        smoothness = flow_smoothness(
            small / step, image, order=order, sharpness=flow.edge_sharpness
        )
        photometric = (error * kept).sum() / kept.sum().clamp(min=1)
        total = total + weight * torch.stack([photometric, smoothness])
    photometric, smoothness = total
    return {"photometric": photometric, "smoothness": flow.smoothness_weight * smoothness}


def _rebuilding_error(
    pairs: FlowPairs, flow: Tensor, *, judge: FlowConfig, ssim_weight: float
) -> tuple[Tensor, Tensor]:
    """Compare the first frames with what the second ones show, at a flow's own size.

    Returns:
        The error, (N, 1, h, w), and whether the flow ends on image, (N, 1, h, w) bool.
    """
    stride = stride_of(flow, size_of(pairs.first))
    first, scene = shrink(pairs.first, stride), shrink(pairs.scene, stride)
    usable = shrink(pairs.scene_valid.float(), stride)
    image, inside = warp_by_flow(torch.cat([scene, usable], 1), (flow + pairs.corner) / stride)
    rebuilt, on_image = image[:, :3], image[:, 3:].detach() > 0.99
    if judge.photometric == "census":
        radius = min(judge.census_radius, min(size_of(flow)) - 1)
        return census_distance(rebuilt, first, radius=radius), inside & on_image
    return photometric_error(rebuilt, first, ssim_weight=ssim_weight), inside & on_image


def _to_sources(pairs: FlowPairs, count: int) -> Tensor:
    """Return the flow from the targets to their sources, at the size of the input. (B, S, 2, H, W)

    The first half of the pairs goes there, source by source.
    """
    return pairs.flows[0].chunk(2)[0].float().unflatten(0, (count, -1)).movedim(0, 1)


def _health(pairs: FlowPairs, visible: Tensor) -> dict[str, Tensor]:
    """Measure what shows a run that learns nothing."""
    return {
        "health/displacement": pairs.flows[0].norm(dim=1).mean(),
        "health/visible": visible.float().mean(),
        "health/in_view": find_visible(pairs.flows[0], "none").float().mean(),
        "health/identity_error": (pairs.first - pairs.second).abs().mean(),
    }


def _pictures(pairs: FlowPairs, visible: Tensor) -> dict[str, Tensor]:
    few = slice(0, 4)
    first, flow = pairs.first[few], pairs.flows[0][few]
    rebuilt = warp_by_flow(pairs.scene[few], flow + pairs.corner)[0]
    return {
        "target": first,
        "rebuilt": rebuilt,
        "flow": flow_picture(flow),
        "visible": visible[few].float(),
        "error": (rebuilt - first).abs().mean(1, keepdim=True),
    }


def build_flow(config: TrainConfig, shifts: tuple[int, ...]) -> FlowTask:
    """Make the task from its configuration, the network with random weights or a file's."""
    model, flow = config.model, config.flow
    return FlowTask(
        build_flow_network(model.flow, width=model.flow_width, weights=model.flow_weights),
        flow=flow,
        ssim_weight=config.loss.ssim_weight,
        teacher=build_teacher(flow.teacher, file=flow.teacher_file),
    )
