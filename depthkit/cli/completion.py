# SPDX-License-Identifier: Apache-2.0
"""`depthkit completion`: a script with which a shell completes verbs, options, choices and files.

The script is a table of words: completing starts no Python. zsh reads that of bash.
"""

import argparse
import shlex
from collections.abc import Iterable, Iterator

from depthkit.cli.completion_tree import Argument, Command, read_commands

SHELLS = {
    "bash": 'eval "$(depthkit completion bash)" in ~/.bashrc',
    "zsh": 'eval "$(depthkit completion zsh)" in ~/.zshrc, after compinit',
    "fish": "depthkit completion fish > ~/.config/fish/completions/depthkit.fish",
}

_BASH = """\
# {note}
_depthkit() {{
    local IFS=$' \\t\\n' current="${{COMP_WORDS[COMP_CWORD]}}" command="" option="" since=0
    local i word many=0 files=0 words=""
    [ "$current" = "=" ] && current=""
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word="${{COMP_WORDS[i]}}"
        [ "$word" = "=" ] && continue
        case "$command $word" in
{commands}
        esac
        case "$word" in
            -?*) option="$word" since=0 ;;
            *) since=$((since + 1)) ;;
        esac
    done
    case "$current" in
        -*) option="" ;;
    esac
    # What the last option takes, if the word under the cursor is still its.
    case "$command $option" in
{values}
        *) option="" ;;
    esac
    if [ -z "$option" ] || {{ [ "$since" -gt 0 ] && [ "$many" -eq 0 ]; }}; then
        files=0 words=""
        case "$command" in
{positionals}
        esac
        case "$current" in
            -*) files=0
                case "$command" in
{options}
                esac ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    if [ "$files" -eq 1 ]; then
        compopt -o filenames 2>/dev/null
        IFS=$'\\n'
        COMPREPLY+=($(compgen -f -- "$current"))
    fi
}}
complete -F _depthkit depthkit
"""
_ZSH = "autoload -U +X bashcompinit && bashcompinit\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "\n".join(f"{shell + ':':6}{how}" for shell, how in SHELLS.items())
    parser.add_argument("shell", choices=tuple(SHELLS), help="shell to write for")


def run(args: argparse.Namespace) -> None:
    """Print the script."""
    from depthkit.cli import VERBS

    commands = read_commands(VERBS)
    if args.shell == "fish":
        print("\n".join(_fish_lines(commands)))
    else:
        print((_ZSH if args.shell == "zsh" else "") + _bash_script(commands), end="")


def _note(shell: str) -> str:
    return f"Completion of depthkit. {SHELLS[shell]}"


# --- bash and zsh --------------------------------------------------------------------------------


def _bash_script(commands: list[Command]) -> str:
    root = Command((), "", (_flag("--help", "-h"), _flag("--version")))
    listed = [root, *commands]
    verbs = [command.words[0] for command in commands if len(command.words) == 1]
    positionals = {"": (" ".join(verbs), False)}
    positionals |= {_name(command): _positional_words(command, commands) for command in commands}
    return _BASH.format(
        note=_note("bash"),
        commands=_cases(
            3, ((f"{_name(c, -1)} {c.words[-1]}", f'command="{_name(c)}"') for c in commands)
        ),
        values=_cases(2, _value_cases(commands)),
        positionals=_cases(
            3, ((name, _take(words, files)) for name, (words, files) in positionals.items())
        ),
        options=_cases(5, ((_name(c), f"words={shlex.quote(_flags(c))}") for c in listed)),
    )


def _cases(depth: int, cases: Iterable[tuple[str, str]]) -> str:
    """Write the branches of a `case`, patterns quoted."""
    return "\n".join(f"{'    ' * depth}{shlex.quote(name)}) {then} ;;" for name, then in cases)


def _value_cases(commands: list[Command]) -> Iterator[tuple[str, str]]:
    for command in commands:
        for argument in command.arguments:
            if not argument.takes_value:
                continue
            many = " many=1" if argument.takes_many else ""
            then = _take(" ".join(argument.choices), argument.takes_files) + many
            yield from ((f"{_name(command)} {flag}", then) for flag in argument.flags)


def _positional_words(command: Command, commands: list[Command]) -> tuple[str, bool]:
    """Return the words that may stand without an option, and whether files may."""
    own = [argument for argument in command.arguments if not argument.flags]
    words = [word for argument in own for word in argument.choices]
    kinds = any(other.words[:-1] == command.words for other in commands)
    return " ".join(words), not kinds and any(argument.takes_files for argument in own)


def _take(words: str, files: bool) -> str:
    return f"words={shlex.quote(words)} files={int(files)}"


def _flags(command: Command) -> str:
    return " ".join(flag for argument in command.arguments for flag in argument.flags)


def _name(command: Command, end: int | None = None) -> str:
    return " ".join(command.words[:end])


def _flag(*flags: str) -> Argument:
    return Argument(flags, False, False, (), False, "")


# --- fish ----------------------------------------------------------------------------------------


def _fish_lines(commands: list[Command]) -> Iterator[str]:
    yield f"# {_note('fish')}"
    yield "complete -c depthkit -f"
    yield "complete -c depthkit -n __fish_use_subcommand -l version -d 'show the version'"
    for command in commands:
        kinds = [c.words[-1] for c in commands if c.words[:-1] == command.words]
        above = " ".join(["__fish_seen_subcommand_from", command.words[0]])
        if len(command.words) == 1:
            yield _fish("__fish_use_subcommand", f"-a {command.words[0]}", command.help)
        else:
            yield _fish(above, f"-a {command.words[-1]}", command.help)
            above += f"; and __fish_seen_subcommand_from {command.words[-1]}"
        for argument in command.arguments:
            if argument.flags or not kinds:
                yield _fish(above, _fish_argument(argument), argument.help)


def _fish_argument(argument: Argument) -> str:
    parts = [
        f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in argument.flags
    ]
    if argument.flags and argument.takes_value:
        parts.append("-r" if argument.takes_files else "-x")
    if argument.choices:
        parts.append(f"-a {shlex.quote(' '.join(argument.choices))}")
    if argument.takes_files:
        parts.append("-F")
    return " ".join(parts)


def _fish(condition: str, what: str, text: str) -> str:
    first = text.partition(";")[0].partition("\n")[0]
    return f"complete -c depthkit -n {shlex.quote(condition)} {what} -d {shlex.quote(first)}"
