# SPDX-License-Identifier: Apache-2.0
"""Results of the engines: depth, motion or flow, with scale, timing and the reason of failure."""

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:  # baseline.py chooses among frames that the engine makes
    from depthkit.runtime.depth.baseline import Decision

Scale = Literal["metric", "relative"]
ScaleKnown = Literal["unknown", "observed", "held", "lost"]
CONFIDENT_SIGMA = 0.2
"""Relative standard deviation of depth up to which a pixel counts as measured: maps take it, and
scores of confident pixels are over these."""


@dataclass(frozen=True)
class Timing:
    """Duration of the stages of one call, milliseconds."""

    preprocess_ms: float = 0.0
    """Frames checked, resized, derotated and batched."""
    network_ms: float = 0.0
    """Run of the backend."""
    postprocess_ms: float = 0.0
    """Maps scaled, fused and resized to the camera's size."""

    @classmethod
    def until_now(cls, started: float, prepared: float, answered: float) -> "Timing":
        """Return the stages between readings of perf_counter; the last one ends now."""
        stages = prepared - started, answered - prepared, perf_counter() - answered
        return cls(*(1e3 * seconds for seconds in stages))

    @property
    def total_ms(self) -> float:
        """Sum of the stages."""
        return self.preprocess_ms + self.network_ms + self.postprocess_ms


@dataclass(frozen=True)
class ScaleFit:
    """Fit of a network's depth to sparse points: `1 / D = 1 / (factor * depth) + shift`."""

    factor: float | None = None
    """Factor on the network's depth; None if unknown. 1 where a metric network stays as it is."""
    shift: float = 0.0
    """Shift of the inverse depth, 1 / unit of the fitted depth; 0: a factor alone is fitted."""
    residual: float | None = None
    """Relative spread of the points about the fitted depth, at the last frame that had any; None if
    unknown."""
    points: int = 0
    """Number of points that agreed with the last fit."""
    state: ScaleKnown = "unknown"
    """unknown: no fit yet. observed: this frame's points agree with it. held: they do not, or there
    are none, and the last fit is kept. lost: kept for too long, or the points' unit is another."""
    reason: str = ""
    """Why it is not observed; empty if it is."""


@dataclass(frozen=True, eq=False)
class DepthResult:
    """Depth of one frame, or the reason why it is missing. The caller owns the arrays."""

    depth: np.ndarray | None
    """Depth along the optical axis at the camera's size, metres if `scale` is metric. (H, W)
    float32"""
    valid: np.ndarray | None
    """Pixels with a usable depth. (H, W) bool"""
    confidence: np.ndarray | None
    """Confidence, 0 to 1; None if the engine has none. (H, W) float32"""
    K: np.ndarray | None
    """Intrinsics of the depth map, pixels; None where the camera is unknown. (3, 3)"""
    scale: Scale
    """Metric: metres; relative: up to one unknown factor."""
    scale_source: str
    """Description of where the scale comes from."""
    stamp: float
    """Stamp of the frame, seconds."""
    decision: "Decision | None" = None
    """Earlier frames chosen for a pair network, and why."""
    timing: Timing = Timing()
    reason: str = ""
    """Why depth is missing; empty if it is not."""
    sigma: np.ndarray | None = None
    """Relative standard deviation of depth, > 0: 0.05 is 5 %. None if the source has none. (H, W)
    float32"""
    fit: ScaleFit | None = None
    """Fit of the depth to the points of an odometry; None where none was made."""


@dataclass(frozen=True, eq=False)
class FlowResult:
    """Optical flow from one frame to another. The caller owns the array."""

    flow: np.ndarray
    """Flow (u, v) in pixels at the camera's size. (H, W, 2) float32"""
    timing: Timing = Timing()


@dataclass(frozen=True, eq=False)
class StaticResult:
    """Probability that a pixel is static, or the reason why it is missing."""

    probability: np.ndarray | None
    """Static probability at the camera's size, 0 to 1, NaN where unknown. (H, W) float32"""
    rule: Literal["photometric", "gap", "both", "residual"]
    """Evidence used. photometric, gap, both: the model learnt in training, on photometric errors,
    on the gap between flow and rigid flow, or on both, with the logits of a mask network where the
    run has one. residual: the gap compared with its own median, without a learnt model."""
    stamp: float
    """Stamp of the frame, seconds."""
    unit: float | None = None
    """Factor from the unit of the motion's translation to the unit of depth; 1 where they agree."""
    timing: Timing = Timing()
    reason: str = ""
    """Why the probability is missing; empty if it is not."""


@dataclass(frozen=True)
class ScaleState:
    """Whether lengths are metres at one frame, since when, and by what."""

    state: ScaleKnown = "unknown"
    """unknown: relative, up to one factor a segment. observed: a source measures the step now.
    held: no source at the moment, the last factor is kept. lost: held for too long, or the sources
    contradict each other; lengths are no longer metres."""
    source: str = ""
    """Name of the source, as `camera height` or `speed`; several are joined by +. Empty if
    unknown."""
    sigma: float | None = None
    """Relative standard deviation of lengths; None if unknown."""
    held_for: float = 0.0
    """Time since a source measured last, seconds."""
    reason: str = ""
    """Why no source measures now; empty while observed."""

    @property
    def metric(self) -> bool:
        """Whether lengths are metres."""
        return self.state in ("observed", "held")


@dataclass(frozen=True, eq=False)
class SparsePoints:
    """Landmarks seen in one frame. The caller owns the arrays."""

    ids: np.ndarray
    """Identity of each landmark, the same in all frames of a segment. (N,) int64"""
    pixels: np.ndarray
    """Where the frame sees them, pixels of the camera's size. (N, 2) float64"""
    positions: np.ndarray
    """Positions in the world of the segment, in the unit of the translations. (N, 3) float64"""
    sigma: np.ndarray
    """Relative standard deviation of their depth. (N,) float64"""


@dataclass(frozen=True, eq=False)
class OdometryResult:
    """Camera motion up to one frame, or the reason why it is unknown."""

    T_previous_current: np.ndarray | None
    """Motion that takes points of this frame to the previous one; None if unknown. (4, 4)
    float64"""
    T_world_cam: np.ndarray
    """Pose chained since the start or the last reset; an unknown motion leaves it unchanged. (4, 4)
    float64"""
    scale: Scale
    """Metric: translations in metres; relative: up to one unknown factor."""
    scale_source: str
    """Description of where the scale comes from."""
    stamp: float
    """Stamp of the frame, seconds."""
    segment: int
    """Index of the segment: increased each time the chain breaks."""
    timing: Timing = Timing()
    reason: str = ""
    """Why motion is missing; empty if it is not."""
    since: float | None = None
    """Stamp of the frame that the motion starts at, seconds; None without motion."""
    left_out: bool = False
    """Whether the stride skips this frame: no motion, and no fault."""
    covariance: np.ndarray | None = None
    """Covariance of `T_world_cam` against the start of its segment, without the scale: in the axes
    of the camera, translation first, in the unit of the translations and radians; None if unknown.
    (6, 6)"""
    scale_state: ScaleState = ScaleState()
    """Whether the translations are metres now, and by what."""
    points: SparsePoints | None = None
    """Landmarks seen in the frame; None where the method has none."""
    correction: np.ndarray | None = None
    """Pose of the odometry's world in the map after a loop [REP 105: map to odom]; None before the
    first. `T_world_cam` itself never jumps. (4, 4)"""
