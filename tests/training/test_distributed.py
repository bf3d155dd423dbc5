# SPDX-License-Identifier: Apache-2.0
"""Two processes learn what one learns with the same total batch. Networks without BatchNorm."""

import json
import sys

import pytest
from small_run import call, program, read_log, small_config, write_config

from depthkit.models.checkpoint import read_checkpoint
from depthkit.training.loop import train

PLAIN = (
    "model.depth=dispnet",
    "model.pose=posenet",
    "optimizer.steps=3",
    "optimizer.schedule=constant",
)


@pytest.fixture(scope="module")
def alone(world, tmp_path_factory):
    """The same run in one process."""
    run = tmp_path_factory.mktemp("alone") / "run"
    train(small_config(world, *PLAIN), run)
    return run


def assert_same_curve(run, alone, steps: int) -> None:
    """Each figure of each training step, once, to 1e-4; shares of pixels to a dozen pixels.

    Sums of two processes differ in their last bits, and a pixel at a threshold falls either way.
    """
    mine, other = ([line for line in read_log(r) if "loss/total" in line] for r in (run, alone))
    assert [line["step"] for line in mine] == list(range(1, steps + 1))
    for line, expected in zip(mine, other[:steps], strict=True):
        for clock in ("seconds", "images_per_second"):
            del line[clock], expected[clock]
        shares = {name for name in expected if name.startswith("health/kept")}
        for name in shares:
            assert line.pop(name) == pytest.approx(expected.pop(name), abs=5e-4)  # of 24576
        assert line == pytest.approx(expected, rel=1e-4, abs=1e-6)


def torchrun(processes: int, logs) -> list[str]:
    """Return the words that start the program under torchrun.

    The `--` is needed: without it torchrun takes `--run` for a shortened option of its own.
    """
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher.append(f"--log-dir={logs}")
    return [*launcher, f"--nproc_per_node={processes}", "-m", "--", "depthkit"]


def test_torchrun_learns_what_one_process_learns(world, tmp_path, alone):
    """Two torchrun processes on gloo: same losses, one log, one result, one checkpoint."""
    settings = write_config(tmp_path / "config.yaml", world, *PLAIN)
    words = ["train", str(settings), "--run", str(tmp_path / "run"), "--json"]
    done = call([*torchrun(2, tmp_path), *words])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 3
    assert "2 x cpu" in done.stderr
    assert_same_curve(tmp_path / "run", alone, steps=3)
    _, state = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.safetensors")
    assert state["step"] == 3


@pytest.mark.slow
def test_own_launch_learns_what_one_process_learns(world, tmp_path, alone):
    """run.devices=2 from the command line starts its second process itself."""
    settings = write_config(tmp_path / "config.yaml", world, *PLAIN, "optimizer.steps=2")
    words = ["train", str(settings), "--run", str(tmp_path / "run")]
    done = call(program(*words, "--json", "--set", "run.devices=2"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 2 and "2 x cpu" in done.stderr
    assert_same_curve(tmp_path / "run", alone, steps=2)


@pytest.mark.slow
def test_two_processes_resume(world, tmp_path, alone):
    """A run of two processes, stopped at its second step, goes on as two processes."""
    settings = write_config(tmp_path / "config.yaml", world, *PLAIN, "run.devices=2")
    words = ["train", str(settings), "--run", str(tmp_path / "run")]
    first = call(program(*words, "--set", "optimizer.steps=2"))
    assert first.returncode == 0, first.stderr
    second = call(program(*words, "--resume"))
    assert second.returncode == 0, second.stderr
    assert_same_curve(tmp_path / "run", alone, steps=3)


def test_an_error_before_the_start_is_said_once(world, tmp_path):
    """A folder that holds a run: two processes wanted, one line, exit 1, and no process stays."""
    settings = write_config(tmp_path / "config.yaml", world, *PLAIN, "run.devices=2")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("")
    done = call(program("train", settings, "--run", tmp_path / "run"), timeout=180)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("depthkit: error: ") and "holds a run already" in line


@pytest.mark.slow
def test_a_batch_that_does_not_divide_is_an_error(world, tmp_path):
    """Three snippets over two processes: exit 1, the remedy named, nothing written."""
    settings = write_config(tmp_path / "config.yaml", world, *PLAIN, "optimizer.batch_size=3")
    words = ["train", str(settings), "--run", str(tmp_path / "run")]
    done = call(program(*words, "--set", "run.devices=2"))
    assert done.returncode == 1
    assert "set optimizer.batch_size to a multiple of 2" in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "run").exists()


SPOIL_ONE_SHARE = """
import math, os, sys
from pathlib import Path
from small_run import small_config
from depthkit.errors import TrainingError
from depthkit.training import loop
build = loop.build_task
def poisoned(*args):
    task = build(*args)
    judge = task.forward
    def forward(snippet):
        output = judge(snippet)
        bad = os.environ["RANK"] == "1"
        return output._replace(loss=output.loss * math.nan) if bad else output
    task.forward = forward
    return task
loop.build_task = poisoned
config = small_config(Path(sys.argv[1]), "model.depth=light", "model.pose=posenet")
try:
    loop.train(config, Path(sys.argv[2]))
except TrainingError as error:
    print(f"stopped {os.environ['RANK']}: {error}", flush=True)
"""


@pytest.mark.slow
def test_one_bad_share_stops_all_processes(world, tmp_path):
    """A loss that is not finite in one process stops both at the same step; none waits for ever."""
    script = tmp_path / "spoil.py"
    script.write_text(SPOIL_ONE_SHARE)
    command = [*torchrun(2, tmp_path)[:-3], str(script), str(world), str(tmp_path / "run")]
    done = call(command, timeout=180)
    assert done.returncode == 0, done.stderr
    assert {line.partition(":")[0] for line in done.stdout.splitlines()} == {
        "stopped 0",
        "stopped 1",
    }
    assert done.stdout.count("step 1: loss nan") == 2
