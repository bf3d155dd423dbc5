# SPDX-License-Identifier: Apache-2.0
"""What a shell may complete: every verb with its options and choices, read from the parsers."""

import argparse
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from depthkit.recipes import list_recipes

_PROGRAM = argparse.ArgumentParser(prog="depthkit")


@dataclass(frozen=True)
class Argument:
    """An option, or the words that stand without one."""

    flags: tuple[str, ...]
    """Names such as --run; empty for a positional argument."""
    takes_value: bool
    takes_many: bool
    """Takes all words up to the next option."""
    choices: tuple[str, ...]
    takes_files: bool
    help: str


@dataclass(frozen=True)
class Command:
    """A verb, or a kind of a verb such as `evaluate depth`."""

    words: tuple[str, ...]
    """The words that call it, without the program's name."""
    help: str
    arguments: tuple[Argument, ...]


def read_commands(verbs: dict[str, str]) -> list[Command]:
    """Build the parser of every verb and list what each takes.

    Args:
        verbs: one line of help by name; modules of depthkit.cli.
    """
    found: list[Command] = []
    for verb, line in verbs.items():
        parser = argparse.ArgumentParser(prog=f"depthkit {verb}")
        importlib.import_module(f"depthkit.cli.{verb}").add_arguments(parser)
        found += _commands_of(parser, (verb,), line)
    return found


def _commands_of(
    parser: argparse.ArgumentParser, words: tuple[str, ...], line: str
) -> Iterator[Command]:
    """Yield a parser's command and those of its kinds. argparse names its parts privately."""
    arguments = [
        _argument(action, words) for action in parser._actions if action.help != argparse.SUPPRESS
    ]
    yield Command(words, line, tuple(arguments))
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            lines = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, below in action.choices.items():
                yield from _commands_of(below, (*words, name), lines.get(name, ""))


def _argument(action: argparse.Action, words: tuple[str, ...]) -> Argument:
    choices = tuple(map(str, action.choices or ()))
    takes_value = action.nargs != 0
    if action.dest == "config" and words == ("train",):
        choices = tuple(list_recipes())
    if action.dest == "model" and not action.option_strings:
        choices = _models(words)
    return Argument(
        flags=tuple(action.option_strings),
        takes_value=takes_value,
        takes_many=action.nargs in ("+", "*"),
        choices=choices,
        takes_files=takes_value and (action.type is Path or _may_be_path(action)),
        help=_PROGRAM._get_formatter()._expand_help(action) if action.help else "",
    )


def _models(words: tuple[str, ...]) -> tuple[str, ...]:
    """List the models that a command takes by name."""
    from depthkit.pipelines.models import shipped_names

    takes_sweep = words in (("infer",), ("evaluate", "model"))
    return (*shipped_names(), *(("sweep",) if takes_sweep else ()))


def _may_be_path(action: argparse.Action) -> bool:
    """A text that is neither chosen from a list nor KEY=VALUE may be a path, as MODEL is."""
    if action.type is not None or action.choices is not None:
        return False
    return "=" not in str(action.metavar)
