# SPDX-License-Identifier: Apache-2.0
"""Strict configuration: what loads, what is refused, and in which words."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from depthkit.config.strict_yaml import (
    config_from_mapping,
    field_help,
    load_config,
    override,
    to_yaml,
)
from depthkit.errors import ConfigError


@dataclass(frozen=True)
class Data:
    root: Path = Path("data")
    """Where the sequences are."""
    shifts: tuple[int, ...] | Literal["auto"] = (-1, 1)
    """Frame offsets of the sources;
    "auto" asks the inspection."""
    size: tuple[int, int] = (128, 416)
    flip: bool = True

    def __post_init__(self) -> None:
        if self.shifts != "auto" and 0 in self.shifts:
            raise ConfigError("shifts: 0 is the target itself")
        if min(self.size) < 1:
            raise ValueError("sides must be positive")


@dataclass(frozen=True)
class Optim:
    rate: float = 1e-4
    """Learning rate."""
    steps: int = 1000
    clip: float | None = None


@dataclass(frozen=True)
class Run:
    name: str = "run"
    mode: Literal["on", "off", 3] = "on"
    data: Data = Data()
    optim: Optim = field(default_factory=lambda: Optim(steps=50))
    teacher: Data | None = None
    weights: dict[str, float] = field(default_factory=dict)
    pretrained: bool | str = False


@dataclass(frozen=True)
class NeedsRoot:
    root: Path
    """A folder."""


def load(tmp_path: Path, text: str, *overrides: str, schema: Any = Run) -> Any:
    """Load a schema from a file of this text."""
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(schema, path, overrides)


def refusal(tmp_path: Path, text: str, *overrides: str, schema: Any = Run) -> str:
    """Return the message of a refused file, without the folder."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, *overrides, schema=schema)
    return str(caught.value).replace(f"{tmp_path}/", "")


def test_load_without_file_gives_the_defaults() -> None:
    """No file and no override is the schema's own default."""
    assert load_config(Run, None) == Run()


def test_load_prefers_override_to_file_to_default(tmp_path: Path) -> None:
    """default < file < override, each leaving the rest alone."""
    run = load(tmp_path, "optim: {rate: 0.5, clip: 2}", "optim.rate=0.25", "name=x")
    assert run.optim == Optim(rate=0.25, steps=50, clip=2.0)
    assert run.name == "x"
    assert run.data == Data()


def test_load_converts_by_the_declared_type(tmp_path: Path) -> None:
    """What PyYAML would read wrongly (1e-4, on, 007) becomes what the field declares."""
    run = load(
        tmp_path,
        "name: 007\nmode: off\ndata: {root: 12, flip: no, shifts: [-2, 2], size: [1, 2]}\n"
        "optim: {rate: 1e-4, clip: null}\nweights: {smooth: 1e-3}\npretrained: on\n",
    )
    assert (run.name, run.mode, run.pretrained) == ("007", "off", True)
    assert run.data == Data(Path("12"), (-2, 2), (1, 2), False)
    assert run.optim == Optim(1e-4, 50, None)
    assert run.weights == {"smooth": 1e-3}


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_load_takes_an_empty_file_as_no_differences(tmp_path: Path, text: str) -> None:
    """An empty file differs from the defaults in nothing."""
    assert load(tmp_path, text) == Run()


def test_load_builds_an_optional_record(tmp_path: Path) -> None:
    """A union with a record takes the mapping, null or nothing."""
    assert load(tmp_path, "teacher: {flip: false}").teacher == Data(flip=False)
    assert load(tmp_path, "teacher: null").teacher is None


def test_load_takes_the_first_fitting_member_of_a_union(tmp_path: Path) -> None:
    """Text is a union's last resort: only what nothing else takes, or what is quoted."""
    assert load(tmp_path, "pretrained: weights.safetensors").pretrained == "weights.safetensors"
    assert load(tmp_path, "pretrained: 'on'").pretrained == "on"
    assert load(tmp_path, "data: {shifts: auto}").data.shifts == "auto"


REFUSALS = {
    "data: {shift: [1]}": "run.yaml: data.shift: unknown key; did you mean 'shifts'?",
    "zzz: 1": "run.yaml: zzz: unknown key; known keys are name, mode, data, optim, teacher, "
    "weights, pretrained",
    "optim: {steps: many}": "run.yaml: optim.steps: expected an integer, got many",
    "optim: {steps: 1.5}": "run.yaml: optim.steps: expected an integer, got 1.5",
    "optim: {steps: '5'}": "run.yaml: optim.steps: expected an integer, got '5'",
    "optim: {rate: .nan}": "run.yaml: optim.rate: expected a number, got .nan",
    "optim: {rate: [1]}": "run.yaml: optim.rate: expected a number, got [1]",
    "optim: {clip: x}": "run.yaml: optim.clip: expected a number or null, got x",
    "data: {flip: 1}": "run.yaml: data.flip: expected true or false, got 1",
    "data: {size: [1]}": "run.yaml: data.size: expected [an integer, an integer], got [1]",
    "data: {size: 128x416}": "run.yaml: data.size: expected [an integer, an integer], got 128x416",
    "data: {shifts: [1, b]}": "run.yaml: data.shifts: expected a list of integers "
    "or 'auto', got [1, b]",
    "data:": "run.yaml: data: expected a mapping, got nothing",
    "name: null": "run.yaml: name: expected text, got null",
    "name: {a: 1}": "run.yaml: name: expected text, got a mapping",
    "mode: offf": "run.yaml: mode: expected one of 'on', 'off', 3, got offf; did you mean 'off'?",
    "data: {shifts: [0]}": "run.yaml: data.shifts: 0 is the target itself",
    "data: {size: [0, 1]}": "run.yaml: data: sides must be positive",
    "name: a\nname: b": "run.yaml: line 2: duplicate key 'name'",
    "data: {flip: on, flip: off}": "run.yaml: line 1: duplicate key 'flip'",
    "? [a]\n: 1": "run.yaml: line 1: a key must be text",
    "[1, 2]": "run.yaml: expected a mapping of keys to values, got [1, 2]",
    "just words": "run.yaml: expected a mapping of keys to values, got just words",
}


@pytest.mark.parametrize("text", REFUSALS)
def test_load_refuses_in_one_clear_line(tmp_path: Path, text: str) -> None:
    """The message names file, dotted key, what was expected and what came."""
    assert refusal(tmp_path, text) == REFUSALS[text]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.shift=[1]", "--set data.shift: unknown key; did you mean 'shifts'?"),
        ("optim.rate=fast", "--set optim.rate: expected a number, got fast"),
        ("optim.rate=", "--set optim.rate: expected a number, got nothing"),
        ("data.shifts=[0]", "--set data.shifts: 0 is the target itself"),
        ("data.size=[0,1]", "run.yaml with --set data.size: data: sides must be positive"),
        ("data", "--set data: expected key=value, such as data.shifts=[-2,2]"),
        ("data..flip=on", "--set data..flip=on: expected key=value, such as data.shifts=[-2,2]"),
    ],
)
def test_override_is_blamed_for_its_own_errors(tmp_path: Path, override: str, message: str) -> None:
    """An error that came from --set names --set, not the file."""
    assert refusal(tmp_path, "", override) == message


def test_load_refuses_broken_yaml_with_its_line(tmp_path: Path) -> None:
    """A syntax error names file and line."""
    assert refusal(tmp_path, "name: a\ndata: [1, 2\n").startswith("run.yaml: line 3: ")


def test_load_refuses_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    """What cannot be read is named."""
    with pytest.raises(ConfigError, match=r"absent\.yaml: no such file"):
        load_config(Run, tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(Run, tmp_path)


def test_load_refuses_bytes_that_are_not_text(tmp_path: Path) -> None:
    """A picture given in place of a configuration is named as such."""
    (tmp_path / "x.yaml").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        load_config(Run, tmp_path / "x.yaml")


def test_load_names_a_required_key(tmp_path: Path) -> None:
    """A key without default must be given."""
    message = refusal(tmp_path, "", schema=NeedsRoot)
    assert message == "run.yaml: root: missing; this key has no default"


def test_load_expands_home_in_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """~ is the user's home, not a folder of that name."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load(tmp_path, "root: ~/clips", schema=NeedsRoot).root == tmp_path / "clips"


@pytest.mark.parametrize(
    "run",
    [
        Run(),
        Run(name="1e-4", mode=3, optim=Optim(rate=1e-10, clip=float("inf"))),
        Run(name="null", pretrained="on", teacher=Data(flip=False), weights={"a": -1.5}),
        Run(name="", data=Data(root=Path("a b"), shifts="auto")),
        Run(name="é: # 'x'", data=Data(shifts=())),
    ],
)
def test_yaml_reads_back_to_the_same_record(tmp_path: Path, run: Run) -> None:
    """Writing and reading loses nothing, whatever the text looks like."""
    assert load(tmp_path, to_yaml(run)) == run


def test_mapping_of_plain_values_is_read_strictly() -> None:
    """Numbers and bools of a JSON file fit by type, and an error names the file."""
    tree = {"optim": {"rate": 1, "steps": 7, "clip": None}, "data": {"size": [3, 4]}}
    run = config_from_mapping(Run, tree, "state.json")
    assert run.optim == Optim(1.0, 7, None)
    assert run.data.size == (3, 4)
    with pytest.raises(ConfigError, match=r"state\.json: data\.flip: expected true or false"):
        config_from_mapping(Run, {"data": {"flip": 1}}, "state.json")
    with pytest.raises(ConfigError, match=r"state\.json: optim\.steps: expected an integer"):
        config_from_mapping(Run, {"optim": {"steps": True}}, "state.json")


def test_field_help_lists_every_key_with_its_docstring() -> None:
    """Help holds dotted name, type, the default that holds there, and the docstring."""
    rows = {row.name: row for row in field_help(Run)}
    assert list(rows)[:6] == ["name", "mode", "data.root", "data.shifts", "data.size", "data.flip"]
    assert rows["data.shifts"].doc == 'Frame offsets of the sources; "auto" asks the inspection.'
    assert rows["data.shifts"].type == "a list of integers or 'auto'"
    assert (rows["data.shifts"].default, rows["data.flip"].default) == ("[-1, 1]", "true")
    assert rows["optim.steps"].default == "50"
    assert rows["name"].default == "run"
    assert [row.default for row in field_help(NeedsRoot)] == ["required"]


def test_words_change_a_configuration(tmp_path):
    """A configuration that was built takes further words, keeps the rest, and is not edited."""
    config = load(tmp_path, "name: mine\noptim: {rate: 1e-3}\n")
    changed = override(config, ["optim.steps=7", "data.shifts=[-2,2]"], "stage 2")
    assert (changed.name, changed.optim.rate, changed.optim.steps) == ("mine", 1e-3, 7)
    assert changed.data.shifts == (-2, 2) and config.data.shifts == (-1, 1)


def test_a_wrong_word_names_its_source(tmp_path):
    """Key, remedy and where the word stood."""
    with pytest.raises(
        ConfigError, match=r"stage 2: optim\.step: unknown key; did you mean 'steps'"
    ):
        override(load(tmp_path, ""), ["optim.step=7"], "stage 2")
