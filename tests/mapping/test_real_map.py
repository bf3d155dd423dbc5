# SPDX-License-Identifier: Apache-2.0
"""Sensor depth of a real clip: a surface from four frames agrees with the fifth."""

import cv2
import numpy as np
import pytest

from depthkit.evaluation.meshes import distances_to, sample_mesh
from depthkit.mapping.tsdf import Tsdf
from depthkit.rigid import inverse

K = np.array([[525.0, 0, 319.5], [0, 525, 239.5], [0, 0, 1]])


def read_clip(folder):
    """Depth, metres, colours and poses of the five frames of Open3D's clip."""
    rows = (folder / "trajectory.log").read_text().split("\n")
    poses = [
        np.array([[float(word) for word in row.split()] for row in rows[i + 1 : i + 5]])
        for i in range(0, len(rows) - 4, 5)
    ]
    depth = sorted((folder / "depth").glob("*.png"))
    raw = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in depth]
    return [one.astype(np.float32) / 1000 for one in raw], poses


@pytest.mark.slow
def test_a_held_out_frame_lies_on_the_surface(data_root):
    """Half of its points within 1 cm (the sensor's noise at 2 m), nine in ten within 4 cm."""
    depths, poses = read_clip(data_root / "rgbd_open3d_5")
    surface = Tsdf(voxel=0.02, max_depth=3.0)
    for i in (0, 1, 3, 4):
        surface.integrate(depths[i], K=K, T_world_cam=poses[i])
    mesh = surface.mesh(least_weight=0.5)
    z = depths[2][::6, ::6]
    v, u = np.nonzero((z > 0) & (z < 2.5))
    pixels = np.stack([6 * u, 6 * v, np.ones(len(u))])
    T = poses[2]
    points = (z[v, u] * (np.linalg.inv(K) @ pixels)).T @ T[:3, :3].T + T[:3, 3]
    assert np.allclose(inverse(T) @ T, np.eye(4), atol=1e-6)
    apart = distances_to(points, sample_mesh(mesh.vertices, mesh.faces, spacing=0.005), most=0.5)
    assert np.median(apart) < 0.01
    assert np.mean(apart < 0.04) > 0.9
