# SPDX-License-Identifier: Apache-2.0
"""Tasks: what a run learns. A task is a module that turns a snippet into a `TaskOutput`.

`config/task_kinds.py` has one row for each of them; `build_task` makes them.
"""

from torch import nn

from depthkit.config import TrainConfig
from depthkit.errors import ConfigError
from depthkit.tasks.output import Prediction, TaskOutput

__all__ = ["Prediction", "TaskOutput", "build_task"]


def build_task(config: TrainConfig, shifts: tuple[int, ...]) -> nn.Module:
    """Make the configured task for snippets with these shifts."""
    match config.task:
        case "view_synthesis":
            from depthkit.tasks.view_synthesis import build_view_synthesis

            taught = config.taught_by_sweep
            return build_view_synthesis(config.model, config.loss, shifts, taught=taught)
        case "supervised_pair":
            from depthkit.tasks.supervised_pair import build_supervised_pair

            return build_supervised_pair(config.model, config.supervised)
        case "stabilized_pair":
            from depthkit.tasks.stabilized_pair import build_stabilized_pair

            return build_stabilized_pair(config, shifts)
        case "supervised_mono":
            from depthkit.tasks.supervised_mono import build_supervised_mono

            return build_supervised_mono(config.model, config.supervised)
        case "shading":
            from depthkit.tasks.shading import build_shading

            return build_shading(config)
        case "flow":
            from depthkit.tasks.flow import build_flow

            return build_flow(config, shifts)
        case "similarity":
            from depthkit.tasks.similarity import build_similarity

            return build_similarity(config)
        case "keypoints":
            from depthkit.tasks.keypoints import build_keypoints

            return build_keypoints(config)
        case "place":
            from depthkit.tasks.place import build_place

            return build_place(config)
        case "coop":
            from depthkit.tasks.coop import build_coop

            return build_coop(config, shifts)
    raise ConfigError(f"unknown task {config.task!r}")
