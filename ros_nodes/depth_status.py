# SPDX-License-Identifier: Apache-2.0
"""Status of the depth node's model and output, for `/diagnostics`."""

import math
import threading
import time
from dataclasses import dataclass

from depthkit.runtime import DepthEngine, DepthResult
from depthkit.runtime.depth.depth_engine import OTHER_FOCAL
from depthkit.runtime.depth.depth_method import DepthMethod
from depthkit.runtime.result import ScaleFit
from ros_nodes.life.monitor import Level, Quantiles, Rate, Status

SILENT = 3.0  # seconds without a frame after which the last status is out of date
DIRECTION = ("odometry", "visual")  # sources of motion with a direction, not only a distance
SHOWN = (("age", 50), ("age", 95), ("age", 99), ("network", 50), ("overhead", 50), ("overhead", 95))
"""Quantiles in the values of the output's status; their names end in ms."""


@dataclass(frozen=True)
class Stages:
    """Duration of the stages of one frame, milliseconds."""

    age_ms: float
    """Time from the image's stamp to the end of publishing, by the node's clock."""
    total_ms: float
    """Time from taking the message to the end of publishing."""
    engine_ms: float
    """Time inside the source of depth, the cost of the bare engine."""
    wait_ms: float
    """Time spent waiting for the motion that brackets the frame."""

    @property
    def overhead_ms(self) -> float:
        """Cost of the node beyond the engine: decoding, masking, encoding, publishing."""
        return self.total_ms - self.engine_ms - self.wait_ms


class DepthFigures:
    """Counters of sent and refused frames and their timing; one thread writes, another reads."""

    def __init__(self) -> None:
        self.idle = self.sent = self.refused = self.resets = 0
        self._rate = Rate()
        self._times = {name: Quantiles() for name in ("age", "network", "overhead", "motion_wait")}
        self._refusal = ""
        self._reported = (0, 0)  # frames sent and refused at the last status
        self._scale = {"scale": "", "scale_source": ""}
        self._lock = threading.Lock()
        self._last: tuple[float, Level, str] = (math.inf, "warn", "no frame yet")

    def note_idle(self) -> None:
        """Count a frame without subscribers."""
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
        said = f"{result.scale} depth; scale: {result.scale_source}"
        if (fit := result.fit) is not None:
            self._scale |= fit_values(fit)
            said += f"; fit {fit.state}: {fit.reason}" if fit.reason else ""
        self._tell(level, said)

    def status(self, now: float, *, dropped: int) -> Status:
        """Return the status of the output, with faults since the last status.

        Args:
            now: steady time, seconds.
            dropped: number of images overwritten by newer ones before they were processed.
        """
        with self._lock:
            at, level, message = self._last
        before, self._reported = self._reported, (self.sent, self.refused)
        sent, refused = self._reported[0] - before[0], self._reported[1] - before[1]
        # Report frames lost in between, as by a jump of odometry; not before the first depth.
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


def fit_values(fit: ScaleFit) -> dict[str, str]:
    """Return the fit to the odometry's points as values of a status."""
    figures = {"factor": fit.factor, "shift": fit.shift, "residual": fit.residual}
    told = {f"fit_{name}": "" if one is None else f"{one:.4g}" for name, one in figures.items()}
    return told | {"fit_state": fit.state, "fit_points": str(fit.points)}


def model_status(
    method: DepthMethod | None, *, fault: str, motion: str, metres: bool, min_confidence: float
) -> Status:
    """Return the status of the model, with a fault if an input for it is missing.

    Args:
        method: where depth comes from; None while no model is open.
        fault: why no model is open.
        motion: source of the motion.
        metres: whether that source may give metres.
        min_confidence: parameter `min_confidence`.
    """
    if method is None:
        return Status("error", fault)
    runs_on = method.runs_on
    values: dict[str, str | float | int] = {
        "kind": method.kind,
        "backend": runs_on.name,
        "precision": runs_on.precision,
        "threads": runs_on.threads,
    }
    if method.engine is None:
        level, message = _sweep_lacks(motion, metres)
        return Status(level, message, values | _settings_of(method))
    manifest = method.engine.manifest
    values |= {
        "network": manifest.network,
        "size": "{1}x{0}".format(*manifest.size),
        "scale": manifest.scale,
        "scale_source": manifest.scale_source,
        "sha256": manifest.sha256[:12],
    }
    level, message = _lacks(method.engine, motion, metres, min_confidence)
    return Status(level, message, values)


def _settings_of(method: DepthMethod) -> dict[str, str | float | int]:
    """Return the settings of the sweep that rule its cost."""
    sweep = method.sweep
    return (
        {}
        if sweep is None
        else {name: getattr(sweep, name) for name in ("shrink", "planes", "cost")}
    )


def _sweep_lacks(motion: str, metres: bool) -> tuple[Level, str]:
    name = "sweep, depth from several views"
    if motion not in DIRECTION:
        return "error", (
            f"{name}, needs poses, which motion.source {motion!r} does not give; set motion.source "
            "to visual (found in the images) or odometry"
        )
    if not metres:
        return "ok", f"{name}; motion has no unit: depth is relative and goes to depth_relative"
    return "ok", name


def _lacks(
    engine: DepthEngine, motion: str, metres: bool, min_confidence: float
) -> tuple[Level, str]:
    name = engine.manifest.network
    if engine.kind == "mono":
        if min_confidence > 0:
            return "warn", "a single-frame network has no confidence; set min_confidence to 0"
        fitted = ", fitted to the points of the odometry" if motion == "visual" else ""
        return "ok", f"{name}, a single-frame network{fitted}"
    if engine.needs_direction and (motion not in DIRECTION or not metres):
        unit = " without metres" if motion in DIRECTION else ""
        source = f"motion.source {motion!r}{unit}"
        return "error", (
            f"{name} needs the direction of motion, which {source} does not "
            "give; set motion.source to odometry, or take depthnet-stillbox, which needs none"
        )
    if motion == "none" or not metres:
        return "warn", (
            f"{name} is a pair network and the distance between the frames is unknown: depth is "
            "relative and goes to depth_relative; for metres set motion.source"
        )
    return "ok", f"{name}, a pair network"
