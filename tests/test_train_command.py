# SPDX-License-Identifier: Apache-2.0
"""`depthkit train` from the command line: wrong input is one line and nothing written."""

import json

import pytest
import torch
from small_run import small_words, write_config, write_world

from depthkit.cli import main
from depthkit.config import TrainConfig
from depthkit.config.strict_yaml import field_help


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A sequence of 24 frames of 64x96 with exact depth and poses."""
    return write_world(tmp_path_factory.mktemp("world") / "room")


@pytest.fixture
def settings(world, tmp_path):
    """A configuration file that works."""
    (tmp_path / "in").mkdir()
    return write_config(tmp_path / "in" / "config.yaml", world)


def refused(capsys, tmp_path, *words) -> str:
    """Expect exit 1, ONE line on stderr, nothing on stdout or disk; return the line."""
    run = tmp_path / "run"
    assert main(["train", *map(str, words), "--run", str(run)]) == 1
    said = capsys.readouterr()
    assert said.out == "" and not run.exists()
    (line,) = said.err.splitlines()
    assert line.startswith("depthkit: error: ")
    return line.removeprefix("depthkit: error: ")


WRONG_WORDS = {
    "optimizer.lerning_rate=1": ("optimizer.lerning_rate", "learning_rate"),
    "data.shift=[-1,1]": ("data.shift", "did you mean 'shifts'"),
    "losses.scales=2": ("losses", "did you mean 'loss'"),
    "optimizer.steps=many": ("optimizer.steps", "many"),
    "optimizer.steps=1.5": ("optimizer.steps", "1.5"),
    "data.flip=[1]": ("data.flip",),
    "data.size=[64]": ("data.size",),
    "model.depth=resnet19": ("model.depth", "resnet18"),
    "run.device=tpu": ("run.device", "cuda"),
    "optimizer.learning_rate=-1": ("optimizer.learning_rate", "above 0"),
    "data.shifts=[0,1]": ("data.shifts", "target itself"),
    "data.shifts=[-30,30]": ("24 frames are too few", "61"),
    "data.shifts=[-1,40]": ("24 frames are too few", "42"),
    "optimizer.batch_size=22": ("21 snippets are fewer than one batch of 22",),
    "data.train=[nowhere]": ("nowhere",),
    "data.root=/no/such/place": ("/no/such/place",),
    "run.precision=fp16": ("run.precision", "use bf16 or fp32"),
    "model.encoder_weights=imagenet": ("'light' has no ImageNet weights",),
    "loss.reduction=mean": ("auto_mask", "reduction: minimum"),
    "loss.explainability_weight=0.2": ("explainability_weight",),
}


@pytest.mark.parametrize("word", WRONG_WORDS)
def test_wrong_settings_are_one_line(word, settings, tmp_path, capsys):
    """Unknown keys (nearest name), wrong types, choices, sizes: named, nothing written."""
    line = refused(capsys, tmp_path, settings, "--set", word)
    for part in WRONG_WORDS[word]:
        assert part in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_one_line(settings, tmp_path, capsys):
    """No GPU when asked for: said, never replaced by the CPU."""
    line = refused(capsys, tmp_path, settings, "--set", "run.device=cuda")
    assert "run.device: cuda asked for" in line and "use cpu" in line


def test_wrong_files_are_one_line(settings, tmp_path, capsys):
    """A file that is not there, not YAML, or a list: named with what was expected."""
    assert "no such file" in refused(capsys, tmp_path, tmp_path / "none.yaml")
    bad = tmp_path / "in" / "bad.yaml"
    bad.write_text("data: [unclosed")
    assert "bad.yaml" in refused(capsys, tmp_path, bad)
    bad.write_text("- 1\n- 2\n")
    assert "expected a mapping" in refused(capsys, tmp_path, bad)
    bad.write_text("data:\n  shifts: [-1, 1]\n  shifts: [-2, 2]\n")
    assert "bad.yaml" in refused(capsys, tmp_path, bad)


def test_missing_arguments_are_one_line(settings, tmp_path, capsys):
    """No configuration, or no run folder: the option to give is named."""
    assert "no configuration file" in refused(capsys, tmp_path)
    assert main(["train", str(settings)]) == 1
    assert capsys.readouterr().err == "depthkit: error: no run folder; give --run DIR\n"


def test_resume_without_a_checkpoint_is_one_line(settings, tmp_path, capsys):
    """Nothing to resume from, with a configuration or without."""
    assert "no checkpoint to resume from" in refused(capsys, tmp_path, settings, "--resume")
    assert "config.yaml: no such file" in refused(capsys, tmp_path, "--resume")


def test_an_existing_run_is_one_line(settings, tmp_path, capsys):
    """A second run into the same folder is refused and the first one kept; --resume goes on."""
    words = ["train", str(settings), "--run", str(tmp_path / "run")]
    assert main([*words, "--set", "optimizer.steps=1"]) == 0
    before = (tmp_path / "run" / "log.jsonl").read_bytes()
    capsys.readouterr()
    assert main(words) == 1
    assert "holds a run already; use --resume" in capsys.readouterr().err
    assert (tmp_path / "run" / "log.jsonl").read_bytes() == before
    assert main([*words, "--resume", "--set", "optimizer.steps=2", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["steps"] == 2 and result["last"].endswith("checkpoints/last.safetensors")


def test_a_complete_run_resumed_says_so(settings, tmp_path, capsys):
    """Exit 0, no NaN in the JSON, and no checkpoint touched."""
    words = ["train", str(settings), "--run", str(tmp_path / "run")]
    assert main([*words, "--set", "optimizer.steps=1"]) == 0
    capsys.readouterr()
    assert main(["train", "--resume", "--run", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["loss"] is None
    assert main(["train", "--resume", "--run", str(tmp_path / "run")]) == 0
    assert "1 steps, complete already" in capsys.readouterr().out


def test_dry_run_counts_and_writes_nothing(settings, tmp_path, capsys):
    """Weights of each network, data found, one batch tried; DispNetS has 31.6 M weights."""
    words = ["train", str(settings), "--run", str(tmp_path / "run"), "--dry-run"]
    assert main([*words, "--set", "model.depth=dispnet", "model.pose=resnet18"]) == 0
    text = capsys.readouterr().out
    assert "depth_net       31.60 M weights" in text and "pose_net" in text
    assert "21 to train, 1 held out" in text and "cpu, fp32" in text
    assert main([*words, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert set(figures["parameters"]) == {"depth_net", "pose_net"}
    assert figures["train_snippets"] == 21 and 0 < figures["loss"] < 1
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_dry_run_finds_what_the_run_would_refuse(settings, tmp_path, capsys):
    """A batch larger than the data fails in the dry run too, not only an hour later."""
    line = refused(capsys, tmp_path, settings, "--dry-run", "--set", "optimizer.batch_size=22")
    assert "fewer than one batch" in line


def test_keys_lists_every_key(capsys):
    """--keys needs no file and names each key with type, default and meaning."""
    assert main(["train", "--keys"]) == 0
    text = capsys.readouterr().out
    assert "optimizer.learning_rate: " in text and "data.shifts: " in text
    entries = list(field_help(TrainConfig))
    assert all(f"{entry.name}: " in text and entry.doc in text for entry in entries)
    assert len(entries) > 40


def test_set_is_stronger_than_the_file(settings, world, tmp_path, capsys):
    """default < file < --set, and the resolved configuration is kept in the run folder."""
    words = ["train", str(settings), "--run", str(tmp_path / "run"), "--set", "optimizer.steps=1"]
    assert main([*words, "--set", "run.seed=5"]) == 0
    text = (tmp_path / "run" / "config.yaml").read_text()
    assert "seed: 5" in text and "steps: 1\n" in text and "batch_size: 4" in text
    assert any(word == "optimizer.batch_size=4" for word in small_words(world))


def test_a_run_that_learnt_a_constant_ends_with_a_warning(settings, tmp_path, capsys, monkeypatch):
    """In place of what to do next: one sentence, exit 0, and the warning in the JSON."""
    from depthkit.training import loop

    spreads = iter([0.4, 0.001, 0.001])
    judge = loop.validate

    def judged(*args):
        return judge(*args) | {"val/depth_spread": next(spreads)}

    monkeypatch.setattr(loop, "validate", judged)
    words = ["--set", "optimizer.steps=1"]
    for k, (ends, other) in enumerate([("next: depthkit infer", "constant depth")] * 2):
        ends, other = (other, ends) if k else (ends, other)
        assert main(["train", str(settings), "--run", str(tmp_path / str(k)), *words]) == 0
        said = capsys.readouterr()
        assert ends in said.err.splitlines()[-1] and other not in said.err
        assert said.out.startswith("1 steps, loss")
    assert main(["train", str(settings), "--run", str(tmp_path / "2"), *words, "--json"]) == 0
    assert "constant depth" in json.loads(capsys.readouterr().out)["warning"]


def test_keys_print_ranges(capsys):
    """A range stands beside the type, so that nobody finds it by trying."""
    assert main(["train", "--keys"]) == 0
    text = capsys.readouterr().out
    assert "coop.least_share: a number, above 0, below 0.15 = 0.002" in text
    assert "run.devices: an integer, 1 or more = 1" in text
    docs = [entry.doc for entry in field_help(TrainConfig)]
    assert all(doc and not doc.startswith("Of ") for doc in docs)
