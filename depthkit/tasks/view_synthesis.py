# SPDX-License-Identifier: Apache-2.0
"""Depth and camera motion from plain video [Zhou 2017], and its modern form [Godard 2019].

A depth network looks at the target, a pose network at the target and its sources; together they
give where each target pixel lies in each source. Colours read there rebuild the target; what
differs is the loss.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from depthkit.config import LossConfig, ModelConfig
from depthkit.data.snippet import Snippet
from depthkit.geometry.projection import displacement, flow_to, resize_intrinsics, size_of
from depthkit.geometry.se3 import inverse, motion_from_vector
from depthkit.geometry.warp import Warped, resize, stack_views, warp_to_target
from depthkit.losses.consistency import depth_difference
from depthkit.losses.masks import Reduced, explainability_loss, reduce_mean, reduce_minimum
from depthkit.losses.motion import baseline_loss, rotation_loss
from depthkit.losses.photometric import photometric_error
from depthkit.losses.smoothness import edge_aware_smoothness, second_order_smoothness
from depthkit.losses.supervised import taught_loss
from depthkit.models.mono_depth import DispNetS, UNetDepth, build_depth_network
from depthkit.models.pose_net import EncoderPose, FlowPose, PoseNet, build_pose_network
from depthkit.tasks.known_motion import build_known_motion, require_pose_net
from depthkit.tasks.output import Prediction, TaskOutput
from depthkit.tasks.pictures import nearness_picture
from depthkit.tasks.precision import full_precision


class ViewSynthesis(nn.Module):
    """The task; its two networks are `depth_net` and, where motion is learnt, `pose_net`."""

    def __init__(
        self,
        depth_net: UNetDepth | DispNetS,
        pose_net: EncoderPose | PoseNet | FlowPose | None,
        *,
        loss: LossConfig,
        shifts: tuple[int, ...],
        pairwise: bool,
        taught: bool = False,
    ) -> None:
        super().__init__()
        self.depth_net, self.pose_net = depth_net, pose_net
        self.loss, self.shifts, self.pairwise = loss, shifts, pairwise
        self.motion, self.taught = build_known_motion(loss), taught

    def forward(self, snippet: Snippet, *, draws: bool = False) -> TaskOutput:
        """Rebuild the target from each source at each scale, and judge it; draw it if asked to."""
        inverse_depths = self.find_depths(snippet)
        T_source_target, explainability = self.find_motions(snippet)
        source_depths = self._source_depths(snippet)
        with full_precision(snippet.target.device):
            return self._judge_scales(
                snippet, inverse_depths, T_source_target, explainability, source_depths, draws=draws
            )

    def find_depths(self, snippet: Snippet) -> list[Tensor]:
        """Predict inverse depth of the targets at each scale. (B, 1, h, w) each

        Where lengths are known, the network answers for its camera's own focal length: the same
        picture enlarged is nearer, and what teaches it is as far as before. So the answer is for
        an image enlarged by s, and depth is s times as much [Yin 2023, Metric3D, of labels].
        """
        zoom = self._zoom(snippet)
        return [each / zoom for each in self.depth_net(snippet.target)[: self.loss.scales]]

    def _zoom(self, snippet: Snippet) -> Tensor:
        """Return the factor from the network's depth to depth. (B, 1, 1, 1)"""
        zoom = snippet.zoom if self.motion is not None else torch.ones_like(snippet.zoom)
        return zoom.reshape(-1, 1, 1, 1)

    def _source_depths(self, snippet: Snippet) -> Tensor | None:
        """Predict the sources' depth, where consistency asks for it. (S*B, 1, H, W)"""
        if self.loss.consistency_weight == 0:
            return None
        inverse_depth = self.depth_net(stack_views(snippet.sources))[0]
        zoom = self._zoom(snippet).repeat(len(self.shifts), 1, 1, 1)
        return zoom / inverse_depth

    def _judge_scales(
        self,
        snippet: Snippet,
        inverse_depths: list[Tensor],
        T_source_target: Tensor,
        explainability: list[Tensor] | None,
        source_depths: Tensor | None,
        static: Tensor | None = None,
        *,
        draws: bool,
    ) -> TaskOutput:
        """Judge every scale; `static` (B, 1, H, W) in [0, 1] weighs what each pixel teaches."""
        views = self._views(snippet, size_of(snippet.target), source_depths)
        totals: dict[str, Tensor] = {}
        for scale in reversed(range(len(inverse_depths))):  # finest last: it is measured and drawn
            inverse_depth = inverse_depths[scale]
            if not self.loss.full_resolution:
                views = self._views(snippet, size_of(inverse_depth), source_depths)
            weights = explainability[scale] if explainability else None
            terms, reduced, warped = self._judge(
                inverse_depth, views, T_source_target, weights, static
            )
            terms["smoothness"] = self._smoothness(inverse_depth, snippet.target) / 2**scale
            for name, value in terms.items():
                totals[name] = totals.get(name, 0) + value / len(inverse_depths)
        totals |= self._gauge(inverse_depths[0]) | self._known_motion(T_source_target, snippet)
        totals |= self._teacher(inverse_depths, snippet)
        logged = {f"loss/{name}": value.detach() for name, value in totals.items()}
        with torch.no_grad():
            health = _health(inverse_depths[0], reduced, warped, views)
            pictures = _pictures(inverse_depths[0], reduced, warped, views) if draws else {}
            prediction = flow = None
            if not self.training:
                # Its scale is free, unless the motion's is known.
                prediction = Prediction("inverse_depth", inverse_depths[0], metric=False)
                flow = flow_to(warped.pixels).unflatten(0, (len(self.shifts), -1)).movedim(0, 1)
        loss = torch.stack(list(totals.values())).sum()
        # A NaN motion makes no pixel valid and so no term NaN: it must show, or backward crashes.
        loss = loss + 0 * T_source_target.sum()
        # Photometric error alone: smoothness and the known motion would prefer another step.
        judged = logged["loss/photometric"]
        return TaskOutput(loss, judged, logged | health, prediction, pictures, flow=flow)

    def find_motions(self, snippet: Snippet) -> tuple[Tensor, list[Tensor] | None]:
        """Take the known motions of a snippet, or predict them; returns as `predict_motions`."""
        if self.motion is None:
            return self.predict_motions(snippet.target, snippet.sources)
        with full_precision(snippet.target.device):
            return stack_views(self.motion(snippet).T_source_target_gt), None

    def predict_motions(
        self, target: Tensor, sources: Tensor
    ) -> tuple[Tensor, list[Tensor] | None]:
        """Predict T_source_target of every source.

        Pairs go in in time order, earlier frame first, and the answer is inverted where the source
        is the earlier one, so that the network always sees time run forwards.

        Args:
            target: (B, 3, H, W)
            sources: in the order of the task's shifts. (B, S, 3, H, W)

        Returns:
            The motions, source by source, (S*B, 4, 4), and the explainability of each scale,
            (S, B, 1, h, w), if the network has it.
        """
        if not self.pairwise:
            frames = torch.cat([target, sources.flatten(1, 2)], 1)
            vectors, masks = require_pose_net(self.pose_net)(frames)
            with full_precision(target.device):
                stacked = motion_from_vector(stack_views(vectors))
            return stacked, masks and [m.movedim(1, 0)[:, :, None] for m in masks]
        pairs = [
            torch.cat([source, target] if shift < 0 else [target, source], 1)
            for shift, source in zip(self.shifts, sources.unbind(1), strict=True)
        ]
        forward = self.pair_motion(torch.cat(pairs)).chunk(len(pairs))
        with full_precision(target.device):
            motions = [
                inverse(T) if shift < 0 else T
                for shift, T in zip(self.shifts, forward, strict=True)
            ]
            return torch.cat(motions), None

    def pair_motion(self, pairs: Tensor) -> Tensor:
        """Predict T_later_earlier of pairs stacked in time order. (N, 6, H, W) -> (N, 4, 4)"""
        vectors = require_pose_net(self.pose_net)(pairs).motions[:, 0]
        with full_precision(pairs.device):
            return motion_from_vector(vectors)

    def _views(
        self, snippet: Snippet, size: tuple[int, int], source_depths: Tensor | None
    ) -> "_Views":
        """Bring a snippet to the size it is judged at, and compute what no scale changes."""
        count, full = len(self.shifts), size_of(snippet.target)
        target = resize(snippet.target, size).repeat(count, 1, 1, 1)
        sources = resize(stack_views(snippet.sources), size)
        maps, identity = sources, None
        if source_depths is not None:
            maps = torch.cat([sources, resize(source_depths, size)], 1)
        if self.loss.auto_mask:
            with torch.no_grad():
                identity = photometric_error(sources, target, ssim_weight=self.loss.ssim_weight)
        K = resize_intrinsics(snippet.K, full, size).repeat(count, 1, 1)
        valid = resize(snippet.valid.float(), size).ge(1).repeat(count, 1, 1, 1)
        return _Views(target, sources, maps, K, valid, identity)

    def _judge(
        self,
        inverse_depth: Tensor,
        views: "_Views",
        T_source_target: Tensor,
        weights: Tensor | None,
        static: Tensor | None,
    ) -> tuple[dict[str, Tensor], Reduced, Warped]:
        """Return one scale's loss terms, its error over the sources, and the warped sources."""
        count = len(self.shifts)
        depth = 1 / resize(inverse_depth, size_of(views.target))
        warped = warp_to_target(
            views.maps,
            depth.repeat(count, 1, 1, 1),
            T_source_target=T_source_target,
            K=views.K,
        )
        rebuilt, terms = warped.image[:, :3], {}
        error = photometric_error(rebuilt, views.target, ssim_weight=self.loss.ssim_weight)
        valid = warped.valid & views.valid
        if self.loss.consistency_weight > 0:
            # SC-Depth: what disagrees is a term, and counts less in the photometric error.
            difference = depth_difference(warped.depth, warped.image[:, 3:]) * valid
            terms["consistency"] = self.loss.consistency_weight * difference.mean()
            error = error * (1 - difference.detach())
        if weights is not None:
            terms["explainability"] = self.loss.explainability_weight * explainability_loss(weights)
            weights = resize(weights.flatten(0, 1), size_of(error))  # (S*B, 1, h, w)
        # Over the sources first (occlusion, auto-mask), then what moves weighs less.
        reduced = self._reduce(error, valid, views.identity, weights)
        if static is not None:
            reduced = reduced._replace(error=reduced.error * resize(static, size_of(error)))
        terms["photometric"] = self._average(reduced)
        return terms, reduced, warped

    def _reduce(
        self, error: Tensor, valid: Tensor, identity: Tensor | None, weights: Tensor | None
    ) -> Reduced:
        count = len(self.shifts)
        error, valid = error.unflatten(0, (count, -1)), valid.unflatten(0, (count, -1))
        if self.loss.reduction == "minimum":
            still = None if identity is None else identity.unflatten(0, (count, -1))
            return reduce_minimum(error, valid, still)
        return reduce_mean(
            error, valid, None if weights is None else weights.unflatten(0, (count, -1))
        )

    def _average(self, reduced: Reduced) -> Tensor:
        """Average over all pixels, as published; over the seen ones without an auto-mask.

        With zeros in the mean, leaving the image would pay.
        """
        if self.loss.auto_mask or self.loss.reduction == "mean":
            return reduced.error.mean()
        seen = reduced.kept.sum((1, 2, 3)).clamp(min=1)
        return (reduced.error.sum((1, 2, 3)) / seen).mean()

    def _smoothness(self, inverse_depth: Tensor, image: Tensor) -> Tensor:
        if self.loss.smoothness == "second_order":
            return self.loss.smoothness_weight * second_order_smoothness(inverse_depth)
        image = resize(image, size_of(inverse_depth))
        return self.loss.smoothness_weight * edge_aware_smoothness(inverse_depth, image)

    def _gauge(self, inverse_depth: Tensor) -> dict[str, Tensor]:
        """Return the term that pins the scale: monocular depth is free up to one factor.

        Only the batch's mean is pinned, so images keep their depths relative to each other. Ours;
        it stands for the per-image normalisation of [Wang 2018, DDVO], which loses just that.
        """
        if self.loss.gauge_weight == 0:
            return {}
        distance = inverse_depth.log().mean() + math.log(self.loss.gauge_depth)
        return {"gauge": self.loss.gauge_weight * distance.square()}

    def _teacher(self, inverse_depths: list[Tensor], snippet: Snippet) -> dict[str, Tensor]:
        """Return the term of a teacher's depth, the mean over scales enlarged to full size."""
        if not self.taught:
            return {}
        truth, sigma = snippet.taught.split(1, dim=1)
        truth = truth * snippet.valid
        errors = [
            taught_loss(1 / resize(inverse_depth, size_of(truth)), truth, sigma)
            for inverse_depth in inverse_depths
        ]
        return {"teacher": self.loss.teacher_weight * torch.stack(errors).mean()}

    def _known_motion(self, T_source_target: Tensor, snippet: Snippet) -> dict[str, Tensor]:
        """Return the terms that ask for known motions; sources without a pose are left out."""
        terms: dict[str, Tensor] = {}
        if self.motion is not None:
            return self.motion.prior(snippet)
        if self.loss.baseline_weight == self.loss.rotation_weight == 0:
            return terms
        truth = stack_views(snippet.T_source_target_gt)
        known = truth.isfinite().all(-1).all(-1)
        identity = torch.eye(4, device=truth.device, dtype=truth.dtype)
        truth = torch.where(known[:, None, None], truth, identity)
        if self.loss.baseline_weight > 0:
            loss = baseline_loss(T_source_target, truth, known)
            terms["baseline"] = self.loss.baseline_weight * loss
        if self.loss.rotation_weight > 0:
            loss = rotation_loss(T_source_target, truth, known)
            terms["rotation"] = self.loss.rotation_weight * loss
        return terms


class _Views(NamedTuple):
    """A snippet at the size it is judged at, sources folded into the batch."""

    target: Tensor
    """Repeated for each source. (S*B, 3, h, w)"""
    sources: Tensor
    """(S*B, 3, h, w)"""
    maps: Tensor
    """What is warped: the sources; their depth too with consistency. (S*B, 3 or 4, h, w)"""
    K: Tensor
    """(S*B, 3, 3)"""
    valid: Tensor
    """Pixels of the target that are image at all. (S*B, 1, h, w) bool"""
    identity: Tensor | None
    """Photometric error of the unwarped sources, for the auto-mask. (S*B, 1, h, w)"""


def _health(
    inverse_depth: Tensor, reduced: Reduced, warped: Warped, views: _Views
) -> dict[str, Tensor]:
    """Measure what shows a run that learns nothing."""
    log_depth = inverse_depth.log()
    return {
        "health/depth_spread": log_depth.std((1, 2, 3)).mean(),
        "health/depth_mean": (-log_depth).mean().exp(),
        "health/kept": reduced.kept.float().mean(),
        "health/in_view": warped.valid.float().mean(),
        "health/displacement": displacement(warped.pixels)[warped.valid].mean(),
        "health/identity_error": (views.target - views.sources).abs().mean(),
    }


def _pictures(
    inverse_depth: Tensor, reduced: Reduced, warped: Warped, views: _Views
) -> dict[str, Tensor]:
    batch = len(inverse_depth)
    return {
        "target": views.target[:batch],
        "rebuilt": warped.image[:batch, :3].detach(),
        "inverse_depth": nearness_picture(inverse_depth),
        "error": reduced.error.detach().clamp(0, 1),
        "kept": reduced.kept.float(),
    }


def build_view_synthesis(
    model: ModelConfig, loss: LossConfig, shifts: tuple[int, ...], *, taught: bool = False
) -> ViewSynthesis:
    """Make the task from its configuration, networks with random or ImageNet weights.

    Args:
        model, loss, shifts: of the run.
        taught: the snippets hold depth of a teacher.
    """
    pairwise = model.pose_input == "pair"
    return ViewSynthesis(
        build_depth_network(
            model.depth,
            min_depth=model.min_depth,
            max_depth=model.max_depth,
            encoder_weights=model.encoder_weights,
        ),
        None
        if loss.knows_motion
        else build_pose_network(
            model.pose,
            frames=2 if pairwise else 1 + len(shifts),
            explainability=loss.explainability_weight > 0,
            encoder_weights=model.pose_encoder_weights,
        ),
        loss=loss,
        shifts=shifts,
        pairwise=pairwise,
        taught=taught,
    )
