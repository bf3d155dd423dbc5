# SPDX-License-Identifier: Apache-2.0
"""The frames of a reconstruction with the camera that took them, whatever is known of it.

K is that of a calibration, of --fov or of EXIF; else the motion of points tells the focal length,
or a usual one is assumed. Which of these it is goes into the summary and the report.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from depthkit.camera import Camera
from depthkit.data.bag import NO_TOPIC
from depthkit.data.calibrated_stream import open_calibrated
from depthkit.data.cropping import crop_stream
from depthkit.errors import DataError
from depthkit.pipelines.odometry.follow import give_wanted_imu

if TYPE_CHECKING:
    from depthkit.data.stream import FrameStream, StreamFrame
    from depthkit.pipelines.reconstruct.options import ReconstructOptions
    from depthkit.runtime.odometry.focal_search import FoundFocal
    from depthkit.watcher import Watcher

LEAST = 2
"""Frames between which there can be motion."""
STRETCH, RATE = 120, 10.0
"""Frames that the search for a focal length looks at, and how many a second of them."""
SAME_VIEW = 0.01
"""Degrees between two views that are one: a calibration file beside the frames overrules --fov."""
OF_EXIF = "no calibration: focal length from EXIF"

Origin = Literal["calibration", "field of view", "EXIF", "tracks", "assumed"]


@dataclass(frozen=True)
class KnownCamera:
    """The camera of the frames and where it came from."""

    origin: Origin
    """calibration: a file or the data set; field of view: --fov; EXIF; tracks: found from the
    motion of points; assumed: a usual one."""
    focal: float
    """Horizontal focal length, pixels of the frames."""
    field_of_view: float
    """Width of the view, degrees."""
    sigma: float | None
    """Relative standard deviation of the focal length; None where nobody says it."""
    words: str
    """One sentence on it."""


def open_frames(
    options: ReconstructOptions, watcher: Watcher
) -> tuple[FrameStream, KnownCamera, tuple[str, ...]]:
    """Open the source with a camera.

    Args:
        options: what to read, and what is known.
        watcher: receives the progress of the search for a focal length.

    Returns:
        stream: its camera is known, found or assumed.
        camera: where it came from.
        assumed: what the source leaves open and was taken, one sentence each.

    Raises:
        DataError: nothing to read, or a single picture.
    """
    stream = open_calibrated(
        options.source,
        camera=options.camera,
        fov=options.fov,
        every=options.every,
        topic=options.topic,
        bits=options.bits,
        imu_topic=options.imu_topic if str(options.scale.imu) == "auto" else NO_TOPIC,
        required=False,
    )
    if len(stream) < LEAST:
        raise DataError(
            f"{options.source}: holds {len(stream)} picture; reconstruct needs a video of a moving "
            "camera, or a folder of its frames"
        )
    stream = give_wanted_imu(
        stream, options.scale.imu, to_camera=options.imu_to_camera, units=options.imu_units
    )
    assumed = stream.notes
    stream = crop_stream(stream, "mask")
    if options.size is not None:
        stream = _resized(stream, options.size)
    stream, camera = _with_camera(stream, options, assumed, watcher)
    return stream, camera, assumed


def _with_camera(
    stream: FrameStream, options: ReconstructOptions, notes: tuple[str, ...], watcher: Watcher
) -> tuple[FrameStream, KnownCamera]:
    """Say where the camera came from; look for one where there is none."""
    if stream.camera is None:
        return _find_camera(stream, watcher)
    exif = next((note for note in notes if note.startswith(OF_EXIF)), "")
    if exif:
        return stream, _known("EXIF", stream.camera, exif.partition(";")[0])
    known = _known("calibration", stream.camera, "calibrated: by a file, or by the data set")
    if options.fov is not None and abs(known.field_of_view - options.fov) < SAME_VIEW:
        words = f"a pinhole {options.fov:g} degrees wide, as --fov says; no distortion"
        return stream, replace(known, origin="field of view", words=words)
    return stream, known


def _known(origin: Origin, camera: Camera, words: str, sigma: float | None = None) -> KnownCamera:
    view = math.degrees(2 * math.atan(0.5 * camera.width / camera.fx))
    return KnownCamera(origin, round(camera.fx, 2), round(view, 2), sigma, words)


def _find_camera(stream: FrameStream, watcher: Watcher) -> tuple[FrameStream, KnownCamera]:
    """Search the focal length at the start of the video, then in its middle; else assume one."""
    from depthkit.runtime.odometry.focal_search import search_focal

    found, size = None, (0, 0)
    for start in _starts(stream):
        frames, times, size = _stretch(stream, start, watcher)
        if len(frames) >= LEAST:
            found = search_focal(frames, times)
            if found.sigma is not None:
                break
    if found is None:
        raise DataError(f"{stream.path}: no frame can be read")
    height, width = size
    f = found.focal * width
    camera = Camera(width, height, f, f, (width - 1) / 2, (height - 1) / 2)
    known = _known("assumed" if found.sigma is None else "tracks", camera, "", found.sigma)
    return replace(stream, camera=camera), replace(known, words=_words(found, known))


def _words(found: FoundFocal, known: KnownCamera) -> str:
    pinhole = "no distortion, principal point in the middle"
    if found.sigma is None:
        return (
            f"no calibration, and the motion of points does not tell the focal length "
            f"({found.reason}): a usual view {known.field_of_view:.0f} degrees wide is ASSUMED, "
            f"{pinhole}; shapes may be wrong; give --camera FILE or --fov DEGREES"
        )
    return (
        f"no calibration: focal length found from the motion of points, {known.focal:.0f} px "
        f"+- {100 * found.sigma:.0f} %, a view {known.field_of_view:.0f} degrees wide "
        f"({found.fits} sets of keyframes agree); {pinhole} assumed; --camera or --fov overrides it"
    )


def _starts(stream: FrameStream) -> list[int]:
    """Return the first frames of the stretches that are looked at."""
    taken = STRETCH * _step(stream)
    return [0] if len(stream) < 2 * taken else [0, (len(stream) - taken) // 2]


def _step(stream: FrameStream) -> int:
    """Return the stride that makes about RATE frames a second."""
    gap = float(np.median(np.diff(stream.times)))
    return max(1, round(1 / (RATE * gap)))


def _stretch(
    stream: FrameStream, start: int, watcher: Watcher
) -> tuple[list[np.ndarray], np.ndarray, tuple[int, int]]:
    """Read a stretch, reduced; return frames, times (N,) and the size (H, W) of the source."""
    from depthkit.runtime.odometry.focal_search import reduced

    step, frames, times, size = _step(stream), list[np.ndarray](), list[float](), (0, 0)
    stop = min(len(stream), start + STRETCH * step)
    chosen = islice(stream.frames(), start, stop)
    for i, frame in enumerate(watcher.track(chosen, "camera", stop - start)):
        if i % step == 0 and frame.rgb is not None:
            size = frame.rgb.shape[0], frame.rgb.shape[1]
            frames.append(reduced(frame.rgb))
            times.append(frame.time)
    return frames, np.array(times), size


def _resized(stream: FrameStream, size: tuple[int, int]) -> FrameStream:
    """Resize every frame, and the camera with them. size: (H, W)"""

    def frames() -> Iterator[StreamFrame]:
        for frame in stream.frames():
            rgb = frame.rgb
            if rgb is not None:
                rgb = np.asarray(cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_AREA))
            yield replace(frame, rgb=rgb)

    covered = stream.covered
    if covered is not None:
        mask = cv2.resize(covered.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST)
        covered = mask.astype(bool)
    camera = None if stream.camera is None else stream.camera.resized(size)
    return replace(stream, frames=frames, covered=covered, camera=camera)
