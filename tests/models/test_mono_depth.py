# SPDX-License-Identifier: Apache-2.0
"""Single-view depth networks: sizes, order of scales, range, weights counted by hand, precision."""

import pytest
import torch
from close import NETWORK, assert_close_to_largest

from depthkit.errors import ConfigError, ShapeError
from depthkit.models.mono_depth import DEPTH_NETWORKS, InverseDepthRange, build_depth_network

FAST = ("resnet18", "light", "dispnet")
ODD = (97, 131)


def build(name: str, **options) -> torch.nn.Module:
    """A network with random weights, 0.1 to 100 m."""
    torch.manual_seed(0)
    return build_depth_network(name, **({"min_depth": 0.1, "max_depth": 100.0} | options))


@pytest.mark.parametrize("name", DEPTH_NETWORKS)
def test_four_scales_finest_first_at_an_odd_size(name):
    """(97, 131) gives itself, then each half of the last, rounded up."""
    with torch.no_grad():
        maps = build(name).eval()(torch.rand(1, 3, *ODD))
    sizes = [(97, 131), (49, 66), (25, 33), (13, 17)]
    assert [tuple(m.shape) for m in maps] == [(1, 1, *size) for size in sizes]


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("size", [(33, 33), (64, 96), (33, 200)])
def test_small_and_wide_images_pass(name, size):
    """From 33 pixels a side on, every size works."""
    with torch.no_grad():
        assert build(name).eval()(torch.rand(1, 3, *size))[0].shape[-2:] == size


def test_too_small_images_are_refused_by_name():
    """At 32 pixels a side the U-Net's last map is one pixel, which has no reflection."""
    for name in ("resnet18", "light"):
        with pytest.raises(ShapeError, match="UNetDepth: image must be 33 pixels a side or more"):
            build(name)(torch.rand(1, 3, 32, 64))


@pytest.mark.parametrize("name", FAST)
def test_inverse_depth_stays_in_its_range(name):
    """Whatever the weights say, depth lies between its limits, in 32 bits."""
    net = build(name, min_depth=0.5, max_depth=20.0).eval()
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(3)
        for m in net(torch.rand(1, 3, 64, 96)):
            assert m.dtype == torch.float32 and m.isfinite().all()
            assert m.min() >= 1 / 20 - 1e-6 and m.max() <= 2 + 1e-6


def test_range_by_hand():
    """With 0.1 and 100 m a logit of 0 is 0.01 + 9.99 / 2, and the ends are the limits."""
    bounds = InverseDepthRange(0.1, 100.0)
    found = bounds(torch.tensor([0.0, -1e4, 1e4]))
    torch.testing.assert_close(found, torch.tensor([5.005, 0.01, 10.0]))
    assert bounds(torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.float32


@pytest.mark.parametrize("limits", [(0, 1), (-1, 1), (2, 1), (1, 1), (float("nan"), 1)])
def test_empty_range_is_refused(limits):
    """0 < min < max, said with the values."""
    with pytest.raises(ConfigError, match="0 < min_depth < max_depth must hold, got"):
        build("dispnet", min_depth=limits[0], max_depth=limits[1])


def convolutions(*layers: tuple[int, int, int]) -> int:
    """Weights of convolutions (kernel, in, out) with bias."""
    return sum(k * k * before * after + after for k, before, after in layers)


def test_dispnet_has_as_many_weights_as_zhous_figure():
    """Fig. 4a of [Zhou 2017], layer by layer: 31,596,900 weights."""
    down = [(7, 3, 32), (7, 32, 32), (5, 32, 64), (5, 64, 64), (3, 64, 128), (3, 128, 128)]
    down += [(3, 128, 256), (3, 256, 256), (3, 256, 512)] + 5 * [(3, 512, 512)]
    up = [(3, 512, 512), (3, 512, 512), (3, 512, 256), (3, 256, 128)]
    up += [(3, 128, 64), (3, 64, 32), (3, 32, 16)]
    join = [(3, 512 + 512, 512), (3, 512 + 512, 512), (3, 256 + 256, 256), (3, 128 + 128, 128)]
    join += [(3, 64 + 64 + 1, 64), (3, 32 + 32 + 1, 32), (3, 16 + 1, 16)]
    heads = [(3, 128, 1), (3, 64, 1), (3, 32, 1), (3, 16, 1)]
    expected = convolutions(*down, *up, *join, *heads)
    assert sum(p.numel() for p in build("dispnet").parameters()) == expected == 31_596_900


def test_unet_decoder_has_as_many_weights_as_by_hand():
    """Monodepth2's decoder on ResNet-18, four heads: 3.15 M beside the encoder."""
    net = build("resnet18")
    decoder = sum(p.numel() for p in net.parameters()) - sum(
        p.numel() for p in net.encoder.parameters()
    )
    before = [(3, 512, 256), (3, 256, 128), (3, 128, 64), (3, 64, 32), (3, 32, 16)]
    after = [(3, 256 + 256, 256), (3, 128 + 128, 128), (3, 64 + 64, 64), (3, 32 + 64, 32)]
    after += [(3, 16, 16)]
    heads = [(3, 16, 1), (3, 32, 1), (3, 64, 1), (3, 128, 1)]
    assert decoder == convolutions(*before, *after, *heads)


@pytest.mark.parametrize("name", FAST)
def test_bf16_networks_answer_in_32_bits(name):
    """Under autocast the answer is float32, finite, and near the one in full precision."""
    net, image = build(name).eval(), torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        full = net(image)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = net(image)
    for a, b in zip(full, half, strict=True):
        assert b.dtype == torch.float32 and b.isfinite().all()
        assert (a - b).abs().mean() < 0.05 * a.mean()


@pytest.mark.parametrize("name", FAST)
def test_all_weights_learn(name):
    """A loss on the four maps reaches every parameter, finitely."""
    net = build(name)
    maps = net(torch.rand(2, 3, 64, 96))
    sum((m.log() - 1).square().mean() for m in maps).backward()
    for key, p in net.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all(), key


@pytest.mark.parametrize("name", FAST)
def test_images_of_a_batch_do_not_mix(name):
    """In evaluation the answer for an image is the same alone and in company."""
    net, image = build(name).eval(), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert_close_to_largest(net(image)[0][1:], net(image[1:])[0], relative=NETWORK)


@pytest.mark.parametrize("name", FAST)
def test_a_stack_of_frames_is_refused(name):
    """Six channels are two frames: a single-view network says so."""
    with pytest.raises(ShapeError, match=r"image must be \(B, 3, H, W\), got \(1, 6, 64, 64\)"):
        build(name)(torch.rand(1, 6, 64, 64))


def test_unknown_names_and_weights_that_do_not_exist_are_refused():
    """The choices are told; DispNetS has no ImageNet weights."""
    with pytest.raises(ConfigError, match="unknown encoder 'vgg'"):
        build("vgg")
    with pytest.raises(ConfigError, match="'dispnet' has no ImageNet weights"):
        build("dispnet", encoder_weights="imagenet")
