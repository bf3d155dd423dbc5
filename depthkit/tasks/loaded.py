# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of training: found, and loaded strictly, for export and for the next run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

import depthkit
from depthkit.config import TrainConfig
from depthkit.config.strict_yaml import config_from_mapping
from depthkit.errors import CheckpointError
from depthkit.models.checkpoint import load_weights, read_checkpoint, take
from depthkit.tasks import build_task

LAST = "last.safetensors"
PAIR_TASKS = ("supervised_pair", "stabilized_pair")
"""Tasks whose depth network takes pairs and knows one focal length."""
_REBUILDING = {"view_synthesis", "coop"}
SHIPPED = Path(depthkit.__file__).parent / "weights"


@dataclass(frozen=True)
class LoadedTask:
    """A trained task with its weights, and what its checkpoint says of it."""

    file: Path
    """The checkpoint."""
    task: nn.Module
    """On the CPU, in evaluation mode."""
    config: TrainConfig
    """Resolved, as it was trained; without paths of encoder weights."""
    shifts: tuple[int, ...]
    """Source offsets it was trained at, frames."""
    scale: Literal["metric", "relative"]
    """Whether depth and motion are metres."""
    focal: float | None
    """fx of the training frames at `config.data.size`, pixels; None in older checkpoints."""
    state: Mapping[str, Any]
    """All of the checkpoint's state: commit, step, sequences and so on."""


def load_task(path: Path | str) -> LoadedTask:
    """Load a checkpoint of `depthkit train`.

    Args:
        path: a run folder (its last checkpoint is taken), a .safetensors file, or the name of
            weights that come with depthkit.

    Raises:
        CheckpointError: missing, damaged, or weights of another network.
    """
    file = find_checkpoint(Path(path))
    tensors, state = read_checkpoint(file)
    try:
        config = config_from_mapping(TrainConfig, state["config"], str(file))
        shifts, scale = tuple(state["shifts"]), state["scale"]
    except KeyError as error:
        raise CheckpointError(f"{file}: its state has no {error}") from error
    config = config.without_encoder_weights()
    task = build_task(config, shifts)
    load_weights(task, take(tensors, "task."), str(file))
    if config.task in PAIR_TASKS and state.get("focal") is None:
        raise CheckpointError(f"{file}: its state has no 'focal'; train the network again")
    return LoadedTask(file, task.eval(), config, shifts, scale, state.get("focal"), state)


def find_checkpoint(path: Path) -> Path:
    """Return the checkpoint file of a run folder, of its last stage, or the file itself.

    A bare name that is no file here stands for weights that come with depthkit.
    """
    if path.is_dir():
        stages = [
            stage
            for stage in path.glob("stage_*")
            if stage.name[6:].isdigit() and (stage / "checkpoints" / LAST).is_file()
        ]
        if stages:
            path = max(stages, key=lambda stage: int(stage.name.removeprefix("stage_")))
        inner = path / "checkpoints" / LAST
        return inner if inner.parent.is_dir() else path / LAST
    shipped = SHIPPED / f"{path.name}.safetensors"
    return shipped if not path.exists() and path.parent == Path() and shipped.is_file() else path


def load_starts(task: nn.Module, config: TrainConfig) -> None:
    """Load what the configuration says to start from, strictly.

    Raises:
        CheckpointError: missing, damaged, or weights of another network; begins with the key.
    """
    if config.model.init is not None:
        with _named("model.init"):
            load_start(task, config.model.init, name=config.task)
    if config.model.flow_init is not None:
        with _named("model.flow_init"):
            file = find_checkpoint(config.model.flow_init)
            tensors, _ = read_checkpoint(file)
            load_weights(task.get_submodule("flow_net"), take(tensors, "task.flow_net."), str(file))


@contextmanager
def _named(key: str) -> Iterator[None]:
    """Put the key of the configuration before what is said of its file."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{key}: {error}") from error


def load_start(task: nn.Module, init: Path, *, name: str) -> None:
    """Load the weights of an earlier run, strictly.

    Of a run of another task the depth network alone is taken (between view_synthesis and coop the
    pose network too: depth unlearns beside motion that only begins), so that a network taught on
    synthetic worlds can go on without labels on one's own video [Pinard 2018].

    Args:
        task: its weights are replaced.
        init: run, checkpoint or shipped name.
        name: of the task, in the configuration.

    Raises:
        CheckpointError: missing, damaged, or weights of another network.
    """
    file = find_checkpoint(init)
    tensors, state = read_checkpoint(file)
    if state["config"].get("task") == name:
        has = any(key.startswith("task.mask_net.") for key in tensors)
        wants = any(key.startswith("mask_net.") for key in task.state_dict())
        if has != wants:
            raise CheckpointError(
                f"{file}: holds {'a' if has else 'no'} mask network; set coop.mask_weight "
                f"{'above 0' if has else 'to 0'}, or start from another run"
            )
        return load_weights(task, take(tensors, "task."), str(file))
    if not any(key.startswith("task.depth_net.") for key in tensors):
        raise CheckpointError(
            f"{file}: a run of task {state['config'].get('task')} has no depth network to start "
            "from; flow goes into model.flow_init"
        )
    both_rebuild = {state["config"].get("task"), name} <= _REBUILDING
    for part in ("depth_net", "pose_net") if both_rebuild else ("depth_net",):
        load_weights(task.get_submodule(part), take(tensors, f"task.{part}."), str(file))
