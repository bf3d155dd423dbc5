# SPDX-License-Identifier: Apache-2.0
"""A curriculum: stages of one run, each beginning with the weights of the one before.

A stage is a run of its own in `<run>/stage_<k>`, with its own data, optimiser and log; what changes
from stage to stage stands in the configuration's `stages`.
"""

import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from depthkit.config import TrainConfig
from depthkit.config.strict_yaml import override
from depthkit.errors import CheckpointError, ConfigError, DataError
from depthkit.models.checkpoint import read_checkpoint
from depthkit.tasks.loaded import find_checkpoint
from depthkit.training.device import is_first_process
from depthkit.training.dry_run import describe_run
from depthkit.training.loop import TrainResult, train
from depthkit.training.run_folder import write_config


def stage_configs(config: TrainConfig) -> tuple[TrainConfig, ...]:
    """Return the configuration of each stage; without stages, the configuration itself.

    Raises:
        ConfigError: a stage's words do not fit, or it has other networks than the first.
    """
    plain = replace(config, stages=())
    stages = tuple(
        override(plain, words, f"stages: stage {k}") for k, words in enumerate(config.stages, 1)
    )
    for k, stage in enumerate(stages, 1):
        if stage.stages:
            raise ConfigError(f"stages: stage {k}: stages hold no stages; remove the key")
        if stage.networks() != stages[0].networks():
            raise ConfigError(
                f"stages: stage {k}: its networks cannot take the weights of the stage before; "
                "set task and model outside the stages"
            )
        if k > 1 and stage.model.init != config.model.init:
            raise ConfigError(
                f"stages: stage {k}: starts from the stage before; remove model.init from it"
            )
    return stages or (plain,)


def train_stages(config: TrainConfig, run: Path, *, resume: bool = False) -> TrainResult:
    """Train each stage in turn, the next from the last weights of the one before.

    Args:
        config: with stages; without any this is `train`.
        run: folder for config.yaml and stage_1, stage_2, ...
        resume: skip finished stages and go on with the first one that is not.

    Returns:
        The last stage's.

    Raises:
        what `stage_configs` and `train` raise.
    """
    try:
        return _train_each(config, run, resume=resume)
    except KeyboardInterrupt:
        if is_first_process() and (run / "config.yaml").is_file():
            print(_how_to_go_on(run), file=sys.stderr)
        raise


def _train_each(config: TrainConfig, run: Path, *, resume: bool) -> TrainResult:
    if not config.stages:
        return train(config, run, resume=resume)
    stages = stage_configs(config)
    if _is_main():
        _claim(config, stages, run, resume)
    start = stages[0].model.init
    for k, stage in enumerate(stages, 1):
        folder = run / f"stage_{k}"
        last = folder / "checkpoints" / "last.safetensors"
        if k < len(stages) and resume and _is_finished(last, stage):
            start = last
            continue
        if is_first_process():
            words = " ".join(config.stages[k - 1])
            print(f"stage {k} of {len(stages)}: {words}", file=sys.stderr)
        stage = replace(stage, model=replace(stage.model, init=start))
        result = train(stage, folder, resume=resume and (folder / "config.yaml").exists())
        start = last
    return result


def _how_to_go_on(run: Path) -> str:
    """Name the command that goes on with an interrupted run, and where it will begin."""
    last = find_checkpoint(run)
    begins = "there is no checkpoint yet, so it begins again"
    if last.is_file():
        begins = f"the last checkpoint is of step {read_checkpoint(last)[1]['step']}"
    return f"stopped; go on with: depthkit train --resume --run {shlex.quote(str(run))} ({begins})"


def _claim(config: TrainConfig, stages: tuple[TrainConfig, ...], run: Path, resume: bool) -> None:
    """Look at what every stage needs, hours before the last begins, and write config.yaml."""
    if run.exists() and not run.is_dir():
        raise DataError(f"{run}: a file, not a folder; use --run for another folder")
    if (run / "config.yaml").exists():
        if resume:
            return
        raise DataError(
            f"{run}: holds a run already; use --resume to go on or --run for another folder"
        )
    if resume:
        raise CheckpointError(f"{run}: holds no run to resume; begin without --resume")
    for stage in stages:
        describe_run(stage, tries=False)
    write_config(run, config)


def _is_main() -> bool:
    """Tell whether no other process of this run came before: none is joined yet to ask."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK"))


def _is_finished(last: Path, stage: TrainConfig) -> bool:
    return last.is_file() and read_checkpoint(last)[1]["step"] >= stage.optimizer.steps
