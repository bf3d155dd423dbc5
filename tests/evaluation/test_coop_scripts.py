# SPDX-License-Identifier: Apache-2.0
"""The ablation's scripts: perfect answers get perfect figures, halves and doubles known ones."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from small_run import CHECKOUT, small_config

from depthkit.camera import Camera
from depthkit.config.strict_yaml import to_mapping
from depthkit.data.sequence import Sequence, SequenceWriter, open_sequence
from depthkit.data.truth import FrameTruth
from depthkit.errors import DataError
from depthkit.models.checkpoint import read_checkpoint, save_checkpoint
from depthkit.rigid import exp_se3, inverse
from depthkit.tasks import build_task

SIZE, FRAMES = (64, 96), 7
ARGS = argparse.Namespace(max_depth=80.0, every=1, pictures=None)


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The scripts as modules: guess, evaluate, report, draw."""
    monkeypatch.syspath_prepend(str(CHECKOUT / "scripts" / "coop"))
    names = {"guess": "coop_guess", "evaluate": "evaluate_coop", "report": "coop_report"}
    names |= {"draw": "draw_coop"}
    modules = {key: __import__(name) for key, name in names.items()}
    yield argparse.Namespace(**modules)
    for name in (*names.values(), "coop_pictures"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Sequence:
    """A textured wall at 4 to 9 m, a body before it at 2 m; the camera turns and goes ahead."""
    root = tmp_path_factory.mktemp("coop") / "street"
    rng = np.random.default_rng(0)
    depth = np.tile(np.linspace(4, 9, SIZE[1], dtype=np.float32), (SIZE[0], 1))
    moving = np.zeros(SIZE, bool)
    moving[20:40, 30:60] = True
    depth[moving] = 2.0
    pose = np.eye(4)
    with SequenceWriter(root, Camera(96, 64, 60.0, 60.0, 47.5, 31.5), ext="png") as writer:
        for i in range(FRAMES):
            rgb = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
            flow = rng.uniform(-9, 9, (*SIZE, 2)).astype(np.float32)
            truth = FrameTruth(flow, rng.random(SIZE) > 0.9, moving=moving)
            last = i == FRAMES - 1
            truth = FrameTruth(moving=moving) if last else truth
            writer.add_frame(rgb, 0.1 * i, T_world_cam=pose, depth=depth, truth=truth)
            pose = pose @ exp_se3(np.array([0.02 * i, 0, 1.5, 0, 0.02 * i, 0]))
    return open_sequence(root)


def oracle(scripts: Any, *, moving_factor: float = 1.0) -> Any:
    """A method that knows the truth, depth and steps at a third of the scale."""

    def guess(sequence: Sequence) -> Iterator[Any]:
        for i in range(1, len(sequence) - 1):
            truth = sequence.read_truth(i)
            depth = sequence.read_depth(i) / 3
            depth[truth.moving] *= moving_factor
            motions = {}
            for shift in (-1, 1):
                T = inverse(sequence.poses[i + shift]) @ sequence.poses[i]
                T[:3, 3] /= 3
                motions[shift] = T
            soft = truth.moving.astype(np.float32)
            yield scripts.guess.Guess(i, depth, truth.flow, soft, truth.moving, motions)

    return guess


def test_the_truth_is_perfect(scripts: Any, street: Sequence) -> None:
    """Up to one scale for depth and path; the first step is told by the second frame."""
    figures = scripts.evaluate.evaluate(oracle(scripts), [street], ARGS)
    assert figures["frames"] == FRAMES - 2
    for key in ("abs_rel", "abs_rel_moving", "abs_rel_static", "ate_5_m", "ate_m"):
        assert figures[key] == pytest.approx(0, abs=2e-3), key
    assert figures["t_rel_percent"] == pytest.approx(0, abs=1e-3)
    assert figures["t_rel_lengths_m"] == [5, 10, 20, 40]
    assert figures["epe"] == 0 and figures["epe_occ"] == 0 and figures["epe_moving"] == 0
    assert (figures["moving_iou"], figures["moving_ap"]) == (1, 1)
    assert figures["moving_share"] == pytest.approx(600 / 6144)


def test_objects_too_far_are_told_apart(scripts: Any, street: Sequence) -> None:
    """Moving objects at twice their depth: abs_rel 1 there, the rest as it was."""
    figures = scripts.evaluate.evaluate(oracle(scripts, moving_factor=2), [street], ARGS)
    assert figures["abs_rel_static"] == pytest.approx(0, abs=0.01)
    assert figures["abs_rel_moving"] == pytest.approx(1, abs=0.01)
    assert figures["ratio_moving"] == pytest.approx(2, abs=0.02)
    assert figures["abs_rel"] == pytest.approx(600 / 6144, abs=0.01)


def test_flow_of_another_size_keeps_its_length(scripts: Any) -> None:
    """From half the size to the whole, flow of (1, 2) becomes (2, 4)."""
    flow = np.broadcast_to(np.array([1.0, 2.0], np.float32), (4, 6, 2))
    large = scripts.evaluate.resize_flow(flow, (8, 12))
    assert large.shape == (8, 12, 2) and np.allclose(large, [2, 4])
    assert scripts.evaluate.resize_flow(flow, (4, 6)) is flow


def write_run(path: Path, data: Path, *words: str) -> Path:
    """Write the checkpoint of a task that has learnt nothing."""
    config = small_config(data, *words)
    torch.manual_seed(0)
    tensors = build_task(config, (-1, 1)).state_dict()
    state = {"config": to_mapping(config), "shifts": [-1, 1], "scale": "relative", "step": 0}
    save_checkpoint(path, {f"task.{name}": value for name, value in tensors.items()}, state)
    return path


def test_a_run_answers_every_frame_with_neighbours(
    scripts: Any, street: Sequence, tmp_path: Path
) -> None:
    """A run of view_synthesis has depth, motions and its auto-mask, no flow; pictures are drawn."""
    run = write_run(tmp_path / "run.safetensors", street.root)
    _, method = scripts.guess.open_run(run)
    guesses = list(method(street))
    assert [guess.frame for guess in guesses] == list(range(1, FRAMES - 1))
    assert all(guess.flow is None and guess.depth.shape == SIZE for guess in guesses)
    assert all(set(guess.motions) == {-1, 1} for guess in guesses)
    assert all(guess.mask.any() and not guess.mask[guess.moving < 0].any() for guess in guesses)
    args = argparse.Namespace(**vars(ARGS) | {"pictures": tmp_path / "pictures"})
    figures = scripts.evaluate.evaluate(method, [street], args)
    assert figures["abs_rel"] > 0 and "epe" not in figures and 0 < figures["moving_ap"] < 1
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 1


@pytest.mark.parametrize("mask", ["posterior", "cc"])
def test_coop_has_every_column(scripts: Any, street: Sequence, tmp_path: Path, mask: str) -> None:
    """A run of coop that has learnt nothing fills the whole table; its flow is none."""
    run = write_run(tmp_path / "run.safetensors", street.root, "task=coop", f"coop.mask={mask}")
    _, method = scripts.guess.open_run(run)
    figures = scripts.evaluate.evaluate(method, [street], ARGS)
    assert all(np.isfinite(figures[column.key]) for column in scripts.report.COLUMNS)
    truths = [street.read_truth(i).flow for i in range(1, FRAMES - 1)]
    still = np.mean([np.linalg.norm(flow, axis=-1) for flow in truths])
    assert figures["epe"] == pytest.approx(still, rel=1e-3)


def test_flow_alone_and_other_shifts(scripts: Any, street: Sequence, tmp_path: Path) -> None:
    """A run of task flow has its columns and no other; a run without shift 1 is refused."""
    run = write_run(tmp_path / "run.safetensors", street.root, "task=flow")
    _, method = scripts.guess.open_run(run)
    figures = scripts.evaluate.evaluate(method, [street], ARGS)
    assert "epe_moving_noc" in figures and "abs_rel" not in figures and "ate_5_m" not in figures
    far = write_run(tmp_path / "far.safetensors", street.root)
    tensors, state = read_checkpoint(far)
    save_checkpoint(far, tensors, state | {"shifts": [-2, 2]})
    with pytest.raises(DataError, match=r"trained at shifts \(-2, 2\)"):
        scripts.guess.open_run(far)


def test_frames_that_are_none_are_one_line(scripts: Any, street: Sequence) -> None:
    """A step longer than the sequence, or none at all, is told before a table of nothing."""
    args = argparse.Namespace(**vars(ARGS) | {"every": 100})
    with pytest.raises(DataError, match="no frame is scored; --every 100"):
        scripts.evaluate.evaluate(oracle(scripts), [street], args)
    assert scripts.evaluate.positive("4") == 4
    for text in ("0", "-1", "1.5", "x"):
        with pytest.raises(argparse.ArgumentTypeError, match="1 or more"):
            scripts.evaluate.positive(text)


def test_two_runs_side_by_side(
    scripts: Any, street: Sequence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """A picture of both runs; true depth in its colours, near bright; a run that tells nothing of
    what moves, and a frame at the end, are refused."""
    plain = write_run(tmp_path / "plain.safetensors", street.root)
    coop = write_run(tmp_path / "coop.safetensors", street.root, "task=coop")
    flow = write_run(tmp_path / "flow.safetensors", street.root, "task=flow")
    words = [str(street.root), "--out", str(tmp_path / "x.png"), "--frame"]
    monkeypatch.setattr(sys, "argv", ["draw_coop.py", str(coop), str(plain), *words, "2"])
    scripts.draw.main()
    assert capsys.readouterr().out == f"{tmp_path / 'x.png'}\n"
    assert cv2.imread(str(tmp_path / "x.png")).std() > 10
    guesses = [next(scripts.guess.open_run(path)[1](street)) for path in (coop, plain)]
    row = scripts.draw.row_of(street, *guesses)
    truth, colours = row[-1]
    assert colours == "magma" and truth[30, 45] == pytest.approx(1)  # 2 m
    assert truth[0, 0] == pytest.approx(1 - np.log(2) / np.log(30), abs=1e-3)  # 4 m of 2 to 60
    for coop_path, frame, line in ((flow, "2", "give a coop run"), (coop, "0", "no neighbours")):
        monkeypatch.setattr(sys, "argv", ["x", str(coop_path), str(plain), *words, frame])
        with pytest.raises(DataError, match=line):
            scripts.draw.main()


def test_report_by_hand(scripts: Any, tmp_path: Path) -> None:
    """Seeds 0.10 and 0.14 are 0.12 ± 0.028; a half of it is -50 %; the best is bold."""
    records = [
        {"name": f"{name}_s{seed}", "seed": seed, "abs_rel": value, "moving_ap": ap}
        for name, ap, values in (("plain", 0.2, (0.10, 0.14)), ("full", 0.7, (0.05, 0.07)))
        for seed, value in enumerate(values)
    ]
    (tmp_path / "a.json").write_text(json.dumps(records))
    runs = scripts.report.group(scripts.report.read_records([tmp_path / "a.json"]))
    table = scripts.report.absolute_table(runs).splitlines()
    assert table[0] == "| variant | seeds | abs_rel | mask AP |"
    assert table[2] == "| plain | 2 | 0.1200 ± 0.0283 | 0.200 ± 0.000 |"
    assert table[3] == "| full | 2 | **0.0600** ± 0.0141 | **0.700** ± 0.000 |"
    change = scripts.report.relative_table(runs, "plain").splitlines()
    assert change[2] == "| full | -50.0 ± 0.0 % | +250.0 ± 0.0 % |"
