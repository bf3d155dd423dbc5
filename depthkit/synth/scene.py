# SPDX-License-Identifier: Apache-2.0
"""A synthetic scene: meshes, textures, poses over time, a camera on its way, light. Numpy alone.

Both renderers take this record. Time is counted in frames and may be fractional (motion blur).
Axes of world and cameras: x right, y down, z forward. A texture repeats each unit of uv and holds
display values: what white light of brightness 1 makes of it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from depthkit.camera import Camera
from depthkit.errors import DataError
from depthkit.rigid import exp_se3, inverse, log_se3

NOTHING = 65535  # the id of a pixel where no body is seen


@dataclass(frozen=True)
class Mesh:
    """Triangles; both sides of each are seen."""

    vertices: np.ndarray
    """Body coordinates, metres. (V, 3) float32"""
    faces: np.ndarray
    """Vertex numbers of each triangle. (F, 3) int32"""
    normals: np.ndarray
    """Unit normals of either sign: they are turned towards the camera. (V, 3) float32"""
    uv: np.ndarray
    """Texture coordinates. (V, 2) float32"""


@dataclass(frozen=True)
class Body:
    """Something that is seen: a mesh, its look and its way."""

    mesh: Mesh
    texture: int
    """Layer of the scene's textures."""
    T_world_body: np.ndarray
    """Its pose, metres: one (4, 4), or one for each frame (N, 4, 4)."""
    gloss: float = 0.0
    """Strength of the highlight that the camera's lamp makes; 0 for matt."""
    relief: float = 0.0
    """Height of the texture's bright spots over the dark ones, metres: bends normals alone."""
    deform: Callable[[float], tuple[np.ndarray, np.ndarray]] | None = None
    """Vertices and normals at a time, (V, 3) each; None for a rigid body."""

    @property
    def moves(self) -> bool:
        """Whether it has poses or shapes of its own for each frame."""
        return self.T_world_body.ndim == 3 or self.deform is not None


@dataclass(frozen=True)
class Light:
    """What lights the scene; brightness 1 is white on a white texture."""

    ambient: float = 0.4
    """From everywhere."""
    sun: float = 0.6
    """From far away, times the cosine."""
    sun_direction: np.ndarray = field(default_factory=lambda: np.array([0.35, -0.8, -0.5]))
    """Towards the sun, world. (3,)"""
    lamp: float = 0.0
    """On the camera: brightness at 1 m facing it; falls with the squared distance."""
    shininess: float = 60.0
    """Exponent of the lamp's highlight: larger is smaller and sharper."""
    gamma: float = 1.0
    """Display value = brightness ** (1 / gamma), 2.2 for what cameras do."""


@dataclass(frozen=True)
class Scene:
    """Everything a renderer needs."""

    bodies: tuple[Body, ...]
    textures: np.ndarray
    """Tileable pictures of one size, a power of two. (L, h, w, 3) uint8"""
    camera: Camera
    T_world_cam: np.ndarray
    """Camera pose of each frame, metres. (N, 4, 4)"""
    times: np.ndarray
    """Seconds, rising. (N,)"""
    light: Light = field(default_factory=Light)
    near: float = 0.05
    """Nothing nearer is drawn, metres."""
    far: float = 1000.0
    """Nothing farther is drawn, metres."""
    background: tuple[float, float, float] = (0.6, 0.7, 0.85)
    """Colour where no body is seen, in [0, 1]; depth is 0 and the id NOTHING there."""

    def __post_init__(self) -> None:
        if not self.bodies:
            raise DataError("scene: no bodies; add at least one")
        count = len(self.times)
        if self.T_world_cam.shape != (count, 4, 4) or not np.isfinite(self.T_world_cam).all():
            shape = self.T_world_cam.shape
            raise DataError(f"scene: T_world_cam must be finite ({count}, 4, 4), got {shape}")
        for i, body in enumerate(self.bodies):
            if body.T_world_body.shape not in ((4, 4), (count, 4, 4)):
                raise DataError(
                    f"scene: body {i}: T_world_body must be (4, 4) or ({count}, 4, 4), "
                    f"got {body.T_world_body.shape}"
                )
            if not 0 <= body.texture < len(self.textures):
                raise DataError(
                    f"scene: body {i}: texture {body.texture} of {len(self.textures)} layers"
                )

    def __len__(self) -> int:
        return len(self.times)

    def camera_pose(self, t: float) -> np.ndarray:
        """Return T_world_cam at a time in frames, on the geodesic between two frames. (4, 4)"""
        return pose_at(self.T_world_cam, t)

    def body_pose(self, body: Body, t: float) -> np.ndarray:
        """Return T_world_body at a time in frames. (4, 4)"""
        poses = body.T_world_body
        return poses if poses.ndim == 2 else pose_at(poses, t)

    @property
    def moving_ids(self) -> np.ndarray:
        """Ids of the bodies that move. (M,)"""
        return np.flatnonzero([body.moves for body in self.bodies])


@dataclass(frozen=True)
class Render:
    """A picture and the truth about it; truth is taken through the pixel centres."""

    rgb: np.ndarray
    """Anti-aliased. (H, W, 3) uint8"""
    depth: np.ndarray
    """Along the optical axis, metres, 0 where nothing is. (H, W) float32"""
    ids: np.ndarray
    """Number of the body, NOTHING where none is. (H, W) uint16"""
    flow: np.ndarray | None = None
    """Where each point has gone at the other time, pixels (u, v); NaN where undefined. (H, W, 2)"""
    outside: np.ndarray | None = None
    """The point has left the other view, or is behind it. (H, W) bool"""
    occluded: np.ndarray | None = None
    """Something hides the point in the other view; None without embreex. (H, W) bool"""


def pose_at(poses: np.ndarray, t: float) -> np.ndarray:
    """Interpolate poses along the SE(3) geodesic; beyond the ends it goes on as it came.

    Args:
        poses: one a frame. (N, 4, 4)
        t: time in frames.
    """
    if float(t).is_integer() and 0 <= t < len(poses):
        return poses[int(t)]
    if len(poses) == 1:
        return poses[0]
    i = int(np.clip(np.floor(t), 0, len(poses) - 2))
    return poses[i] @ exp_se3((t - i) * log_se3(inverse(poses[i]) @ poses[i + 1]))
