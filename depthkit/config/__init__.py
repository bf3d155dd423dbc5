# SPDX-License-Identifier: Apache-2.0
"""The schema of a training run and its strict loader.

One file a section of the YAML: `data`, `model`, `losses`, `run`; `train` puts them together,
`task_kinds` says what each task needs. `strict_yaml` reads, `ranges` declares what is allowed.
"""

from depthkit.config.train import (
    CoopConfig,
    DataConfig,
    FlowConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    RunConfig,
    StabilizedConfig,
    SupervisedConfig,
    TrainConfig,
)

__all__ = [
    "CoopConfig",
    "DataConfig",
    "FlowConfig",
    "LossConfig",
    "ModelConfig",
    "OptimizerConfig",
    "RunConfig",
    "StabilizedConfig",
    "SupervisedConfig",
    "TrainConfig",
]
