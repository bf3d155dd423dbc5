# SPDX-License-Identifier: Apache-2.0
"""Tasks: what a run learns. A task is a module that turns a snippet into a `TaskOutput`."""

from depthkit.config import TrainConfig
from depthkit.errors import ConfigError
from depthkit.tasks.output import TaskOutput
from depthkit.tasks.view_synthesis import ViewSynthesis, build_view_synthesis

__all__ = ["TaskOutput", "build_task"]


def build_task(config: TrainConfig, shifts: tuple[int, ...]) -> ViewSynthesis:
    """Make the configured task for snippets with these shifts."""
    match config.task:
        case "view_synthesis":
            return build_view_synthesis(config.model, config.loss, shifts)
    raise ConfigError(f"unknown task {config.task!r}")
