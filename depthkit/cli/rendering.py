# SPDX-License-Identifier: Apache-2.0
"""Says once which renderer draws, where it is not the one that was hoped for."""

import sys


def say_backend(backend: str) -> None:
    """Open the renderer; where "auto" means rays, say so and why.

    Raises:
        EngineError: nothing can render here.
    """
    from depthkit.errors import EngineError
    from depthkit.synth.render import open_renderer

    if backend != "auto":
        open_renderer(backend)  # type: ignore[arg-type]
        return
    try:
        open_renderer("gl")
    except EngineError as error:
        open_renderer("ray")
        print(f"depthkit: note: {error}; drawing with rays, several times slower", file=sys.stderr)
