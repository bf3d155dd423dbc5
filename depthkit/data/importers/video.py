# SPDX-License-Identifier: Apache-2.0
"""A video file, or a folder of them, through OpenCV.

Times are the container's where they rise, else index / frame rate. OpenCV applies rotation
metadata. A first pass only counts frames and reads times: a container's own count is a guess.
"""

import os
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from depthkit.data.image_io import natural_key
from depthkit.data.importers.source import FrameRef, ImportOptions, Source, find_camera
from depthkit.errors import DataError

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".m4v", ".webm", ".mpg", ".mpeg", ".mts", ".wmv")
MAX_FPS = 1000.0


def find(root: Path) -> dict[str, Path]:
    """Return the video files, by name without suffix."""
    files = [root] if root.is_file() else sorted(root.iterdir(), key=lambda p: natural_key(p.name))
    return {p.stem: p for p in files if p.suffix.lower() in VIDEO_SUFFIXES and p.name[0] != "."}


def load(place: Path, name: str, options: ImportOptions) -> Source:
    """Count the frames of a video file and read their times."""
    capture = _open(place)
    try:
        size = _first_size(capture, place)
        promised, rate = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), capture.get(cv2.CAP_PROP_FPS)
    finally:
        capture.release()
    camera, calibration = find_camera((place.parent,), size, options)
    stamps = _scan(place, options.stop)
    times, notes = _times(place, stamps, rate, options)
    if options.stop is None and len(stamps) + 1 < promised:
        notes += (f"video ends after {len(stamps)} of {promised} frames: truncated?",)
    return Source(
        name=name,
        format="video",
        frames=tuple(FrameRef(place, i) for i in range(len(stamps))),
        times=times,
        camera=camera,
        notes=notes,
        origin={"calibration": calibration},
        read=partial(read_frames, place),
    )


def read_frames(path: Path, wanted: Collection[int]) -> Iterator[tuple[int, np.ndarray | str]]:
    """Decode a video from its start and yield the wanted frames, RGB, or a word why not.

    Seeking is not used: it lands on the wrong frame in many containers.
    """
    capture = _open(path)
    try:
        for index in range(max(wanted, default=-1) + 1):
            alive = capture.grab()
            if index in wanted:
                bgr = capture.retrieve()[1] if alive else None
                if bgr is None:
                    yield index, f"{path}: frame {index} does not decode"
                else:
                    yield index, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()


def _open(path: Path) -> cv2.VideoCapture:
    if not path.is_file():
        raise DataError(f"{path}: video not found")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # its complaints would bury our line
    backends = cv2.videoio_registry.getStreamBackends()
    backend = cv2.CAP_FFMPEG if cv2.CAP_FFMPEG in backends else cv2.CAP_ANY
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    capture = cv2.VideoCapture(str(path), backend)
    cv2.utils.logging.setLogLevel(level)
    if not capture.isOpened():
        raise DataError(f"{path}: video does not open; is it whole, and its codec known to OpenCV?")
    return capture


def _first_size(capture: cv2.VideoCapture, path: Path) -> tuple[int, int]:
    """Return (H, W) of the first frame as decoded, that is after rotation."""
    ok, frame = capture.read()
    if not ok:
        raise DataError(f"{path}: video opens but holds no frame that decodes")
    return frame.shape[0], frame.shape[1]


def _scan(path: Path, stop: int | None) -> np.ndarray:
    """Return the container's time of each frame, seconds. (N,)"""
    capture, stamps = _open(path), list[float]()
    try:
        while (stop is None or len(stamps) < stop) and capture.grab():
            stamps.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0)
    finally:
        capture.release()
    return np.array(stamps)


def _times(
    path: Path, stamps: np.ndarray, rate: float, options: ImportOptions
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Choose between --fps, the container's times and its frame rate. (N,)"""
    if options.fps is not None:
        return np.arange(len(stamps)) / options.fps, ()
    if np.isfinite(stamps).all() and (np.diff(stamps) > 0).all():
        return stamps, ()
    if not 0 < rate <= MAX_FPS:
        raise DataError(f"{path}: no usable times and a frame rate of {rate:g}; give --fps")
    return np.arange(len(stamps)) / rate, (f"times do not rise: index / {rate:g} fps used",)
