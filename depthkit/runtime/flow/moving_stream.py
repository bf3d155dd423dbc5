# SPDX-License-Identifier: Apache-2.0
"""Static probability of a stream of frames, each compared with the previous one."""

from dataclasses import dataclass
from time import perf_counter

import cv2
import numpy as np

from depthkit.multiview.rigid_flow import fit_unit, rigid_flow
from depthkit.rigid import inverse
from depthkit.runtime.flow.flow_engine import FlowEngine, SmallFlow
from depthkit.runtime.flow.moving import static_by_law, static_by_residual
from depthkit.runtime.frame_gate import FrameGate
from depthkit.runtime.preprocess import check_frame, enlarge_mask, resize_K
from depthkit.runtime.result import DepthResult, StaticResult, Timing


@dataclass(frozen=True, eq=False)
class _Frame:
    """A frame of the stream."""

    rgb: np.ndarray
    """Image at the network's size, in its own memory. (h, w, 3) uint8"""
    stamp: float
    """Stamp, seconds."""
    T_world_cam: np.ndarray
    """Camera pose. (4, 4)"""


@dataclass(frozen=True, eq=False)
class _SmallDepth:
    """Depth of a frame at the network's size."""

    depth: np.ndarray
    """Depth, NaN where unknown. (h, w)"""
    K: np.ndarray
    """Intrinsics at that size, pixels. (3, 3)"""


class MovingStream:
    """Finds independently moving pixels from each frame's depth, camera motion and optical flow.

    Flow is computed from the current frame to the previous one. Everything is compared at the
    network's size, at which the error model was learnt, and the result is resized to the camera's.
    """

    def __init__(self, engine: FlowEngine, *, max_gap: float = 1.0) -> None:
        """Begin a stream.

        Args:
            engine: flow engine; the caller closes it.
            max_gap: longest pause between two compared frames, seconds.
        """
        self.engine, self.max_gap = engine, max_gap
        self.reset()

    def reset(self) -> None:
        """Drop the previous frame and the unit of the motion."""
        self._last: _Frame | None = None
        self._gate = FrameGate(self.max_gap)
        self._unit: float | None = None

    def process(
        self,
        rgb: np.ndarray,
        depth: DepthResult,
        *,
        T_world_cam: np.ndarray | None,
        same_unit: bool = True,
    ) -> StaticResult:
        """Take the next frame.

        Args:
            rgb: frame of any size, the same for all frames. (H, W, 3) uint8
            depth: depth of this frame, with K.
            T_world_cam: camera pose in the same world as the previous one; None if unknown. (4, 4)
            same_unit: whether depth and translations have one unit. If not, the factor between
                them is estimated from the flow of each pair.

        Returns:
            The static probability, or the reason why it is missing.

        Raises:
            DataError: not a colour frame.
            EngineError: the engine is closed.
        """
        check_frame(rgb)
        started = perf_counter()
        last, self._last = self._last, None
        if T_world_cam is None or not np.isfinite(T_world_cam).all():
            return self._result(depth.stamp, reason="how the camera moved is not known")
        small = self.engine.network_frame(rgb)
        # The caller may fill its buffer with the next frame while this one is kept.
        small = small.copy() if np.may_share_memory(small, rgb) else small
        frame = self._last = _Frame(small, depth.stamp, T_world_cam)
        camera = self._gate.steady(rgb.shape[:2], None)
        broken = self._gate.break_before(frame.stamp, camera)
        self._gate.enter(frame.stamp, camera)
        if last is None:
            return self._result(frame.stamp, reason="there is no frame before to compare it with")
        if depth.depth is None or depth.K is None:
            reason = depth.reason or "the camera's intrinsics are not known"
            return self._result(frame.stamp, reason=reason)
        if broken:
            return self._result(frame.stamp, reason=broken)
        scene = _at_size(depth.depth, depth.valid, depth.K, self.engine.manifest.size)
        size = rgb.shape[:2]
        return self._compare(last, frame, scene, size, started=started, same_unit=same_unit)

    def _compare(
        self,
        last: _Frame,
        frame: _Frame,
        depth: _SmallDepth,
        size: tuple[int, int],
        *,
        started: float,
        same_unit: bool,
    ) -> StaticResult:
        T = inverse(last.T_world_cam) @ frame.T_world_cam
        prepared = perf_counter()
        answer = self.engine.network_flow(frame.rgb, last.rgb)
        answered = perf_counter()
        unit = 1.0 if same_unit else self._follow_unit(depth, answer.flow, T)
        if unit is None:
            reason = "the unit of the motion is not known: little parallax, or flow contradicts it"
            return self._result(frame.stamp, reason=reason)
        T[:3, 3] *= unit
        small = self._judge(frame, last, depth, answer, T)
        probability = _enlarged(small, size)
        timing = Timing.until_now(started, prepared, answered)
        return self._result(frame.stamp, probability, unit=unit, timing=timing)

    def _follow_unit(self, depth: _SmallDepth, flow: np.ndarray, T: np.ndarray) -> float | None:
        """Return the unit of this pair, or of the last pair with parallax."""
        unit = fit_unit(depth.depth, flow, T_source_target=T, K=depth.K)
        self._unit = self._unit if unit is None else unit
        return self._unit

    def _judge(
        self, frame: _Frame, last: _Frame, depth: _SmallDepth, answer: SmallFlow, T: np.ndarray
    ) -> np.ndarray:
        """Return the static probability at the network's size. (h, w)"""
        rigid = rigid_flow(depth.depth, T_source_target=T, K=depth.K)
        law = self.engine.manifest.static_law
        if law is None:
            return static_by_residual(rigid, answer.flow)
        return static_by_law(
            frame.rgb,
            last.rgb,
            rigid=rigid,
            flow=answer.flow,
            law=law,
            prior_logits=answer.static_odds,
        )

    def _result(
        self,
        stamp: float,
        probability: np.ndarray | None = None,
        *,
        reason: str = "",
        unit: float | None = None,
        timing: Timing = Timing(),  # noqa: B008 (frozen)
    ) -> StaticResult:
        law = self.engine.manifest.static_law
        return StaticResult(
            probability=probability,
            rule="residual" if law is None else law.evidence,
            stamp=stamp,
            unit=unit,
            timing=timing,
            reason=reason,
        )


def _at_size(
    depth: np.ndarray, valid: np.ndarray | None, K: np.ndarray, size: tuple[int, int]
) -> _SmallDepth:
    """Resize depth to the network's size by averaging 1 / depth; unknown where half of it is."""
    full, known = depth.shape[:2], np.isfinite(depth) & (depth > 0)
    known &= True if valid is None else valid
    if full == size:
        return _SmallDepth(np.where(known, depth, np.nan), K)
    inverse_depth = np.where(known, 1 / np.where(known, depth, 1), 0).astype(np.float32)
    how = cv2.INTER_AREA if size[0] < full[0] else cv2.INTER_LINEAR
    total, share = (
        cv2.resize(x, size[::-1], interpolation=how)
        for x in (inverse_depth, known.astype(np.float32))
    )
    small = np.where(share > 0.5, share / np.where(total > 0, total, 1), np.nan)
    return _SmallDepth(small, resize_K(K, full, size))


def _enlarged(probability: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a map with unknown pixels to the camera's size. (h, w) -> (H, W) float32"""
    if probability.shape == size:
        return probability
    known = ~np.isnan(probability)
    filled = np.where(known, probability, np.float32(0))
    large = cv2.resize(filled, size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.where(enlarge_mask(known, size), large, np.float32(np.nan))
