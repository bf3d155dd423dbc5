# SPDX-License-Identifier: Apache-2.0
"""What the engines answer: depth, motion or flow, its scale, its time, and why there is none."""

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:  # baseline.py chooses among frames that the engine makes
    from depthkit.runtime.depth.baseline import Decision

Scale = Literal["metric", "relative"]


@dataclass(frozen=True)
class Timing:
    """Where the time of one call went, milliseconds."""

    preprocess_ms: float = 0.0
    """Frames checked, resized, turned, put together."""
    network_ms: float = 0.0
    """The backend's run."""
    postprocess_ms: float = 0.0
    """Maps scaled, fused and brought back to the camera's size."""

    @classmethod
    def until_now(cls, started: float, prepared: float, answered: float) -> "Timing":
        """Return the stages between readings of perf_counter, the last one ending now."""
        stages = prepared - started, answered - prepared, perf_counter() - answered
        return cls(*(1e3 * seconds for seconds in stages))

    @property
    def total_ms(self) -> float:
        """All of it."""
        return self.preprocess_ms + self.network_ms + self.postprocess_ms


@dataclass(frozen=True, eq=False)
class DepthResult:
    """The depth of one frame, or the reason why there is none. Arrays belong to the caller."""

    depth: np.ndarray | None
    """Along the optical axis at the camera's size, metres if `scale` is metric. (H, W) float32"""
    valid: np.ndarray | None
    """The pixel may be used. (H, W) bool"""
    confidence: np.ndarray | None
    """0 to 1, where the engine can tell. (H, W) float32"""
    K: np.ndarray | None
    """Intrinsics of the depth map, pixels; None where the camera is not known. (3, 3)"""
    scale: Scale
    """Whether depth is metres, or has one unknown factor."""
    scale_source: str
    """Where the scale came from, in words."""
    stamp: float
    """Of the frame, seconds."""
    decision: "Decision | None" = None
    """Which earlier frames a pair network was given, and why."""
    timing: Timing = Timing()
    reason: str = ""
    """Why there is no depth; empty where there is."""


@dataclass(frozen=True, eq=False)
class FlowResult:
    """The flow from one frame to another. The array belongs to the caller."""

    flow: np.ndarray
    """Pixels (u, v) at the camera's size. (H, W, 2) float32"""
    timing: Timing = Timing()


@dataclass(frozen=True, eq=False)
class StaticResult:
    """Which pixels of one frame belong to the static scene, or the reason why that is not known."""

    probability: np.ndarray | None
    """0 to 1 at the camera's size, NaN where it cannot be told. (H, W) float32"""
    rule: Literal["photometric", "gap", "both", "residual"]
    """By the law that the network's run has learnt, of photometric errors, of the gap between flow
    and what depth and motion say it should be, or of both, with what a mask
    network says where the run has one; residual: by that gap without a law."""
    stamp: float
    """Of the frame, seconds."""
    unit: float | None = None
    """What the motion's translation was multiplied with, to be in the unit of depth; 1 where both
    have one anyway."""
    timing: Timing = Timing()
    reason: str = ""
    """Why it is not known; empty where it is."""


@dataclass(frozen=True, eq=False)
class OdometryResult:
    """The motion up to one frame, or the reason why it is not known."""

    T_previous_current: np.ndarray | None
    """Points of this frame to the frame before it; None where unknown. (4, 4) float64"""
    T_world_cam: np.ndarray
    """Chained since the start or the last reset; unknown motion moves nothing. (4, 4) float64"""
    scale: Scale
    """Whether translations are metres, or have one unknown factor."""
    scale_source: str
    """Where the scale came from, in words."""
    stamp: float
    """Of the frame, seconds."""
    segment: int
    """Poses of one segment belong together: it grows by 1 each time the chain breaks."""
    timing: Timing = Timing()
    reason: str = ""
    """Why there is no motion; empty where there is."""
    since: float | None = None
    """Stamp of the frame before, that the motion starts at, seconds; None without motion."""
    left_out: bool = False
    """No motion because the stride skips this frame: nothing is wrong."""
