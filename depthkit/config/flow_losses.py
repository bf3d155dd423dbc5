# SPDX-License-Identifier: Apache-2.0
"""`flow` and `coop`: what optical flow is judged by, alone and beside depth and motion."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from depthkit.config.losses import check_finest_counts
from depthkit.config.ranges import check_ranges, option, require


@dataclass(frozen=True)
class FlowConfig:
    """How optical flow is judged without labels: by rebuilding each frame from the other."""

    photometric: Literal["census", "ssim"] = "census"
    """Photometric error: census, which does not change with brightness, or SSIM and L1 with the
    share in `loss`."""
    census_radius: int = option(2, least=1, most=5)
    """Radius of the census neighbourhood, pixels; 3 in the papers."""
    smoothness: Literal["first_order", "second_order"] = "first_order"
    """Smoothness term of the flow; second order allows the flow of planes."""
    smoothness_weight: float = option(1.0, least=0)
    """Weight of smoothness beside the photometric error, both at each scale."""
    edge_sharpness: float = option(10.0, least=0)
    """Sharpness of image edges: smoothness is divided by e where neighbouring colours, in [0, 1],
    differ by 1 over this."""
    scale_weights: tuple[float, ...] = option((1.0, 0.5, 0.5, 0.5, 0.25), least=0)
    """Weight of each scale of the network, finest first; one beyond the list is not judged."""
    occlusion: Literal["forward_backward", "splatting", "none"] = "forward_backward"
    """How pixels that are hidden in the other frame are found, to be left out."""
    occlusion_from: int = option(300, least=0)
    """First step at which hidden pixels are left out: the flow must be roughly right before."""
    window: tuple[int, int] | None = option(None, above=32)
    """Height and width of the random part of a frame that the network sees in training, pixels.
    Flow that leaves the window is judged by the rest of the frame, which teaches what lies beyond
    the border [Luo 2021, UPFlow]. Null for whole frames."""
    window_zoom: float = option(1.0, least=1, most=4)
    """Largest random enlargement of the frames before the window is cut."""
    teacher: Literal["none", "dis", "raft_small"] = "none"
    """Teacher flow for the first steps, used where it passes the forward-backward check: OpenCV's
    dense inverse search (dis), or RAFT's (raft_small)."""
    teacher_file: Path | None = None
    """Trained weights of the teaching raft_small: torchvision's file."""
    teacher_weight: float = option(0.1, least=0)
    """Weight of the distance to the teacher flow, pixels, at the first step."""
    teacher_steps: int = option(1000, least=0)
    """Number of steps over which that weight falls to 0."""

    def __post_init__(self) -> None:
        check_ranges(self)
        check_finest_counts(self.scale_weights)
        require(
            self.window is not None or self.window_zoom == 1,
            f"window_zoom: enlarges what a window is cut from; set window, got {self.window_zoom}",
        )
        require(
            (self.teacher == "raft_small") == (self.teacher_file is not None),
            "teacher_file: the weights of teacher raft_small, and of no other; set both or neither",
        )


@dataclass(frozen=True)
class CoopConfig:
    """How depth, camera motion and flow learn together [Hariat 2023]; their errors and smoothness
    are those of `loss` and `flow`."""

    mask: Literal["none", "cc", "posterior", "hard"] = "posterior"
    """Weight of each pixel for depth and motion: 1 (none), the rule of Competitive Collaboration
    (cc), its static probability (posterior), or 1 where that is above one half (hard)."""
    evidence: Literal["photometric", "gap", "both"] = "photometric"
    """Evidence for the static probability: the two photometric errors (the paper's), the distance
    between rigid flow and flow (gap), or both as if independent."""
    delta: Literal["difference", "ratio"] = "difference"
    """How the two errors are compared: by their difference (the paper's), or by the logarithm of
    their ratio (ours), which rich texture does not raise."""
    warmup_steps: int = option(300, least=0)
    """Steps in which each network learns by itself, from all pixels."""
    window: int = option(5, least=1)
    """Side of the square over which the evidence is averaged, odd, pixels."""
    momentum: float = option(0.99, least=0, below=1)
    """Share of the old law of static pixels that each step keeps."""
    least_share: float = option(0.002, above=0, below=0.15)
    """Prior: smallest assumed share of moving pixels. While depth is still poor the law is wide and
    hardly a pixel is labelled moving; with 0.1 the worst pixels are left out even then."""
    cc_rigid_weight: float = option(1.0, above=0)
    """Factor on the rigid error in the CC rule. Above 1, more pixels are labelled moving."""
    cc_agreement: float = option(0.01, least=0)
    """CC rule: distance between rigid flow and flow below which a pixel is static whatever the
    errors, pixels."""
    flow_weight: float = option(1.0, above=0)
    """Weight of the terms of flow beside those of depth and motion."""
    static_flow_weight: float = option(1.0, least=0)
    """Weight of static pixels in the photometric error of flow; moving ones weigh 1."""
    rigid_teaches_flow: float = option(0.0, least=0)
    """Weight of the distance between flow and rigid flow on static pixels, pixels, from which flow
    learns."""
    flow_teaches_rigid: float = option(0.0, least=0)
    """Weight of the same distance, from which depth and motion learn."""
    contact_weight: float = option(0.0, least=0)
    """Weight of the term that pulls moving pixels to the depth of the ground below them [after Moon
    2024]."""
    mask_weight: float = option(0.0, least=0)
    """Weight of the term by which a mask network learns from single pictures what tends to move;
    above 0 its log odds and the evidence of the frames together give the static probability."""
    balance: Literal["none", "gradient"] = "gradient"
    """Whether gradients are scaled so that each network gets its share; they are measured in either
    case. Adam undoes constant factors: the balance acts through optimizer.gradient_clip."""
    shares: tuple[float, float, float] = option((1.0, 1.0, 1.0), above=0)
    """Relative gradient norms of depth, motion and flow under that balance, in any unit."""

    def __post_init__(self) -> None:
        check_ranges(self)
        require(self.window % 2 == 1, f"window: odd, got {self.window}")
        require(
            self.contact_weight == 0 or self.mask != "none",
            "contact_weight: needs a mask to label what moves; set mask, or 0",
        )
        require(
            self.mask_weight == 0 or self.mask in ("posterior", "hard"),
            "mask_weight: the network learns the posterior; set mask to posterior or hard, or "
            "mask_weight to 0",
        )
