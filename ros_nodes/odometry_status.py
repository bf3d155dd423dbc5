# SPDX-License-Identifier: Apache-2.0
"""What the odometry node says of its model and of its output, for `/diagnostics`."""

import time

from depthkit.runtime import Manifest, OdometryResult
from depthkit.runtime.depth.depth_engine import SAME_FOCAL
from depthkit.runtime.frame_gate import Intrinsics
from depthkit.runtime.preprocess import resize_K
from ros_nodes.life.monitor import Level, Quantiles, Rate, Status
from ros_nodes.odometry_models import Models
from ros_nodes.odometry_tracker import OdometryTracker, State

SHOWN = (("age", 50), ("age", 95), ("age", 99), ("network", 50), ("overhead", 50))
"""Quantiles among the values of the output's status; their names end in ms."""


class OdometryFigures:
    """What became of each frame; one thread writes, another reads."""

    def __init__(self) -> None:
        self.idle = self.frames = self.left_out = self.refused = 0
        self._rate = Rate()
        self._times = {name: Quantiles() for name in ("age", "network", "overhead")}
        self._refusal = self._last_refusal = ""
        self._is_idle = False
        self._last = self._known = time.monotonic()

    def note_idle(self) -> None:
        """Count a frame that nobody asks for."""
        self.idle += 1
        self._is_idle = True

    def note_refused(self, reason: str) -> None:
        """Count a frame that did not reach the engine, or that it could not take."""
        self.refused += 1
        self._is_idle, self._refusal, self._last_refusal = False, reason, reason

    def note_left_out(self) -> None:
        """Count a good frame that the stride skips."""
        self.left_out += 1
        self._is_idle, self._last = False, time.monotonic()

    def note_frame(
        self, result: OdometryResult, state: State, *, age_ms: float, total_ms: float
    ) -> None:
        """Count a frame that the engine has answered to.

        Args:
            result: its answer.
            state: after it.
            age_ms: from the image's stamp to the end of sending, by the node's clock.
            total_ms: from taking the message to the end of sending.
        """
        self.frames += 1
        self._is_idle, self._refusal = False, ""
        self._last = time.monotonic()
        if state == "tracking":
            self._known = self._last
        self._rate.tick(self._last)
        self._times["age"].add(age_ms)
        if not result.reason:
            self._times["network"].add(result.timing.network_ms)
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
        """Say how the output is doing.

        Args:
            now: steady time, seconds.
            tracker: of the motion in metres.
            relative: of the motion as the network says it.
            dropped: stale frames, overwritten by newer ones before their turn.
            max_gap: a pause after which the motion is lost, seconds.
        """
        silence, state, reason = now - self._last, tracker.state, self._refusal or tracker.reason
        if state == "tracking" and silence > max_gap:
            state, reason = "lost", reason or f"no frame for {silence:.1f} s"
        lost_s = now - self._known if state == "lost" else 0.0
        values: dict[str, str | float | int] = {"state": state, "lost s": round(lost_s, 1)}
        values |= {"segments": tracker.segments, "path m": round(tracker.chain.path, 3)}
        values |= {"relative state": relative.state, "relative segments": relative.segments}
        values["output Hz"] = round(self._rate.hz(now), 2)
        for name, percent in SHOWN:
            figure = self._times[name].at(percent)
            if figure is not None:
                values[f"{name} p{percent} ms"] = round(figure, 2)
        values |= {"frames": self.frames, "dropped": dropped, "refused": self.refused}
        values |= {"left out": self.left_out, "idle": self.idle}
        values["last refusal"] = self._last_refusal
        return Status(*self._words(state, reason, lost_s), values)

    def _words(self, state: State, reason: str, lost_s: float) -> tuple[Level, str]:
        if self._is_idle:
            return "ok", "idle: nobody subscribes, so nothing is computed"
        if state == "tracking":
            return "ok", "tracking"
        if state == "lost":
            return "error", f"lost for {lost_s:.1f} s: {reason}"
        return "error" if self._refusal else "warn", f"waiting: {reason}"


def model_status(models: Models | None, fault: str, camera: Intrinsics | None) -> Status:
    """Say which network works.

    Args:
        models: None while there is none.
        fault: why there is none.
        camera: of the last frame, where it is calibrated.
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
    return Status("ok", f"{manifest.network}, a network of camera motion", values)


def _unlike(manifest: Manifest, camera: Intrinsics | None) -> str:
    """Say how the camera differs from the one that the network has learnt; empty where alike."""
    size, K = camera or ((0, 0), None)
    if K is None or manifest.focal is None:
        return ""
    focal, most = resize_K(K, size, manifest.size)[0, 0], manifest.focal_most or manifest.focal
    if manifest.focal / SAME_FOCAL < focal < most * SAME_FOCAL:
        return ""
    return (
        f"learnt at a focal length of {manifest.focal:.0f} px, this camera has {focal:.0f} at the "
        "network's size: turns and ways are wrong by that factor; take a network of this camera"
    )
