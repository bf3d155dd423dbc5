# SPDX-License-Identifier: Apache-2.0
"""A small scene with a bit of everything, for the tests of both renderers."""

import numpy as np
import pytest

from depthkit.camera import Camera
from depthkit.errors import EngineError
from depthkit.rigid import exp_se3, make_pose
from depthkit.synth import meshes
from depthkit.synth.patterns import texture_pool
from depthkit.synth.render import Renderer, open_renderer
from depthkit.synth.scene import Body, Light, Scene

FRAMES = 4
SIZE = (96, 128)


def gl_renderer() -> Renderer:
    """Open the OpenGL renderer, or skip with the reason."""
    try:
        return open_renderer("gl")
    except EngineError as error:
        pytest.skip(str(error))


def camera(size: tuple[int, int] = SIZE) -> Camera:
    """Return a camera 90 degrees wide, its centre a little off."""
    height, width = size
    return Camera(width, height, width / 2, width / 2, (width - 1) / 2 + 3, (height - 1) / 2 - 2)


def small_scene(*, moving: bool = True, size: tuple[int, int] = SIZE) -> Scene:
    """Return a room with solids; two of them move, one of those breathes; the camera turns."""
    bodies = [Body(meshes.box(np.array([16.0, 9.0, 24.0]), 0.3), 0, np.eye(4))]
    places = [(-2, 1, 5), (2, -1, 4), (0, 2, 7), (3, 1, 8), (-4, -2, 9)]
    makers = [
        meshes.sphere(0.9),
        meshes.cylinder(0.6, 1.8),
        meshes.cone(0.8, 2.0),
        meshes.torus(0.9, 0.25),
        meshes.box(np.array([1.5, 1.0, 2.0]), 0.5),
    ]
    for i, (place, mesh) in enumerate(zip(places, makers, strict=True)):
        pose = make_pose(exp_se3([0, 0, 0, 0.3 * i, 0.5, 0.2])[:3, :3], place)
        bodies.append(Body(mesh, 1 + i, pose))
    if moving:
        track = np.stack([make_pose(np.eye(3), (-1 + 0.2 * i, 0, 3)) for i in range(FRAMES)])
        bodies.append(Body(meshes.box(np.array([0.6, 0.6, 0.6]), 1.0), 6, track))
        ball = meshes.sphere(0.5)

        def breathe(t: float) -> tuple[np.ndarray, np.ndarray]:
            return ball.vertices * np.float32(1 + 0.1 * t), ball.normals

        bodies.append(Body(ball, 7, make_pose(np.eye(3), (1, 0.5, 3)), deform=breathe))
    steps = [[0.15 * i, 0.02 * i, 0.2 * i, 0, 0.02 * i, 0.01 * i] for i in range(FRAMES)]
    return Scene(
        bodies=tuple(bodies),
        textures=texture_pool(3, 8, 64),
        camera=camera(size),
        T_world_cam=exp_se3(steps),
        times=np.arange(FRAMES) / 10,
        light=Light(ambient=0.5, sun=0.5),
    )
