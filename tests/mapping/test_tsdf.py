# SPDX-License-Identifier: Apache-2.0
"""The signed distance map: exact surfaces, weights by hand, submaps, bounded memory, bad input."""

from functools import cache

import numpy as np
import pytest
from map_worlds import OFFSET, RADIUS, SIZE, K, N, around, at, plane_depth, sphere_depth, wall_depth

from depthkit.errors import ConfigError, DataError, ShapeError
from depthkit.mapping.mesh import Mesh
from depthkit.mapping.tsdf import Tsdf
from depthkit.rigid import exp_se3, make_pose

VOXEL = 0.05
GREEN = np.full((*SIZE, 3), (10, 200, 30), np.uint8)


@cache
def sphere() -> Tsdf:
    """A sphere seen from 24 sides."""
    fused = Tsdf(voxel=VOXEL)
    for angle in np.arange(8) * np.pi / 4:
        for lift in (-1.0, 0.0, 1.0):
            T = around(angle, lift)
            fused.integrate(sphere_depth(T), K=K, T_world_cam=T, rgb=GREEN)
    return fused


def wall(*depths: float, sigma: float | None = None, **options: float) -> Tsdf:
    """Walls across the view, one frame each."""
    fused = Tsdf(voxel=VOXEL, **options)
    for z in depths:
        sure = None if sigma is None else np.full(SIZE, sigma, np.float32)
        fused.integrate(wall_depth(z), K=K, T_world_cam=np.eye(4), sigma=sure)
    return fused


def value(fused: Tsdf, x: int, y: int, z: int) -> tuple[float, float]:
    """Distance and weight of the voxel with an index in the world."""
    volume = fused.fused()
    key = ((x // 16 + (1 << 20)) << 42) | ((y // 16 + (1 << 20)) << 21) | (z // 16 + (1 << 20))
    row = volume.rows[np.flatnonzero(volume.keys == key)[0]]
    where = row, x % 16, y % 16, z % 16
    return float(volume.distance[where]), float(volume.weight[where])


def open_edges(mesh: Mesh) -> int:
    """Count the edges that are not shared by exactly two faces."""
    pairs = np.concatenate([mesh.faces[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))])
    _, counts = np.unique(np.sort(pairs, axis=1), axis=0, return_counts=True)
    return int((counts != 2).sum())


def test_sphere_has_its_radius_and_looks_outwards():
    """Every vertex within half a voxel of the radius, the mean within a tenth; normals outwards."""
    mesh = sphere().mesh()
    radius = np.linalg.norm(mesh.vertices, axis=1)
    assert abs(radius.mean() - RADIUS) < 0.1 * VOXEL
    assert np.abs(radius - RADIUS).max() < 0.5 * VOXEL
    outward = (mesh.normals() * mesh.vertices / radius[:, None]).sum(axis=1)
    assert outward.min() > 0.7 and np.median(outward) > 0.99


def test_sphere_is_closed():
    """Each edge belongs to two faces, vertices - edges + faces is 2, its area that of a sphere."""
    mesh = sphere().mesh()
    assert open_edges(mesh) == 0
    assert len(mesh.vertices) - 3 * len(mesh.faces) // 2 + len(mesh.faces) == 2
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces].astype(float), 1, 0)
    area = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()
    assert area == pytest.approx(4 * np.pi * RADIUS**2, rel=0.06)


def test_colours_are_those_of_the_picture():
    """One colour in, one colour out."""
    mesh = sphere().mesh()
    assert np.abs(mesh.colours.astype(int) - (10, 200, 30)).max() <= 1


def test_slanted_plane_is_exact():
    """Vertices lie on the plane to a twentieth of a voxel: inverse depth of a plane is linear."""
    fused = Tsdf(voxel=VOXEL)
    for x in (0.0, 0.3):
        fused.integrate(plane_depth(at(x)), K=K, T_world_cam=at(x))
    mesh = fused.mesh(least_weight=0.5)
    assert np.abs(mesh.vertices @ N - OFFSET).max() < 0.05 * VOXEL
    assert (mesh.normals() @ N).min() > 0.99
    assert len(mesh.faces) > 1000


def test_weight_is_the_inverse_square_of_the_deviation():
    """Sigma 0.1 at 2 m is 0.2 m, four voxels: (1/4)^2. Sigma 0.001 is held at half a voxel: 4."""
    unsure, sure = wall(2.0, sigma=0.1), wall(2.0, sigma=0.001)
    # The voxel at 1.9 m lies 0.1 m before the wall.
    assert value(unsure, 0, 0, 38) == pytest.approx((0.1, 1 / 16), rel=1e-5)
    assert value(sure, 0, 0, 38) == pytest.approx((0.1, 4.0), rel=1e-5)


def test_distance_is_the_weighted_mean():
    """0.1 m with weight 4 and 0.2 m with weight 1 are (0.4 + 0.2) / 5 m."""
    fused = wall(2.0, sigma=0.0001)
    fused.integrate(
        wall_depth(2.1), K=K, T_world_cam=np.eye(4), sigma=np.full(SIZE, 0.05 / 2.1, np.float32)
    )
    assert value(fused, 0, 0, 38) == pytest.approx((0.12, 5.0), rel=1e-5)


def test_weight_fades_behind_the_surface():
    """0.15 m behind, of a band of 0.2 m: half of the weight; nothing beyond the band."""
    fused = wall(2.0, sigma=0.0001)
    distance, weight = value(fused, 0, 0, 43)
    assert (distance, weight) == pytest.approx((-0.15, 2.0), rel=1e-4)
    assert value(fused, 0, 0, 45)[1] == 0


def test_unsure_depth_has_a_wider_band():
    """Two deviations of 0.2 m reach 0.4 m in front; a sure wall is written as 0.2 m there."""
    assert value(wall(2.0, sigma=0.1), 0, 0, 32)[0] == pytest.approx(0.4, rel=1e-5)
    assert value(wall(2.0, sigma=0.001), 0, 0, 36)[0] == pytest.approx(0.2, rel=1e-5)


def test_two_views_of_a_noisy_wall_fuse_into_one():
    """Walls 4 cm apart become one layer in their middle."""
    z = wall(1.98, 2.02, sigma=0.02).mesh().vertices[:, 2]
    assert np.abs(z - 2.0).max() < 0.1 * VOXEL


def test_what_is_seen_through_is_cleared():
    """A spurious wall at 1 m is gone once the true one was seen through it often enough."""
    fused = Tsdf(voxel=VOXEL)
    fused.integrate(wall_depth(1.0), K=K, T_world_cam=np.eye(4))
    assert np.median(fused.mesh().vertices[:, 2]) == pytest.approx(1.0, abs=0.01)
    for _ in range(5):
        fused.integrate(wall_depth(2.0), K=K, T_world_cam=np.eye(4))
    assert fused.mesh().vertices[:, 2].min() > 1.9


def test_a_sliding_mean_follows_a_change():
    """With a small largest weight a wall that moved by 3 cm is found at its new place."""
    fused = wall(2.0, sigma=0.02, max_weight=5.0)
    for _ in range(20):
        fused.integrate(wall_depth(2.03), K=K, T_world_cam=np.eye(4))
    assert np.median(fused.mesh().vertices[:, 2]) == pytest.approx(2.03, abs=0.002)


def test_unknown_and_far_depth_make_no_surface():
    """NaN, zero, negative, infinite, too far, and depth whose sigma is NaN."""
    fused = Tsdf(voxel=VOXEL)
    for bad in (np.nan, 0.0, -1.0, np.inf, 5.1):
        fused.integrate(wall_depth(bad), K=K, T_world_cam=np.eye(4))
    nobody = np.full(SIZE, np.nan, np.float32)
    fused.integrate(wall_depth(2.0), K=K, T_world_cam=np.eye(4), sigma=nobody)
    assert (len(fused), fused.frames) == (0, 6)
    assert len(fused.surface_points().positions) == 0


def test_surface_points_are_the_vertices_of_the_mesh():
    """A closed mesh has a face at each point."""
    points, mesh = sphere().surface_points(), sphere().mesh()
    np.testing.assert_array_equal(points.positions, mesh.vertices)
    np.testing.assert_array_equal(points.colours, mesh.colours)


def test_small_components_are_left_out():
    """A speckle of one pixel is a component of its own."""
    depth = wall_depth(2.0)
    depth[40:43, 60:63] = 1.0
    fused = Tsdf(voxel=0.02)
    sure = np.full(SIZE, 0.01, np.float32)
    fused.integrate(depth, K=K, T_world_cam=np.eye(4), sigma=sure)
    assert fused.mesh().vertices[:, 2].min() < 1.1
    assert fused.mesh(least_faces=100).vertices[:, 2].min() > 1.9


def test_the_same_frames_give_the_same_bytes():
    """Twice the same map: positions, faces and colours to the last bit."""
    first, second = sphere().mesh(), sphere.__wrapped__().mesh()
    for name in ("vertices", "faces", "colours"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()


# --- submaps --------------------------------------------------------------------------------------


def two_submaps() -> Tsdf:
    """The slanted plane in two submaps, seen from two places."""
    fused = Tsdf(voxel=VOXEL, keyframes_per_submap=10)
    for keyframe, x in ((3, 0.0), (12, 0.2)):
        fused.integrate(plane_depth(at(x)), K=K, T_world_cam=at(x), keyframe=keyframe)
    return fused


def test_submaps_that_stay_fuse_into_the_same_surface():
    """One submap or two: the plane is as exact, without layers."""
    mesh = two_submaps().mesh(least_weight=0.5)
    assert np.abs(mesh.vertices @ N - OFFSET).max() < 0.05 * VOXEL


def test_move_takes_the_blocks_along():
    """A wall 2 m ahead, turned by 90 degrees about y and lifted: 2 m to the right, and higher."""
    fused = wall(2.0)
    R = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    fused.move(make_pose(R, [0, -0.33, 0]))
    mesh = fused.mesh()
    assert np.abs(mesh.vertices[:, 0] - 2.0).max() < 0.05 * VOXEL
    assert mesh.vertices[:, 1].mean() == pytest.approx(-0.33, abs=VOXEL)
    assert mesh.normals()[:, 0].max() < -0.99


def test_a_correction_joins_two_layers():
    """Drift of 12 cm makes two walls; moving the second submap back leaves one, where it was."""
    fused = Tsdf(voxel=VOXEL, keyframes_per_submap=1)
    fused.integrate(wall_depth(2.0), K=K, T_world_cam=np.eye(4), keyframe=0)
    fused.integrate(wall_depth(2.0), K=K, T_world_cam=at(z=0.12), keyframe=1)
    drifted = np.abs(fused.mesh().vertices[:, 2] - 2.0).max()
    fused.move(at(z=-0.12), since=1)
    assert drifted > 0.04
    assert np.abs(fused.mesh().vertices[:, 2] - 2.0).max() < 0.05 * VOXEL


def test_frames_after_a_correction_are_integrated_where_they_are():
    """A corrected pose and a moved submap agree: still one wall."""
    fused = Tsdf(voxel=VOXEL)
    fused.integrate(wall_depth(2.0), K=K, T_world_cam=at(z=0.12))
    fused.move(at(z=-0.12))
    fused.integrate(wall_depth(2.0), K=K, T_world_cam=np.eye(4))
    assert np.abs(fused.mesh().vertices[:, 2] - 2.0).max() < 0.05 * VOXEL


def test_bend_spreads_a_correction_over_the_submaps():
    """The first stays, the middle one moves by half, the last by all of it."""
    fused = Tsdf(voxel=VOXEL, keyframes_per_submap=1)
    for keyframe in range(3):
        T = exp_se3(np.array([0, 0, 0, 0, keyframe * np.pi / 2, 0]))  # three walls, at right angles
        fused.integrate(wall_depth(2.0), K=K, T_world_cam=T, keyframe=keyframe)
    fused.bend(at(y=0.4))
    vertices = fused.mesh().vertices
    middles = [vertices[near, 1].mean() for near in (vertices[:, 2] > 1.95, vertices[:, 0] > 1.95)]
    middles.append(vertices[vertices[:, 2] < -1.95, 1].mean())
    assert middles == pytest.approx([0.0, 0.2, 0.4], abs=VOXEL)


# --- memory and bad input -------------------------------------------------------------------------


def test_a_full_map_drops_its_farthest_blocks():
    """A flight along a wall keeps what is near; the lost blocks are counted."""
    fused = Tsdf(voxel=VOXEL, max_blocks=40)
    for x in np.arange(0.0, 12.0, 0.5):
        fused.integrate(wall_depth(2.0), K=K, T_world_cam=at(x))
    x = fused.mesh().vertices[:, 0]
    assert len(fused) <= 40 and fused.dropped > 10
    assert x.min() > 4.0 and x.max() > 12.0


def test_a_frame_larger_than_the_map_keeps_its_nearest_blocks():
    """Six blocks for a slanted wall: the near end of it."""
    fused = Tsdf(voxel=VOXEL, max_blocks=6)
    fused.integrate(plane_depth(np.eye(4)), K=K, T_world_cam=np.eye(4))
    whole = Tsdf(voxel=VOXEL)
    whole.integrate(plane_depth(np.eye(4)), K=K, T_world_cam=np.eye(4))
    assert len(fused) == 6 and fused.dropped == len(whole) - 6
    for x in (0.0, 0.7, -0.9, 0.0):  # blocks that exist already and are too far now make room, too
        fused.integrate(plane_depth(at(x)), K=K, T_world_cam=at(x))
        assert len(fused) <= 6


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("voxel", 0.0),
        ("voxel", np.nan),
        ("truncation", 0.5),
        ("max_depth", 0.01),
        ("max_blocks", 0),
    ],
)
def test_settings_out_of_range_are_refused(name, value):
    """One line with the name and the value."""
    with pytest.raises(ConfigError, match=f"Tsdf: {name}: above"):
        Tsdf(**{name: value})


def test_an_empty_map_has_no_mesh():
    """One line that says what to do."""
    with pytest.raises(DataError, match="mesh: no surface among 0 blocks"):
        Tsdf().mesh()


def test_frames_that_do_not_fit_are_refused():
    """A pose that is not finite, another size of sigma or picture, a point too far away."""
    fused = Tsdf()
    with pytest.raises(DataError, match="must be finite"):
        fused.integrate(wall_depth(2.0), K=K, T_world_cam=np.full((4, 4), np.nan))
    with pytest.raises(ShapeError, match="sigma"):
        fused.integrate(wall_depth(2.0), K=K, T_world_cam=np.eye(4), sigma=np.ones((3, 3)))
    with pytest.raises(ShapeError, match="rgb"):
        fused.integrate(wall_depth(2.0), K=K, T_world_cam=np.eye(4), rgb=GREEN[:5])
    with pytest.raises(DataError, match="16 million voxels"):
        fused.integrate(wall_depth(2.0), K=K, T_world_cam=at(1e7))
