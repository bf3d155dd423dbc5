# SPDX-License-Identifier: Apache-2.0
"""The schema of a training run and its strict loader.

One file for each part of the YAML: `data`, `model`, `losses`, `flow_losses`, `similarity`,
`keypoints`, `place`, `run`; `train` puts them together, `task_kinds` says what each task needs.
`strict_yaml` reads, `ranges` declares what is allowed.
"""

from depthkit.config.data import DataConfig
from depthkit.config.flow_losses import CoopConfig, FlowConfig
from depthkit.config.keypoints import KeypointsConfig
from depthkit.config.losses import LossConfig, StabilizedConfig, SupervisedConfig
from depthkit.config.model import ModelConfig
from depthkit.config.place import PlaceConfig
from depthkit.config.run import OptimizerConfig, RunConfig
from depthkit.config.similarity import SimilarityConfig
from depthkit.config.train import TrainConfig

__all__ = [
    "CoopConfig",
    "DataConfig",
    "FlowConfig",
    "KeypointsConfig",
    "LossConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PlaceConfig",
    "RunConfig",
    "SimilarityConfig",
    "StabilizedConfig",
    "SupervisedConfig",
    "TrainConfig",
]
