# SPDX-License-Identifier: Apache-2.0
"""The networks that take a pair of frames, chosen by name, and one way to ask either."""

from torch import Tensor

from depthkit.errors import ConfigError
from depthkit.models.depth_net import DepthNet
from depthkit.models.sweep_net import SweepNet, sweep_pairs

PAIR_NETWORKS = ("depthnet", "sweepnet")


def build_pair_network(name: str, width: float = 1.0) -> DepthNet | SweepNet:
    """Make a pair network by name, one of PAIR_NETWORKS, with random weights.

    Raises:
        ConfigError: unknown name.
    """
    match name:
        case "depthnet":
            return DepthNet(width)
        case "sweepnet":
            return SweepNet(width)
    raise ConfigError(f"unknown pair network {name!r}; choose from {', '.join(PAIR_NETWORKS)}")


def ask_pair_network(
    net: DepthNet | SweepNet,
    previous: Tensor,
    current: Tensor,
    *,
    t_previous_current: Tensor,
    K: Tensor,
    nominal_baseline: float,
) -> list[Tensor]:
    """Predict the depth of the current frame, telling the direction to a network that takes it.

    Arguments as `sweep_pairs`, result as `DepthNet.forward`.
    """
    if not isinstance(net, SweepNet):
        return net(previous, current)
    volume = sweep_pairs(
        previous,
        current,
        t_previous_current=t_previous_current,
        K=K,
        nominal_baseline=nominal_baseline,
    )
    return net(previous, current, volume)
