# SPDX-License-Identifier: Apache-2.0
"""Status of the geometric odometry and of its scale, for `/diagnostics`."""

from collections import deque

from depthkit.runtime.odometry.geometric import GeometricOdometry
from depthkit.runtime.result import OdometryResult, ScaleState
from ros_nodes.life.monitor import Level, Status

LAST = 3
"""Number of losses and of notes that are shown, the newest."""
HELD = 5.0
"""Time without measurement after which a held scale is a warning, seconds."""
NO_SOURCE = (
    "translations have no unit: relative motion goes to odometry_relative; for metres set "
    "scale.source to speed, twist, odometry, height or imu"
)


class GeometryFigures:
    """What the geometric odometry did; the worker writes, the monitor reads."""

    def __init__(self) -> None:
        self.scale = ScaleState()
        """Scale at the newest frame."""
        self.imu_fault = ""
        self.imu_notes: list[str] = []
        self._tracks = self._keyframes = self._segment = self._losses = 0
        self._reasons: deque[str] = deque(maxlen=LAST)
        self._notes: tuple[str, ...] = ()
        self._loops: dict[str, int] | None = None
        self._reason, self._moved = "no frame yet", False

    def take(self, engine: GeometricOdometry, result: OdometryResult) -> None:
        """Note the result of a frame."""
        self.scale, self._segment = result.scale_state, result.segment
        self._tracks, self._keyframes = engine.tracks, engine.keyframes
        if self._moved and result.T_previous_current is None and result.points is None:
            self._losses += 1
            self._reasons.append(result.reason)
        self._moved = result.points is not None
        self._reason = result.reason
        self._notes = engine.notes[-LAST:]
        if engine.aid is not None:
            self.imu_fault, self.imu_notes = engine.aid.fault, engine.aid.notes
        if engine.loops is not None:
            self._loops = dict(engine.loops.counts)

    def status(self) -> Status:
        """Return the status of task "geometry"."""
        values: dict[str, str | float | int] = {
            "tracks": self._tracks,
            "keyframes": self._keyframes,
            "segment": self._segment,
            "losses": self._losses,
            "last losses": "; ".join(self._reasons),
            "notes": "; ".join(self._notes),
        }
        if self._loops is not None:
            kinds = ("closed", "joined")
            refused = {name: n for name, n in self._loops.items() if name not in kinds}
            values["loops accepted"] = sum(self._loops.get(kind, 0) for kind in kinds)
            values["loops refused"] = sum(refused.values())
            values["refused for"] = ", ".join(f"{name} {n}" for name, n in sorted(refused.items()))
        if self._reason:
            return Status("warn", self._reason, values)
        return Status("ok", f"{self._tracks} tracks, {self._keyframes} keyframes", values)


def scale_status(
    scale: ScaleState,
    *,
    source: str,
    given: bool,
    motion: Status | None,
    no_source: str = NO_SOURCE,
) -> Status:
    """Return the status of task "scale".

    Args:
        scale: state at the newest frame.
        source: parameter scale.source.
        given: whether any source of metres is configured.
        motion: status of the topic of speed, twist or odometry; None without.
        no_source: what is said without any source of metres.
    """
    values: dict[str, str | float | int] = {
        "scale source": source,
        "scale": scale.state,
        "measured by": scale.source,
        "sigma": float("nan") if scale.sigma is None else scale.sigma,
        "held s": round(scale.held_for, 2),
        "reason": scale.reason,
    }
    values |= {} if motion is None else motion.values
    if not given:
        return Status("warn", no_source, values)
    if motion is not None and motion.level == "error":
        return Status("error", motion.message, values)
    if scale.state == "observed":
        sigma = "" if scale.sigma is None else f", sigma {100 * scale.sigma:.1f} %"
        return Status("ok", f"metres by {scale.source}{sigma}", values)
    if scale.state == "held":
        level: Level = "warn" if scale.held_for > HELD else "ok"
        words = f"metres by {scale.source}, held for {scale.held_for:.1f} s: {scale.reason}"
        return Status(level, words, values)
    if scale.state == "lost":
        return Status("error", f"scale lost: {scale.reason}", values)
    return Status("warn", f"scale unknown: {scale.reason}", values)
