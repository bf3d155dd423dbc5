# SPDX-License-Identifier: Apache-2.0
"""Camera motion from an exported pose network, chained into poses frame by frame.

Unknown motion is not filled in: where a frame is missing or unusable the chain ends with a reason,
and a new segment begins at the next usable frame, from the last known pose.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING

import cv2
import numpy as np

from depthkit.errors import EngineError
from depthkit.rigid import exp_se3, inverse, make_pose
from depthkit.runtime.frame_gate import BLACK_FRAME, FrameGate
from depthkit.runtime.motion.told import NO_MOTION, Motion
from depthkit.runtime.network.engine import Engine, open_engine
from depthkit.runtime.preprocess import is_black, to_size
from depthkit.runtime.result import OdometryResult, Timing
from depthkit.runtime.streams import NO_IMU

if TYPE_CHECKING:
    from depthkit.runtime.network.backend import Backend


@dataclass(frozen=True, eq=False)
class _Frame:
    """A usable frame."""

    rgb: np.ndarray
    """Image at the network's size. (h, w, 3) uint8"""
    stamp: float
    """Stamp, seconds."""


class OdometryEngine(Engine):
    """Runs an exported pose network of pairs; a context manager. Calls are serialised."""

    kinds = ("pose",)
    remedy = "write one with 'depthkit export RUN --part pose'"

    def __init__(self, backend: "Backend", *, max_gap: float = 1.0, stride: int = 1) -> None:
        """Take over a backend; it is closed with the engine.

        Args:
            backend: backend with a pose network.
            max_gap: longest pause between two frames of the stream, seconds.
            stride: frames from one used frame to the next: about the shift of the training.

        Raises:
            EngineError: the network has another output than motion; impossible arguments.
        """
        super().__init__(backend)
        if not (max_gap > 0 and stride >= 1):
            raise EngineError(f"max_gap > 0 and stride >= 1 must hold, got {max_gap}, {stride}")
        self.max_gap, self.stride = max_gap, stride
        # One object for all calls: it keeps its buffers.
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._lock, self._closed = Lock(), False
        self._start()

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        backend: str = "auto",
        threads: int = 1,
        precision: str = "default",
        max_gap: float = 1.0,
        stride: int = 1,
    ) -> "OdometryEngine":
        """Open an ONNX file; arguments and errors as `Engine.open` and the constructor."""
        make = partial(cls, max_gap=max_gap, stride=stride)
        return open_engine(make, path, backend=backend, threads=threads, precision=precision)

    def close(self) -> None:
        """Wait for a running call and free the network; a later call raises EngineError."""
        self._closed = True
        super().close()

    def reset(self) -> None:
        """Drop all frames; the next one defines the world, in segment 0."""
        with self._lock:
            self._start()

    def process(
        self,
        rgb: np.ndarray,
        *,
        stamp: float,
        K: np.ndarray | None = None,
        imu: np.ndarray = NO_IMU,
        motion: Motion = NO_MOTION,
    ) -> OdometryResult:
        """Take the next frame.

        Args:
            rgb: frame of any size, the same for all frames. (H, W, 3) uint8
            stamp: seconds, later than the previous frame.
            K: not used; a pose network works for the camera of its training.
            imu: not used.
            motion: not used.

        Returns:
            The motion since the last used frame and the chained pose; or the reason why motion is
            missing: first frame of a segment, frame skipped by the stride, unusable frame.

        Raises:
            TypeError: the frame is not an array.
            EngineError: the engine is closed.
        """
        if not isinstance(rgb, np.ndarray):
            raise TypeError(f"frame must be a numpy array, got {type(rgb).__name__}")
        with self._lock:
            if self._closed:
                raise EngineError("the odometry engine is closed; open it again")
            return self._take(rgb, stamp)

    # --- the chain --------------------------------------------------------------------------------

    def _start(self) -> None:
        self._last: _Frame | None = None  # None: the chain is broken
        self._gate = FrameGate(self.max_gap)
        self._waited = 0  # frames since the last used one
        self._T_world_cam = np.eye(4)
        self._segment = 0

    def _take(self, rgb: np.ndarray, stamp: float) -> OdometryResult:
        started = perf_counter()
        # 1. An unusable frame ends the segment.
        if fault := self._gate.fault_of(rgb, stamp):
            return self._break(None, stamp, fault)
        camera = self._gate.steady(rgb.shape[:2], None)
        # 2. So does a frame that does not continue the last one (gap, other size, time runs back).
        broken = "" if self._last is None else self._gate.break_before(stamp, camera)
        self._gate.enter(stamp, camera)
        self._waited += 1
        # 3. The stride skips frames between two used ones, so that there is enough motion.
        if self._last is not None and not broken and self._waited < self.stride:
            reason = f"left out: frame {self._waited} of stride {self.stride}"
            return replace(self._result(stamp, reason), left_out=True)
        small = to_size(rgb, self.manifest.size)
        if is_black(small):
            return self._break(None, stamp, BLACK_FRAME)
        # The caller may fill its buffer with the next frame while this one is kept.
        small = np.array(small) if np.may_share_memory(small, rgb) else small
        frame = _Frame(small, stamp)
        if broken:
            return self._break(frame, stamp, broken)
        return self._follow(frame, stamp, started)

    def _break(self, frame: _Frame | None, stamp: float, reason: str) -> OdometryResult:
        """End the current segment, if any; a usable frame becomes the first of the next."""
        self._segment += self._last is not None
        self._last, self._waited = frame, 0
        return self._result(stamp, reason)

    def _follow(self, frame: _Frame, stamp: float, started: float) -> OdometryResult:
        """Compute the motion since the last used frame and chain it."""
        last, self._waited = self._last, 0
        if last is None:
            self._last = frame
            return self._result(stamp, f"first frame of segment {self._segment}: no motion yet")
        try:
            inputs = self._inputs(last.rgb, frame.rgb)
            prepared = perf_counter()
            motion = self.backend.run(inputs)["motion"][0].astype(np.float64)
        except BaseException:  # the next frame must not bridge this one
            self._break(None, stamp, "")
            raise
        answered = perf_counter()
        if not np.isfinite(motion).all():
            return self._break(frame, stamp, "the network's answer is not finite")
        T_previous_current = inverse(motion_from_vector(motion))
        self._last, self._T_world_cam = frame, self._T_world_cam @ T_previous_current
        timing = Timing.until_now(started, prepared, answered)
        return replace(self._result(stamp, "", T_previous_current, timing), since=last.stamp)

    def _inputs(self, earlier: np.ndarray, later: np.ndarray) -> dict[str, np.ndarray]:
        """Assemble the inputs of the graph from a pair of frames."""
        images = {"earlier": earlier, "later": later}
        inputs = {name: np.ascontiguousarray(rgb)[None] for name, rgb in images.items()}
        if self.manifest.flow is not None:
            flow = self._flow.calc(grey(earlier), grey(later), None)  # type: ignore[call-overload]
            inputs["flow"] = np.ascontiguousarray(flow.transpose(2, 0, 1))[None]
        return inputs

    def _result(
        self,
        stamp: float,
        reason: str,
        T_previous_current: np.ndarray | None = None,
        timing: Timing = Timing(),  # noqa: B008 (frozen)
    ) -> OdometryResult:
        return OdometryResult(
            T_previous_current=T_previous_current,
            T_world_cam=self._T_world_cam.copy(),
            scale=self.manifest.scale,
            scale_source=self.manifest.scale_source,
            stamp=stamp,
            segment=self._segment,
            timing=timing,
            reason=reason,
        )


def motion_from_vector(vector: np.ndarray) -> np.ndarray:
    """Convert a pose network's six numbers to a motion, as `geometry.se3.motion_from_vector`.

    Args:
        vector: rotation vector in radians, then the translation. (6,)

    Returns:
        The motion. (4, 4)
    """
    turn = exp_se3(np.concatenate([np.zeros(3), vector[:3]]))  # a pure rotation: V multiplies 0
    return make_pose(turn[:3, :3], vector[3:])


def grey(rgb: np.ndarray) -> np.ndarray:
    """Return the mean of the channels, rounded down. (H, W, 3) -> (H, W) uint8"""
    total = rgb[..., 0].astype(np.uint16)
    for channel in (1, 2):  # nine times as fast as a sum over the last axis
        total += rgb[..., channel]
    total //= 3
    return total.astype(np.uint8)
