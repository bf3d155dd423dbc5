# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from depthkit.errors import ConfigError
from depthkit.models.depth_net import DepthNet
from depthkit.models.pair_networks import ask_pair_network, build_pair_network
from depthkit.models.sweep_net import SweepNet, sweep_pairs
from depthkit.multiview.plane_sweep import PLANES

K = torch.tensor([[32.0, 0, 31.5], [0, 32, 31.5], [0, 0, 1]])


def pairs(count: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    frames = torch.rand(2, count, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    return frames[0], frames[1]


def ask(net: DepthNet | SweepNet, t: list[list[float]]) -> torch.Tensor:
    previous, current = pairs(len(t))
    return ask_pair_network(
        net,
        previous,
        current,
        t_previous_current=torch.tensor(t),
        K=K.repeat(len(t), 1, 1),
        nominal_baseline=0.3,
    )[0]


def test_networks_are_made_by_name() -> None:
    """Both pair networks are there; an unknown name is one line with the choices."""
    assert isinstance(build_pair_network("depthnet", 0.25), DepthNet)
    assert isinstance(build_pair_network("sweepnet", 0.25), SweepNet)
    with pytest.raises(ConfigError, match="depthnet, sweepnet"):
        build_pair_network("flownet")


def test_the_volume_knows_direction_and_not_length() -> None:
    """Twice the motion in the same direction is the same volume; another direction is another."""
    previous, current = pairs(3)
    t = torch.tensor([[0.1, 0, 0], [0.2, 0, 0], [0, 0.1, 0]])
    same = previous[:1].repeat(3, 1, 1, 1), current[:1].repeat(3, 1, 1, 1)
    volume = sweep_pairs(*same, t_previous_current=t, K=K.repeat(3, 1, 1), nominal_baseline=0.3)
    assert volume.shape == (3, PLANES, 64, 64) and volume.dtype == torch.uint8
    assert torch.equal(volume[0], volume[1]) and not torch.equal(volume[0], volume[2])


def test_a_pair_without_known_motion_has_planes_alike() -> None:
    """Neither a still pair nor an unknown motion (NaN) may look like a depth."""
    previous, current = pairs(2)
    t = torch.tensor([[0.0, 0, 0], [float("nan")] * 3])
    volume = sweep_pairs(
        previous, current, t_previous_current=t, K=K.repeat(2, 1, 1), nominal_baseline=0.3
    )
    assert (volume == volume[:, :1]).all()


def test_sweepnet_sees_the_direction_and_depthnet_does_not() -> None:
    """The same frames with another direction of motion change SweepNet's answer alone."""
    torch.manual_seed(0)
    for name, differs in (("sweepnet", True), ("depthnet", False)):
        net = build_pair_network(name, 0.25).eval()
        with torch.no_grad():
            one, other = ask(net, [[0.1, 0, 0]]), ask(net, [[0, 0, 0.1]])
        assert one.shape == (1, 1, 16, 16)
        assert torch.equal(one, other) is not differs


def test_sweepnet_learns_from_every_layer() -> None:
    """Each weight gets a gradient, those that read the volume too."""
    net = build_pair_network("sweepnet", 0.25).train()
    previous, current = pairs(2)
    volume = torch.randint(0, 255, (2, PLANES, 64, 64), dtype=torch.uint8)
    sum(m.mean() for m in net(previous, current, volume)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
