# SPDX-License-Identifier: Apache-2.0
"""Settings at run time: the model, its backend, and how baselines are chosen.

ROS parameters are declared from these same dataclasses. A "net value" is a distance in the
network's own scale, metres at the nominal baseline D0: lateral parallax is f D0 / net pixels, so a
small net value means a large parallax.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from depthkit.config.ranges import check_ranges, option, require

Rule = Literal["fixed", "best_of_n", "nearest", "feedback", "multi_range"]
Backend = Literal["auto", "onnxruntime", "openvino", "cuda", "tensorrt"]
Precision = Literal["default", "fp32", "bf16", "fp16"]
Quality = Literal["fast", "normal", "fine"]
SWEEP = Path("sweep")
"""In place of a model: depth from several views by geometry, without a network."""


@dataclass(frozen=True)
class BaselineConfig:
    """Which past frames a pair network gets besides the current one, and how its maps are fused.

    A change while a node runs starts a new stream, because the kept frames depend on the rule.
    """

    rule: Rule = option("multi_range", live=True)
    """Rule that chooses the past frames: a fixed shift; the best of n maps (A); the baseline
    nearest to the nominal one (B); a shift controlled by the mean of the last map (C); or several
    baselines that suit the depths of the last map, fused."""
    shift: int = option(3, least=1, live=True)
    """Shift in frames for rule fixed, for the first frame of rule feedback, and for every rule
    while no displacement is known."""
    capacity: int = option(32, least=1, live=True)
    """Number of past frames kept, thinned so that their baselines are spaced geometrically: 32
    frames cover 0.05 D0 to 20 D0 in steps of 20 %, at any speed."""
    max_baseline: float = option(20.0, above=1, live=True)
    """Longest useful baseline, as a multiple of D0: when there are more than `capacity` frames,
    those beyond it are dropped first."""
    min_baseline: float = option(0.01, above=0, below=1, live=True)
    """Smallest displacement that counts as motion, as a share of D0."""
    candidates: int = option(5, least=1, live=True)
    """Rule best_of_n: number of past frames tried, spaced geometrically; each costs a run of the
    network."""
    ranges: int = option(3, least=1, live=True)
    """Rule multi_range: largest number of baselines per frame; each costs a run of the network, in
    one batch."""
    target: float = option(20.0, above=0, live=True)
    """Rule multi_range: net value, metres at D0, to which each range of depths is brought. A
    smaller one means more parallax than the network can match: the shipped one (f = 64 px, D0 = 0.3
    m) has its smallest error at about one pixel, net 15 to 30, and twice that error at four
    pixels."""
    feedback_target: float = option(30.0, above=0, live=True)
    """Rule feedback: target of the mean net value, metres at D0; 30 or 40 in the published code."""
    best_mean: float = option(50.0, above=0, live=True)
    """Rule best_of_n: the map whose mean net value is nearest to this is kept, metres at D0; half
    of the network's 100 m."""
    band: tuple[float, float, float, float] = option((4.0, 12.0, 50.0, 80.0), live=True)
    """Trapezoid of net values, metres at D0: the weight of a map is 0 below the first, 1 between
    the second and the third, and 0 above the fourth. For the shipped network the parallax is 4.8 px
    at the first and 1.6 px at the second, where matching begins to work; at the fourth, a tenth of
    a pixel changes depth by half."""
    max_rotation: float = option(30.0, above=0, below=90, live=True)
    """Largest rotation between the two frames of a pair, degrees."""
    min_overlap: float = option(0.5, above=0, most=1, live=True)
    """Smallest overlap of the two frames of a pair after derotation, as a share of the image."""
    max_age: float = option(10.0, above=0, live=True)
    """Largest age of a past frame, seconds: the scene may change and the odometry drifts."""
    max_gap: float = option(1.0, above=0, live=True)
    """Longest pause between two frames, seconds; after a longer one the past frames are dropped."""
    max_speed: float = option(100.0, above=0, live=True)
    """Largest camera speed, m/s; a faster one is taken for a jump of the odometry, and the past
    frames are dropped."""

    def __post_init__(self) -> None:
        check_ranges(self)
        needed = max(self.shift, self.candidates, self.ranges)
        require(
            self.capacity >= needed,
            f"capacity: at least {needed} for shift, candidates and ranges, got {self.capacity}",
        )
        begin, full, fade, end = self.band
        require(
            0 <= begin < full <= fade < end, f"band: four rising net values, got {list(self.band)}"
        )


@dataclass(frozen=True)
class EngineConfig:
    """Network and backend of an engine."""

    model: Path = Path("model.onnx")
    """Exported network: a file, or the name of a shipped one; or the word sweep, depth from several
    views without a network."""
    backend: Backend = "auto"
    """Inference backend; auto: ONNX Runtime with the best available provider."""
    threads: int = option(1, least=1)
    """Number of CPU threads for the network."""
    precision: Precision = "default"
    """Precision of the computation; default: the precision of the exported file."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class RuntimeConfig(EngineConfig):
    """Settings of a depth engine and its stream."""

    quality: Quality = "normal"
    """Working size of model sweep. Fast: a quarter of the camera's width; normal: half; fine: all
    of it."""
    similarity: str = "census"
    """What model sweep compares: census, zncc, or an exported network of kind features."""
    baseline: BaselineConfig = field(default_factory=BaselineConfig)
    """Choice of baselines; pair networks only."""
