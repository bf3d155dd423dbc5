# SPDX-License-Identifier: Apache-2.0
"""Metres of a geometric odometry: what its sources say of each step, fused into one factor."""

from dataclasses import replace

import numpy as np

from depthkit.multiview.ground_plane import CORRELATION, GroundPlane
from depthkit.rigid import inverse
from depthkit.runtime.odometry.depth_ratio import depth_ratio
from depthkit.runtime.odometry.front_end import WorkingFrame
from depthkit.runtime.odometry.imu import InertialAid
from depthkit.runtime.odometry.scale import ScaleTrack, StepLength
from depthkit.runtime.result import ScaleState

LEAST_STEP = 0.01
"""Motion over the median depth at which a step is long enough to compare lengths."""
CAMERA_HEIGHT, IMU, NETWORK = "camera height", "imu", "depth network"


class Metres:
    """Metres per unit of one segment's map (kept state). One thread at a time."""

    def __init__(
        self, *, step_source: str, step_sigma: float, height: float, aid: InertialAid | None
    ) -> None:
        """Start with an unknown factor.

        Args:
            step_source: name of the source of told lengths.
            step_sigma: their relative standard deviation.
            height: camera height over the ground, metres; 0 where unknown.
            aid: the IMU, where there is one.
        """
        self._source, self._sigma, self._aid = step_source, step_sigma, aid
        self._ground = GroundPlane(height) if height > 0 else None
        self._track = ScaleTrack()
        self._start: np.ndarray | None = None
        self._told: float | None = 0.0
        self._before: tuple[WorkingFrame, np.ndarray] | None = None
        self._last: np.ndarray | None = None
        self._aligned: float | None = None
        self._refused = ""  # why the newest step has no length by the camera's height

    @property
    def factor(self) -> float | None:
        """Metres per unit; None while unknown or lost."""
        return self._track.factor

    def state(self, stamp: float) -> ScaleState:
        """Return the state of the scale at a stamp, seconds; the sources say why it is unknown."""
        state = self._track.state(stamp)
        if state.state == "observed":
            return state
        said = [f"{CAMERA_HEIGHT}: {self._refused}" if self._refused else ""]
        if self._aid is not None:
            said.append(f"{IMU}: {self._aid.scale.reason}" if self._aid.scale.reason else "")
        reasons = [one for one in (*said, "" if any(said) else state.reason) if one]
        if state.state == "lost":
            reasons = [state.reason, *filter(None, said)]
        return replace(state, reason="; ".join(reasons))

    def pause(self) -> None:
        """Forget the last frame: the next one does not follow it."""
        self._start, self._told, self._before, self._last = None, 0.0, None, None
        if self._ground is not None:
            self._ground.reset()

    def step(
        self, frame: WorkingFrame, T_world_cam: np.ndarray, told: float | None, depth: float
    ) -> None:
        """Take a frame whose pose in the map is known.

        Args:
            frame: the frame.
            T_world_cam: its pose, units of the map. (4, 4)
            told: length of the step since the previous frame by another sensor, metres; None where
                it says nothing.
            depth: median depth of the scene, units of the map.
        """
        steps = [
            one
            for one in (
                self._by_height(frame, T_world_cam),
                self._by_told(T_world_cam, told, depth),
            )
            if one is not None
        ]
        path = 0.0 if self._last is None else float(np.linalg.norm(T_world_cam[:3, 3] - self._last))
        self._last = T_world_cam[:3, 3].copy()
        self._track.observe(frame.stamp, path, steps)
        self._by_imu(frame.stamp)

    def tell_depth(self, stamp: float, landmarks: np.ndarray, network: np.ndarray) -> str:
        """Take depths of a metric network at landmarks; return why they are no evidence.

        Args:
            stamp: of the newest frame, seconds.
            landmarks: depths in units of the map. (N,)
            network: metres, at the same pixels. (N,)
        """
        found = depth_ratio(landmarks, network)
        if found.factor is not None and found.sigma is not None:
            self._track.observe_factor(stamp, found.factor, found.sigma, NETWORK)
        return found.reason

    def _by_height(self, frame: WorkingFrame, T_world_cam: np.ndarray) -> StepLength | None:
        """Measure the step from the previous frame over the ground."""
        if self._ground is None:
            return None
        before, self._before = self._before, (frame, T_world_cam)
        if before is None:
            return None
        T = inverse(T_world_cam) @ before[1]
        relative = float(np.linalg.norm(T[:3, 3]))
        if relative < 1e-9:
            return None
        found = self._ground.measure(
            before[0].gray,
            frame.gray,
            K=frame.K,
            R_b_a=T[:3, :3],
            t_b_a=T[:3, 3] / relative,
        )
        self._refused = found.reason
        if found.length is None or found.sigma is None:
            return None
        return StepLength(found.length, found.sigma, CAMERA_HEIGHT, CORRELATION, relative)

    def _by_told(
        self, T_world_cam: np.ndarray, told: float | None, depth: float
    ) -> StepLength | None:
        """Return the length told since the last comparison, once the stretch is long enough.

        Short steps are added up first: the odometry's own noise would rule their ratio.
        """
        if self._start is None:
            self._start, self._told = T_world_cam, 0.0
            return None
        self._told = None if told is None or self._told is None else self._told + told
        relative = float(np.linalg.norm(T_world_cam[:3, 3] - self._start[:3, 3]))
        if relative < LEAST_STEP * depth:
            return None
        length, self._start, self._told = self._told, T_world_cam, 0.0
        if length is None:
            return None
        return StepLength(length, self._sigma, self._source, relative=relative)

    def _by_imu(self, stamp: float) -> None:
        """Take the factor of a new window of the IMU."""
        if self._aid is None:
            return
        found = self._aid.scale
        if found.factor is None or found.sigma is None or found.stamp == self._aligned:
            return
        self._aligned = found.stamp
        self._track.observe_factor(stamp, found.factor, found.sigma, IMU, supersedes=True)


def scaled(T: np.ndarray, factor: float) -> np.ndarray:
    """Return a motion with its translation multiplied by a factor. (..., 4, 4)"""
    T = np.array(T)
    T[..., :3, 3] *= factor
    return T
