# SPDX-License-Identifier: Apache-2.0
"""The engine of features: sizes, strides and lengths, on a network that is a few lines of numpy."""

import numpy as np
import pytest

from depthkit.errors import DataError, EngineError
from depthkit.runtime.network.backend import Backend
from depthkit.runtime.network.feature_engine import FeatureEngine
from depthkit.runtime.network.manifest import Check, Manifest


def engine_of(*, stride: int = 1, multiple: int = 1, dynamic: bool = True, kind: str = "features"):
    """Return an engine whose descriptor is the angle (cos, sin) of a block's mean grey value."""
    manifest = Manifest(
        kind=kind,
        network="angle",
        size=(8, 8),
        scale="relative",
        scale_source="none",
        check=Check({}, 1, {}),
        tolerance=1e-4,
        dynamic=dynamic,
        size_multiple=multiple,
        stride=stride,
    )

    def compute(inputs):
        grey = inputs["frame"][..., 0].astype(np.float32) / 100
        n, h, w = grey.shape
        small = grey.reshape(n, h // stride, stride, w // stride, stride).mean((2, 4))
        return {"features": np.stack([np.cos(small), np.sin(small)], 1)}

    return FeatureEngine(Backend(manifest, compute, name="numpy", precision="fp32", threads=1))


def test_every_pixel_is_described_from_grey_or_colour():
    """The grey value 100 is the angle of one radian; three equal channels mean the same."""
    grey = np.full((3, 5), 100, np.uint8)
    grey[1, 2] = 200
    found = engine_of()(grey)
    assert found.shape == (3, 5, 2) and found.dtype == np.float32 and found.flags.c_contiguous
    np.testing.assert_allclose(found[0, 0], [np.cos(1), np.sin(1)], rtol=1e-6)
    np.testing.assert_allclose(found[1, 2], [np.cos(2), np.sin(2)], rtol=1e-6)
    np.testing.assert_array_equal(engine_of()(np.repeat(grey[..., None], 3, 2)), found)


def test_a_stride_is_filled_between_blocks():
    """Two blocks of 4 at angles 0 and 1: their centres lie at 1.5 and 5.5, so the pixels between
    have the direction of the mix, and length 1."""
    grey = np.zeros((4, 8), np.uint8)
    grey[:, 4:] = 100
    found = engine_of(stride=4, multiple=4)(grey)
    mixed = np.array([(1 - 0.375) + 0.375 * np.cos(1), 0.375 * np.sin(1)])
    assert found.shape == (4, 8, 2)
    np.testing.assert_allclose(found[2, 3], mixed / np.linalg.norm(mixed), rtol=1e-5)
    np.testing.assert_allclose(found[:, :2], np.broadcast_to([1.0, 0.0], (4, 2, 2)), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=2), 1, rtol=1e-6)


def test_odd_sizes_are_filled_up_and_cut_back():
    """A picture of 5x7 with a multiple of 4 is seen as 8x8, its border repeated."""
    grey = np.arange(35, dtype=np.uint8).reshape(5, 7)
    found = engine_of(multiple=4)(grey)
    np.testing.assert_allclose(np.arctan2(found[..., 1], found[..., 0]) * 100, grey, atol=1e-3)


def test_a_network_of_one_size_sees_the_picture_resized():
    """A flat picture of 16x24 is described alike everywhere by a network of 8x8."""
    found = engine_of(dynamic=False)(np.full((16, 24), 50, np.uint8))
    assert found.shape == (16, 24, 2)
    np.testing.assert_allclose(
        found, np.broadcast_to([np.cos(0.5), np.sin(0.5)], found.shape), 1e-5
    )


@pytest.mark.parametrize("shape", [(0, 4), (4, 4, 1), (4,)])
def test_what_is_no_picture_is_refused(shape):
    """Empty, of one channel in three axes, or a line."""
    with pytest.raises(DataError, match="picture"):
        engine_of()(np.zeros(shape, np.uint8))


def test_another_kind_is_refused_with_a_remedy():
    """A depth network describes no pixels."""
    with pytest.raises(EngineError, match="kind features, got mono; train one with task"):
        engine_of(kind="mono")
