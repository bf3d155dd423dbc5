# SPDX-License-Identifier: Apache-2.0
"""DepthNet: the published layout, any size, depth above zero, and what it is blind to."""

import pytest
import torch
from close import NETWORK, assert_close_to_largest

from depthkit.errors import ConfigError, ShapeError
from depthkit.models.depth_net import DepthNet


def count(net: DepthNet) -> int:
    """Return the number of weights."""
    return sum(p.numel() for p in net.parameters())


@pytest.fixture(scope="module")
def small() -> DepthNet:
    """An eighth of the channels."""
    torch.manual_seed(0)
    return DepthNet(0.125)


def test_the_published_size():
    """10.29 million weights at full width, with batch normalisation or without."""
    assert count(DepthNet(normalise=False)) / 1e6 == pytest.approx(10.29, abs=0.005)
    assert count(DepthNet()) / 1e6 == pytest.approx(10.29, abs=0.005)


def test_the_published_layers():
    """Features of 97, 193, 385, 513 and 512 channels below the heads; all kernels 3 or 4."""
    net = DepthNet()
    assert [head.in_channels for head in net.heads] == [97, 193, 385, 513, 512]
    first, norm = net.down[0][0], net.down[0][1]
    assert first.in_channels == 6 and first.bias is None and norm.eps == 1e-3
    kernels = {m.kernel_size for m in net.modules() if hasattr(m, "kernel_size")}
    assert kernels == {(3, 3), (4, 4)}
    assert all(up.bias is None for up in net.raise_depth)


def test_weights_grow_with_the_square_of_the_width():
    """Half the channels are a quarter of the weights."""
    assert count(DepthNet(0.5)) / count(DepthNet()) == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (70, 97), (128, 416), (33, 200)])
def test_any_size_goes_in(small, size):
    """Five maps when training, the finest when not; a map's pixel covers 4, 8, ... of the image."""
    frames = torch.rand(2, 2, 3, *size)
    for training, count in ((True, 5), (False, 1)):
        maps = small.train(training)(*frames)
        assert len(maps) == count
        for level, depth in enumerate(maps):
            step = 4 * 2**level
            assert depth.shape == (2, 1, -(-size[0] // step), -(-size[1] // step))
            assert depth.dtype == torch.float32 and (depth > 0).all()


def test_filling_up_repeats_the_border(small):
    """A frame of 70 rows is answered as the one of 128 rows with its last row repeated."""
    small.eval()
    previous, current = torch.rand(2, 1, 3, 70, 64)
    filled = [torch.cat([f, f[..., -1:, :].expand(-1, -1, 58, -1)], 2) for f in (previous, current)]
    by_hand = small(*filled)[0][..., :18, :]
    assert_close_to_largest(small(previous, current)[0], by_hand, relative=NETWORK)


def test_order_matters(small):
    """The other way round is another pair: which frame is depth's own must be told apart."""
    small.eval()
    a, b = torch.rand(2, 1, 3, 64, 64)
    assert (small(a, b)[0] - small(b, a)[0]).abs().max() > 1e-4


def test_sixteen_bits_end_before_the_heads(small):
    """Under autocast depth still has 32 bits, not steps of half a metre at 100 m."""
    frames = torch.rand(2, 2, 3, 64, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        depth = small.train()(*frames)[0]
    assert depth.dtype == torch.float32
    assert (depth != depth.bfloat16().float()).any()


def test_every_weight_gets_a_gradient():
    """Nothing of the network is dead when all five maps are judged."""
    net = DepthNet(0.125)
    sum(depth.mean() for depth in net(*torch.rand(2, 4, 3, 64, 64))).backward()
    assert [n for n, p in net.named_parameters() if p.grad is None] == []


def test_arguments_are_not_edited(small):
    """The frames stay as they were."""
    frames = torch.rand(2, 1, 3, 64, 64)
    kept = frames.clone()
    small.eval()(*frames)
    assert torch.equal(frames, kept)


def test_bad_input_is_named(small):
    """Frames below 32 pixels, two sizes, a width of nothing."""
    with pytest.raises(ShapeError, match=r"32 pixels a side or more, got \(31, 64\)"):
        small(*torch.rand(2, 1, 3, 31, 64))
    with pytest.raises(ShapeError, match="DepthNet: current must be"):
        small(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 128))
    with pytest.raises(ConfigError, match="width must be above 0"):
        DepthNet(0)
