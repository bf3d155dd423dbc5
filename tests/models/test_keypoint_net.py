# SPDX-License-Identifier: Apache-2.0
"""Networks of keypoints: shapes, where their outputs lie, and what light does to them."""

import pytest
import torch

from depthkit.errors import ConfigError, ShapeError
from depthkit.models.keypoint_net import build_keypoint_net, level_brightness


def build(name: str):
    """A small network with random weights, in evaluation mode."""
    torch.manual_seed(0)
    return build_keypoint_net(name, channels=16, width=0.25).eval()


@pytest.mark.parametrize(("name", "stride"), [("light", 4), ("vgg", 1)])
def test_shapes_and_lengths(name, stride):
    """A logit for each pixel, descriptors of length 1 on their grid."""
    net = build(name)
    with torch.no_grad():
        found = net(torch.rand(2, 3, 40, 56))
    assert net.stride == stride
    assert found.logits.shape == (2, 1, 40, 56)
    assert found.descriptors.shape == (2, 16, 40 // stride, 56 // stride)
    torch.testing.assert_close(
        found.descriptors.norm(dim=1), torch.ones(2, 40 // stride, 56 // stride)
    )


@pytest.mark.parametrize("name", ["light", "vgg"])
def test_outputs_move_with_the_picture(name):
    """A picture moved by 16 pixels gives the same numbers moved by 16, away from the borders: the
    logit of a pixel and the descriptor of a block lie where they say."""
    net = build(name)
    torch.manual_seed(3)
    middle = torch.rand(1, 3, 32, 32)
    pictures = torch.zeros(2, 3, 160, 160) + 0.5
    pictures[0, :, 48:80, 48:80] = middle
    pictures[1, :, 64:96, 64:96] = middle
    with torch.no_grad():
        logits, descriptors = net(pictures)
    step = 16 // net.stride
    torch.testing.assert_close(
        logits[0, :, 40:88, 40:88], logits[1, :, 56:104, 56:104], rtol=1e-4, atol=1e-4
    )
    low, high = 40 // net.stride, 88 // net.stride
    torch.testing.assert_close(
        descriptors[0, :, low:high, low:high],
        descriptors[1, :, low + step : high + step, low + step : high + step],
        rtol=1e-4,
        atol=1e-4,
    )


def test_brightness_and_contrast_are_taken_out():
    """Half the contrast and another brightness change next to nothing; a blank wall stays blank."""
    torch.manual_seed(0)
    picture = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(
        level_brightness(0.5 * picture + 0.3), level_brightness(picture), rtol=0.05, atol=0.02
    )
    assert level_brightness(torch.full((1, 3, 32, 32), 0.7)).abs().max() < 1e-3


def test_sides_that_are_no_multiples_of_8_are_refused():
    """The error names the next multiples."""
    with pytest.raises(ShapeError, match=r"must be \(B, 3, 40, 64\), got \(1, 3, 36, 60\)"):
        build("light")(torch.rand(1, 3, 36, 60))


def test_an_unknown_network_is_one_line():
    """The error names the key."""
    with pytest.raises(ConfigError, match=r"model\.keypoints: unknown network 'vgg19'"):
        build_keypoint_net("vgg19", channels=8)
