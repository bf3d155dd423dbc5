# SPDX-License-Identifier: Apache-2.0
"""Says once which renderer draws, where it is not the one that was hoped for."""

import importlib.util
import sys

from depthkit.installation import install_line


def say_backend(backend: str) -> None:
    """Open the renderer; where "auto" means rays, say so and why.

    Raises:
        EngineError: nothing can render here.
    """
    from depthkit.errors import EngineError
    from depthkit.synth.render import open_renderer

    try:
        renderer = open_renderer("ray" if backend == "ray" else "gl")
    except EngineError as error:
        if backend != "auto":
            raise
        renderer = open_renderer("ray")
        _note(f"{error}; drawing with rays, five to nine times slower")
    if renderer.name == "gl" and importlib.util.find_spec("embreex") is None:
        _note(f"without embreex no occlusion is written; run: {install_line('synth')}")


def _note(text: str) -> None:
    print(f"depthkit: note: {text}", file=sys.stderr)
