# SPDX-License-Identifier: Apache-2.0
"""The configuration of a training run: frozen dataclasses, the only schema of `depthkit train`.

A YAML file holds differences from the defaults; `--set data.shifts=[-2,2]` differs from the file.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from depthkit.config.data import DataConfig
from depthkit.config.flow_losses import CoopConfig, FlowConfig
from depthkit.config.keypoints import KeypointsConfig
from depthkit.config.losses import LossConfig, StabilizedConfig, SupervisedConfig
from depthkit.config.model import ModelConfig
from depthkit.config.place import PlaceConfig
from depthkit.config.ranges import require
from depthkit.config.run import OptimizerConfig, RunConfig
from depthkit.config.similarity import SimilarityConfig
from depthkit.config.task_kinds import KINDS, Task, TaskKind, tasks_with

_NEAREST_PLANE = 1.0  # metres, depthkit/multiview/plane_sweep.py


@dataclass(frozen=True)
class TrainConfig:
    """One training run."""

    task: Task = "view_synthesis"
    """What is learnt. From video alone: depth and camera motion by rebuilding views
    (view_synthesis), depth of a pair of frames (stabilized_pair), optical flow (flow), or depth,
    camera motion and flow that find together what moves (coop). From known depth: depth of a pair
    of frames (supervised_pair), of one frame (supervised_mono), or of one frame lit from the camera
    (shading). From known depth and motion, or from any pictures: descriptors of pixels to match
    views by (similarity), or keypoints with descriptors (keypoints). From poses or tracks, pictures
    of one place at two times, or from any pictures: one descriptor of a whole picture, to find the
    same place again (place)."""
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    supervised: SupervisedConfig = field(default_factory=SupervisedConfig)
    stabilized: StabilizedConfig = field(default_factory=StabilizedConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)
    similarity: SimilarityConfig = field(default_factory=SimilarityConfig)
    keypoints: KeypointsConfig = field(default_factory=KeypointsConfig)
    place: PlaceConfig = field(default_factory=PlaceConfig)
    coop: CoopConfig = field(default_factory=CoopConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    run: RunConfig = field(default_factory=RunConfig)
    stages: tuple[tuple[str, ...], ...] = ()
    """Curriculum: each stage is a list of key=value words as after --set that change this file, and
    starts from the weights of the stage before."""

    def __post_init__(self) -> None:
        networks = self.kind.networks
        require(
            self.model.depth in networks,
            f"model.depth: {self.model.depth!r} does not fit task {self.task}; "
            f"set model.depth: {' or '.join(networks)}",
        )
        self._check_pairs()
        self._check_pose_network()
        self._check_flow()
        self._check_options()
        self.kind.check(self)

    @property
    def kind(self) -> TaskKind:
        """What the task needs and leaves behind."""
        return KINDS[self.task]

    def _check_pairs(self) -> None:
        shifts = self.data.shifts
        require(
            self.kind.reads != "pair" or (shifts != "auto" and len(shifts) == 1),
            f"data.shifts: a pair has one source, such as [-3]; got {shifts}",
        )
        require(
            self.optimizer.batch_size % self.run.devices == 0,
            f"optimizer.batch_size: {self.optimizer.batch_size} does not divide over "
            f"{self.run.devices} processes (run.devices); "
            f"set optimizer.batch_size to a multiple of {self.run.devices}",
        )
        require(
            self.kind.exported != "pair" or self.optimizer.batch_size > self.run.devices,
            "optimizer.batch_size: two pairs a process at least, for batch normalisation",
        )
        require(
            self.model.depth != "sweepnet" or self.supervised.nominal_baseline < _NEAREST_PLANE,
            f"supervised.nominal_baseline: below {_NEAREST_PLANE:g} m for a sweepnet: its nearest "
            f"plane would lie behind the camera; got {self.supervised.nominal_baseline:g}",
        )

    def _check_pose_network(self) -> None:
        pose, pose_input = self.model.pose, self.model.pose_input
        require(
            pose != "flow" or pose_input == "pair",
            "model.pose: 'flow' takes pairs; set model.pose_input: pair",
        )
        require(
            self.loss.explainability_weight == 0 or (pose, pose_input) == ("posenet", "snippet"),
            "loss.explainability_weight: needs model.pose: posenet and model.pose_input: snippet",
        )

    def _check_flow(self) -> None:
        require(
            self.model.flow_weights is None or self.model.flow == "raft_small",
            "model.flow_weights: the pwc starts from random weights, or a run (model.init); "
            "set model.flow: raft_small, or this to null",
        )
        window, size = self.flow.window, self.data.size
        require(
            window is None or (window[0] <= size[0] and window[1] <= size[1]),
            f"flow.window: at most data.size, {size}; got {window}",
        )

    def _check_options(self) -> None:
        """Refuse what is for other tasks, so that nothing is set in vain."""
        options = self.kind.options
        require(
            "random_shift" in options or self.data.random_shift == 0,
            f"data.random_shift: for {tasks_with('random_shift')} only; set it to 0",
        )
        require(
            "flexible_shifts" in options or self.stabilized.flexible_every == 0,
            f"stabilized.flexible_every: for {tasks_with('flexible_shifts')} only; set it to 0",
        )
        require(
            "gradient_diffusion" in options or self.loss.smoothness != "gradient_diffusion",
            f"loss.smoothness: 'gradient_diffusion' is for {tasks_with('gradient_diffusion')}; "
            "set edge_aware or second_order",
        )
        require(
            "flow_init" in options or self.model.flow_init is None,
            f"model.flow_init: for {tasks_with('flow_init')}; task flow starts from model.init",
        )
        require(
            "known_motion" in options or not self.loss.knows_motion,
            f"loss.motion: for {tasks_with('known_motion')} only; set it to learnt",
        )
        require(
            "sweep_teacher" in options or not self.taught_by_sweep,
            f"supervised.teacher: sweep is for {tasks_with('sweep_teacher')} only; set it to "
            "sensor",
        )

    @property
    def single_view(self) -> bool:
        """Whether the task looks at one frame alone: then no source is read."""
        return self.kind.reads == "frame"

    @property
    def is_metric(self) -> bool:
        """Whether what is learnt is in metres: from known depth, or known baselines."""
        return self.kind.metric(self)

    @property
    def taught_by_sweep(self) -> bool:
        """Whether depth of the sweep teaches."""
        return self.supervised.teacher == "sweep"

    @property
    def depth_has_unit(self) -> bool:
        """Whether depth of single frames comes out in the unit of the poses."""
        return self.kind.exported == "mono" and (self.loss.knows_motion or self.is_metric)

    def networks(self) -> dict[str, Any]:
        """Return what a checkpoint's weights must fit: wherever the first ones came from."""
        model = replace(self.without_encoder_weights().model, init=None, flow_init=None)
        has_mask_net = "mask_net" in self.kind.options and self.coop.mask_weight > 0
        parts = {"task": self.task, "model": model, "coop.mask_weight": has_mask_net}
        return parts | {"loss.motion": self.loss.motion}

    def without_encoder_weights(self) -> "TrainConfig":
        """Return the configuration without files of weights: a checkpoint brings its own."""
        model = replace(
            self.model, encoder_weights=None, pose_encoder_weights=None, flow_weights=None
        )
        flow = self.flow
        if flow.teacher == "raft_small":
            flow = replace(flow, teacher="none", teacher_file=None)
        return replace(self, model=model, flow=flow)
