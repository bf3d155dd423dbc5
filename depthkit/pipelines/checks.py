# SPDX-License-Identifier: Apache-2.0
"""Values of options, checked as argparse checks those of the command line."""

from __future__ import annotations

import difflib
import math
import typing
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from depthkit.errors import ConfigError, DataError


def check_choices(options: Any) -> None:
    """Check each field of an options record that is declared as one of several words.

    Raises:
        ConfigError: another word; names the nearest.
    """
    hints = typing.get_type_hints(type(options))
    for one in fields(options):
        choices = _choices(hints[one.name])
        if choices:
            check_choice(one.name, getattr(options, one.name), choices)


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Refuse a value that is not among the choices; None stands for no choice made."""
    known = list(choices)
    if value is None or value in known:
        return
    near = difflib.get_close_matches(str(value), [str(one) for one in known], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"{name}: expected one of {', '.join(map(str, known))}, got {value!r}{hint}")


def check_at_least(least: int, **numbers: int | None) -> None:
    """Refuse numbers below a bound, by name; None is left alone."""
    for name, value in numbers.items():
        if value is not None and not value >= least:
            raise ConfigError(f"{name}: {least} or more, got {value}")


def check_positive(**numbers: float | None) -> None:
    """Refuse numbers that are not above 0 and finite, by name; None is left alone."""
    for name, value in numbers.items():
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"{name}: above 0, got {value}")


def check_size(size: Any) -> None:
    """Refuse what is not (H, W), two whole numbers above 0; None is left alone."""
    pair = isinstance(size, (tuple, list)) and len(size) == 2
    if size is not None and not (pair and all(isinstance(n, int) and n > 0 for n in size)):
        raise ConfigError(
            f"size: expected (height, width) in pixels, such as (128, 224), got {size!r}"
        )


def check_crop(crop: str | tuple[int, int, int, int]) -> None:
    """Refuse what is neither mask, auto, none nor a window (top, left, height, width)."""
    if isinstance(crop, str):
        check_choice("crop", crop, ("mask", "auto", "none"))
    elif len(crop) != 4 or min(crop) < 0 or min(crop[2:]) < 1:
        raise ConfigError(f"crop: expected (top, left, height, width) in pixels, got {crop}")


def check_out(out: Path, *, force: bool) -> None:
    """Refuse another kind of file, and to overwrite without --force.

    Raises:
        DataError: the file or the JSON beside it must stay.
    """
    if out.suffix != ".onnx":
        raise DataError(f"{out}: --out must end in .onnx")
    for path in (out, out.with_suffix(".json")):
        if path.is_dir():
            raise DataError(f"{path}: is a folder; choose another --out")
        if path.exists() and not force:
            raise DataError(f"{path}: exists already; use --force to replace it")


def _choices(annotation: Any) -> tuple[Any, ...]:
    """Return the words of a Literal, alone or beside None."""
    if typing.get_origin(annotation) is Literal:
        return typing.get_args(annotation)
    for member in typing.get_args(annotation):
        if typing.get_origin(member) is Literal:
            return typing.get_args(member)
    return ()
