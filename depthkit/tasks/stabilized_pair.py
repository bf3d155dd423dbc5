# SPDX-License-Identifier: Apache-2.0
"""Depth of a pair of frames, learnt without labels [Pinard 2018].

A pose network says how the camera moved between the frames of a window. One of them, the reference,
is turned like the target, and the pair network says the target's depth from the two. All
translations are scaled so that the pair is one nominal baseline D0 apart: what the network says is
depth per baseline, and at work the measured distance turns it into metres. The depth is judged by
rebuilding the target from ALL other frames of the window.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthkit.config import LossConfig, StabilizedConfig, SupervisedConfig, TrainConfig
from depthkit.data.snippet import Snippet
from depthkit.geometry.projection import displacement, resize_intrinsics, size_of
from depthkit.geometry.rotation import derotate
from depthkit.geometry.se3 import inverse, motion_from_vector, rigid_motion
from depthkit.geometry.warp import Warped, resize, stack_views, warp_to_target
from depthkit.losses.masks import reduce_minimum
from depthkit.losses.motion import rotation_loss
from depthkit.losses.photometric import photometric_error
from depthkit.losses.smoothness import (
    edge_aware_smoothness,
    gradient_diffusion_smoothness,
    second_order_smoothness,
)
from depthkit.models.depth_net import DepthNet
from depthkit.models.pair_networks import ask_pair_network, build_pair_network
from depthkit.models.pose_net import EncoderPose, FlowPose, PoseNet, build_pose_network
from depthkit.models.sweep_net import SweepNet
from depthkit.tasks.output import TaskOutput
from depthkit.tasks.precision import full_precision
from depthkit.tasks.supervised_pair import enlarge, nominal_truth

_TINY = 1e-5  # added to the reference's |t|, as published
_LEAST_DEPTH = 1e-2  # metres at D0; the published head says ELU + 1.01
_FIRST_DEPTH = 10.0  # metres at D0, about what the untaught network says
_MOST_PULL = 5.0  # times the gradient, of far depths


class Window(NamedTuple):
    """The frames of a snippet by their parts."""

    target: Tensor
    """(B, 3, H, W)"""
    others: Tensor
    """(B, S, 3, H, W)"""
    times: tuple[int, ...]
    """Place in time of the target and each of the others, frames; only their order is used."""
    reference: int
    """Which of the others makes the pair with the target."""
    T_others_target_gt: Tensor
    """Known motions, metres; the identity where unknown. (B, S, 4, 4)"""
    known: Tensor
    """(B, S) bool"""


class StabilizedPair(nn.Module):
    """The task; its two networks are `depth_net` and `pose_net`."""

    def __init__(
        self,
        depth_net: DepthNet | SweepNet,
        pose_net: EncoderPose | PoseNet | FlowPose,
        *,
        stabilized: StabilizedConfig,
        loss: LossConfig,
        supervised: SupervisedConfig,
        shifts: tuple[int, ...],
        pairwise: bool,
    ) -> None:
        super().__init__()
        self.depth_net, self.pose_net = depth_net, pose_net
        self.stabilized, self.loss, self.supervised = stabilized, loss, supervised
        self.shifts, self.pairwise = shifts, pairwise
        self.nominal_baseline, self.max_depth = supervised.nominal_baseline, supervised.max_depth

    def forward(self, snippet: Snippet) -> TaskOutput:
        """Predict motions, then the target's depth, and rebuild it from all other frames."""
        device = snippet.target.device
        with full_precision(device):
            window = self._choose_window(snippet)
        still = self._draw_still(window)
        T_others_target = self.predict_motions(window, snippet.K)
        maps = self._look(window, T_others_target.detach(), snippet.K, window.reference, still)
        maps = maps[: self.loss.scales]
        with full_precision(device):
            maps = [balance(depth.float().clamp(min=_LEAST_DEPTH)) for depth in maps]
            views = self._views(window, T_others_target, snippet, ~still)
            judged = [
                (weight, _rebuild(depth, views, self.loss))
                for weight, depth in self._levels(maps, size_of(window.target))
            ]
            terms = self._terms(judged, maps, window, still)
            if self.loss.rotation_weight > 0:
                terms["rotation"] = self.loss.rotation_weight * rotation_loss(
                    T_others_target.flatten(0, 1),
                    window.T_others_target_gt.flatten(0, 1),
                    window.known.flatten(),
                )
        loss = torch.stack(list(terms.values())).sum()
        # A NaN motion makes no pixel valid and so no term NaN: it must show, or backward crashes.
        loss = loss + 0 * T_others_target.sum()
        logged = {f"loss/{name}": value.detach() for name, value in terms.items()}
        return self._output(loss, logged, maps[0], judged[0][1], snippet)

    def enlarge(self, depth: Tensor, size: tuple[int, int]) -> Tensor:
        """Bring a finest map to the image's size, clipped. (B, 1, h, w) -> (B, 1, H, W)"""
        return enlarge_inverse(depth, size).clamp(max=self.max_depth)

    @torch.no_grad()
    def mean_depths(self, snippet: Snippet) -> Tensor:
        """Return the mean of the target's depth from each source, metres at D0. (B, S)

        Call it in evaluation mode.
        """
        with full_precision(snippet.target.device):
            window = window_of(snippet, self.shifts)
        T_others_target = self.predict_motions(window, snippet.K)
        none = torch.zeros(len(window.target), dtype=torch.bool, device=snippet.K.device)
        maps = [
            self._look(window, T_others_target, snippet.K, reference, none)[0].float()
            for reference in range(len(self.shifts))
        ]
        enlarged = [self.enlarge(depth, size_of(window.target)) for depth in maps]
        return torch.stack(enlarged, 1).mean((2, 3, 4))

    def _look(
        self, window: Window, T_others_target: Tensor, K: Tensor, reference: int, still: Tensor
    ) -> list[Tensor]:
        """Ask the pair network for the target's depth, the reference turned like it.

        Args:
            window, T_others_target, K: as everywhere here.
            reference: which of the others.
            still: pairs that are the target with itself instead. (B,) bool
        """
        with full_precision(K.device):
            T = T_others_target[:, reference]
            turned = turn(window.others[:, reference], T, K)
            previous = torch.where(still[:, None, None, None], window.target, turned)
            t_turned = (T[:, :3, :3].mT @ T[:, :3, 3:])[..., 0]  # in the axes of the target
        return ask_pair_network(
            self.depth_net,
            previous,
            window.target,
            t_previous_current=t_turned,
            K=K,
            nominal_baseline=self.nominal_baseline,
        )

    # --- roles and motion -------------------------------------------------------------------------

    def _choose_window(self, snippet: Snippet) -> Window:
        """Choose target and reference: when training at random, where configured."""
        target = reference = 0
        if self.training and self.stabilized.random_target:
            target = int(torch.randint(1 + len(self.shifts), ()))
        if self.training and self.stabilized.random_reference:
            reference = int(torch.randint(len(self.shifts), ()))
        return window_of(snippet, self.shifts, target=target, reference=reference)

    def _draw_still(self, window: Window) -> Tensor:
        """Draw the pairs that are a frame with itself. (B,) bool"""
        ratio = self.stabilized.same_ratio if self.training else 0.0
        return (torch.rand(len(window.target)) < ratio).to(window.target.device)

    def predict_motions(self, window: Window, K: Tensor) -> Tensor:
        """Predict T_others_target, translations in the pose network's own unit. (B, S, 4, 4)

        Where the measured orientation is used, the pose network sees frames turned alike by it and
        says the translation alone.
        """
        if self.stabilized.orientation == "network":
            return self._predict(window, window.others, turns=True)
        with full_precision(K.device):
            count = window.others.shape[1]
            turned = turn(
                window.others.flatten(0, 1),
                window.T_others_target_gt.flatten(0, 1),
                K.repeat_interleave(count, 0),
            ).unflatten(0, (-1, count))
        seen = self._predict(window, turned, turns=False)
        with full_precision(K.device):
            R = window.T_others_target_gt[..., :3, :3]
            return rigid_motion(R, (R @ seen[..., :3, 3:])[..., 0])

    def _predict(self, window: Window, others: Tensor, *, turns: bool) -> Tensor:
        """Run the pose network on pairs, or on the whole window, in time order. (B, S, 4, 4)"""
        frames = [window.target, *others.unbind(1)]
        if self.pairwise:
            earlier = [time < window.times[0] for time in window.times[1:]]
            pairs = [
                torch.cat([frame, frames[0]] if first else [frames[0], frame], 1)
                for first, frame in zip(earlier, frames[1:], strict=True)
            ]
            forward = self.pair_motion(torch.cat(pairs), turns=turns).chunk(len(pairs))
            with full_precision(window.target.device):
                motions = [
                    inverse(T) if first else T for first, T in zip(earlier, forward, strict=True)
                ]
                return torch.stack(motions, 1)
        order = sorted(range(len(frames)), key=window.times.__getitem__)
        vectors = self.pose_net(torch.cat([frames[i] for i in order], 1)).motions
        with full_precision(window.target.device):
            T_frame_last = _motions(F.pad(vectors.float(), (0, 0, 0, 1)), turns)  # the last: none
            place = {frame: k for k, frame in enumerate(order)}
            chosen = T_frame_last[:, [place[i] for i in range(len(frames))]]
            return chosen[:, 1:] @ inverse(chosen[:, :1])

    def pair_motion(self, pairs: Tensor, *, turns: bool = True) -> Tensor:
        """Predict T_later_earlier of pairs stacked in time order. (N, 6, H, W) -> (N, 4, 4)"""
        vectors = self.pose_net(pairs).motions[:, 0]
        with full_precision(pairs.device):
            return _motions(vectors, turns)

    # --- judging ----------------------------------------------------------------------------------

    def _views(
        self, window: Window, T_others_target: Tensor, snippet: Snippet, moves: Tensor
    ) -> "_Views":
        """Scale the motions to the nominal baseline, and say which pixels may teach."""
        teaches = moves
        lengths = None
        if self.stabilized.measured_displacement:
            lengths = window.T_others_target_gt[..., :3, 3].norm(dim=-1)
        if lengths is not None or self.stabilized.orientation == "measured":
            teaches = teaches & window.known.all(1)
        T = normalise_baseline(
            T_others_target, window.reference, self.nominal_baseline, lengths=lengths
        )
        valid = snippet.valid & teaches[:, None, None, None]
        return _Views(window.target, window.others, T, snippet.K, valid)

    def _levels(self, maps: list[Tensor], size: tuple[int, int]) -> list[tuple[float, Tensor]]:
        """Return each depth to be judged with its weight, the one at full size first.

        All maps enlarged, each half the weight of the finer; or, as published, the finest enlarged
        and every map at its own size, weighted by its share of the width.
        """
        if self.loss.full_resolution:
            return [
                (0.5**level, enlarge_inverse(depth, size, level=level))
                for level, depth in enumerate(maps)
            ]
        own = [(depth.shape[-1] / size[1], depth) for depth in maps]
        return [(1.0, enlarge_inverse(maps[0], size)), *own]

    def _terms(
        self,
        judged: "list[tuple[float, _Rebuilt]]",
        maps: list[Tensor],
        window: Window,
        still: Tensor,
    ) -> dict[str, Tensor]:
        terms = {"photometric": torch.stack([w * rebuilt.error for w, rebuilt in judged]).sum()}
        if self.loss.smoothness_weight > 0:
            costs = [
                _smoothness(self.loss.smoothness, 1 / depth, window.target) / 2**level
                for level, depth in enumerate(maps)
            ]
            terms["smoothness"] = self.loss.smoothness_weight * torch.stack(costs).sum()
        if self.training and self.stabilized.same_ratio > 0:
            terms["still"] = self.stabilized.same_weight * still_loss(maps, still, self.max_depth)
        return terms

    @torch.no_grad()
    def _output(
        self,
        loss: Tensor,
        logged: dict[str, Tensor],
        finest: Tensor,
        rebuilt: "_Rebuilt",
        snippet: Snippet,
    ) -> TaskOutput:
        log_depth, warped = finest.log(), rebuilt.warped
        health = {
            "health/depth_spread": log_depth.std((1, 2, 3)).mean(),
            "health/depth_mean": log_depth.mean().exp(),
            "health/kept": rebuilt.kept.float().mean(),
            "health/in_view": warped.valid.float().mean(),
            "health/displacement": displacement(warped.pixels)[warped.valid].mean(),
            "health/identity_error": (snippet.target[:, None] - snippet.sources).abs().mean(),
        }
        pictures = {
            "target": rebuilt.target,
            "rebuilt": warped.image[: len(finest)],
            "inverse_depth": finest.amin((2, 3), keepdim=True) / finest,
        }
        if self.training:
            return TaskOutput(loss, logged | health, pictures)
        depth = self.enlarge(finest, size_of(snippet.target))
        truth = nominal_truth(snippet, self.supervised)
        return TaskOutput(loss, logged | health, pictures, depth, truth.depth * truth.known)


class _Views(NamedTuple):
    """What a depth is judged by."""

    target: Tensor
    """(B, 3, H, W)"""
    others: Tensor
    """(B, S, 3, H, W)"""
    T_others_target: Tensor
    """At the nominal baseline. (B, S, 4, 4)"""
    K: Tensor
    """At H x W, pixels. (B, 3, 3)"""
    valid: Tensor
    """Pixels of the target that may teach. (B, 1, H, W) bool"""


class _Rebuilt(NamedTuple):
    """The target rebuilt from all other frames."""

    error: Tensor
    """()"""
    kept: Tensor
    """Pixels that teach. (S*B or B, 1, h, w) bool"""
    warped: Warped
    target: Tensor
    """At the size it is judged at. (B, 3, h, w)"""


def window_of(
    snippet: Snippet, shifts: tuple[int, ...], *, target: int = 0, reference: int = 0
) -> Window:
    """Take a snippet apart with any of its frames as the target.

    Args:
        snippet: with S sources.
        shifts: of the sources, frames; their order in time.
        target: 0 for the snippet's own, k for its k-th source.
        reference: which of the others, 0 to S - 1, in the snippet's order without the target.
    """
    frames = torch.cat([snippet.target[:, None], snippet.sources], 1)
    others = [i for i in range(frames.shape[1]) if i != target]
    T = snippet.T_source_target_gt
    identity = torch.eye(4, dtype=T.dtype, device=T.device)
    T_frame_first = torch.cat([identity.expand(len(T), 1, 4, 4), T], 1)
    T_others_target = T_frame_first[:, others] @ inverse(T_frame_first[:, [target]])
    known = T_others_target.isfinite().all(-1).all(-1)
    return Window(
        target=frames[:, target],
        others=frames[:, others],
        times=tuple((0, *shifts)[i] for i in (target, *others)),
        reference=reference,
        T_others_target_gt=torch.where(known[..., None, None], T_others_target, identity),
        known=known,
    )


def balance(depth: Tensor) -> Tensor:
    """Pass depth on; on the way back its gradient is multiplied by depth / 10 m.

    A metre moves a pixel by f D0 / Z^2: a near thing taken for a far one hardly pulls itself back,
    and what is far hardly learns at all. So each learns about as if log depth were said. Ours.
    """
    fixed = depth.detach()
    return fixed + (depth - fixed) * (fixed / _FIRST_DEPTH).clamp(max=_MOST_PULL)


def enlarge_inverse(depth: Tensor, size: tuple[int, int], *, level: int = 0) -> Tensor:
    """Bring a map to the image's size, bilinearly in 1 / depth; see `enlarge`. (B, 1, H, W)

    Ours. Between a near thing and a far wall the mean of their depths is far, ten times the near
    one's; the mean of their inverse depths is half of it. With a map of 16 x 16 for 64 x 64 pixels
    of Still Box the truth itself is wrong by 0.45 of the depth the one way, by 0.17 the other.
    """
    return enlarge(1 / depth, size, level=level).reciprocal()


def turn(others: Tensor, T_other_target: Tensor, K: Tensor) -> Tensor:
    """Take the rotation out of other views: turn each like its target. (N, 3, H, W)"""
    return derotate(others, R_target_source=T_other_target[:, :3, :3].mT, K=K).image


def normalise_baseline(
    T_others_target: Tensor,
    reference: int,
    nominal_baseline: float,
    *,
    lengths: Tensor | None = None,
) -> Tensor:
    """Scale all translations so that the reference's is the nominal baseline D0 long.

    t_i <- t_i D0 / (|t_r| + 1e-5) [Pinard 2018]: a common factor of all translations is lost.

    Args:
        T_others_target: motions, translations in any unit. (B, S, 4, 4)
        reference: which of the others, r.
        nominal_baseline: D0, metres.
        lengths: of the translations, where those are known better than by the network. (B, S)

    Returns:
        The motions, metres at the nominal baseline. (B, S, 4, 4)
    """
    t = T_others_target[..., :3, 3]
    if lengths is not None:
        t = t * (lengths / (t.norm(dim=-1) + _TINY))[..., None]
    scale = nominal_baseline / (t[:, reference].norm(dim=-1) + _TINY)
    return rigid_motion(T_others_target[..., :3, :3], t * scale[:, None, None])


def still_loss(maps: list[Tensor], still: Tensor, max_depth: float) -> Tensor:
    """Ask for the farthest depth where a frame was paired with itself: smooth L1 of net / max to 1.

    Args:
        maps: depth at each scale, metres at D0. (B, 1, h, w) each
        still: which pairs. (B,) bool
        max_depth: metres.

    Returns:
        Mean over those pairs, then over the scales; 0 where there is none. ()
    """
    count = still.sum().clamp(min=1)
    means = []
    for depth in maps:
        share = depth / max_depth
        error = F.smooth_l1_loss(share, torch.ones_like(share), reduction="none").mean((1, 2, 3))
        means.append((error * still).sum() / count)
    return torch.stack(means).mean()


def _rebuild(depth: Tensor, views: _Views, loss: LossConfig) -> _Rebuilt:
    """Rebuild the target from all others with a depth of any size, and judge it at that size."""
    full, size, count = size_of(views.target), size_of(depth), views.others.shape[1]
    target = resize(views.target, size)
    sources = resize(stack_views(views.others), size)  # (S*B, 3, h, w)
    K = resize_intrinsics(views.K, full, size).repeat(count, 1, 1)
    T = stack_views(views.T_others_target)
    warped = warp_to_target(sources, depth.repeat(count, 1, 1, 1), T_source_target=T, K=K)
    error = photometric_error(
        warped.image, target.repeat(count, 1, 1, 1), ssim_weight=loss.ssim_weight
    )
    valid = warped.valid & resize(views.valid.float(), size).ge(1).repeat(count, 1, 1, 1)
    if loss.reduction == "minimum":
        reduced = reduce_minimum(*(x.unflatten(0, (count, -1)) for x in (error, valid)))
        return _Rebuilt(_mean(reduced.error, reduced.kept), reduced.kept, warped, target)
    return _Rebuilt(_mean(error, valid), valid, warped, target)


def _mean(error: Tensor, valid: Tensor) -> Tensor:
    """Average over the pixels that count: with zeros in it, leaving the image would pay."""
    return (error * valid).sum() / valid.sum().clamp(min=1)


def _smoothness(name: str, inverse_depth: Tensor, image: Tensor) -> Tensor:
    match name:
        case "second_order":
            return second_order_smoothness(inverse_depth)
        case "edge_aware":
            return edge_aware_smoothness(inverse_depth, resize(image, size_of(inverse_depth)))
    return gradient_diffusion_smoothness(inverse_depth, resize(image, size_of(inverse_depth)))


def _motions(vectors: Tensor, turns: bool) -> Tensor:
    """Turn six numbers into a motion, or into its translation alone. (..., 6) -> (..., 4, 4)"""
    share = vectors.new_tensor([float(turns)] * 3 + [1.0] * 3)
    return motion_from_vector(vectors * share)


def build_stabilized_pair(config: TrainConfig, shifts: tuple[int, ...]) -> StabilizedPair:
    """Make the task from its configuration, with random weights but for those it names.

    The first depth is set to something seen: at 0, where ELU + 1 ends, every pixel would leave the
    image and none teach.
    """
    model = config.model
    pairwise = model.pose_input == "pair"
    depth_net = build_pair_network(model.depth, model.width)
    for head in depth_net.heads:
        nn.init.constant_(head.bias, _FIRST_DEPTH)  # type: ignore[arg-type]
    return StabilizedPair(
        depth_net,
        build_pose_network(
            model.pose,
            frames=2 if pairwise else 1 + len(shifts),
            encoder_weights=model.pose_encoder_weights,
        ),
        stabilized=config.stabilized,
        loss=config.loss,
        supervised=config.supervised,
        shifts=shifts,
        pairwise=pairwise,
    )
