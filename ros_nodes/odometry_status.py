# SPDX-License-Identifier: Apache-2.0
"""Status of the odometry node's model and output, for `/diagnostics`."""

import time

from depthkit.runtime import Manifest, OdometryResult
from depthkit.runtime.depth.depth_engine import SAME_FOCAL
from depthkit.runtime.frame_gate import Intrinsics
from depthkit.runtime.preprocess import resize_K
from ros_nodes.life.monitor import Level, Quantiles, Rate, Status
from ros_nodes.odometry_models import Models
from ros_nodes.odometry_tracker import OdometryTracker, State

SHOWN = (("age", 50), ("age", 95), ("age", 99), ("cpu", 50), ("overhead", 50))
"""Quantiles in the values of the output's status; their names end in ms."""


class OdometryFigures:
    """Counters of used and refused frames and their timing; one thread writes, another reads."""

    def __init__(self, stage: str) -> None:
        """Start at 0.

        Args:
            stage: name of the method's main stage, as network.
        """
        self._stage = stage
        self.idle = self.frames = self.left_out = self.refused = 0
        self._rate = Rate()
        self._times = {name: Quantiles() for name in ("age", stage, "cpu", "overhead")}
        self._refusal = self._last_refusal = ""
        self._is_idle = False
        self._last = self._known = time.monotonic()

    def note_idle(self) -> None:
        """Count a frame without subscribers."""
        self.idle += 1
        self._is_idle = True

    def note_refused(self, reason: str) -> None:
        """Count a frame that did not reach the engine or that the engine refused."""
        self.refused += 1
        self._is_idle, self._refusal, self._last_refusal = False, reason, reason

    def note_left_out(self) -> None:
        """Count a usable frame that the stride skips."""
        self.left_out += 1
        self._is_idle, self._last = False, time.monotonic()

    def note_frame(
        self,
        result: OdometryResult,
        state: State,
        *,
        age_ms: float,
        total_ms: float,
        cpu_ms: float,
    ) -> None:
        """Count a frame that the engine has processed.

        Args:
            result: result of the engine.
            state: state after this frame.
            age_ms: time from the image's stamp to the end of publishing, by the node's clock.
            total_ms: time from taking the message to the end of publishing.
            cpu_ms: CPU time of the process meanwhile.
        """
        self.frames += 1
        self._is_idle, self._refusal = False, ""
        self._last = time.monotonic()
        if state == "tracking":
            self._known = self._last
        self._rate.tick(self._last)
        self._times["age"].add(age_ms)
        self._times["cpu"].add(cpu_ms)
        if not result.reason:
            self._times[self._stage].add(result.timing.network_ms)
            self._times["overhead"].add(total_ms - result.timing.total_ms)

    def status(
        self,
        now: float,
        tracker: OdometryTracker,
        *,
        relative: OdometryTracker,
        dropped: int,
        max_gap: float,
    ) -> Status:
        """Return the status of the output.

        Args:
            now: steady time, seconds.
            tracker: tracker of the motion in metres.
            relative: tracker of the motion in the network's unit.
            dropped: number of images overwritten by newer ones before they were processed.
            max_gap: pause after which the motion is lost, seconds.
        """
        silence, state, reason = now - self._last, tracker.state, self._refusal or tracker.reason
        if state == "tracking" and silence > max_gap:
            state, reason = "lost", reason or f"no frame for {silence:.1f} s"
        lost_s = now - self._known if state == "lost" else 0.0
        values: dict[str, str | float | int] = {"state": state, "lost s": round(lost_s, 1)}
        values |= {"segments": tracker.segments, "path m": round(tracker.chain.path, 3)}
        values |= {"relative state": relative.state, "relative segments": relative.segments}
        values["output Hz"] = round(self._rate.hz(now), 2)
        for name, percent in (*SHOWN, (self._stage, 50)):
            figure = self._times[name].at(percent)
            if figure is not None:
                values[f"{name} p{percent} ms"] = round(figure, 2)
        values |= {"frames": self.frames, "dropped": dropped, "refused": self.refused}
        values |= {"left out": self.left_out, "idle": self.idle}
        values["last refusal"] = self._last_refusal
        return Status(*self._summary(state, reason, lost_s), values)

    def _summary(self, state: State, reason: str, lost_s: float) -> tuple[Level, str]:
        if self._is_idle:
            return "ok", "idle: nobody subscribes, so nothing is computed"
        if state == "tracking":
            return "ok", "tracking"
        if state == "lost":
            return "error", f"lost for {lost_s:.1f} s: {reason}"
        return "error" if self._refusal else "warn", f"waiting: {reason}"


def model_status(models: Models | None, fault: str, camera: Intrinsics | None) -> Status:
    """Return the status of the model.

    Args:
        models: networks; None while no model is open.
        fault: why no model is open.
        camera: camera of the last frame, if it is calibrated.
    """
    if models is None:
        return Status("error", fault)
    manifest, backend = models.odometry.manifest, models.odometry.backend
    values: dict[str, str | float | int] = {
        "network": manifest.network,
        "backend": backend.name,
        "precision": backend.precision,
        "threads": backend.threads,
        "size": "{1}x{0}".format(*manifest.size),
        "stride": models.odometry.stride,
        "scale": manifest.scale,
        "scale source": manifest.scale_source,
        "sha256": manifest.sha256[:12],
    }
    if unlike := _unlike(manifest, camera):
        return Status("warn", unlike, values)
    return Status("ok", f"{manifest.network}, a pose network", values)


def _unlike(manifest: Manifest, camera: Intrinsics | None) -> str:
    """Return how the focal length differs from that of training; empty if it does not."""
    size, K = camera or ((0, 0), None)
    if K is None or manifest.focal is None:
        return ""
    focal, most = resize_K(K, size, manifest.size)[0, 0], manifest.focal_most or manifest.focal
    if manifest.focal / SAME_FOCAL < focal < most * SAME_FOCAL:
        return ""
    return (
        f"learnt at a focal length of {manifest.focal:.0f} px, this camera has {focal:.0f} at the "
        "network's size: rotation and translation are wrong by that factor; train for this camera"
    )
