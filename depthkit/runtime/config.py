# SPDX-License-Identifier: Apache-2.0
"""What a robot can be told: which model runs on what, and how the baseline is chosen.

ROS parameters are declared from these same dataclasses. Distances of the network's own world are
metres at the nominal baseline D0 ("net values"): lateral parallax is f D0 / net pixels, so a small
net value is much parallax.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from depthkit.errors import ConfigError

Rule = Literal["fixed", "best_of_n", "nearest", "feedback", "multi_range"]
Backend = Literal["auto", "onnxruntime", "openvino", "cuda", "tensorrt"]
Precision = Literal["default", "fp32", "bf16", "fp16"]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True)
class BaselineConfig:
    """Which past frames a pair network gets beside the current one, and how its maps are fused."""

    rule: Rule = "multi_range"
    """Fixed shift; best of n maps (A); nearest to the nominal baseline (B); feedback of the last
    map's mean on the shift (C); or several baselines that fit the last map's depths, fused."""
    shift: int = 3
    """Frames back: of rule fixed, of the first frame under feedback, and of every rule while no
    displacement is known."""
    capacity: int = 32
    """Past frames kept. They are thinned so that their baselines are spread geometrically: 32
    reach from 0.05 D0 to 20 D0 in steps of a fifth, whatever the speed."""
    max_baseline: float = 20.0
    """Where more than `capacity` frames are there, those farther than this go first; a multiple of
    D0."""
    min_baseline: float = 0.01
    """Least motion that counts as motion, as a share of D0."""
    candidates: int = 5
    """Best of n: past frames tried, geometrically spread; each costs a run of the network."""
    ranges: int = 3
    """Multi-range: most baselines at a time; each costs a run of the network, in one batch."""
    target: float = 20.0
    """Multi-range: net value, metres at D0, at which a range of depths should be seen. More
    parallax would be better still if the network matched it: the shipped one (f = 64 px, D0 =
    0.3 m) errs least at about one pixel, net 15 to 30, and twice as much at four."""
    feedback_target: float = 30.0
    """Feedback: mean net value aimed at, metres at D0; 30 or 40 in the published code."""
    best_mean: float = 50.0
    """Best of n: the map with the mean net value nearest to this wins; half of 100 m."""
    band: tuple[float, float, float, float] = (4.0, 12.0, 50.0, 80.0)
    """Net values, metres at D0, where the weight of a map begins, is full, fades and ends. Parallax
    of the shipped network is 4.8 px at the first and 1.6 px at the second, between which it loses
    count; at the last, a tenth of a pixel changes depth by half."""
    max_rotation: float = 30.0
    """Largest turn between two frames of a pair, degrees."""
    min_overlap: float = 0.5
    """Least share of the picture that both frames of a pair see once turned alike."""
    max_age: float = 10.0
    """Oldest frame of a pair, seconds: the scene may change and the odometry drifts."""
    max_gap: float = 1.0
    """Longest pause between two frames, seconds; after a longer one the past is forgotten."""
    max_speed: float = 100.0
    """A faster camera is a jump of its odometry, metres a second; the past is forgotten."""

    def __post_init__(self) -> None:
        for name in ("shift", "candidates", "ranges"):
            value = getattr(self, name)
            _require(value >= 1, f"{name}: 1 or more, got {value}")
        needed = max(self.shift, self.candidates, self.ranges)
        _require(
            self.capacity >= needed,
            f"capacity: at least {needed} for shift, candidates and ranges, got {self.capacity}",
        )
        for name in ("target", "feedback_target", "best_mean", "max_speed", "max_age", "max_gap"):
            value = getattr(self, name)
            _require(value > 0, f"{name}: above 0, got {value}")
        _require(0 < self.min_baseline < 1, f"min_baseline: 0 to 1, got {self.min_baseline}")
        _require(self.max_baseline > 1, f"max_baseline: above 1, got {self.max_baseline}")
        begin, full, fade, end = self.band
        _require(
            0 <= begin < full <= fade < end, f"band: four rising net values, got {list(self.band)}"
        )
        _require(0 < self.max_rotation < 90, f"max_rotation: 0 to 90, got {self.max_rotation}")
        _require(0 < self.min_overlap <= 1, f"min_overlap: 0 to 1, got {self.min_overlap}")


@dataclass(frozen=True)
class RuntimeConfig:
    """A model at work."""

    model: Path = Path("model.onnx")
    """The exported network."""
    backend: Backend = "auto"
    """Auto: ONNX Runtime with the best provider that is there."""
    threads: int = 1
    """CPU threads of the network."""
    precision: Precision = "default"
    """Of the computation; default: as the file was exported."""
    baseline: BaselineConfig = field(default_factory=BaselineConfig)
    """For pair networks."""

    def __post_init__(self) -> None:
        _require(self.threads >= 1, f"threads: 1 or more, got {self.threads}")
