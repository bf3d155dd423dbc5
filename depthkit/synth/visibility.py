# SPDX-License-Identifier: Apache-2.0
"""Visibility at another time: points that leave the image, and points that are occluded.

Occlusion is decided by a ray to each point in the scene of the other time (embreex). Comparing
depth maps instead is wrong along silhouettes, where the mask matters most.
"""

from typing import Any

import numpy as np

from depthkit.camera import Camera
from depthkit.synth.scene import Scene

TOLERANCE = 1e-3  # share of the ray's length by which an occluding hit is nearer


class RayCaster:
    """Casts rays into a scene at any time; what stands still is built once."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        moving = set(scene.moving_ids.tolist())
        self.still = [i for i in range(len(scene.bodies)) if i not in moving]
        self.moving = sorted(moving)
        self.still_scene = self._build(self.still, 0.0) if self.still else None
        self.built: dict[float, Any] = {}

    @classmethod
    def open(cls, scene: Scene) -> "RayCaster | None":
        """Return a caster, None where embreex is not installed."""
        try:
            import embreex  # noqa: F401
        except ModuleNotFoundError:
            return None
        return cls(scene)

    def cast(self, origin: np.ndarray, rays: np.ndarray, t: float) -> dict[str, np.ndarray]:
        """Find the first hit of rays from one point.

        Args:
            origin: world, metres. (3,)
            rays: world, of any length. (N, 3)
            t: time, frames.

        Returns:
            tfar: parameter of the hit along the ray, inf where nothing is. (N,) float32
            body: number of the body, -1 for none. (N,)
            face: number of the triangle in the body. (N,)
            u, v: barycentric coordinates of its second and third corner. (N,)
        """
        origins = np.ascontiguousarray(np.broadcast_to(origin.astype(np.float32), rays.shape))
        rays = np.ascontiguousarray(rays, dtype=np.float32)
        parts = ((self.still_scene, self.still), (self._at(t), self.moving))
        hits = [self._cast_one(part, ids, origins, rays) for part, ids in parts if part is not None]
        best = hits[0]
        for other in hits[1:]:
            nearer = other["tfar"] < best["tfar"]
            best = {key: np.where(nearer, other[key], best[key]) for key in best}
        return best

    def blocked(self, origin: np.ndarray, rays: np.ndarray, t: float) -> np.ndarray:
        """Tell which rays hit something before `1 - TOLERANCE` of their length. (N,) bool"""
        origins = np.ascontiguousarray(np.broadcast_to(origin.astype(np.float32), rays.shape))
        rays = np.ascontiguousarray(rays, dtype=np.float32)
        reach = np.full(len(rays), 1 - TOLERANCE, np.float32)
        result = np.zeros(len(rays), bool)
        for built in (self.still_scene, self._at(t)):
            if built is not None:
                result |= built.run(origins, rays, reach, query="OCCLUDED") >= 0
        return result

    def _cast_one(
        self, built: Any, bodies: list[int], origins: np.ndarray, rays: np.ndarray
    ) -> dict[str, np.ndarray]:
        hit = built.run(origins, rays, output=1)
        missed = hit["primID"] < 0
        firsts = np.cumsum([0] + [len(self.scene.bodies[i].mesh.faces) for i in bodies])
        which = np.searchsorted(firsts, np.maximum(hit["primID"], 0), side="right") - 1
        return {
            "tfar": np.where(missed, np.inf, hit["tfar"]).astype(np.float32),
            "body": np.where(missed, -1, np.asarray(bodies)[which]),
            "face": np.where(missed, 0, hit["primID"] - firsts[which]),
            "u": hit["u"],
            "v": hit["v"],
        }

    def _at(self, t: float) -> Any:
        """Return the moving bodies' scene at a time; the last two times are kept."""
        if not self.moving:
            return None
        if t not in self.built:
            while len(self.built) > 1:
                self.built.pop(next(iter(self.built)))
            self.built[t] = self._build(self.moving, t)
        return self.built[t]

    def _build(self, bodies: list[int], t: float) -> Any:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        points, faces, first = [], [], 0
        for i in bodies:
            vertices = world_vertices(self.scene, i, t)
            points.append(vertices)
            faces.append(self.scene.bodies[i].mesh.faces + first)
            first += len(vertices)
        built = EmbreeScene()
        TriangleMesh(built, np.concatenate(points).astype(np.float32), np.concatenate(faces))
        return built


def world_vertices(scene: Scene, i: int, t: float) -> np.ndarray:
    """Return a body's vertices at a time, world, metres. (V, 3) float64"""
    body = scene.bodies[i]
    vertices = body.deform(t)[0] if body.deform else body.mesh.vertices
    T = scene.body_pose(body, t)
    return vertices @ T[:3, :3].T + T[:3, 3]


def left_view(
    u: np.ndarray, v: np.ndarray, z: np.ndarray, camera: Camera, near: float
) -> np.ndarray:
    """Tell which projected points lie outside the image or behind the camera. (H, W) bool"""
    inside = (u >= -0.5) & (u < camera.width - 0.5) & (v >= -0.5) & (v < camera.height - 0.5)
    return ~(inside & (z > near))


def flow_to(
    there: np.ndarray, seen: np.ndarray, camera: Camera, near: float
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the flow to the other time, and which points have left the image.

    Args:
        there: points in the camera frame of the other time, metres. (H, W, 3)
        seen: pixels that show a point at all. (H, W) bool
        camera: camera of both times.
        near: nothing nearer is drawn, metres.

    Returns:
        flow: pixels (u, v), NaN where undefined. (H, W, 2) float32
        outside: (H, W) bool
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        u = camera.fx * there[..., 0] / there[..., 2] + camera.cx
        v = camera.fy * there[..., 1] / there[..., 2] + camera.cy
    grid_v, grid_u = np.mgrid[: camera.height, : camera.width].astype(np.float32)
    flow = np.stack([u - grid_u, v - grid_v], axis=-1).astype(np.float32)
    flow[~seen | (there[..., 2] <= near)] = np.nan
    return flow, left_view(u, v, there[..., 2], camera, near) & seen


def hidden(caster: RayCaster, points: np.ndarray, asked: np.ndarray, t: float) -> np.ndarray:
    """Return which points are occluded at a time.

    Args:
        caster: ray caster of the scene.
        points: points in the camera frame of that time, metres. (H, W, 3)
        asked: points to test; the others count as not occluded. (H, W) bool
        t: time, frames.

    Returns:
        (H, W) bool
    """
    result = np.zeros(asked.shape, bool)
    if not asked.any():
        return result
    T_world_cam = caster.scene.camera_pose(t)
    rays = points[asked] @ T_world_cam[:3, :3].T.astype(np.float32)
    result[asked] = caster.blocked(T_world_cam[:3, 3], rays, t)
    return result


def rays_of(camera: Camera, T_world_cam: np.ndarray, offset: tuple[float, float]) -> np.ndarray:
    """World directions with camera z = 1 through the pixel centres plus an offset. (H*W, 3)"""
    v, u = np.mgrid[: camera.height, : camera.width].reshape(2, -1).astype(np.float64)
    x = (u + offset[0] - camera.cx) / camera.fx
    y = (v + offset[1] - camera.cy) / camera.fy
    return np.stack([x, y, np.ones_like(x)], axis=1) @ T_world_cam[:3, :3].T
