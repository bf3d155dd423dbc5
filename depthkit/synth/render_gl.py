# SPDX-License-Identifier: Apache-2.0
"""The fast renderer: OpenGL 3.3 through moderngl, over EGL on Linux: no display, no GPU needed.

Truth is drawn through the pixel centres as interpolated camera coordinates, never read from a depth
buffer. The vertex shader carries each point at both times, so flow is exact for moving and
deforming bodies too. Colours are drawn at twice the size and averaged.
"""

import contextlib
import importlib
import os
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depthkit.errors import EngineError
from depthkit.installation import install_line
from depthkit.rigid import inverse
from depthkit.synth.scene import NOTHING, Render, Scene
from depthkit.synth.visibility import RayCaster, flow_to, hidden

SLOTS = 128  # poses of a moving body each; two blocks of them are the 16 KB all drivers grant
SUPERSAMPLE = 2
_CONTEXT: dict[str, Any] = {"standalone": True, "require": 330}
if sys.platform == "linux":
    _CONTEXT["backend"] = "egl"  # no display needed; other systems open their own kind
_SHADERS = Path(__file__).parent / "shaders"
_contexts: dict[int, Any] = {}  # one for this process; a forked child must make its own


def open_context() -> Any:
    """Return this process's OpenGL context, made on first use.

    Raises:
        EngineError: moderngl is missing, or no context can be opened.
    """
    # llvmpipe's threads do not survive a fork, and one core renders no slower without them.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    pid = os.getpid()
    if pid not in _contexts:
        _load_triton()
        try:
            import moderngl
        except ModuleNotFoundError:
            raise EngineError(
                f"OpenGL needs moderngl; run: {install_line('synth')}, or use --backend ray"
            ) from None
        try:
            context = moderngl.create_context(**_CONTEXT)
        except Exception as error:  # moderngl and glcontext raise plain Exception
            raise EngineError(
                f"no OpenGL context over EGL ({error}); install libegl1 and libgl1, or use "
                "--backend ray"
            ) from error
        context.gc_mode = "auto"  # else every scene leaks its buffers
        _contexts.clear()
        _contexts[pid] = context
    return _contexts[pid]


def _load_triton() -> None:
    """Load triton, where it is installed, before Mesa.

    Each brings an LLVM of its own. In a process where Mesa's came first, torch dies when it loads
    triton's, which training does.
    """
    with contextlib.suppress(ImportError):
        importlib.import_module("triton")


class GlRenderer:
    """Renders one loaded scene at a time."""

    name = "gl"

    def __init__(self) -> None:
        self.context = open_context()
        self.programs: dict[tuple[str, ...], Any] = {}
        self.poses = self.context.buffer(reserve=2 * SLOTS * 64)
        self.size = (0, 0)

    def _program(self, fragment: str, *needs: str) -> Any:
        """Compile shaders once for what a scene needs."""
        key = (fragment, *needs)
        if key not in self.programs:
            source = (_SHADERS / fragment).read_text(encoding="utf-8")
            defines = "".join(f"#define {name}\n" for name in needs)
            program = self.context.program(
                vertex_shader=(_SHADERS / "scene.vert").read_text(encoding="utf-8"),
                fragment_shader=source.replace("#version 330\n", f"#version 330\n{defines}"),
            )
            program["Poses"].binding = 0
            self.programs[key] = program
        return self.programs[key]

    def load(self, scene: Scene) -> None:
        """Take a scene: its meshes, textures and size.

        Raises:
            EngineError: more bodies move than there are slots for.
        """
        moving = scene.moving_ids
        if len(moving) >= SLOTS:
            raise EngineError(f"gl: {len(moving)} bodies move, at most {SLOTS - 1} can; use fewer")
        self.scene, self.moving = scene, moving
        self.slots = np.zeros(len(scene.bodies), dtype=int)
        self.slots[moving] = 1 + np.arange(len(moving))
        self.deforming = [i for i, body in enumerate(scene.bodies) if body.deform is not None]
        self.truth_program = self._program("truth.frag")
        self.colour_program = self._program("colour.frag", *_needs(scene))
        self._load_meshes(scene)
        self._load_textures(scene.textures)
        if scene.camera.size != self.size:
            self._make_targets(scene.camera.size)
        self.rays = RayCaster.open(scene)
        self._set_light(scene)

    def render(self, t: float, to: float | None = None, *, truth: bool = True) -> Render:
        """Render the loaded scene; see `render.Renderer`."""
        self._place(t, t if to is None else to)
        rgb = self._draw_colours()
        if not truth:
            nothing = np.zeros(self.size, np.float32)
            return Render(rgb, nothing, nothing.astype(np.uint16))
        points, ids = self._draw_truth()
        depth = points[..., 0].copy()
        if to is None:
            return Render(rgb, depth, ids)
        return self._with_flow(rgb, depth, ids, points, to)

    def close(self) -> None:
        """Forget the scene; the context stays with the process."""
        for name in ("scene", "truth_array", "colour_array", "here", "there", "textures", "rays"):
            self.__dict__.pop(name, None)

    def _with_flow(
        self, rgb: np.ndarray, depth: np.ndarray, ids: np.ndarray, points: np.ndarray, to: float
    ) -> Render:
        """Turn points seen at the other time into flow and visibility."""
        there = points[..., 1:4]  # camera coordinates at the other time, metres
        seen = ids != NOTHING
        flow, outside = flow_to(there, seen, self.scene.camera, self.scene.near)
        occluded = hidden(self.rays, there, seen & ~outside, to) if self.rays else None
        return Render(rgb, depth, ids, flow, outside, occluded)

    def _place(self, t: float, to: float) -> None:
        """Upload the poses, and the shapes of what deforms, at both times."""
        scene, slots = self.scene, np.zeros((2, SLOTS, 4, 4))
        for which, time in enumerate((t, to)):
            T_cam_world = inverse(scene.camera_pose(time))
            slots[which, 0] = T_cam_world
            for i in self.moving:
                slots[which, self.slots[i]] = T_cam_world @ scene.body_pose(scene.bodies[i], time)
        self.poses.write(slots.swapaxes(-1, -2).astype(np.float32).tobytes())
        self.poses.bind_to_uniform_block(0)
        R_cam_world = slots[0, 0, :3, :3]
        self._set("sun_direction", tuple(R_cam_world @ self.sun_direction))
        for buffer, time in ((self.here, t), (self.there, to)) if self.deforming else ():
            for i in self.deforming:
                self.geometry[self.spans[i]] = _geometry(scene, i, time)
            buffer.write(self.geometry.tobytes())

    def _draw_colours(self) -> np.ndarray:
        height, width = self.size
        self.colour_target.use()
        self.colour_target.clear(*self.scene.background, 1.0)
        self.textures.use(0)
        self.colour_array.render()
        self.colour_target.read_into(self.colour_pixels, components=3, alignment=1)
        return cv2.resize(self.colour_pixels, (width, height), interpolation=cv2.INTER_AREA)

    def _draw_truth(self) -> tuple[np.ndarray, np.ndarray]:
        """Return depth and the point at the other time, (H, W, 4), and the ids."""
        self.truth_target.use()
        self.truth_target.clear(0.0, 0.0, 0.0, 0.0)
        self.truth_array.render()
        points, ids = np.empty((*self.size, 4), np.float32), np.empty(self.size, np.uint16)
        self.truth_target.read_into(points, components=4, dtype="f4")
        self.truth_target.read_into(ids, attachment=1, components=1, dtype="u2", alignment=2)
        ids -= np.uint16(1)  # 0 was cleared: it wraps to NOTHING
        return points, ids

    def _load_meshes(self, scene: Scene) -> None:
        """Upload the triangles of all bodies as one, and what belongs to each vertex."""
        counts = [len(body.mesh.vertices) for body in scene.bodies]
        ends = np.cumsum(counts)
        self.spans = [slice(e - n, e) for n, e in zip(counts, ends, strict=True)]
        self.geometry = np.concatenate([_geometry(scene, i, 0.0) for i in range(len(counts))])
        looks = np.concatenate([self._look(i) for i in range(len(counts))])
        # Small bodies first: what the room behind them would have cost is never shaded.
        order = np.argsort([np.ptp(b.mesh.vertices, axis=0).max() for b in scene.bodies])
        faces = [scene.bodies[i].mesh.faces + self.spans[i].start for i in order]
        context = self.context
        indices = context.buffer(np.concatenate(faces).astype(np.uint32).tobytes())
        self.here = context.buffer(self.geometry.tobytes())
        self.there = context.buffer(self.geometry.tobytes()) if self.deforming else self.here
        content = [
            (self.here, "3f 3f", "in_point", "in_normal"),
            (self.there, "3f 12x", "in_other"),
            (
                context.buffer(looks.tobytes()),
                "2f 1f 1f 2f 1f",
                *("in_uv", "in_layer", "in_slot", "in_look", "in_id"),
            ),
        ]
        self.truth_array, self.colour_array = (
            context.vertex_array(program, content, indices, skip_errors=True)
            for program in (self.truth_program, self.colour_program)
        )

    def _look(self, i: int) -> np.ndarray:
        """uv, texture, slot, gloss, relief and number of each vertex of a body. (V, 7) float32"""
        body = self.scene.bodies[i]
        row = np.array([body.texture, self.slots[i], body.gloss, body.relief, i], np.float32)
        rows = np.broadcast_to(row, (len(body.mesh.uv), 5))
        return np.concatenate([body.mesh.uv, rows], axis=1).astype(np.float32)

    def _load_textures(self, textures: np.ndarray) -> None:
        layers, height, width, _ = textures.shape
        data = np.ascontiguousarray(textures).tobytes()
        self.textures = self.context.texture_array((width, height, layers), 3, data, alignment=1)
        self.textures.build_mipmaps()
        self.textures.filter = (
            self.context.LINEAR_MIPMAP_NEAREST,
            self.context.LINEAR,
        )

    def _make_targets(self, size: tuple[int, int]) -> None:
        context, (height, width) = self.context, size
        large = (SUPERSAMPLE * width, SUPERSAMPLE * height)
        self.truth_target = context.framebuffer(
            [
                context.texture((width, height), 4, dtype="f4"),
                context.texture((width, height), 1, dtype="u2"),
            ],
            context.depth_renderbuffer((width, height)),
        )
        self.colour_target = context.framebuffer(
            [context.renderbuffer(large, 4)], context.depth_renderbuffer(large)
        )
        self.colour_pixels = np.empty((large[1], large[0], 3), np.uint8)
        self.size = size

    def _set(self, name: str, value: Any) -> None:
        """Set a value of the colours, if the program has kept it."""
        if name in self.colour_program:
            self.colour_program[name] = value

    def _set_light(self, scene: Scene) -> None:
        camera, light = scene.camera, scene.light
        sun = np.asarray(light.sun_direction, dtype=np.float64)
        for program in (self.truth_program, self.colour_program):
            program["lens"] = (camera.fx, camera.fy, camera.cx, camera.cy)
            program["range"] = (camera.width, camera.height, scene.near, scene.far)
        self._set("light", (light.ambient, light.sun, light.lamp, light.shininess))
        self.sun_direction = sun / np.linalg.norm(sun)
        self._set("gamma", light.gamma)
        self.context.enable(self.context.DEPTH_TEST)


def _needs(scene: Scene) -> list[str]:
    """Name the parts of the shader that a scene uses."""
    used = {
        "RELIEF": any(body.relief > 0 for body in scene.bodies),
        "GLOSS": any(body.gloss > 0 for body in scene.bodies),
        "GAMMA": scene.light.gamma != 1.0,
    }
    return [name for name, needed in used.items() if needed]


def _geometry(scene: Scene, i: int, t: float) -> np.ndarray:
    """Points and normals of a body, in the world if it stands still. (V, 6) float32"""
    body = scene.bodies[i]
    vertices, normals = body.deform(t) if body.deform else (body.mesh.vertices, body.mesh.normals)
    if not body.moves:
        T = body.T_world_body
        vertices, normals = vertices @ T[:3, :3].T + T[:3, 3], normals @ T[:3, :3].T
    return np.concatenate([vertices, normals], axis=1).astype(np.float32)
