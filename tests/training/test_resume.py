# SPDX-License-Identifier: Apache-2.0
"""A killed run goes on exactly where it was; nothing that only watches changes what is learnt."""

import os
import random
import signal
import subprocess
import time
from dataclasses import replace

import pytest
import torch
from small_run import (
    ZHOU,
    call,
    curve,
    environment,
    program,
    read_log,
    small_config,
    write_config,
)

from depthkit.errors import CheckpointError, DataError
from depthkit.models.checkpoint import read_checkpoint, save_checkpoint
from depthkit.training.loop import train

LAST = "checkpoints/last.safetensors"
# 21 snippets, batches of 4: epochs end at steps 5, 10 and 15. A worker, validation, pictures and
# checkpoints fall on different steps.
BUSY = (
    "optimizer.steps=14",
    "optimizer.schedule=cosine",
    "optimizer.warmup_steps=3",
    "data.workers=1",
    "data.zoom=1.15",
    "run.save_every=3",
    "run.validate_every=4",
    "run.image_every=5",
)


def assert_same_run(run, reference) -> None:
    """Every figure of every step to 1e-6, and every tensor of the last checkpoint."""
    assert curve(run) == pytest.approx(curve(reference), rel=1e-6, abs=1e-9, nan_ok=True)
    (tensors, state), (expected, wanted) = (read_checkpoint(r / LAST) for r in (run, reference))
    assert tensors.keys() == expected.keys()
    for name, tensor in tensors.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-6, atol=1e-8, msg=name)
    assert state["best_val_loss"] == pytest.approx(wanted["best_val_loss"], rel=1e-6)


def kill_at(command: list[str], run, step: int) -> int:
    """Start a run and kill -9 it as soon as it has logged a step; return its exit code."""
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL)
    log, until = run / "log.jsonl", time.monotonic() + 240
    while time.monotonic() < until and process.poll() is None:
        if log.exists() and f'{{"step": {step},' in log.read_text():
            break
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    return process.wait()


@pytest.mark.slow
def test_a_killed_run_resumes_its_curve(world, tmp_path):
    """kill -9 at a random step, --resume: curve and weights equal the uninterrupted run's."""
    settings = write_config(tmp_path / "config.yaml", world, *BUSY)
    train(small_config(world, *BUSY), tmp_path / "whole")
    step, run = random.SystemRandom().randint(4, 11), tmp_path / "killed"
    assert kill_at(program("train", settings, "--run", run), run, step) == -signal.SIGKILL
    assert step <= max(line["step"] for line in read_log(run)) < 14, f"killed at step {step}"
    resumed = call(program("train", "--resume", "--run", run))
    assert resumed.returncode == 0, resumed.stderr
    assert_same_run(run, tmp_path / "whole")


@pytest.mark.parametrize("words", [(), (*ZHOU, "model.depth=light")], ids=["modern", "zhou"])
def test_stopping_and_resuming_changes_nothing(world, tmp_path, words, monkeypatch):
    """Stopped between two checkpoints: both losses resume in the same curve and weights."""
    config = small_config(world, *words, "optimizer.steps=7", "run.save_every=3")
    train(config, tmp_path / "whole")
    step = torch.optim.AdamW.step
    calls = []

    def step_until_five(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(torch.optim.AdamW, "step", step_until_five)
        train(config, tmp_path / "stopped")
    assert read_log(tmp_path / "stopped")[-1]["step"] == 4
    train(config, tmp_path / "stopped", resume=True)
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")


def test_watching_a_run_does_not_change_it(world, tmp_path):
    """Validation, pictures and checkpoints at every step move no weight, statistic or RNG."""
    config = small_config(world, "optimizer.steps=5")
    train(config, tmp_path / "quiet")
    often = replace(config.run, validate_every=1, image_every=1, save_every=1)
    train(replace(config, run=often), tmp_path / "watched")
    quiet, _ = read_checkpoint(tmp_path / "quiet" / LAST)
    watched, _ = read_checkpoint(tmp_path / "watched" / LAST)
    assert any("running_mean" in name for name in quiet)
    assert [name for name, tensor in quiet.items() if not torch.equal(tensor, watched[name])] == []


def test_loader_processes_do_not_change_a_run(world, tmp_path):
    """The data order and its variation follow from the seed alone, not from who reads."""
    curves = []
    for workers in (0, 2):
        words = ("optimizer.steps=3", f"data.workers={workers}", "data.zoom=1.15")
        train(small_config(world, *words), tmp_path / str(workers))
        curves.append(curve(tmp_path / str(workers)))
    assert curves[0] == curves[1]


def test_a_finished_run_has_nothing_left_to_do(world, tmp_path):
    """Resuming it changes neither log nor checkpoint and says so; more steps go on from it."""
    config = small_config(world, "optimizer.steps=2", "optimizer.schedule=constant")
    first = train(config, tmp_path / "run")
    log, weights = ((tmp_path / "run" / name).read_bytes() for name in ("log.jsonl", LAST))
    again = train(config, tmp_path / "run", resume=True)
    assert again.loss is None and again.steps == 2
    assert again.best_val_loss == pytest.approx(first.best_val_loss)
    assert log == (tmp_path / "run" / "log.jsonl").read_bytes()
    assert weights == (tmp_path / "run" / LAST).read_bytes()
    longer = replace(config, optimizer=replace(config.optimizer, steps=4))
    assert train(longer, tmp_path / "run", resume=True).loss is not None
    steps = [line["step"] for line in read_log(tmp_path / "run") if "loss/total" in line]
    assert steps == [1, 2, 3, 4]


def test_resume_without_a_checkpoint_is_an_error(world, tmp_path):
    """Nothing to go on from is said before anything is written."""
    with pytest.raises(CheckpointError, match="no checkpoint to resume from"):
        train(small_config(world), tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


def test_a_run_killed_before_its_first_checkpoint_begins_again(world, tmp_path):
    """Only config.yaml is there: resuming gives the uninterrupted run's losses."""
    config = small_config(world)
    train(config, tmp_path / "whole")
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / "config.yaml").write_bytes((tmp_path / "whole/config.yaml").read_bytes())
    train(config, tmp_path / "killed", resume=True)
    losses = [
        [line["loss/total"] for line in read_log(tmp_path / name) if "loss/total" in line]
        for name in ("whole", "killed")
    ]
    assert losses[0] == losses[1]


def test_resume_with_another_model_is_an_error(world, trained):
    """Another network cannot take the weights; the run folder stays as it is."""
    before = (trained / LAST).read_bytes()
    with pytest.raises(CheckpointError, match="another model"):
        train(small_config(world, "model.max_depth=50"), trained, resume=True)
    assert (trained / LAST).read_bytes() == before


@pytest.mark.parametrize("fault", ["missing", "extra", "misshaped"])
def test_resume_from_wrong_weights_is_an_error(world, tmp_path, trained, fault):
    """A checkpoint with a missing, extra or misshaped key is refused with the key named."""
    tensors, state = read_checkpoint(trained / LAST)
    key = "task.depth_net.heads.0.conv.bias"
    match fault:
        case "missing":
            del tensors[key]
        case "extra":
            key = "task.depth_net.heads.9.conv.bias"
            tensors[key] = torch.zeros(1)
        case "misshaped":
            tensors[key] = torch.zeros(7)
    save_checkpoint(tmp_path / "run" / LAST, tensors, state)
    words = ("optimizer.steps=5", "loss.baseline_weight=0.05")
    with pytest.raises(CheckpointError, match=f"1 {fault} .*{key.removeprefix('task.')}"):
        train(small_config(world, *words), tmp_path / "run", resume=True)


def test_a_run_folder_is_not_overwritten(world, trained, tmp_path):
    """A folder that holds a run, or a file of that name, is refused and stays as it is."""
    before = (trained / "log.jsonl").read_bytes()
    with pytest.raises(DataError, match="holds a run already; use --resume"):
        train(small_config(world), trained)
    assert (trained / "log.jsonl").read_bytes() == before
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(DataError, match="a file, not a folder"):
        train(small_config(world), tmp_path / "notes")
