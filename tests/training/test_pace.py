# SPDX-License-Identifier: Apache-2.0
"""Progress in words: where a run is, how fast it goes, how long it will take."""

import pytest

from depthkit.training.pace import Pace, duration_text


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def pace_of(start: int = 0, steps: int = 1000, batch_size: int = 4) -> tuple[Pace, Clock]:
    """Return a pace and its clock."""
    clock = Clock()
    return Pace(start=start, steps=steps, batch_size=batch_size, clock=clock), clock


def run(pace: Pace, clock: Clock, steps: range, seconds: float) -> list[str]:
    """Let steps take some seconds each; return the lines of progress."""
    lines = []
    for step in steps:
        clock.now += seconds
        pace.advance(step)
        line = pace.line()
        lines += [line] if line else []
    return lines


def test_a_line_comes_after_the_first_step_and_every_ten_seconds() -> None:
    """Steps of 2 s after a cold one of 7 s: lines at steps 1, 6 and 11, with 4 / 2 images a second
    and (1000 - step) * 2 s left: 1988 s are 33 min."""
    pace, clock = pace_of()
    assert run(pace, clock, range(1, 2), 7.0) == ["step 1 of 1000 (0 %)"]
    lines = run(pace, clock, range(2, 12), 2.0)
    assert lines == [
        "step 6 of 1000 (0 %)  2.0 images/s  33 min left",
        "step 11 of 1000 (1 %)  2.0 images/s  33 min left",
    ]


def test_the_last_step_has_its_line() -> None:
    """However soon it comes after another one; nothing is left then."""
    pace, clock = pace_of(steps=4)
    assert run(pace, clock, range(1, 5), 0.5)[-1] == "step 4 of 4 (100 %)  8.0 images/s"


def test_the_whole_run_is_estimated_once_by_its_first_steps() -> None:
    """Five steps of 0.6 s after the first: 1200 of them are 12 min; it is said once."""
    pace, clock = pace_of(steps=1200)
    said = []
    for step in range(1, 10):
        clock.now += 30 if step == 1 else 0.6  # the first is cold and does not count
        pace.advance(step)
        said.append(pace.estimate())
    assert said[:5] == [None] * 5 and said[6:] == [None] * 3
    assert said[5] == "about 12 min for 1200 steps on this machine"


def test_slow_steps_are_estimated_sooner() -> None:
    """Nobody waits for five steps of a minute; a resumed run counts what is left."""
    pace, clock = pace_of(start=100, steps=220)
    run(pace, clock, range(101, 103), 60.0)
    assert pace.estimate() == "about 2.0 h for 120 steps on this machine"


@pytest.mark.parametrize(("steps", "known_at"), [(1, None), (2, None), (3, 2), (5, 4), (9, 6)])
def test_short_runs_are_estimated_before_they_end(steps: int, known_at: int | None) -> None:
    """From a second step on, but never after the last one."""
    pace, clock = pace_of(steps=steps)
    said = {}
    for step in range(1, steps + 1):
        run(pace, clock, range(step, step + 1), 1.0)
        if line := pace.estimate():
            said[step] = line
    wanted = f"about {steps} s for {steps} steps on this machine"
    assert said == ({} if known_at is None else {known_at: wanted})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.01, "1 s"), (45.4, "45 s"), (89, "89 s"), (90, "2 min"), (719, "12 min"), (12600, "3.5 h")],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    """Seconds, minutes or hours, none of them 0."""
    assert duration_text(seconds) == text
