# SPDX-License-Identifier: Apache-2.0
"""The renderer contract: both back ends say the same, and what they say is true."""

import multiprocessing
import re
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from small_scene import FRAMES, SIZE, camera, gl_renderer, small_scene

from depthkit.errors import DataError, EngineError
from depthkit.installation import install_line
from depthkit.rigid import exp_se3, inverse, make_pose
from depthkit.synth import meshes, render_gl, visibility
from depthkit.synth.generate import find_world
from depthkit.synth.patterns import texture_pool
from depthkit.synth.render import open_renderer
from depthkit.synth.scene import NOTHING, Body, Light, Render, Scene, pose_at


@pytest.fixture(scope="module")
def by_gl() -> list[Render]:
    """All frames of the small scene through OpenGL, flow to the next one."""
    renderer = gl_renderer()
    renderer.load(small_scene())
    return [renderer.render(i, i + 1) for i in range(FRAMES - 1)]


@pytest.fixture(scope="module")
def by_ray() -> list[Render]:
    """The same through rays."""
    renderer = open_renderer("ray")
    renderer.load(small_scene())
    return [renderer.render(i, i + 1) for i in range(FRAMES - 1)]


def test_back_ends_agree(by_gl, by_ray):
    """Ids on 99.9 % of the pixels, z to 1e-4 off silhouettes, flow to 0.01 px, masks."""
    for a, b in zip(by_gl, by_ray, strict=True):
        same = a.ids == b.ids
        assert same.mean() >= 0.999
        inner = same & ~_silhouette(a.ids)
        assert np.abs(a.depth / b.depth - 1)[inner].max() < 1e-4
        both = inner & np.isfinite(a.flow).all(-1)
        assert both.sum() == (inner & np.isfinite(b.flow).all(-1)).sum() > 0.8 * inner.sum()
        assert np.abs(a.flow - b.flow)[both].max() < 0.01
        assert (a.occluded == b.occluded)[inner].mean() > 0.999
        assert (a.outside == b.outside)[inner].mean() > 0.999
        assert np.abs(a.rgb.astype(float) - b.rgb).mean() < 4


@pytest.mark.parametrize(("world", "size"), [("stillbox", 96), ("street", 64), ("colon", 96)])
def test_back_ends_agree_on_the_worlds(world, size):
    """Relief, gloss, gamma and many moving bodies: ids, flow and nearly all z as above.

    A colon's folds are edges of depth within one body, hence the quantile.
    """
    kind = find_world(world)
    scene = kind.make(kind.options(), 5, frames=2, size=(size, size))
    renders = []
    for renderer in (gl_renderer(), open_renderer("ray")):
        renderer.load(scene)
        renders.append(renderer.render(0, 1))
    a, b = renders
    assert (a.ids == b.ids).mean() >= 0.999
    inner = (a.ids == b.ids) & ~_silhouette(a.ids)
    assert np.quantile(np.abs(a.depth / b.depth - 1)[inner], 0.999) < 1e-4
    both = inner & np.isfinite(a.flow).all(-1) & np.isfinite(b.flow).all(-1)
    assert np.abs(a.flow - b.flow)[both].max() < 0.01
    assert (a.occluded == b.occluded)[inner].mean() > 0.999


def test_all_bodies_are_seen_and_hidden_pixels_exist(by_gl):
    """The scene shows what it is for: every body, occlusion, points that leave."""
    assert set(np.unique(np.stack([r.ids for r in by_gl]))) == set(range(8))
    assert 0.002 < np.mean([r.occluded.mean() for r in by_gl]) < 0.1
    assert 0.002 < np.mean([r.outside.mean() for r in by_gl]) < 0.3
    assert by_gl[0].rgb.std() > 20


@pytest.mark.parametrize("backend", ["gl", "ray"])
def test_plane_facing_the_camera_has_constant_depth(backend):
    """A wall at 3 m has z = 3 in every pixel, to 1e-6, whatever the angle of the ray."""
    renderer = gl_renderer() if backend == "gl" else open_renderer("ray")
    wall = Body(meshes.box(np.array([40.0, 40.0, 2.0])), 0, make_pose(np.eye(3), (0, 0, 4)))
    renderer.load(_scene_of(wall))
    assert renderer.render(0).depth == pytest.approx(3.0, rel=1e-6)


@pytest.mark.parametrize("backend", ["gl", "ray"])
def test_flow_has_the_hand_derived_value(backend):
    """Moving t to the right of a wall at Z shifts it by -f t / Z: 64 * 0.3 / 3 = 6.4 px."""
    renderer = gl_renderer() if backend == "gl" else open_renderer("ray")
    wall = Body(meshes.box(np.array([40.0, 40.0, 2.0])), 0, make_pose(np.eye(3), (0, 0, 4)))
    poses = make_pose(np.eye(3), np.array([[0.0, 0, 0], [0.3, 0, 0]]))
    renderer.load(replace(_scene_of(wall), T_world_cam=poses, times=np.arange(2.0)))
    render = renderer.render(0, 1)
    assert render.flow[..., 0] == pytest.approx(-6.4, abs=1e-4)
    assert render.flow[..., 1] == pytest.approx(0, abs=1e-4)
    assert render.outside[:, :6].all() and not render.outside[:, 7:].any()
    assert not render.occluded.any()


def test_flow_is_reprojection_by_depth_and_poses(by_gl):
    """On what stands still, flow equals K T (z K^-1 p) - p to 1e-3 px."""
    scene = small_scene()
    still = ~np.isin(by_gl[0].ids, scene.moving_ids)
    for i, render in enumerate(by_gl):
        flow = _rigid_flow(scene, render.depth, i, i + 1)
        still = ~np.isin(render.ids, scene.moving_ids)
        assert np.abs(flow - render.flow)[still].max() < 1e-3


def test_moving_bodies_leave_the_rigid_flow(by_gl):
    """Where a body moves, flow differs from the camera's own by more than 0.1 px."""
    scene = small_scene()
    for i, render in enumerate(by_gl):
        difference = np.linalg.norm(
            _rigid_flow(scene, render.depth, i, i + 1) - render.flow, axis=-1
        )
        moving = np.isin(render.ids, scene.moving_ids)
        assert (difference[moving] > 0.1).mean() > 0.9 and moving.sum() > 100


def test_backward_flow_of_the_seen_points_undoes_the_forward_one(by_gl):
    """Following the flow and back from there ends where it began, for points that stay visible."""
    renderer = gl_renderer()
    renderer.load(small_scene())
    back = renderer.render(1, 0)
    first = by_gl[0]
    v, u = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    x, y = u + first.flow[..., 0], v + first.flow[..., 1]
    returned = cv2.remap(back.flow, x, y, cv2.INTER_LINEAR)
    kept = ~first.occluded & ~first.outside
    kept &= ~_silhouette(first.ids) & (_same_id(first.ids, back.ids, x, y))
    error = np.linalg.norm(returned + first.flow, axis=-1)[kept]
    assert np.median(error) < 0.01 and np.quantile(error, 0.95) < 0.3


def test_warping_with_truth_rebuilds_the_frame(by_gl):
    """The next frame sampled along the flow is this frame, where points stay visible."""
    renderer = gl_renderer()
    renderer.load(small_scene())
    nxt = renderer.render(1).rgb
    first = by_gl[0]
    v, u = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    rebuilt = cv2.remap(nxt, u + first.flow[..., 0], v + first.flow[..., 1], cv2.INTER_LINEAR)
    kept = ~first.occluded & ~first.outside & ~_silhouette(first.ids)
    error = np.abs(rebuilt.astype(float) - first.rgb)[kept].mean()
    unwarped = np.abs(nxt.astype(float) - first.rgb)[kept].mean()
    assert error < 6 and error < 0.35 * unwarped


def test_occlusion_is_the_ray_to_the_point(by_gl):
    """A box in front of a wall, the camera moves right: hidden is the strip at the box's LEFT edge.

    Box face at 2 m, wall at 4 m, f = 64, t = 0.5: the box moves 16 px, the wall 8, so the strip
    that the box newly covers is 8 px wide.
    """
    wall = Body(meshes.box(np.array([60.0, 60.0, 2.0])), 0, make_pose(np.eye(3), (0, 0, 5)))
    box = Body(meshes.box(np.array([1.0, 60.0, 0.1])), 0, make_pose(np.eye(3), (0.5, 0, 2.05)))
    poses = make_pose(np.eye(3), np.array([[0.0, 0, 0], [0.5, 0, 0]]))
    scene = replace(_scene_of(wall), bodies=(wall, box), T_world_cam=poses, times=np.arange(2.0))
    for backend in (gl_renderer(), open_renderer("ray")):
        backend.load(scene)
        render = backend.render(0, 1)
        rows = render.occluded.sum(1)
        assert set(np.unique(rows)) <= {7, 8, 9}
        left = np.flatnonzero((render.ids == 1)[0])[0]
        hidden = np.flatnonzero(render.occluded[0])
        assert abs(hidden.max() - (left - 1)) <= 1


def test_same_scene_same_pictures():
    """Rendering again, even after another scene and size, gives the same bits on this machine."""
    renderer = gl_renderer()
    renderer.load(small_scene())
    one = renderer.render(1, 2)
    renderer.load(small_scene(moving=False, size=(64, 64)))
    renderer.render(0)
    renderer.load(small_scene())
    two = renderer.render(1, 2)
    for name in ("rgb", "depth", "ids", "flow", "occluded", "outside"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_lamp_falls_with_the_squared_distance():
    """A white wall lit by the lamp alone: brightness at 2 m is a quarter of that at 1 m."""
    values = []
    for z in (1.0, 2.0):
        wall = Body(meshes.box(np.array([40.0, 40.0, 2.0])), 0, make_pose(np.eye(3), (0, 0, z + 1)))
        light = Light(ambient=0.0, sun=0.0, lamp=0.8)
        for renderer in (gl_renderer(), open_renderer("ray")):
            white = np.full((1, 16, 16, 3), 255, np.uint8)
            renderer.load(replace(_scene_of(wall), light=light, textures=white))
            values.append(renderer.render(0).rgb[46:50, 66:70].mean() / 255)
    assert values == pytest.approx([0.8, 0.8, 0.2, 0.2], abs=0.01)


def test_gamma_keeps_a_fully_lit_texture_as_it_is():
    """Brightness 1 shows the texture's own display value under any gamma."""
    wall = Body(meshes.box(np.array([40.0, 40.0, 2.0])), 0, make_pose(np.eye(3), (0, 0, 4)))
    grey = np.full((1, 16, 16, 3), 100, np.uint8)
    for renderer in (gl_renderer(), open_renderer("ray")):
        light = Light(ambient=1.0, sun=0.0, gamma=2.2)
        renderer.load(replace(_scene_of(wall), light=light, textures=grey))
        assert renderer.render(0).rgb == pytest.approx(100, abs=1)


def test_nothing_is_zero_depth_and_background():
    """Where no body is, depth is 0, the id NOTHING, flow NaN, and the background shows."""
    ball = Body(meshes.sphere(0.5), 0, make_pose(np.eye(3), (0, 0, 3)))
    for renderer in (gl_renderer(), open_renderer("ray")):
        renderer.load(
            replace(
                _scene_of(ball), T_world_cam=np.tile(np.eye(4), (2, 1, 1)), times=np.arange(2.0)
            )
        )
        render = renderer.render(0, 1)
        assert render.depth[0, 0] == 0 and render.ids[0, 0] == NOTHING
        assert np.isnan(render.flow[0, 0]).all()
        assert not render.outside[0, 0] and not render.occluded[0, 0]
        assert render.rgb[0, 0] == pytest.approx(np.array([0.6, 0.7, 0.85]) * 255, abs=1.5)
        assert render.depth[47, 67] == pytest.approx(2.5, abs=0.01)


def test_poses_between_frames_lie_on_the_geodesic():
    """Half way between two poses is half the twist; beyond the end it goes on."""
    poses = exp_se3([[0, 0, 0, 0, 0, 0], [1.0, 0, 0, 0, 0.4, 0]])
    np.testing.assert_allclose(pose_at(poses, 0.5), exp_se3([0.5, 0, 0, 0, 0.2, 0]), atol=1e-12)
    np.testing.assert_allclose(pose_at(poses, 2.0), exp_se3([2.0, 0, 0, 0, 0.8, 0]), atol=1e-12)


def _child(queue) -> None:
    renderer = open_renderer("gl")
    renderer.load(small_scene())
    queue.put(int(renderer.render(0).ids.max()))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_rendering_works_in_child_processes(method):
    """A context made in the parent does not hang a forked child; a spawned one works too."""
    gl_renderer().load(small_scene())
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_child, args=(queue,))
    child.start()
    try:
        assert queue.get(timeout=60) == 7
    finally:
        child.join(10)
        child.kill()


def test_memory_does_not_grow_with_scenes():
    """Sixty scenes later the process is not 20 MB larger (one scene's buffers are 1 MB)."""
    code = (
        "import resource, sys; sys.path.insert(0, 'tests/synth')\n"
        "from small_scene import small_scene, gl_renderer\n"
        "import pytest\n"
        "renderer, scene, used = gl_renderer(), small_scene(), []\n"
        "for i in range(70):\n"
        "    renderer.load(scene); renderer.render(0, 1)\n"
        "    pages = int(open('/proc/self/statm').read().split()[1])\n"
        "    used.append(pages * resource.getpagesize() / 2**20)\n"
        "print(used[-1] - used[9])\n"
    )
    gl_renderer()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 20


def test_no_opengl_names_the_fallback(monkeypatch):
    """Without a context "gl" is one line that names rays, and "auto" takes rays."""
    import moderngl

    def refuse(*args, **kwargs):
        raise Exception("libEGL.so not loaded")

    monkeypatch.setattr(render_gl, "_contexts", {})
    monkeypatch.setattr(moderngl, "create_context", refuse)
    with pytest.raises(EngineError, match=r"libEGL.so not loaded.*--backend ray"):
        open_renderer("gl")
    assert open_renderer("auto").name == "ray"


def test_missing_packages_name_the_extra(monkeypatch):
    """Without moderngl and embreex the extra is named."""
    for module in ("moderngl", "embreex"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(render_gl, "_contexts", {})
    with pytest.raises(EngineError, match=re.escape(install_line("synth"))):
        open_renderer("gl")
    with pytest.raises(EngineError, match=re.escape(install_line("synth"))):
        open_renderer("auto").load(small_scene())


def test_broken_scenes_are_refused():
    """No bodies, wrong poses, a texture that is not there: one line each."""
    scene = small_scene()
    with pytest.raises(DataError, match="no bodies"):
        replace(scene, bodies=())
    with pytest.raises(DataError, match="T_world_cam"):
        replace(scene, T_world_cam=np.eye(4))
    with pytest.raises(DataError, match="texture 99 of 8"):
        replace(scene, bodies=(replace(scene.bodies[0], texture=99),))
    with pytest.raises(DataError, match="T_world_body"):
        replace(scene, bodies=(replace(scene.bodies[0], T_world_body=np.zeros((2, 4, 4))),))


def test_too_many_moving_bodies_are_refused():
    """The poses have 127 places; more is one line."""
    track = np.tile(np.eye(4), (FRAMES, 1, 1))
    many = tuple(Body(meshes.sphere(0.1, rings=4), 0, track) for _ in range(128))
    with pytest.raises(EngineError, match="128 bodies move"):
        gl_renderer().load(replace(small_scene(), bodies=many))


def _scene_of(body: Body) -> Scene:
    """One body before a camera that stands still."""
    return Scene(
        (body,), texture_pool(3, 8, 64), camera(), np.eye(4)[None], np.zeros(1), Light(), far=100.0
    )


def _silhouette(ids: np.ndarray) -> np.ndarray:
    """Pixels beside another body. (H, W) bool"""
    kernel = np.ones((3, 3), np.uint8)
    ids = ids.astype(np.float32)
    return cv2.dilate(ids, kernel) != cv2.erode(ids, kernel)


def _same_id(here: np.ndarray, there: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether all four neighbours of (x, y) there show the body seen here. (H, W) bool"""
    low, high = (
        cv2.remap(f(there.astype(np.float32), np.ones((3, 3), np.uint8)), x, y, cv2.INTER_NEAREST)
        for f in (cv2.erode, cv2.dilate)
    )
    return (low == here) & (high == here)


def _rigid_flow(scene: Scene, depth: np.ndarray, t: int, to: int) -> np.ndarray:
    """Flow of a world that stands still, by depth and poses. (H, W, 2) float64"""
    K = scene.camera.K
    v, u = np.mgrid[: depth.shape[0], : depth.shape[1]].astype(np.float64)
    points = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(K).T * depth[..., None]
    T = inverse(scene.T_world_cam[to]) @ scene.T_world_cam[t]
    moved = (points @ T[:3, :3].T + T[:3, 3]) @ K.T
    return moved[..., :2] / moved[..., 2:] - np.stack([u, v], -1)


def test_left_view_has_half_pixel_borders():
    """The image covers [-0.5, W - 0.5): the half-open rule, and nothing behind the camera."""
    cam = camera()
    u = np.array([-0.51, -0.5, cam.width - 0.51, cam.width - 0.5, 10.0])
    z = np.array([1.0, 1.0, 1.0, 1.0, -1.0])
    left = visibility.left_view(u, np.full(5, 5.0), z, cam, 0.1)
    assert left.tolist() == [True, False, False, True, True]


def test_training_may_follow_rendering_in_one_process():
    """Mesa and triton both bring an LLVM; the wrong order ends in a crash of the process."""
    code = (
        "from depthkit.synth.render_gl import open_context; open_context();"
        "import lightning_fabric; print('alive')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if "no OpenGL context" in done.stderr:
        pytest.skip("no OpenGL here")
    assert done.stdout.strip() == "alive", done.stderr[-500:]
