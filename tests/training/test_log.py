# SPDX-License-Identifier: Apache-2.0
"""What a run says: JSON lines, TensorBoard files, nothing from other processes."""

import json
import math

import pytest
import torch
from small_run import read_log, small_config
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from depthkit.training.log import RunLog
from depthkit.training.loop import train


def open_log(run, start=0, writes=True) -> RunLog:
    """Open a log of ten steps."""
    run.mkdir(exist_ok=True)
    return RunLog(run, start=start, steps=10, writes=writes)


def test_log_drops_lines_after_the_resumed_step(tmp_path):
    """Lines of the try that was killed, the half-written last one too, do not stay in the curve."""
    with open_log(tmp_path / "run") as log:
        for step in range(1, 9):
            log.scalars(step, {"loss/total": step / 10})
    with (tmp_path / "run" / "log.jsonl").open("a") as file:
        file.write('{"step": 9, "loss/to')
    with open_log(tmp_path / "run", start=5) as log:
        log.scalars(6, {"loss/total": 0.66})
    lines = read_log(tmp_path / "run")
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[-1]["loss/total"] == 0.66


def test_log_lines_are_json_of_any_reader(tmp_path):
    """A figure that is not a number is null: NaN and Infinity are not JSON."""

    def refuse(word: str) -> float:
        raise AssertionError(word)

    with open_log(tmp_path / "run") as log:
        log.scalars(1, {"a": math.nan, "b": math.inf, "loss/total": 1.5}, images_per_second=7.123)
    text = (tmp_path / "run" / "log.jsonl").read_text()
    line = json.loads(text, parse_constant=refuse)
    assert (line["a"], line["b"], line["loss/total"]) == (None, None, 1.5)
    assert line["step"] == 1 and line["images_per_second"] == 7.12 and line["seconds"] >= 0


def test_log_of_another_process_writes_nothing(tmp_path):
    """Only process 0 has a log."""
    with open_log(tmp_path / "run", writes=False) as log:
        log.scalars(1, {"loss/total": 1.0})
        log.pictures(1, {"target": torch.zeros(1, 3, 4, 4)})
        log.say("hello")
        log.advance(1, 0.5)
    assert list((tmp_path / "run").iterdir()) == []


def test_log_shows_the_figures_without_a_terminal(tmp_path, capsys):
    """Where stderr is a file: a line at the first step and the last, one a validation, and one that
    says how long it will take; stdout stays empty."""
    with open_log(tmp_path / "run") as log:
        for step in range(1, 11):
            log.advance(step, 0.5 / step)
        log.scalars(10, {"val/loss": 0.25, "val/abs_rel": 1})
    said = capsys.readouterr()
    assert said.out == ""
    first, estimate, last, validation = said.err.splitlines()
    assert first == "step 1 of 10 (10 %)  loss 0.5000"
    assert estimate == "about 1 s for 10 steps on this machine"
    assert last.startswith("step 10 of 10 (100 %)  ") and "images/s" in last
    assert last.endswith("  loss 0.0500")
    assert validation == "step 10  val/loss 0.2500  val/abs_rel 1.0000"


@pytest.fixture(scope="module")
def board(world, tmp_path_factory) -> EventAccumulator:
    """TensorBoard's own reader on the files of a short run."""
    run = tmp_path_factory.mktemp("log") / "run"
    words = ("optimizer.steps=3", "run.image_every=2", "run.validate_every=3", "run.save_every=9")
    train(small_config(world, *words), run)
    accumulator = EventAccumulator(str(run / "tensorboard"))
    accumulator.Reload()
    return accumulator


def test_tensorboard_holds_scalars(board):
    """Loss of every logged step, and the validation's figures, at their steps."""
    losses = board.Scalars("loss/total")
    assert [event.step for event in losses] == [1, 2, 3]
    assert all(0 < event.value < 2 for event in losses)
    assert [event.step for event in board.Scalars("val/abs_rel")] == [3]
    for name in ("gradient_norm", "learning_rate", "health/kept", "val/loss"):
        assert board.Scalars(name)


def test_tensorboard_holds_pictures(board):
    """Depth, warped view, mask, error and target: four of a batch in a row, at step 2 and, so that
    what is wrong shows early, at the first logged step."""
    names = {"target", "rebuilt", "inverse_depth", "error", "kept"}
    assert names <= set(board.Tags()["images"])
    for name in names:
        events = board.Images(name)
        assert [event.step for event in events] == [1, 2]
        assert all((event.height, event.width) == (64, 4 * 96) for event in events)


def test_tensorboard_holds_histograms(tmp_path):
    """Of the values that are numbers; what holds none is left out."""
    with RunLog(tmp_path, start=0, steps=1, writes=True) as log:
        values = torch.tensor([0.5, 1.5, torch.nan])
        log.histograms(1, {"delta": values, "nothing": values[2:]})
    accumulator = EventAccumulator(str(tmp_path / "tensorboard"))
    accumulator.Reload()
    (event,) = accumulator.Histograms("delta")
    assert accumulator.Tags()["histograms"] == ["delta"] and event.step == 1
    assert (event.histogram_value.num, event.histogram_value.sum) == (2, 2)
