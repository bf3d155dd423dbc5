# SPDX-License-Identifier: Apache-2.0
"""What the depth node says of its model and of its output, for `/diagnostics`."""

import math
import threading
import time
from dataclasses import dataclass

from depthkit.runtime import DepthEngine, DepthResult
from depthkit.runtime.depth.depth_engine import OTHER_FOCAL
from ros_nodes.life.monitor import Level, Quantiles, Rate, Status

SILENT = 3.0  # seconds without a frame, after which what was last said is of the past
DIRECTION = ("odometry",)  # sources of motion that say where to, not only how far
SHOWN = (("age", 50), ("age", 95), ("age", 99), ("network", 50), ("overhead", 50), ("overhead", 95))
"""Quantiles among the values of the output's status; their names end in ms."""


@dataclass(frozen=True)
class Stages:
    """Where the time of one frame went, milliseconds."""

    age_ms: float
    """From the image's stamp to the end of sending, by the node's clock."""
    total_ms: float
    """From taking the message to the end of sending."""
    engine_ms: float
    """Inside DepthStream.process: what the bare engine costs."""
    wait_ms: float
    """Waiting for the motion that brackets the frame."""

    @property
    def overhead_ms(self) -> float:
        """What the node adds to the engine: reading, masking, writing, sending."""
        return self.total_ms - self.engine_ms - self.wait_ms


class DepthFigures:
    """What became of each frame; one thread writes, another reads."""

    def __init__(self) -> None:
        self.idle = self.sent = self.refused = self.resets = 0
        self._rate = Rate()
        self._times = {name: Quantiles() for name in ("age", "network", "overhead", "motion_wait")}
        self._refusal = ""
        self._reported = (0, 0)  # frames sent and refused when the status was last asked for
        self._scale = {"scale": "", "scale_source": ""}
        self._lock = threading.Lock()
        self._last: tuple[float, Level, str] = (math.inf, "warn", "no frame yet")

    def note_idle(self) -> None:
        """Count a frame that nobody asks for."""
        self.idle += 1
        self._tell("ok", "idle: nobody subscribes, so nothing is computed")

    def note_refused(self, reason: str, level: Level = "warn") -> None:
        """Count a frame without depth."""
        self.refused += 1
        self._refusal = reason
        self._tell(level, f"no depth: {reason}")

    def note_sent(self, result: DepthResult, stages: Stages) -> None:
        """Count a frame whose depth was sent."""
        self.sent += 1
        self._rate.tick(time.monotonic())
        for name, figure in (
            ("age", stages.age_ms),
            ("network", result.timing.network_ms),
            ("overhead", stages.overhead_ms),
            ("motion_wait", stages.wait_ms),
        ):
            self._times[name].add(figure)
        self._scale = {"scale": result.scale, "scale_source": result.scale_source}
        level: Level = "warn" if OTHER_FOCAL in result.scale_source else "ok"
        self._tell(level, f"{result.scale} depth; scale: {result.scale_source}")

    def status(self, now: float, *, dropped: int) -> Status:
        """Say how the output is doing, and what went wrong since it was last asked.

        Args:
            now: steady time, seconds.
            dropped: stale frames, overwritten by newer ones before their turn.
        """
        with self._lock:
            at, level, message = self._last
        before, self._reported = self._reported, (self.sent, self.refused)
        sent, refused = self._reported[0] - before[0], self._reported[1] - before[1]
        # A jump of odometry costs a frame now and then; before the first depth it is no news.
        if before[0] and sent and refused and level == "ok":
            level = "warn"
            message = f"no depth for {refused} of {sent + refused} frames: {self._refusal}"
        if now - at > SILENT:
            level, message = "warn", f"no frame for {now - at:.0f} s; the last: {message}"
        values: dict[str, str | float | int] = {"output_hz": round(self._rate.hz(now), 2)}
        for name, percent in (*SHOWN, ("motion_wait", 50)):
            figure = self._times[name].at(percent)
            if figure is not None:
                values[f"{name}_p{percent}_ms"] = round(figure, 2)
        values |= {"sent": self.sent, "dropped": dropped, "refused": self.refused}
        values |= {"idle": self.idle, "resets": self.resets, "last_refusal": self._refusal}
        return Status(level, message, values | self._scale)

    def _tell(self, level: Level, message: str) -> None:
        with self._lock:
            self._last = time.monotonic(), level, message


def model_status(
    engine: DepthEngine | None, *, fault: str, motion: str, min_confidence: float
) -> Status:
    """Say which model works, and what it lacks.

    Args:
        engine: None while there is none.
        fault: why there is none.
        motion: where the camera's motion comes from, `motion.source`.
        min_confidence: of the parameters.
    """
    if engine is None:
        return Status("error", fault)
    manifest, backend = engine.manifest, engine.backend
    values: dict[str, str | float | int] = {
        "kind": manifest.kind,
        "network": manifest.network,
        "backend": backend.name,
        "precision": backend.precision,
        "threads": backend.threads,
        "size": "{1}x{0}".format(*manifest.size),
        "scale": manifest.scale,
        "scale_source": manifest.scale_source,
        "sha256": manifest.sha256[:12],
    }
    level, message = _lacks(engine, motion, min_confidence)
    return Status(level, message, values)


def _lacks(engine: DepthEngine, motion: str, min_confidence: float) -> tuple[Level, str]:
    name = engine.manifest.network
    if engine.kind == "mono":
        if min_confidence > 0:
            return "warn", "a network of single frames tells no confidence; set min_confidence to 0"
        return "ok", f"{name}, a network of single frames"
    if engine.needs_direction and motion not in DIRECTION:
        return "error", (
            f"{name} is told the direction of motion, which motion.source {motion!r} does not "
            "give; set motion.source to odometry, or take a network without (depthnet-stillbox)"
        )
    if motion == "none":
        return "warn", (
            f"{name} sees pairs of frames and nothing tells how far apart they were taken: depth "
            "is relative and goes to depth_relative; for metres set motion.source"
        )
    return "ok", f"{name}, a network of pairs of frames"
