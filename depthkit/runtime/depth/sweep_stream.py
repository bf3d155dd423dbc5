# SPDX-License-Identifier: Apache-2.0
"""Depth of a stream of frames by plane sweep over past frames: no network, no training.

For each frame: sources by parallax, pose correction, sweep, check, fusion with the last map, and
filling along the edges of the picture. It needs camera poses; their unit is that of depth. The same
frames with the same stamps and poses give the same bytes, live and offline.
"""

from dataclasses import replace
from time import perf_counter

import numpy as np

from depthkit.camera import resize_matrix
from depthkit.errors import EngineError, check_shape
from depthkit.multiview.matching_cost import Describe
from depthkit.runtime.config import BaselineConfig
from depthkit.runtime.depth.baseline import Decision
from depthkit.runtime.depth.frame_ring import FrameRing, RingFrame, jump_before
from depthkit.runtime.depth.sweep import Swept, sweep
from depthkit.runtime.depth.sweep_config import SweepConfig
from depthkit.runtime.depth.sweep_map import (
    DepthMap,
    SteadyScale,
    carried,
    dense,
    fused,
    measured,
    steadied,
)
from depthkit.runtime.depth.sweep_plan import Plan, grey_of, levels_of, make_plan, pose_of
from depthkit.runtime.frame_gate import BLACK_FRAME, FrameGate, Intrinsics
from depthkit.runtime.motion.place import rotation_fault
from depthkit.runtime.motion.told import NO_MOTION, Motion
from depthkit.runtime.preprocess import (
    NetworkFrame,
    check_camera,
    enlarge_depth,
    enlarge_inverse,
    is_black,
    to_size,
)
from depthkit.runtime.result import DepthResult, Timing

CROWDED, NEARER, NEAREST = 0.02, 1.5, 2.5
"""Share of pixels at the near end that moves it by NEARER, up to NEAREST in all; else it comes back
by a fiftieth a frame. What is never in range is never tracked either: a blank road before a car."""
USUAL_PARALLAX = 0.05
"""Parallax of the nominal baseline of the ring of past frames, as a share of the width."""
NO_POSE = "no camera pose, and a sweep needs one; give poses or an odometry"
LEAST_SIDE = 48
"""Shorter side of the frames that are compared, pixels, below which matching fails."""


class SweepStream:
    """Sweeps each frame against chosen past ones. A `DepthSource`; one thread at a time.

    Memory is bounded by the ring of past frames at the size they are compared at.
    """

    def __init__(
        self, config: SweepConfig | None = None, *, describe: Describe | None = None
    ) -> None:
        """Start without past frames.

        Args:
            config: settings; the usual ones if None.
            describe: descriptors of the learnt cost.

        Raises:
            EngineError: the learnt cost without descriptors.
        """
        self.config = config or SweepConfig()
        self._describe = describe
        if self.config.cost == "learned" and describe is None:
            raise EngineError(
                "cost learned needs a network of kind features; name one, or take cost census"
            )
        self.reset()

    def reset(self) -> None:
        """Forget all frames; needed where poses begin anew, as in another segment."""
        config = self.config
        ring = BaselineConfig(capacity=config.capacity, max_age=config.max_age)
        self._ring = FrameRing(ring, nominal_baseline=None)
        self._gate = FrameGate(config.max_gap)
        self._index = -1
        self._metric: bool | None = None
        self._last: DepthMap | None = None
        self._depths, self._scale, self._nearer = 0.0, SteadyScale(), 1.0
        self.swept: Swept | None = None
        """The newest sweep, before fusion and filling."""

    @property
    def newest(self) -> DepthMap | None:
        """The newest map, fused with the last one, before filling."""
        return self._last

    def process(
        self,
        rgb: np.ndarray,
        *,
        stamp: float,
        K: np.ndarray | None = None,
        motion: Motion = NO_MOTION,
    ) -> DepthResult:
        """Take the next frame and return its depth, or the reason why it is missing.

        Args:
            rgb: (H, W, 3) uint8
            stamp: seconds, rising.
            K: intrinsics at H x W, pixels. (3, 3)
            motion: camera motion; its pose is needed, in metres or in a unit of its own.

        Raises:
            TypeError, ShapeError: the caller's bug.
        """
        started = perf_counter()
        if not isinstance(rgb, np.ndarray):
            raise TypeError(f"frame must be a numpy array, got {type(rgb).__name__}")
        self._index += 1
        # 1. An unusable frame is skipped; the past frames stay.
        fault = self._fault_of(rgb, K, stamp, motion)
        if fault or K is None or motion.T_world_cam is None:
            return self._without_depth(K, stamp, fault)
        camera = self._gate.steady(rgb.shape[:2], K)
        current = self._ring_frame(rgb, K if camera[1] is None else camera[1], stamp, motion)
        # 2. A frame that does not continue the past ones drops them.
        reason = self._new_start(current, camera, motion.metric)
        if reason:
            result = self._without_depth(K, stamp, reason)
        else:
            # 3. Sources, poses, sweep, fusion, filling.
            result = self._depth(current, K, rgb.shape[:2], started)
        self._ring.push(current)
        self._gate.enter(stamp, camera)
        return result

    # --- what may be wrong with a frame -----------------------------------------------------------

    def _fault_of(self, rgb: np.ndarray, K: np.ndarray | None, stamp: float, motion: Motion) -> str:
        """Return why a frame is skipped; empty if it is not."""
        if fault := self._gate.fault_of(rgb, stamp):
            return fault
        if self._gate.repeats(stamp):
            return f"stamp {stamp:.3f} s came before; the frame is left out"
        if K is None:
            return "no intrinsics: a sweep needs K of the camera"
        check_shape("K", K, "3 3")
        try:
            check_camera(K)
        except EngineError as error:
            return str(error)
        if min(rgb.shape[:2]) // self.config.shrink < LEAST_SIDE:
            return (
                f"frames of {rgb.shape[1]}x{rgb.shape[0]} shrunk {self.config.shrink} times are "
                f"too small to compare, {LEAST_SIDE} pixels at least; lower shrink"
            )
        if is_black(rgb):
            return BLACK_FRAME
        if motion.T_world_cam is None:
            return NO_POSE
        check_shape("T_world_cam", motion.T_world_cam, "4 4")
        if not np.isfinite(motion.T_world_cam).all():
            return "the camera pose is not finite"
        fault = rotation_fault(np.asarray(motion.T_world_cam[:3, :3], dtype=np.float64))
        return f"the attitude of the camera pose {fault}" if fault else ""

    def _new_start(self, current: RingFrame, camera: Intrinsics, metric: bool) -> str:
        """Drop the past frames if the frame does not continue them, and return why; else empty."""
        reason = self._gate.break_before(current.stamp, camera)
        before, self._metric = self._metric, metric
        if not reason and before is not None and before != metric:
            reason = "the unit of the poses changed"
        if not reason and metric:
            newest = next(iter(self._ring), None)
            reason = jump_before(newest, current, max_speed=self.config.max_speed)
        if not reason:
            return ""
        self._ring.clear()
        self._ring.nominal_baseline = None
        self._last, self._depths, self._scale = None, 0.0, SteadyScale()
        self._nearer = 1.0
        return f"{reason}; the past is forgotten"

    def _ring_frame(
        self, rgb: np.ndarray, K: np.ndarray, stamp: float, motion: Motion
    ) -> RingFrame:
        """Shrink a frame to the size at which frames are compared."""
        size = rgb.shape[0] // self.config.shrink, rgb.shape[1] // self.config.shrink
        pose = np.asarray(motion.T_world_cam, dtype=np.float64)
        small = np.array(to_size(rgb, size))
        frame = NetworkFrame(small, resize_matrix(rgb.shape[:2], size) @ K)
        return RingFrame(self._index, stamp, frame, pose[:3, :3], pose[:3, 3])

    def _without_depth(
        self, K: np.ndarray | None, stamp: float, reason: str, decision: Decision | None = None
    ) -> DepthResult:
        metric = bool(self._metric)
        return DepthResult(
            depth=None,
            valid=None,
            confidence=None,
            K=None if K is None else np.array(K, dtype=np.float64),
            scale="metric" if metric else "relative",
            scale_source="camera poses" if metric else "camera poses up to one unknown factor",
            stamp=stamp,
            decision=decision,
            reason=reason,
        )

    # --- depth ------------------------------------------------------------------------------------

    def _depth(
        self, current: RingFrame, K: np.ndarray, size: tuple[int, int], started: float
    ) -> DepthResult:
        plan, reason = make_plan(current, list(self._ring), self.config, known=self._depths)
        if plan is None:
            return self._without_depth(K, current.stamp, reason)
        planned, grey, T_world_cam = perf_counter(), grey_of(current), pose_of(current)
        # 1. The last map in this frame, the range of inverse depths, and the sweep.
        last = None if self._last is None else carried(self._last, T_world_cam, current.frame.K)
        config = self.config
        levels = levels_of(plan, last, planes=config.planes, nearer=self._nearer)
        swept = sweep(
            grey,
            [grey_of(source) for source in plan.sources],
            plan.corrected.T_sources_target,
            K=current.frame.K,
            inverse_depths=levels,
            paths=config.paths,
            cost=config.cost,
            describe=self._describe,
        )
        self._widen(float((swept.inverse >= levels[-2]).mean()))
        self.swept, swept_at = swept, perf_counter()
        # 2. How sure each pixel is; fused with the last map where both know it.
        own = measured(swept, grey, T_world_cam, current.frame.K)
        gain = self._scale.take(plan.error, current.stamp)
        if config.fuse and last is not None:
            own, last = steadied(own, last, gain=gain)
            own = fused(own, last, step=float(levels[1] - levels[0]))
        # 3. Filled along the picture's edges.
        whole = dense(own, grey)
        self._remember(own, whole)
        result = self._result(whole, plan, K, size)
        return replace(result, timing=Timing.until_now(started, planned, swept_at))

    def _widen(self, crowd: float) -> None:
        """Move the near end of the range where pixels crowd at it. crowd: their share."""
        factor = NEARER if crowd > CROWDED else 0.98
        self._nearer = float(np.clip(self._nearer * factor, 1.0, NEAREST))

    def _remember(self, own: DepthMap, whole: DepthMap) -> None:
        """Keep what the next frame starts from."""
        self._last, self._depths = own, float(np.median(whole.inverse))
        focal, width = own.K[0, 0], own.inverse.shape[1]
        self._ring.nominal_baseline = USUAL_PARALLAX * width / (focal * self._depths)

    def _result(
        self,
        whole: DepthMap,
        plan: Plan,
        K: np.ndarray,
        size: tuple[int, int],
    ) -> DepthResult:
        """Bring the map to the camera's size."""
        sigma = enlarge_depth(np.hypot(whole.sigma, np.float32(self._scale.sigma)), size)
        return replace(
            self._without_depth(K, plan.current.stamp, "", plan.decision),
            depth=enlarge_inverse(1 / whole.inverse, size),
            valid=np.ones(size, dtype=bool),
            sigma=sigma,
            confidence=confidence_of(sigma),
        )


def confidence_of(sigma: np.ndarray) -> np.ndarray:
    """Return the probability that depth is within 25 % of the truth, for Laplace errors.

    Args:
        sigma: relative standard deviation. (H, W)
    """
    return (1 - np.exp(-np.sqrt(2) * np.log(1.25) / sigma)).astype(np.float32)
