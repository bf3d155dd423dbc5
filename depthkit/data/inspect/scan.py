# SPDX-License-Identifier: Apache-2.0
"""One pass over the frames: what each looks like, and how it moves to the next."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from depthkit.data.inspect.ladder import Pair, measured_pair, shows_turn
from depthkit.data.inspect.pictures import Picture, View
from depthkit.multiview.tracks import track

EMPTY = np.zeros((0, 2), np.float32)


@dataclass(frozen=True)
class Look:
    """Figures of one frame without its pixels."""

    faults: tuple[str, ...]
    brightness: float
    saturated: float
    sharpness: float
    digest: bytes
    corners: int


@dataclass(frozen=True)
class Step:
    """From one frame to the next."""

    pair: Pair
    brightness_change: float
    """Grey levels along the tracks; of the means where nothing could be tracked."""
    difference: float
    """Mean absolute difference of the pictures, grey levels."""
    difference_max: float
    """Its 99.9th percentile."""
    difference_deviation: float
    """Standard deviation of the difference: 0 under a mere brightness step."""


@dataclass(frozen=True)
class Scan:
    """What one pass found; None stands for a frame that could not be read, or a pair with one."""

    looks: list[Look | None]
    steps: list[Step | None]
    """steps[i] leads from frame i to i + 1."""
    turns: list[tuple[int, int]]
    """Pairs of frames, some frames apart, between which the camera only turned."""
    turn_stride: int
    """Frames between the starts of the pairs looked at."""


def scan_frames(
    count: int,
    read: Callable[[int], Picture | None],
    view: View,
    *,
    turn_gap: int,
    tick: Callable[[], None] = lambda: None,
) -> Scan:
    """Read frames 0..count-1 once.

    Args:
        count: frames to look at.
        read: returns frame i, or None where it is broken.
        view: the reduced image.
        turn_gap: frames apart at which rotations on the spot are looked for.
        tick: called once a frame.
    """
    recent: deque[Picture | None] = deque(maxlen=turn_gap + 1)
    stride = max(1, turn_gap // 3)
    found = Scan([], [], [], stride)
    for i in range(count):
        picture = read(i)
        recent.append(picture)
        found.looks.append(None if picture is None else _look(picture))
        if i > 0:
            found.steps.append(_step(i - 1, recent[-2], picture, view))
        start = i - turn_gap
        if start >= 0 and start % stride == 0 and _turns(recent[0], picture, view):
            found.turns.append((start, i))
        tick()
    return found


def _turns(a: Picture | None, b: Picture | None, view: View) -> bool:
    if a is None or b is None:
        return False
    found, kept = track(a.structure, b.structure, a.corners)
    return shows_turn(a.corners[kept], found[kept], view)


def _look(picture: Picture) -> Look:
    return Look(
        faults=picture.faults,
        brightness=picture.brightness,
        saturated=picture.saturated,
        sharpness=picture.sharpness,
        digest=picture.digest,
        corners=len(picture.corners),
    )


def _step(i: int, a: Picture | None, b: Picture | None, view: View) -> Step | None:
    if a is None or b is None:
        return None
    pair = _pair(i, i + 1, a, b, view)
    difference = cv2.subtract(b.gray, a.gray, dtype=cv2.CV_32F)
    difference = difference if view.valid is None else difference[view.valid]
    return Step(
        pair=_slim(pair),
        brightness_change=_brightness_change(a, b, pair),
        difference=float(np.abs(difference).mean()),
        difference_max=float(np.percentile(np.abs(difference), 99.9)),
        difference_deviation=float(difference.std()),
    )


def _pair(i: int, j: int, a: Picture, b: Picture, view: View) -> Pair:
    found, kept = track(a.structure, b.structure, a.corners)
    return measured_pair(i, j, a.corners[kept], found[kept], len(a.corners), view)


def _slim(pair: Pair) -> Pair:
    return replace(pair, points_a=EMPTY, points_b=EMPTY)


def _brightness_change(a: Picture, b: Picture, pair: Pair) -> float:
    """Median change of the blurred grey level along the tracks: content that moves drops out."""
    if pair.motion is None:
        return b.brightness - a.brightness
    before = _sample(cv2.blur(a.gray, (5, 5)), pair.points_a)
    after = _sample(cv2.blur(b.gray, (5, 5)), pair.points_b)
    return float(np.median(after - before))


def _sample(gray: np.ndarray, points: np.ndarray) -> np.ndarray:
    column, row = np.rint(points).astype(int).T
    return gray[row, column].astype(np.float64)
