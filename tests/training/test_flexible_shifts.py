# SPDX-License-Identifier: Apache-2.0
"""Shifts that follow the depth they give: numbers by hand, bounds, and a run that resumes."""

import numpy as np
import pytest
import torch
from small_run import curve, small_config

from depthkit.data.snippet_loading import SnippetDataset
from depthkit.errors import CheckpointError
from depthkit.models.checkpoint import read_checkpoint
from depthkit.training.flexible_shifts import flexible_shifts, parts_of
from depthkit.training.loop import train

LAST = "checkpoints/last.safetensors"
# 21 windows less the held-out one, batches of 4: 4 or 5 steps an epoch.
WORDS = (
    "task=stabilized_pair",
    "model.depth=depthnet",
    "model.width=0.125",
    "data.shifts=[-2,2]",
    "loss.auto_mask=false",
    "loss.reduction=mean",
    "loss.ssim_weight=0",
    "loss.scales=2",
    "stabilized.flexible_every=1",
    "stabilized.flexible_depth=8",
    "stabilized.flexible_longest=4",
    "stabilized.same_ratio=0.2",
    "stabilized.random_target=true",
)


def choose(shifts, means, *, target=40.0, longest=10, room=100) -> list[int]:
    """Choose the shifts of one window."""
    new = flexible_shifts(
        np.array([shifts]),
        np.array([means], float),
        target=target,
        longest=longest,
        room=np.full((1, 2), room),
    )
    return new[0].tolist()


def test_three_frames_by_hand():
    """Mean 60 where 40 is wanted: 4 becomes 6; mean 20: 2. The sides are chosen alone."""
    assert choose([-4, 4], [60, 20]) == [-6, 2]
    assert choose([4, -4], [20, 60]) == [2, -6]  # in the order they came


def test_five_frames_by_hand():
    """Outer sources are to show 40, inner ones, half as far, 80: (3, 6) with (40, 60) is (2, 9)."""
    assert choose([-6, -3, 3, 6], [60, 40, 80, 40]) == [-9, -2, 3, 6]


def test_shifts_stay_in_order_and_in_reach():
    """The inner goes first and leaves room for the outer; 1 is the least, the longest the most."""
    assert choose([-6, -3, 3, 6], [1, 1, 4000, 4000]) == [-2, -1, 9, 10]
    assert choose([-6, -3, 3, 6], [10, 160, 160, 10]) == [-7, -6, 6, 7]
    assert choose([-4, 4], [400, 400], room=5) == [-5, 5]  # the sequence ends there


def test_steps_are_cut_at_whole_periods():
    """A resumed run meets the same cuts."""
    assert parts_of(range(0, 10), 4) == [range(0, 4), range(4, 8), range(8, 10)]
    assert parts_of(range(3, 10), 4) == [range(3, 4), range(4, 8), range(8, 10)]
    assert parts_of(range(4, 10), 4) == [range(4, 8), range(8, 10)]
    assert parts_of(range(0, 10), 0) == [range(0, 10)]


def test_each_window_reads_its_own_shifts(world):
    """Sources and known motions follow the window's shifts; other windows keep theirs."""
    from depthkit.data.sequence import open_sequence

    sequence = open_sequence(world)
    data = SnippetDataset([sequence], shifts=(-2, 2), size=(64, 96))
    plain = data[(3, 0)]
    data.window_shifts = np.tile([-2, 2], (len(data), 1))
    data.window_shifts[4] = -1, 4
    assert data.room()[4].tolist() == [6, 24 - 1 - 6]
    assert torch.equal(data[(3, 0)].sources, plain.sources)
    other = data[(4, 0)]
    assert other.shifts.tolist() == [-1, 4]
    target = SnippetDataset([sequence], shifts=(-1, 4), size=(64, 96))
    same = next(s for s in (target[(i, 0)] for i in range(9)) if s.names == other.names)
    assert torch.equal(same.sources, other.sources)
    assert torch.equal(same.T_source_target_gt, other.T_source_target_gt)


@pytest.mark.slow
def test_a_stopped_run_resumes_with_its_shifts(world, tmp_path, monkeypatch):
    """Stopped after shifts were chosen and before they are chosen again: the same curve, weights
    and shifts as the run that was not stopped."""
    config = small_config(world, *WORDS, "optimizer.steps=12", "run.save_every=1")
    train(config, tmp_path / "whole")
    step, calls = torch.optim.AdamW.step, []

    def step_until(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(torch.optim.AdamW, "step", step_until)
        train(config, tmp_path / "stopped")
    train(config, tmp_path / "stopped", resume=True)
    (a, _), (b, _) = (read_checkpoint(tmp_path / r / LAST) for r in ("whole", "stopped"))
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
    assert len(a["data.window_shifts"].unique()) > 2, "no shift was changed"
    assert curve(tmp_path / "stopped") == pytest.approx(curve(tmp_path / "whole"), nan_ok=True)


def test_shifts_of_other_data_are_refused(world, tmp_path):
    """A checkpoint with more windows than the data has is not taken, in one line."""
    config = small_config(world, *WORDS, "optimizer.steps=7", "run.save_every=7")
    train(config, tmp_path / "run")
    fewer = small_config(
        world, *WORDS, "optimizer.steps=9", "data.validation_share=0.4", "run.save_every=7"
    )
    with pytest.raises(CheckpointError, match=r"shifts of \d+ windows, and the data has \d+"):
        train(fewer, tmp_path / "run", resume=True)
