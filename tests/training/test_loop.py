# SPDX-License-Identifier: Apache-2.0
"""The loop: it learns, it keeps its schedule, and it stops loudly when a number is not finite."""

import json
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_run import ZHOU, call, program, read_log, small_config, write_config

from depthkit.config import OptimizerConfig
from depthkit.data.sequence import open_sequence
from depthkit.data.snippet_loading import SnippetDataset
from depthkit.errors import DataError, TrainingError
from depthkit.models.checkpoint import read_checkpoint
from depthkit.tasks import Prediction, TaskOutput
from depthkit.tasks.loaded import load_task
from depthkit.training import loop
from depthkit.training.device import build_fabric
from depthkit.training.loop import learning_rate, train
from depthkit.training.validation import validate

LAST = "checkpoints/last.safetensors"


def rates(**settings) -> list[float]:
    """Return the learning rate of each step of a run."""
    config = OptimizerConfig(learning_rate=1.0, **settings)
    return [learning_rate(config, step) for step in range(1, config.steps + 1)]


def test_learning_rate_falls_to_a_tenth_for_the_last_quarter():
    """Step schedule of 8 steps: six at one, two at a tenth."""
    assert rates(steps=8, schedule="step") == pytest.approx([1] * 6 + [0.1] * 2)


def test_learning_rate_follows_half_a_cosine():
    """Four steps: 0.01 + 0.99 (1 + cos(pi k / 4)) / 2 for k = 0..3, by hand."""
    expected = [1, 0.01 + 0.99 * 0.8535533906, 0.505, 0.01 + 0.99 * 0.1464466094]
    assert rates(steps=4, schedule="cosine") == pytest.approx(expected)


def test_learning_rate_warms_up_linearly():
    """Warm-up of 4 steps: quarters, then the schedule as if it had always been there."""
    assert rates(steps=8, schedule="constant", warmup_steps=4) == pytest.approx(
        [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]
    )
    assert rates(steps=8, warmup_steps=2)[-2:] == pytest.approx([0.1, 0.1])


def test_learning_rate_reaches_the_optimiser(world, tmp_path):
    """The log holds the schedule's rates, and a rate of next to nothing moves no weight."""
    words = ("optimizer.steps=4", "optimizer.warmup_steps=1", "optimizer.learning_rate=1e-12")
    train(small_config(world, *words), tmp_path / "run")
    logged = [line["learning_rate"] for line in read_log(tmp_path / "run") if "loss/total" in line]
    assert logged == pytest.approx([1e-12, 1e-12, 1e-12, 1e-13])
    torch.manual_seed(0)
    start = loop.build_task(small_config(world), (-1, 1)).state_dict()
    tensors, _ = read_checkpoint(tmp_path / "run" / LAST)
    torch.testing.assert_close(
        tensors["task.depth_net.heads.0.conv.weight"], start["depth_net.heads.0.conv.weight"]
    )


def test_thirty_steps_lower_the_loss(world, tmp_path):
    """Overfit on exact synthetic data: the mean of the last five losses is well below the first."""
    words = (
        "optimizer.steps=30",
        "optimizer.learning_rate=1e-3",
        "optimizer.schedule=constant",
        "optimizer.batch_size=6",
        "data.flip=false",
        "data.colour_jitter=0",
        "loss.auto_mask=false",
        "loss.ssim_weight=0",
    )
    result = train(small_config(world, *words), tmp_path / "run")
    losses = [line["loss/total"] for line in read_log(tmp_path / "run") if "loss/total" in line]
    assert len(losses) == 30 and result.loss == pytest.approx(losses[-1])
    assert np.mean(losses[-5:]) < 0.85 * np.mean(losses[:5])


def test_zhou_run_from_the_command_line(world, tmp_path):
    """Zhou's configuration as a real program: trains, and prints one JSON object on stdout."""
    settings = write_config(tmp_path / "zhou.yaml", world, *ZHOU, "optimizer.steps=2")
    done = call(program("train", settings, "--run", tmp_path / "run", "--json"))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["steps"] == 2 and math.isfinite(result["loss"])
    terms = read_log(tmp_path / "run")[0]
    assert {"loss/photometric", "loss/smoothness", "loss/explainability"} <= terms.keys()


def test_checkpoint_carries_its_origin(trained):
    """Config, commit, step, shifts, sequences and scale stand in the last and best checkpoint."""
    for name, step in (("last", 3), ("best", None)):
        tensors, state = read_checkpoint(trained / "checkpoints" / f"{name}.safetensors")
        assert step is None or state["step"] == step
        assert (state["shifts"], state["sequences"], state["scale"]) == (
            [-1, 1],
            ["room"],
            "metric",
        )
        assert state["commit"] and state["config"]["data"]["size"] == [64, 96]
        assert {key.split(".")[0] for key in tensors} == {"task", "optimizer", "rng"}
    assert not list(trained.rglob("*partial*"))


def test_best_checkpoint_is_of_the_lowest_validation(world, tmp_path, monkeypatch):
    """Validation losses 3, 1, 2: the best is step 2's, and a resumed run keeps it."""
    scores = iter([3.0, 1.0, 2.0, 1.5])
    monkeypatch.setattr(loop, "validate", lambda *args: {"val/loss": next(scores)})
    config = small_config(world, "optimizer.steps=3", "run.validate_every=1")
    result = train(config, tmp_path / "run")
    assert result.best_val_loss == 1.0
    assert read_checkpoint(result.best)[1]["step"] == 2
    longer = replace(config, optimizer=replace(config.optimizer, steps=4))
    assert train(longer, tmp_path / "run", resume=True).best_val_loss == 1.0
    assert read_checkpoint(result.best)[1]["step"] == 2


def test_clipping_bounds_the_gradient(world, tmp_path):
    """The norm logged is the one before clipping; below the bound nothing changes."""
    norms, losses = {}, {}
    for clip in (0, 1000, 1e-9):
        words = ("optimizer.steps=2", f"optimizer.gradient_clip={clip}")
        losses[clip] = train(small_config(world, *words), tmp_path / str(clip)).loss
        norms[clip] = read_log(tmp_path / str(clip))[0]["gradient_norm"]
    assert norms[0] == norms[1000] == norms[1e-9] > 1e-3
    assert losses[0] == losses[1000] != losses[1e-9]


# --- numbers that are not finite -----------------------------------------------------------------


def spoil_frame(monkeypatch, frame: int) -> None:
    """Make one target's colours NaN, as a broken decoder would."""
    read = SnippetDataset.__getitem__

    def spoilt(self, item):
        snippet = read(self, item)
        bad = snippet.names[0].endswith(f"/{frame:06d}")
        return replace(snippet, target=snippet.target * math.nan) if bad else snippet

    monkeypatch.setattr(SnippetDataset, "__getitem__", spoilt)


def test_a_loss_that_is_not_finite_names_its_batch(world, tmp_path, monkeypatch):
    """A NaN frame stops the run: step, term and frames named, the last good checkpoint kept."""
    run = tmp_path / "run"
    words = ("optimizer.steps=12", "optimizer.batch_size=2", "run.save_every=1")
    spoil_frame(monkeypatch, frame=9)
    with pytest.raises(TrainingError) as stop:
        train(small_config(world, *words), run)
    message = str(stop.value)
    assert "loss nan (loss/photometric" in message and "room/000009" in message
    assert f"the last good checkpoint is {run / LAST}" in message
    step = int(message.split(":")[0].removeprefix("step "))
    tensors, state = read_checkpoint(run / LAST)
    assert state["step"] == step - 1 and all(t.isfinite().all() for t in tensors.values())
    assert load_task(run).config.data.size == (64, 96)


def poison(monkeypatch, spoil) -> None:
    """Let a function change the task as soon as it is built."""
    build = loop.build_task

    def poisoned(*args):
        task = build(*args)
        spoil(task)
        return task

    monkeypatch.setattr(loop, "build_task", poisoned)


def test_a_weight_that_is_not_finite_stops_at_once(world, tmp_path, monkeypatch):
    """A NaN weight: step 1, and the message says that no checkpoint exists yet."""

    def spoil(task):
        with torch.no_grad():
            task.depth_net.heads[0].conv.bias.fill_(math.nan)

    poison(monkeypatch, spoil)
    with pytest.raises(TrainingError, match=r"step 1: loss nan .*no checkpoint was written yet"):
        train(small_config(world), tmp_path / "run")


NAN_MOTION = """
import sys
from pathlib import Path
from small_run import small_config
from depthkit.tasks import TaskOutput
from depthkit.training import loop
from depthkit.training.device import build_fabric
build = loop.build_task
def poisoned(*args):
    task = build(*args)
    task.pose_net.head[-1].bias.data.fill_(float("nan"))
    return task
loop.build_task = poisoned
try:
    loop.train(small_config(Path(sys.argv[1])), Path(sys.argv[2]))
except loop.TrainingError as error:
    print(error)
"""


def test_a_motion_that_is_not_finite_stops_the_run(world, tmp_path):
    """A NaN motion is an error with the batch named, not a crash. In a process of its own."""
    done = call([sys.executable, "-c", NAN_MOTION, str(world), str(tmp_path / "run")])
    assert done.returncode == 0, f"exit code {done.returncode}"
    assert "step 1: " in done.stdout and "on room/" in done.stdout


@pytest.mark.parametrize("clip", [10, 0])
def test_a_gradient_that_is_not_finite_names_its_batch(world, tmp_path, monkeypatch, clip):
    """A finite loss with an infinite gradient stops before the weights are touched."""
    calls = []

    def explode(gradient):
        calls.append(1)
        return gradient * math.inf if len(calls) == 3 else gradient

    def spoil(task):
        next(task.depth_net.parameters()).register_hook(explode)

    poison(monkeypatch, spoil)
    words = ("run.save_every=1", f"optimizer.gradient_clip={clip}")
    with pytest.raises(TrainingError, match=r"step 3: gradient norm (nan|inf) on room/"):
        train(small_config(world, *words), tmp_path / "run")
    tensors, state = read_checkpoint(tmp_path / "run" / LAST)
    assert state["step"] == 2 and all(t.isfinite().all() for t in tensors.values())


# --- refused before the first step ---------------------------------------------------------------


def test_a_batch_larger_than_the_data_leaves_nothing(world, tmp_path):
    """The error comes before the run folder, so that the corrected run may use its name."""
    with pytest.raises(DataError, match="21 snippets are fewer than one batch of 99"):
        train(small_config(world, "optimizer.batch_size=99"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_run_folder_holds_the_resolved_configuration(world, trained):
    """config.yaml of the run reads back as the very configuration it ran with."""
    from depthkit.config import TrainConfig
    from depthkit.config.strict_yaml import load_config

    words = ("optimizer.steps=3", "run.validate_every=2", "loss.baseline_weight=0.05")
    assert load_config(TrainConfig, trained / "config.yaml") == small_config(world, *words)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_pairs_with_known_depth_train_and_are_scored_in_metres(world, tmp_path, precision):
    """supervised_pair end to end: finite, validated without any scaling, said to be metric."""
    words = ("task=supervised_pair", "model.depth=depthnet", "model.width=0.125")
    words += ("data.shifts=[-3]", "data.random_shift=6", "optimizer.steps=2", "data.workers=1")
    config = small_config(world, *words, f"run.precision={precision}")
    assert math.isfinite(train(config, tmp_path / "run").loss)
    scores = read_log(tmp_path / "run")[-1]
    assert {"val/loss", "val/mae_m", "val/abs_rel", "val/a1"} <= scores.keys()
    state = read_checkpoint(tmp_path / "run" / LAST)[1]
    assert state["scale"] == "metric" and state["nominal_baseline"] == 0.3 and state["focal"] > 0


def test_metric_tasks_are_scored_as_they_are(world, monkeypatch):
    """2 m said, 4 m true: 2 m of error, half of the truth; clipped truth, unknown left out."""
    config = small_config(world, "supervised.max_depth=5", "optimizer.batch_size=2")
    data = SnippetDataset([open_sequence(world)], shifts=(-1,), size=(64, 96))

    class Says(torch.nn.Module):
        """Predicts 2 m against given truth."""

        def forward(self, snippet, *, draws=False):
            truth = torch.full((len(snippet.names), 1, 64, 96), 4.0)
            truth[..., :32] = 9  # clipped to 5
            truth[..., 32:48] = 0
            depth = torch.full_like(truth, 2.0)
            prediction = Prediction("depth", depth, metric=True, truth=truth)
            return TaskOutput(torch.tensor(7.0), torch.tensor(3.0), {}, prediction)

    scores = validate(Says(), data, config, build_fabric(config.run))
    assert scores["val/loss"] == 3 and scores["val/depth_spread"] == 0
    assert scores["val/mae_m"] == pytest.approx((3 * 32 + 2 * 48) / 80)
    assert scores["val/abs_rel"] == pytest.approx((3 / 5 * 32 + 2 / 4 * 48) / 80)
    assert scores["val/a1"] == 0
