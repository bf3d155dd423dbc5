# SPDX-License-Identifier: Apache-2.0
"""`loss`, `supervised`, `stabilized`: what depth and camera motion are judged by."""

from dataclasses import dataclass
from typing import Literal

from depthkit.config.ranges import check_ranges, option, require


@dataclass(frozen=True)
class LossConfig:
    """How a rebuilt view is judged. The defaults are Monodepth2's [Godard 2019]."""

    ssim_weight: float = option(0.85, least=0, most=1)
    """Share of SSIM in the photometric error; 0 for Zhou's L1."""
    reduction: Literal["minimum", "mean"] = "minimum"
    """Error of a pixel over its sources: that of the best one, or the mean of all."""
    auto_mask: bool = True
    """Leave out pixels that an unwarped source explains better than the warped ones."""
    full_resolution: bool = True
    """Enlarge every scale before warping; false compares at each scale's own size (Zhou)."""
    scales: int = option(4, least=1, most=4)
    """Number of decoder scales that are judged, finest first."""
    smoothness: Literal["edge_aware", "second_order", "gradient_diffusion"] = "edge_aware"
    """Smoothness term. edge_aware: first order, less at image edges, mean-normalised; second_order:
    Zhou's; gradient_diffusion: its square, less at image edges, on 1 / depth without normalisation
    [Pinard 2018], for task stabilized_pair."""
    smoothness_weight: float = option(1e-3, least=0)
    """Weight of smoothness at the finest scale, halved at each coarser one; 0.5 in [Zhou 2017]."""
    explainability_weight: float = option(0.0, least=0)
    """Weight of the mask cross-entropy of [Zhou 2017], 0.2 there; 0 for no mask. Needs model.pose:
    posenet and model.pose_input: snippet."""
    consistency_weight: float = option(0.0, least=0)
    """Weight of SC-Depth's depth agreement between views, 0.5 in the paper. Pixels that disagree
    count less in the photometric error too."""
    gauge_weight: float = option(0.0, least=0)
    """Weight of the term that pins the free scale of depth, so that it does not drift to values
    where gradients vanish; 0.05 is enough."""
    gauge_depth: float = option(0.3, above=0)
    """Mean depth (geometric, over a batch) at which the gauge pins, in the network's own unit."""
    baseline_weight: float = option(0.0, least=0)
    """Weight of the known baseline |t| (poses.txt), which makes depth metric; 0.05 in [Guizilini
    2020]."""
    rotation_weight: float = option(0.0, least=0)
    """Weight of the known rotation (poses.txt)."""
    motion: Literal["learnt", "known", "refined"] = "learnt"
    """Where camera motion comes from: a pose network (learnt), the poses of the sequence (known),
    or those with a small learnt correction for each pair of frames (refined). With known or refined
    motion there is no pose network, and depth learns in minutes."""
    teacher_weight: float = option(0.1, least=0)
    """Weight of the relative error of depth against supervised.teacher: sweep, beside rebuilt
    views."""
    motion_prior: float = option(0.01, least=0)
    """Weight of the term that draws the corrections of refined motion to zero."""

    def __post_init__(self) -> None:
        check_ranges(self)
        require(
            self.gauge_weight == 0 or self.baseline_weight == 0,
            "gauge_weight: known baselines fix the scale already; set one of the two to 0",
        )
        require(
            not (self.auto_mask and self.reduction == "mean"),
            "auto_mask: works on the minimum over sources; set reduction: minimum, or it to false",
        )
        require(
            self.explainability_weight == 0 or self.reduction == "mean",
            "explainability_weight: weights the mean over sources; set reduction: mean",
        )
        if self.motion == "learnt":
            return
        for name in ("explainability", "gauge", "baseline", "rotation"):
            require(
                getattr(self, f"{name}_weight") == 0,
                f"{name}_weight: is for a pose network, and loss.motion: {self.motion} has none; "
                "set it to 0",
            )

    @property
    def knows_motion(self) -> bool:
        """Whether the poses of the sequence are the motion."""
        return self.motion != "learnt"


@dataclass(frozen=True)
class SupervisedConfig:
    """How depth is judged by the known depth. The defaults are DepthNet's [Pinard 2017a]."""

    teacher: Literal["sensor", "sweep"] = "sensor"
    """Source of the depth that teaches single frames: depth/ of the sequence (sensor), or its posed
    views, compared before training (sweep). The sweep teaches task supervised_mono, by relative
    errors in place of `loss`, and view_synthesis beside its own loss."""
    loss: Literal["l1", "l2", "huber", "berhu", "log_l1", "scale_invariant", "gradient"] = "l1"
    """Regression loss, as compared in [Carvalho 2018]; gradient matches edges of log depth only."""
    scale_weights: tuple[float, ...] = option((0.32, 0.08, 0.02, 0.01, 0.005), least=0)
    """Weight of each scale, finest first; a scale beyond the list is not judged."""
    nominal_baseline: float = option(0.3, above=0)
    """Pairs: nominal baseline D0, the distance between the frames that depth is taught at,
    metres."""
    max_depth: float = option(100.0, above=0)
    """Largest depth: known depth is clipped here, metres (pairs: metres at the nominal
    baseline)."""
    attitude_noise: float = option(0.0, least=0)
    """Pairs: largest deviation of the random rotation that is left between the frames in training,
    degrees, because a robot's attitude is never exact. Each pair draws its own from 0 to this."""
    edge_weight: float = option(0.0, least=0)
    """Weight of the difference between depth gradients (shading); 0 for none."""
    curvature_weight: float = option(0.0, least=0)
    """Weight of the difference between second derivatives of depth (shading); 0 for none."""

    def __post_init__(self) -> None:
        check_ranges(self)
        check_finest_counts(self.scale_weights)


@dataclass(frozen=True)
class StabilizedConfig:
    """How a pair network learns without labels [Pinard 2018]. Its nominal baseline and its farthest
    depth are those of `supervised`, its photometric error and smoothness those of `loss`."""

    orientation: Literal["network", "measured"] = "network"
    """Rotation by which the frames are turned alike: that of the pose network, or the measured one
    of poses.txt (IMU, gimbal), with which the pose network predicts the translation alone."""
    measured_displacement: bool = False
    """Take the length of the translations from poses.txt and only their direction from the pose
    network."""
    measured_translation: bool = False
    """Take the whole motion from poses.txt; needs orientation: measured. The pose network then
    learns nothing."""
    random_reference: bool = False
    """Train on any source of the window as the pair's other frame, not on the first alone."""
    random_target: bool = False
    """Train on any frame of the window as the target, not on the middle one alone."""
    same_ratio: float = option(0.0, least=0, below=1)
    """Share of pairs of a frame with itself, whose depth must come out as the farthest."""
    same_weight: float = option(1.0, least=0)
    """Weight of the error of those pairs."""
    flexible_every: int = option(0, least=0)
    """Epochs after which the shifts of each window are chosen anew by the depth they gave; 0 for
    never."""
    flexible_depth: float = option(40.0, above=0)
    """Mean depth that the outermost sources should show, metres at the nominal baseline."""
    flexible_longest: int = option(10, above=0)
    """Largest shift that is chosen so, frames."""

    def __post_init__(self) -> None:
        check_ranges(self)


def check_finest_counts(weights: tuple[float, ...]) -> None:
    """Refuse weights of scales that leave out the finest one, or all of them."""
    require(
        len(weights) > 0 and weights[0] > 0,
        f"scale_weights: 0 or more each, the finest above 0, got {list(weights)}",
    )
