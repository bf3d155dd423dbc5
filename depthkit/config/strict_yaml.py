# SPDX-License-Identifier: Apache-2.0
"""Strict configuration: frozen dataclasses are the schema, YAML and `--set` hold differences.

Order: default < file < override. An unknown key, a duplicate key, a wrong type and a wrong choice
are errors that name the file and the dotted key. Values are converted by the DECLARED type: PyYAML
alone would read `1e-4` as text and `on` as True.
"""

import ast
import dataclasses
import difflib
import inspect
import itertools
import textwrap
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from depthkit.config.declared_types import (
    MismatchError,
    Plain,
    convert,
    is_union,
    show,
    type_text,
)
from depthkit.config.ranges import range_text
from depthkit.config.yaml_text import dump_yaml, parse_yaml
from depthkit.errors import ConfigError

T = TypeVar("T")


def load_config(schema: type[T], path: Path | None, overrides: Sequence[str] = ()) -> T:
    """Read a configuration.

    Args:
        schema: the dataclass to fill; nested dataclasses are nested mappings.
        path: YAML file with the differences from the defaults; None for no file.
        overrides: `key.sub=value` words, the value in YAML, stronger than the file.

    Raises:
        ConfigError: the file cannot be read, or a key or value does not fit the schema.
    """
    tree = {} if path is None else read_mapping(path)
    keys = []
    for text in overrides:
        key, branch = _parse_override(text)
        tree = _merge(tree, branch)
        keys.append(key)
    return _Builder("configuration" if path is None else str(path), tuple(keys)).build(schema, tree)


def config_from_mapping(schema: type[T], tree: Mapping[str, Any], source: str) -> T:
    """Read a configuration from plain values, such as JSON stored with a checkpoint.

    Args:
        schema: the dataclass to fill.
        tree: nested mapping of plain values.
        source: what to name in errors, usually the file.
    """
    return _Builder(source, ()).build(schema, tree)


def override(config: T, words: Sequence[str], source: str) -> T:
    """Return a configuration changed by `key.sub=value` words.

    Args:
        config: what to change.
        words: as `load_config` takes them.
        source: what to name in errors.

    Raises:
        ConfigError: a key or value does not fit the schema.
    """
    tree = to_mapping(config)
    for text in words:
        tree = _merge(tree, _parse_override(text)[1])
    return _Builder(source, ()).build(type(config), tree)


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top is a mapping; scalars stay text until their type is known."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text; expected a YAML file") from None
    tree = parse_yaml(text, str(path))
    if tree is None or tree == Plain():  # an empty file, an empty document
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected a mapping of keys to values, got {show(tree)}")
    return tree


def to_yaml(config: Any) -> str:
    """Write a configuration so that `load_config` reads the same one back."""
    return dump_yaml(to_mapping(config))


def to_mapping(value: Any) -> Any:
    """Turn a configuration into plain dicts, lists, texts and numbers."""
    if dataclasses.is_dataclass(value):
        return {f.name: to_mapping(getattr(value, f.name)) for f in _fields(type(value))}
    if isinstance(value, Mapping):
        return {key: to_mapping(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_mapping(item) for item in value]
    return str(value) if isinstance(value, Path) else value


# ---- from a tree of text to records ------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Builder:
    """Fills a schema and knows where each value came from."""

    source: str
    overridden: tuple[str, ...]

    def build(self, schema: type[T], tree: Mapping[str, Any]) -> T:
        return self._record(schema, tree, key="", base=None)

    def _record(self, schema: type[T], tree: Any, *, key: str, base: T | None) -> T:
        """Fill one dataclass; what the tree leaves out comes from `base`, else from the default."""
        if not isinstance(tree, Mapping):
            raise self._error(key, f"expected a mapping, got {show(tree)}")
        fields = {field.name: field for field in _fields(schema)}
        for name in tree:
            if name not in fields:
                raise self._error(_join(key, name), _unknown_key(name, fields))
        hints = typing.get_type_hints(schema)
        values = {}
        for name, field in fields.items():
            default = _default_of(field) if base is None else getattr(base, name)
            if name in tree:
                place = _join(key, name)
                values[name] = self._value(hints[name], tree[name], key=place, base=default)
            elif default is dataclasses.MISSING:
                raise self._error(_join(key, name), "missing; this key has no default")
            else:
                values[name] = default
        try:
            return schema(**values)
        except (ConfigError, ValueError) as error:
            raise self._check_error(key, str(error), fields) from None

    def _value(self, annotation: Any, value: Any, *, key: str, base: Any) -> Any:
        origin, args = typing.get_origin(annotation), typing.get_args(annotation)
        if is_union(origin) and isinstance(value, Mapping):
            records = [arg for arg in args if dataclasses.is_dataclass(arg)]
            annotation = records[0] if len(records) == 1 else annotation
        if dataclasses.is_dataclass(annotation):
            base = base if isinstance(base, annotation) else None  # type: ignore[arg-type]
            return self._record(annotation, value, key=key, base=base)  # type: ignore[arg-type]
        try:
            return convert(annotation, value)
        except MismatchError as error:
            raise self._error(key, str(error)) from None

    def _check_error(self, key: str, message: str, fields: Mapping[str, Any]) -> ConfigError:
        """Continue the dotted key where a check in `__post_init__` begins with `field: `."""
        name, colon, reason = message.partition(": ")
        if colon and name in fields:
            return self._error(_join(key, name), reason)
        return self._error(key, message)

    def _error(self, key: str, reason: str) -> ConfigError:
        """Name the override when the value came from one, else the file."""
        prefix = f"{key}." if key else ""
        if any(key == word or key.startswith(f"{word}.") for word in self.overridden):
            return ConfigError(f"--set {key}: {reason}")
        below = [word for word in self.overridden if word.startswith(prefix)]
        source = f"{self.source} with --set {', '.join(below)}" if below else self.source
        return ConfigError(f"{source}: {key}: {reason}" if key else f"{source}: {reason}")


def _default_of(field: "dataclasses.Field[Any]") -> Any:
    """Return a field's default, `dataclasses.MISSING` when it has none."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _fields(schema: type[Any]) -> list["dataclasses.Field[Any]"]:
    return [field for field in dataclasses.fields(schema) if field.init]


def _unknown_key(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(str(name), known, n=1)
    remedy = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(known)}"
    return f"unknown key; {remedy}"


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else str(name)


# ---- overrides ---------------------------------------------------------------------------------


def _parse_override(text: str) -> tuple[str, dict[str, Any]]:
    """Turn `a.b=value` into its key and the tree {a: {b: value}}."""
    key, equals, value = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(f"--set {text}: expected key=value, such as data.shifts=[-2,2]")
    tree = parse_yaml(value, f"--set {key}")
    tree = Plain() if tree is None else tree
    for part in reversed(parts):
        tree = {part: tree}
    return ".".join(parts), tree


def _merge(under: Any, over: Any) -> Any:
    """Lay one tree over another; where both have a mapping the two become one."""
    if not isinstance(under, Mapping) or not isinstance(over, Mapping):
        return over
    rest = {name: value for name, value in over.items() if name not in under}
    return {name: _merge(value, over.get(name, value)) for name, value in under.items()} | rest


# ---- help --------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class FieldHelp:
    """One key of a configuration, for a help page."""

    name: str
    """Dotted key."""
    type: str
    """What it accepts, in words: its type, and its range where `option` declares one."""
    default: str
    """The default as YAML; `required` where a key has no default."""
    doc: str
    """The docstring under the field, in one line."""


def field_help(schema: type[Any], prefix: str = "") -> Iterator[FieldHelp]:
    """List all keys of a schema in the order of their declaration, nested ones by dotted name.

    Args:
        schema: the dataclass.
        prefix: dotted key under which the schema stands.
    """
    yield from _help_of(schema, prefix, None)


def _help_of(schema: type[Any], prefix: str, base: Any) -> Iterator[FieldHelp]:
    hints, docs = typing.get_type_hints(schema), _field_docs(schema)
    for field in _fields(schema):
        annotation = hints[field.name]
        key = _join(prefix, field.name)
        default = _default_of(field) if base is None else getattr(base, field.name)
        if dataclasses.is_dataclass(annotation):
            nested = default if isinstance(default, annotation) else None  # type: ignore[arg-type]
            yield from _help_of(annotation, key, nested)  # type: ignore[arg-type]
        else:
            accepts = ", ".join(filter(None, (type_text(annotation), range_text(field.metadata))))
            yield FieldHelp(key, accepts, _default_text(default), docs.get(field.name, ""))


def _default_text(default: Any) -> str:
    if default is dataclasses.MISSING:
        return "required"
    text = dump_yaml([to_mapping(default)], flow=True)
    return text.strip()[1:-1]


def _field_docs(schema: type[Any]) -> dict[str, str]:
    """Read the docstrings under the fields of a dataclass and its bases from their source."""
    docs: dict[str, str] = {}
    for kind in reversed([c for c in schema.__mro__ if dataclasses.is_dataclass(c)]):
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
        body = tree.body if isinstance(tree, ast.ClassDef) else []
        for field, below in itertools.pairwise(body):
            match field, below:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(doc))),
                ):
                    docs[name] = " ".join(doc.split())
    return docs
