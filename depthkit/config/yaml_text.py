# SPDX-License-Identifier: Apache-2.0
"""YAML as text: reading keeps unquoted scalars as they stand, writing quotes what needs it."""

from typing import Any

import yaml

from depthkit.config.declared_types import Plain, reads_as_other_than_text
from depthkit.errors import ConfigError


def parse_yaml(text: str, source: str) -> Any:
    """Read YAML; every scalar is text, `Plain` where it stood without quotes.

    Args:
        text: one YAML document.
        source: what to name in errors, usually the file.

    Raises:
        ConfigError: it is not YAML, or a mapping has a key twice.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f": line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{source}{line}: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not YAML ({str(error).splitlines()[0]})") from None


def dump_yaml(value: Any, *, flow: bool = False) -> str:
    """Write plain values as YAML that `parse_yaml` and the declared types read back unchanged.

    Args:
        value: dicts, lists, texts, numbers, bools and None.
        flow: everything in one line.
    """
    width = float("inf") if flow else 100
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=width, default_flow_style=flow)


class _Loader(yaml.SafeLoader):
    """Keeps every unquoted scalar as `Plain` text and refuses duplicate keys."""

    yaml_implicit_resolvers = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _error_at(key, "a key must be text")
            if key.value in seen:
                raise _error_at(key, f"duplicate key {key.value!r}")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _error_at(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def _construct_text(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    text = loader.construct_scalar(node)
    return text if node.style else Plain(text)


_Loader.add_constructor("tag:yaml.org,2002:str", _construct_text)


class _Dumper(yaml.SafeDumper):
    """Writes lists in one line and quotes text that would read as something else."""


def _represent_list(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = '"' if reads_as_other_than_text(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(str, _represent_text)
