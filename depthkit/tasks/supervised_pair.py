# SPDX-License-Identifier: Apache-2.0
"""Depth of a pair of frames, learnt from known depth and motion [Pinard 2017a].

The truth is scaled to one nominal baseline, so the network learns depth per baseline, whatever the
direction of motion; at work the known baseline turns that into metres.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthkit.config import ModelConfig, SupervisedConfig
from depthkit.data.snippet import Snippet
from depthkit.geometry.projection import size_of
from depthkit.geometry.rotation import derotate
from depthkit.geometry.se3 import motion_from_vector
from depthkit.geometry.warp import resize
from depthkit.losses.supervised import build_loss, shrink_known
from depthkit.models.depth_net import FINEST, DepthNet
from depthkit.models.pair_networks import ask_pair_network, build_pair_network
from depthkit.models.sweep_net import SweepNet
from depthkit.tasks.output import Prediction, TaskOutput
from depthkit.tasks.precision import full_precision

LEAST_DEPTH = 1e-2  # metres at D0; the published head is ELU + 1.01
NO_TURN = 1e-6  # entries of R - I; a smaller rotation moves no pixel
STANDSTILL = 1e-6  # metres; a shorter baseline counts as none


class Truth(NamedTuple):
    """What the network should predict."""

    depth: Tensor
    """Metres at the nominal baseline, at most max_depth. (B, 1, H, W)"""
    known: Tensor
    """(B, 1, H, W) bool"""


class SupervisedPair(nn.Module):
    """The task; its network is `depth_net`. The snippet's first source is the other frame."""

    def __init__(self, depth_net: DepthNet | SweepNet, supervised: SupervisedConfig) -> None:
        super().__init__()
        self.depth_net, self.supervised = depth_net, supervised
        self.judge = build_loss(supervised.loss)

    def forward(self, snippet: Snippet, *, draws: bool = False) -> TaskOutput:
        """Predict the target's depth at the nominal baseline, and judge each scale."""
        # Rotation is taken out before the network: it learns translation alone.
        source, t_source_target = turned_source(snippet)
        if self.training and self.supervised.attitude_noise > 0:
            source = turn_slightly(source, snippet.K, degrees=self.supervised.attitude_noise)
        maps = ask_pair_network(
            self.depth_net,
            source,
            snippet.target,
            t_previous_current=t_source_target,
            K=snippet.K,
            nominal_baseline=self.supervised.nominal_baseline,
        )
        with full_precision(snippet.target.device):
            truth = self.truth(snippet)
            losses = [
                self.judge(depth, *shrink_known(*truth, FINEST * 2**level))
                for level, depth in enumerate(maps)
            ]
            weights = self.supervised.scale_weights
            loss = sum(
                (w * value for w, value in zip(weights, losses, strict=False)), 0 * losses[0]
            )
        terms = {
            "loss/finest": losses[0].detach(),
            "health/identity_error": (snippet.target - snippet.sources[:, 0]).abs().mean(),
        }
        pictures = self._pictures(snippet, maps[0], truth) if draws else {}
        prediction = None
        if not self.training:
            depth = self.enlarge(maps[0].detach(), size_of(snippet.target))
            known = truth.depth * truth.known
            prediction = Prediction("depth", depth, metric=True, truth=known)
        return TaskOutput(loss, loss.detach(), terms, prediction, pictures)

    def truth(self, snippet: Snippet) -> Truth:
        """Scale the known depth to the nominal baseline; see `nominal_truth`."""
        return nominal_truth(snippet, self.supervised)

    def enlarge(self, depth: Tensor, size: tuple[int, int]) -> Tensor:
        """Bring a finest map to the image's size, clipped; see `enlarge_inverse`."""
        return enlarge_inverse(depth, size).clamp(max=self.supervised.max_depth)

    @torch.no_grad()
    def _pictures(self, snippet: Snippet, depth: Tensor, truth: Truth) -> dict[str, Tensor]:
        farthest = self.supervised.max_depth
        return {
            "target": snippet.target,
            "source": snippet.sources[:, 0],
            "depth": (depth / farthest).clamp(0, 1),
            "truth": truth.depth / farthest,
        }


def turned_source(snippet: Snippet) -> tuple[Tensor, Tensor]:
    """Turn the source like the target by their known rotation; frames without one stay.

    Returns:
        image: (B, 3, H, W)
        t_source_target: in the axes that both then have, metres; NaN where unknown. (B, 3)
    """
    source, T = snippet.sources[:, 0], snippet.T_source_target_gt[:, 0]
    with full_precision(source.device):
        identity = torch.eye(3, device=T.device, dtype=T.dtype)
        known = T.isfinite().all(-1).all(-1)[:, None, None]
        R = torch.where(known, T[:, :3, :3], identity)
        t = (R.mT @ T[:, :3, 3:])[..., 0]
        if (R - identity).abs().max() < NO_TURN:
            return source, t
        return derotate(source.float(), R_target_source=R.mT, K=snippet.K).image, t


def turn_slightly(image: Tensor, K: Tensor, *, degrees: float) -> Tensor:
    """Turn each image of a batch by a random rotation, as an inexact attitude leaves one.

    Args:
        image: (B, 3, H, W)
        K: intrinsics, pixels. (B, 3, 3)
        degrees: each image draws a standard deviation, of all three axes, from 0 to this.

    Returns:
        The images turned, border colours outside. (B, 3, H, W)
    """
    with full_precision(image.device):
        deviation = math.radians(degrees) * torch.rand(len(image), 1, device=image.device)
        turn = deviation * torch.randn(len(image), 3, device=image.device)
        T = motion_from_vector(F.pad(turn, (0, 3)))
        return derotate(image.float(), R_target_source=T[:, :3, :3], K=K).image


def nominal_truth(snippet: Snippet, supervised: SupervisedConfig) -> Truth:
    """Scale the known depth to the nominal baseline: clip(Z D0 / |t|, 0, max_depth).

    A pair without motion has no finite depth: all of it is max_depth. A pair whose motion is not
    known has no truth.
    """
    farthest = supervised.max_depth
    t = snippet.T_source_target_gt[:, 0, :3, 3].norm(dim=-1)[:, None, None, None]
    still = t < STANDSTILL
    scaled = snippet.depth_gt * (supervised.nominal_baseline / t.clamp(min=STANDSTILL))
    depth = torch.where(still, farthest, scaled.clamp(0, farthest))
    known = snippet.valid & t.isfinite() & ((snippet.depth_gt > 0) | still)
    return Truth(depth.where(known, torch.zeros_like(depth)), known)


def enlarge_inverse(depth: Tensor, size: tuple[int, int], *, level: int = 0) -> Tensor:
    """Bring a map to the image's size, bilinearly in 1 / depth. (B, 1, h, w) -> (B, 1, H, W)

    A pixel of a map of DepthNet, level 0 the finest, covers FINEST * 2**level image pixels a side,
    the last ones perhaps in part.

    In 1 / depth is ours. Between a near thing and a far wall the mean of their depths is far, ten
    times the near one's; the mean of their inverse depths is half of it. With a map of 16 x 16 for
    64 x 64 pixels of Still Box the truth itself is wrong by 0.45 of the depth the one way, by 0.17
    the other.
    """
    inverse_depth = 1 / depth.clamp(min=LEAST_DEPTH)
    height, width = (side * FINEST * 2**level for side in depth.shape[-2:])
    return 1 / resize(inverse_depth, (height, width))[..., : size[0], : size[1]]


def build_supervised_pair(model: ModelConfig, supervised: SupervisedConfig) -> SupervisedPair:
    """Make the task from its configuration, with random weights."""
    return SupervisedPair(build_pair_network(model.depth, model.width), supervised)
