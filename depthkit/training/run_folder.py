# SPDX-License-Identifier: Apache-2.0
"""What a run keeps in its folder: config.yaml, and checkpoints it can go on from exactly."""

import math
from pathlib import Path

import torch
from lightning_fabric import Fabric

from depthkit import __version__
from depthkit.config import TrainConfig
from depthkit.config.strict_yaml import config_from_mapping, to_mapping, to_yaml
from depthkit.errors import CheckpointError, DataError
from depthkit.models.checkpoint import (
    load_optimizer,
    load_weights,
    optimizer_tensors,
    read_checkpoint,
    save_checkpoint,
    take,
)
from depthkit.source_commit import source_commit
from depthkit.training.data import RunData

_WINDOWS = "data.window_shifts"  # flexible shifts in a checkpoint
_HARD = "data.hard"  # hard pairs in a checkpoint


def check_folder(run: Path, last: Path, resume: bool) -> None:
    """Refuse a folder with nothing to resume, or one that would be overwritten."""
    if resume and not last.is_file() and not (run / "config.yaml").is_file():
        raise CheckpointError(
            f"{run}: holds no checkpoint to resume from ({last.name}); begin again in another --run"
        )
    if run.exists() and not run.is_dir():
        raise DataError(f"{run}: a file, not a folder; use --run for another folder")
    if not resume and (run / "config.yaml").exists():
        raise DataError(
            f"{run}: holds a run already; use --resume to go on or --run for another folder"
        )


def write_config(run: Path, config: TrainConfig) -> None:
    """Keep the resolved configuration in the run folder."""
    run.mkdir(parents=True, exist_ok=True)
    partial = run / ".config.yaml.partial"
    partial.write_text(to_yaml(config), encoding="utf-8")
    partial.replace(run / "config.yaml")


def save_run(
    path: Path,
    fabric: Fabric,
    task: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    config: TrainConfig,
    data: RunData,
    step: int,
    best_val_loss: float,
) -> None:
    """Write a checkpoint from process 0: weights, optimiser, RNG, and where they come from."""
    if fabric.is_global_zero:
        tensors = {f"task.{name}": value for name, value in task.state_dict().items()}
        moments = optimizer_tensors(optimizer)
        tensors |= {f"optimizer.{name}": value for name, value in moments.items()}
        tensors["rng"] = torch.get_rng_state()
        if data.train.window_shifts is not None:
            tensors[_WINDOWS] = torch.from_numpy(data.train.window_shifts)
        if data.train.hard is not None:
            tensors[_HARD] = torch.from_numpy(data.train.hard)
        state = {
            "depthkit": __version__,
            "commit": source_commit(),
            "step": step,
            "best_val_loss": best_val_loss if math.isfinite(best_val_loss) else None,
            "config": to_mapping(config),
            "shifts": list(data.shifts),
            "sequences": list(data.names),
            "scale": "metric" if is_metric(config, data) else "relative",
            "focal": data.focal,
            "focal_most": data.focal_most,
            "nominal_baseline": config.supervised.nominal_baseline,
            **({"scale_source": data.unit.source} if data.unit else {}),
        }
        save_checkpoint(path, tensors, state)
    fabric.barrier()


def is_metric(config: TrainConfig, data: RunData) -> bool:
    """Tell whether what is learnt is metres: by the task, or by known motions in metres."""
    return config.is_metric or (data.unit is not None and data.unit.metric)


def restore_run(
    path: Path,
    config: TrainConfig,
    task: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    data: RunData,
) -> tuple[int, float]:
    """Load the run's state, flexible shifts and hard pairs too; return step and best loss.

    Raises:
        CheckpointError: the run had other networks or, with flexible shifts, other data.
    """
    tensors, state = read_checkpoint(path)
    then = config_from_mapping(TrainConfig, state["config"], str(path))
    for part, was in then.networks().items():
        if was != config.networks()[part]:
            raise CheckpointError(
                f"{path}: holds another {part}; resume with the run's own config.yaml"
            )
    load_weights(task, take(tensors, "task."), str(path))
    load_optimizer(optimizer, take(tensors, "optimizer."), str(path))
    torch.set_rng_state(tensors["rng"])
    if _WINDOWS in tensors:
        windows = tensors[_WINDOWS].numpy()
        if windows.shape != (len(data.train), len(data.shifts)):
            raise CheckpointError(
                f"{path}: holds shifts of {len(windows)} windows, and the data has "
                f"{len(data.train)}; resume on the run's own data"
            )
        data.train.window_shifts = windows
    if _HARD in tensors:
        data.train.hard = tensors[_HARD].numpy()
    best = state["best_val_loss"]
    return state["step"], math.inf if best is None else best
