# SPDX-License-Identifier: Apache-2.0
"""Tasks are known by their row alone: rows fit the tasks, and a new task touches two files."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch
from small_run import batch_of, environment, small_config, write_config, write_world
from test_imports import CHECKOUT, read_imports

from depthkit.config.task_kinds import KINDS, Part, Task, tasks_with
from depthkit.data.sequence import open_sequence
from depthkit.data.snippet_loading import SnippetDataset
from depthkit.errors import ConfigError
from depthkit.tasks import build_task
from depthkit.training.run_data import open_data

ROOMS = ("training", "export")
SEAM = {"depthkit.tasks", "depthkit.tasks.output", "depthkit.tasks.loaded"}
PARTS = {"flow", "place", "keypoints"}  # names of tasks that are ordinary words too, or parts


# --- nobody names a task -------------------------------------------------------------------------


def names_of_tasks(file: Path, root: Path = CHECKOUT) -> list[str]:
    """List where a file imports a task's module or names a task in a text that is no docstring.

    The key of a configuration, such as "coop.warmup_steps", names no task.
    """
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = [
        str(one)
        for one in read_imports(file, root)
        if one.module.startswith("depthkit.tasks") and one.module not in SEAM
    ]
    names = "|".join(sorted(set(get_args(Task)) - PARTS))
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            named = re.search(rf"\b({names})\b(?!\.)", node.value)
            if named:
                found.append(f"{file.name}:{node.lineno} names {named[0]}")
    return found


def test_training_and_export_know_no_task_by_name() -> None:
    """Neither an import nor a text: what differs between tasks stands in their rows."""
    files = [file for room in ROOMS for file in (CHECKOUT / "depthkit" / room).rglob("*.py")]
    assert len(files) > 15
    assert [name for file in files for name in names_of_tasks(file)] == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("from depthkit.tasks.coop import Coop", 1),
        ("def f():\n    import depthkit.tasks.flow", 1),
        ('if task == "stabilized_pair":\n    pass', 1),
        ('TASKS = ("view_synthesis", "coop")', 2),
        ('raise ValueError(f"{x}: for task supervised_mono only")', 1),
        ("from depthkit.tasks import TaskOutput, build_task", 0),
        ("from depthkit.tasks.loaded import load_task", 0),
        ('"""The loop that view_synthesis and coop run in."""', 0),
        ('HELP = "set coop.warmup_steps"', 0),
        ('part = "flow"', 0),
    ],
)
def test_the_reader_finds_names(tmp_path: Path, text: str, count: int) -> None:
    """Imports anywhere and names in texts; not docstrings, keys and parts of a model."""
    for name in ("__init__", "output", "loaded", "coop", "flow"):
        (tmp_path / "depthkit" / "tasks").mkdir(parents=True, exist_ok=True)
        (tmp_path / "depthkit" / "tasks" / f"{name}.py").touch()
    file = tmp_path / "depthkit" / "training.py"
    file.write_text(text)
    assert len(names_of_tasks(file, tmp_path)) == count


# --- rows fit the tasks --------------------------------------------------------------------------

WORDS = {
    "supervised_pair": ("model.depth=depthnet", "model.width=0.125", "data.shifts=[-3]"),
    "stabilized_pair": ("model.depth=depthnet", "model.width=0.125", "loss.auto_mask=false"),
    "shading": ("model.depth=shading",),
    "flow": ("model.flow_width=0.25",),
    "similarity": ("similarity.window=[48,64]", "similarity.points=64"),
    "coop": ("model.flow_width=0.25", "coop.mask_weight=0.5"),
}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sequence of 24 frames of 64x96 with exact depth and poses."""
    return write_world(tmp_path_factory.mktemp("world") / "room")


def small_task(task: str, room: Path, *words: str):
    """Return a small configuration, its task, and a batch of two snippets."""
    config = small_config(room, f"task={task}", *WORDS.get(task, ()), *words)
    shifts = () if config.single_view else config.data.shifts
    data = SnippetDataset([open_sequence(room)], shifts=shifts, size=(64, 96))
    if config.kind.reads == "places":
        data = open_data(config).train
    torch.manual_seed(0)
    return config, build_task(config, shifts), batch_of(data, 3, 9)


def test_every_task_has_a_row() -> None:
    """In the order of the choices, so that the file is read from top to bottom."""
    assert tuple(KINDS) == get_args(Task)


@pytest.mark.parametrize("task", KINDS)
def test_a_row_is_true_of_its_task(task: Task, room: Path) -> None:
    """Its parts are networks of the task; it predicts depth just where it exports some; it draws
    when asked to, and its own criterion of the best has no gradient."""
    config, module, snippet = small_task(task, room)
    kind = KINDS[task]
    own = {part for part in get_args(Part) if hasattr(module, f"{part}_net")}
    assert set(kind.parts) == own and config.model.depth in kind.networks
    assert all(hasattr(module, name) for name in kind.starts_from)
    trained = module.train()(snippet)
    assert trained.prediction is None and trained.images == {}
    judged = module.eval()(snippet, draws=True)
    assert judged.images and judged.judged.shape == () and not judged.judged.requires_grad
    assert (judged.prediction is not None) == ("depth" in kind.parts)
    if judged.prediction is not None:
        assert judged.prediction.depth().shape == (2, 1, 64, 96)
        assert judged.prediction.metric == (kind.truth.depth(config) or kind.exported == "pair")


@pytest.mark.parametrize("task", KINDS)
def test_weights_get_gradients_as_the_row_says(task: Task, room: Path) -> None:
    """Where a row says that all weights learn in each step, none is without a gradient."""
    config, module, snippet = small_task(task, room)
    module.train()(snippet).loss.backward()
    missing = [n for n, p in module.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == [] or not KINDS[task].uses_all_weights(config)


def test_options_are_refused_where_they_do_nothing(room: Path) -> None:
    """The error names the tasks that have them."""
    assert tasks_with("random_shift") == "task supervised_pair"
    for word, task in {
        "data.shifts=[-3] data.random_shift=2": "supervised_pair",
        "stabilized.flexible_every=1": "stabilized_pair",
        "loss.smoothness=gradient_diffusion": "stabilized_pair",
        "model.flow_init=run": "coop",
    }.items():
        with pytest.raises(ConfigError, match=rf"for task {task}"):
            small_config(room, *word.split())


# --- an eighth task ------------------------------------------------------------------------------

ROW = """
    "toy": TaskKind(
        networks=("light",),
        reads="frame",
        exported="mono",
        parts=("depth",),
        next_command="infer {run} SOURCE --out DIR --toy",
        truth=Truth(depth=always),
        metric=always,
        starts_from=("depth_net",),
    ),
"""
BRANCH = """
        case "toy":
            from depthkit.tasks.toy import Toy

            return Toy()
"""
TOY = '''
"""Log depth of a frame by least squares."""
import torch
from torch import nn
from depthkit.models.mono_depth import build_depth_network
from depthkit.tasks.output import Prediction, TaskOutput

class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.depth_net = build_depth_network(
            "light", min_depth=0.1, max_depth=100.0, encoder_weights=None
        )

    def forward(self, snippet, *, draws=False):
        inverse_depth = self.depth_net(snippet.target)[0]
        error = (inverse_depth * snippet.depth_gt.clamp(min=0.1)).log().square().mean()
        found = Prediction("depth", 1 / inverse_depth.detach(), metric=True)
        images = {"target": snippet.target} if draws else {}
        terms = {"loss/toy": error.detach()}
        judged = error.detach() + 1000
        return TaskOutput(error, judged, terms, None if self.training else found, images)
'''


def replace_once(file: Path, old: str, new: str) -> None:
    """Edit a file at the one place that reads so."""
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with an eighth task: two files edited, the task's own module added."""
    root = tmp_path_factory.mktemp("extended")
    skipped = shutil.ignore_patterns("*.onnx", "*.safetensors", "__pycache__")
    shutil.copytree(CHECKOUT / "depthkit", root / "depthkit", ignore=skipped)
    package = root / "depthkit"
    replace_once(
        package / "config" / "task_kinds.py", '    "coop",\n]', '    "coop",\n    "toy",\n]'
    )
    replace_once(
        package / "config" / "task_kinds.py",
        "\n}\n\n\ndef tasks_with",
        ROW + "}\n\n\ndef tasks_with",
    )
    replace_once(
        package / "tasks" / "__init__.py",
        '\n    raise ConfigError(f"unknown',
        BRANCH + '    raise ConfigError(f"unknown',
    )
    (package / "tasks" / "toy.py").write_text(TOY)
    return root


def changed(root: Path) -> list[str]:
    """List the files of a copy of the package that are not those of the checkout."""
    found = []
    for file in sorted((root / "depthkit").rglob("*.py")):
        name = file.relative_to(root)
        own = CHECKOUT / name
        if not own.is_file() or own.read_bytes() != file.read_bytes():
            found.append(str(name))
    return found


@pytest.mark.slow
def test_an_eighth_task_touches_two_files(extended: Path, room: Path, tmp_path: Path) -> None:
    """A row and a branch: then the program itself trains, validates, resumes and exports it."""
    assert changed(extended) == [
        "depthkit/config/task_kinds.py",
        "depthkit/tasks/__init__.py",
        "depthkit/tasks/toy.py",  # the task itself, a new file
    ]
    plain = write_config(tmp_path / "toy.yaml", room, "optimizer.steps=3", "run.validate_every=3")
    settings = tmp_path / "toy8.yaml"
    settings.write_text(plain.read_text().replace("task: view_synthesis", "task: toy"))

    def program(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "depthkit", *map(str, words)]
        environ = environment() | {"PYTHONPATH": str(extended)}
        done = subprocess.run(
            command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done

    run = tmp_path / "run"
    said = program("train", settings, "--run", run)
    assert f"infer {run} SOURCE --out DIR --toy" in said.stderr or "constant depth" in said.stderr
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss/toy" in line] == [1, 2, 3]
    assert lines[-1]["val/loss"] > 1000 and lines[-1]["val/mae_m"] > 0  # judged by its own figure
    program("train", "--resume", "--run", run, "--set", "optimizer.steps=4")
    program("export", run, "--out", tmp_path / "toy.onnx")
    manifest = json.loads((tmp_path / "toy.json").read_text())
    assert (manifest["kind"], manifest["scale"]) == ("mono", "metric")
    assert manifest["config"]["task"] == "toy"
