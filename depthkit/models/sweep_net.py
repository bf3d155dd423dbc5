# SPDX-License-Identifier: Apache-2.0
"""DepthNet that also takes the direction of motion, as a plane-sweep volume [Wang 2018].

Without the direction a network has to find the focus of expansion in the pictures before a parallax
means a depth, which takes most of a training. A robot's odometry knows it. Matching costs at a row
of depths (`multiview.plane_sweep`) then show locally what fits; DepthNet's layers [Pinard 2017a]
weigh them with all else they see. Depth stays depth at the nominal baseline.
"""

import numpy as np
import torch
from torch import Tensor, nn

from depthkit.models.depth_net import DepthNet
from depthkit.multiview.plane_sweep import PLANES, plane_inverse_depths, plane_sweep

_LEAST = 1e-6  # metres; a shorter baseline has no direction


class SweepNet(nn.Module):
    """DepthNet on two frames and the plane-sweep volume between them."""

    def __init__(self, width: float = 1.0) -> None:
        """Make the network with random weights. width: channels as a share of DepthNet's."""
        super().__init__()
        self.net = DepthNet(width, evidence=PLANES)

    @property
    def heads(self) -> nn.ModuleList:
        """The layers that give depth, finest first."""
        return self.net.heads

    def forward(self, previous: Tensor, current: Tensor, volume: Tensor) -> list[Tensor]:
        """Predict the depth of the current frame at the nominal baseline.

        Args:
            previous: RGB in [0, 1], turned as the current frame is. (B, 3, H, W), 32 pixels or more
            current: RGB in [0, 1]. (B, 3, H, W)
            volume: of `sweep_pairs`. (B, PLANES, H, W) uint8

        Returns:
            As `DepthNet.forward`.
        """
        cost = volume.float()
        return self.net(previous, current, (cost - cost.mean(1, keepdim=True)) / 25.5)


@torch.no_grad()
def sweep_pairs(
    previous: Tensor,
    current: Tensor,
    *,
    t_previous_current: Tensor,
    K: Tensor,
    nominal_baseline: float,
) -> Tensor:
    """Make the volumes of a batch, on the CPU.

    Args:
        previous, current: RGB in [0, 1], turned alike. (B, 3, H, W)
        t_previous_current: of any length: the direction counts; none where it is 0 or unknown
            (NaN), and all planes then show the unmoved frame. In the current frame's axes. (B, 3)
        K: intrinsics at H x W, pixels. (B, 3, 3)
        nominal_baseline: D0, metres.

    Returns:
        Costs. (B, PLANES, H, W) uint8
    """
    frames = [
        x.detach().mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        for x in (previous, current)
    ]
    t = t_previous_current.detach().double().cpu().numpy()
    length = np.linalg.norm(t, axis=1, keepdims=True)
    known = length > _LEAST  # False for NaN
    t = np.where(known, t * (nominal_baseline / np.where(known, length, 1)), 0.0)
    inverse_depths = plane_inverse_depths()
    volumes = [
        plane_sweep(a, b, t_previous_current=d, K=k, inverse_depths=inverse_depths)
        for a, b, d, k in zip(*frames, t, K.double().cpu().numpy(), strict=True)
    ]
    return torch.from_numpy(np.stack(volumes)).to(current.device)
