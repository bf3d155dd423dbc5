# SPDX-License-Identifier: Apache-2.0
"""`model`: the networks and the weights that they start from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from depthkit.config.ranges import check_ranges, option, require

DepthNetwork = Literal[
    "resnet18", "resnet50", "light", "dispnet", "depthnet", "sweepnet", "shading"
]


@dataclass(frozen=True)
class ModelConfig:
    """The networks."""

    depth: DepthNetwork = "resnet18"
    """Depth network. Of one frame: a U-Net on an encoder (resnet18, resnet50, light), or Zhou's
    DispNetS (dispnet). For tasks of their own: depthnet (a pair of frames), sweepnet (a pair and
    its direction of motion: learns ten times sooner), shading (a frame of an endoscope)."""
    width: float = option(1.0, above=0, most=4)
    """Channels of the depthnet or sweepnet, as a multiple of the published ones."""
    init: Path | None = None
    """Weights to start from: a run, a checkpoint or a shipped name. From a run of another task only
    the depth network is taken (between view_synthesis and coop the pose network too), and it must
    be of the same kind. From a run of the same task the step count is restored too, so its warm-up
    and its teacher are skipped."""
    pose: Literal["flow", "resnet18", "resnet50", "light", "posenet"] = "resnet18"
    """Pose network (camera motion): a head on classical optical flow (flow: learns soonest), a head
    on an encoder, or Zhou's PoseNet."""
    pose_input: Literal["pair", "snippet"] = "pair"
    """Input of the pose network: each pair of frames in time order, or all frames at once."""
    encoder_weights: str | None = None
    """ImageNet weights of a ResNet encoder of depth or place: a file, or "imagenet" (torchvision's
    cache)."""
    pose_encoder_weights: str | None = None
    """ImageNet weights of a ResNet pose encoder: a file, or "imagenet"."""
    min_depth: float = option(0.1, above=0)
    """Nearest depth that the network can predict, metres or its own unit."""
    max_depth: float = option(100.0, above=0)
    """Farthest depth that the network can predict, metres or its own unit."""
    flow: Literal["pwc", "raft_small"] = "pwc"
    """Flow network: a small pyramid network (pwc), or torchvision's RAFT, for GPUs."""
    flow_width: float = option(1.0, above=0, most=4)
    """Channels of the pwc, as a multiple of its default ones."""
    flow_weights: str | None = None
    """Trained weights of the raft_small: torchvision's file."""
    features: Literal["small", "unet32", "attention", "ms_aff"] = "small"
    """Extractor of descriptors of task similarity: a small U-Net for robots, or those of [Chebbi
    2023]: U-Net32, the same with attention, or multi-scale attentional fusion (ms_aff)."""
    feature_channels: int = option(32, least=4, most=256)
    """Numbers of a descriptor; 64 in [Chebbi 2023], 128 in [Gleize 2023]."""
    keypoints: Literal["light", "vgg"] = "light"
    """Network of task keypoints: a light one for robots (descriptors for every 4 x 4 pixels), or a
    VGG without pooling [Gleize 2023] (a descriptor for every pixel; slow)."""
    keypoint_width: float = option(1.0, above=0, most=4)
    """Channels of the vgg, as a multiple of the published ones."""
    place: Literal["light", "resnet18", "resnet50"] = "light"
    """Encoder of task place; a ResNet may start from encoder_weights."""
    place_pooling: Literal["gem", "rmac", "convolutional"] = "gem"
    """How task place makes one vector of a picture: generalised mean (gem), sum of regional maxima
    (rmac), or three convolutions and all their numbers (convolutional) [Khokhlova 2020]."""
    place_numbers: int = option(256, least=2, most=4096)
    """Numbers of a place's descriptor."""
    place_second: Literal["none", "edges", "raster"] = "none"
    """Second modality of task place: edges of the picture itself (Sobel), or a raster that lies
    beside the pictures: classes as colours, or depth."""
    place_fusion: Literal["early", "concatenated"] = "early"
    """How two modalities become one descriptor: mixed by a first convolution that starts with half
    of each channel (early), or described by two networks, half of the numbers each (concatenated);
    the halves may also be searched apart and their lists merged."""
    flow_init: Path | None = None
    """Start weights of task coop's flow network: a run of task flow or coop."""

    def __post_init__(self) -> None:
        check_ranges(self)
        require(
            self.min_depth < self.max_depth,
            f"min_depth: 0 < min_depth < max_depth, got {self.min_depth} and {self.max_depth}",
        )
