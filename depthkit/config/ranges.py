# SPDX-License-Identifier: Apache-2.0
"""Fields of a configuration that declare their own range: the training's and the robot's alike."""

from collections.abc import Iterator, Mapping
from dataclasses import field, fields
from typing import Any

from depthkit.errors import ConfigError


def require(condition: bool, message: str) -> None:
    """Refuse a configuration.

    Args:
        condition: what must hold.
        message: begins with the field and a colon; the loader puts the dotted key before it.

    Raises:
        ConfigError: it does not hold.
    """
    if not condition:
        raise ConfigError(message)


def option(
    default: Any,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    live: bool = False,
) -> Any:
    """Make a field of a configuration that declares its own range.

    Args:
        default: its value; every number of a tuple is bounded.
        least, most: bounds that belong to the range.
        above, below: bounds that do not.
        live: a running node may change the value.
    """
    bounds = {"least": least, "most": most, "above": above, "below": below}
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    return field(default=default, metadata={**given, "live": live})


def check_ranges(config: Any) -> None:
    """Check every field of a configuration against the range that its `option` declares.

    A field that is None or text where it might be a number ("auto") has no range to keep.

    Raises:
        ConfigError: a value is outside, or not a number; the message names the field.
    """
    for one in fields(config):
        value = getattr(config, one.name)
        for number in value if isinstance(value, tuple) else (value,):
            if number is None or isinstance(number, str):
                continue
            require(
                all(_inside(number, one.metadata)),
                f"{one.name}: {range_text(one.metadata)}, got {_shown(value)}",
            )


def _inside(number: float, bounds: Mapping[str, Any]) -> Iterator[bool]:
    # Each comparison asks for the positive, so that NaN is outside.
    if "least" in bounds:
        yield number >= bounds["least"]
    if "above" in bounds:
        yield number > bounds["above"]
    if "most" in bounds:
        yield number <= bounds["most"]
    if "below" in bounds:
        yield number < bounds["below"]


def range_text(bounds: Mapping[str, Any]) -> str:
    """Write a range in words, such as "1 or more" or "above 0, at most 1"; empty without bounds."""
    if "least" in bounds and "most" in bounds:
        return f"{_number(bounds['least'])} to {_number(bounds['most'])}"
    words = {"least": "{} or more", "above": "above {}", "most": "at most {}"}
    words["below"] = "below {}"
    return ", ".join(
        word.format(_number(bounds[name])) for name, word in words.items() if name in bounds
    )


def _number(bound: float) -> str:
    """Write a bound; whole numbers with all their digits."""
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


def _shown(value: Any) -> str:
    """Write a value as a YAML file would hold it."""
    return str(list(value)) if isinstance(value, tuple) else str(value)
