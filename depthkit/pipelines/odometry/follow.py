# SPDX-License-Identifier: Apache-2.0
"""The odometry of a stream of frames, fed with what is known beside them: K, IMU, speed."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from depthkit.errors import DataError
from depthkit.pipelines.odometry.path_log import PathLog
from depthkit.pipelines.odometry.track_pictures import TrackPictures
from depthkit.pipelines.reading import readable
from depthkit.runtime.motion.told import NO_MOTION, Motion, usual_gap
from depthkit.runtime.streams import NO_IMU
from depthkit.trajectory.imu import CSV_NAME

if TYPE_CHECKING:
    from depthkit.data.stream import FrameStream
    from depthkit.pipelines.odometry.options import ScaleSources
    from depthkit.runtime.odometry.finder import Finder
    from depthkit.runtime.odometry.geometric import GeometricOdometry
    from depthkit.runtime.result import OdometryResult, Scale
    from depthkit.trajectory.imu import Imu
    from depthkit.watcher import Watcher

SMALL = 100
"""Pixels of the shorter side below which frames themselves are a likely reason of failure: rendered
rooms work at 160x120 and fail at 60x45."""
GAP = 3.0
"""Longest pause inside a segment where none is given, seconds; longer where frames are slow."""
BEFORE = 5.0
"""Seconds of inertial samples before the first frame that are passed on with it."""


class FollowedOdometry:
    """A geometric odometry at work on one stream; every frame is given its IMU samples and step."""

    def __init__(
        self,
        stream: FrameStream,
        sources: ScaleSources,
        *,
        loops: bool = False,
        max_gap: float | None = None,
        finder: Finder | None = None,
    ) -> None:
        """Set up the odometry for the frames of a stream.

        Args:
            stream: its camera must be known; its IMU is used.
            sources: what may turn lengths into metres.
            loops: look for places that are seen again.
            max_gap: longest pause inside a segment, seconds; None for the usual one.
            finder: recognises what was seen before, also in a saved map; SIFT alone if None.

        Raises:
            DataError: no K, or a saved map of another camera.
            EngineError: an IMU was named, and its place on the camera is unknown.
        """
        if stream.camera is None:
            raise DataError(
                f"{stream.path}: odometry needs K; give --camera FILE, or run 'depthkit prepare' "
                "with --fov DEGREES and give the sequence folder"
            )
        self.K, self.speed = stream.camera.K, sources.speed
        self.imu, self.notes = _usable_imu(stream, sources)
        self.sources = sources.names + (
            ("IMU",) if self.imu is not None and self.imu.has_accel else ()
        )
        if finder is not None:
            finder.check(stream.camera.size, stream.camera.K)
        gap = max(GAP, usual_gap(stream.times)) if max_gap is None else max_gap
        self.odometry = make_odometry(
            sources,
            max_gap=gap,
            loops=loops,
            imu=self.imu,
            valid=stream.covered,
            finder=finder,
        )
        self._last: float | None = None

    @property
    def scale(self) -> Scale:
        """Metric where something may give metres, although single frames may lack them."""
        return "metric" if self.sources else "relative"

    def process(self, rgb: np.ndarray, *, stamp: float) -> OdometryResult:
        """Take the next frame. rgb: (H, W, 3) uint8; stamp: seconds."""
        rows, motion = self.told(stamp)
        return self.odometry.process(rgb, stamp=stamp, K=self.K, imu=rows, motion=motion)

    def told(self, stamp: float) -> tuple[np.ndarray, Motion]:
        """Return the IMU samples (N, 7) and the step up to the next frame; stamp: seconds."""
        last, self._last = self._last, stamp
        rows, motion = NO_IMU, NO_MOTION
        if self.imu is not None:
            rows = self.imu.between(stamp - BEFORE if last is None else last, stamp)
        if self.speed is not None and last is not None:
            motion = Motion(displacement=self.speed * (stamp - last))
        return rows, motion


def follow_all(
    stream: FrameStream, at_work: FollowedOdometry, skipped: list[str], watcher: Watcher
) -> tuple[PathLog, TrackPictures]:
    """Take every readable frame through the odometry.

    Args:
        stream: the frames.
        at_work: the odometry.
        skipped: gets a line for each unreadable frame.
        watcher: receives progress, and notes.

    Raises:
        DataError: no frame has a pose.
    """
    log, tracks, size = PathLog(), TrackPictures(len(stream)), (0, 0)
    for frame, rgb in readable(stream, "odometry", skipped, watcher):
        began = time.perf_counter()
        result = at_work.process(rgb, stamp=frame.time)
        milliseconds = 1e3 * (time.perf_counter() - began)
        log.add(frame, result, milliseconds, in_map=at_work.odometry.map_pose)
        tracks.add(rgb, result.points)
        size = rgb.shape[0], rgb.shape[1]
    if not log.posed:
        reasons = Counter(one.reason for one in log.frames if one.reason)
        why = reasons.most_common(1)[0][0] if reasons else "none could be read"
        small = f" (frames are only {size[1]}x{size[0]} pixels)" if min(size) < SMALL else ""
        raise DataError(f"{stream.path}: no frame has a pose; {why}{small}")
    return log, tracks


def _usable_imu(stream: FrameStream, sources: ScaleSources) -> tuple[Imu | None, tuple[str, ...]]:
    """Return the IMU of a stream; one that nobody named is left out where its place is unknown."""
    imu = stream.imu
    if imu is None or imu.T_cam_imu is not None or str(sources.imu) != "auto":
        return imu, ()
    note = "the IMU is not used: its place on the camera is unknown; give --imu-to-camera FILE"
    return None, (note,)


def make_odometry(
    sources: ScaleSources,
    *,
    max_gap: float,
    loops: bool,
    imu: Imu | None,
    valid: np.ndarray | None,
    finder: Finder | None = None,
) -> GeometricOdometry:
    """Make the odometry of all doors.

    Args:
        sources: what may turn lengths into metres.
        max_gap: longest pause inside a segment, seconds.
        loops: look for places that are seen again.
        imu: samples and mounting of an IMU.
        valid: pixels that are picture at all. (H, W) bool
        finder: recognises what was seen before; SIFT if None.
    """
    from depthkit.runtime.odometry.geometric import GeometricConfig, GeometricOdometry

    config = GeometricConfig(
        camera_height=sources.camera_height or 0.0,
        step_source="speed",
        max_gap=max_gap,
        loops=loops,
    )
    return GeometricOdometry(config, imu=imu, valid=valid, finder=finder)


def give_wanted_imu(
    stream: FrameStream,
    wanted: str | Path,
    *,
    to_camera: Path | None = None,
    units: str = "",
) -> FrameStream:
    """Give a stream the inertial samples that are wanted.

    Args:
        stream: sequence folders, bags and some data sets have an IMU of their own.
        wanted: auto for that of the stream, none, or a table of samples or folder with imu.csv.
        to_camera: file with T_cam_imu (4x4); None for what the source says.
        units: of the samples, such as 'deg/s,g'; empty for those that are stated.

    Raises:
        DataError: a file that holds no samples, or none at the time of the frames.
    """
    from depthkit.data.imu_stream import ImuOptions, give_imu

    if str(wanted) == "none":
        return replace(stream, imu=None)
    file = None if str(wanted) == "auto" else Path(wanted)
    if file is not None and file.is_dir():
        file /= CSV_NAME
    return give_imu(stream, ImuOptions(file, to_camera, units))
