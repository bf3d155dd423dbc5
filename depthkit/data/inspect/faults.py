# SPDX-License-Identifier: Apache-2.0
"""From the figures of a scan to named faults: static, duplicate, rotation-only, jumps, breaks."""

from collections.abc import Callable, Iterable

import numpy as np

from depthkit.data.inspect.ladder import STILL
from depthkit.data.inspect.pictures import Picture, View
from depthkit.data.inspect.scan import Look, Scan, Step
from depthkit.multiview.tracks import track
from depthkit.multiview.two_view import flow_of_cells

STILL_STEP = 0.15
"""Reduced pixels of coherent flow from one frame to the next without camera motion."""
STILL_DIFFERENCE = 1.5
"""Grey levels of deviation between frames without texture that are still the same picture."""
DUPLICATE = (0.5, 3.0)
"""Grey levels, mean and 99.9th percentile: a re-encoded copy stays below, sensor noise does not."""
MIN_STATIC = 3
"""Frames: shorter standstills are duplicates or chance."""
MIN_TURNS = 3
JUMP_LEVELS = 12.0
JUMP_RATIO = 4.0
"""A brightness jump is JUMP_LEVELS and this many times the sequence's median change."""
BREAK_KEPT = 0.15
BREAK_ERROR = 0.6
"""Reduced pixels, median distance to the epipolar lines."""
BREAK_CORNERS = 60
BLUR_RATIO = 0.3
BLUR_WINDOW = 31
"""Frames: a blurred one has BLUR_RATIO of the median sharpness of this neighbourhood."""
TIME_RATIO = 2.5

Span = tuple[int, int]


def duplicates(scan: Scan) -> tuple[int, ...]:
    """Frames that repeat an earlier file byte for byte, or the frame before to the eye."""
    seen: set[bytes] = set()
    found = []
    for i, look in enumerate(scan.looks):
        if look is None:
            continue
        if look.digest in seen or (i > 0 and _is_copy(scan.steps[i - 1])):
            found.append(i)
        seen.add(look.digest)
    return tuple(found)


def static_spans(scan: Scan, read: Callable[[int], Picture | None], view: View) -> tuple[Span, ...]:
    """Spans in which the camera stands.

    Single steps below STILL_STEP make candidates; a slow camera makes such steps too, so of each
    candidate only the stretches of ten frames count whose ends have not moved either.
    """
    still = [_is_still(step) for step in scan.steps]
    stands = np.zeros(len(scan.steps), bool)
    for start, end in runs(still):
        for a in range(start, end + 1, 10):
            b = min(a + 10, end + 1)
            stands[a:b] = _stands(a, b, read, view)
    spans = [(start, end + 1) for start, end in runs(stands)]
    return tuple(span for span in spans if span[1] - span[0] + 1 >= MIN_STATIC)


def rotation_spans(scan: Scan) -> tuple[Span, ...]:
    """Spans in which the camera only turns: the union of the pairs that show it.

    MIN_TURNS neighbouring pairs must agree: a fast pan hides a small step now and then.
    """
    starts = np.array([a for a, _ in scan.turns], int)
    inside = np.zeros(len(scan.looks), bool)
    for first, last in runs(np.diff(starts) == scan.turn_stride) if len(starts) else []:
        if last - first + 2 >= MIN_TURNS:
            inside[starts[first] : scan.turns[last + 1][1] + 1] = True
    return tuple(runs(inside))


def brightness_jumps(scan: Scan) -> tuple[tuple[int, float], ...]:
    """(i, grey levels) between i and i + 1, far above the usual flicker."""
    changes = {i: s.brightness_change for i, s in enumerate(scan.steps) if s is not None}
    usual = float(np.median(np.abs(list(changes.values())))) if changes else 0.0
    limit = max(JUMP_LEVELS, JUMP_RATIO * usual)
    return tuple((i, round(c, 1)) for i, c in changes.items() if abs(c) >= limit)


def breaks(scan: Scan) -> tuple[int, ...]:
    """i where i and i + 1 share almost nothing though both are full of corners."""
    return tuple(
        i
        for i, step in enumerate(scan.steps)
        if step is not None
        and _is_unrelated(step)
        and _has_corners(scan.looks[i])
        and _has_corners(scan.looks[i + 1])
    )


def blurred(scan: Scan) -> tuple[int, ...]:
    """Frames far less sharp than their neighbourhood."""
    if all(look is None for look in scan.looks):
        return ()
    sharp = np.array([np.nan if look is None else look.sharpness for look in scan.looks])
    half = BLUR_WINDOW // 2
    return tuple(
        i
        for i in range(len(sharp))
        if np.isfinite(sharp[i])
        and sharp[i] < BLUR_RATIO * np.nanmedian(sharp[max(0, i - half) : i + half + 1])
    )


def time_gaps(times: np.ndarray) -> tuple[tuple[int, float], ...]:
    """(i, seconds) where the time to the next frame is far above the usual."""
    steps = np.diff(times)
    if len(steps) == 0:
        return ()
    wide = np.flatnonzero(steps > TIME_RATIO * np.median(steps))
    return tuple((int(i), float(steps[i])) for i in wide)


def runs(flags: Iterable[bool]) -> list[Span]:
    """Inclusive spans of consecutive True."""
    edges = np.diff(np.concatenate([[0], np.asarray(list(flags), np.int8), [0]]))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
    return [(int(s), int(e)) for s, e in zip(starts, ends, strict=True)]


def _is_copy(step: Step | None) -> bool:
    return step is not None and (
        step.difference <= DUPLICATE[0] and step.difference_max <= DUPLICATE[1]
    )


def _is_still(step: Step | None) -> bool:
    if step is None:
        return False
    if np.isfinite(step.pair.flow):
        return step.pair.flow < STILL_STEP
    return step.difference_deviation < STILL_DIFFERENCE


def _stands(a: int, b: int, read: Callable[[int], Picture | None], view: View) -> bool:
    first, last = read(a), read(b)
    if first is None or last is None:
        return False
    found, kept = track(first.structure, last.structure, first.corners)
    flow = flow_of_cells(first.corners[kept], found[kept], view.size)
    return not flow > STILL  # NaN: nothing to track, the pictures themselves are alike


def _is_unrelated(step: Step) -> bool:
    """Few tracks survive, and those that do obey no common motion: a fast turn still obeys one."""
    motion = step.pair.motion
    return step.pair.kept < BREAK_KEPT and (motion is None or motion.epipolar_error > BREAK_ERROR)


def _has_corners(look: Look | None) -> bool:
    return look is not None and look.corners >= BREAK_CORNERS
