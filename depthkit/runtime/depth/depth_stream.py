# SPDX-License-Identifier: Apache-2.0
"""Depth of a stream of frames: the same code live and offline.

Deterministic: the same frames with the same stamps and motion give the same bytes. A faulty frame
gets a result with a reason, and the stream continues; bugs of the caller (not an array, a pose of
another shape) raise.
"""

from dataclasses import replace
from time import perf_counter

import numpy as np

from depthkit.errors import DataError, EngineError, check_shape
from depthkit.runtime.config import BaselineConfig
from depthkit.runtime.depth.baseline import (
    Decision,
    Feedback,
    Selection,
    keep_one,
    next_shift,
    select,
    wanted_depths,
)
from depthkit.runtime.depth.confidence import View, confidence_map
from depthkit.runtime.depth.depth_engine import DepthEngine, PairMaps
from depthkit.runtime.depth.frame_ring import FrameRing, RingFrame, jump_before
from depthkit.runtime.depth.fusion import fuse
from depthkit.runtime.frame_gate import BLACK_FRAME, FrameGate, Intrinsics
from depthkit.runtime.motion.place import CameraMotion
from depthkit.runtime.motion.told import NO_MOTION, Motion
from depthkit.runtime.preprocess import (
    check_camera,
    check_frame,
    enlarge_depth,
    enlarge_inverse,
    enlarge_mask,
    is_black,
)
from depthkit.runtime.result import DepthResult, Scale, Timing

NO_DIRECTION = "direction of motion unknown: this network takes it as input, so it needs poses"
STRIDE = 2  # every second known pixel is used for the quantiles of depth


class DepthStream:
    """Runs a pair network on chosen past frames, or a mono network on each frame.

    Memory is bounded by the ring of past frames. One thread at a time.
    """

    def __init__(self, engine: DepthEngine, config: BaselineConfig | None = None) -> None:
        """Start without past frames.

        Args:
            engine: engine to run; the caller closes it.
            config: choice of baselines; defaults if None.
        """
        self._engine, self.config = engine, config or BaselineConfig()
        self._nominal = engine.manifest.nominal_baseline or 0.0
        if engine.kind == "pair" and not self._nominal > 0:
            raise EngineError("the manifest has no nominal baseline; export a pair network again")
        self.reset()

    def reset(self) -> None:
        """Drop the past frames and the kind of motion that is known."""
        self._motion = CameraMotion()
        self._ring = FrameRing(self.config, nominal_baseline=self._nominal)
        self._feedback = Feedback()
        self._index = -1
        self._gate = FrameGate(self.config.max_gap)

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
            K: intrinsics at H x W, pixels; a pair network needs them. (3, 3)
            motion: camera motion. Without pose or displacement, depth is relative; a stream without
                any attitude is treated as that of a stabilised camera.

        Raises:
            TypeError, ShapeError: the caller's bug.
            EngineError: the engine is closed.
        """
        started = perf_counter()
        if not isinstance(rgb, np.ndarray):
            raise TypeError(f"frame must be a numpy array, got {type(rgb).__name__}")
        if K is not None:
            check_shape("K", K, "3 3")
        if self._engine.kind == "mono":
            return self._single(rgb, K, stamp)
        self._index += 1
        # 1. Where the frame was taken, and whether its distance to the past is known.
        place = self._motion.read(motion)
        if place.breaks:
            self._forget()
        # 2. An unusable frame is skipped; the past frames stay.
        fault = place.fault or self._fault_of(rgb, K, stamp)
        if fault or K is None:
            return self._without_depth(K, stamp, fault)
        camera = self._gate.steady(rgb.shape[:2], K)
        try:
            frame = self._engine.network_frame(rgb, K if camera[1] is None else camera[1])
        except (DataError, EngineError) as error:
            return self._without_depth(K, stamp, str(error))
        # 3. A frame that does not continue the past frames drops them.
        current = RingFrame(self._index, stamp, frame, *place[:3])
        forgotten = self._new_start(current, camera)
        if forgotten:
            result = self._without_depth(K, stamp, forgotten)
        else:
            # 4. Choose earlier frames, run the network, fuse.
            result = self._depth(current, K, rgb.shape[:2], started)
        self._ring.push(current)
        self._gate.enter(stamp, camera)
        return result

    def _single(self, rgb: np.ndarray, K: np.ndarray | None, stamp: float) -> DepthResult:
        """Run a mono network, which needs no past frames."""
        try:
            check_frame(rgb)
            if K is not None:
                check_camera(K)
        except (DataError, EngineError) as error:
            return self._without_depth(K, stamp, str(error))
        if is_black(rgb):
            return self._without_depth(K, stamp, BLACK_FRAME)
        return self._engine.depth(rgb, K=K, stamp=stamp)

    # --- what may be wrong with a frame -----------------------------------------------------------

    def _fault_of(self, rgb: np.ndarray, K: np.ndarray | None, stamp: float) -> str:
        """Return why a frame is skipped; empty if it is not."""
        if fault := self._gate.fault_of(rgb, stamp):
            return fault
        if self._gate.repeats(stamp):
            return f"stamp {stamp:.3f} s came before; the frame is left out"
        if K is None:
            return "no intrinsics: a pair network needs K of the camera"
        return BLACK_FRAME if is_black(rgb) else ""

    def _new_start(self, current: RingFrame, camera: Intrinsics) -> str:
        """Drop the past frames if the frame does not continue them, and return why; else empty."""
        reason = self._gate.break_before(current.stamp, camera)
        if not reason:
            newest = next(iter(self._ring), None)
            reason = jump_before(newest, current, max_speed=self.config.max_speed)
        if not reason:
            return ""
        self._forget()
        return f"{reason}; the past is forgotten"

    def _forget(self) -> None:
        self._ring.clear()
        self._feedback = Feedback()

    def _without_depth(
        self, K: np.ndarray | None, stamp: float, reason: str, decision: Decision | None = None
    ) -> DepthResult:
        scale, source = self._scale(K)
        return DepthResult(
            depth=None,
            valid=None,
            confidence=None,
            K=None if K is None else np.array(K, dtype=np.float64),
            scale=scale,
            scale_source=source,
            stamp=stamp,
            decision=decision,
            reason=reason,
        )

    def _scale(self, K: np.ndarray | None) -> tuple[Scale, str]:
        if self._engine.kind == "mono":
            return self._engine.scale_of(K)
        known = self._motion.kind != "unknown"
        return "metric" if known else "relative", self._motion.scale_source()

    # --- depth ------------------------------------------------------------------------------------

    def _depth(
        self, current: RingFrame, K: np.ndarray, size: tuple[int, int], started: float
    ) -> DepthResult:
        """Choose past frames, run the network on the pairs and fuse its maps."""
        # Past frames by the rule, with their baselines and rotations.
        chosen = select(
            self._ring,
            current,
            config=self.config,
            nominal_baseline=self._nominal,
            feedback=self._feedback,
        )
        if not chosen.pairs:
            return self._without_depth(K, current.stamp, chosen.decision.reason, chosen.decision)
        places = [pair.t_current_previous for pair in chosen.pairs]
        known = [place for place in places if place is not None]
        if self._engine.needs_direction and len(known) < len(places):
            return self._without_depth(K, current.stamp, NO_DIRECTION, chosen.decision)
        chose = perf_counter()
        # One run of the network for all pairs: depth as if each baseline were the nominal one.
        maps = self._engine.pair_maps(
            current.frame,
            [pair.past.frame for pair in chosen.pairs],
            np.stack([pair.R_current_previous for pair in chosen.pairs]),
            translations=np.stack(known) if self._engine.needs_direction else None,
        )
        answered = perf_counter()
        # Rule best_of_n keeps one map; then all are brought to metres and fused.
        chosen, maps = self._winner(chosen, maps)
        result = self._fused(current, chosen, maps, K, size)
        preprocess = maps.timing.preprocess_ms + 1e3 * (chose - started)
        after = 1e3 * (perf_counter() - answered)
        return replace(result, timing=Timing(preprocess, maps.timing.network_ms, after))

    def _fused(
        self,
        current: RingFrame,
        chosen: Selection,
        maps: PairMaps,
        K: np.ndarray,
        size: tuple[int, int],
    ) -> DepthResult:
        """Fuse the network's maps into one result."""
        baselines = np.array(chosen.decision.baselines or [self._nominal] * len(chosen.pairs))
        longest = int(baselines.argmax())
        fused = fuse(
            maps.depth,
            baselines,
            valid=maps.covered,
            band=self.config.band,
            nominal_baseline=self._nominal,
        )
        # Outside all bands a pixel is too near for the shortest baseline or too far for the
        # longest. The second kind is kept, unless the longest one is saturated at max_depth.
        beyond = maps.valid[longest] & (maps.depth[longest] >= self.config.band[1])
        valid = fused.coverage & ((fused.weight > 0) | beyond)
        if not valid.any():
            reason = f"all is farther than the longest baseline, {baselines.max():.3f} m, can tell"
            return self._without_depth(K, current.stamp, reason, chosen.decision)
        parallax = baselines * current.frame.K[0, 0] / float(np.median(fused.depth[valid]))
        self._learn(chosen, maps, fused.depth[valid])
        t = chosen.pairs[longest].t_current_previous
        confidence = confidence_map(
            fused,
            maps.depth * (baselines / self._nominal).astype(np.float32)[:, None, None],
            maps.covered,
            rgb=current.frame.rgb,
            K=current.frame.K,
            view=None if t is None else View(maps.turned[longest], t),
        )
        return replace(
            self._without_depth(K, current.stamp, "", chosen.decision),
            depth=enlarge_inverse(fused.depth, size),
            valid=enlarge_mask(valid, size),
            confidence=enlarge_depth(confidence, size),
            decision=replace(
                chosen.decision,
                parallax=tuple(parallax.tolist()),
                weights=tuple(fused.shares.tolist()),
            ),
        )

    def _winner(self, chosen: Selection, maps: PairMaps) -> tuple[Selection, PairMaps]:
        """Rule A: keep the map whose mean net value is nearest to `best_mean`; others keep all."""
        if self.config.rule != "best_of_n" or len(chosen.pairs) == 1:
            return chosen, maps
        means = maps.depth.mean(axis=(1, 2))
        best = int(np.abs(means - self.config.best_mean).argmin())
        reason = f"best of {len(means)}: mean net value {means[best]:.0f}"
        one = slice(best, best + 1)
        fields = (maps.depth[one], maps.valid[one], maps.covered[one], maps.turned[one])
        return keep_one(chosen, best, reason), PairMaps(*fields, timing=maps.timing)

    def _learn(self, chosen: Selection, maps: PairMaps, depth: np.ndarray) -> None:
        """Store what the next choice of baselines depends on."""
        shift = next_shift(
            chosen.pairs[0].shift,
            float(maps.depth[0].mean()),
            target=self.config.feedback_target,
            longest=max(self._index - past.index for past in self._ring),
        )
        self._feedback = Feedback(wanted_depths(depth[::STRIDE], self.config.ranges), shift)
