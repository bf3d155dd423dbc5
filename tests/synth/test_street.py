# SPDX-License-Identifier: Apache-2.0
"""The street: a camera in its lane, vehicles that keep clear of each other, truth that fits."""

import numpy as np
import pytest

from depthkit.errors import ConfigError
from depthkit.rigid import inverse
from depthkit.synth.render import open_renderer
from depthkit.synth.scene import Body, Scene
from depthkit.synth.street import DEPTH_RANGE, StreetOptions, make_street_scene
from depthkit.synth.street_traffic import CAMERA_CAR

SIZE = (32, 104)
EMPTY = StreetOptions(vehicles=0, curvature=0, vibration=0, height=(1.6, 1.6))


def make(options: StreetOptions, seed: int, frames: int = 12) -> Scene:
    """Draw a small scene."""
    return make_street_scene(options, seed, frames=frames, size=SIZE)


@pytest.fixture(scope="module")
def renderer():
    """Rays: they need no OpenGL."""
    pytest.importorskip("embreex", reason="needs embreex (extra synth)")
    opened = open_renderer("ray")
    yield opened
    opened.close()


def vehicles(scene: Scene) -> list[list[Body]]:
    """Group the moving bodies by the poses they share."""
    groups: dict[int, list[Body]] = {}
    for i in scene.moving_ids:
        groups.setdefault(id(scene.bodies[i].T_world_body), []).append(scene.bodies[i])
    return list(groups.values())


def footprint(low: np.ndarray, high: np.ndarray, T: np.ndarray) -> np.ndarray:
    """Corners of a rectangle (x, z) of a body, seen from above, at its poses. (N, 4, 2)"""
    corners = np.array([[low[0], low[1]], [high[0], low[1]], [high[0], high[1]], [low[0], high[1]]])
    return (corners @ T[:, [0, 2]][:, :, [0, 2]].swapaxes(1, 2)) + T[:, None, [0, 2], 3]


def touch(a: np.ndarray, b: np.ndarray) -> bool:
    """Separating axes: two rectangles are apart if they are along one side of either. (N, 4, 2)"""
    apart = np.zeros(len(a), bool)
    for corners in (a, b):
        for k in (0, 1):
            axis = (corners[:, k + 1] - corners[:, k])[:, :, None]
            u, v = (a @ axis)[..., 0], (b @ axis)[..., 0]
            apart |= (u.max(1) < v.min(1)) | (v.max(1) < u.min(1))
    return not apart.all()


def test_same_seed_same_scene():
    """Every array agrees; another seed is another street."""
    a, b, c = make(StreetOptions(), 3), make(StreetOptions(), 3), make(StreetOptions(), 4)
    np.testing.assert_array_equal(a.textures, b.textures)
    np.testing.assert_array_equal(a.T_world_cam, b.T_world_cam)
    assert len(a.bodies) == len(b.bodies)
    for one, other in zip(a.bodies, b.bodies, strict=True):
        np.testing.assert_array_equal(one.mesh.vertices, other.mesh.vertices)
        np.testing.assert_array_equal(one.T_world_body, other.T_world_body)
    assert np.abs(a.T_world_cam - c.T_world_cam).max() > 0.1


@pytest.mark.parametrize("seed", range(4))
def test_camera_drives_along_its_lane(seed):
    """10 frames a second at 5 to 15 m/s, 1.5 to 1.7 m high, within 3 degrees of where it goes."""
    scene = make(StreetOptions(), seed, frames=31)
    T = scene.T_world_cam
    np.testing.assert_allclose(np.diff(scene.times), 0.1)
    height = -T[:, 1, 3]
    assert (height > 1.5 - 0.03).all() and (height < 1.7 + 0.03).all()
    steps = np.diff(T[:, :3, 3], axis=0)
    speed = np.linalg.norm(steps, axis=1) / 0.1
    assert (speed > 5 * 0.8).all() and (speed < 15 * 1.2).all()
    ahead = np.einsum("ni,ni->n", steps / np.linalg.norm(steps, axis=1)[:, None], T[:-1, :3, 2])
    assert (ahead > np.cos(np.radians(3))).all()


def test_road_lies_where_the_camera_height_says(renderer):
    """On an empty, straight, level road row v sees it at z = f h / (v - cy); paint is 1 cm up."""
    scene = make(EMPTY, 5)
    renderer.load(scene)
    depth = renderer.render(4).depth
    camera = scene.camera
    assert camera.fx == pytest.approx(0.58 * 104) and camera.cx == 51.5
    rows = np.arange(24, 32)
    expected = camera.fy * 1.6 / (rows - camera.cy)
    np.testing.assert_allclose(depth[rows, 52], expected, rtol=0.01 / 1.6 + 1e-4)


def test_sky_is_beyond_the_depth_that_is_stored(renderer):
    """The dome is drawn last; whatever is not it stands on the street."""
    scene = make(EMPTY, 5)
    renderer.load(scene)
    render = renderer.render(0)
    sky = render.ids == len(scene.bodies) - 1
    assert 0.02 < sky.mean() < 0.6
    assert (render.depth[sky] > DEPTH_RANGE).all()


@pytest.mark.parametrize("seed", range(3))
def test_vehicles_never_touch(seed):
    """Seen from above, in the densest traffic: each other, parked cars, the camera's car."""
    scene = make(StreetOptions(vehicles=30, moving=0.8), seed, frames=20)
    way = scene.T_world_cam.copy()
    half = np.array([CAMERA_CAR.width, CAMERA_CAR.length]) / 2
    prints = [footprint(-half, half, way)]
    for parts in vehicles(scene):
        points = np.concatenate([body.mesh.vertices for body in parts])[:, [0, 2]]
        prints.append(footprint(points.min(axis=0), points.max(axis=0), parts[0].T_world_body))
    assert len(prints) > 8
    for i, one in enumerate(prints):
        assert not any(touch(one, other) for other in prints[:i])


def test_crossing_boxes_are_found_to_touch():
    """The test above can fail: two boxes that cross share no corner."""
    half = np.array([1.0, 3.0])
    quarter = np.array([[[0, 0, 1.0, 0], [0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1]]])
    here = np.eye(4)[None]
    assert touch(footprint(-half, half, here), footprint(-half, half, quarter))
    beside = here.copy()
    beside[0, 0, 3] = 2.1
    assert not touch(footprint(-half, half, here), footprint(-half, half, beside))


def test_share_that_moves():
    """None at 0; at 1 none is parked; a renderer's 127 movable bodies are never exceeded."""
    assert len(make(StreetOptions(moving=0), 1).moving_ids) == 0
    still = make(StreetOptions(vehicles=0), 1)
    driving = make(StreetOptions(vehicles=30, moving=1), 1)
    assert 40 < len(driving.moving_ids) <= 120
    assert len(still.moving_ids) == 0


def test_flow_of_a_driving_car_is_not_the_cameras(renderer):
    """On what stands still, flow is depth and poses; on what drives, by far most of it is not."""
    scene = make(StreetOptions(vehicles=30, moving=1), 0)
    renderer.load(scene)
    render = renderer.render(2, 3)
    camera = scene.camera
    v, u = np.mgrid[: SIZE[0], : SIZE[1]].astype(float)
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u)], -1)
    T = inverse(scene.T_world_cam[3]) @ scene.T_world_cam[2]
    there = (render.depth[..., None] * rays) @ T[:3, :3].T + T[:3, 3]
    rigid = there[..., :2] / there[..., 2:] * (camera.fx, camera.fy) + (camera.cx, camera.cy)
    error = np.linalg.norm(render.flow - (rigid - np.stack([u, v], -1)), axis=-1)
    seen = np.isfinite(error) & ~render.outside
    moving = np.isin(render.ids, scene.moving_ids)
    assert error[seen & ~moving].max() < 2e-3
    assert (moving & seen).sum() > 30
    assert (error[seen & moving] > 0.1).mean() > 0.7


def test_it_is_small_enough_to_draw_fast():
    """Triangles, layers of one size, unit normals, finite texture coordinates."""
    scene = make(StreetOptions(), 2)
    assert sum(len(body.mesh.faces) for body in scene.bodies) < 30_000
    assert scene.textures.shape[1:] == (256, 256, 3) and len(scene.textures) < 64
    for body in scene.bodies:
        assert body.mesh.faces.max() < len(body.mesh.vertices)
        assert np.isfinite(body.mesh.uv).all()
        np.testing.assert_allclose(np.linalg.norm(body.mesh.normals, axis=1), 1, atol=1e-4)


def test_one_frame_is_a_scene():
    """A single picture needs no motion."""
    scene = make(StreetOptions(), 2, frames=1)
    assert len(scene) == 1 and scene.T_world_cam.shape == (1, 4, 4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"speed": (9.0, 5.0)}, "street: speed: 0 < low <= high, got 9.0, 5.0"),
        ({"speed": (5.0, 90.0)}, "speed: at most 40"),
        ({"height": (0.0, 1.0)}, "street: height"),
        ({"focal": 0.1}, "focal: 0.3 to 4 widths, got 0.1"),
        ({"moving": 1.5}, "moving: 0 to 1"),
        ({"vehicles": -1.0}, "vehicles: 0 to 30"),
        ({"curvature": 0.1}, "curvature: 0 to 0.006"),
        ({"vibration": float("nan")}, "vibration: 0 to 20"),
    ],
)
def test_options_without_sense_are_refused(options, words):
    """Name, range and what was given, in one line."""
    with pytest.raises(ConfigError, match=words):
        StreetOptions(**options)
