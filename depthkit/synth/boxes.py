# SPDX-License-Identifier: Apache-2.0
"""A room full of boxes, seen by a moving camera, with exact depth and poses. Numpy alone.

Rays are shot with camera z = 1, so the parameter of a hit IS the depth along the optical axis
(slab test, float64). Colours are Lambertian and averaged over 2 x 2 samples a pixel; depth is
taken through the pixel centre and is never averaged. World axes: x right, y down, z forward.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depthkit.camera import Camera
from depthkit.errors import DataError
from depthkit.synth.path import camera_path, turns
from depthkit.synth.texture import Texture, colour, make_texture

ROOM_CENTRE, ROOM_HALF = (0.0, 0.0, 6.0), (4.5, 2.0, 8.0)  # metres
FREE_HALF_WIDTH, FREE_END = 2.0, 6.0  # metres; no tall box stands where the camera flies
ROOM_DETAIL, BOX_DETAIL = 0.6, 0.35  # shortest waves of the textures, metres
FRAMES_PER_SECOND = 10.0
LIGHT = np.array([0.35, -0.8, -0.5]) / np.linalg.norm([0.35, -0.8, -0.5])
SAMPLES = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))  # pixels
TINY = 1e-12  # stands for a ray component of exactly zero, to keep the slab test finite


@dataclass(frozen=True)
class Box:
    """One solid box, or the room when seen from inside."""

    T_box_world: np.ndarray
    """World points to box coordinates, metres. (4, 4) float64"""
    half: np.ndarray
    """Half extents along the box axes, metres. (3,) float64"""
    texture: Texture
    """Colour of each point, in box coordinates."""
    shade: np.ndarray
    """Brightness of the faces -x, +x, -y, +y, -z, +z. (6,) float32"""


@dataclass(frozen=True)
class BoxScene:
    """A room and what stands in it."""

    room: Box
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Frame:
    """A rendered image with its ground truth."""

    rgb: np.ndarray
    """Colours, anti-aliased. (H, W, 3) uint8"""
    depth: np.ndarray
    """Depth along the optical axis at the pixel centres, metres. (H, W) float32"""
    ids: np.ndarray
    """Surface at the pixel centres: 0 the room, i the box `boxes[i - 1]`. (H, W) uint16"""


def make_box_scene(seed: int, boxes: int = 10) -> BoxScene:
    """Draw a room of 9 x 4 x 16 m and the boxes in it.

    Args:
        seed: same seed, same scene.
        boxes: number of boxes; every third stands at the far end, every third is low.
    """
    rng = np.random.default_rng(seed)
    room = _make_box(rng, np.array(ROOM_CENTRE), np.array(ROOM_HALF), yaw=0.0, inside=True)
    return BoxScene(room, tuple(_place_box(rng, i) for i in range(boxes)))


def box_camera(size: tuple[int, int]) -> Camera:
    """Return the pinhole camera of the scenes: 64 degrees wide, centred.

    Args:
        size: (H, W), pixels.
    """
    height, width = size
    f = 0.8 * width
    return Camera(width=width, height=height, fx=f, fy=f, cx=(width - 1) / 2, cy=(height - 1) / 2)


def trace(
    scene: BoxScene, camera: Camera, T_world_cam: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Measure the depth through the pixel centres.

    Args:
        scene: the room.
        camera: intrinsics and size.
        T_world_cam: camera pose, metres. (4, 4)

    Returns:
        depth: along the optical axis, metres. (H, W) float64
        ids: 0 the room, i the box `boxes[i - 1]`. (H, W) uint16
    """
    rays = _rays(camera, T_world_cam, (0.0, 0.0))
    depth, ids = _first_hit(scene, T_world_cam[:3, 3], rays)
    return depth.reshape(camera.size), ids.reshape(camera.size)


def render(scene: BoxScene, camera: Camera, T_world_cam: np.ndarray) -> Frame:
    """Take a picture.

    Args:
        scene: the room.
        camera: intrinsics and size.
        T_world_cam: camera pose, inside the room, metres. (4, 4)
    """
    T_world_cam = np.asarray(T_world_cam, dtype=np.float64)
    _check_pose(scene, T_world_cam)
    depth, ids = trace(scene, camera, T_world_cam)
    total = np.zeros((depth.size, 3), dtype=np.float32)
    for offset in SAMPLES:
        total += _shoot_colours(scene, T_world_cam, _rays(camera, T_world_cam, offset))
    rgb = np.rint(total * (255 / len(SAMPLES))).astype(np.uint8)
    return Frame(rgb.reshape(*camera.size, 3), depth.astype(np.float32), ids)


def render_path(scene: BoxScene, camera: Camera, T_world_cam: np.ndarray) -> Iterator[Frame]:
    """Take one picture a pose. T_world_cam: (N, 4, 4), metres."""
    return (render(scene, camera, pose) for pose in T_world_cam)


def write_box_sequence(
    path: Path, frames: int, size: tuple[int, int], seed: int, *, path_seed: int | None = None
) -> None:
    """Write a sequence folder with exact depth and poses along `camera_path`.

    Args:
        path: the folder; it must not exist.
        frames: number of frames, at 10 a second.
        size: (H, W), pixels.
        seed: seed of the scene.
        path_seed: seed of the flight through it; the scene's seed if None.
    """
    write_flight(path, camera_path(frames, seed if path_seed is None else path_seed), size, seed)


def write_flight(path: Path, T_world_cam: np.ndarray, size: tuple[int, int], seed: int) -> None:
    """Write a sequence folder with exact depth along given poses.

    Args:
        path: the folder; it must not exist.
        T_world_cam: inside the room, metres. (N, 4, 4)
        size: (H, W), pixels.
        seed: seed of the scene.
    """
    from depthkit.data.sequence import SequenceWriter

    scene, camera = make_box_scene(seed), box_camera(size)
    source = {"synthetic": "boxes", "seed": seed}
    with SequenceWriter(path, camera, depth_kind="metric", source=source, ext="png") as writer:
        for i, frame in enumerate(render_path(scene, camera, T_world_cam)):
            time = i / FRAMES_PER_SECOND
            writer.add_frame(frame.rgb, time, T_world_cam=T_world_cam[i], depth=frame.depth)


def _make_box(
    rng: np.random.Generator, centre: np.ndarray, half: np.ndarray, *, yaw: float, inside: bool
) -> Box:
    R = turns(np.array(yaw), np.zeros(()), np.zeros(()))
    T_box_world = np.eye(4)
    T_box_world[:3, :3], T_box_world[:3, 3] = R.T, -R.T @ centre
    outward = np.stack([sign * R[:, axis] for axis in range(3) for sign in (-1, 1)])
    facing = (outward @ LIGHT) * (-1 if inside else 1)
    shade = (0.85 + 0.3 * facing).astype(np.float32)
    detail = ROOM_DETAIL if inside else BOX_DETAIL
    return Box(T_box_world, half, make_texture(rng, detail), shade)


def _place_box(rng: np.random.Generator, i: int) -> Box:
    """Stand a box on the floor: beside the flight, beyond its end, or low under it."""
    half = rng.uniform([0.3, 0.6, 0.3], [0.7, 1.5, 0.7])
    reach = float(np.hypot(half[0], half[2]))
    match i % 3:
        case 0:
            x = rng.choice([-1, 1]) * rng.uniform(FREE_HALF_WIDTH + reach, ROOM_HALF[0] - 0.3)
            z = rng.uniform(2.5, 12.0)
        case 1:
            x, z = rng.uniform(-3.0, 3.0), rng.uniform(FREE_END + reach, 13.0)
        case _:
            half[1] = rng.uniform(0.2, 0.5)
            x, z = rng.uniform(-3.0, 3.0), rng.uniform(2.5, 10.0)
    centre = np.array([x, ROOM_HALF[1] - half[1], z])
    return _make_box(rng, centre, half, yaw=rng.uniform(0, np.pi / 2), inside=False)


def _rays(camera: Camera, T_world_cam: np.ndarray, offset: tuple[float, float]) -> np.ndarray:
    """World directions with camera z = 1, through the pixel centres plus an offset. (H*W, 3)"""
    v, u = np.mgrid[: camera.height, : camera.width].reshape(2, -1).astype(np.float64)
    x = (u + offset[0] - camera.cx) / camera.fx
    y = (v + offset[1] - camera.cy) / camera.fy
    return np.stack([x, y, np.ones_like(x)], axis=1) @ T_world_cam[:3, :3].T


def _first_hit(
    scene: BoxScene, origin: np.ndarray, rays: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest surface of each ray: its parameter (N,) float64 and its id (N,)."""
    _, best = _slabs(scene.room, origin, rays)
    ids = np.zeros(len(rays), dtype=np.uint16)
    for i, box in enumerate(scene.boxes, start=1):
        enter, leave = _slabs(box, origin, rays)
        hit = (enter <= leave) & (enter > 0) & (enter < best)
        best[hit] = enter[hit]
        ids[hit] = i
    return best, ids


def _slabs(box: Box, origin: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where each ray enters and leaves the infinite slabs' intersection. (N,), (N,)"""
    R, t = box.T_box_world[:3, :3], box.T_box_world[:3, 3]
    o = R @ origin + t
    enter, leave = np.full(len(rays), -np.inf), np.full(len(rays), np.inf)
    for axis in range(3):
        d = rays @ R[axis]
        d[np.abs(d) < TINY] = TINY
        reach = box.half[axis] / np.abs(d)
        middle = -o[axis] / d
        np.maximum(enter, middle - reach, out=enter)
        np.minimum(leave, middle + reach, out=leave)
    return enter, leave


def _shoot_colours(scene: BoxScene, T_world_cam: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Colour of the first surface of each ray, in [0, 1]. (N, 3) float32"""
    depth, ids = _first_hit(scene, T_world_cam[:3, 3], rays)
    points = T_world_cam[:3, 3] + rays * depth[:, None]
    rgb = np.empty((len(rays), 3), dtype=np.float32)
    for i, box in enumerate((scene.room, *scene.boxes)):
        seen = np.flatnonzero(ids == i)
        if seen.size:
            rgb[seen] = _surface(box, points[seen])
    return rgb


def _surface(box: Box, points: np.ndarray) -> np.ndarray:
    """Texture times the brightness of the face each world point lies on. (N, 3)"""
    local = points @ box.T_box_world[:3, :3].T + box.T_box_world[:3, 3]
    relative = local / box.half
    axis = np.argmax(np.abs(relative), axis=1)
    face = 2 * axis + (relative[np.arange(len(axis)), axis] > 0)
    rgb = colour(box.texture, local.astype(np.float32)) * box.shade[face][:, None]
    return np.minimum(rgb, 1.0)


def _check_pose(scene: BoxScene, T_world_cam: np.ndarray) -> None:
    if T_world_cam.shape != (4, 4) or not np.isfinite(T_world_cam).all():
        raise DataError(f"render: T_world_cam must be finite (4, 4), got {T_world_cam.shape}")
    local = (scene.room.T_box_world @ T_world_cam)[:3, 3]
    if (np.abs(local) >= scene.room.half).any():
        raise DataError(
            f"render: the camera at {T_world_cam[:3, 3].tolist()} m is outside the room; "
            "move it inside"
        )
