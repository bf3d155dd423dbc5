# SPDX-License-Identifier: Apache-2.0
"""Samples of an IMU for an odometry: buffered, cut between frames, and where the IMU sits."""

import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import Imu as ImuMessage

from depthkit.config.ranges import check_ranges, option
from depthkit.rigid import inverse
from depthkit.ros_messages import nanoseconds, seconds
from depthkit.trajectory.imu import ImuNoise, read_imu_yaml
from ros_nodes.convert import NOT_MEASURED
from ros_nodes.inputs.frames import Extrinsic, ExtrinsicConfig
from ros_nodes.inputs.listener import Listener
from ros_nodes.life.monitor import Status

QUEUE = 200  # messages: an IMU at 1 kHz while the executor is busy for 0.2 s
KEPT = 20_000  # samples: 20 s at 1 kHz
STEP_BACK = 1.0  # seconds of a step back in time that means a restarted clock or bag
NO_STAMP = "the stamp is zero; the publisher does not set it"
NO_RATES = "it has no angular velocity (angular_velocity_covariance[0] is -1)"
NOT_FINITE = "its angular velocity is not finite"


@dataclass(frozen=True)
class ImuConfig:
    """IMU of the geometric odometry."""

    use: bool = False
    """Whether topic `imu` is used: rotation, gravity and, with an accelerometer, metres. Always
    with scale.source imu."""
    file: Path = Path()
    """Calibration of the IMU (imu.yaml of a sequence folder): T_cam_imu, points of the IMU to the
    camera, and noise densities. Empty: T_cam_imu by TF, and the densities of a small IMU."""
    xyz: tuple[float, float, float] = option((0.0, 0.0, 0.0), least=-1000, most=1000)
    """Position of the IMU in base_frame, metres; with rpy used where neither file nor TF has it."""
    rpy: tuple[float, float, float] = option((0.0, 0.0, 0.0), least=-7, most=7)
    """Roll, pitch, yaw of the IMU's axes in base_frame (URDF), radians. Where xyz and rpy are zero,
    samples must name base_frame as their frame_id."""
    wait: float = option(0.02, least=0, most=1, live=True)
    """Longest wait of a frame for samples up to its stamp, seconds; it then goes on without."""
    stale: float = option(1.0, above=0, live=True)
    """Longest silence of the topic before it is an error, seconds; frames no longer wait."""

    def __post_init__(self) -> None:
        check_ranges(self)

    @property
    def T_base_imu(self) -> np.ndarray | None:
        """Points of the IMU to the body by xyz and rpy; None where both are zero. (4, 4)"""
        place = ExtrinsicConfig(xyz=self.xyz, rpy=self.rpy)
        return place.matrix if place.is_given else None


class ImuInput:
    """Buffers samples; one thread takes them, frame by frame.

    Subscribes: `imu` (sensor_msgs/Imu, best effort); `/tf_static`, `/tf` for where the IMU sits.
    """

    def __init__(self, node: Node, config: ImuConfig, *, base_frame: str) -> None:
        """Set up; subscribes in `start`.

        Args:
            node: node that the topic's name is relative to.
            config: settings; may be replaced later by ones that differ in live fields.
            base_frame: frame of the body.

        Raises:
            DataError: the calibration file is invalid.
        """
        self.config, self._base_frame = config, base_frame
        self._T_cam_imu: np.ndarray | None = None
        self.noise: ImuNoise | None = None
        """Noise densities of the calibration file; None where unknown."""
        if config.file != Path():
            self._T_cam_imu, self.noise = read_imu_yaml(config.file)
        self._tf = Extrinsic(node, ExtrinsicConfig(), listen=self._T_cam_imu is None)
        self._listener = Listener(node, "imu", (ImuMessage,), self._on_message, depth=QUEUE)
        self._changed = threading.Condition()
        self._rows: deque[list[float]] = deque(maxlen=KEPT)
        self._taken, self._newest = -np.inf, -np.inf
        self._running = False
        self.frame = ""
        """Frame of the newest sample (frame_id); empty before the first."""
        self._refused, self._refusal = 0, ""
        self.missing = ""
        """Why the place of the IMU is unknown; empty if it is known or not asked for yet."""

    def start(self) -> None:
        """Subscribe."""
        self._running = True
        self._listener.start()

    def stop(self) -> None:
        """Unsubscribe and release a waiting frame; `start` begins again."""
        with self._changed:
            self._running = False
            self._changed.notify_all()
        self._listener.stop()

    def close(self) -> None:
        """Leave the graph."""
        self._tf.close()

    # --- the executor's thread --------------------------------------------------------------------

    def _on_message(self, message: Any) -> None:
        row, reason = read_sample(message)
        with self._changed:
            stamp = row[0]
            back = self._newest - stamp
            if not reason and 0 <= back <= STEP_BACK:
                reason = f"stamp {stamp:.3f} s is not newer than the one before"
            self._refusal = reason
            if reason:
                self._refused += 1
                return
            frame = message.header.frame_id
            if back > 0 or frame != self.frame:  # a restarted bag, another IMU
                self._rows.clear()
                self._taken = -np.inf
            self.frame, self._newest = frame, stamp
            self._rows.append(row)
            self._changed.notify_all()

    # --- the worker's thread ----------------------------------------------------------------------

    def take(self, stamp: float) -> np.ndarray:
        """Return the samples after those taken before, up to and including a stamp. (N, 7)

        With all samples in time these are `Imu.between(previous, now)`; late ones come with the
        next frame. Waits up to `config.wait` seconds for a sample at the stamp or after it.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_settled(stamp), self.config.wait)
            rows = [row for row in self._rows if self._taken < row[0] <= stamp]
            while self._rows and self._rows[0][0] <= stamp:
                self._rows.popleft()
        if not rows:
            return np.zeros((0, 7))
        self._taken = rows[-1][0]
        return np.array(rows)

    def restart(self, stamp: float) -> None:
        """Drop what is left of a time before the frames ran back to a stamp, seconds."""
        with self._changed:
            if self._newest > stamp + STEP_BACK:
                self._rows.clear()
                self._newest = -np.inf
            self._taken = -np.inf

    def T_cam_imu(self, camera_frame: str, T_base_cam: np.ndarray) -> np.ndarray | None:
        """Return the points of the IMU to the camera; None with a `missing`. (4, 4)

        Args:
            camera_frame: frame_id of the frames.
            T_base_cam: pose of the camera on the body. (4, 4)
        """
        self.missing, frame, given = "", self.frame, self.config.T_base_imu
        if self._T_cam_imu is not None:
            return self._T_cam_imu
        if frame and (found := self._tf.T_base_cam(frame, camera_frame)) is not None:
            return inverse(found)
        if given is not None:
            return inverse(T_base_cam) @ given
        if frame and frame.lstrip("/") == self._base_frame.lstrip("/"):
            return inverse(T_base_cam)
        named = repr(frame) if frame else "the IMU (no sample yet)"
        self.missing = (
            f"no transform between {named} and {camera_frame!r}: the IMU is not used; publish it "
            "on /tf_static, or set imu.file, or imu.xyz and imu.rpy"
        )
        return None

    # --- any thread -------------------------------------------------------------------------------

    def silence(self, now: float) -> str:
        """Return why no sample arrives at steady time `now`, seconds; empty if they do."""
        age = self._listener.age(now)
        if age is not None and age <= self.config.stale:
            return ""
        what = "no imu has come" if age is None else f"imu is stale: {age:.1f} s old"
        where = f"on {self._listener.topic} ({self._listener.publishers()})"
        return "; ".join([f"{what} {where}", *self._listener.hints()])

    def status(self, now: float, *, fault: str, notes: list[str]) -> Status:
        """Return the status of task "imu" at steady time `now`, seconds.

        Args:
            now: steady time, seconds.
            fault: what the odometry finds wrong with the samples; empty if nothing.
            notes: what it has corrected.
        """
        age = self._listener.age(now)
        values: dict[str, str | float | int] = {
            "topic": self._listener.topic,
            "frame": self.frame,
            "Hz": round(self._listener.rate.hz(now), 1),
            "age s": float("nan") if age is None else round(age, 3),
            "lost": self._listener.lost,
            "refused": self._refused,
            "notes": "; ".join(notes),
        }
        if silence := self.silence(now):
            return Status("error", f"{silence}; the odometry goes on without", values)
        refusal = f"samples are left out: {self._refusal}" if self._refusal else ""
        if fault := self.missing or refusal or fault:
            return Status("warn", fault, values)
        return Status("ok", "; ".join(["samples come in", *notes[-1:]]), values)

    def _is_settled(self, stamp: float) -> bool:
        """Whether waiting does not help: the samples are there, or the topic is silent."""
        age = self._listener.age(time.monotonic())
        silent = age is None or age > self.config.stale
        return not self._running or self._newest >= stamp or silent


def read_sample(message: Any) -> tuple[list[float], str]:
    """Read a sensor_msgs/Imu.

    Returns:
        t wx wy wz ax ay az, accelerations NaN where not measured; and why it is unusable, empty if
        it is usable.
    """
    w, a = message.angular_velocity, message.linear_acceleration
    measured = message.linear_acceleration_covariance[0] != NOT_MEASURED
    forces = [a.x, a.y, a.z] if measured else [np.nan] * 3
    row = [seconds(nanoseconds(message.header.stamp)), w.x, w.y, w.z, *forces]
    reason = "" if np.isfinite(row[1:4]).all() else NOT_FINITE
    if message.angular_velocity_covariance[0] == NOT_MEASURED:
        reason = NO_RATES
    return row, reason if row[0] else NO_STAMP
