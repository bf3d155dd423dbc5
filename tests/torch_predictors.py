# SPDX-License-Identifier: Apache-2.0
"""Trained networks at work through torch: what the engines must agree with. Tests alone use it.

A pair network knows one baseline D0 and one focal length f in pixels. Depth at another baseline is
|t| / D0 times what it says; frames of another camera are resized until their focal length is f.
"""

from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from depthkit.camera import resize_matrix
from depthkit.errors import EngineError, check_shape
from depthkit.geometry.rotation import derotate
from depthkit.models.pair_networks import ask_pair_network
from depthkit.tasks.loaded import load_task
from depthkit.tasks.stabilized_pair import StabilizedPair
from depthkit.tasks.supervised_pair import SupervisedPair
from depthkit.tasks.view_synthesis import ViewSynthesis

REACH = (0.5, 2.0)
"""Field of view that is taken, tan(half of it) as a share of the training's, least and most."""
LEAST_SIDE = 32  # pixels at the network's focal length
_LEAST_DEPTH = 1e-3  # metres at D0; ELU + 1 rounds to 0
LEAST_MOTION = 0.01  # of the nominal baseline; a hovering camera's noise is no motion
LEAST_OVERLAP = 0.5  # of the picture, after the rotation is taken out
_NO_TURN = 1e-7  # rad; a smaller rotation moves no pixel


def load_predictor(path: Path | str) -> "Predictor | PairPredictor":
    """Load a checkpoint of either kind."""
    loaded = load_task(path)
    size = loaded.config.data.size
    if isinstance(loaded.task, SupervisedPair | StabilizedPair):
        return PairPredictor(loaded.task, size=size, focal=loaded.focal or 0.0)
    return Predictor(loaded.task, size=size, shifts=loaded.shifts, scale=loaded.scale)


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


class PairPredictor:
    """A trained pair network: depth of a frame from an earlier one and the known motion."""

    scale = "metric"

    def __init__(
        self,
        task: SupervisedPair | StabilizedPair,
        *,
        size: tuple[int, int],
        focal: float,
        device: str = "cpu",
    ) -> None:
        """Put a task to work.

        Args:
            task: with its weights.
            size: (H, W) the network was trained at.
            focal: fx of the training frames at that size, pixels.
            device: where it runs.
        """
        self.task = task.eval().to(device)
        self.size, self.focal = size, focal
        self.nominal_baseline = task.supervised.nominal_baseline
        self.max_depth = task.supervised.max_depth
        self.device = torch.device(device)

    @torch.inference_mode()
    def depth(
        self,
        rgb_previous: np.ndarray,
        rgb_current: np.ndarray,
        *,
        T_current_previous: np.ndarray,
        K: np.ndarray | None = None,
    ) -> np.ndarray:
        """Predict the depth of the current frame.

        Args:
            rgb_previous, rgb_current: two frames of one camera. (H, W, 3) uint8
            T_current_previous: points of the previous frame to the current one, metres. (4, 4)
            K: intrinsics at H x W, pixels; None for the field of view of the training. (3, 3)

        Returns:
            Depth along the optical axis, metres, never more than max_depth |t| / D0: what is
            farther cannot be told from infinity. (H, W) float32

        Raises:
            EngineError: no motion, or a field of view far from what was learnt.
        """
        check_shape("PairPredictor: rgb_previous", rgb_previous, "H W 3")
        check_shape("PairPredictor: rgb_current", rgb_current, f"{len(rgb_previous)} W 3")
        check_shape("PairPredictor: T_current_previous", T_current_previous, "4 4")
        baseline = self._baseline(T_current_previous)
        height, width = rgb_current.shape[:2]
        if K is None:
            K = self._training_camera((height, width))
        size = self._size_at_focal(K, (height, width))
        previous = self._turn(rgb_previous, T_current_previous[:3, :3], K)
        current = _to_size(rgb_current, size)
        t_previous_current = -torch.as_tensor(T_current_previous[:3, 3])[None]  # turned alike
        maps = ask_pair_network(
            self.task.depth_net,
            self._tensor(_to_size(previous, size)),
            self._tensor(current),
            t_previous_current=t_previous_current,
            K=torch.as_tensor(resize_matrix((height, width), size) @ K)[None],
            nominal_baseline=self.nominal_baseline,
        )
        depth = self.task.enlarge(maps[0].float(), size)[0, 0].clamp(min=_LEAST_DEPTH)
        metres = depth.cpu().numpy() * np.float32(baseline / self.nominal_baseline)
        return 1 / cv2.resize(1 / metres, (width, height), interpolation=cv2.INTER_LINEAR)

    def _baseline(self, T_current_previous: np.ndarray) -> float:
        """Return |t|, which is the distance of the two camera centres, metres."""
        baseline = float(np.linalg.norm(T_current_previous[:3, 3]))
        if not np.isfinite(T_current_previous).all():
            raise EngineError("the motion between the frames is not finite; leave the pair out")
        if baseline < LEAST_MOTION * self.nominal_baseline:
            raise EngineError(
                f"no depth from no motion: the camera moved {baseline:g} m between the frames; "
                "take an earlier previous frame"
            )
        return baseline

    def _training_camera(self, size: tuple[int, int]) -> np.ndarray:
        """Intrinsics of a frame of this size with the training's field of view. (3, 3)"""
        height, width = self.size
        K = np.array(
            [[self.focal, 0, (width - 1) / 2], [0, self.focal, (height - 1) / 2], [0, 0, 1]]
        )
        return resize_matrix(self.size, size) @ K

    def _size_at_focal(self, K: np.ndarray, size: tuple[int, int]) -> tuple[int, int]:
        """Return the size at which the frame has the training's focal length."""
        check_shape("PairPredictor: K", K, "3 3")
        if not (np.isfinite(K).all() and K[0, 0] > 0 and K[1, 1] > 0):
            raise EngineError(
                f"K must be finite with focal lengths above 0, got {K.tolist()}; check the "
                "calibration"
            )
        wanted = (round(size[0] * self.focal / K[1, 1]), round(size[1] * self.focal / K[0, 0]))
        reach = max(wanted[0] / self.size[0], wanted[1] / self.size[1])
        if not REACH[0] <= reach <= REACH[1] or min(wanted) < LEAST_SIDE:
            height, width = size
            raise EngineError(
                f"focal length {K[0, 0]:.1f} px of {width}x{height} frames is out of range: at the "
                f"network's {self.focal:.1f} px they would be {wanted[1]}x{wanted[0]}, and it "
                f"learnt {self.size[1]}x{self.size[0]} (from {REACH[0]} to {REACH[1]} times that, "
                f"{LEAST_SIDE} a side at least); crop the frames or train for this camera"
            )
        return wanted

    def _turn(self, rgb: np.ndarray, R: np.ndarray, K: np.ndarray) -> np.ndarray:
        """Turn the previous frame like the current one, before anything is made smaller."""
        if np.abs(R - np.eye(3)).max() < _NO_TURN:
            return rgb
        turned = derotate(
            self._tensor(rgb),
            R_target_source=torch.as_tensor(R, dtype=torch.float32, device=self.device)[None],
            K=torch.as_tensor(K, dtype=torch.float32, device=self.device)[None],
        )
        if turned.valid.float().mean() < LEAST_OVERLAP:
            raise EngineError(
                "the views turn so far that they share less than half of the picture; take a "
                "nearer previous frame"
            )
        return turned.image[0].permute(1, 2, 0).mul(255).round().byte().cpu().numpy()

    def _tensor(self, rgb: np.ndarray) -> Tensor:
        return to_tensor(rgb).to(self.device)


def to_tensor(rgb: np.ndarray) -> Tensor:
    """Return a frame as the networks take it. (H, W, 3) uint8 -> (1, 3, H, W) in [0, 1]"""
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float() / 255


def _to_size(rgb: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize as training does, by the one pixel convention."""
    if rgb.shape[:2] == size:
        return rgb
    how = cv2.INTER_AREA if size[0] < rgb.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(rgb, size[::-1], interpolation=how)
