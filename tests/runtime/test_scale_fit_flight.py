# SPDX-License-Identifier: Apache-2.0
"""The scale fit on points that a real odometry found in rendered frames."""

from functools import cache

import numpy as np
import pytest
from layered_world import K, depth_at, render, swaying

from depthkit.rigid import inverse
from depthkit.runtime.depth.scale_fit import ScaledDepth
from depthkit.runtime.odometry.geometric import GeometricOdometry
from depthkit.runtime.result import DepthResult, OdometryResult

COUNT, STEP = 30, 0.12
FACTOR = 3.0


@cache
def flight() -> tuple[np.ndarray, list[OdometryResult], list[np.ndarray]]:
    """Poses, what the odometry said, and the true depth of all pixels. (240, 320) each"""
    poses, odometry = swaying(COUNT, STEP), GeometricOdometry()
    v, u = np.mgrid[:240, :320]
    pixels = np.stack([u.ravel(), v.ravel()], axis=1).astype(float)
    depths = [depth_at(T, pixels).reshape(240, 320) for T in poses]
    found = [odometry.process(render(T), stamp=i / 20, K=K) for i, T in enumerate(poses)]
    return poses, found, depths


@pytest.mark.slow
def test_depth_gets_the_unit_of_the_path() -> None:
    """One factor between the fitted depth and the truth, and it is that of path and true path."""
    poses, found, depths = flight()
    scaled, ratios = ScaledDepth("scale"), []
    for i, (moved, depth) in enumerate(zip(found, depths, strict=True)):
        network = (depth / FACTOR * 1.02 ** (-1) ** i).astype(np.float32)
        valid = np.isfinite(network)
        said = DepthResult(network, valid, None, K, "relative", "network", moved.stamp)
        result = scaled.apply(said, moved)
        if result.depth is not None:
            ratios.append(float(np.median(result.depth[valid] / depth[valid])))
    known = [i for i, one in enumerate(found) if one.points is not None]
    assert len(ratios) == len(known) > COUNT // 2
    first, last = known[0], known[-1]
    true = np.linalg.norm((inverse(poses[first]) @ poses[last])[:3, 3])
    path = found[last].T_world_cam[:3, 3] - found[first].T_world_cam[:3, 3]
    unit = float(np.linalg.norm(path) / true)
    # The network's own 2 % up and down is smoothed; the rest is the odometry's noise.
    np.testing.assert_allclose(ratios, unit, rtol=0.06)
    assert np.std(np.log(ratios[5:])) < 0.03
