# SPDX-License-Identifier: Apache-2.0
"""Confidence falls where depth is wrong: on a textured plane with a known answer."""

import cv2
import numpy as np
import pytest

from depthkit.evaluation.sparsification import sparsification
from depthkit.runtime.depth.confidence import View, confidence_map
from depthkit.runtime.depth.fusion import Fused

SIZE, DEPTH, SHIFT = (64, 64), 8.0, 4.0  # metres; pixels of parallax
K = np.array([[64.0, 0, 31.5], [0, 64, 31.5], [0, 0, 1]])
T = np.array([SHIFT * DEPTH / 64, 0, 0])  # the past camera stood at the right


@pytest.fixture
def wall():
    """A plane at 8 m, now and from half a metre to the right: all moved 4 pixels left."""
    rng = np.random.default_rng(0)
    wide = cv2.GaussianBlur(rng.integers(0, 255, (64, 80, 3), dtype=np.uint8), (0, 0), 1.5)
    return wide[:, 8:72].copy(), wide[:, 8 + int(SHIFT) : 72 + int(SHIFT)].copy()


def confidence(wall, depth, *, weight=1.0, maps=None, blind=False):
    """The confidence of a depth map of the wall."""
    now, before = wall
    depth = np.broadcast_to(np.float32(depth), SIZE)
    fused = Fused(depth, np.full(SIZE, weight, np.float32), np.ones(SIZE, bool), np.ones(1))
    metres = depth[None] if maps is None else maps
    covered = np.ones(metres.shape, bool)
    view = None if blind else View(before, T)
    return confidence_map(fused, metres, covered, rgb=now, K=K, view=view)


def test_right_depth_is_trusted_and_wrong_depth_is_not(wall):
    """The plane's own depth rebuilds the frame; twice and half of it do not."""
    right, far, near = (confidence(wall, z)[8:-8, 8:-8] for z in (DEPTH, 2 * DEPTH, DEPTH / 2))
    assert right.dtype == np.float32 and right.min() >= 0 and right.max() <= 1
    assert right.mean() > 0.9
    assert max(far.mean(), near.mean()) < 0.7 * right.mean()


def test_errors_are_found_where_they_are(wall):
    """A wrong patch has the least confidence: kept pixels are better, close to the oracle."""
    depth = np.full(SIZE, DEPTH, np.float32)
    depth[20:40, 20:40] *= 1.8
    error = np.abs(depth - DEPTH) / DEPTH
    score = sparsification(error.ravel(), confidence(wall, depth).ravel().astype(float))
    assert score.aurg > 0.5 and score.ause < 0.3


def test_without_a_direction_jumps_and_disagreement_count(wall):
    """No photometric check is possible; an edge of depth, and maps that differ, still lower it."""
    flat = confidence(wall, DEPTH, blind=True)
    edge = np.full(SIZE, DEPTH, np.float32)
    edge[:, 32:] *= 3
    assert confidence(wall, edge, blind=True)[32, 32] < 0.5 * flat[32, 32]
    apart = np.stack([np.full(SIZE, z, np.float32) for z in (DEPTH, 3 * DEPTH)])
    assert (confidence(wall, DEPTH, maps=apart, blind=True) < 0.6 * flat).all()


def test_out_of_band_is_not_trusted(wall):
    """Weight 0 of fusion is confidence 0, whatever the pictures say; it fades before."""
    whole = confidence(wall, DEPTH)
    assert not confidence(wall, DEPTH, weight=0).any()
    assert confidence(wall, DEPTH, weight=0.125) == pytest.approx(0.5 * whole)


def test_one_grey_proves_nothing(wall):
    """Without texture every depth rebuilds the frame: less confidence than with it."""
    grey = tuple(np.full_like(one, 120) for one in wall)
    plain, textured = confidence(grey, DEPTH), confidence(wall, DEPTH)
    assert np.isfinite(plain).all() and plain[32, 32] < textured[32, 32]
