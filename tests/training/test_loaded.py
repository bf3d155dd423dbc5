# SPDX-License-Identifier: Apache-2.0
"""Checkpoints found and loaded strictly: what is exported is what was trained, or nothing is."""

import pytest
import torch
from small_run import small_config

from depthkit.errors import CheckpointError
from depthkit.models.checkpoint import read_checkpoint, save_checkpoint
from depthkit.synth.boxes import box_camera
from depthkit.tasks import build_task
from depthkit.tasks.loaded import find_checkpoint, load_task
from depthkit.training.loop import train
from depthkit.training.starts import load_start

PAIR = (
    "task=supervised_pair",
    "model.depth=depthnet",
    "model.width=0.125",
    "data.shifts=[-3]",
    "data.random_shift=3",
    "optimizer.steps=1",
)


@pytest.fixture(scope="module")
def pair_run(world, tmp_path_factory):
    """A run of one step of a pair network."""
    run = tmp_path_factory.mktemp("pair") / "run"
    train(small_config(world, *PAIR), run)
    return run


def test_a_run_says_what_it_learnt(world, tmp_path, trained):
    """Size, shifts, focal length; metric where known baselines were asked for, else relative."""
    loaded = load_task(trained)
    assert (loaded.scale, loaded.shifts, loaded.config.data.size) == ("metric", (-1, 1), (64, 96))
    assert loaded.focal == pytest.approx(box_camera((64, 96)).fx) and not loaded.task.training
    assert loaded.file == find_checkpoint(trained) == trained / "checkpoints/last.safetensors"
    train(small_config(world, "optimizer.steps=1"), tmp_path / "run")
    assert load_task(tmp_path / "run" / "checkpoints" / "best.safetensors").scale == "relative"


def test_weights_are_those_of_the_file(trained):
    """Every tensor of the task is the checkpoint's, and so is what a next run starts from."""
    loaded, (tensors, _) = load_task(trained), read_checkpoint(find_checkpoint(trained))
    for name, value in loaded.task.state_dict().items():
        assert torch.equal(value, tensors[f"task.{name}"]), name
    for weight in loaded.task.parameters():
        torch.nn.init.zeros_(weight)
    load_start(loaded.task, trained, name=loaded.config.task)
    assert all(torch.equal(v, tensors[f"task.{n}"]) for n, v in loaded.task.state_dict().items())


def test_another_task_gives_its_depth_network_alone(world, pair_run):
    """What known depth has taught a pair network goes on without labels; the pose net is new."""
    tensors, _ = read_checkpoint(find_checkpoint(pair_run))
    words = ("model.depth=depthnet", "model.width=0.125", "model.pose=flow", "loss.auto_mask=false")
    task = build_task(small_config(world, "task=stabilized_pair", *words), (-1, 1))
    pose = {name: value.clone() for name, value in task.pose_net.state_dict().items()}
    load_start(task, pair_run, name="stabilized_pair")
    for name, value in task.depth_net.state_dict().items():
        assert torch.equal(value, tensors[f"task.depth_net.{name}"]), name
    assert all(torch.equal(v, pose[name]) for name, v in task.pose_net.state_dict().items())


def test_a_pair_network_without_its_focal_length_is_refused(pair_run, tmp_path):
    """A pair network without it cannot be fitted to any camera."""
    assert load_task(pair_run).focal == pytest.approx(box_camera((64, 96)).fx)
    tensors, state = read_checkpoint(find_checkpoint(pair_run))
    del state["focal"]
    save_checkpoint(tmp_path / "bad.safetensors", tensors, state)
    with pytest.raises(CheckpointError, match="has no 'focal'"):
        load_task(tmp_path / "bad.safetensors")


def test_weights_of_half_precision_load(pair_run, tmp_path):
    """What ships is stored in 16 bits and works in 32."""
    tensors, state = read_checkpoint(find_checkpoint(pair_run))
    half = {n: t.half() if t.is_floating_point() else t for n, t in tensors.items()}
    save_checkpoint(tmp_path / "half.safetensors", half, state)
    exact, rounded = load_task(pair_run), load_task(tmp_path / "half.safetensors")
    for a, b in zip(exact.task.parameters(), rounded.task.parameters(), strict=True):
        assert b.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


SPOILT = {
    "missing": lambda tensors, key: tensors.pop(key),
    "extra": lambda tensors, key: tensors.update({f"{key}s": torch.zeros(1)}),
    "misshaped": lambda tensors, key: tensors.update({key: torch.zeros(3, 3)}),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_checkpoints_load_strictly(trained, tmp_path, fault):
    """A missing, extra or misshaped weight is refused, and the key is named."""
    tensors, state = read_checkpoint(trained / "checkpoints" / "last.safetensors")
    key = "task.pose_net.head.0.weight"
    SPOILT[fault](tensors, key)
    save_checkpoint(tmp_path / "bad.safetensors", tensors, state)
    with pytest.raises(CheckpointError, match=rf"1 {fault} \(pose_net\.head\.0\.weight"):
        load_task(tmp_path / "bad.safetensors")


def test_a_truncated_checkpoint_is_refused(trained, tmp_path):
    """Half a file is one clear error."""
    whole = (trained / "checkpoints" / "last.safetensors").read_bytes()
    (tmp_path / "half.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        load_task(tmp_path / "half.safetensors")


def test_a_pickle_is_refused(tmp_path):
    """torch.save's files run code when opened: never opened."""
    torch.save({"weight": torch.zeros(1)}, tmp_path / "old.safetensors")
    with pytest.raises(CheckpointError, match="pickle"):
        load_task(tmp_path / "old.safetensors")


@pytest.mark.parametrize("key", ["config", "shifts", "scale"])
def test_a_checkpoint_without_its_state_is_refused(trained, tmp_path, key):
    """A state that lacks what a predictor needs is a checkpoint's fault, named."""
    tensors, state = read_checkpoint(trained / "checkpoints" / "last.safetensors")
    del state[key]
    save_checkpoint(tmp_path / "bad.safetensors", tensors, state)
    with pytest.raises(CheckpointError, match=f"has no '{key}'"):
        load_task(tmp_path / "bad.safetensors")


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    """The file looked for is named."""
    with pytest.raises(CheckpointError, match=r"last\.safetensors: no such checkpoint"):
        load_task(tmp_path)


def test_an_onnx_file_is_no_checkpoint(tmp_path):
    """A foreign or exported ONNX file is called what it is, not truncated."""
    file = tmp_path / "model.onnx"
    file.write_bytes(b"\x08\x0e:O\n\x10\n\x01")
    with pytest.raises(CheckpointError, match="is an ONNX file already.*depthkit verify"):
        load_task(file)
