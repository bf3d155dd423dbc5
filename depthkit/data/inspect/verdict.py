# SPDX-License-Identifier: Apache-2.0
"""Can this sequence teach depth, why not, and what to do about it."""

import math

from depthkit.data.inspect.ladder import MAX_MEDIAN, MIN_KEPT, MIN_MEDIAN, TURN, GapFigures

MIN_USABLE = 0.3
"""Share of the frames that must be usable for a clear yes."""
MIN_FRAMES = 10
LONG_SHIFT = 20
"""Frames: from this shift on every 5th frame of the sequence would do."""


def judge(
    *,
    gap: int | None,
    reason: str,
    figures: list[GapFigures],
    usable: int,
    checked: int,
    main_fault: str,
) -> tuple[bool, str]:
    """Return whether the sequence can teach depth, and the line that says so.

    Args:
        gap: the suggested gap, frames.
        reason: why this gap, or why none.
        figures: of all gaps measured.
        usable: frames without a fault that excludes them.
        checked: frames looked at.
        main_fault: the fault most frames have, '' for none.
    """
    if gap is None or usable < max(MIN_FRAMES, MIN_USABLE * checked):
        why = reason
        if usable < MIN_USABLE * checked:
            why = f"{checked - usable} of {checked} frames are unusable, mostly {main_fault}"
        elif usable < MIN_FRAMES and gap is not None:
            why = f"only {usable} usable frames"
        return False, f"can teach depth: no, because {why}"
    chosen = next(f for f in figures if f.gap == gap)
    line = f"can teach depth: yes, with shifts [-{gap}, {gap}]"
    return True, f"{line} ({reason}, {100 * chosen.kept:.0f} % of tracks kept)"


def advise(
    *,
    gap: int | None,
    figures: list[GapFigures],
    spans: int,
    broken: int,
    dropped: int,
    breaks: int,
) -> tuple[str, ...]:
    """Return what the user can do, most useful first.

    Args:
        gap: the suggested gap, frames.
        figures: of all gaps measured.
        spans: static and rotation-only spans.
        broken: unreadable frames.
        dropped: frames that are not usable.
        breaks: places where neighbours share almost nothing.
    """
    found = [_about_gap(gap, figures)] if figures else []
    if spans:
        found.append(f"drop {spans} static or rotation-only spans (`usable` in --save does it)")
    elif dropped:
        found.append(f"drop {dropped} frames (`usable` in --save does it)")
    if broken:
        found.append(f"replace {broken} unreadable frames, or run 'depthkit prepare' again")
    if breaks and gap is not None:
        found.append(f"split the video at {breaks} cuts, or keep snippets from crossing them")
    return tuple(line for line in found if line)


def _about_gap(gap: int | None, figures: list[GapFigures]) -> str:
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
        return "record again with a camera that moves sideways or forward, not only turns"
    best = max(followed, key=_reach)
    every = max(2, math.ceil(best.gap * MIN_MEDIAN * 1.3 / max(_reach(best), 0.1) / 5))
    return f"prepare with --every {every}, so that a shift of 5 frames shows parallax"


def _reach(f: GapFigures) -> float:
    """Training pixels of parallax; of flow where it is too short to be told from a rotation."""
    return 0.0 if f.moving == 0 else f.flow_train if f.flow_train < TURN else f.parallax_train
