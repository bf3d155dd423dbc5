# SPDX-License-Identifier: Apache-2.0
"""Notes once which renderer draws, where it is not the fast one."""

import importlib.util

from depthkit.pipelines.models import Note, ignore


def check_renderer(backend: str, note: Note = ignore) -> None:
    """Open the renderer; where "auto" means rays, note so and why.

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
        note(f"{error}; drawing with rays, five to nine times slower")
    if renderer.name == "gl" and importlib.util.find_spec("embreex") is None:
        note("without embreex no occlusion is written; run: pip install 'depthkit[synth]'")
