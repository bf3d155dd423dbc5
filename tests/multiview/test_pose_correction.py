# SPDX-License-Identifier: Apache-2.0
"""Poses mended by tracks: exact tracks, planted errors."""

import numpy as np

from depthkit.multiview.pose_correction import NOISE, correct_poses, fit_poses
from depthkit.rigid import exp_se3, log_se3

K = np.array([[260.0, 0, 159.5], [0, 260.0, 119.5], [0, 0, 1]])


def scene(seed: int = 0, count: int = 120):
    """Points of 1 to 4 m, three sources, and their exact pixels."""
    rng = np.random.default_rng(seed)
    pixels = np.c_[rng.uniform(20, 300, count), rng.uniform(20, 220, count)]
    q = 1 / rng.uniform(1, 4, count)
    twists = np.array([[0.1, 0, 0, 0, 0.01, 0], [-0.15, 0.05, 0, 0, 0, 0.02], [0, 0, 0.2, 0, 0, 0]])
    T = np.stack([exp_se3(t) for t in twists])
    rays = np.c_[pixels, np.ones(count)] @ np.linalg.inv(K).T
    points = np.einsum("sij,nj->sni", T[:, :3, :3], rays) + q[None, :, None] * T[:, None, :3, 3]
    seen = points @ K.T
    return pixels, q, T, seen[..., :2] / seen[..., 2:]


def turned_wrong(T: np.ndarray, degrees: float) -> np.ndarray:
    """Turn every source about different axes."""
    axes = np.array([[0, 1.0, 0], [1.0, 0, 0], [0, -0.7, 0.7]]) * np.radians(degrees)
    return np.stack([exp_se3(np.r_[0, 0, 0, a]) @ one for a, one in zip(axes, T, strict=True)])


def test_exact_poses_stay_and_inverse_depths_are_exact():
    """Without an error there is nothing to mend."""
    pixels, q, T, tracks = scene()
    found = fit_poses(pixels, tracks, T, K=K)
    assert np.allclose(found.T_sources_target, T, atol=1e-9)
    assert np.allclose(found.inverse_depths, q, rtol=1e-7)


def test_a_turn_of_half_a_degree_is_mended_and_metres_stay():
    """The rotation comes back to a tenth, and the total length of the baselines is the given."""
    pixels, q, T, tracks = scene()
    given = turned_wrong(T, 0.5)
    found = fit_poses(pixels, tracks, given, K=K)
    off = [
        np.degrees(np.linalg.norm(log_se3(a @ np.linalg.inv(b))[3:]))
        for a, b in zip(found.T_sources_target, T, strict=True)
    ]
    assert found.before > 1 and found.after < 0.2 and max(off) < 0.15
    lengths = [np.linalg.norm(x[:, :3, 3], axis=1).sum() for x in (found.T_sources_target, given)]
    assert np.isclose(lengths[0], lengths[1], rtol=1e-9)
    assert np.median(np.abs(found.inverse_depths / q - 1)) < 0.05


def test_noise_of_tracks_does_not_move_good_poses():
    """Residuals of good poses are noise, so the prior is stiff."""
    pixels, _, T, tracks = scene()
    noisy = tracks + np.random.default_rng(1).normal(0, 0.5 * NOISE, tracks.shape)
    found = fit_poses(pixels, noisy, T, K=K)
    turns = [
        np.linalg.norm(log_se3(a @ np.linalg.inv(b))[3:])
        for a, b in zip(found.T_sources_target, T, strict=True)
    ]
    assert np.degrees(max(turns)) < 0.1


def test_outliers_do_not_decide():
    """A fifth of the tracks points anywhere."""
    pixels, q, T, tracks = scene()
    wild = tracks.copy()
    wild[:, ::5] += np.random.default_rng(2).uniform(-30, 30, wild[:, ::5].shape)
    found = fit_poses(pixels, wild, turned_wrong(T, 0.3), K=K)
    good = np.ones(len(q), bool)
    good[::5] = False
    assert np.median(np.abs(found.inverse_depths[good] / q[good] - 1)) < 0.05


def test_poses_are_kept_where_asked_and_where_tracks_are_few():
    """Then only the inverse depths are fitted."""
    pixels, _, T, tracks = scene()
    given = turned_wrong(T, 0.5)
    for found in (
        fit_poses(pixels, tracks, given, K=K, keep=True),
        fit_poses(pixels[:5], tracks[:, :5], given, K=K),
    ):
        assert np.array_equal(found.T_sources_target, given) and found.after == found.before


def test_a_blank_picture_has_no_tracks():
    """No corner, no residual, the given poses."""
    blank = np.full((240, 320), 128, np.uint8)
    _, _, T, _ = scene()
    found = correct_poses(blank, [blank] * 3, T, K=K, inverse_depth=0.5)
    assert np.array_equal(found.T_sources_target, T)
    assert len(found.pixels) == 0 and np.isnan(found.before)
