# SPDX-License-Identifier: Apache-2.0
"""What a training run can be told: frozen dataclasses, the only schema of `depthkit train`'s YAML.

A YAML file holds differences from the defaults below; `--set data.shifts=[-2,2]` differs from the
file.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from depthkit.errors import ConfigError

Encoder = Literal["resnet18", "resnet50", "light"]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True)
class DataConfig:
    """Which frames teach, and how they are varied."""

    root: Path = Path("data")
    """A data set folder (sequences and split.yaml) or one sequence folder."""
    train: tuple[str, ...] = ()
    """Sequences to train on, names or globs ("colon_l1_*"); empty for the split's own list."""
    val: tuple[str, ...] = ()
    """Sequences to validate on, names or globs; empty for the split's own list."""
    validation_share: float = 0.05
    """Without validation sequences: share of each training sequence held out at its end."""
    size: tuple[int, int] = (128, 416)
    """Height and width the networks see, pixels."""
    shifts: tuple[int, ...] | Literal["auto"] = (-1, 1)
    """Sources, as signed frame offsets from the target; "auto" asks the data doctor (inspect).
    Tasks of one frame read none."""
    random_shift: int = 0
    """Pairs: draw each training shift from -n to n, 0 too, as far as the sequence reaches; 0 for
    the shift above. Validation keeps to that shift."""
    skip_static: bool = True
    """Leave out targets that a saved inspection (inspect --save) calls unusable."""
    flip: bool = True
    """Mirror half of the snippets left to right."""
    flip_vertical: bool = False
    """Mirror half of the snippets top to bottom: for cameras that know no up."""
    colour_jitter: float = 0.2
    """Largest change of brightness, contrast and saturation, the same for a snippet's frames."""
    zoom: float = 1.0
    """Largest random enlargement before cropping back; Zhou uses 1.15."""
    workers: int = 2
    """Loader processes; 0 loads in the training process."""

    def __post_init__(self) -> None:
        _require(min(self.size) > 32, f"size: more than 32 pixels a side, got {self.size}")
        if self.shifts != "auto":
            _require(self.shifts != (), "shifts: at least one source is needed, got []")
            _require(0 not in self.shifts, "shifts: 0 is the target itself; use other offsets")
            _require(
                len(set(self.shifts)) == len(self.shifts),
                f"shifts: each offset once, got {list(self.shifts)}",
            )
        _require(self.random_shift >= 0, f"random_shift: 0 or more, got {self.random_shift}")
        _require(
            self.random_shift == 0 or (self.shifts != "auto" and len(self.shifts) == 1),
            f"random_shift: varies one nominal shift, such as [-3]; got shifts {self.shifts}",
        )
        _require(0 < self.validation_share < 0.5, "validation_share: between 0 and 0.5")
        _require(0 <= self.colour_jitter < 1, "colour_jitter: between 0 and 1")
        _require(1 <= self.zoom <= 2, "zoom: between 1 and 2")
        _require(self.workers >= 0, f"workers: 0 or more, got {self.workers}")


DepthNetwork = Literal[
    "resnet18", "resnet50", "light", "dispnet", "depthnet", "sweepnet", "shading"
]


@dataclass(frozen=True)
class ModelConfig:
    """The networks."""

    depth: DepthNetwork = "resnet18"
    """Single-view depth: U-Net on an encoder, or Zhou's DispNetS. For their own tasks: depthnet (a
    pair of frames), sweepnet (the same, told the direction of motion: learns ten times sooner),
    shading (an endoscope's frame)."""
    width: float = 1.0
    """Channels of the depthnet or sweepnet, as a share of the published ones."""
    init: Path | None = None
    """Weights to start from: a run, checkpoint or shipped name; of another task's the depth network
    alone (view_synthesis and coop: the pose network too), which must be the same. Of the same
    task's the steps done come along: its warm-up and its teacher are over."""
    pose: Literal["flow", "resnet18", "resnet50", "light", "posenet"] = "resnet18"
    """Camera motion: read off classical optical flow (learns soonest), an encoder's head, or Zhou's
    PoseNet."""
    pose_input: Literal["pair", "snippet"] = "pair"
    """One motion from each pair in time order, or all motions from all frames at once."""
    encoder_weights: str | None = None
    """ImageNet weights of a ResNet depth encoder: a file, or "imagenet" (torchvision's cache)."""
    pose_encoder_weights: str | None = None
    """The same for the pose encoder."""
    min_depth: float = 0.1
    """Nearest depth the network can say, metres or its own unit."""
    max_depth: float = 100.0
    """Farthest depth the network can say, metres or its own unit."""
    flow: Literal["pwc", "raft_small"] = "pwc"
    """Optical flow: a small pyramid network, or torchvision's RAFT, for GPUs."""
    flow_width: float = 1.0
    """Channels of the pwc, as a share of its own."""
    flow_weights: str | None = None
    """Trained weights of the raft_small: torchvision's file."""
    flow_init: Path | None = None
    """Weights for task coop's flow network to start from: a run of task flow or coop."""

    def __post_init__(self) -> None:
        _require(
            0 < self.min_depth < self.max_depth,
            f"min_depth: 0 < min_depth < max_depth, got {self.min_depth} and {self.max_depth}",
        )
        for name in ("width", "flow_width"):
            value = getattr(self, name)
            _require(0 < value <= 4, f"{name}: above 0, at most 4, got {value}")


_WEIGHTS = ("smoothness", "explainability", "consistency", "gauge", "baseline", "rotation")


@dataclass(frozen=True)
class LossConfig:
    """How a rebuilt view is judged. The defaults are Monodepth2's [Godard 2019]."""

    ssim_weight: float = 0.85
    """Share of SSIM in the photometric error; 0 is Zhou's L1."""
    reduction: Literal["minimum", "mean"] = "minimum"
    """Over the sources of a pixel: the best one, or their mean."""
    auto_mask: bool = True
    """Drop pixels that an unwarped source explains better than the warped ones."""
    full_resolution: bool = True
    """Enlarge every scale before warping; False compares at each scale's own size (Zhou)."""
    scales: int = 4
    """Decoder scales that are judged, 1 to 4."""
    smoothness: Literal["edge_aware", "second_order", "gradient_diffusion"] = "edge_aware"
    """First order, less at image edges, mean-normalised; Zhou's second order; or its square, less
    at image edges, on 1 / depth as it is [Pinard 2018]: that one for task stabilized_pair."""
    smoothness_weight: float = 1e-3
    """Weight at the finest scale, halved at each coarser one. Zhou: 0.5."""
    explainability_weight: float = 0.0
    """Zhou's mask cross-entropy, 0.2 in the paper; 0 for no mask. Needs pose: posenet, snippet."""
    consistency_weight: float = 0.0
    """SC-Depth's depth agreement between views, 0.5 in the paper; also masks what disagrees."""
    gauge_weight: float = 0.0
    """Pins the free scale of depth, lest it run off to where no gradient is left; 0.05 does."""
    gauge_depth: float = 0.3
    """Mean depth (geometric, over a batch) that the gauge pins, in the network's own unit."""
    baseline_weight: float = 0.0
    """Asks for the known baseline |t| (poses.txt): makes depth metric. 0.05 [Guizilini 2020]."""
    rotation_weight: float = 0.0
    """Asks for the known rotation (poses.txt)."""

    def __post_init__(self) -> None:
        _require(0 <= self.ssim_weight <= 1, "ssim_weight: between 0 and 1")
        _require(1 <= self.scales <= 4, f"scales: 1 to 4, got {self.scales}")
        for name in _WEIGHTS:
            weight = getattr(self, f"{name}_weight")
            _require(weight >= 0, f"{name}_weight: 0 or more, got {weight}")
        _require(self.gauge_depth > 0, f"gauge_depth: above 0, got {self.gauge_depth}")
        _require(
            self.gauge_weight == 0 or self.baseline_weight == 0,
            "gauge_weight: known baselines fix the scale already; set one of the two to 0",
        )
        _require(
            not (self.auto_mask and self.reduction == "mean"),
            "auto_mask: works on the minimum over sources; set reduction: minimum, or it to false",
        )
        _require(
            self.explainability_weight == 0 or self.reduction == "mean",
            "explainability_weight: weights the mean over sources; set reduction: mean",
        )


@dataclass(frozen=True)
class SupervisedConfig:
    """How a depth is judged by the known one. The defaults are DepthNet's [Pinard 2017a]."""

    loss: Literal["l1", "l2", "huber", "berhu", "log_l1", "scale_invariant", "gradient"] = "l1"
    """Regression loss, as compared in [Carvalho 2018]; gradient matches edges of log depth only."""
    scale_weights: tuple[float, ...] = (0.32, 0.08, 0.02, 0.01, 0.005)
    """Weight of each scale, finest first; a scale beyond the list is not judged."""
    nominal_baseline: float = 0.3
    """Pairs: distance between the frames that depth is taught at, D0, metres."""
    max_depth: float = 100.0
    """Known depth is clipped here, metres (pairs: metres at the nominal baseline)."""
    attitude_noise: float = 0.0
    """Pairs: largest deviation of the random rotation that is left between the frames in training,
    degrees: a robot's attitude is never exact. Each pair draws its own from 0 to this."""
    edge_weight: float = 0.0
    """Of differences of the depth's gradient (shading); 0 for none."""
    curvature_weight: float = 0.0
    """Of differences of the depth's second derivatives (shading); 0 for none."""

    def __post_init__(self) -> None:
        weights = self.scale_weights
        _require(
            len(weights) > 0 and min(weights) >= 0 and weights[0] > 0,
            f"scale_weights: 0 or more each, the finest above 0, got {list(weights)}",
        )
        for name in ("nominal_baseline", "max_depth"):
            _require(getattr(self, name) > 0, f"{name}: above 0, got {getattr(self, name)}")
        for name in ("edge_weight", "curvature_weight", "attitude_noise"):
            _require(getattr(self, name) >= 0, f"{name}: 0 or more, got {getattr(self, name)}")


@dataclass(frozen=True)
class StabilizedConfig:
    """How a pair network learns without labels [Pinard 2018]. Its nominal baseline and its farthest
    depth are `supervised`'s, the photometric error and smoothness those of `loss`."""

    orientation: Literal["network", "measured"] = "network"
    """What turns the frames alike: the pose network's rotation, or the one in poses.txt (IMU,
    gimbal), which leaves it the translation alone."""
    measured_displacement: bool = False
    """Take the lengths of the translations from poses.txt too, the network's for the direction."""
    measured_translation: bool = False
    """Take the whole motion from poses.txt: with orientation: measured. The pose network then
    learns nothing."""
    random_reference: bool = False
    """Train on any source of the window as the pair's other frame, not on the first alone."""
    random_target: bool = False
    """Train on any frame of the window as the target, not on the middle one alone."""
    same_ratio: float = 0.0
    """Share of pairs of a frame with itself, which must look infinitely far."""
    same_weight: float = 1.0
    """Of their error in the loss."""
    flexible_every: int = 0
    """Epochs between two choices of each window's shifts by the depth they gave; 0 for never."""
    flexible_depth: float = 40.0
    """Mean depth that the outermost sources are to show, metres at the nominal baseline."""
    flexible_longest: int = 10
    """Largest shift so chosen, frames."""

    def __post_init__(self) -> None:
        _require(0 <= self.same_ratio < 1, f"same_ratio: 0 or more, below 1; got {self.same_ratio}")
        _require(self.same_weight >= 0, f"same_weight: 0 or more, got {self.same_weight}")
        _require(self.flexible_every >= 0, f"flexible_every: 0 or more, got {self.flexible_every}")
        for name in ("flexible_depth", "flexible_longest"):
            _require(getattr(self, name) > 0, f"{name}: above 0, got {getattr(self, name)}")


@dataclass(frozen=True)
class FlowConfig:
    """How optical flow is judged without labels: by rebuilding each frame from the other."""

    photometric: Literal["census", "ssim"] = "census"
    """Census, which changes of light leave alone, or SSIM and L1 with the share in `loss`."""
    census_radius: int = 2
    """Of the census' square of neighbours, pixels; 3 in the papers."""
    smoothness: Literal["first_order", "second_order"] = "first_order"
    """Of the flow: second order leaves planes free."""
    smoothness_weight: float = 1.0
    """Of smoothness against the photometric error, both at each scale."""
    edge_sharpness: float = 10.0
    """Smoothness is divided by e where neighbouring colours, in [0, 1], differ by 1 over this."""
    scale_weights: tuple[float, ...] = (1.0, 0.5, 0.5, 0.5, 0.25)
    """Weight of each scale of the network, finest first; one beyond the list is not judged."""
    occlusion: Literal["forward_backward", "splatting", "none"] = "forward_backward"
    """How pixels that the other frame does not see are found and left out."""
    occlusion_from: int = 300
    """Steps before that: flow must be roughly right first."""
    window: tuple[int, int] | None = None
    """Height and width of the random part of a frame that the network sees in training, pixels;
    flow that leaves it is judged by the rest of the frame, which teaches what lies beyond the
    border [Luo 2021, UPFlow]. None for whole frames."""
    window_zoom: float = 1.0
    """Largest random enlargement of the frames before."""
    teacher: Literal["none", "dis", "raft_small"] = "none"
    """Flow to begin by, where it comes back: OpenCV's dense inverse search, or RAFT's."""
    teacher_file: Path | None = None
    """Trained weights of the teaching raft_small: torchvision's file."""
    teacher_weight: float = 0.1
    """Of the distance to the teacher's flow, pixels."""
    teacher_steps: int = 1000
    """Steps that it teaches for."""

    def __post_init__(self) -> None:
        weights = self.scale_weights
        _require(
            len(weights) > 0 and min(weights) >= 0 and weights[0] > 0,
            f"scale_weights: 0 or more each, the finest above 0, got {list(weights)}",
        )
        _require(1 <= self.census_radius <= 5, f"census_radius: 1 to 5, got {self.census_radius}")
        least = ("smoothness_weight", "edge_sharpness", "occlusion_from")
        for name in (*least, "teacher_weight", "teacher_steps"):
            _require(getattr(self, name) >= 0, f"{name}: 0 or more, got {getattr(self, name)}")
        _require(
            self.window is None or min(self.window) > 32,
            f"window: more than 32 pixels a side, got {self.window}",
        )
        _require(1 <= self.window_zoom <= 4, f"window_zoom: 1 to 4, got {self.window_zoom}")
        _require(
            self.window is not None or self.window_zoom == 1,
            f"window_zoom: enlarges what a window is cut from; set window, got {self.window_zoom}",
        )
        _require(
            (self.teacher == "raft_small") == (self.teacher_file is not None),
            "teacher_file: the weights of teacher raft_small, and of no other; set both or neither",
        )


@dataclass(frozen=True)
class CoopConfig:
    """How depth, camera motion and flow learn together [Hariat 2023]; their errors and smoothness
    are those of `loss` and `flow`."""

    mask: Literal["none", "cc", "posterior", "hard"] = "posterior"
    """Which pixels teach depth and motion: all, those of Competitive Collaboration's rule, each by
    its static probability, or those above one half of it."""
    evidence: Literal["photometric", "gap", "both"] = "photometric"
    """What the probability is of: the two photometric errors (the paper's), the distance between
    rigid flow and flow, or both as if independent."""
    delta: Literal["difference", "ratio"] = "difference"
    """How the two errors are compared: by their difference (the paper's), or by the logarithm of
    their ratio (ours), which rich texture does not raise."""
    warmup_steps: int = 300
    """Steps in which each network learns by itself, and all pixels teach."""
    window: int = 5
    """Side of the square that what is compared is averaged over, odd, pixels."""
    momentum: float = 0.99
    """Share of the law of static pixels that each step keeps."""
    least_share: float = 0.002
    """Of pixels that are taken to move before they are looked at, at least. While depth is young,
    the law is wide and nothing seems to move; with 0.1 the worst pixels are left out even then."""
    cc_rigid_weight: float = 1.0
    """Of the error by depth and motion in the CC rule; above 1 more is said to move."""
    cc_agreement: float = 0.01
    """CC: rigid flow this near to flow is static whatever the errors, pixels."""
    flow_weight: float = 1.0
    """Of the terms of flow against those of depth and motion."""
    static_flow_weight: float = 1.0
    """Of static pixels in the photometric error of flow; moving ones weigh 1."""
    rigid_teaches_flow: float = 0.0
    """Of the distance of flow from rigid flow where static, pixels; flow learns from it."""
    flow_teaches_rigid: float = 0.0
    """Of the same distance; depth and motion learn from it."""
    contact_weight: float = 0.0
    """Of the term that pulls what moves to the depth of the ground below it [after Moon 2024]."""
    mask_weight: float = 0.0
    """Of the term by which a network learns from single pictures what tends to move; above 0 its
    odds and the evidence of the frames together are the static probability."""
    balance: Literal["none", "gradient"] = "gradient"
    """Whether gradients are scaled so that each network gets its share; measured they always are.
    Adam undoes constant factors: it acts through optimizer.gradient_clip."""
    shares: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Of the gradient norms of depth, motion and flow, in any unit."""

    def __post_init__(self) -> None:
        _require(self.window > 0 and self.window % 2 == 1, f"window: odd, got {self.window}")
        _require(0 <= self.momentum < 1, f"momentum: 0 or more, below 1; got {self.momentum}")
        _require(self.warmup_steps >= 0, f"warmup_steps: 0 or more, got {self.warmup_steps}")
        _require(
            0 < self.least_share < 0.15,
            f"least_share: above 0, below 0.15; got {self.least_share}",
        )
        _require(self.cc_rigid_weight > 0, f"cc_rigid_weight: above 0, got {self.cc_rigid_weight}")
        _require(
            self.contact_weight == 0 or self.mask != "none",
            "contact_weight: needs a mask to say what moves; set mask, or 0",
        )
        _require(
            self.mask_weight == 0 or self.mask in ("posterior", "hard"),
            "mask_weight: the network learns the posterior; set mask to posterior or hard, or "
            "mask_weight to 0",
        )
        _require(self.flow_weight > 0, f"flow_weight: above 0, got {self.flow_weight}")
        _require(min(self.shares) > 0, f"shares: above 0 each, got {list(self.shares)}")
        names = (
            "cc_agreement",
            "static_flow_weight",
            "rigid_teaches_flow",
            "flow_teaches_rigid",
            "contact_weight",
            "mask_weight",
        )
        for name in names:
            _require(getattr(self, name) >= 0, f"{name}: 0 or more, got {getattr(self, name)}")


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam and its schedule."""

    steps: int = 20_000
    """Optimiser steps of the whole run."""
    batch_size: int = 4
    """Snippets a step, over all processes together."""
    learning_rate: float = 1e-4
    """Of Adam, at its highest."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Of Adam."""
    weight_decay: float = 0.0
    """Decoupled (AdamW)."""
    schedule: Literal["constant", "step", "cosine"] = "step"
    """Step: a tenth for the last quarter. Cosine: to nearly zero at the end."""
    warmup_steps: int = 0
    """Linear rise at the start."""
    gradient_clip: float = 10.0
    """Largest norm of the gradient; 0 for no clipping."""

    def __post_init__(self) -> None:
        _require(self.steps > 0, f"steps: 1 or more, got {self.steps}")
        _require(self.batch_size > 0, f"batch_size: 1 or more, got {self.batch_size}")
        _require(self.learning_rate > 0, f"learning_rate: above 0, got {self.learning_rate}")
        _require(
            0 <= self.warmup_steps < self.steps,
            f"warmup_steps: 0 or more and fewer than steps, which is {self.steps}; "
            f"got {self.warmup_steps}",
        )
        _require(
            all(0 <= beta < 1 for beta in self.betas), f"betas: 0 or more, below 1: {self.betas}"
        )
        _require(self.weight_decay >= 0, f"weight_decay: 0 or more, got {self.weight_decay}")
        _require(self.gradient_clip >= 0, f"gradient_clip: 0 or more, got {self.gradient_clip}")


@dataclass(frozen=True)
class RunConfig:
    """Where and how the run runs."""

    seed: int = 0
    """Of weights, data order and augmentation."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Auto: a GPU where there is one."""
    devices: int = 1
    """Processes started on this machine; torchrun overrides it."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of the networks; geometry and losses stay in fp32. Auto: bf16 where the hardware has it."""
    threads: int = 0
    """CPU threads of each process; 0 for torch's own choice."""
    log_every: int = 20
    """Steps between two log lines."""
    image_every: int = 500
    """Steps between two pictures in TensorBoard."""
    validate_every: int = 500
    """Steps between two validations."""
    validation_batches: int = 25
    """Most batches of a validation."""
    save_every: int = 500
    """Steps between two checkpoints."""

    def __post_init__(self) -> None:
        _require(self.devices > 0, f"devices: 1 or more, got {self.devices}")
        _require(0 <= self.seed < 2**32, f"seed: 0 to 4294967295, got {self.seed}")
        _require(self.threads >= 0, f"threads: 0 or more, got {self.threads}")
        counts = ("log_every", "image_every", "validate_every", "validation_batches", "save_every")
        for name in counts:
            _require(getattr(self, name) > 0, f"{name}: 1 or more, got {getattr(self, name)}")


Task = Literal[
    "view_synthesis",
    "supervised_pair",
    "stabilized_pair",
    "supervised_mono",
    "shading",
    "flow",
    "coop",
]
_OWN_NETWORKS = {
    "supervised_pair": ("depthnet", "sweepnet"),
    "stabilized_pair": ("depthnet", "sweepnet"),
    "shading": ("shading",),
}
_PAIR_TASKS = ("supervised_pair", "stabilized_pair")
_NEAREST_PLANE = 1.0  # metres, depthkit/multiview/plane_sweep.py


@dataclass(frozen=True)
class TrainConfig:
    """One training run."""

    task: Task = "view_synthesis"
    """What is learnt: depth and camera motion by rebuilding views, depth of a frame or of a pair of
    frames (stabilized_pair); depth from known depth, of a pair of frames, of one frame, or of one
    frame lit from the camera; optical flow, without labels; or depth, camera motion and flow that
    tell each other what moves (coop)."""
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    supervised: SupervisedConfig = field(default_factory=SupervisedConfig)
    stabilized: StabilizedConfig = field(default_factory=StabilizedConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)
    coop: CoopConfig = field(default_factory=CoopConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    run: RunConfig = field(default_factory=RunConfig)
    stages: tuple[tuple[str, ...], ...] = ()
    """A curriculum: each stage a list of key=value words as after --set, changing this file; a
    stage starts from the weights of the one before."""

    def __post_init__(self) -> None:
        own = _OWN_NETWORKS.get(self.task, ())
        others = {name for names in _OWN_NETWORKS.values() for name in names}
        _require(
            self.model.depth in own if own else self.model.depth not in others,
            f"model.depth: {self.model.depth!r} does not fit task {self.task}; "
            f"set {f'model.depth: {own[0]}' if own else 'another network'}",
        )
        self._check_pairs()
        _require(
            self.model.pose != "flow" or self.model.pose_input == "pair",
            "model.pose: 'flow' takes pairs; set model.pose_input: pair",
        )
        _require(
            self.optimizer.batch_size % self.run.devices == 0,
            f"optimizer.batch_size: {self.optimizer.batch_size} does not divide over "
            f"{self.run.devices} processes (run.devices); "
            f"set optimizer.batch_size to a multiple of {self.run.devices}",
        )
        explains = self.loss.explainability_weight > 0
        _require(
            not explains or (self.model.pose == "posenet" and self.model.pose_input == "snippet"),
            "loss.explainability_weight: needs model.pose: posenet and model.pose_input: snippet",
        )
        self._check_flow()
        if self.task == "stabilized_pair":
            self._check_stabilized()
        else:
            _require(
                self.loss.smoothness != "gradient_diffusion",
                "loss.smoothness: 'gradient_diffusion' is for task stabilized_pair; "
                "set edge_aware or second_order",
            )

    def _check_pairs(self) -> None:
        shifts = self.data.shifts
        _require(
            self.task != "supervised_pair" or (shifts != "auto" and len(shifts) == 1),
            f"data.shifts: a pair has one source, such as [-3]; got {shifts}",
        )
        _require(
            self.task not in _PAIR_TASKS or self.optimizer.batch_size > self.run.devices,
            "optimizer.batch_size: two pairs a process at least, for batch normalisation",
        )
        _require(
            self.model.depth != "sweepnet" or self.supervised.nominal_baseline < _NEAREST_PLANE,
            f"supervised.nominal_baseline: below {_NEAREST_PLANE:g} m for a sweepnet: its nearest "
            f"plane would lie behind the camera; got {self.supervised.nominal_baseline:g}",
        )
        _require(
            self.data.random_shift == 0 or self.task == "supervised_pair",
            "data.random_shift: for task supervised_pair only; set it to 0",
        )

    def _check_flow(self) -> None:
        _require(
            self.model.flow_weights is None or self.model.flow == "raft_small",
            "model.flow_weights: the pwc starts from random weights, or a run (model.init); "
            "set model.flow: raft_small, or this to null",
        )
        window = self.flow.window
        _require(
            window is None or (window[0] <= self.data.size[0] and window[1] <= self.data.size[1]),
            f"flow.window: at most data.size, {self.data.size}; got {window}",
        )
        _require(
            window is None or self.task != "coop",
            "flow.window: task coop compares flow of whole frames; set it to null",
        )
        _require(
            self.model.flow_init is None or self.task == "coop",
            "model.flow_init: for task coop; task flow starts from model.init",
        )

    def _check_stabilized(self) -> None:
        for name in ("explainability", "consistency", "gauge", "baseline"):
            _require(
                getattr(self.loss, f"{name}_weight") == 0,
                f"loss.{name}_weight: not a part of task stabilized_pair; set it to 0",
            )
        _require(
            not self.loss.auto_mask,
            "loss.auto_mask: not a part of task stabilized_pair; set it to false",
        )
        _require(
            not self.stabilized.measured_translation or self.stabilized.orientation == "measured",
            "stabilized.measured_translation: needs stabilized.orientation: measured",
        )
        shifts = self.data.shifts
        _require(
            self.stabilized.flexible_every == 0
            or (shifts != "auto" and sorted(shifts) == sorted(-shift for shift in shifts)),
            "stabilized.flexible_every: chooses shifts of a symmetrical window, such as "
            f"data.shifts: [-3, 3]; got {shifts if shifts == 'auto' else list(shifts)}",
        )
        _require(
            self.stabilized.flexible_every == 0
            or self.stabilized.flexible_longest >= len(shifts) // 2,
            f"stabilized.flexible_longest: {len(shifts) // 2} or more, a frame for each of the "
            f"sources on one side; got {self.stabilized.flexible_longest}",
        )

    @property
    def single_view(self) -> bool:
        """Whether the task looks at one frame alone: then no source is read."""
        return self.task in ("supervised_mono", "shading")

    @property
    def is_metric(self) -> bool:
        """Whether what is learnt is in metres: from known depth, or known baselines."""
        if self.task == "flow":
            return False
        rebuilds = self.task in ("view_synthesis", "coop")
        return not rebuilds or self.loss.baseline_weight > 0

    def networks(self) -> dict[str, Any]:
        """Return what a checkpoint's weights must fit: wherever the first ones came from."""
        model = replace(self.without_encoder_weights().model, init=None, flow_init=None)
        has_mask_net = self.task == "coop" and self.coop.mask_weight > 0
        return {"task": self.task, "model": model, "coop.mask_weight": has_mask_net}

    def without_encoder_weights(self) -> "TrainConfig":
        """Return the configuration without files of weights: a checkpoint brings its own."""
        model = replace(
            self.model, encoder_weights=None, pose_encoder_weights=None, flow_weights=None
        )
        flow = self.flow
        if flow.teacher == "raft_small":
            flow = replace(flow, teacher="none", teacher_file=None)
        return replace(self, model=model, flow=flow)
