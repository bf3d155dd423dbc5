# SPDX-License-Identifier: Apache-2.0
"""Matches with the ground to a pose: exact views, wrong matches, stated uncertainty."""

from math import log10

import cv2
import numpy as np
import pytest

from depthkit.multiview.features import Features
from depthkit.runtime.ortho.plane_pose import fit_plane_pose, straight_down
from depthkit.runtime.ortho.registration import (
    agrees,
    count_distinct,
    evidence,
    find_consensus,
    implied_turns,
    share_of_circle,
)

TURN, FOOT = 60 * np.exp(1j * np.radians(25)), 400 - 300j
NOISE = 0.001


def tilted(*degrees: float) -> np.ndarray:
    """T_plane_cam of a view that is turned from straight down about the image's axes. (4, 4)"""
    T = straight_down(TURN, FOOT)
    T[:3, :3] = T[:3, :3] @ cv2.Rodrigues(np.radians([*degrees, 0.0]))[0]
    return T


def rays_of(T: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """Where a camera sees points of the plane, on the plane z = 1. (N, 2)"""
    points = (np.column_stack([ground, np.zeros(len(ground))]) - T[:3, 3]) @ T[:3, :3]
    return points[:, :2] / points[:, 2:]


def ground_points(count: int, rng: np.random.Generator) -> np.ndarray:
    """Points in view. (N, 2)"""
    return rng.uniform(-30, 30, (count, 2)) + [FOOT.real, FOOT.imag]


def test_straight_down_by_hand():
    """Heading north at 10 m: the ray to the right is east, the ray down the image south."""
    T = straight_down(10 + 0j, 3 + 4j)
    rays = np.array([[0.1, 0.0, 1.0], [0.0, 0.1, 1.0]])
    ground = T[:3, 3] + 10 * rays @ T[:3, :3].T
    np.testing.assert_allclose(ground, [[4, 4, 0], [3, 3, 0]], atol=1e-12)
    assert np.linalg.det(T[:3, :3]) == pytest.approx(1)


def test_consensus_among_wrong_matches():
    """A quarter of the matches agree: found exactly, and only these."""
    rng = np.random.default_rng(0)
    ground = ground_points(40, rng)
    rays = rays_of(straight_down(TURN, FOOT), ground)
    wrong = ground_points(120, rng)
    found = find_consensus(
        np.vstack([rays, rng.uniform(-0.5, 0.5, (120, 2))]),
        np.vstack([ground, wrong]),
        tolerance=0.01,
        heights=(30, 120),
    )
    assert abs(found.turn - TURN) < 0.5 and abs(found.foot - FOOT) < 0.5
    assert found.inliers[:40].all() and found.inliers[40:].sum() <= 3
    assert found.height == pytest.approx(60, abs=0.5)


def test_no_consensus_out_of_range():
    """A view of another height than was told, and two matches, are none."""
    ground = ground_points(30, np.random.default_rng(1))
    rays = rays_of(straight_down(TURN, FOOT), ground)
    assert find_consensus(rays, ground, tolerance=0.002, heights=(100, 200)) is None
    assert find_consensus(rays[:2], ground[:2], tolerance=0.002, heights=(30, 120)) is None


def test_orientation_and_scale_imply_the_turn():
    """A feature up the frame, heading 30 degrees west of north, twice as large on the ground."""
    none = np.zeros((1, 128), np.uint8)
    up = np.array([np.radians(270)], np.float32)  # from u towards v: against v
    frame = Features(np.zeros((1, 2), np.float32), none, np.array([5.0], np.float32), up)
    west = np.array([np.radians(240)], np.float32)
    ground = Features(np.zeros((1, 2), np.float32), none, np.array([10.0], np.float32), west)
    metres = np.array([[0.5, 0], [0, -0.5]])
    turn = implied_turns(frame, ground, focal=100.0, metres=metres)
    # Height = focal * metres on the ground / pixels of the frame = 100 * 5 / 5.
    np.testing.assert_allclose(turn, 100 * np.exp(1j * np.radians(30)), rtol=1e-6)
    assert agrees(turn, 100 * np.exp(1j * np.radians(50)))
    assert not agrees(turn, 100 * np.exp(1j * np.radians(60)))
    assert not agrees(turn, 200 * np.exp(1j * np.radians(30)))
    blind = Features(frame.pixels, none, np.zeros(1, np.float32), np.zeros(1, np.float32))
    assert implied_turns(blind, ground, focal=100.0, metres=metres) is None


def test_evidence_by_hand():
    """Three of three matches at a share of 1 %: 3 views of pairs, the third agrees by 1 %."""
    assert evidence(3, 3, share=0.01, tests=1) == pytest.approx(-log10(3 * 0.01))
    assert evidence(4, 4, share=0.01, tests=10) == pytest.approx(-log10(10 * 6 * 1e-4))
    assert evidence(2, 50, share=0.01, tests=1) == 0
    assert evidence(20, 100, share=0.5, tests=1) == 0  # as many as chance would have
    assert share_of_circle(1.0, np.pi * 100) == pytest.approx(0.01)


def test_chance_has_no_evidence():
    """Of 60 sets of random matches none has the evidence of a fix, and nearly all have none."""
    rng = np.random.default_rng(2)
    found = []
    for _ in range(60):
        rays, ground = rng.uniform(-0.5, 0.5, (60, 2)), ground_points(60, rng)
        best = find_consensus(rays, ground, tolerance=0.014, heights=(30, 120))
        if best is not None:
            share = share_of_circle(0.014 * best.height, 3600)
            found.append(evidence(int(best.inliers.sum()), 60, share=share, tests=1))
    assert max(found) < 4 and np.mean(np.array(found) > 1) < 0.1


def test_neighbours_count_once():
    """Ten matches on one spot are one; four apart are four."""
    spot = np.full((10, 2), 0.101) + np.linspace(0, 0.003, 10)[:, None]
    apart = np.array([[0.5, 0.5], [-0.5, 0.5], [0.5, -0.5]])
    assert count_distinct(np.vstack([spot, apart]), 1.0) == 4


def fit(T, ground, rays, tilt_sigma=5.0):
    """Fit as the localiser does, from the view straight down that agrees best."""
    start = find_consensus(rays, ground, tolerance=0.05, heights=(30, 120))
    return fit_plane_pose(
        start,
        rays,
        ground,
        tolerance=0.02,
        noise=NOISE,
        tilt_sigma=np.radians(tilt_sigma),
    )


def test_a_tilted_view_is_exact():
    """Four degrees about one axis, two about the other, without noise."""
    T = tilted(4, -2)
    ground = ground_points(200, np.random.default_rng(3))
    found = fit(T, ground, rays_of(T, ground))
    # The prior pulls by its share of the information: 5 degrees against 0.1 of the matches.
    np.testing.assert_allclose(found.T_plane_cam[:3, 3], T[:3, 3], atol=0.02)
    assert found.tilt == pytest.approx(np.degrees(np.arccos(-T[2, 2])), abs=0.02)
    assert found.heading == pytest.approx(
        np.degrees(np.arctan2(-T[0, 1], -T[1, 1])) % 360, abs=0.02
    )
    assert found.inliers.all()


def test_the_covariance_is_true():
    """Over 80 noisy views with tilts drawn from the prior, 90 % of the true positions lie in the
    90 % band: 72 are expected, and 64 to 79 lie within three standard deviations."""
    rng = np.random.default_rng(4)
    inside = 0
    for _ in range(80):
        T = tilted(*rng.normal(0, 5, 2))
        ground = ground_points(25, rng)
        rays = rays_of(T, ground) + rng.normal(0, 2 * NOISE, (25, 2))
        found = fit(T, ground, rays)
        delta = found.T_plane_cam[:3, 3] - T[:3, 3]
        inside += delta @ np.linalg.solve(found.covariance[:3, :3], delta) <= 6.251
    assert 62 <= inside <= 79
