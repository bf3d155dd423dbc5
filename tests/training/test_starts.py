# SPDX-License-Identifier: Apache-2.0
"""Start weights: all of a run of the same task, of another one what both train alike."""

import pytest
import torch
from small_run import small_config

from depthkit.errors import CheckpointError
from depthkit.models.checkpoint import save_checkpoint
from depthkit.tasks import build_task
from depthkit.training.starts import load_start, load_starts

WORDS = {
    "view_synthesis": (),
    "coop": ("model.flow_width=0.25",),
    "supervised_mono": (),
    "flow": ("model.flow_width=0.25",),
}


def task_of(name: str, seed: int = 0):
    """Return a small task with weights by a seed."""
    torch.manual_seed(seed)
    return build_task(small_config("data", f"task={name}", *WORDS[name]), (-1, 1))


def saved(path, name: str, seed: int = 7):
    """Write a checkpoint of a task, as a run leaves it; return its weights."""
    weights = task_of(name, seed).state_dict()
    tensors = {f"task.{key}": value for key, value in weights.items()}
    save_checkpoint(path, tensors, {"config": {"task": name}, "step": 1})
    return weights


def taken(task, weights) -> set[str]:
    """Name the networks of a task whose weights are all those given."""
    parts = {key.split(".")[0] for key in task.state_dict() if "_net." in key}
    return {
        part
        for part in parts
        if all(
            torch.equal(value, weights[key])
            for key, value in task.state_dict().items()
            if key.startswith(f"{part}.") and key in weights
        )
        and any(key.startswith(f"{part}.") for key in weights)
    }


@pytest.mark.parametrize(
    ("source", "name", "parts"),
    [
        ("view_synthesis", "coop", {"depth_net", "pose_net"}),
        ("coop", "view_synthesis", {"depth_net", "pose_net"}),
        ("supervised_mono", "view_synthesis", {"depth_net"}),
        ("view_synthesis", "supervised_mono", {"depth_net"}),
        ("coop", "coop", {"depth_net", "pose_net", "flow_net"}),
    ],
)
def test_networks_that_both_tasks_train_alike_are_taken(tmp_path, source, name, parts):
    """Depth from any task of single frames; the pose network too where both rebuild views."""
    weights = saved(tmp_path / "run.safetensors", source)
    task = task_of(name)
    load_start(task, tmp_path / "run.safetensors", name=name)
    assert taken(task, weights) == parts


@pytest.mark.parametrize(
    ("source", "name", "message"),
    [
        ("flow", "coop", "a run of task flow has no depth network .* model.flow_init"),
        ("view_synthesis", "flow", "no network that task flow could start from"),
    ],
)
def test_a_run_with_nothing_to_take_is_refused(tmp_path, source, name, message):
    """In one line that says where such weights go, not by a missing attribute."""
    saved(tmp_path / "run.safetensors", source)
    with pytest.raises(CheckpointError, match=message):
        load_start(task_of(name), tmp_path / "run.safetensors", name=name)


def test_a_run_of_an_unknown_task_is_refused(tmp_path):
    """A checkpoint of a later version, or of someone's own task."""
    save_checkpoint(tmp_path / "run.safetensors", {}, {"config": {"task": "stereo"}})
    with pytest.raises(CheckpointError, match="task stereo has no depth network"):
        load_start(task_of("coop"), tmp_path / "run.safetensors", name="coop")


def test_errors_begin_with_the_key(tmp_path):
    """Which of the two files is wrong is named."""
    config = small_config("data", "task=coop", f"model.flow_init={tmp_path / 'none.safetensors'}")
    with pytest.raises(CheckpointError, match="^model.flow_init: "):
        load_starts(task_of("coop"), config)
