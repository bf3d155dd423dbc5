# SPDX-License-Identifier: Apache-2.0
"""Trained networks at work on single frames and pairs, through torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch import Tensor, nn

import depthkit
from depthkit.config import TrainConfig
from depthkit.errors import CheckpointError, EngineError
from depthkit.models.checkpoint import load_weights, read_checkpoint, take
from depthkit.strict_yaml import config_from_mapping
from depthkit.tasks import build_task
from depthkit.tasks.stabilized_pair import StabilizedPair
from depthkit.tasks.supervised_pair import SupervisedPair
from depthkit.tasks.view_synthesis import ViewSynthesis
from depthkit.training.predict_pair import PairPredictor, to_tensor

LAST = "last.safetensors"
PAIR_TASKS = ("supervised_pair", "stabilized_pair")
"""Tasks whose depth network takes pairs and knows one focal length."""
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


class Predictor:
    """A trained task of single frames: depth of a frame and, if it learnt any, motion of a pair."""

    def __init__(
        self,
        task: nn.Module,
        *,
        size: tuple[int, int],
        shifts: tuple[int, ...],
        scale: Literal["metric", "relative"],
        device: str = "cpu",
    ) -> None:
        """Put a task to work.

        Args:
            task: with its weights; its `depth_net` returns inverse depth, finest scale first.
            size: (H, W) the networks were trained at.
            shifts: source offsets they were trained at, frames.
            scale: whether depth and motion are metres.
            device: where they run.
        """
        self.task = task.eval().to(device)
        self.size, self.shifts, self.scale = size, shifts, scale
        self.device = torch.device(device)

    @torch.inference_mode()
    def depth(self, rgb: np.ndarray) -> np.ndarray:
        """Predict the depth of a frame.

        Args:
            rgb: of any size. (H, W, 3) uint8

        Returns:
            Depth along the optical axis at the frame's own size: metres or relative, see `scale`.
            Enlarged bilinearly in inverse depth. (H, W) float32
        """
        depth_net = self.task.get_submodule("depth_net")
        inverse_depth = depth_net(self._tensor(rgb))[0][0, 0].cpu().numpy()
        height, width = rgb.shape[:2]
        return 1 / cv2.resize(inverse_depth, (width, height), interpolation=cv2.INTER_LINEAR)

    @torch.inference_mode()
    def relative_pose(
        self, rgb_a: np.ndarray, rgb_b: np.ndarray, K: np.ndarray | None = None
    ) -> np.ndarray:
        """Predict the motion of the camera from frame a to a later frame b.

        Args:
            rgb_a, rgb_b: in time order, about as far apart as the shifts. (H, W, 3) uint8
            K: not used by today's networks, which learn the camera they are trained on. (3, 3)

        Returns:
            T_b_a: points of frame a to frame b, in the unit of the depth. (4, 4) float64

        Raises:
            EngineError: there is no pose network, or it takes whole snippets, not pairs.
        """
        task = self.require_motion()
        if not task.pairwise:
            raise EngineError(
                "this pose network takes whole snippets, so it has no motion for a pair; "
                "train with model.pose_input: pair, or use snippet_motions"
            )
        frames = torch.cat([self._tensor(rgb_a), self._tensor(rgb_b)], 1)
        return task.pair_motion(frames)[0].double().cpu().numpy()

    @torch.inference_mode()
    def snippet_motions(self, target: np.ndarray, sources: list[np.ndarray]) -> np.ndarray:
        """Predict T_source_target of each source, in the order of `shifts`. (S, 4, 4) float64"""
        stacked = torch.stack([self._tensor(source) for source in sources], 1)
        motions, _ = self.require_motion().predict_motions(self._tensor(target), stacked)
        return motions.double().cpu().numpy()

    def require_motion(self) -> ViewSynthesis:
        """Return the task, if it has learnt motion.

        Raises:
            EngineError: it has learnt depth alone.
        """
        if not isinstance(self.task, ViewSynthesis):
            raise EngineError(
                "this network learnt depth alone, so it has no motion for a pair; "
                "take one trained with task: view_synthesis"
            )
        return self.task

    def _tensor(self, rgb: np.ndarray) -> Tensor:
        """Bring a frame to the network's size. (H, W, 3) uint8 -> (1, 3, h, w) in [0, 1]"""
        if rgb.shape[:2] != self.size:
            shrinks = self.size[0] < rgb.shape[0]
            how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            rgb = cv2.resize(rgb, self.size[::-1], interpolation=how)
        return to_tensor(rgb).to(self.device)


def load_predictor(path: Path | str, *, device: str = "cpu") -> "Predictor | PairPredictor":
    """Load a checkpoint of `depthkit train`.

    Args:
        path: a run folder (its last checkpoint is taken), a .safetensors file, or the name of
            weights that come with depthkit.
        device: where to run.

    Returns:
        A `PairPredictor` for tasks of pairs, else a `Predictor`.

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
    task = build_task(config.without_encoder_weights(), shifts)
    load_weights(task, take(tensors, "task."), str(file))
    if isinstance(task, SupervisedPair | StabilizedPair):
        if "focal" not in state:
            raise CheckpointError(f"{file}: its state has no 'focal'; train the network again")
        return PairPredictor(task, size=config.data.size, focal=state["focal"], device=device)
    return Predictor(task, size=config.data.size, shifts=shifts, scale=scale, device=device)


def load_single_view(path: Path | str, *, device: str = "cpu") -> Predictor:
    """Load a checkpoint that predicts from single frames; see `load_predictor`.

    Raises:
        EngineError: the network takes pairs with a known motion.
    """
    predictor = load_predictor(path, device=device)
    if isinstance(predictor, PairPredictor):
        raise EngineError(
            f"{path}: takes pairs of frames and the known motion between them, and here are single "
            "frames; use 'depthkit evaluate model' on a sequence with depth and poses.txt"
        )
    return predictor


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


def load_start(task: nn.Module, init: Path) -> None:
    """Load the weights of an earlier run of the same task and networks, strictly.

    Raises:
        CheckpointError: missing, damaged, or weights of another network.
    """
    file = find_checkpoint(init)
    tensors, _ = read_checkpoint(file)
    load_weights(task, take(tensors, "task."), str(file))
