# SPDX-License-Identifier: Apache-2.0
"""Can this sequence teach depth, why not, and what to do about it."""

import math
from dataclasses import dataclass

from depthkit.data.inspect.ladder import MAX_MEDIAN, MIN_KEPT, MIN_MEDIAN, TURN, GapFigures

MIN_USABLE = 0.3
"""Share of the frames that must be usable."""
MIN_FRAMES = 10
LONG_SHIFT = 20
"""Frames: from this shift on every 5th frame of the sequence would do."""
DROPPING = "`usable` of --save names them"
REMEDIES = {
    "unreadable": "copy the frames again, or run 'depthkit prepare' again",
    "dark": "record with more light or a longer exposure",
    "blown_out": "record with a shorter exposure",
    "featureless": "record something with texture, in focus, at 320 pixels of width or more",
    "duplicate": "record again while the camera moves, or prepare with --every",
    "static": "record again while the camera moves",
    "rotation_only": "record again with a camera that moves sideways or forward, not only turns",
}
"""What helps against the fault that most frames have."""


@dataclass(frozen=True)
class Case:
    """What the verdict rests on."""

    gap: int | None
    """The suggested gap, frames."""
    reason: str
    """Why this gap, or why none."""
    figures: list[GapFigures]
    checked: int
    """Frames looked at."""
    usable: int
    main_fault: str
    """The fault most frames have, '' for none."""
    spans: int
    """Static and rotation-only spans."""
    unreadable: int
    breaks: int


def judge(case: Case) -> tuple[bool, str]:
    """Return whether the sequence can teach depth, and the verdict in one line."""
    why = _why_not(case)
    if why or case.gap is None:
        return False, f"can teach depth: no, because {why or case.reason}"
    kept = 100 * next(f for f in case.figures if f.gap == case.gap).kept
    shifts = f"[-{case.gap}, {case.gap}]"
    return True, (
        f"can teach depth: yes, with shifts {shifts} ({case.reason}, {kept:.0f} % of tracks kept)"
    )


def advise(case: Case) -> tuple[str, ...]:
    """Return what the user can do, most useful first."""
    can_teach, _ = judge(case)
    dropped = case.checked - case.usable
    found = [_about_faults(case) or _about_gap(case.gap, case.figures)]
    if can_teach and case.spans:
        found.append(f"drop {case.spans} static or rotation-only spans ({DROPPING})")
    elif can_teach and dropped:
        found.append(f"drop {dropped} frames ({DROPPING})")
    if case.unreadable:
        found.append(f"{case.unreadable} unreadable frames: {REMEDIES['unreadable']}")
    if can_teach and case.breaks:
        found.append(f"split the video at {case.breaks} cuts, no snippet may cross one")
    return tuple(dict.fromkeys(line for line in found if line))


def _why_not(case: Case) -> str:
    """Say what rules a sequence out whatever its parallax."""
    if case.checked < MIN_FRAMES:
        return f"it has only {case.checked} frames"
    if case.usable < MIN_USABLE * case.checked:
        fault = case.main_fault.replace("_", "-")
        return f"{case.checked - case.usable} of {case.checked} frames are unusable, mostly {fault}"
    return f"only {case.usable} frames are usable" if case.usable < MIN_FRAMES else ""


def _about_faults(case: Case) -> str:
    if case.checked < MIN_FRAMES:
        return "record a longer video, or prepare with a smaller --every"
    return REMEDIES[case.main_fault] if _why_not(case) else ""


def _about_gap(gap: int | None, figures: list[GapFigures]) -> str:
    if not figures:
        return ""
    if gap is not None and gap >= LONG_SHIFT:
        every = gap // 5
        return f"prepare with --every {every} and use shifts [-5, 5]: less to read, same parallax"
    if gap is not None:
        chosen = next(f for f in figures if f.gap == gap)
        fast = chosen.gap == 1 and (chosen.parallax_train > MAX_MEDIAN or chosen.kept < MIN_KEPT)
        return "motion is fast: use a higher frame rate or a smaller --every" if fast else ""
    if figures[0].kept < MIN_KEPT and figures[0].gap == 1 and len(figures) == 1:
        return "record at a higher frame rate, or prepare with a smaller --every"
    return _about_slow(figures)


def _about_slow(figures: list[GapFigures]) -> str:
    followed = [f for f in figures if f.kept >= MIN_KEPT]
    if not followed or followed[-1].moving < 0.5 * followed[-1].pairs:
        return REMEDIES["rotation_only"]
    best = max(followed, key=_reach)
    every = max(2, math.ceil(best.gap * MIN_MEDIAN * 1.3 / max(_reach(best), 0.1) / 5))
    return f"prepare with --every {every}, so that a shift of 5 frames shows parallax"


def _reach(f: GapFigures) -> float:
    """Training pixels of parallax; of flow where it cannot be distinguished from a rotation."""
    return 0.0 if f.moving == 0 else f.flow_train if f.flow_train < TURN else f.parallax_train
