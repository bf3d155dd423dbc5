# SPDX-License-Identifier: Apache-2.0
"""Values converted by their declared type: what a configuration field accepts, in words too.

A scalar without quotes is text until its type is known, because YAML alone would read `1e-4` as
text and `on` as True.
"""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

_TRUE, _FALSE = {"true", "yes", "on"}, {"false", "no", "off"}
_NULL = {"null", "~", ""}


class Plain(str):
    """A scalar written without quotes, which may become a number, a bool or null."""


class MismatchError(Exception):
    """A value is not of its declared type; the message says `expected ..., got ...`."""


def convert(annotation: Any, value: Any) -> Any:
    """Turn a value into its declared type.

    Args:
        annotation: bool, int, float, str, Path, None, Literal, or a union, tuple, list or dict.
        value: `Plain` or quoted text, a list or mapping of them, or a value that already fits.

    Raises:
        MismatchError: the value is not of that type.
    """
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return _to_choice(annotation, value)
    if is_union(origin):
        return _to_first_fitting(annotation, value)
    if origin in (tuple, list):
        return _to_sequence(annotation, value)
    if origin is dict and isinstance(value, Mapping):
        return {str(name): convert(args[1], item) for name, item in value.items()}
    if annotation in _SCALARS:
        return _to_scalar(annotation, value)
    raise _mismatch(annotation, value)


def type_text(annotation: Any) -> str:
    """Say what a type accepts, for errors and help."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        choices = ", ".join("null" if a is None else repr(a) for a in args)
        return choices if len(args) == 1 else f"one of {choices}"
    if is_union(origin):
        return " or ".join(type_text(arg) for arg in args)
    if origin is tuple and args[-1:] != (Ellipsis,):
        return "[" + ", ".join(type_text(arg) for arg in args) + "]"
    if origin in (tuple, list):
        return f"a list of {_PLURALS.get(args[0], type_text(args[0]))}"
    if origin is dict or dataclasses.is_dataclass(annotation):
        return "a mapping"
    return _SCALAR_NAMES.get(annotation, str(annotation))


_SCALAR_NAMES: dict[Any, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "text",
    Path: "a path",
    type(None): "null",
}
_PLURALS: dict[Any, str] = {int: "integers", float: "numbers", str: "texts", Path: "paths"}


def _to_choice(annotation: Any, value: Any) -> Any:
    choices = typing.get_args(annotation)
    for choice in choices:
        try:
            if _to_scalar(type(choice), value) == choice:
                return choice
        except MismatchError:
            continue
    near = difflib.get_close_matches(str(value), [c for c in choices if isinstance(c, str)], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise MismatchError(f"expected {type_text(annotation)}, got {show(value)}{hint}")


def _to_first_fitting(annotation: Any, value: Any) -> Any:
    # Text comes last: it takes anything unquoted, so '5' for `str | int` would never be a number.
    for member in sorted(typing.get_args(annotation), key=lambda m: m in (str, Path)):
        try:
            return convert(member, value)
        except MismatchError:
            continue
    raise _mismatch(annotation, value)


def _to_sequence(annotation: Any, value: Any) -> Any:
    kind, args = typing.get_origin(annotation), typing.get_args(annotation)
    if not isinstance(value, (list, tuple)):
        raise _mismatch(annotation, value)
    if kind is list or args[-1:] == (Ellipsis,):
        args = (args[0],) * len(value)
    if len(args) != len(value):
        raise _mismatch(annotation, value)
    return kind(convert(arg, item) for arg, item in zip(args, value, strict=True))


def _to_scalar(kind: Any, value: Any) -> Any:
    try:
        return _SCALARS[kind](value)
    except (ValueError, TypeError):
        raise _mismatch(kind, value) from None


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = _plain(value).lower()
    if word not in _TRUE | _FALSE:
        raise ValueError
    return word in _TRUE


def _to_int(value: Any) -> int:
    return value if type(value) is int else int(_plain(value))


def _to_float(value: Any) -> float:
    number = float(value) if type(value) in (int, float) else float(_yaml_float(_plain(value)))
    if math.isnan(number):
        raise ValueError
    return number


def _to_str(value: Any) -> str:
    if not isinstance(value, str) or _is_null(value):
        raise ValueError
    return str(value)


def _to_path(value: Any) -> Path:
    if isinstance(value, Path):
        return value
    if not _to_str(value):
        raise ValueError
    return Path(_to_str(value)).expanduser()


def _to_none(value: Any) -> None:
    if value is not None and not _is_null(value):
        raise ValueError


_SCALARS: dict[Any, Any] = {
    bool: _to_bool,
    int: _to_int,
    float: _to_float,
    str: _to_str,
    Path: _to_path,
    type(None): _to_none,
}


def _is_null(value: Any) -> bool:
    return isinstance(value, Plain) and value.lower() in _NULL


def _plain(value: Any) -> str:
    """Take a scalar that stood without quotes; "5" in quotes is text and nothing else."""
    if not isinstance(value, Plain):
        raise ValueError
    return value


def _yaml_float(text: str) -> str:
    """YAML writes infinity as `.inf`."""
    return text.lower().replace(".inf", "inf") if text.lower().endswith(".inf") else text


def _mismatch(annotation: Any, value: Any) -> MismatchError:
    return MismatchError(f"expected {type_text(annotation)}, got {show(value)}")


def show(value: Any) -> str:
    """Show a value as the user wrote it."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(show(item) for item in value) + "]"
    if value is None or (isinstance(value, Plain) and value == ""):
        return "nothing"
    return str(value) if isinstance(value, Plain) else repr(value)


def is_union(origin: Any) -> bool:
    """Tell `Union[a, b]` and `a | b`, two different things to Python."""
    return origin is typing.Union or origin is types.UnionType


def reads_as_other_than_text(text: str) -> bool:
    """Tell whether text needs quotes to stay text in a field that also takes something else."""
    for kind in (bool, int, float, type(None)):
        try:
            _to_scalar(kind, Plain(text))
        except MismatchError:
            continue
        return True
    return False
