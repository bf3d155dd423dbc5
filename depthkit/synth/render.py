# SPDX-License-Identifier: Apache-2.0
"""One call for both renderers: OpenGL where a context opens, rays elsewhere."""

from typing import Literal, Protocol

from depthkit.errors import EngineError
from depthkit.synth.scene import Render, Scene

Backend = Literal["auto", "gl", "ray"]


class Renderer(Protocol):
    """What both renderers do. One scene is loaded at a time; close when done."""

    name: str

    def load(self, scene: Scene) -> None:
        """Take a scene; the one before is forgotten."""

    def render(self, t: float, to: float | None = None, *, truth: bool = True) -> Render:
        """Render the loaded scene.

        Args:
            t: time of the picture, frames.
            to: time the flow leads to, frames; None for no flow.
            truth: False leaves everything but rgb empty.
        """

    def close(self) -> None:
        """Give back what the renderer holds."""


def open_renderer(backend: Backend = "auto") -> Renderer:
    """Open a renderer.

    Args:
        backend: "gl" (moderngl over EGL), "ray" (embreex), or "auto" for the first that works.

    Raises:
        EngineError: the renderer asked for cannot be opened here; the message names the other one.
    """
    from depthkit.synth.render_gl import GlRenderer
    from depthkit.synth.render_ray import RayRenderer

    if backend == "ray":
        return RayRenderer()
    try:
        return GlRenderer()
    except EngineError:
        if backend == "gl":
            raise
        return RayRenderer()
