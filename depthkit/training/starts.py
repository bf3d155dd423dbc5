# SPDX-License-Identifier: Apache-2.0
"""Weights that a run starts from: those of an earlier run of the same task, or of another one."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from depthkit.config import TrainConfig
from depthkit.config.task_kinds import KINDS, Task
from depthkit.errors import CheckpointError
from depthkit.models.checkpoint import load_weights, read_checkpoint, take
from depthkit.tasks.loaded import find_checkpoint, without_corrections


def load_starts(task: nn.Module, config: TrainConfig) -> None:
    """Load the weights that the configuration names, strictly.

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
    """Put the configuration's key before an error about its file."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{key}: {error}") from error


def load_start(task: nn.Module, init: Path, *, name: Task) -> None:
    """Load the weights of an earlier run, strictly.

    From a run of another task come the networks that both rows of `KINDS` list in `starts_from`:
    the depth network, so that one taught on synthetic worlds can go on without labels on one's own
    video [Pinard 2018]; the pose network too where both tasks train it alike, because depth
    unlearns beside motion that only begins.

    Args:
        task: its weights are replaced.
        init: run, checkpoint or shipped name.
        name: the task of the new run.

    Raises:
        CheckpointError: missing, damaged, or weights of another network.
    """
    file = find_checkpoint(init)
    tensors, state = read_checkpoint(file)
    source = state["config"].get("task")
    learns_motion, learnt_motion = (
        any("pose_net" in key for key in keys) for keys in (task.state_dict(), tensors)
    )
    if source == name and learns_motion == learnt_motion:
        _check_mask_net(task, tensors, file)
        return load_weights(task, without_corrections(take(tensors, "task.")), str(file))
    for part in _shared_networks(source, name, file):
        if part == "pose_net" and not (learns_motion and learnt_motion):
            continue  # motion is known on one side
        load_weights(task.get_submodule(part), take(tensors, f"task.{part}."), str(file))


def _check_mask_net(task: nn.Module, tensors: Mapping[str, Tensor], file: Path) -> None:
    has = any(key.startswith("task.mask_net.") for key in tensors)
    wants = any(key.startswith("mask_net.") for key in task.state_dict())
    if has != wants:
        raise CheckpointError(
            f"{file}: holds {'a' if has else 'no'} mask network; set coop.mask_weight "
            f"{'above 0' if has else 'to 0'}, or start from another run"
        )


def _shared_networks(source: Any, name: Task, file: Path) -> tuple[str, ...]:
    """Name the networks that a run of another task has for this one; one at least."""
    offered = KINDS[source].starts_from if source in KINDS else ()
    if not offered:
        raise CheckpointError(
            f"{file}: a run of task {source} has no depth network to start from; flow goes into "
            "model.flow_init"
        )
    shared = tuple(part for part in KINDS[name].starts_from if part in offered)
    if not shared:
        raise CheckpointError(
            f"{file}: a run of task {source} has no network that task {name} could start from; "
            f"give a run of task {name}"
        )
    return shared
