# SPDX-License-Identifier: Apache-2.0
"""Alignment: a known similarity comes back, and nothing degenerate is answered."""

import numpy as np
import pytest

from depthkit.errors import DataError, ShapeError
from depthkit.evaluation.alignment import ALIGNMENTS, align, origin_of, umeyama
from depthkit.trajectory import exp_se3

POINTS = np.random.default_rng(0).normal(0, 5, (40, 3))


@pytest.mark.parametrize("scale", [0.01, 1.0, 21.0])
def test_umeyama_recovers_a_similarity(scale: float) -> None:
    """Points moved by a known scale, rotation and shift give exactly these back."""
    T = exp_se3([1, -2, 3, 0.5, 1.5, -1])
    moved = scale * POINTS @ T[:3, :3].T + T[:3, 3]
    fit = umeyama(POINTS, moved, with_scale=True)
    assert fit.scale == pytest.approx(scale, rel=1e-12)
    np.testing.assert_allclose(fit.R, T[:3, :3], atol=1e-12)
    np.testing.assert_allclose(fit.t, T[:3, 3], atol=1e-10)


def test_umeyama_never_mirrors() -> None:
    """A mirror image has no rotation that fits; what comes back is still a rotation (eq. 43)."""
    fit = umeyama(POINTS, POINTS * [1, 1, -1], with_scale=True)
    assert np.linalg.det(fit.R) == pytest.approx(1, abs=1e-12)


def test_umeyama_is_the_least_squares_fit() -> None:
    """Any small change of the fitted scale, rotation or shift makes noisy points fit worse."""
    rng = np.random.default_rng(1)
    target = 2 * POINTS + rng.normal(0, 0.5, POINTS.shape)
    fit = umeyama(POINTS, target, with_scale=True)

    def cost(scale: float, R: np.ndarray, t: np.ndarray) -> float:
        return float(np.sum((scale * POINTS @ R.T + t - target) ** 2))

    best = cost(fit.scale, fit.R, fit.t)
    for xi in rng.normal(0, 1e-3, (20, 6)):
        T = exp_se3(xi)
        assert cost(fit.scale * (1 + xi[0]), T[:3, :3] @ fit.R, fit.t + T[:3, 3]) > best


def test_umeyama_refuses_other_shapes() -> None:
    """Two point sets must be as long."""
    with pytest.raises(ShapeError, match=r"expected two \(N, 3\)"):
        umeyama(POINTS, POINTS[1:], with_scale=False)


def test_modes_are_checked_and_need_enough_poses() -> None:
    """An unknown mode lists the known ones; two points would fit any Sim(3) without error."""
    poses = exp_se3(np.random.default_rng(2).normal(size=(2, 6)))
    with pytest.raises(DataError, match="align must be one of none, scale, .* got '5dof'"):
        align(poses, poses, "5dof")
    for mode in ("6dof", "7dof", "scale_7dof"):
        with pytest.raises(DataError, match=f"align '{mode}' needs 3 matched poses or more, got 2"):
            align(poses, poses, mode)


@pytest.mark.parametrize("mode", ALIGNMENTS)
def test_inputs_are_left_alone(mode: str) -> None:
    """No mode edits the poses it is given."""
    poses = exp_se3(np.random.default_rng(3).normal(size=(9, 6)))
    before = poses.copy()
    align(poses, poses, mode)
    np.testing.assert_array_equal(poses, before)


def test_origin_does_not_stretch_a_rounded_pose() -> None:
    """The first pose's rotation may be rounded; laying a path on the origin keeps its lengths."""
    pose = exp_se3([1, 2, 3, 0.1, 0.2, 0.3])
    rounded = pose.copy()
    rounded[:3, :3] = np.round(pose[:3, :3], 3)
    R = origin_of(rounded)[:3, :3]
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(origin_of(pose) @ pose, np.eye(4), atol=1e-14)
