# SPDX-License-Identifier: Apache-2.0
"""Do an adopted network's answers agree with what was said of it? Range, and order against tracks.

A wrong normalisation still gives a picture; a disparity taken for depth gives an inside-out world.
The geometric odometry needs no network and knows which points are near: the ranks of both depths
are compared (Spearman), which asks for neither scale nor shift.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from depthkit.errors import ConfigError, DataError, DepthkitError
from depthkit.watcher import SILENT, Watcher

if TYPE_CHECKING:
    from depthkit.data.stream import FrameStream
    from depthkit.runtime.depth.depth_engine import DepthEngine
    from depthkit.runtime.network.manifest import Manifest
    from depthkit.runtime.result import OdometryResult

DEMO = Path("demo")
"""In place of a source: a short flight through a room that is rendered on the spot."""
METRES = (0.05, 1000.0)
"""Range of the median depth of a network that says metres."""
LEAST_KNOWN = 0.1
"""Share of pixels that a network must know."""
DOUBT, FEWEST_POINTS, FRAMES, LOOKED_AT = 0.3, 30, 8, 400
"""Rank correlations nearer to 0 than DOUBT say nothing: for unrelated numbers their standard
deviation is 1 / sqrt(29) = 0.19 over FEWEST_POINTS points of a frame, and less than half of that
for the median over FRAMES. Frames of the source that are LOOKED_AT at most."""
SPREAD = 1.2
"""Ratio of the far to the near tracks (90th and 10th percentile) that gives an order."""
FEW = 4
"""Frames whose values are looked at."""
_CAMERA = (480, 640)
_DEMO_FRAMES, _DEMO_SIZE = 14, (120, 160)


@dataclass(frozen=True)
class Source:
    """Frames to try a network on."""

    path: Path
    """Sequence folder, images, video or bag; or the word demo."""
    camera: Path | None = None
    """Calibration file."""
    fov: float | None = None
    """Without a calibration: horizontal field of view of a pinhole, degrees."""


def make_source(path: Path | None, camera: Path | None, fov: float | None) -> Source | None:
    """Put together what a network is tried on.

    Raises:
        ConfigError: a camera of no frames, or two cameras.
    """
    if path is None and (camera is not None or fov is not None):
        raise ConfigError("camera and fov are those of the frames to try: give --try SOURCE")
    if camera is not None and fov is not None:
        raise ConfigError("camera and fov are two answers to one question; give one of the two")
    return None if path is None else Source(path, camera, fov)


def judge(
    file: Path,
    manifest: Manifest,
    *,
    source: Source | None = None,
    force: bool = False,
    watcher: Watcher = SILENT,
) -> tuple[str, ...]:
    """Look at a network's answers.

    Args:
        file: the adopted file.
        manifest: what was said of it.
        source: frames of a moving camera; without them only ranges are looked at.
        force: turn a contradiction into a note.
        watcher: receives progress.

    Returns:
        Notes for the user.

    Raises:
        DataError: the answers contradict what was said.
    """
    if manifest.kind != "mono":
        return ()
    from depthkit.runtime.depth.depth_engine import DepthEngine

    with DepthEngine.open(file, backend="onnxruntime") as engine:
        notes, contradictions = _look(engine, source, watcher)
    if contradictions and not force:
        raise DataError(f"{'; '.join(contradictions)}; --force adopts it all the same")
    return (*notes, *(f"adopted by force: {one}" for one in contradictions))


def _look(
    engine: DepthEngine, source: Source | None, watcher: Watcher
) -> tuple[list[str], list[str]]:
    """Return notes and contradictions from the frames of a source, or from drawn ones."""
    if source is None:
        found = check_range(engine, drawn_frames())
        hint = "order of depths not looked at: give --try SOURCE (a video, or the word demo)"
        # A sky or a mask may take drawings for no scene at all; a contradiction needs a scene.
        return ([*found, hint], []) if engine.manifest.validity else ([hint], found)
    try:
        with _opened(source) as stream:
            K = None if stream.camera is None else stream.camera.K
            wrong = check_range(engine, first_frames(stream), K)
            if wrong:
                return [], wrong
            order = check_order(engine, stream, watcher)
    except DepthkitError as error:
        if not source.path.exists() and source.path != DEMO:
            raise
        return [f"order of depths not compared: {error}"], []
    return ([], [order.words]) if order.refused else ([order.words], [])


def first_frames(stream: FrameStream) -> list[np.ndarray]:
    """Return a few frames of the beginning of a stream. (H, W, 3) uint8 each"""
    step = max(1, min(len(stream), LOOKED_AT) // FEW)
    chosen = (frame.rgb for i, frame in enumerate(stream.frames()) if i % step == 0)
    return [rgb for rgb in islice(chosen, FEW) if rgb is not None]


def drawn_frames() -> list[np.ndarray]:
    """Return drawn pictures at a camera's size. (H, W, 3) uint8 each"""
    from depthkit.export.pictures import draw_views

    return [draw_views(_CAMERA, seed=seed).later for seed in range(1, FEW + 1)]


def check_range(
    engine: DepthEngine, frames: list[np.ndarray], K: np.ndarray | None = None
) -> list[str]:
    """Return what is wrong with the values of a network; empty where nothing is.

    Args:
        engine: the network.
        frames: of one size. (H, W, 3) uint8 each
        K: their intrinsics, those of a camera of 53 degrees where None. (3, 3)
    """
    if not frames:
        return []
    if K is None:
        height, width = frames[0].shape[:2]
        K = np.array([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1.0]])
    known, medians = 0.0, []
    for rgb in frames:
        result = engine.depth(rgb, K=K)
        if result.depth is not None and result.valid is not None and result.valid.any():
            known += float(result.valid.mean()) / len(frames)
            medians.append(float(np.median(result.depth[result.valid])))
    quantity = engine.manifest.quantity
    if known < LEAST_KNOWN:
        return [
            f"depth is known on {known:.0%} of the pixels looked at: --output {quantity}, "
            "--normalise or --validity is wrong"
        ]
    median = float(np.median(medians))
    if engine.manifest.scale == "metric" and not METRES[0] <= median <= METRES[1]:
        return [
            f"median depth is {median:.3g} m, expected {METRES[0]:g} to "
            f"{METRES[1]:g}: no metres; give --unit, or --ambiguity scale"
        ]
    return []


@dataclass(frozen=True)
class Order:
    """How the order of depths compares with that of tracks."""

    correlation: float | None
    """Median rank correlation over the frames; None where there was nothing to compare."""
    frames: int
    words: str

    @property
    def refused(self) -> bool:
        """Whether near and far are exchanged."""
        return self.correlation is not None and self.correlation <= -DOUBT


def check_order(engine: DepthEngine, stream: FrameStream, watcher: Watcher = SILENT) -> Order:
    """Compare the order of a network's depths with that of the odometry's points.

    Args:
        engine: the network.
        stream: frames of a moving camera, with K.
        watcher: receives progress.

    Raises:
        DataError: no K, or too many unreadable frames.
    """
    ranks = list(_correlations(engine, stream, watcher))
    if not ranks:
        why = "no frame has enough tracked points at different depths: the camera must move"
        return Order(None, 0, f"order of depths not compared: {why}")
    middle = float(np.median(ranks))
    seen = f"rank correlation {middle:.2f} with tracked points on {len(ranks)} frames"
    if middle <= -DOUBT:
        other = "depth" if engine.manifest.quantity in ("inverse", "disparity") else "disparity"
        words = f"depth and disparity seem exchanged ({seen}): give --output {other}"
    elif middle < DOUBT:
        words = f"{seen}: the order of depths is not confirmed; look at --normalise and --colour"
    else:
        words = f"{seen}: near and far are the right way round"
    return Order(middle, len(ranks), words)


@contextmanager
def _opened(source: Source) -> Iterator[FrameStream]:
    """Open the frames; a demo is rendered for as long as the context lasts."""
    from depthkit.data.bag import NO_TOPIC
    from depthkit.data.calibrated_stream import open_calibrated

    if source.path != DEMO or source.path.exists():
        yield open_calibrated(source.path, camera=source.camera, fov=source.fov, imu_topic=NO_TOPIC)
        return
    from depthkit.synth.boxes import write_flight
    from depthkit.synth.path import camera_path

    with TemporaryDirectory(prefix="depthkit_") as folder:
        flight = Path(folder) / "flight"
        write_flight(flight, camera_path(_DEMO_FRAMES, 1, 0.12), _DEMO_SIZE, seed=1)
        yield open_calibrated(flight, imu_topic=NO_TOPIC)


def _correlations(engine: DepthEngine, stream: FrameStream, watcher: Watcher) -> Iterator[float]:
    """Follow the camera and yield the correlation of frames with enough points."""
    from depthkit.evaluation.rank import rank_correlation
    from depthkit.pipelines.odometry.follow import FollowedOdometry
    from depthkit.pipelines.odometry.options import ScaleSources
    from depthkit.pipelines.reading import readable

    at_work = FollowedOdometry(stream, ScaleSources(imu="none"))
    every, found = max(1, min(len(stream), LOOKED_AT) // (2 * FRAMES)), 0
    for i, (frame, rgb) in enumerate(readable(stream, "tracks", [], watcher)):
        tracked = at_work.process(rgb, stamp=frame.time)
        if i % every or (points := _depths_of_tracks(tracked, rgb.shape[:2])) is None:
            continue
        result = engine.depth(rgb, K=at_work.K)
        if result.depth is None or result.valid is None:
            continue
        rows, columns = points[0]
        good = result.valid[rows, columns]
        if good.sum() >= FEWEST_POINTS and np.ptp(result.depth[rows, columns][good]) > 0:
            yield rank_correlation(result.depth[rows, columns][good], points[1][good])
            found += 1
        if found == FRAMES or i + 1 >= LOOKED_AT:
            return


def _depths_of_tracks(
    tracked: OdometryResult, size: tuple[int, int]
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray] | None:
    """Return pixels (rows, columns) of tracked points and their depth; None without an order."""
    points = tracked.points
    if points is None or len(points.pixels) < FEWEST_POINTS:
        return None
    from depthkit.rigid import inverse

    T_cam_world = inverse(tracked.T_world_cam)
    depth = points.positions @ T_cam_world[2, :3] + T_cam_world[2, 3]
    columns, rows = np.rint(points.pixels).astype(int).T
    keep = (depth > 0) & (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
    if keep.sum() < FEWEST_POINTS:
        return None
    near, far = np.percentile(depth[keep], [10, 90])
    return ((rows[keep], columns[keep]), depth[keep]) if far >= SPREAD * near else None
