# SPDX-License-Identifier: Apache-2.0
"""The shading network: any size, range and gamma by hand, its weight, precision, learning."""

import pytest
import torch
import torchvision
from close import NETWORK, assert_close_to_largest
from torch import nn

from depthkit.errors import ConfigError, ShapeError
from depthkit.models.shading_net import Depthwise, EfficientEncoder, ShadingNet

SHIPPED_BYTES = 12_000_000


def build(**options) -> ShadingNet:
    """A network with random weights, 1 mm to 25 cm."""
    torch.manual_seed(0)
    return ShadingNet(**({"min_depth": 0.001, "max_depth": 0.25} | options))


@pytest.mark.parametrize("size", [(1, 1), (31, 33), (64, 96), (97, 50)])
def test_every_size_is_taken_and_kept(size):
    """Sizes that 32 does not divide are padded and cut, never refused; one map comes back."""
    with torch.no_grad():
        maps = build().eval()(torch.rand(1, 3, *size))
    assert [tuple(m.shape) for m in maps] == [(1, 1, *size)]


def test_padding_repeats_the_border():
    """An odd image is answered as the same image with its last row and column repeated."""
    net, image = build().eval(), torch.rand(1, 3, 33, 62)
    by_hand = torch.cat([image, image[..., -1:].expand(-1, -1, -1, 2)], -1)
    by_hand = torch.cat([by_hand, by_hand[..., -1:, :].expand(-1, -1, 31, -1)], -2)
    with torch.no_grad():
        expected = net(by_hand)[0][..., :33, :62]
        assert_close_to_largest(net(image)[0], expected, relative=NETWORK)


def test_range_by_hand():
    """A logit of 0 is e = (e_min + 1) / 2 and depth 0.25 e^1.5; the ends are the limits."""
    net, image = build(min_depth=0.25 / 8, max_depth=0.25).eval(), torch.rand(1, 3, 32, 32)
    nn.init.zeros_(net.head.weight)  # e_min = (1 / 8)^(2 / 3) = 1 / 4
    for bias, depth in ((0.0, 0.25 * 0.625**1.5), (-1e4, 0.25 / 8), (1e4, 0.25)):
        nn.init.constant_(net.head.bias, bias)
        with torch.no_grad():
            found = 1 / net(image)[0]
        torch.testing.assert_close(found, torch.full((1, 1, 32, 32), depth))


def test_depth_stays_in_its_range():
    """Whatever the weights say, depth lies between its limits."""
    net = build().train()
    with torch.no_grad():
        net.head.weight.mul_(100)
        inverse_depth = net(torch.rand(2, 3, 64, 64))[0]
    assert inverse_depth.isfinite().all()
    assert inverse_depth.min() >= 4 * (1 - 1e-5) and inverse_depth.max() <= 1000 * (1 + 1e-5)


@pytest.mark.parametrize("limits", [(0, 1), (-1, 1), (2, 1), (1, 1), (float("nan"), 1)])
def test_an_empty_range_is_refused(limits):
    """0 < min < max, said with the values."""
    with pytest.raises(ConfigError, match="0 < min_depth < max_depth must hold, got"):
        build(min_depth=limits[0], max_depth=limits[1])


def test_it_ships_under_twelve_megabytes():
    """In fp16, statistics of the normalisation too, it is below the limit."""
    tensors = build().state_dict().values()
    assert sum(2 * t.numel() for t in tensors) < SHIPPED_BYTES


def test_weights_counted_by_hand():
    """B0 is 5,288,548 weights; its classifier, (1280 + 1) x 1000, and last layer, 320 x 1280 and
    2 x 1280, go; the decoder has 3 x 3 kernels without bias, a normalisation each, and a head."""
    encoder = 5_288_548 - 1281 * 1000 - 320 * 1280 - 2 * 1280
    layers = ((320 + 112, 128), (128 + 40, 64), (64 + 24, 48), (48 + 16, 32))
    decoder = sum(9 * before * after + 2 * after for before, after in layers) + 9 * 32 + 1
    assert sum(p.numel() for p in build().parameters()) == encoder + decoder == 4_247_101


def test_the_encoder_is_torchvisions():
    """With its weights and names, the stages end to end are torchvision's features but the last."""
    torch.manual_seed(0)
    theirs = torchvision.models.efficientnet_b0(weights=None).features[:8].eval()
    ours = EfficientEncoder().eval()
    flat = [layer for stage in ours.stages for layer in stage]
    nn.Sequential(*flat).load_state_dict(theirs.state_dict(), strict=True)
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        maps = ours(image)
        expected = theirs((image - 0.45) / 0.225)
        assert_close_to_largest(maps[-1], expected, relative=NETWORK)
    shapes = [(c, 64 // 2**i, 96 // 2**i) for i, c in enumerate(ours.channels, 1)]
    assert [tuple(m.shape[1:]) for m in maps] == shapes


def test_no_block_is_dropped_at_random():
    """In training mode the same batch gives the same answer twice."""
    net, image = build().train(), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(net(image)[0], net(image)[0], atol=0, rtol=0)


def test_bf16_answers_in_32_bits_and_keeps_depthwise_layers_there():
    """Under autocast the answer is float32 and near the one in full precision."""
    net, image = build().eval(), torch.rand(1, 3, 64, 96)
    kinds = set()
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            assert isinstance(module, Depthwise)
            module.register_forward_hook(lambda _m, _x, y: kinds.add(y.dtype))
    with torch.no_grad():
        full = net(image)[0]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = net(image)[0]
    assert half.dtype == torch.float32 and kinds == {torch.float32}
    assert (full - half).abs().mean() < 0.05 * full.mean()


def test_all_weights_learn():
    """A loss on the map reaches every parameter, finitely."""
    net = build().train()
    net(torch.rand(2, 3, 64, 64))[0].log().square().mean().backward()
    for key, p in net.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all(), key


def test_images_of_a_batch_do_not_mix():
    """In evaluation the answer for an image is the same alone and in company."""
    net, image = build().eval(), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert_close_to_largest(net(image)[0][1:], net(image[1:])[0], relative=NETWORK)


def test_a_stack_of_frames_is_refused():
    """Six channels are two frames: the network says so."""
    with pytest.raises(ShapeError, match=r"ShadingNet: image must be \(B, 3, H, W\)"):
        build()(torch.rand(1, 6, 64, 64))
