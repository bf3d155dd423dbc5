# SPDX-License-Identifier: Apache-2.0
"""The colon world: a closed tube with a way through it, richer at each level."""

from dataclasses import replace

import numpy as np
import pytest

from depthkit.errors import ConfigError
from depthkit.synth import colon_textures
from depthkit.synth.colon import ColonOptions, colon_camera, expose, make_colon_scene
from depthkit.synth.colon_path import CLEARANCE, nearest
from depthkit.synth.colon_shape import FREE_RADIUS, Peristalsis, build_wall
from depthkit.synth.colon_tube import STEP, Tube, draw_tube
from depthkit.synth.meshes import sphere
from depthkit.synth.render_ray import RayRenderer
from depthkit.synth.scene import NOTHING, Body
from depthkit.synth.visibility import RayCaster

SIZE = (48, 64)
LEVELS = (1, 2, 3, 4, 5)


def scene_of(level: int, seed: int = 0, frames: int = 6, **options):
    return make_colon_scene(ColonOptions(level, **options), seed, frames=frames, size=SIZE)


def world_vertices(body: Body, frame: int = 0) -> np.ndarray:
    T = body.T_world_body if body.T_world_body.ndim == 2 else body.T_world_body[frame]
    vertices = body.deform(frame)[0] if body.deform else body.mesh.vertices
    return vertices @ T[:3, :3].T + T[:3, 3]


def straight_tube(radius: float = 0.02, length: float = 0.3) -> Tube:
    count = round(length / STEP) + 1
    points = np.zeros((count, 3))
    points[:, 2] = STEP * np.arange(count)
    return Tube(0.0, points, np.zeros((count, 2)), np.full(count, radius))


@pytest.mark.parametrize("level", LEVELS)
def test_meshes_are_sound(level):
    """Finite vertices, unit normals, triangles of existing vertices, at most 60 k of them."""
    scene = scene_of(level)
    assert 20_000 < sum(len(body.mesh.faces) for body in scene.bodies) < 60_000
    for body in scene.bodies:
        mesh = body.mesh
        assert np.isfinite(mesh.vertices).all() and np.isfinite(mesh.uv).all()
        assert np.abs(np.linalg.norm(mesh.normals, axis=1) - 1).max() < 1e-4
        assert mesh.faces.min() >= 0 and mesh.faces.max() < len(mesh.vertices)


def test_plain_tube_has_its_radius_and_radial_normals():
    """A straight plain tube of 2 cm lies within 5 % of it and its normals have no z."""
    wall = build_wall(np.random.default_rng(0), straight_tube(), 1, (0.05, 0.1))
    middle = (wall.s > 0.05) & (wall.s < 0.25)
    radius = np.linalg.norm(wall.mesh.vertices[middle, :2], axis=1)
    assert radius.min() > 0.0189 and radius.max() < 0.0211
    assert np.abs(wall.mesh.normals[middle, 2]).max() < 1e-3


def test_folds_reach_into_the_tube_but_leave_the_way_free():
    """At level 2 the wall narrows to less than 80 % of the tube somewhere, never below 6.5 mm."""
    wall = build_wall(np.random.default_rng(1), straight_tube(), 2, (0.05, 0.1))
    middle = (wall.s > 0.05) & (wall.s < 0.25)
    radius = np.linalg.norm(wall.mesh.vertices[middle, :2], axis=1)
    assert radius.min() < 0.8 * 0.02
    assert radius.min() > FREE_RADIUS - 1e-6


@pytest.mark.parametrize("seed", range(4))
def test_wall_never_comes_near_the_centreline(seed):
    """Neither its own part of the centreline nor any other: the tube does not cut itself."""
    rng = np.random.default_rng(seed)
    tube = draw_tube(rng, 0.0, 0.5)
    wall = build_wall(rng, tube, 2, (0.05, 0.2))
    inner = (wall.s > tube.start + 0.02) & (wall.s < tube.end - 0.02)
    away = nearest(tube.points[40:-40:8], wall.mesh.vertices[inner])
    assert away > 0.9 * FREE_RADIUS


@pytest.mark.parametrize("level", (1, 5))
@pytest.mark.parametrize("seed", (1, 2))
def test_camera_keeps_clear_and_moves_evenly(level, seed):
    """At least 5 mm to everything, proper rotations, at most 5 mm a frame."""
    scene = scene_of(level, seed, frames=60)
    positions = scene.T_world_cam[:, :3, 3]
    obstacles = np.concatenate([world_vertices(body) for body in scene.bodies])
    assert nearest(positions, obstacles) > CLEARANCE - 1e-4
    R = scene.T_world_cam[:, :3, :3]
    assert np.allclose(R @ R.swapaxes(1, 2), np.eye(3), atol=1e-9)
    assert np.allclose(np.linalg.det(R), 1)
    assert np.linalg.norm(np.diff(positions, axis=0), axis=1).max() < 0.005


@pytest.mark.parametrize("level", (1, 5))
def test_tube_is_closed(level):
    """Rays in all directions from every camera hit something, and nothing within 5 mm."""
    pytest.importorskip("embreex")
    scene = scene_of(level, seed=3)
    rays = np.random.default_rng(0).normal(size=(2000, 3))
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    caster = RayCaster.open(scene)
    for pose in scene.T_world_cam:
        hit = caster.cast(pose[:3, 3], rays, 0.0)
        assert (hit["body"] >= 0).all()
        assert hit["tfar"].min() > 0.005


def test_levels_hold_what_they_promise():
    """One colour below 3; polyps from 4; gloss and relief only at 5."""
    scenes = {level: scene_of(level) for level in LEVELS}
    for level in (1, 2):
        assert len(np.unique(scenes[level].textures.reshape(-1, 3), axis=0)) == 1
    assert scenes[3].textures.std(axis=(1, 2)).min() > 1
    assert [len(scenes[level].bodies) for level in (1, 2, 3)] == [1, 1, 1]
    assert 1 < len(scenes[4].bodies) < len(scenes[5].bodies)
    glossy = [any(body.gloss for body in scenes[level].bodies) for level in LEVELS]
    assert glossy == [False, False, False, False, True]


def test_levels_of_a_seed_look_the_same_way():
    """Tube and way belong to the seed, not to the level."""
    R = [scene_of(level).T_world_cam[:, :3, :3] for level in LEVELS]
    assert all(np.array_equal(R[0], other) for other in R[1:])


def test_same_seed_same_scene():
    """Nothing is drawn from elsewhere; another seed gives another scene."""
    a, b, c = scene_of(5, seed=4), scene_of(5, seed=4), scene_of(5, seed=5)
    assert np.array_equal(a.textures, b.textures)
    assert np.array_equal(a.T_world_cam, b.T_world_cam)
    assert np.array_equal(a.bodies[0].mesh.vertices, b.bodies[0].mesh.vertices)
    assert a.light.lamp == b.light.lamp
    assert not np.array_equal(a.T_world_cam, c.T_world_cam)


def test_texture_tiles_around_the_tube():
    """The seam's two columns have the same place and uv a whole number of repeats apart."""
    wall = build_wall(np.random.default_rng(0), straight_tube(), 3, (0.05, 0.1))
    uv, points = (a.reshape(*wall.grid, -1) for a in (wall.mesh.uv, wall.mesh.vertices))
    jump = uv[:, -1] - uv[:, 0]
    assert np.array_equal(points[:, 0], points[:, -1])
    assert np.allclose(jump, [round(float(jump[0, 0])), 0], atol=1e-4)
    assert jump[0, 0] >= 1


def test_textures_have_no_seam():
    """Neighbours across the border of a tile differ no more than those inside it."""
    picture = colon_textures.tissue(np.random.default_rng(0), np.array([0.8, 0.5, 0.4]), 0.8)
    picture = picture.astype(float)
    for axis in (0, 1):
        steps = np.abs(np.diff(picture, axis=axis))
        border = np.abs(np.take(picture, 0, axis) - np.take(picture, -1, axis))
        assert border.mean() < 1.5 * steps.mean()


def test_exposure_follows_the_inverse_square_law():
    """In a ball seen from its middle, the lamp makes the wall as bright as asked; twice as far
    takes four times the lamp."""
    camera, pose = colon_camera(SIZE, 90.0), np.eye(4)[None]
    lamps = [
        expose((Body(sphere(radius, rings=96), 0, np.eye(4)),), pose, camera, albedo=0.5)
        for radius in (0.02, 0.04)
    ]
    assert lamps[0] == pytest.approx(0.85 * 0.02**2 / 0.5, rel=1e-3)
    assert lamps[1] == pytest.approx(4 * lamps[0], rel=1e-3)


def test_peristalsis_narrows_by_its_depth_and_travels():
    """The wall moves in by at most the depth; after a wavelength it is where it was."""
    wall = build_wall(np.random.default_rng(0), straight_tube(), 1, (0.05, 0.1))
    wave = Peristalsis(wall, depth=0.05, length=0.08, step=0.002)
    radii = [np.linalg.norm((wave(t)[0] - wall.axis)[3000:3100], axis=1) for t in (0, 13, 40)]
    rest = np.linalg.norm((wall.mesh.vertices - wall.axis)[3000:3100], axis=1)
    assert all((r <= rest + 1e-7).all() and (r >= 0.9499 * rest).all() for r in radii)
    assert np.allclose(radii[0], radii[2], atol=1e-6)
    assert np.abs(radii[0] - radii[1]).max() > 1e-4
    assert np.abs(np.linalg.norm(wave(13)[1], axis=1) - 1).max() < 1e-4


def test_polyps_go_along_with_a_moving_wall():
    """Where the wall deforms a polyp moves, but never farther than the wall does."""
    scene = scene_of(4, seed=2, frames=8, deform=True)
    wall, polyps = scene.bodies[0], scene.bodies[1:]
    assert wall.moves and polyps
    shift = np.linalg.norm(wall.deform(7)[0] - wall.deform(0)[0], axis=1).max()
    for polyp in polyps:
        way = np.linalg.norm(polyp.T_world_body[7, :3, 3] - polyp.T_world_body[0, :3, 3])
        assert way <= shift + 1e-6
    assert not any(body.moves for body in scene_of(5, seed=2).bodies)


@pytest.mark.parametrize("level", (1, 5))
def test_picture_is_well_exposed_and_its_truth_complete(level):
    """No background, depth from 2 mm to the tube's end, neither black nor burnt out."""
    pytest.importorskip("embreex")
    scene, renderer = scene_of(level, seed=6), RayRenderer()
    renderer.load(replace(scene, camera=colon_camera((24, 32), 110.0)))
    frame = renderer.render(0)
    assert (frame.ids != NOTHING).all()
    assert 0.002 < frame.depth.min() < 0.05 < frame.depth.max() < 0.6
    assert 60 < frame.rgb.mean() < 190
    assert (frame.rgb.max(axis=2) == 255).mean() < 0.3


def test_wide_lens():
    """Of 110 degrees, the rim of the picture lies 55 degrees off the axis."""
    camera = colon_camera((256, 256), 110.0)
    assert np.degrees(np.arctan(128 / camera.fx)) == pytest.approx(55.0)


def test_one_frame_is_a_scene():
    """A single picture needs no motion."""
    assert len(scene_of(5, frames=1)) == 1


@pytest.mark.parametrize("bad", ({"level": 0}, {"level": 6}, {"field_of_view": 180.0}))
def test_options_out_of_range_are_refused(bad):
    """One line that names the option."""
    with pytest.raises(ConfigError, match=next(iter(bad))):
        ColonOptions(**bad)


def test_no_frames_are_refused():
    """An empty way is no scene."""
    with pytest.raises(ConfigError, match="at least one frame, got 0"):
        scene_of(1, frames=0)
