# SPDX-License-Identifier: Apache-2.0
"""`depthkit demo --train`: from nothing to a report, in small; once in full, where time allows."""

import json

import numpy as np
import pytest

from depthkit.cli import main
from depthkit.config import TrainConfig
from depthkit.config.strict_yaml import load_config
from depthkit.data.sequence import open_dataset
from depthkit.pipelines.demo import training as demo_train
from depthkit.pipelines.demo.folder import ABOUT, MARKER
from depthkit.recipes import list_recipes

SMALL = ["--set", "data.size=[64,96]", "optimizer.steps=2", "optimizer.warmup_steps=0"]
SMALL += ["run.validate_every=1", "optimizer.batch_size=2", "run.threads=1"]


@pytest.fixture
def small_world(monkeypatch):
    """One flight of a part, six frames each."""
    monkeypatch.setattr(demo_train, "WORLD", demo_train.World(train=1, val=1, test=1, frames=6))


def test_training_demo_ends_in_a_report(tmp_path, small_world, capsys):
    """World, run, pictures and a report that needs no other file; the table on stdout."""
    out = tmp_path / "demo"
    assert main(["demo", "--train", "--out", str(out), *SMALL]) == 0
    captured = capsys.readouterr()
    assert (
        "untrained   trained  baseline" in captured.out and str(out / "report.html") in captured.out
    )
    assert "1/4" in captured.err and "4/4" in captured.err
    assert (out / "run/checkpoints/last.safetensors").exists()
    assert len(list((out / "pictures").glob("depth_trained_*.png"))) == 3
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 5 and "src='http" not in page
    dataset = open_dataset(out / "world")
    assert (dataset.train, dataset.val, dataset.test) == (("train_0",), ("val_0",), ("test_0",))


@pytest.mark.slow
def test_training_demo_prints_one_json_object(tmp_path, small_world, capsys):
    """--json gives the figures; the constant's error is that of the constant, by hand."""
    out = tmp_path / "demo"
    assert main(["demo", "--train", "--out", str(out), "--json", *SMALL]) == 0
    figures = json.loads(capsys.readouterr().out)
    flight = open_dataset(out / "world").open("test_0")
    truths = np.stack([flight.read_depth(i) for i in range(len(flight))])
    errors = [np.mean(np.abs(c - truths) / truths) for c in np.linspace(3, 9, 601)]
    assert figures["abs_rel_constant"] == pytest.approx(min(errors), abs=1e-3)
    assert figures["steps"] == 2 and figures["abs_rel_untrained"] > 0.05
    assert figures["ate_mean_motion"] > 0


@pytest.mark.slow
def test_training_demo_replaces_only_its_own_folder(tmp_path, small_world, capsys):
    """Without --force nothing is replaced; with it, no folder that the demo did not write."""
    out = tmp_path / "demo"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    assert main(["demo", "--train", "--out", str(out), *SMALL]) == 1
    assert "use --force" in capsys.readouterr().err
    assert main(["demo", "--train", "--out", str(out), "--force", *SMALL]) == 1
    assert "holds something else" in capsys.readouterr().err
    assert (out / "thesis.tex").read_text() == "years of work"
    (out / MARKER).write_text(ABOUT)
    assert main(["demo", "--train", "--out", str(out), "--force", *SMALL]) == 0
    assert not (out / "thesis.tex").exists()


def test_training_demo_names_a_wrong_key(tmp_path, capsys):
    """A misspelt key is one line and no folder."""
    assert main(["demo", "--train", "--out", str(tmp_path / "d"), "--set", "optimizer.step=3"]) == 1
    assert "steps" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


def test_recipe_is_shipped_and_loads():
    """The demo's configuration is found and keeps to the schema."""
    config = load_config(TrainConfig, list_recipes()["demo"])
    assert config.data.size == (96, 128) and not config.loss.auto_mask


@pytest.mark.slow
def test_training_demo_learns(tmp_path, capsys):
    """The whole demo: depth clearly better than any constant, motion better than the mean's."""
    assert (
        main(["demo", "--train", "--out", str(tmp_path / "d"), "--json", "--set", "run.threads=1"])
        == 0
    )
    figures = json.loads(capsys.readouterr().out)
    assert figures["abs_rel_trained"] < 0.75 * figures["abs_rel_constant"]
    assert figures["abs_rel_trained"] < 0.75 * figures["abs_rel_untrained"]
    assert figures["ate_trained"] < figures["ate_mean_motion"]
