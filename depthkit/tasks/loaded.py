# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of training: found, and loaded strictly, as the tasks that they hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

import depthkit
from depthkit.config import TrainConfig
from depthkit.config.strict_yaml import config_from_mapping
from depthkit.errors import CheckpointError
from depthkit.models.checkpoint import load_weights, read_checkpoint, take
from depthkit.tasks import build_task
from depthkit.tasks.known_motion import TABLE

LAST = "last.safetensors"
SHIPPED = Path(depthkit.__file__).parent / "weights"


@dataclass(frozen=True)
class LoadedTask:
    """A trained task with its weights, and the state of its checkpoint."""

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
    load_weights(task, without_corrections(take(tensors, "task.")), str(file))
    if config.kind.exported == "pair" and state.get("focal") is None:
        raise CheckpointError(f"{file}: its state has no 'focal'; train the network again")
    return LoadedTask(file, task.eval(), config, shifts, scale, state.get("focal"), state)


def without_corrections(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave the corrections of a training set out of a task's weights."""
    return {name: value for name, value in tensors.items() if name != TABLE}


def find_checkpoint(path: Path) -> Path:
    """Return the checkpoint file of a run folder, of its last stage, or the file itself.

    A bare name that is no file here stands for weights that come with depthkit.
    """
    if path.suffix.lower() == ".onnx" and path.is_file():
        raise CheckpointError(
            f"{path}: is an ONNX file already, expected a run or checkpoint of 'depthkit train'; "
            "'depthkit verify' checks an exported file"
        )
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
