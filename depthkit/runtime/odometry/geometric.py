# SPDX-License-Identifier: Apache-2.0
"""Odometry by geometry alone: no training, no network, any pinhole camera.

    odometry = GeometricOdometry()
    result = odometry.process(rgb, stamp=stamp, K=K)

Translations are relative, at one scale a segment, until something says what a step is in metres.
`process` is causal: it never changes what it returned; `smoothed` gives the path as known now.
"""

from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from depthkit.config.ranges import check_ranges, option
from depthkit.rigid import inverse
from depthkit.runtime.frame_gate import BLACK_FRAME, FrameGate
from depthkit.runtime.motion.told import NO_MOTION, Motion
from depthkit.runtime.odometry.front_end import TRACKS, WorkingFrame, working_frame
from depthkit.runtime.odometry.map_tracker import MapTracker, Tracked
from depthkit.runtime.preprocess import check_camera, is_black
from depthkit.runtime.result import OdometryResult, SparsePoints, Timing
from depthkit.runtime.streams import NO_IMU

NO_CAMERA = "the camera is unknown: geometry needs K; give a calibration"


@dataclass(frozen=True)
class GeometricConfig:
    """Settings of the geometric odometry; the defaults serve all cameras."""

    tracks: int = option(TRACKS, least=50, most=5000)
    """Number of tracks kept alive."""
    max_pixels: int = option(600_000, least=10_000)
    """Number of pixels of the working image; larger frames are reduced."""
    max_gap: float = option(3.0, above=0)
    """Longest pause between two frames of one segment, seconds."""
    keep_path: bool = True
    """Whether every frame is remembered for `smoothed`; a robot that runs for hours needs it
    not."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, eq=False)
class SmoothedPath:
    """Poses of all frames as the final keyframes have them."""

    stamps: np.ndarray
    """Seconds. (N,)"""
    poses: np.ndarray
    """T_world_cam. (N, 4, 4)"""
    segments: np.ndarray
    """Segment of each pose; two segments have nothing in common but their unit, if metric. (N,)"""


@dataclass(frozen=True, eq=False)
class Landmarks:
    """The sparse map of one segment."""

    positions: np.ndarray
    """In the world of the segment. (M, 3)"""
    colours: np.ndarray
    """RGB. (M, 3) uint8"""
    sigma: np.ndarray
    """Relative standard deviation of the depth. (M,)"""
    segment: int = 0


@dataclass(frozen=True, eq=False)
class _Placed:
    """A frame relative to its keyframe."""

    stamp: float
    segment: int
    keyframe: int
    T_cam_keyframe: np.ndarray


@dataclass(eq=False)
class _Path:
    """Where all frames were, relative to keyframes that are still moved."""

    frames: list[_Placed] = field(default_factory=list)
    finished: dict[int, np.ndarray] = field(default_factory=dict)
    """T_cam_world of keyframes, by segment and number."""


class GeometricOdometry:
    """Camera motion frame by frame [see the module]. Deterministic; one thread at a time."""

    def __init__(
        self,
        config: GeometricConfig = GeometricConfig(),  # noqa: B008 (frozen)
        *,
        valid: np.ndarray | None = None,
    ) -> None:
        """Start without frames.

        Args:
            config: settings.
            valid: pixels that are picture at all; everything if None. (H, W) bool
        """
        self.config, self._valid = config, valid
        self._tracker = MapTracker(tracks_wanted=config.tracks)
        self.reset()

    def reset(self) -> None:
        """Forget all frames."""
        self._gate = FrameGate(self.config.max_gap)
        self._tracker.restart()
        self._segment = 0
        self._T_world_cam = np.eye(4)
        self._since: float | None = None  # stamp at which the published pose was last known
        self._path: list[_Placed] = []
        self._keyframes: dict[tuple[int, int], np.ndarray] = {}

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
            rgb: (H, W, 3) uint8
            stamp: seconds, later than the previous frame.
            K: intrinsics at H x W, pixels; a frame without is refused. (3, 3)
            imu: inertial samples since the previous frame [streams.Odometry]. (N, 7)
            motion: `displacement` is the length of the step in metres.

        Returns:
            The motion since the last known pose; or the reason why it is unknown.
        """
        started = perf_counter()
        # 1. An unusable frame ends the segment; so does one that does not continue the last.
        if fault := self._gate.fault_of(rgb, stamp) or (NO_CAMERA if K is None else ""):
            return self._end(stamp, fault)
        if is_black(rgb):
            return self._end(stamp, BLACK_FRAME)
        check_camera(K)
        camera = self._gate.steady(rgb.shape[:2], K)
        broken = "" if self._tracker.before is None else self._gate.break_before(stamp, camera)
        self._gate.enter(stamp, camera)
        if broken:
            self._end(stamp, broken)
        # 2. Follow the camera in the map.
        frame = working_frame(
            rgb, K=camera[1], stamp=stamp, most=self.config.max_pixels, valid=self._valid
        )
        prepared = perf_counter()
        tracked = self._tracker.process(frame)
        answered = perf_counter()
        timing = Timing.until_now(started, prepared, answered)
        return self._publish(tracked, frame, rgb.shape[:2], broken, timing)

    # --- results ----------------------------------------------------------------------------------

    def _end(self, stamp: float, reason: str) -> OdometryResult:
        """End the segment; the next frame begins another."""
        if self._tracker.before is not None:
            self._segment += 1
            self._T_world_cam, self._since = np.eye(4), None
        self._tracker.restart()
        return self._result(stamp, reason)

    def _publish(
        self,
        tracked: Tracked,
        frame: WorkingFrame,
        size: tuple[int, int],
        broken: str,
        timing: Timing,
    ) -> OdometryResult:
        T_world_cam = inverse(tracked.T_cam_world)
        if tracked.state == "lost":
            self._segment += 1
            self._since = None
        before, since = self._T_world_cam, self._since
        self._T_world_cam = T_world_cam
        if tracked.state in ("waiting", "lost"):
            self._since = frame.stamp if self._since is None else self._since
            return self._result(frame.stamp, broken or tracked.reason, timing=timing)
        if tracked.state == "started":
            # Before the start only the rotation was published, at the segment's first position.
            first = self._tracker.world.keyframes[0]
            before, since = first.T_world_cam, first.stamp
            self._place_waited()
        self._since = frame.stamp
        self._place(frame.stamp, tracked.T_cam_world)
        return self._result(
            frame.stamp,
            "",
            T_previous_current=inverse(before) @ T_world_cam,
            since=since,
            timing=timing,
            points=self._points(frame, size),
            covariance=None if tracked.fit is None else np.linalg.inv(tracked.fit.information),
        )

    def _result(self, stamp: float, reason: str, **known: object) -> OdometryResult:
        return OdometryResult(
            T_previous_current=known.pop("T_previous_current", None),
            T_world_cam=self._T_world_cam.copy(),
            scale="relative",
            scale_source="none: translations are in units of the first view's median depth",
            stamp=stamp,
            segment=self._segment,
            reason=reason,
            **known,
        )

    def _points(self, frame: WorkingFrame, size: tuple[int, int]) -> SparsePoints:
        """Return the landmarks that the frame sees, at the camera's size."""
        world, tracks = self._tracker.world, self._tracker.tracks
        scale = np.array(size[::-1]) / frame.image.shape[::-1]
        return SparsePoints(
            ids=world.identity[tracks.slots].copy(),
            pixels=(tracks.pixels.astype(np.float64) + 0.5) * scale - 0.5,
            positions=world.position[tracks.slots].copy(),
            sigma=world.sigma[tracks.slots].copy(),
        )

    # --- the path as known now --------------------------------------------------------------------

    def _place(self, stamp: float, T_cam_world: np.ndarray) -> None:
        """Remember a frame relative to the newest keyframe."""
        if not self.config.keep_path:
            return
        world = self._tracker.world
        for one in world.keyframes[-self._tracker.free - 1 :]:
            self._keyframes[self._segment, one.number] = one.T_cam_world
        newest = world.keyframes[-1]
        relative = T_cam_world @ inverse(newest.T_cam_world)
        self._path.append(_Placed(stamp, self._segment, newest.number, relative))

    def _place_waited(self) -> None:
        first = self._tracker.world.keyframes[0]
        for stamp, T in [(first.stamp, first.T_cam_world), *self._tracker.waited()]:
            if not self._path or self._path[-1].stamp < stamp:
                self._place(stamp, T)

    def smoothed(self) -> SmoothedPath:
        """Return every frame's pose by the keyframes as they are now, also those before a start."""
        T = [one.T_cam_keyframe @ self._keyframes[one.segment, one.keyframe] for one in self._path]
        return SmoothedPath(
            np.array([one.stamp for one in self._path]),
            inverse(np.stack(T)) if T else np.zeros((0, 4, 4)),
            np.array([one.segment for one in self._path], dtype=int),
        )

    def landmarks(self) -> Landmarks:
        """Return the measured landmarks of the newest segment."""
        world = self._tracker.world
        slots = world.mapped()
        colours = np.zeros((len(world.sigma), 3), np.uint8)
        for one in world.keyframes:
            colours[one.slots] = one.colours
        return Landmarks(
            world.position[slots].copy(),
            colours[slots],
            world.sigma[slots].copy(),
            self._segment,
        )
