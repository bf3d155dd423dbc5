# SPDX-License-Identifier: Apache-2.0
"""The renderer without OpenGL: rays by embreex, shading in numpy. Slower, and a check of the other.

Rays are shot with camera z = 1, so the parameter of a hit IS the depth. Same light as the shaders;
textures without mipmaps, and `Body.relief` is not drawn.
"""

import cv2
import numpy as np

from depthkit.errors import EngineError
from depthkit.installation import install_line
from depthkit.rigid import inverse
from depthkit.synth.scene import NOTHING, Render, Scene
from depthkit.synth.visibility import (
    RayCaster,
    flow_to,
    hidden,
    rays_of,
    world_vertices,
)

SAMPLES = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))  # pixels


class RayRenderer:
    """Renders one loaded scene at a time."""

    name = "ray"

    def __init__(self) -> None:
        """Find embreex.

        Raises:
            EngineError: it is not installed.
        """
        try:
            import embreex  # noqa: F401
        except ModuleNotFoundError:
            raise EngineError(
                f"rendering with rays needs embreex; run: {install_line('synth')}, or use "
                "--backend gl"
            ) from None

    def load(self, scene: Scene) -> None:
        """Take a scene; the one before is forgotten."""
        self.scene, self.caster = scene, RayCaster(scene)
        self.vertices: dict[tuple[int, float], np.ndarray] = {}

    def render(self, t: float, to: float | None = None, *, truth: bool = True) -> Render:
        """Render the loaded scene; see `render.Renderer`."""
        scene, size = self.scene, self.scene.camera.size
        self.vertices.clear()
        total = sum((self._shoot_colours(t, offset) for offset in SAMPLES), np.zeros(3))
        rgb = np.rint(total * (255 / len(SAMPLES))).astype(np.uint8).reshape(*size, 3)
        if not truth:
            nothing = np.zeros(size, np.float32)
            return Render(rgb, nothing, nothing.astype(np.uint16))
        pose = scene.camera_pose(t)
        hit = self.caster.cast(pose[:3, 3], rays_of(scene.camera, pose, (0.0, 0.0)), t)
        seen = (hit["body"] >= 0) & (hit["tfar"] > scene.near) & (hit["tfar"] < scene.far)
        depth = np.where(seen, hit["tfar"], 0).astype(np.float32).reshape(size)
        ids = np.where(seen, hit["body"], NOTHING).astype(np.uint16).reshape(size)
        if to is None:
            return Render(rgb, depth, ids)
        points = self._points(hit, to)
        T_cam_world = inverse(scene.camera_pose(to))
        there = (points @ T_cam_world[:3, :3].T + T_cam_world[:3, 3]).reshape(*size, 3)
        return self._with_flow(rgb, depth, ids, there, to)

    def close(self) -> None:
        """Forget the scene."""
        for name in ("scene", "caster", "vertices"):
            self.__dict__.pop(name, None)

    def _with_flow(
        self, rgb: np.ndarray, depth: np.ndarray, ids: np.ndarray, there: np.ndarray, to: float
    ) -> Render:
        seen = ids != NOTHING
        flow, outside = flow_to(there, seen, self.scene.camera, self.scene.near)
        occluded = hidden(self.caster, there.astype(np.float32), seen & ~outside, to)
        return Render(rgb, depth, ids, flow, outside, occluded)

    def _corners(self, hit: dict[str, np.ndarray], i: int, chosen: np.ndarray) -> np.ndarray:
        """Vertex numbers of the hit triangles of body i. (M, 3)"""
        return self.scene.bodies[i].mesh.faces[hit["face"][chosen]]

    def _points(self, hit: dict[str, np.ndarray], t: float) -> np.ndarray:
        """Where the hit points are in the world at another time. (N, 3) float64"""
        points = np.zeros((len(hit["body"]), 3))
        for i, chosen, weights in self._by_body(hit):
            corners = self._world(i, t)[self._corners(hit, i, chosen)]
            points[chosen] = np.einsum("nk,nkc->nc", weights, corners)
        return points

    def _world(self, i: int, t: float) -> np.ndarray:
        if (i, t) not in self.vertices:
            self.vertices[i, t] = world_vertices(self.scene, i, t)
        return self.vertices[i, t]

    def _by_body(self, hit: dict[str, np.ndarray]):  # type: ignore[no-untyped-def]
        """Yield each seen body, which rays hit it, and their barycentric weights (M, 3)."""
        for i in np.unique(hit["body"]):
            if i >= 0:
                chosen = np.flatnonzero(hit["body"] == i)
                u, v = hit["u"][chosen], hit["v"][chosen]
                yield int(i), chosen, np.stack([1 - u - v, u, v], axis=1)

    def _shoot_colours(self, t: float, offset: tuple[float, float]) -> np.ndarray:
        """Colours of the rays through the pixels plus an offset, in [0, 1]. (H*W, 3)"""
        scene = self.scene
        pose = scene.camera_pose(t)
        rays = rays_of(scene.camera, pose, offset)
        hit = self.caster.cast(pose[:3, 3], rays, t)
        colours = np.tile(np.array(scene.background), (len(rays), 1))
        for i, chosen, weights in self._by_body(hit):
            points = rays[chosen] * hit["tfar"][chosen, None]  # from the camera, world axes
            body, corners = scene.bodies[i], self._corners(hit, i, chosen)
            normals = body.deform(t)[1] if body.deform else body.mesh.normals
            normal = np.einsum("nk,nkc->nc", weights, normals[corners])
            normal = normal @ scene.body_pose(body, t)[:3, :3].T
            uv = np.einsum("nk,nkc->nc", weights, body.mesh.uv[corners])
            albedo = _sample(scene.textures[body.texture], uv)
            colours[chosen] = _shade(scene, body.gloss, albedo, normal, points)
        return colours


def _sample(texture: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Sample a repeating texture bilinearly, as OpenGL does. (N, 2) -> (N, 3) in [0, 1]"""
    height, width, _ = texture.shape
    x = ((uv[:, 0] % 1) * width - 0.5).astype(np.float32)
    y = ((uv[:, 1] % 1) * height - 0.5).astype(np.float32)
    # remap takes at most 32767 rows: fold the points into a table.
    rows = -(-len(x) // 1024)
    pad = rows * 1024 - len(x)
    x, y = (np.pad(a, (0, pad)).reshape(rows, 1024) for a in (x, y))
    sampled = cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return sampled.reshape(-1, 3)[: len(uv)] / 255.0


def _shade(
    scene: Scene, gloss: float, albedo: np.ndarray, normal: np.ndarray, points: np.ndarray
) -> np.ndarray:
    """Light points as colour.frag does. points: from the camera, metres, world axes. (N, 3)"""
    light = scene.light
    distance2 = (points**2).sum(1)
    to_camera = -points / np.sqrt(distance2)[:, None]
    normal = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    facing = (normal * to_camera).sum(1)
    normal = normal * np.where(facing < 0, -1, 1)[:, None]
    facing = np.abs(facing)
    sun = np.asarray(light.sun_direction) / np.linalg.norm(light.sun_direction)
    lamp = light.lamp / distance2
    bright = light.ambient + light.sun * np.maximum(normal @ sun, 0) + lamp * facing
    shade = albedo**light.gamma * bright[:, None]
    shade += (gloss * lamp * facing**light.shininess)[:, None]
    return np.clip(shade, 0, 1) ** (1 / light.gamma)
