# SPDX-License-Identifier: Apache-2.0
"""Trained networks at work on single frames and pairs, through torch."""

from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from depthkit.config import TrainConfig
from depthkit.errors import CheckpointError, EngineError
from depthkit.models.checkpoint import load_weights, read_checkpoint, take
from depthkit.strict_yaml import config_from_mapping
from depthkit.tasks import build_task
from depthkit.tasks.view_synthesis import ViewSynthesis


class Predictor:
    """A trained view-synthesis task: depth of a frame, motion of a pair."""

    def __init__(
        self,
        task: ViewSynthesis,
        *,
        size: tuple[int, int],
        shifts: tuple[int, ...],
        scale: Literal["metric", "relative"],
        device: str = "cpu",
    ) -> None:
        """Put a task to work.

        Args:
            task: with its weights.
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
        inverse_depth = self.task.depth_net(self._tensor(rgb))[0][0, 0].cpu().numpy()
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
            EngineError: the pose network takes whole snippets, not pairs.
        """
        if not self.task.pairwise:
            raise EngineError(
                "this pose network takes whole snippets, so it has no motion for a pair; "
                "train with model.pose_input: pair, or use snippet_motions"
            )
        frames = torch.cat([self._tensor(rgb_a), self._tensor(rgb_b)], 1)
        return self.task.pair_motion(frames)[0].double().cpu().numpy()

    @torch.inference_mode()
    def snippet_motions(self, target: np.ndarray, sources: list[np.ndarray]) -> np.ndarray:
        """Predict T_source_target of each source, in the order of `shifts`. (S, 4, 4) float64"""
        stacked = torch.stack([self._tensor(source) for source in sources], 1)
        motions, _ = self.task.predict_motions(self._tensor(target), stacked)
        return motions.double().cpu().numpy()

    def _tensor(self, rgb: np.ndarray) -> Tensor:
        """Bring a frame to the network's size. (H, W, 3) uint8 -> (1, 3, h, w) in [0, 1]"""
        if rgb.shape[:2] != self.size:
            shrinks = self.size[0] < rgb.shape[0]
            how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            rgb = cv2.resize(rgb, self.size[::-1], interpolation=how)
        tensor = torch.from_numpy(np.ascontiguousarray(rgb)).to(self.device)
        return tensor.permute(2, 0, 1)[None].float() / 255


def load_predictor(path: Path | str, *, device: str = "cpu") -> Predictor:
    """Load a checkpoint of `depthkit train`.

    Args:
        path: a run folder (its last checkpoint is taken) or a .safetensors file.
        device: where to run.

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
    return Predictor(task, size=config.data.size, shifts=shifts, scale=scale, device=device)


def find_checkpoint(path: Path) -> Path:
    """Return the checkpoint file of a run folder, or the file itself."""
    if path.is_dir():
        inner = path / "checkpoints" / "last.safetensors"
        return inner if inner.parent.is_dir() else path / "last.safetensors"
    return path
