# SPDX-License-Identifier: Apache-2.0
"""Motion that the data knows, as it is or with a small learnt correction for each pair of frames.

Poses of an odometry or a sensor are off by a little, and depth that must explain the frames with
them pays for it. `refined` multiplies each motion by exp(xi): six numbers a pair, from a table that
belongs to the training set, drawn to zero by a prior. Ours; pose refinement beside a network is
known from radiance fields [Lin 2021, BARF].
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from depthkit.config import LossConfig
from depthkit.data.snippet import Snippet
from depthkit.errors import EngineError
from depthkit.geometry.se3 import exp_se3
from depthkit.models.pose_net import EncoderPose, FlowPose, PoseNet

PoseNetwork = EncoderPose | PoseNet | FlowPose

TABLE = "motion.table"
"""Name of the corrections among the weights of a task: of no use on other data."""
REACH = 0.02
"""Correction at a table entry of 1: rad, and share of the usual depth. Adam moves an entry that is
visited now and then by up to 30 learning rates a visit: 0.03 degrees at 1e-3."""


class KnownMotion(nn.Module):
    """Gives the motions of a snippet; its table exists where it refines and is trained."""

    table: nn.Parameter | None
    """Corrections of the training set's pairs, in units of `REACH`. (pairs, 6)"""

    def __init__(self, *, prior: float) -> None:
        super().__init__()
        self.prior_weight = prior
        self.depth = 1.0
        self.register_parameter("table", None)

    def add_table(self, pairs: int, *, depth: float) -> None:
        """Begin to refine.

        Args:
            pairs: target-source pairs of the training set.
            depth: usual depth, unit of the motions: what a translation is a share of.
        """
        self.table, self.depth = nn.Parameter(torch.zeros(pairs, 6)), depth

    def forward(self, snippet: Snippet) -> Snippet:
        """Return the snippet with the motions to be used; held-out ones are never corrected."""
        if self.table is None or not self.training:
            return snippet
        # 1. The pairs' own six numbers: rotation, then translation.
        xi = REACH * self.table[snippet.pairs]  # (B, S, 6)
        # 2. Seen in a mirror M: the rotation is a pseudovector, w' = det(M) M w, v' = M v.
        axes = snippet.axes[:, None]
        turned = axes * axes.prod(-1, keepdim=True)
        xi = xi * torch.cat([turned, self.depth * axes], -1)
        # 3. Applied in the source's axes.
        return replace(snippet, T_source_target_gt=exp_se3(xi) @ snippet.T_source_target_gt)

    def prior(self, snippet: Snippet) -> dict[str, Tensor]:
        """Return the term that draws the corrections of these pairs to zero."""
        if self.table is None or not self.training:
            return {}
        return {"motion_prior": self.prior_weight * self.table[snippet.pairs].square().mean()}


def build_known_motion(loss: LossConfig) -> KnownMotion | None:
    """Make the motion of a task; None where a pose network learns it."""
    return None if loss.motion == "learnt" else KnownMotion(prior=loss.motion_prior)


def require_pose_net(net: PoseNetwork | None) -> PoseNetwork:
    """Return the pose network of a task.

    Raises:
        EngineError: the task was trained on known motion.
    """
    if net is None:
        raise EngineError(
            "there is no pose network: the run was trained on known motion (loss.motion); give "
            "poses, or take motion from 'depthkit odometry'"
        )
    return net
