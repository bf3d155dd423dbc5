# SPDX-License-Identifier: Apache-2.0
"""The data doctor: reads one sequence and reports whether it can teach depth, and how.

`inspect_sequence` reads every frame; `suggest_shifts` reads a few dozen and takes seconds.
"""

from collections import Counter
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from depthkit.data.inspect import faults as find
from depthkit.data.inspect.imu import check_imu
from depthkit.data.inspect.ladder import (
    LADDER,
    GapFigures,
    Pair,
    choose_gap,
    climb,
    is_enough,
    is_lost,
)
from depthkit.data.inspect.pictures import Picture, View, read_picture, view_of
from depthkit.data.inspect.poses import check_camera, check_poses
from depthkit.data.inspect.record import EXCLUDING, FAULTS, FrameFigures, Inspection
from depthkit.data.inspect.scan import Scan, scan_frames
from depthkit.data.inspect.verdict import Case, advise, judge
from depthkit.data.sequence import Sequence
from depthkit.errors import DataError

ANCHORS = 16
QUICK_ANCHORS = 12
MIN_ANCHORS = 6
CACHED = 96
"""Reduced frames kept in memory, 0.3 MB each; chains from neighbouring anchors share them."""
TURN_FLOW = 5.0
"""Training pixels of flow at which rotations are looked for."""
MAX_TURN_GAP = 10
WRONG_SIZE = "camera.yaml says"
"""Part of the error line of a frame of another size than the camera."""


class _Reader:
    """Frames of one sequence with the reasons of those that do not read."""

    def __init__(self, seq: Sequence, view: View) -> None:
        self.seq, self.view = seq, view
        self.reasons: dict[int, str] = {}
        self.get: Callable[[int], Picture | None] = lru_cache(maxsize=CACHED)(self._read)

    def _read(self, i: int) -> Picture | None:
        if i >= len(self.seq):
            return None
        try:
            return read_picture(self.seq, i, self.view)
        except DataError as error:
            self.reasons[i] = str(error)
            return None


def suggest_shifts(seq: Sequence, *, anchors: int = QUICK_ANCHORS) -> tuple[int, ...]:
    """Suggest source shifts for training from a sample of the frames.

    Args:
        seq: the sequence.
        anchors: frames to start from, spread over the sequence.

    Returns:
        (-gap, gap), frames.

    Raises:
        DataError: no gap shows enough parallax; the message says what was seen.
    """
    view = view_of(seq)
    figures, _ = _climb(seq, _Reader(seq, view), anchors, enough=is_enough)
    gap, reason = choose_gap(figures)
    if gap is None:
        raise DataError(f"{seq.name}: no shift to suggest: {reason}; run 'depthkit inspect'")
    return (-gap, gap)


def inspect_sequence(
    seq: Sequence,
    *,
    max_frames: int | None = None,
    tick: Callable[[], None] = lambda: None,
) -> Inspection:
    """Look through a sequence.

    Args:
        seq: the sequence.
        max_frames: look at the first frames only, one by one; all if None.
        tick: called after each frame, for a progress bar.

    Returns:
        All findings; see `Inspection`.
    """
    view = view_of(seq)
    reader = _Reader(seq, view)
    count = min(len(seq), max_frames or len(seq))
    figures, pairs = _climb(seq, reader, ANCHORS, enough=is_lost)
    scan = scan_frames(count, reader.get, view, turn_gap=_turn_gap(pairs, view, count), tick=tick)
    return _conclude(seq, reader, scan, figures, pairs)


def _climb(
    seq: Sequence, reader: _Reader, anchors: int, *, enough: Callable[[GapFigures], bool]
) -> tuple[list[GapFigures], list[list[Pair]]]:
    """Climb the ladder as far as a symmetric shift leaves a third of the frames as targets."""
    longest = max(1, (len(seq) - 1) // 3)
    gaps = [gap for gap in LADDER if gap <= longest]
    last = max(len(seq) - 1 - gaps[-1], 0)
    anchors = min(anchors, max(MIN_ANCHORS, len(seq) // 5))
    starts = np.unique(np.linspace(0, last, anchors).round().astype(int)).tolist()
    return climb(starts, reader.get, reader.view, gaps=gaps, enough=enough)


def _turn_gap(pairs: list[list[Pair]], view: View, count: int) -> int:
    """Return the smallest gap at which a quarter of the pairs flows enough to tell a rotation."""
    limit = max(1, min(MAX_TURN_GAP, count - 1))
    for level in pairs:
        flows = [pair.flow * view.to_train for pair in level if np.isfinite(pair.flow)]
        gap = level[0].b - level[0].a
        if gap >= limit or flows and np.quantile(flows, 0.75) >= TURN_FLOW:
            return min(gap, limit)
    return limit


def _conclude(
    seq: Sequence,
    reader: _Reader,
    scan: Scan,
    figures: list[GapFigures],
    pairs: list[list[Pair]],
) -> Inspection:
    view, checked = reader.view, len(scan.looks)
    static, rotation = find.static_spans(scan, reader.get, view), find.rotation_spans(scan)
    faults = _faults(scan, static, rotation)
    excluded = {i for name in EXCLUDING for i in faults[name]}
    breaks = find.breaks(scan)
    case = _case(figures, faults, checked, len(excluded), len(static + rotation), len(breaks))
    can_teach, verdict = judge(case)
    wrong_size = sum(WRONG_SIZE in reason for reason in reader.reasons.values())
    return Inspection(
        name=seq.name,
        frames=len(seq),
        checked=checked,
        size=seq.camera.size,
        can_teach=can_teach,
        verdict=verdict,
        advice=advise(case),
        suggested_shifts=() if case.gap is None else (-case.gap, case.gap),
        usable=tuple(i not in excluded for i in range(len(seq))),
        faults=faults,
        unreadable_reasons={str(i): reader.reasons[i] for i in faults["unreadable"]},
        static_spans=static,
        rotation_spans=rotation,
        brightness_jumps=find.brightness_jumps(scan),
        breaks=breaks,
        time_gaps=find.time_gaps(seq.times[:checked]),
        gaps=tuple(figures),
        camera=check_camera(seq.camera, wrong_size),
        poses=check_poses(seq, _telling_pairs(figures, pairs, case.gap), view),
        imu=check_imu(seq, scan),
        per_frame=_per_frame(scan, faults, view),
    )


def _case(
    figures: list[GapFigures],
    faults: dict[str, tuple[int, ...]],
    checked: int,
    excluded: int,
    spans: int,
    breaks: int,
) -> Case:
    gap, reason = choose_gap(figures)
    return Case(
        gap=gap,
        reason=reason,
        figures=figures,
        checked=checked,
        usable=checked - excluded,
        main_fault=_main_fault(faults),
        spans=spans,
        unreadable=len(faults["unreadable"]),
        breaks=breaks,
    )


def _faults(
    scan: Scan,
    static: tuple[find.Span, ...],
    rotation: tuple[find.Span, ...],
) -> dict[str, tuple[int, ...]]:
    """Frames by fault; the first frame of a static span is a good picture and stays."""
    found: dict[str, tuple[int, ...]] = dict.fromkeys(FAULTS, ())
    for name in ("dark", "blown_out", "featureless"):
        found[name] = tuple(
            i for i, look in enumerate(scan.looks) if look is not None and name in look.faults
        )
    found["unreadable"] = tuple(i for i, look in enumerate(scan.looks) if look is None)
    found["duplicate"] = find.duplicates(scan)
    found["static"] = tuple(i for start, end in static for i in range(start + 1, end + 1))
    found["rotation_only"] = tuple(i for start, end in rotation for i in range(start, end + 1))
    found["blurred"] = find.blurred(scan)
    return found


def _main_fault(faults: dict[str, tuple[int, ...]]) -> str:
    counts = Counter({name: len(faults[name]) for name in EXCLUDING})
    name, frames = counts.most_common(1)[0]
    return name if frames else ""


def _telling_pairs(
    figures: list[GapFigures], pairs: list[list[Pair]], gap: int | None
) -> list[Pair]:
    """Return the pairs that show poses and K best: those of the suggested gap."""
    index = [f.gap for f in figures].index(gap) if gap is not None else len(pairs) // 2
    return pairs[index] if index < len(pairs) else []


def _per_frame(
    scan: Scan, faults: dict[str, tuple[int, ...]], view: View
) -> tuple[FrameFigures, ...]:
    sets = {name: set(frames) for name, frames in faults.items()}
    nan = float("nan")
    rows = []
    for i, look in enumerate(scan.looks):
        step = scan.steps[i] if i < len(scan.steps) else None
        motion = step.pair.motion if step is not None else None
        rows.append(
            FrameFigures(
                index=i,
                faults=tuple(name for name in FAULTS if i in sets[name]),
                brightness=nan if look is None else look.brightness,
                saturated=nan if look is None else look.saturated,
                sharpness=nan if look is None else look.sharpness,
                flow_px=nan if step is None else step.pair.flow * view.to_full,
                parallax_px=nan if motion is None else motion.parallax * view.to_full,
                rotation_deg=nan if motion is None else motion.rotation_deg,
                kept=nan if step is None else step.pair.kept,
                brightness_change=nan if step is None else step.brightness_change,
            )
        )
    return tuple(rows)
