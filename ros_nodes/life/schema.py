# SPDX-License-Identifier: Apache-2.0
"""A configuration dataclass as a flat list of named values, and back; independent of ROS."""

import ast
import dataclasses
import difflib
import inspect
import textwrap
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os.path import expanduser  # that of Path raises where a user has no home
from pathlib import Path
from typing import Any, Literal, TypeVar

from depthkit.config.ranges import range_text
from depthkit.errors import ConfigError

T = TypeVar("T")

_KINDS: dict[Any, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "text",
    Path: "a path in quotes",
}
_PLURALS: dict[Any, str] = {int: "integers", float: "numbers", str: "texts"}


@dataclass(frozen=True)
class Leaf:
    """A configuration field that is one parameter."""

    name: str
    """Parameter name with the prefix of its configuration: "baseline.shift"."""
    kind: Any
    """Declared type."""
    default: Any
    text: str
    """Description: the docstring under the field, on one line."""
    metadata: Mapping[str, Any]


def leaves(schema: type[Any], prefix: str = "") -> Iterator[Leaf]:
    """List the parameters of a configuration, nested ones with their prefix."""
    kinds, texts = typing.get_type_hints(schema), _docstrings(schema)
    for one in dataclasses.fields(schema):
        kind, name = kinds[one.name], prefix + one.name
        if dataclasses.is_dataclass(kind):
            yield from leaves(typing.cast(type[Any], kind), f"{name}.")
        else:
            yield Leaf(name, kind, one.default, texts.get(one.name, ""), one.metadata)


def build(schema: type[T], values: Mapping[str, Any], prefix: str = "") -> T:
    """Make a configuration from values by parameter name.

    Raises:
        ConfigError: a check of the configuration failed; the message names the parameter.
    """
    kinds, arguments = typing.get_type_hints(schema), {}
    for one in dataclasses.fields(typing.cast(Any, schema)):
        name = prefix + one.name
        nested = dataclasses.is_dataclass(kinds[one.name])
        arguments[one.name] = build(kinds[one.name], values, f"{name}.") if nested else values[name]
    try:
        return schema(**arguments)
    except ConfigError as error:
        raise ConfigError(f"parameter {prefix}{error}") from None


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Return the values of a configuration by parameter name."""
    values: dict[str, Any] = {}
    for one in dataclasses.fields(config):
        value = getattr(config, one.name)
        nested = dataclasses.is_dataclass(value)
        values |= flatten(value, f"{prefix}{one.name}.") if nested else {prefix + one.name: value}
    return values


def _docstrings(schema: type) -> dict[str, str]:
    """Read the docstring under each field of the class and its base classes."""
    found: dict[str, str] = {}
    for parent in reversed(schema.__mro__):
        if dataclasses.is_dataclass(parent):
            found |= dict(_documented(_body_of(parent)))
    return found


def _body_of(schema: type) -> list[ast.stmt]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(schema)))
    except OSError:  # installed without sources: a node works without descriptions
        return []
    return typing.cast(ast.ClassDef, tree.body[0]).body


def _documented(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, after in zip(body, body[1:], strict=False):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            yield field.target.id, " ".join(str(after.value.value).split())


# ---- text --------------------------------------------------------------------------------------


def default_text(leaf: Leaf) -> str:
    """Return the default as written in a YAML file."""
    value = leaf.default
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(str(one) for one in value)}]"
    return '""' if value in ("", Path()) else str(value)


def values_text(leaf: Leaf) -> str:
    """Return the allowed values: the choices, or the type and its range."""
    if choices(leaf):
        return ", ".join(choices(leaf))
    words: dict[Any, str] = {bool: "true, false", int: "integer", float: "number", Path: "path"}
    kinds = typing.get_args(leaf.kind)
    kind = words.get(kinds[0] if kinds else leaf.kind, "text")
    if kinds:
        kind = f"{'' if kinds[-1] is Ellipsis else f'{len(kinds)} '}{kind}s"
    allowed = range_text(leaf.metadata)
    return f"{kind}, {allowed}" if allowed else kind


def help_text(schema: type[Any]) -> str:
    """List the parameters of a configuration for `--help`."""
    lines = []
    for leaf in leaves(schema):
        live = "; live" if leaf.metadata.get("live") else ""
        lines.append(f"  {leaf.name}:={default_text(leaf)}  ({values_text(leaf)}{live})")
        lines += textwrap.wrap(leaf.text, 92, initial_indent="      ", subsequent_indent="      ")
    return "\n".join(lines)


# ---- values ------------------------------------------------------------------------------------


def convert(leaf: Leaf, value: Any) -> Any:
    """Convert a parameter's value to the field's type."""
    if typing.get_origin(leaf.kind) is tuple:
        return _to_tuple(leaf, value)
    kind = _scalar_kind(leaf.kind)
    if kind is float and type(value) is int:
        return float(value)
    if kind is Path and isinstance(value, str):
        return Path(expanduser(value))
    if type(value) is not kind or value != value:  # NaN is rejected
        raise _mismatch(leaf, value)
    allowed = choices(leaf)
    if allowed and value not in allowed:
        near = difflib.get_close_matches(value, allowed, n=1)
        raise _mismatch(leaf, value, f"; did you mean {near[0]!r}?" if near else "")
    return value


def _to_tuple(leaf: Leaf, value: Any) -> tuple[Any, ...]:
    kinds = typing.get_args(leaf.kind)
    items = list(value) if not isinstance(value, (str, bytes, int, float)) else None
    fits = items is not None and (kinds[-1] is Ellipsis or len(items) == len(kinds))
    if items is None or not fits:
        raise _mismatch(leaf, value)
    inner = dataclasses.replace(leaf, kind=kinds[0])
    try:
        return tuple(convert(inner, item) for item in items)
    except ConfigError:
        raise _mismatch(leaf, value) from None


def _scalar_kind(kind: Any) -> Any:
    return str if typing.get_origin(kind) is Literal else kind


def choices(leaf: Leaf) -> list[str]:
    """List the values of a choice; empty for other fields."""
    is_choice = typing.get_origin(leaf.kind) is Literal
    return list(typing.get_args(leaf.kind)) if is_choice else []


def _mismatch(leaf: Leaf, value: Any, hint: str = "") -> ConfigError:
    got = list(value) if not isinstance(value, (str, bool, int, float, bytes)) else value
    return ConfigError(f"parameter {leaf.name}: expected {_kind_text(leaf)}, got {got!r}{hint}")


def _kind_text(leaf: Leaf) -> str:
    if choices(leaf):
        return f"one of {', '.join(choices(leaf))}"
    kinds = typing.get_args(leaf.kind)
    if not kinds:
        return _KINDS[leaf.kind]
    count = "" if kinds[-1] is Ellipsis else f"{len(kinds)} "
    return f"a list of {count}{_PLURALS[kinds[0]]}"
