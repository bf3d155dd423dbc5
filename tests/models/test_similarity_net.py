# SPDX-License-Identifier: Apache-2.0
"""Extractors of descriptors: sizes, lengths, what they do not see, and the decision network."""

import pytest
import torch

from depthkit.errors import ConfigError, ShapeError
from depthkit.models.similarity_blocks import AttentionalFusion, AttentionGate
from depthkit.models.similarity_net import Decision, build_features_net, local_contrast

NAMES = ("small", "unet32", "attention", "ms_aff")
WEIGHTS = {"small": 204_128, "unet32": 8_635_712, "attention": 8_723_956, "ms_aff": 965_632}


def count(net):
    return sum(weight.numel() for weight in net.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_descriptors_of_any_size_have_length_one(name):
    """A picture of odd sides is described at every pixel, and every weight learns from it."""
    torch.manual_seed(0)
    net = build_features_net(name, channels=8)
    found = net(torch.rand(2, 3, 37, 43))
    assert found.shape == (2, 8, 37, 43) and found.dtype == torch.float32
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2, 37, 43), rtol=1e-4, atol=1e-4)
    (found * torch.rand_like(found)).sum().backward()
    assert all(weight.grad is not None for weight in net.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_the_paper_networks_have_their_size(name):
    """U-Net32 of 32 to 512 channels has 8.6 million weights, MS-AFF one, ours 0.2."""
    assert count(build_features_net(name, channels=32 if name == "small" else 64)) == WEIGHTS[name]


def test_another_name_is_refused():
    """With the key of the configuration."""
    with pytest.raises(ConfigError, match=r"model\.features: unknown extractor 'vgg'"):
        build_features_net("vgg", channels=32)
    with pytest.raises(ShapeError):
        build_features_net("small", channels=32)(torch.rand(1, 1, 32, 32))


def test_brightness_and_contrast_are_taken_out():
    """Half the contrast and another brightness give nearly the same; an even wall gives 0."""
    torch.manual_seed(0)
    grey = torch.rand(1, 1, 24, 24) * 0.5
    there, here = local_contrast(grey), local_contrast(0.5 * grey + 0.4)
    assert (there - here).abs().max() < 0.05 * there.abs().max()
    assert local_contrast(torch.full((1, 1, 12, 12), 0.7)).abs().max() < 1e-4


def test_fusion_keeps_what_both_say():
    """Two equal maps are fused to themselves, whatever the weights."""
    torch.manual_seed(0)
    fuse = AttentionalFusion(64).eval()
    same = torch.rand(1, 64, 5, 6)
    torch.testing.assert_close(fuse(same, same), same)


def test_a_gate_only_weakens():
    """What passes is a share of the skip, of its own sign."""
    torch.manual_seed(0)
    gate, skip = AttentionGate(8).eval(), torch.randn(1, 8, 5, 6)
    passed = gate(skip, torch.randn(1, 8, 5, 6))
    assert ((passed / skip > 0) & (passed / skip < 1)).all()
    torch.testing.assert_close(passed / skip, (passed / skip)[:, :1].expand_as(skip))


def test_the_decision_network_is_that_of_the_paper():
    """128 -> 384 -> 384 -> 384 -> 1 for descriptors of 64; one number a pair."""
    decide = Decision(64)
    assert count(decide) == (128 + 1) * 384 + 2 * (384 + 1) * 384 + 384 + 1
    assert decide(torch.rand(2, 5, 64), torch.rand(2, 5, 64)).shape == (2, 5)
