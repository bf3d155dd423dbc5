# SPDX-License-Identifier: Apache-2.0
"""What a robot can be told: which model runs on what, and how the baseline is chosen.

ROS parameters are declared from these same dataclasses. Distances of the network's own world are
metres at the nominal baseline D0 ("net values"): lateral parallax is f D0 / net pixels, so a small
net value is much parallax.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from depthkit.config.ranges import check_ranges, option, require

Rule = Literal["fixed", "best_of_n", "nearest", "feedback", "multi_range"]
Backend = Literal["auto", "onnxruntime", "openvino", "cuda", "tensorrt"]
Precision = Literal["default", "fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class BaselineConfig:
    """Which past frames a pair network gets beside the current one, and how its maps are fused.

    A change while a node runs starts a new stream: the past frames are chosen by the rule.
    """

    rule: Rule = option("multi_range", live=True)
    """Fixed shift; best of n maps (A); nearest to the nominal baseline (B); feedback of the last
    map's mean on the shift (C); or several baselines that fit the last map's depths, fused."""
    shift: int = option(3, least=1, live=True)
    """Frames back: of rule fixed, of the first frame under feedback, and of every rule while no
    displacement is known."""
    capacity: int = option(32, least=1, live=True)
    """Past frames kept. They are thinned so that their baselines are spread geometrically: 32
    reach from 0.05 D0 to 20 D0 in steps of a fifth, whatever the speed."""
    max_baseline: float = option(20.0, above=1, live=True)
    """Where more than `capacity` frames are there, those farther than this go first; a multiple of
    D0."""
    min_baseline: float = option(0.01, above=0, below=1, live=True)
    """Least motion that counts as motion, as a share of D0."""
    candidates: int = option(5, least=1, live=True)
    """Best of n: past frames tried, geometrically spread; each costs a run of the network."""
    ranges: int = option(3, least=1, live=True)
    """Multi-range: most baselines at a time; each costs a run of the network, in one batch."""
    target: float = option(20.0, above=0, live=True)
    """Multi-range: net value, metres at D0, at which a range of depths should be seen. More
    parallax would be better still if the network matched it: the shipped one (f = 64 px, D0 =
    0.3 m) errs least at about one pixel, net 15 to 30, and twice as much at four."""
    feedback_target: float = option(30.0, above=0, live=True)
    """Feedback: mean net value aimed at, metres at D0; 30 or 40 in the published code."""
    best_mean: float = option(50.0, above=0, live=True)
    """Best of n: the map with the mean net value nearest to this wins; half of 100 m."""
    band: tuple[float, float, float, float] = option((4.0, 12.0, 50.0, 80.0), live=True)
    """Net values, metres at D0, where the weight of a map begins, is full, fades and ends. Parallax
    of the shipped network is 4.8 px at the first and 1.6 px at the second, between which it loses
    count; at the last, a tenth of a pixel changes depth by half."""
    max_rotation: float = option(30.0, above=0, below=90, live=True)
    """Largest turn between two frames of a pair, degrees."""
    min_overlap: float = option(0.5, above=0, most=1, live=True)
    """Least share of the picture that both frames of a pair see once turned alike."""
    max_age: float = option(10.0, above=0, live=True)
    """Oldest frame of a pair, seconds: the scene may change and the odometry drifts."""
    max_gap: float = option(1.0, above=0, live=True)
    """Longest pause between two frames, seconds; after a longer one the past is forgotten."""
    max_speed: float = option(100.0, above=0, live=True)
    """A faster camera is a jump of its odometry, metres a second; the past is forgotten."""

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
    """A network at work."""

    model: Path = Path("model.onnx")
    """The exported network: a file, or the name of a shipped one."""
    backend: Backend = "auto"
    """Auto: ONNX Runtime with the best provider that is there."""
    threads: int = option(1, least=1)
    """CPU threads of the network."""
    precision: Precision = "default"
    """Of the computation; default: as the file was exported."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class RuntimeConfig(EngineConfig):
    """A depth model at work."""

    baseline: BaselineConfig = field(default_factory=BaselineConfig)
    """For pair networks."""
