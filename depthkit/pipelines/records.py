# SPDX-License-Identifier: Apache-2.0
"""Records on disk: any dataclass of results as one JSON object, and back by its declared types.

A number that is not finite is null in the file, as JSON has no word for it, and NaN once read.
"""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from depthkit.config.declared_types import is_union
from depthkit.data.image_io import write_atomic
from depthkit.errors import DataError

R = TypeVar("R")


def save_record(record: Any, path: str | Path) -> Path:
    """Write a record, such as the summary of `depthkit.infer`, as one JSON object.

    Args:
        record: a dataclass of numbers, text, paths, arrays, tuples, dicts and further records.
        path: file to write; replaced if it exists.

    Returns:
        The file.
    """
    path = Path(path)
    write_atomic(path, json.dumps(plain(record), indent=2) + "\n")
    return path


def load_record(kind: type[R], path: str | Path) -> R:
    """Read a record that `save_record` wrote.

    Args:
        kind: the class of the record, such as `depthkit.InferSummary`.
        path: the file.

    Raises:
        DataError: no such file, or it holds another record.
    """
    try:
        tree = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not JSON"
        raise DataError(f"{path}: {reason}") from None
    try:
        return typing.cast(R, _build(kind, tree))
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: holds no {kind.__name__}: {error}") from None


def plain(value: Any) -> Any:
    """Return what JSON can hold, at every level: null for a number that is not finite."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


# --- back by declared types ----------------------------------------------------------------------


def _build(annotation: Any, value: Any) -> Any:
    """Turn plain values into a declared type."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if dataclasses.is_dataclass(annotation):
        return _build_record(annotation, value)
    if is_union(origin):
        return _build_member(args, value)
    if origin in (tuple, list):
        return _build_items(origin, args, value)
    if origin is dict:
        return {key: _build(args[1], one) for key, one in value.items()}
    if annotation is np.ndarray:
        return np.asarray(_with_nan(value))
    if annotation is Path:
        return Path(value)
    return _build_scalar(annotation, value)


def _build_record(kind: Any, value: Any) -> Any:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, got {value!r}")
    names = {one.name for one in dataclasses.fields(kind)}
    if names != value.keys():
        odd = ", ".join(sorted(names ^ value.keys()))
        raise TypeError(f"keys that only one of the two has: {odd}")
    hints = typing.get_type_hints(kind)
    return kind(**{key: _build(hints[key], one) for key, one in value.items()})


def _build_member(members: tuple[Any, ...], value: Any) -> Any:
    """Take null where it is allowed, else the value's own type, else the first that fits."""
    if value is None and type(None) in members:
        return None
    for member in sorted(members, key=lambda member: member is not type(value)):
        try:
            return _build(member, value)
        except (TypeError, ValueError, AttributeError):
            continue
    raise TypeError(f"got {value!r}")


def _build_items(kind: Any, args: tuple[Any, ...], value: Any) -> Any:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, got {value!r}")
    each = [args[0]] * len(value) if kind is list or args[-1] is Ellipsis else args
    return kind(_build(one, item) for one, item in zip(each, value, strict=True))


def _build_scalar(annotation: Any, value: Any) -> Any:
    if annotation is float:
        return math.nan if value is None else float(value)
    if annotation in (int, str, bool) and type(value) is not annotation:
        raise TypeError(f"expected {annotation.__name__}, got {value!r}")
    if typing.get_origin(annotation) is typing.Literal and value not in typing.get_args(annotation):
        raise TypeError(f"expected one of {typing.get_args(annotation)}, got {value!r}")
    return value


def _with_nan(value: Any) -> Any:
    """Null is the NaN of an array."""
    if isinstance(value, list):
        return [_with_nan(one) for one in value]
    return math.nan if value is None else value
