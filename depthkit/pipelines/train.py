# SPDX-License-Identifier: Apache-2.0
"""A configuration in, a run folder out; or what such a run would be."""

from pathlib import Path

from depthkit.config import TrainConfig
from depthkit.pipelines.teach import make_teachers
from depthkit.tasks.loaded import LAST
from depthkit.training.curriculum import stage_configs, train_stages
from depthkit.training.device import is_first_process
from depthkit.training.dry_run import DryRun, describe_run
from depthkit.training.loop import TrainResult
from depthkit.training.run_folder import check_folder
from depthkit.watcher import SILENT, Watcher

__all__ = ["DryRun", "TrainResult", "describe", "train"]


def make_ready(
    config: TrainConfig, run: Path, *, resume: bool = False, watcher: Watcher = SILENT
) -> None:
    """Make what a training reads beside its data: depth of the sweep, where that teaches.

    Args:
        config: what to train.
        run: folder that it will write; one that it could not is refused here.
        resume: go on with a run that was stopped.
        watcher: receives progress.
    """
    for stage in stage_configs(config):
        if stage.taught_by_sweep:
            check_folder(run, run / "checkpoints" / LAST, resume)
            make_teachers(stage, watcher)


def train(config: TrainConfig, run: Path, *, resume: bool = False) -> TrainResult | None:
    """Train all stages; None in a process that is not the first of a distributed run."""
    make_ready(config, run, resume=resume)
    result = train_stages(config, run, resume=resume)
    return result if is_first_process() else None


def describe(config: TrainConfig) -> list[DryRun]:
    """Build all, run one batch, write nothing: one report a stage."""
    return [describe_run(stage) for stage in stage_configs(config)]
