# SPDX-License-Identifier: Apache-2.0
"""Fields of configurations that say their own range."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import pytest

from depthkit.config.ranges import check_ranges, option, range_text
from depthkit.errors import ConfigError
from depthkit.runtime.config import BaselineConfig, RuntimeConfig


@dataclass(frozen=True)
class Options:
    """One of each bound."""

    least: int = option(2, least=1)
    above: float = option(2.0, above=1)
    between: float = option(2.0, least=1, most=4, live=True)
    open_ends: float = option(2.0, above=1, below=4)
    most: float = option(2.0, most=4)
    each: tuple[float, float] = option((2.0, 3.0), above=1)
    count: int = option(0, least=0, most=2**32 - 1)
    perhaps: int | None = option(None, least=1)
    free: float = 2.0

    def __post_init__(self) -> None:
        check_ranges(self)


INSIDE: list[tuple[str, Any]] = [
    ("perhaps", None),
    ("least", 1),
    ("between", 1.0),
    ("between", 4.0),
    ("most", 4.0),
    ("free", 1e9),
]
OUTSIDE = [
    ("least", 0, "least: 1 or more, got 0"),
    ("above", 1.0, "above: above 1, got 1.0"),
    ("between", 4.1, "between: 1 to 4, got 4.1"),
    ("open_ends", 4.0, "open_ends: above 1, below 4, got 4.0"),
    ("most", 4.5, "most: at most 4, got 4.5"),
    ("each", (2.0, 1.0), "each: above 1, got [2.0, 1.0]"),
    ("between", float("nan"), "between: 1 to 4, got nan"),
    ("count", 2**32, "count: 0 to 4294967295, got 4294967296"),
    ("perhaps", 0, "perhaps: 1 or more, got 0"),
]


@pytest.mark.parametrize("name, value", INSIDE)
def test_bounds_that_belong_to_the_range_are_inside(name: str, value: Any) -> None:
    """Least and most are allowed; a field without a range takes anything."""
    assert getattr(Options(**{name: value}), name) == value


@pytest.mark.parametrize("name, value, line", OUTSIDE, ids=[one[2] for one in OUTSIDE])
def test_value_outside_its_range_is_refused(name: str, value: Any, line: str) -> None:
    """The line names the field, the range and the value; NaN is outside of every range."""
    with pytest.raises(ConfigError) as caught:
        Options(**{name: value})
    assert str(caught.value) == line


def test_range_is_told_in_words() -> None:
    """What `ros2 param describe` and the docs say."""
    said = {one.name: range_text(one.metadata) for one in dataclasses.fields(Options)}
    assert said == {
        "least": "1 or more",
        "above": "above 1",
        "between": "1 to 4",
        "open_ends": "above 1, below 4",
        "most": "at most 4",
        "each": "above 1",
        "count": "0 to 4294967295",
        "perhaps": "1 or more",
        "free": "",
    }


def test_only_what_is_said_to_be_live_is() -> None:
    """A field is read at the start unless it says otherwise."""
    live = [one.name for one in dataclasses.fields(Options) if one.metadata.get("live")]
    assert live == ["between"]


REFUSED: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "threads: 1 or more, got 0": (RuntimeConfig, {"threads": 0}),
    "capacity: at least 5 for shift, candidates and ranges, got 4": (
        BaselineConfig,
        {"capacity": 4},
    ),
    "max_baseline: above 1, got 1.0": (BaselineConfig, {"max_baseline": 1.0}),
    "min_baseline: above 0, below 1, got 1.0": (BaselineConfig, {"min_baseline": 1.0}),
    "max_rotation: above 0, below 90, got 90.0": (BaselineConfig, {"max_rotation": 90.0}),
    "min_overlap: above 0, at most 1, got 0.0": (BaselineConfig, {"min_overlap": 0.0}),
}


@pytest.mark.parametrize("line", REFUSED)
def test_runtime_configurations_refuse_what_they_always_did(line: str) -> None:
    """The ranges moved into the fields; none was lost."""
    schema, values = REFUSED[line]
    with pytest.raises(ConfigError) as caught:
        schema(**values)
    assert str(caught.value) == line
