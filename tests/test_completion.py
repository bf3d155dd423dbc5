# SPDX-License-Identifier: Apache-2.0
"""`depthkit completion`: the scripts complete verbs, options, choices and files in real shells."""

import argparse
import contextlib
import shutil
import subprocess
import sys
import types

import pytest

from depthkit.cli import VERBS, main
from depthkit.cli.completion_tree import read_commands
from depthkit.recipes import list_recipes

# Asks the completion function as bash does: the words of the line, the cursor after the last.
ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _depthkit
printf '%s\\n' "${COMPREPLY[@]}"
"""
CASES = [
    ("tra", ["train"]),
    ("--ver", ["--version"]),
    ("train --resu", ["--resume"]),
    ("train indoor/red", ["indoor/redkitchen"]),
    ("train --run ", ["a b.mp4", "clips", "own.yaml"]),
    ("train own", ["own.yaml"]),
    ("train --set ", []),
    ("train --set a=1 b", []),  # takes all words up to the next option
    ("train --run clips ow", ["own.yaml"]),  # --run has its value: this is the configuration
    ("evaluate ", ["depth", "odometry", "flow", "model", "matching", "compare"]),
    ("evaluate depth --align ", ["none", "median", "affine"]),
    ("export run --precision ", ["fp32", "fp16", "int8"]),
    ("export run --precision = f", ["fp32", "fp16"]),  # bash parts words at "="
    ("infer a", ["a b.mp4"]),
    ("infer sw", ["sweep", "sweepnet-stillbox"]),
    ("evaluate model sw", ["sweep", "sweepnet-stillbox"]),
    ("verify sw", ["sweepnet-stillbox"]),
    ("infer sweep --quality ", ["fast", "normal", "fine"]),
    ("infer --every ", []),
    ("synth ", ["stillbox", "street", "colon", "shapes"]),
    ("completion ", ["bash", "zsh", "fish"]),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with files to complete, and each shell's script beside it."""
    folder = tmp_path_factory.mktemp("completion")
    here = folder / "here"
    (here / "clips").mkdir(parents=True)
    for name in ("a b.mp4", "own.yaml"):
        (here / name).touch()
    for shell in ("bash", "zsh", "fish"):
        with (folder / shell).open("w") as file, contextlib.redirect_stdout(file):
            assert main(["completion", shell]) == 0
    return folder


def ask(command: list[str], folder) -> list[str]:
    """Run a shell in the folder with files and return its lines."""
    done = subprocess.run(command, cwd=folder / "here", capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    return [line for line in done.stdout.splitlines() if line]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(("line", "wanted"), CASES)
def test_bash_completes(line, wanted, folder):
    """What bash would offer at the end of a line, and nothing else."""
    command = ["bash", "--norc", "-c", ASK, "ask", str(folder / "bash"), "depthkit"]
    assert sorted(ask([*command, *line.split(" ")], folder)) == sorted(wanted)


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.parametrize(("line", "wanted"), [case for case in CASES if " = " not in case[0]])
def test_fish_completes(line, wanted, folder):
    """The same in fish, which marks folders; it offers options only after a dash."""
    code = f"source {folder / 'fish'}; complete -C 'depthkit {line}'"
    found = ask(["fish", "-N", "-c", code], folder)
    assert {row.partition("\t")[0].rstrip("/") for row in found} >= set(wanted)


def test_zsh_reads_the_script_of_bash(folder):
    """zsh has bash's completion as a module: one script less to keep."""
    bash, zsh = (folder / "bash").read_text(), (folder / "zsh").read_text()
    assert zsh.startswith("autoload") and "bashcompinit" in zsh and zsh.endswith(bash)


def test_every_option_of_every_verb_is_in_the_scripts(folder):
    """A new option completes without a line here: the scripts are read from the parsers."""
    commands = read_commands(VERBS)
    assert {command.words[0] for command in commands} == set(VERBS)
    text = (folder / "bash").read_text()
    for command in commands:
        for argument in command.arguments:
            assert all(flag in text for flag in argument.flags), (command, argument)
    train = next(command for command in commands if command.words == ("train",))
    names = next(argument for argument in train.arguments if not argument.flags)
    assert names.choices == tuple(list_recipes()) and names.takes_files


def test_hidden_options_stay_hidden(monkeypatch):
    """What help suppresses is not offered; numbers offer no files, paths and names do."""

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--secret", help=argparse.SUPPRESS)
        parser.add_argument("--count", type=int)
        parser.add_argument("--model")
        parser.add_argument("--set", metavar="KEY=VALUE", nargs="+")

    module = types.ModuleType("depthkit.cli.try")
    module.add_arguments = add_arguments
    monkeypatch.setitem(sys.modules, "depthkit.cli.try", module)
    (command,) = read_commands({"try": "of the tests"})
    files = {a.flags: a.takes_files for a in command.arguments}
    assert files == {
        ("-h", "--help"): False,
        ("--count",): False,
        ("--model",): True,
        ("--set",): False,
    }


def test_an_unknown_shell_is_wrong_usage(capsys):
    """Exit 2, and the shells there are."""
    assert main(["completion", "tcsh"]) == 2
    assert "bash" in capsys.readouterr().err
