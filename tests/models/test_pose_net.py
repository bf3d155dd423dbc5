# SPDX-License-Identifier: Apache-2.0
"""Pose networks: one small motion for each source, explainability maps, weights counted by hand."""

import pytest
import torch

from depthkit.errors import ConfigError, ShapeError
from depthkit.models.pose_net import build_pose_network

FAST = ("resnet18", "light", "posenet")
ODD = (97, 131)


def build(name: str, **options) -> torch.nn.Module:
    """A network with random weights, in evaluation."""
    torch.manual_seed(0)
    return build_pose_network(name, **options).eval()


@pytest.mark.parametrize("name", (*FAST, "resnet50"))
@pytest.mark.parametrize("frames", [2, 3])
def test_six_numbers_a_source(name, frames):
    """Frames - 1 motions of six numbers, at an odd size too, and no maps unless asked."""
    with torch.no_grad():
        answer = build(name, frames=frames)(torch.rand(2, 3 * frames, *ODD))
    assert answer.motions.shape == (2, frames - 1, 6)
    assert answer.explainability is None


@pytest.mark.parametrize("name", FAST)
def test_training_starts_near_rest(name):
    """Fresh weights answer with less than a tenth of a radian or unit."""
    with torch.no_grad():
        motions = build(name, frames=3)(torch.rand(4, 9, 64, 96)).motions
    assert 0 < motions.abs().max() < 0.1


@pytest.mark.parametrize("name", FAST)
def test_order_of_frames_matters(name):
    """Swapping the two frames is another question."""
    a, b = torch.rand(2, 1, 3, 64, 96)
    net = build(name).train()  # batch norm of fresh weights does not scale in evaluation
    with torch.no_grad():
        forth, back = net(torch.cat([a, b], 1)).motions, net(torch.cat([b, a], 1)).motions
    assert (forth - back).abs().max() > 1e-7


def convolutions(*layers: tuple[int, int, int]) -> int:
    """Weights of convolutions (kernel, in, out) with bias."""
    return sum(k * k * before * after + after for k, before, after in layers)


@pytest.mark.parametrize("sources", [1, 2, 4])
def test_posenet_has_as_many_weights_as_zhous_figure(sources):
    """Fig. 4b of [Zhou 2017]: seven strided convolutions and a 1x1 to six numbers a source."""
    layers = [(7, 3 * (sources + 1), 16), (5, 16, 32), (3, 32, 64), (3, 64, 128), (3, 128, 256)]
    layers += [(3, 256, 256), (3, 256, 256), (1, 256, 6 * sources)]
    net = build("posenet", frames=sources + 1)
    assert sum(p.numel() for p in net.parameters()) == convolutions(*layers)


def test_explainability_adds_its_branch():
    """Five 4x4 upconvolutions and four heads of one map a source."""
    branch = [(4, 256, 256), (4, 256, 128), (4, 128, 64), (4, 64, 32), (4, 32, 16)]
    branch += [(3, w, 2) for w in (16, 32, 64, 128)]
    plain, full = build("posenet", frames=3), build("posenet", frames=3, explainability=True)
    extra = sum(p.numel() for p in full.parameters()) - sum(p.numel() for p in plain.parameters())
    assert extra == convolutions(*branch)


def test_explainability_maps_have_the_scales_of_depth():
    """One map a source at 1, 1/2, 1/4, 1/8, rounded up as the depth networks do, in (0, 1)."""
    net = build("posenet", frames=3, explainability=True)
    with torch.no_grad():
        answer = net(torch.rand(2, 9, *ODD))
    sizes = [(97, 131), (49, 66), (25, 33), (13, 17)]
    assert [tuple(m.shape) for m in answer.explainability] == [(2, 2, *s) for s in sizes]
    for m in answer.explainability:
        assert m.dtype == torch.float32 and (m > 0).all() and (m < 1).all()


@pytest.mark.parametrize("name", FAST)
def test_bf16_networks_answer_in_32_bits(name):
    """Under autocast motions and maps are float32 and finite."""
    net = build(name, frames=3, explainability=name == "posenet")
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        answer = net(torch.rand(1, 9, 64, 96))
    for tensor in (answer.motions, *(answer.explainability or [])):
        assert tensor.dtype == torch.float32 and tensor.isfinite().all()


@pytest.mark.parametrize("name", FAST)
def test_all_weights_learn(name):
    """A loss on motions and maps reaches every parameter, finitely."""
    net = build(name, explainability=name == "posenet").train()
    answer = net(torch.rand(2, 6, 64, 96))
    loss = (answer.motions - 1).square().sum()
    (loss + sum(m.log().mean() for m in answer.explainability or [])).backward()
    for key, p in net.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all(), key


def test_wrong_number_of_frames_is_named():
    """Three frames for a network of two stop at the door."""
    with pytest.raises(ShapeError, match=r"PoseNet: frames must be \(B, 6, H, W\), got \(1, 9, "):
        build("posenet")(torch.rand(1, 9, 64, 96))


def test_parts_a_network_does_not_have_are_refused():
    """Explainability is Zhou's; ImageNet weights are the ResNets'; names are told."""
    with pytest.raises(ConfigError, match="explainability needs the pose network 'posenet'"):
        build("resnet18", explainability=True)
    with pytest.raises(ConfigError, match="'posenet' has no ImageNet weights"):
        build("posenet", encoder_weights="imagenet")
    with pytest.raises(ConfigError, match="unknown encoder 'vgg'"):
        build("vgg")
