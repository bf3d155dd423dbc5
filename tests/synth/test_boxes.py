# SPDX-License-Identifier: Apache-2.0
"""The box world: its truth must be exact, its pictures must agree with its truth."""

import time

import cv2
import numpy as np
import pytest

from depthkit.data.sequence import open_sequence
from depthkit.errors import DataError
from depthkit.rigid import inverse
from depthkit.synth.boxes import (
    ROOM_CENTRE,
    ROOM_HALF,
    BoxScene,
    box_camera,
    camera_path,
    make_box_scene,
    render,
    trace,
    write_box_sequence,
)
from depthkit.synth.path import STEP, forward_path

SIZE = (96, 128)
FAR_WALL = ROOM_CENTRE[2] + ROOM_HALF[2]


def pose(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    T = np.eye(4)
    T[:3, 3] = x, y, z
    return T


def project(depth, camera, T_source_target):
    """Reference warp, written apart from the package: pixel and depth in the source frame."""
    v, u = np.mgrid[: camera.height, : camera.width].astype(np.float64)
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1)
    X = depth[..., None] * (pixels @ np.linalg.inv(camera.K).T)
    X = X @ T_source_target[:3, :3].T + T_source_target[:3, 3]
    p = X @ camera.K.T
    return p[..., 0] / p[..., 2], p[..., 1] / p[..., 2], X[..., 2]


def warp_error(target, source, camera, T_source_target) -> float:
    """Mean absolute colour error on the pixels that both frames see, as a share of the range."""
    u, v, z = project(target.depth.astype(np.float64), camera, T_source_target)
    maps = u.astype(np.float32), v.astype(np.float32)
    rebuilt = cv2.remap(source.rgb.astype(np.float32), *maps, cv2.INTER_LINEAR)
    seen_depth = cv2.remap(source.depth, *maps, cv2.INTER_NEAREST)
    inside = (u > 0) & (u < camera.width - 1) & (v > 0) & (v < camera.height - 1)
    visible = inside & (np.abs(seen_depth / z - 1) < 0.02)
    assert visible.mean() > 0.7
    return float(np.abs(rebuilt - target.rgb)[visible].mean() / 255)


def test_depth_of_a_facing_wall_is_constant():
    """A plane facing the camera has one depth, not one distance: 14 m to the wall from z = 0."""
    scene = BoxScene(make_box_scene(0).room, ())
    depth, ids = trace(scene, box_camera((48, 64)), pose())
    middle = depth[18:30, 18:46]
    assert np.all(middle == FAR_WALL)
    assert not ids.any()


def test_depth_of_floor_and_side_wall_by_hand():
    """Floor at y = 2: the ray of row v has slope (v - cy) / fy, so z = 2 fy / (v - cy)."""
    scene = BoxScene(make_box_scene(0).room, ())
    camera = box_camera((96, 128))  # fx = fy = 102.4, cx = 63.5, cy = 47.5
    depth, _ = trace(scene, camera, pose(z=1.0))
    assert depth[95, 64] == pytest.approx(2 * 102.4 / 47.5, rel=1e-12)
    # Wall at x = 4.5, column 127 at mid height: z = 4.5 fx / 63.5.
    assert depth[48, 127] == pytest.approx(4.5 * 102.4 / 63.5, rel=1e-12)


def test_depth_of_a_box_by_hand():
    """Looking straight down at a box from above, the depth is the distance of its top face."""
    box = make_box_scene(3, boxes=3).boxes[2]
    centre = inverse(box.T_box_world)[:3, 3]
    T = pose(centre[0], -1.5, centre[2])
    T[:3, :3] = [[1, 0, 0], [0, 0, 1], [0, -1, 0]]  # optical axis = world y (down)
    depth, ids = trace(make_box_scene(3, boxes=3), box_camera((33, 33)), T)
    assert ids[16, 16] == 3
    assert depth[16, 16] == pytest.approx(centre[1] - box.half[1] + 1.5, rel=1e-12)


def test_depth_is_independent_of_what_is_behind_the_camera():
    """A box behind the camera is not seen."""
    scene = make_box_scene(0)
    _, ids = trace(scene, box_camera(SIZE), pose(z=13.5))
    assert not ids.any()


def test_points_of_two_views_coincide():
    """A pixel's point, moved to the next camera, lies where that camera measures depth."""
    scene, camera = make_box_scene(1), box_camera(SIZE)
    path = camera_path(2, seed=1)
    depth, _ = trace(scene, camera, path[0])
    u, v, z = project(depth, camera, inverse(path[1]) @ path[0])
    row, column = 30, 70
    # Point the second camera's pixel grid at the projected place, so nothing is interpolated.
    shifted = type(camera)(
        1, 1, camera.fx, camera.fy, camera.cx - u[row, column], camera.cy - v[row, column]
    )
    again, _ = trace(scene, shifted, path[1])
    assert again[0, 0] == pytest.approx(z[row, column], rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_warp_with_true_depth_and_pose_rebuilds_the_colours(seed):
    """Colours are Lambertian and depth and poses exact: warping errs below 1 % of the range."""
    scene, camera = make_box_scene(seed), box_camera(SIZE)
    path = camera_path(12, seed)
    for i in (0, 10):
        target, source = (render(scene, camera, T) for T in path[i : i + 2])
        assert warp_error(target, source, camera, inverse(path[i + 1]) @ path[i]) < 0.01


def test_warp_with_wrong_depth_does_not_rebuild_the_colours():
    """The textures are rich enough that 30 % too much depth at least doubles the error."""
    scene, camera = make_box_scene(0), box_camera(SIZE)
    path = camera_path(2, 0)
    target, source = (render(scene, camera, T) for T in path)
    u, v, _ = project(1.3 * target.depth.astype(np.float64), camera, inverse(path[1]) @ path[0])
    maps = u.astype(np.float32), v.astype(np.float32)
    rebuilt = cv2.remap(source.rgb.astype(np.float32), *maps, cv2.INTER_LINEAR)
    wrong = np.abs(rebuilt - target.rgb)[10:-10, 10:-10].mean() / 255
    assert wrong > 2 * warp_error(target, source, camera, inverse(path[1]) @ path[0])


@pytest.mark.parametrize("seed", range(3))
def test_path_gives_parallax_that_teaches(seed):
    """Between neighbours the translation alone moves the median pixel 1.5 to 8 px at 96 x 128."""
    scene, camera = make_box_scene(seed), box_camera(SIZE)
    path = camera_path(8, seed)
    for a, b in zip(path[:-1], path[1:], strict=True):
        depth, _ = trace(scene, camera, a)
        T_b_a = inverse(b) @ a
        only_turn = T_b_a.copy()
        only_turn[:3, 3] = 0
        u, v, _ = project(depth, camera, T_b_a)
        u0, v0, _ = project(depth, camera, only_turn)
        assert 1.5 < np.median(np.hypot(u - u0, v - v0)) < 8


def test_path_steps_are_even_and_rotations_are_rotations():
    """Neighbours are one step apart along the curve, poses are rigid, turns below 1.5 degrees."""
    path = camera_path(200, seed=4)
    R = path[:, :3, :3]
    assert np.allclose(R @ R.transpose(0, 2, 1), np.eye(3), atol=1e-12)
    assert np.allclose(np.linalg.det(R), 1)
    steps = np.linalg.norm(np.diff(path[:, :3, 3], axis=0), axis=1)
    assert np.all(steps <= STEP + 1e-6) and np.all(steps > 0.7 * STEP)
    turns = R[:-1].transpose(0, 2, 1) @ R[1:]
    angles = np.degrees(np.arccos(np.clip((np.trace(turns, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    assert angles.max() < 1.5


@pytest.mark.parametrize("seed", range(8))
def test_path_never_enters_a_box(seed):
    """The camera keeps away from every surface: nothing is nearer than 0.3 m."""
    scene, camera = make_box_scene(seed, boxes=15), box_camera((12, 16))
    nearest = min(trace(scene, camera, T)[0].min() for T in camera_path(60, seed)[::3])
    assert nearest > 0.3


def test_forward_path_goes_forward_and_keeps_clear():
    """Every step of a forward flight leads into the room, and no surface comes near."""
    camera = box_camera((12, 16))
    for seed in range(8):
        path = forward_path(25, seed)
        assert np.all(np.diff(path[:, 2, 3]) > 0.9 * STEP)
        scene = make_box_scene(seed, boxes=15)
        assert min(trace(scene, camera, T)[0].min() for T in path[::3]) > 0.3
    with pytest.raises(DataError, match="expected 1 to 25 frames, got 26"):
        forward_path(26, 0)


def test_same_seed_same_pictures_other_seed_others():
    """A scene and a path are functions of their seed."""
    camera = box_camera((24, 32))
    frames = [render(make_box_scene(s), camera, camera_path(3, s)[2]) for s in (5, 5, 6)]
    assert frames[0].rgb.tobytes() == frames[1].rgb.tobytes()
    assert frames[0].depth.tobytes() == frames[1].depth.tobytes()
    assert frames[0].rgb.tobytes() != frames[2].rgb.tobytes()


def test_frame_has_the_promised_types():
    """Colours are uint8, depth float32, ids uint16, all of the camera's size."""
    frame = render(make_box_scene(0), box_camera((24, 32)), pose())
    assert (frame.rgb.dtype, frame.depth.dtype, frame.ids.dtype) == (
        np.uint8,
        np.float32,
        np.uint16,
    )
    assert frame.rgb.shape == (24, 32, 3) and frame.depth.shape == frame.ids.shape == (24, 32)
    assert set(np.unique(frame.ids)) <= set(range(11)) and frame.ids.max() > 0


def test_render_is_fast():
    """A frame of 96 x 128 takes well under 50 ms of the processor on the machine of record."""
    scene, camera = make_box_scene(0), box_camera(SIZE)
    start = time.process_time()
    for T in camera_path(4, 0):
        render(scene, camera, T)
    assert (time.process_time() - start) / 4 < 0.15  # a margin for slow machines


def test_camera_outside_the_room_is_an_error():
    """A camera beyond the walls sees no surface: refuse it and say where it is."""
    with pytest.raises(DataError, match="outside the room"):
        render(make_box_scene(0), box_camera((24, 32)), pose(x=9.0))
    with pytest.raises(DataError, match="finite"):
        render(make_box_scene(0), box_camera((24, 32)), np.full((4, 4), np.nan))
    with pytest.raises(DataError, match="at least one frame"):
        camera_path(0, 0)


def test_written_sequence_reads_back_exactly(tmp_path):
    """The sequence folder holds the rendered colours, depth to half a millimetre, and the poses."""
    write_box_sequence(tmp_path / "room", 3, (48, 64), 2, path_seed=7)
    sequence = open_sequence(tmp_path / "room")
    scene, camera, path = make_box_scene(2), box_camera((48, 64)), camera_path(3, 7)
    frame = render(scene, camera, path[1])
    assert len(sequence) == 3 and sequence.camera == camera and sequence.depth_kind == "metric"
    assert np.array_equal(sequence.read_frame(1), frame.rgb)
    assert np.abs(sequence.read_depth(1) - frame.depth).max() <= 0.5e-3 + 1e-6
    assert sequence.poses is not None
    assert np.allclose(sequence.poses, path, atol=1e-7)
