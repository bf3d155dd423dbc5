# SPDX-License-Identifier: Apache-2.0
"""Depth of a pair of frames, learnt without labels [Pinard 2018].

A pose network predicts how the camera moved between the frames of a window. One of them, the
reference, is turned like the target, and the pair network predicts the target's depth from the two.
All translations are scaled so that the pair is one nominal baseline D0 apart: the prediction is
depth per baseline, and at work the measured distance turns it into metres. The depth is judged by
rebuilding the target from ALL other frames of the window.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthkit.config import LossConfig, StabilizedConfig, SupervisedConfig, TrainConfig
from depthkit.data.snippet import Snippet
from depthkit.geometry.projection import displacement, size_of
from depthkit.geometry.se3 import inverse, motion_from_vector, rigid_motion
from depthkit.losses.motion import rotation_loss
from depthkit.models.depth_net import DepthNet
from depthkit.models.pair_networks import ask_pair_network, build_pair_network
from depthkit.models.pose_net import EncoderPose, FlowPose, PoseNet, build_pose_network
from depthkit.models.sweep_net import SweepNet
from depthkit.tasks.known_motion import build_known_motion, require_pose_net
from depthkit.tasks.output import Prediction, TaskOutput
from depthkit.tasks.pictures import nearness_picture
from depthkit.tasks.precision import full_precision
from depthkit.tasks.rebuilding import (
    Rebuilt,
    Views,
    balance,
    levels_of,
    rebuild,
    smoothness,
    still_loss,
)
from depthkit.tasks.supervised_pair import LEAST_DEPTH, enlarge_inverse, nominal_truth
from depthkit.tasks.window import Window, normalise_baseline, turn, window_of

_FIRST_DEPTH = 10.0  # metres at D0, about what the untrained network predicts


class StabilizedPair(nn.Module):
    """The task; its two networks are `depth_net` and, where motion is learnt, `pose_net`."""

    def __init__(
        self,
        depth_net: DepthNet | SweepNet,
        pose_net: EncoderPose | PoseNet | FlowPose | None,
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
        self.motion = build_known_motion(loss)
        self.nominal_baseline, self.max_depth = supervised.nominal_baseline, supervised.max_depth

    def forward(self, snippet: Snippet, *, draws: bool = False) -> TaskOutput:
        """Predict motions, then the target's depth, and rebuild it from all other frames."""
        device = snippet.target.device
        with full_precision(device):
            if self.motion is not None:
                snippet = self.motion(snippet)
            window = self._choose_window(snippet)
        # Motions first: depth learns from frames that they have turned alike, and not through them.
        still = self._draw_still(window)
        T_others_target = self.predict_motions(window, snippet.K)
        maps = self._look(window, T_others_target.detach(), snippet.K, window.reference, still)
        maps = maps[: self.loss.scales]
        with full_precision(device):
            maps = [balance(depth.float().clamp(min=LEAST_DEPTH)) for depth in maps]
            # All translations at one scale: the pair is D0 apart.
            views = self._views(window, T_others_target, snippet, ~still)
            judged = [
                (weight, rebuild(depth, views, self.loss))
                for weight, depth in levels_of(
                    maps, size_of(window.target), full_resolution=self.loss.full_resolution
                )
            ]
            terms = self._terms(judged, maps, window, still)
            if self.loss.rotation_weight > 0:
                terms["rotation"] = self.loss.rotation_weight * rotation_loss(
                    T_others_target.flatten(0, 1),
                    window.T_others_target_gt.flatten(0, 1),
                    window.known.flatten(),
                )
            if self.motion is not None:
                terms |= self.motion.prior(snippet)
        loss = torch.stack(list(terms.values())).sum()
        # A NaN motion makes no pixel valid and so no term NaN: it must show, or backward crashes.
        loss = loss + 0 * T_others_target.sum()
        logged = {f"loss/{name}": value.detach() for name, value in terms.items()}
        return self._output(loss, logged, maps[0], judged[0][1], snippet, draws)

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
        predicts the translation alone; where that is measured too, it is not run. Known motion
        (loss.motion) is the window's own.
        """
        if self.motion is not None:
            return window.T_others_target_gt
        if self.stabilized.orientation == "network":
            return self._predict(window, window.others, turns=True)
        if self.stabilized.measured_translation:
            return window.T_others_target_gt
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
        vectors = require_pose_net(self.pose_net)(torch.cat([frames[i] for i in order], 1)).motions
        with full_precision(window.target.device):
            T_frame_last = _motions(F.pad(vectors.float(), (0, 0, 0, 1)), turns)  # the last: none
            place = {frame: k for k, frame in enumerate(order)}
            chosen = T_frame_last[:, [place[i] for i in range(len(frames))]]
            return chosen[:, 1:] @ inverse(chosen[:, :1])

    def pair_motion(self, pairs: Tensor, *, turns: bool = True) -> Tensor:
        """Predict T_later_earlier of pairs stacked in time order. (N, 6, H, W) -> (N, 4, 4)"""
        vectors = require_pose_net(self.pose_net)(pairs).motions[:, 0]
        with full_precision(pairs.device):
            return _motions(vectors, turns)

    # --- judging ----------------------------------------------------------------------------------

    def _views(
        self, window: Window, T_others_target: Tensor, snippet: Snippet, moves: Tensor
    ) -> Views:
        """Scale the motions to the nominal baseline, and find the pixels that may teach."""
        teaches = moves
        lengths = None
        if self.stabilized.measured_displacement:
            lengths = window.T_others_target_gt[..., :3, 3].norm(dim=-1)
        measured = self.motion is not None or self.stabilized.orientation == "measured"
        if lengths is not None or measured:
            teaches = teaches & window.known.all(1)
        T = normalise_baseline(
            T_others_target, window.reference, self.nominal_baseline, lengths=lengths
        )
        valid = snippet.valid & teaches[:, None, None, None]
        return Views(window.target, window.others, T, snippet.K, valid)

    def _terms(
        self,
        judged: list[tuple[float, Rebuilt]],
        maps: list[Tensor],
        window: Window,
        still: Tensor,
    ) -> dict[str, Tensor]:
        terms = {"photometric": torch.stack([w * rebuilt.error for w, rebuilt in judged]).sum()}
        if self.loss.smoothness_weight > 0:
            costs = [
                smoothness(self.loss.smoothness, 1 / depth, window.target) / 2**level
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
        rebuilt: Rebuilt,
        snippet: Snippet,
        draws: bool,
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
        pictures = {}
        if draws:
            pictures = {
                "target": rebuilt.target,
                "rebuilt": warped.image[: len(finest)],
                "inverse_depth": nearness_picture(1 / finest),
            }
        judged = logged["loss/photometric"]
        prediction = None if self.training else self._predicted(finest, snippet)
        return TaskOutput(loss, judged, logged | health, prediction, pictures)

    def _predicted(self, finest: Tensor, snippet: Snippet) -> Prediction:
        """Bring the finest map to full size, beside the truth at the nominal baseline."""
        depth = self.enlarge(finest, size_of(snippet.target))
        truth = nominal_truth(snippet, self.supervised)
        return Prediction("depth", depth, metric=True, truth=truth.depth * truth.known)


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
        None
        if config.loss.knows_motion
        else build_pose_network(
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
