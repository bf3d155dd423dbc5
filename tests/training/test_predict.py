# SPDX-License-Identifier: Apache-2.0
"""Trained networks at work: sizes, the direction of a motion, and strictly loaded checkpoints."""

import numpy as np
import pytest
import torch
from small_run import ZHOU, small_config
from torch import nn

from depthkit.data.sequence import open_sequence
from depthkit.errors import CheckpointError, EngineError
from depthkit.geometry.se3 import inverse, motion_from_vector
from depthkit.models.checkpoint import read_checkpoint, save_checkpoint
from depthkit.models.pose_net import PoseOutput
from depthkit.tasks import build_task
from depthkit.training.loop import train
from depthkit.training.predict import Predictor, load_predictor

MOTION = (0.02, -0.05, 0.01, 0.1, 0.02, 0.3)


class KnownPose(nn.Module):
    """Answers every pair with one motion, later frame from earlier."""

    def forward(self, frames):
        """Return the motion for each pair, and remember the frames."""
        self.frames = frames
        return PoseOutput(torch.tensor(MOTION).expand(len(frames), 1, 6))


class KnownDepth(nn.Module):
    """Inverse depth that grows down the image, at the network's size."""

    def forward(self, image):
        """Return one scale: 0.1 at the top row to 0.2 at the bottom."""
        height, width = image.shape[-2:]
        rows = torch.linspace(0.1, 0.2, height)[:, None].expand(height, width)
        return [rows.expand(len(image), 1, height, width)]


def predictor(world, **nets) -> Predictor:
    """Return a predictor whose networks are replaced."""
    task = build_task(small_config(world), (-1, 1))
    for name, net in nets.items():
        setattr(task, name, net)
    return Predictor(task, size=(64, 96), shifts=(-1, 1), scale="relative")


@pytest.fixture
def frames(world):
    """Two neighbouring frames of the world."""
    sequence = open_sequence(world)
    return sequence.read_frame(4), sequence.read_frame(5)


@pytest.mark.parametrize("size", [(64, 96), (128, 192), (50, 77), (31, 200)])
def test_depth_has_the_size_of_its_frame(trained, size):
    """Frames of any size go in; depth comes back at that size, within the network's range."""
    rng = np.random.default_rng(0)
    depth = load_predictor(trained).depth(rng.integers(0, 255, (*size, 3), dtype=np.uint8))
    assert depth.shape == size and depth.dtype == np.float32
    assert ((depth >= 0.0999) & (depth <= 100.001)).all()


def test_depth_is_enlarged_in_inverse_depth(world):
    """Twice as many rows: the middle row of the ramp keeps the mean of the inverse depths."""
    depth = predictor(world, depth_net=KnownDepth()).depth(np.zeros((128, 192, 3), np.uint8))
    assert 1 / depth[[0, -1], 0] == pytest.approx([0.1, 0.2], rel=1e-5)
    assert (1 / depth[63:65].mean(1)).mean() == pytest.approx(0.15, rel=1e-5)
    # c' = 2 (c + 0.5) - 0.5: rows 1 and 2 lie a quarter and three quarters from row 0 to row 1.
    step = 0.1 / 63
    assert 1 / depth[1:3, 5] == pytest.approx([0.1 + step / 4, 0.1 + 3 * step / 4], rel=1e-5)


def test_relative_pose_takes_points_of_a_to_b(world, frames):
    """The network's answer to a pair in time order is T_b_a, and frame a goes in first."""
    pose = KnownPose()
    T_b_a = predictor(world, pose_net=pose).relative_pose(*frames)
    expected = motion_from_vector(torch.tensor(MOTION, dtype=torch.float64)).numpy()
    assert T_b_a.dtype == np.float64 and T_b_a == pytest.approx(expected, abs=1e-6)
    # A camera that moves back sees the points of a farther away: t_z > 0 moves them forward.
    assert (T_b_a @ [0, 0, 1, 1])[2] > 1.2
    seen = pose.frames[0].permute(1, 2, 0).mul(255).round().byte().numpy()
    assert (seen == np.concatenate(frames, -1)).all()


def test_snippet_motions_agree_with_pair_motions(world, frames):
    """Towards the next frame the motion is T_b_a itself, towards the one before its inverse."""
    motions = predictor(world, pose_net=KnownPose()).snippet_motions(frames[0], [frames[1]] * 2)
    T_b_a = motion_from_vector(torch.tensor(MOTION, dtype=torch.float64))
    assert motions[0] == pytest.approx(inverse(T_b_a).numpy(), abs=1e-6)
    assert motions[1] == pytest.approx(T_b_a.numpy(), abs=1e-6)


def test_predictions_do_not_change_the_network(trained, frames):
    """Two calls agree to the bit: networks at work keep their statistics."""
    working = load_predictor(trained)
    first = working.depth(frames[0])
    working.depth(frames[1])
    assert (first == working.depth(frames[0])).all()
    R = working.relative_pose(*frames)[:3, :3]
    assert pytest.approx(np.eye(3), abs=1e-6) == R @ R.T


def test_predictor_says_where_its_scale_comes_from(world, tmp_path, trained):
    """Metric where known baselines were asked for, else relative."""
    assert load_predictor(trained).scale == "metric"
    train(small_config(world, "optimizer.steps=1"), tmp_path / "run")
    loaded = load_predictor(tmp_path / "run" / "checkpoints" / "best.safetensors")
    assert loaded.scale == "relative" and loaded.shifts == (-1, 1) and loaded.size == (64, 96)


def test_snippet_networks_have_no_motion_of_a_pair(world, tmp_path, frames):
    """Zhou's snippet network answers for whole snippets, and says so when asked for a pair."""
    words = (*ZHOU, "model.depth=light", "optimizer.steps=1", "data.shifts=[-2,-1,1]")
    train(small_config(world, *words), tmp_path / "run")
    loaded = load_predictor(tmp_path / "run")
    with pytest.raises(EngineError, match="takes whole snippets"):
        loaded.relative_pose(*frames)


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
        load_predictor(tmp_path / "bad.safetensors")


def test_a_truncated_checkpoint_is_refused(trained, tmp_path):
    """Half a file is one clear error."""
    whole = (trained / "checkpoints" / "last.safetensors").read_bytes()
    (tmp_path / "half.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        load_predictor(tmp_path / "half.safetensors")


def test_a_pickle_is_refused(tmp_path):
    """torch.save's files run code when opened: never opened."""
    torch.save({"weight": torch.zeros(1)}, tmp_path / "old.safetensors")
    with pytest.raises(CheckpointError, match="pickle"):
        load_predictor(tmp_path / "old.safetensors")


@pytest.mark.parametrize("key", ["config", "shifts", "scale"])
def test_a_checkpoint_without_its_state_is_refused(trained, tmp_path, key):
    """A state that lacks what a predictor needs is a checkpoint's fault, named."""
    tensors, state = read_checkpoint(trained / "checkpoints" / "last.safetensors")
    del state[key]
    save_checkpoint(tmp_path / "bad.safetensors", tensors, state)
    with pytest.raises(CheckpointError, match=f"has no '{key}'"):
        load_predictor(tmp_path / "bad.safetensors")


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    """The file looked for is named."""
    with pytest.raises(CheckpointError, match=r"last\.safetensors: no such checkpoint"):
        load_predictor(tmp_path)
