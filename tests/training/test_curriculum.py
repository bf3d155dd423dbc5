# SPDX-License-Identifier: Apache-2.0
"""Stages: each begins where the one before ended, resumes where it stopped, is checked first."""

import json

import pytest
import torch
from small_run import read_log, small_config, write_config

from depthkit.cli import main
from depthkit.cli.train import apply_overrides_last
from depthkit.config import TrainConfig
from depthkit.config.strict_yaml import load_config
from depthkit.errors import CheckpointError, ConfigError, DataError
from depthkit.models.checkpoint import read_checkpoint
from depthkit.tasks.loaded import find_checkpoint, load_task
from depthkit.training import curriculum
from depthkit.training.curriculum import stage_configs, train_stages
from depthkit.training.loop import train

LAST = "checkpoints/last.safetensors"
PAIR = (
    "task=supervised_pair",
    "model.depth=depthnet",
    "model.width=0.125",
    "data.shifts=[-3]",
    "data.random_shift=3",
    "optimizer.steps=3",
    "run.save_every=1",
)
STAGES = "stages=[['optimizer.steps=2'],['data.size=[96,144]','optimizer.learning_rate=1e-12']]"


def weights(path) -> dict[str, torch.Tensor]:
    """Return a run's networks, without what batch normalisation counts."""
    tensors, _ = read_checkpoint(path)
    return {n: t for n, t in tensors.items() if n.startswith("task.") and "running" not in n}


@pytest.fixture(scope="module")
def staged(world, tmp_path_factory):
    """A finished run of two stages; the second one's learning rate moves next to nothing."""
    run = tmp_path_factory.mktemp("staged") / "run"
    result = train_stages(small_config(world, *PAIR, STAGES), run)
    assert result.steps == 3 and result.last == run / "stage_2" / LAST
    return run


def test_stages_differ_by_their_words(world):
    """Each stage is the file with its own words; words of one stage do not reach the next."""
    first, second = stage_configs(small_config(world, *PAIR, STAGES))
    assert (first.optimizer.steps, second.optimizer.steps) == (2, 3)
    assert (first.data.size, second.data.size) == ((64, 96), (96, 144))
    assert first.optimizer.learning_rate == 5e-4 and not first.stages and not second.stages
    plain = small_config(world, *PAIR)
    assert stage_configs(plain) == (plain,)


def test_a_stage_begins_with_the_weights_before(staged):
    """With a rate of 1e-12 the second stage ends with the first one's last weights."""
    first, second = (weights(staged / name / LAST) for name in ("stage_1", "stage_2"))
    for name, tensor in first.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(second[name], tensor, atol=1e-6, rtol=1e-5)
    assert len(read_log(staged / "stage_1")) > 0 and (staged / "config.yaml").exists()


def test_the_last_stage_is_the_run(staged):
    """Whoever is given the run folder takes the last stage's last weights."""
    assert find_checkpoint(staged) == staged / "stage_2" / LAST
    assert load_task(staged).config.data.size == (96, 144)


def test_a_stopped_curriculum_goes_on(world, staged, tmp_path, monkeypatch):
    """Stopped in the second stage: the first is not trained again, and the end is the same."""
    config, run = small_config(world, *PAIR, STAGES), tmp_path / "run"
    step, calls = torch.optim.AdamW.step, []

    def step_until_four(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(torch.optim.AdamW, "step", step_until_four)
        train_stages(config, run)
    before = (run / "stage_1" / LAST).stat().st_mtime_ns
    folders = []
    monkeypatch.setattr(
        curriculum,
        "train",
        lambda c, r, resume: folders.append(r.name) or train(c, r, resume=resume),
    )
    train_stages(config, run, resume=True)
    assert folders == ["stage_2"] and before == (run / "stage_1" / LAST).stat().st_mtime_ns
    expected = weights(staged / "stage_2" / LAST)
    for name, tensor in weights(run / "stage_2" / LAST).items():
        assert torch.equal(tensor, expected[name]), name


def test_a_finished_curriculum_has_nothing_left(world, staged):
    """Resuming it trains nothing and says so."""
    again = train_stages(small_config(world, *PAIR, STAGES), staged, resume=True)
    assert again.loss is None and again.last == staged / "stage_2" / LAST


WRONG = {
    "stages=[['data.sise=[64,64]']]": r"stage 1: data\.sise: unknown key; did you mean 'size'",
    "stages=[[optimizer.steps=many]]": r"stage 1: optimizer\.steps: expected an integer",
    "stages=[[run.seed=1],[model.width=0.25]]": "stage 2: its networks cannot take the weights",
    "stages=[[run.seed=1],[model.init=elsewhere]]": r"stage 2: .*remove model\.init",
    "stages=[['stages=[[run.seed=1]]']]": "stages hold no stages",
}


@pytest.mark.parametrize("word", WRONG)
def test_wrong_stages_are_one_error_before_anything(world, tmp_path, word):
    """Keys, values and networks of every stage are looked at before the first step."""
    config = small_config(world, *PAIR, word)
    with pytest.raises(ConfigError, match=WRONG[word]):
        train_stages(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_data_of_a_late_stage_is_missed_at_once(world, tmp_path):
    """A folder that is not there is said hours before its stage would begin."""
    words = "stages=[['run.seed=1'],['data.root=/no/such/place']]"
    with pytest.raises(DataError, match="/no/such/place"):
        train_stages(small_config(world, *PAIR, words), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_folders_are_not_overwritten(world, staged, tmp_path):
    """A run is kept; a file is no folder; nothing to resume is an error."""
    config = small_config(world, *PAIR, STAGES)
    with pytest.raises(DataError, match="holds a run already"):
        train_stages(config, staged)
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(DataError, match="a file, not a folder"):
        train_stages(config, tmp_path / "notes")
    with pytest.raises(CheckpointError, match="holds no run to resume"):
        train_stages(config, tmp_path / "none", resume=True)


def test_start_weights_are_loaded_strictly(world, staged, tmp_path):
    """model.init takes a run of the same networks; another width is refused with a key named."""
    words = (*PAIR, "optimizer.steps=1", "optimizer.learning_rate=1e-12")
    train(small_config(world, *words, f"model.init={staged}"), tmp_path / "run")
    expected = weights(staged / "stage_2" / LAST)
    for name, tensor in weights(tmp_path / "run" / LAST).items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, expected[name], atol=1e-6, rtol=1e-5)
    wide = small_config(world, *words, f"model.init={staged}", "model.width=0.5")
    with pytest.raises(
        CheckpointError, match=r"weights of another network: .*misshaped \(depth_net"
    ):
        train(wide, tmp_path / "wide")
    with pytest.raises(CheckpointError, match=r"^model\.init: .*no such checkpoint"):
        train(small_config(world, *words, "model.init=/no/such/run"), tmp_path / "none")
    assert not (tmp_path / "wide").exists() and not (tmp_path / "none").exists()


def test_a_resumed_run_does_not_need_its_first_weights(world, staged, tmp_path):
    """model.init is where a run began; once it has a checkpoint of its own it is not read."""
    config = small_config(world, *PAIR, "optimizer.steps=2", f"model.init={staged}")
    train(config, tmp_path / "run")
    longer = small_config(world, *PAIR, "optimizer.steps=3", "model.init=/gone")
    assert train(longer, tmp_path / "run", resume=True).steps == 3


def test_a_dry_run_shows_all_stages(world, tmp_path, capsys):
    """Each stage's words, data and networks, nothing written; as JSON one object."""
    settings = write_config(tmp_path / "config.yaml", world, *PAIR, STAGES)
    assert main(["train", str(settings), "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "stage 1 of 2: optimizer.steps=2" in text and "stage 2 of 2: data.size=[96,144]" in text
    assert main(["train", str(settings), "--dry-run", "--json"]) == 0
    stages = json.loads(capsys.readouterr().out)["stages"]
    assert len(stages) == 2 and set(stages[0]["parameters"]) == {"depth_net"}
    assert [p.name for p in tmp_path.iterdir()] == ["config.yaml"]


def test_the_command_line_wins_over_stages(world, tmp_path):
    """Default < file < stage < --set: words of the command line come last in every stage."""
    settings = write_config(tmp_path / "config.yaml", world, *PAIR, STAGES)
    words = ["optimizer.steps=7"]
    config = apply_overrides_last(load_config(TrainConfig, settings, words), words)
    assert [stage.optimizer.steps for stage in stage_configs(config)] == [7, 7]
    assert stage_configs(config)[1].data.size == (96, 144)


def test_an_interrupted_run_says_how_to_go_on(world, tmp_path, monkeypatch, capsys):
    """Ctrl-C: the exact command, with the run's own folder and not a stage's, and the step of the
    last checkpoint; nothing where no run was begun."""
    run = tmp_path / "my run"
    config = small_config(world, "optimizer.steps=1", "stages=[[run.seed=1], [run.seed=2]]")
    calls = []

    def interrupted(stage, folder, *, resume):
        calls.append(folder.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return train(stage, folder, resume=resume)

    monkeypatch.setattr(curriculum, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_stages(config, run)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == (
        f"stopped; go on with: depthkit train --resume --run '{run}' "
        "(the last checkpoint is of step 1)"
    )

    def at_once(config, run, *, resume):
        raise KeyboardInterrupt

    monkeypatch.setattr(curriculum, "train", at_once)
    with pytest.raises(KeyboardInterrupt):
        train_stages(small_config(world), tmp_path / "other")
    assert capsys.readouterr().err == ""
