# SPDX-License-Identifier: Apache-2.0
"""Odometry by geometry alone: no training, no network, any pinhole camera.

    odometry = GeometricOdometry()
    result = odometry.process(rgb, stamp=stamp, K=K)

Translations are relative, at one scale a segment, until something says what a step is in metres.
`process` is causal: it never changes what it returned; `smoothed` gives the path as known now.
"""

import re
from dataclasses import replace
from time import perf_counter

import numpy as np

from depthkit.camera import Camera
from depthkit.errors import EngineError, check_shape
from depthkit.rigid import inverse
from depthkit.runtime.motion.told import NO_MOTION, Motion
from depthkit.runtime.odometry.covariance import pose_covariance
from depthkit.runtime.odometry.finder import Finder
from depthkit.runtime.odometry.focal_check import FocalFit, FocalWatch, fit_focal
from depthkit.runtime.odometry.frame_door import FrameDoor
from depthkit.runtime.odometry.front_end import WorkingFrame
from depthkit.runtime.odometry.geometric_config import GeometricConfig
from depthkit.runtime.odometry.imu import InertialAid
from depthkit.runtime.odometry.landmark_map import MAPPED, LandmarkMap
from depthkit.runtime.odometry.live_path import (
    Landmarks,
    SmoothedPath,
    WorldPath,
    landmarks_of,
    smoothed_path,
)
from depthkit.runtime.odometry.loop import LoopCloser
from depthkit.runtime.odometry.map_tracker import MapTracker, Tracked
from depthkit.runtime.odometry.metres import Metres, scaled
from depthkit.runtime.odometry.pose_of_tracks import NOISE
from depthkit.runtime.odometry.returning import Places
from depthkit.runtime.odometry.saved_map import MapPose, SavedMap, saved_from
from depthkit.runtime.odometry.segment import Segment
from depthkit.runtime.result import OdometryResult, ScaleState, SparsePoints, Timing
from depthkit.runtime.streams import NO_IMU
from depthkit.trajectory.imu import Imu

__all__ = ["GeometricConfig", "GeometricOdometry", "Landmarks", "SmoothedPath"]

RELATIVE = "none: translations are in units of the first view's median depth"
MOST_NOTES = 100
NOW_METRIC = "the scale became known: metres from here, a segment of its own"
IN_MAP = "the place was found in the saved map: a segment begins here, in the map's unit"
UNLINKED = ("started", "resumed", "known")
"""States of frames whose step from the one before is not known."""


class GeometricOdometry:
    """Camera motion frame by frame [see the module]. Deterministic; one thread at a time."""

    def __init__(
        self,
        config: GeometricConfig = GeometricConfig(),  # noqa: B008 (frozen)
        *,
        imu: Imu | None = None,
        valid: np.ndarray | None = None,
        finder: Finder | None = None,
    ) -> None:
        """Start without frames.

        Args:
            config: settings.
            imu: how the IMU sits on the camera and how noisy it is; its rows are not read here but
                given to `process`. None without an IMU.
            valid: pixels that are picture at all; everything if None. (H, W) bool
            finder: features and places that recognise what was seen before, and a saved map; SIFT
                and no map if None.

        Raises:
            EngineError: an IMU whose place on the camera is unknown.
        """
        if imu is not None and imu.T_cam_imu is None:
            raise EngineError(
                "the IMU's place on the camera is unknown: give T_cam_imu (--imu-to-camera FILE)"
            )
        self.config, self._valid, self._imu = config, valid, imu
        self.finder = finder or Finder()
        self._tracker = MapTracker(
            tracks_wanted=config.tracks, solver=config.solver, detector=self.finder.detector
        )
        self.reset()

    def reset(self) -> None:
        """Forget all frames."""
        imu = self._imu
        self.aid = None
        if imu is not None and imu.T_cam_imu is not None:
            self.aid = InertialAid(imu.T_cam_imu, imu.noise)
        config = self.config
        self._door = FrameDoor(max_gap=config.max_gap, most=config.max_pixels, valid=self._valid)
        self._tracker.restart()
        self._paths: list[WorldPath] = []
        self._places = Places(
            loops=config.loops, valid=self._door.working_valid, finder=self.finder
        )
        self._focal = FocalWatch()
        self._notes: dict[str, str] = {}
        self._keyframes = 0
        self._left: float | None = None  # when the last map was left
        self._newest: tuple[WorkingFrame, tuple[int, int]] | None = None
        self._last_number = -1
        self._camera: Camera | None = None
        self._segment = self._new_segment()

    @property
    def loops(self) -> LoopCloser | None:
        """The loop closer, where loops are looked for."""
        return self._places.closer

    @property
    def tracks(self) -> int:
        """Number of tracks alive."""
        return len(self._tracker.tracks)

    def process(
        self,
        rgb: np.ndarray,
        *,
        stamp: float,
        K: np.ndarray | None = None,
        imu: np.ndarray = NO_IMU,
        motion: Motion = NO_MOTION,
        static: np.ndarray | None = None,
    ) -> OdometryResult:
        """Take the next frame.

        Args:
            rgb: (H, W, 3) uint8
            stamp: seconds, later than the previous frame.
            K: intrinsics at H x W, pixels; a frame without is refused. (3, 3)
            imu: inertial samples since the previous frame [streams.Odometry]. (N, 7)
            motion: `displacement` is the length of the step in metres.
            static: probability that each pixel is static, as `MovingStream` gives it; tracks weigh
                by it, and none lives below one half. (H, W)

        Returns:
            The motion since the last known pose; or the reason why it is unknown.

        Raises:
            EngineError: K is not that of a camera.
            DataError: inertial samples that are not finite or do not rise; a saved map that is
                another camera's.
        """
        started = perf_counter()
        if self.aid is not None:
            self.aid.add(imu)
        # 1. An unusable frame is left out; one that does not continue the last ends the tracks.
        before = self._door.last_stamp
        fault, K = self._door.fault(rgb, stamp, K)
        if K is None:
            self._segment.metres.pause()
            return self._unknown(stamp, fault)
        if fault:
            self._break_off(fault)
        self._take_camera(rgb.shape[:2], K)
        # 2. Follow the camera in the map, or go on in an earlier one.
        frame = self._door.working(rgb, stamp=stamp, K=K, static=static)
        frame = self._turned(frame, before)
        prepared = perf_counter()
        tracked = self._tracker.process(frame)
        if tracked.state == "lost":
            fault = tracked.reason
            self._break(self._tracker.lost_world)
        if tracked.state in ("lost", "waiting"):
            tracked = self._returned(frame, fault) or tracked
        answered = perf_counter()
        # 3. Metres, and what is published.
        self._newest = None
        if tracked.state in ("lost", "waiting"):
            result = self._unknown(stamp, fault or tracked.reason, tracked)
        else:
            result = self._known(tracked, frame, rgb.shape[:2], motion)
        self._note()
        return replace(result, timing=Timing.until_now(started, prepared, answered))

    def _take_camera(self, size: tuple[int, int], K: np.ndarray) -> None:
        """Compare the camera with that of the map, and keep it for the map that is saved."""
        self.finder.check(size, K)
        self._camera = Camera(size[1], size[0], K[0, 0], K[1, 1], K[0, 2], K[1, 2])

    def _turned(self, frame: WorkingFrame, before: float) -> WorkingFrame:
        """Give a frame the rotation since the one before, where a gyro says it."""
        if self.aid is None or not before < frame.stamp or not np.isfinite(before):
            return frame
        turn = self.aid.rotation(before, frame.stamp)
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

    def _break_off(self, fault: str) -> None:
        """End the segment at a frame that does not continue the last one."""
        back = "ran back" in fault
        if back and self._imu is not None and self._imu.T_cam_imu is not None:
            self.aid = InertialAid(self._imu.T_cam_imu, self._imu.noise)  # samples of later times
        self._break(self._tracker.world)
        self._tracker.restart()
        if back or "another size" in fault or "intrinsics" in fault:
            self._places.forget()  # earlier maps are of another camera, or of later times

    def _break(self, world: LandmarkMap) -> None:
        """End the segment; its map is kept for a return."""
        segment = self._segment
        if segment.moved:
            self._left = segment.since
            self._places.end(segment, world, segment.T_map_cam)
            segment.metres.pause()
        if segment.since is not None or segment.moved:
            self._segment = self._new_segment()

    def _returned(self, frame: WorkingFrame, fault: str) -> Tracked | None:
        """Go on in an earlier segment's map, where the frame sees it; that is said."""
        turn = None
        if self.aid is not None and self._left is not None:
            prior = self.aid.rotation(self._left, frame.stamp)
            turn = None if prior is None else prior.R_previous_current.T
        found = self._places.find(frame, self._tracker, turn)
        if found is None:
            return None
        tracked, segment = found
        if segment is None:
            self._say(
                f"at {frame.stamp:.2f} s the place was found in the map: poses of segment "
                f"{self._segment.number} are in the map's unit"
            )
            return tracked
        self._segment = segment
        if self.aid is not None:
            self.aid.reset_segment()
        reason = fault or "tracks were lost"
        self._say(
            f"at {frame.stamp:.2f} s the place was found again: segment {self._segment.number} "
            f"goes on after {frame.stamp - (self._left or frame.stamp):.2f} s ({reason})"
        )
        return tracked

    # --- results ----------------------------------------------------------------------------------

    def _unknown(
        self,
        stamp: float,
        reason: str,
        tracked: Tracked | None = None,
    ) -> OdometryResult:
        """Return a frame without motion; its rotation is known before a start, or by a gyro."""
        segment = self._segment
        if tracked is not None:
            segment.T_world_cam = inverse(tracked.T_cam_world)
            segment.since = stamp if segment.since is None else segment.since
        T_world_cam = segment.T_world_cam.copy()
        if tracked is None and self.aid is not None and segment.since is not None:
            turn = self.aid.rotation(segment.since, stamp) if stamp > segment.since else None
            if turn is not None:
                T_world_cam[:3, :3] = T_world_cam[:3, :3] @ turn.R_previous_current
        return OdometryResult(
            T_previous_current=None,
            T_world_cam=T_world_cam,
            scale="relative",
            scale_source=RELATIVE,
            stamp=stamp,
            segment=segment.number,
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
    ) -> OdometryResult:
        """Publish a pose that the map knows."""
        segment, world = self._segment, self._tracker.world
        T_map_cam = inverse(tracked.T_cam_world)
        if tracked.state == "started":
            segment.begin(world.keyframes[0].T_world_cam, world.keyframes[0].stamp)
            self._place_waited()
            self._keyframes += 1
        if tracked.state == "known":
            segment.begin(T_map_cam, frame.stamp)
        self._keyframes += tracked.new_keyframe
        told = None if tracked.state in UNLINKED else motion.displacement
        self._observe(tracked, frame, T_map_cam, told)
        before, since = segment.T_world_cam, segment.since
        now_metric = segment.move(T_map_cam) and segment.moved
        if now_metric:
            self._last_number += 1
            segment.path.segment = self._last_number
        segment.since, segment.moved = frame.stamp, True
        if self.config.keep_path:
            factor = segment.factor if segment.metric else None
            segment.path.place(frame.stamp, tracked.T_cam_world, world, factor=factor)
        self._newest, points = (frame, size), self._points(frame, size)
        if tracked.new_keyframe:
            self._places.add(segment, frame, world, points, size)
            self._focal.look(world, focal=frame.focal, width=frame.image.shape[1], noise=NOISE)
        state = segment.metres.state(frame.stamp)
        reason = NOW_METRIC if now_metric else IN_MAP if tracked.state == "known" else ""
        return OdometryResult(
            T_previous_current=None if reason else inverse(before) @ segment.T_world_cam,
            T_world_cam=segment.T_world_cam.copy(),
            scale="metric" if state.metric else "relative",
            scale_source=state.source or RELATIVE,
            stamp=frame.stamp,
            segment=segment.number,
            reason=reason,
            since=None if reason else since,
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
        for i, (stamp, T) in enumerate([(first.stamp, first.T_cam_world), *self._tracker.waited()]):
            if self.config.keep_path:
                path.place(stamp, T, world, beside=0 if i == 0 else -1)
            if self.aid is not None:
                self.aid.update(stamp, inverse(T), keyframe=False)

    def smoothed(self) -> SmoothedPath:
        """Return every frame's pose by the keyframes as they are now, also those before a start."""
        if self._segment.moved:
            self._segment.path.refresh(self._tracker.world)
        return smoothed_path(self._paths)

    @property
    def keyframes(self) -> int:
        """Number of keyframes made since the start."""
        return self._keyframes

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should read: a wrong K or unit is suspected, a place was found again; each
        once, the first hundred."""
        return tuple(self._notes.values())

    def fit_focal(self) -> FocalFit | None:
        """Return what the newest keyframes say of the focal length; None where they do not."""
        if self._newest is None:
            return None
        return fit_focal(self._tracker.world, sigma=NOISE / self._newest[0].focal)

    def _note(self) -> None:
        """Collect what is suspected by now; a sentence that differs in a figure alone is known."""
        said = [self._focal.note]
        if self.aid is not None:
            said += [self.aid.fault, *self.aid.notes]
        for sentence in filter(None, said):
            self._say(sentence, re.sub(r"[-+\d.]+", "#", sentence))

    def _say(self, sentence: str, key: str = "") -> None:
        if len(self._notes) < MOST_NOTES:
            self._notes.setdefault(key or sentence, sentence)

    def landmarks(self) -> Landmarks:
        """Return the measured landmarks of the newest segment that has a map."""
        last = self._places.last
        if self._segment.moved or last is None:
            return landmarks_of(self._tracker.world, self._segment.path)
        return landmarks_of(last[1], last[0].path)

    @property
    def map_pose(self) -> MapPose | None:
        """Pose of the newest frame in the saved map; None where it has none, or is not in it."""
        closer, saved = self._places.closer, self.finder.saved
        if self._newest is None or closer is None or saved is None or closer.map >= 0:
            return None
        if closer.correction is None:
            return None
        number = len(saved.segments) + closer.map  # saved segments are numbered from -1 down
        T = scaled(closer.correction @ self._segment.T_world_cam, closer.scale)
        return MapPose(T, number, saved.segments[number].metric)

    def saved_map(self) -> SavedMap | None:
        """Return the map of this session and the earlier ones; None without loops or keyframes."""
        closer, finder = self._places.closer, self.finder
        if closer is None or self._camera is None or not closer.places.views:
            return None
        return saved_from(
            closer,
            self._camera,
            detector=finder.detector.name,
            place=finder.place,
            before=finder.saved,
        )

    def tell_depth(self, depth: np.ndarray) -> str:
        """Let a metric depth map of the newest frame say the scale; return why it does not.

        Args:
            depth: of a network, along the optical axis, metres; unknown where not above 0, at the
                size of the frame. (H, W)
        """
        newest = self._newest
        if newest is None:
            return "the newest frame has no pose"
        frame, size = newest
        check_shape("tell_depth: depth", depth, f"{size[0]} {size[1]}")
        world, slots = self._tracker.world, self._tracker.tracks.slots
        _, landmarks = world.project(self._tracker.T, slots)
        scale = np.array(size[::-1]) / frame.image.shape[::-1]
        at = np.rint((self._tracker.tracks.pixels + 0.5) * scale - 0.5).astype(int)
        u, v = np.clip(at, 0, (size[1] - 1, size[0] - 1)).T
        mapped = world.sigma[slots] < MAPPED
        return self._segment.metres.tell_depth(
            frame.stamp, landmarks[mapped], depth[v[mapped], u[mapped]]
        )
