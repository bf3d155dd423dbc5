# SPDX-License-Identifier: Apache-2.0
"""A configuration in, a run folder out; or what such a run would be."""

from pathlib import Path

from depthkit.config import TrainConfig
from depthkit.training.curriculum import stage_configs, train_stages
from depthkit.training.device import is_first_process
from depthkit.training.dry_run import DryRun, describe_run
from depthkit.training.loop import TrainResult

__all__ = ["DryRun", "TrainResult", "describe", "train"]


def train(config: TrainConfig, run: Path, *, resume: bool = False) -> TrainResult | None:
    """Train all stages; None in a process that is not the first of a distributed run."""
    result = train_stages(config, run, resume=resume)
    return result if is_first_process() else None


def describe(config: TrainConfig) -> list[DryRun]:
    """Build all, run one batch, write nothing: one report a stage."""
    return [describe_run(stage) for stage in stage_configs(config)]
