# SPDX-License-Identifier: Apache-2.0
"""Odometry by geometry alone: no training, no network, any pinhole camera.

    odometry = GeometricOdometry()
    result = odometry.process(rgb, stamp=stamp, K=K)

Translations are relative, at one scale a segment, until something says what a step is in metres.
`process` is causal: it never changes what it returned; `smoothed` gives the path as known now.
"""

import re
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from depthkit.config.ranges import check_ranges, option, require
from depthkit.errors import EngineError
from depthkit.rigid import inverse
from depthkit.runtime.frame_gate import BLACK_FRAME, FrameGate
from depthkit.runtime.motion.told import NO_MOTION, Motion
from depthkit.runtime.odometry.covariance import pose_covariance
from depthkit.runtime.odometry.focal_check import FocalWatch
from depthkit.runtime.odometry.front_end import (
    TRACKS,
    WorkingFrame,
    working_frame,
    working_size,
    working_valid,
)
from depthkit.runtime.odometry.imu import InertialAid
from depthkit.runtime.odometry.live_path import (
    Landmarks,
    SmoothedPath,
    WorldPath,
    landmarks_of,
    smoothed_path,
)
from depthkit.runtime.odometry.loop import LoopCloser
from depthkit.runtime.odometry.map_tracker import NOISE, MapTracker, Tracked
from depthkit.runtime.odometry.metres import Metres
from depthkit.runtime.odometry.returning import Places
from depthkit.runtime.odometry.segment import Segment
from depthkit.runtime.odometry.window import SOLVERS, Solver
from depthkit.runtime.preprocess import check_camera, is_black
from depthkit.runtime.result import OdometryResult, ScaleState, SparsePoints, Timing
from depthkit.runtime.streams import NO_IMU
from depthkit.trajectory.imu import Imu

NO_CAMERA = "the camera is unknown: geometry needs K; give a calibration"
RELATIVE = "none: translations are in units of the first view's median depth"
NOW_METRIC = "the scale became known: metres from here, a segment of its own"


@dataclass(frozen=True)
class GeometricConfig:
    """Settings of the geometric odometry; the defaults serve all cameras."""

    camera_height: float = option(0.0, least=0)
    """Height of the camera over level ground, metres: a source of scale; 0 = unknown."""
    step_source: str = "speed"
    """Name of the source of `Motion.displacement`: speed, twist or another odometry."""
    step_sigma: float = option(0.02, above=0)
    """Relative standard deviation of that length."""
    loops: bool = False
    """Whether loops are looked for; they correct the map, never the odometry."""
    solver: Solver = "numpy"
    """Solver of the window: our own, or `gtsam` (an extra)."""
    tracks: int = option(TRACKS, least=50, most=5000)
    """Number of tracks kept alive."""
    max_pixels: int = option(600_000, least=10_000)
    """Number of pixels of the working image; larger frames are reduced."""
    max_gap: float = option(3.0, above=0)
    """Longest pause between two frames that are compared directly, seconds; after a longer one the
    place must be found again."""
    keep_path: bool = True
    """Whether every frame is remembered for `smoothed`; a robot that runs for hours needs it
    not."""

    def __post_init__(self) -> None:
        check_ranges(self)
        require(self.solver in SOLVERS, f"solver: expected numpy or gtsam, got {self.solver!r}")


class GeometricOdometry:
    """Camera motion frame by frame [see the module]. Deterministic; one thread at a time."""

    def __init__(
        self,
        config: GeometricConfig = GeometricConfig(),  # noqa: B008 (frozen)
        *,
        imu: Imu | None = None,
        valid: np.ndarray | None = None,
    ) -> None:
        """Start without frames.

        Args:
            config: settings.
            imu: how the IMU sits on the camera and how noisy it is; its rows are not read here but
                given to `process`. None without an IMU.
            valid: pixels that are picture at all; everything if None. (H, W) bool

        Raises:
            EngineError: an IMU whose place on the camera is unknown.
        """
        if imu is not None and imu.T_cam_imu is None:
            raise EngineError(
                "the IMU's place on the camera is unknown: give T_cam_imu (--imu-to-camera FILE)"
            )
        self.config, self._valid, self._imu = config, valid, imu
        self._tracker = MapTracker(tracks_wanted=config.tracks, solver=config.solver)
        self.reset()

    def reset(self) -> None:
        """Forget all frames."""
        imu = self._imu
        self.aid = None
        if imu is not None and imu.T_cam_imu is not None:
            self.aid = InertialAid(imu.T_cam_imu, imu.noise)
        self._gate = FrameGate(self.config.max_gap)
        self._tracker.restart()
        self._paths: list[WorldPath] = []
        valid = self._valid
        if valid is not None:
            valid = working_valid(valid, working_size(valid.shape[:2], self.config.max_pixels))
        self._places = Places(loops=self.config.loops, valid=valid)
        self._focal = FocalWatch()
        self._notes: dict[str, str] = {}
        self._stamp = -np.inf
        self._last_number = -1
        self._segment = self._new_segment()

    @property
    def loops(self) -> LoopCloser | None:
        """The loop closer, where loops are looked for."""
        return self._places.closer

    @property
    def tracks(self) -> int:
        """Number of tracks alive."""
        return len(self._tracker.tracks)

    @property
    def keyframes(self) -> int:
        """Number of keyframes that the map holds."""
        return len(self._tracker.world.keyframes)

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
        if self.aid is not None:
            self.aid.add(imu)
        # 1. An unusable frame is left out; one that does not continue the last ends the tracks.
        fault, K = self._fault(rgb, stamp, K)
        if K is None:
            self._segment.metres.pause()
            return self._unknown(stamp, fault)
        if fault:
            self._break(stamp, fault)
        if "another size" in fault or "intrinsics" in fault:
            self._places.forget()  # an earlier map belongs to another camera
        # 2. Follow the camera in the map, or go on in an earlier one.
        frame = self._frame(rgb, K, stamp)
        prepared = perf_counter()
        tracked = self._tracker.process(frame)
        if tracked.state == "lost":
            self._break(stamp, tracked.reason, keep_tracker=True)
        if tracked.state in ("lost", "waiting"):
            tracked = self._returned(frame) or tracked
        self._note()
        answered = perf_counter()
        timing = Timing.until_now(started, prepared, answered)
        # 3. Metres, and what is published.
        if tracked.state in ("lost", "waiting"):
            return self._unknown(stamp, fault or tracked.reason, tracked, timing)
        return self._known(tracked, frame, rgb.shape[:2], motion, timing)

    # --- frames -----------------------------------------------------------------------------------

    def _fault(
        self, rgb: np.ndarray, stamp: float, K: np.ndarray | None
    ) -> tuple[str, np.ndarray | None]:
        """Return why the tracks end here, empty if they go on; no K where it is unusable."""
        fault = self._gate.fault_of(rgb, stamp) or (NO_CAMERA if K is None else "")
        if not fault and self._gate.repeats(stamp):
            fault = f"stamp {stamp:.3f} s came before; the frame is left out"
        if not fault and is_black(rgb):
            fault = BLACK_FRAME
        if fault or K is None:
            return fault, None
        check_camera(K)
        camera = self._gate.steady(rgb.shape[:2], K)
        broken = self._gate.break_before(stamp, camera) if np.isfinite(self._stamp) else ""
        self._gate.enter(stamp, camera)
        return broken, camera[1]

    def _frame(self, rgb: np.ndarray, K: np.ndarray, stamp: float) -> WorkingFrame:
        frame = working_frame(rgb, K=K, stamp=stamp, most=self.config.max_pixels, valid=self._valid)
        before, self._stamp = self._stamp, stamp
        if self.aid is None or not np.isfinite(before):
            return frame
        turn = self.aid.rotation(before, stamp)
        if turn is None:
            return frame
        return replace(frame, R_current_previous=turn.R_previous_current.T, turn_sigma=turn.sigma)

    # --- segments ---------------------------------------------------------------------------------

    def _new_segment(self) -> Segment:
        config = self.config
        self._last_number += 1
        path = WorldPath(self._last_number)
        self._paths.append(path)
        metres = Metres(
            step_source=config.step_source,
            step_sigma=config.step_sigma,
            height=config.camera_height,
            aid=self.aid,
        )
        if self.aid is not None:
            self.aid.reset_segment()
        return Segment(path, metres)

    def _break(self, stamp: float, reason: str, *, keep_tracker: bool = False) -> None:
        """End the segment; its map is kept for a return."""
        segment = self._segment
        if segment.moved:
            world = self._tracker.lost_world if keep_tracker else self._tracker.world
            self._places.end(segment, world, segment.T_map_cam)
            segment.metres.pause()
        if segment.since is not None or segment.moved:
            self._segment = self._new_segment()
        if not keep_tracker:
            self._tracker.restart()

    def _returned(self, frame: WorkingFrame) -> Tracked | None:
        """Go on in an earlier segment's map, where the frame sees it."""
        found = self._places.find(frame, self._tracker)
        if found is None:
            return None
        tracked, self._segment = found
        if self.aid is not None:
            self.aid.reset_segment()
        return tracked

    # --- results ----------------------------------------------------------------------------------

    def _unknown(
        self,
        stamp: float,
        reason: str,
        tracked: Tracked | None = None,
        timing: Timing = Timing(),  # noqa: B008 (frozen)
    ) -> OdometryResult:
        """Return a frame without motion; before a start its rotation is known."""
        segment = self._segment
        if tracked is not None:
            segment.T_world_cam = inverse(tracked.T_cam_world)
            segment.since = stamp if segment.since is None else segment.since
        return OdometryResult(
            T_previous_current=None,
            T_world_cam=segment.T_world_cam.copy(),
            scale="relative",
            scale_source=RELATIVE,
            stamp=stamp,
            segment=segment.number,
            timing=timing,
            reason=reason,
            scale_state=segment.metres.state(stamp) if np.isfinite(stamp) else ScaleState(),
            correction=self._places.correction,
        )

    def _known(
        self,
        tracked: Tracked,
        frame: WorkingFrame,
        size: tuple[int, int],
        motion: Motion,
        timing: Timing,
    ) -> OdometryResult:
        """Publish a pose that the map knows."""
        segment, world = self._segment, self._tracker.world
        T_map_cam = inverse(tracked.T_cam_world)
        if tracked.state == "started":
            segment.begin(world.keyframes[0].T_world_cam, world.keyframes[0].stamp)
            self._place_waited()
        told = None if tracked.state in ("started", "resumed") else motion.displacement
        self._observe(tracked, frame, T_map_cam, told)
        before, since = segment.T_world_cam, segment.since
        now_metric = segment.move(T_map_cam) and segment.moved
        if now_metric:
            self._last_number += 1
            segment.path.segment = self._last_number
        segment.since, segment.moved = frame.stamp, True
        if self.config.keep_path:
            factor = segment.factor if segment.metric else None
            segment.path.place(frame.stamp, tracked.T_cam_world, world, factor)
        points = self._points(frame, size)
        if tracked.new_keyframe:
            self._places.add(segment, frame, world, points, size)
            self._focal.look(world, focal=frame.focal, width=frame.image.shape[1], noise=NOISE)
        state = segment.metres.state(frame.stamp)
        return OdometryResult(
            T_previous_current=None if now_metric else inverse(before) @ segment.T_world_cam,
            T_world_cam=segment.T_world_cam.copy(),
            scale="metric" if state.metric else "relative",
            scale_source=state.source or RELATIVE,
            stamp=frame.stamp,
            segment=segment.number,
            timing=timing,
            reason=NOW_METRIC if now_metric else "",
            since=since,
            covariance=pose_covariance(
                tracked.T_cam_world,
                world.keyframes[-1],
                None if tracked.new_keyframe else tracked.fit,
                factor=segment.factor,
                unrest=world.unrest.ratio,
            ),
            scale_state=state,
            points=points,
            correction=self._places.correction,
        )

    def _observe(
        self, tracked: Tracked, frame: WorkingFrame, T_map_cam: np.ndarray, told: float | None
    ) -> None:
        """Let the sources of scale see the step."""
        if self.aid is not None:
            if tracked.new_keyframe:
                moved = self._tracker.world.keyframes[-self._tracker.free :]
                self.aid.adjust(
                    np.array([one.stamp for one in moved]),
                    np.stack([one.T_world_cam for one in moved]),
                )
            self.aid.update(frame.stamp, T_map_cam, keyframe=tracked.new_keyframe)
        self._segment.metres.step(frame, T_map_cam, told, self._tracker.depth)

    def _points(self, frame: WorkingFrame, size: tuple[int, int]) -> SparsePoints:
        """Return the landmarks that the frame sees: the camera's size, the published world."""
        world, tracks = self._tracker.world, self._tracker.tracks
        scale = np.array(size[::-1]) / frame.image.shape[::-1]
        return SparsePoints(
            ids=world.identity[tracks.slots].copy(),
            pixels=(tracks.pixels.astype(np.float64) + 0.5) * scale - 0.5,
            positions=self._segment.published(world.position[tracks.slots]),
            sigma=world.sigma[tracks.slots].copy(),
        )

    # --- the path as known now --------------------------------------------------------------------

    def _place_waited(self) -> None:
        """Take in the frames before the start, which the map can place now."""
        world, path = self._tracker.world, self._segment.path
        first = world.keyframes[0]
        for stamp, T in [(first.stamp, first.T_cam_world), *self._tracker.waited()]:
            if self.config.keep_path:
                path.place(stamp, T, world, None)
            if self.aid is not None:
                self.aid.update(stamp, inverse(T), keyframe=False)

    def smoothed(self) -> SmoothedPath:
        """Return every frame's pose by the keyframes as they are now, also those before a start."""
        if self._segment.moved:
            self._segment.path.refresh(self._tracker.world)
        return smoothed_path(self._paths)

    @property
    def keyframes(self) -> int:
        """Number of keyframes of all segments."""
        return sum(len(one.keyframes) for one in self._paths if one.frames)

    @property
    def notes(self) -> tuple[str, ...]:
        """Suspicions that a user should read, such as a wrong K or an IMU in other units; each
        once."""
        return tuple(self._notes.values())

    def _note(self) -> None:
        """Collect what is suspected by now; a sentence that differs in a figure alone is known."""
        said = [self._focal.note]
        if self.aid is not None:
            said += [self.aid.fault, *self.aid.notes]
        for sentence in filter(None, said):
            self._notes.setdefault(re.sub(r"[-+\d.]+", "#", sentence), sentence)

    def landmarks(self) -> Landmarks:
        """Return the measured landmarks of the newest segment."""
        return landmarks_of(self._tracker.world, self._segment.path)
