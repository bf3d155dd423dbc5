# SPDX-License-Identifier: Apache-2.0
"""A video file, a folder of them, or a recording in chapters, through OpenCV.

Times are the container's where they rise, else index / frame rate. OpenCV applies rotation
metadata. A first pass only counts frames and reads times: a container's own count is a guess.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from depthkit.data.image_io import list_images
from depthkit.data.importers.chapters import join_chapters, say_missing
from depthkit.data.importers.lying_there import name_unread
from depthkit.data.importers.source import (
    FrameRef,
    ImportOptions,
    Source,
)
from depthkit.data.importers.video_camera import find_video_camera
from depthkit.data.importers.video_file import (
    VideoFacts,
    find_missing,
    is_video_file,
    list_videos,
    look_at,
    open_video,
)
from depthkit.data.importers.video_times import FrameTimes, choose_times
from depthkit.errors import DataError


@dataclass(frozen=True)
class Part:
    """One file of a recording, as far as it was read."""

    facts: VideoFacts
    count: int
    """Frames taken of it."""
    times: FrameTimes
    notes: tuple[str, ...]


def find(root: Path) -> dict[str, Path]:
    """Return the video files, by name without suffix where that is unique; chapters as one."""
    if root.is_file():
        return {root.stem: root} if is_video_file(root) else {}
    firsts = [group[0] for group in _recordings(root)]
    stems = Counter(path.stem for path in firsts)
    return {path.stem if stems[path.stem] == 1 else path.name: path for path in firsts}


def load(place: Path, name: str, options: ImportOptions) -> Source:
    """Count the frames of a video, or of all chapters of a recording, and read their times."""
    files = _files_of(place, options)
    facts = [look_at(path) for path in files]
    _check_sizes(facts)
    camera, calibration, about_camera = find_video_camera(facts[0], options)
    parts = _read_parts(facts, options)
    frames = [FrameRef(part.facts.path) for part in parts for _ in range(part.count)]
    times, about_times = _join_times(parts, options)
    notes = (*about_camera, *(note for part in parts for note in part.notes), *about_times)
    return Source(
        name=name,
        format="video",
        frames=tuple(replace(frame, index=i) for i, frame in enumerate(frames)),
        times=times,
        camera=camera,
        notes=(*notes, *_about_place(files, options)),
        assumed=_assumed(parts, options),
        origin={"calibration": calibration},
        read=partial(_read_in_turn, tuple((part.facts.path, part.count) for part in parts)),
    )


def read_frames(path: Path, wanted: Collection[int]) -> Iterator[tuple[int, np.ndarray | str]]:
    """Decode a video from its start and yield the wanted frames, RGB, or a word why not.

    Seeking is not used: it lands on the wrong frame in many containers.
    """
    capture = open_video(path)
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


def _read_in_turn(
    parts: Sequence[tuple[Path, int]], wanted: Collection[int]
) -> Iterator[tuple[int, np.ndarray | str]]:
    """Read frames of chapters, whose indices go on from file to file."""
    start = 0
    for path, count in parts:
        own = {index - start for index in wanted if start <= index < start + count}
        if own:
            yield from ((index + start, found) for index, found in read_frames(path, own))
        start += count


# --- files ---------------------------------------------------------------------------------------


def _recordings(folder: Path) -> list[tuple[Path, ...]]:
    return join_chapters(list_videos(folder))


def _files_of(place: Path, options: ImportOptions) -> tuple[Path, ...]:
    """Return the chapters that begin with a file; a file that was given by itself is alone."""
    if options.root.is_file():
        return (place,)
    groups = _recordings(place.parent)
    return next((group for group in groups if group[0] == place), (place,))


def _check_sizes(facts: Sequence[VideoFacts]) -> None:
    for other in facts[1:]:
        if other.size != facts[0].size:
            sizes = [f"{one.path.name} is {one.size[1]}x{one.size[0]}" for one in (facts[0], other)]
            raise DataError(
                f"{other.path}: chapters of one recording differ in size ({', '.join(sizes)}); "
                "give the files one by one"
            )


def _about_place(files: Sequence[Path], options: ImportOptions) -> tuple[str, ...]:
    """Say what belongs together, what is missing of it, and what lies beside it."""
    notes = [say_missing(files[0])]
    if len(files) > 1:
        notes.append(f"{', '.join(path.name for path in files)} are chapters of one recording")
    if options.root.is_file():
        groups = [group for group in _recordings(files[0].parent) if files[0] in group[:-1]]
        notes += [f"{group[0].name} goes on in other files; give the folder" for group in groups]
    elif pictures := list_images(files[0].parent):
        notes.append(f"{len(pictures)} pictures lie there too (--format images takes them)")
    else:
        notes.append(name_unread(files[0].parent))
    return tuple(note for note in notes if note)


# --- times ---------------------------------------------------------------------------------------


def _read_parts(facts: Sequence[VideoFacts], options: ImportOptions) -> list[Part]:
    """Count frames file by file, no further than --frames goes."""
    parts, left = list[Part](), options.stop
    for one in facts:
        if left is not None and left <= 0:
            break
        stamps, last = _scan(one, left)
        if not len(stamps):
            raise DataError(f"{one.path}: none of its frames decodes")
        times = _times_of(one, stamps, options)
        is_cut = left is not None and len(stamps) >= left
        missing = "" if is_cut else find_missing(one, len(stamps), last, times.step)
        notes = [f"{one.path.name}: {missing}" if len(facts) > 1 else missing] if missing else []
        parts.append(Part(one, len(stamps), times, tuple(notes)))
        left = None if left is None else left - len(stamps)
    return parts


def _scan(facts: VideoFacts, stop: int | None) -> tuple[np.ndarray, float | None]:
    """Return the time of each frame, and of the last one by the file's own zero, seconds. (N,)"""
    capture, stamps, last = open_video(facts.path), list[float](), -1.0
    pts = getattr(cv2, "CAP_PROP_PTS", None)  # OpenCV 4.12 on; in units of 1 / rate
    try:
        while (stop is None or len(stamps) < stop) and capture.grab():
            stamps.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0)
            last = max(last, capture.get(pts)) if pts is not None else last
    finally:
        capture.release()
    return np.array(stamps), last / facts.rate if last >= 0 and facts.rate > 0 else None


def _times_of(facts: VideoFacts, stamps: np.ndarray, options: ImportOptions) -> FrameTimes:
    if options.fps is not None:
        return FrameTimes(np.arange(len(stamps)) / options.fps, 1.0 / options.fps)
    return choose_times(facts, stamps)


def _join_times(
    parts: Sequence[Part], options: ImportOptions
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Let each chapter begin where the one before ends. (N,)"""
    if options.fps is not None:
        return np.arange(sum(part.count for part in parts)) / options.fps, ()
    joined, end = list[np.ndarray](), 0.0
    for part in parts:
        times = part.times.times - part.times.times[0] + end if joined else part.times.times
        joined.append(times)
        end = float(times[-1]) + part.times.step
    return np.concatenate(joined), tuple(note for part in parts for note in part.times.notes)


def _assumed(parts: Sequence[Part], options: ImportOptions) -> tuple[str, ...]:
    sentences = [sentence for part in parts for sentence in part.times.assumed]
    if (bits := parts[0].facts.grey_bits) > 8:
        sentences.append(
            f"grey of {bits} bit: OpenCV keeps the upper 8 of a video; pictures keep all "
            "(ffmpeg -i IN DIR/%06d.png)"
        )
    if len(parts) > 1 and options.fps is None:
        sentences.append("a chapter begins one frame after the last one of the chapter before")
    return tuple(dict.fromkeys(sentences))
