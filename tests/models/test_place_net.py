# SPDX-License-Identifier: Apache-2.0
"""The network of places: poolings by hand, fusion's start weights, whitening folded exactly."""

import pytest
import torch

from depthkit.errors import ConfigError
from depthkit.models.place_net import (
    EarlyFusion,
    GeneralisedMean,
    RegionalMaximum,
    build_place_net,
    edges,
    fold_whitening,
    join,
    regions,
)


def test_generalised_mean_by_hand():
    """Of 1, 2, 3 and 4 the mean is 2.5, the cubic mean (100 / 4)^(1/3)."""
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert GeneralisedMean(1.0)(maps).item() == pytest.approx(2.5, rel=1e-5)
    assert GeneralisedMean(3.0)(maps).item() == pytest.approx(25 ** (1 / 3), rel=1e-5)
    assert GeneralisedMean(60.0)(maps / 4).item() == pytest.approx(1, abs=0.03)  # the maximum


def test_regions_by_hand():
    """A square of 6: one region of side 6, four of side 4, nine of side 3."""
    found = [(v.start, u.start, v.stop - v.start) for v, u in regions((6, 6))]
    assert found[0] == (0, 0, 6)
    assert [side for *_, side in found] == [6] + 4 * [4] + 9 * [3]
    assert found[1:5] == [(0, 0, 4), (0, 2, 4), (2, 0, 4), (2, 2, 4)]


@pytest.mark.parametrize("size", [(6, 8), (3, 11), (1, 1), (9, 4)])
def test_regions_cover_the_map(size):
    """Each size of region stays inside and reaches both ends of both sides."""
    seen = torch.zeros(size, dtype=torch.bool)
    for v, u in regions(size):
        assert 0 <= v.start < v.stop <= size[0] and 0 <= u.start < u.stop <= size[1]
        seen[v, u] = True
    assert seen.all()


def test_regional_maximum_by_hand():
    """One bright pixel in one of two channels: every region votes with a vector of length 1."""
    maps = torch.zeros(1, 2, 1, 1)
    maps[0, :, 0, 0] = torch.tensor([3.0, 4.0])
    found = RegionalMaximum()(maps)
    count = len(list(regions((1, 1))))
    torch.testing.assert_close(found, count * torch.tensor([[0.6, 0.8]]))


def test_early_fusion_starts_with_half_of_each():
    """[Khokhlova 2020]: each channel is half colour and half second modality."""
    torch.manual_seed(0)
    colour, second = torch.rand(2, 3, 5, 6), torch.rand(2, 3, 5, 6)
    torch.testing.assert_close(EarlyFusion()(colour, second), 0.5 * colour + 0.5 * second)


def test_edges_by_hand():
    """A step of 0.1 has the strength 0.4 on both of its sides, an even picture none."""
    picture = torch.full((1, 3, 5, 6), 0.3)
    picture[..., 3:] = 0.4
    found = edges(picture)
    torch.testing.assert_close(found[0, :, 2, 2:4], torch.full((3, 2), 0.4), rtol=0, atol=1e-5)
    assert found[..., :1].abs().max() < 1e-5


def test_joined_codes_have_length_one():
    """The cosine of joined descriptors is the mean of the cosines of their parts."""
    codes = torch.tensor([[[3.0, 4.0], [0.0, 2.0]], [[3.0, 4.0], [5.0, 0.0]]])
    first, second = join(codes)
    assert first.norm().item() == pytest.approx(1)
    assert (first @ second).item() == pytest.approx((1 + 0) / 2)


@pytest.mark.parametrize("whitening", ["pca", "whitened"])
def test_whitening_is_folded_exactly(whitening):
    """Codes of the folded layer are centred and uncorrelated, largest variance first (pca) or all
    equal (whitened); those of the layer before were neither."""
    torch.manual_seed(0)
    linear = torch.nn.Linear(5, 4)
    pooled = torch.randn(4000, 5) * torch.tensor([4.0, 2, 1, 1, 0.5]) + 3
    codes = linear(pooled).detach()
    covariance = torch.cov(codes.T, correction=0)
    folded = fold_whitening(linear, codes.mean(0), covariance, whitening=whitening)
    found = folded(pooled).detach()
    after = torch.cov(found.T, correction=0)
    largest = after.max()
    assert found.mean(0).abs().max() < 1e-3 * largest.sqrt()
    assert (after - after.diag().diag()).abs().max() < 1e-3 * largest
    variances = after.diag()
    if whitening == "pca":
        assert (variances.diff() <= 1e-4 * largest).all() and variances[0] > 2 * variances[-1]
        # A turn: distances between codes stay.
        torch.testing.assert_close(
            torch.cdist(found[:9], found[:9]), torch.cdist(codes[:9], codes[:9]), atol=1e-3, rtol=0
        )
    else:  # but for the floor of a thousandth of the largest
        assert variances.min() > 0.9 and variances.max() < 1.001


def test_few_numbers_are_the_first_of_all():
    """Keeping two of four numbers is cutting the code after the second."""
    torch.manual_seed(0)
    linear = torch.nn.Linear(5, 4)
    codes = linear(torch.randn(100, 5)).detach()
    moments = codes.mean(0), torch.cov(codes.T)
    whole = fold_whitening(linear, *moments, whitening="pca")
    cut = fold_whitening(linear, *moments, whitening="pca", kept=2)
    torch.testing.assert_close(cut.weight, whole.weight[:2])
    assert fold_whitening(linear, *moments, whitening="none") is linear


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"pooling": "rmac", "second": "edges"},
        {"second": "raster", "fusion": "concatenated"},
    ],
    ids=["gem", "rmac early", "concatenated"],
)
def test_every_weight_learns(words):
    """Descriptors have length 1, and each weight has a gradient."""
    torch.manual_seed(0)
    options = {"pooling": "gem", "numbers": 8, "size": (64, 96)} | words
    net = build_place_net("light", **options)
    image = torch.rand(3, 3, 64, 96)
    raster = torch.rand(3, 3, 64, 96) if net.takes_raster else None
    found = net(image, raster)
    assert found.shape == (3, 8)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    (found * torch.rand_like(found)).sum().backward()
    assert all(weight.grad is not None for weight in net.parameters())


def test_the_published_head_has_its_shape():
    """Three convolutions of 1024, 512 and 256, then all numbers of a map of 2 x 3."""
    head = build_place_net("light", pooling="convolutional", numbers=8, size=(64, 96)).branches[0]
    assert head.linear.in_features == 256 * 2 * 3
    shapes = [tuple(m.weight.shape) for m in head.pool.modules() if hasattr(m, "kernel_size")]
    assert shapes == [(1024, 192, 3, 3), (512, 1024, 3, 3), (256, 512, 3, 3)]


def test_bad_values_are_refused():
    """An unknown pooling, and an odd number for two modalities."""
    with pytest.raises(ConfigError, match=r"model\.place_pooling: unknown pooling 'mean'"):
        build_place_net("light", pooling="mean", numbers=8, size=(64, 96))
    with pytest.raises(ConfigError, match="even for two modalities, got 7"):
        build_place_net(
            "light",
            pooling="gem",
            numbers=7,
            size=(64, 96),
            second="edges",
            fusion="concatenated",
        )
