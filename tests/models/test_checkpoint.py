# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: what is saved comes back, what is damaged or foreign is named and not loaded."""

import json
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from depthkit.errors import CheckpointError
from depthkit.models import checkpoint
from depthkit.models.checkpoint import (
    load_optimizer,
    load_weights,
    optimizer_tensors,
    read_checkpoint,
    save_checkpoint,
    take,
)

STATE = {"step": 3, "config": {"size": [96, 128], "name": "Übung"}, "best": None, "rate": 1e-4}


def network(seed: int = 0) -> nn.Module:
    """Convolution, batch norm with counters, linear."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    """A few steps on fixed noise."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        optimizer.zero_grad()
        net(torch.rand(2, 3, 4, 4, generator=generator)).square().sum().backward()
        optimizer.step()


# --- files ---------------------------------------------------------------------------------------


def test_round_trip_is_exact(tmp_path):
    """Tensors of every kind and a nested state come back bit for bit."""
    tensors = {
        "float": torch.randn(2, 3),
        "half": torch.randn(4).bfloat16(),
        "scalar": torch.tensor(7),
        "bytes": torch.get_rng_state(),
        "empty": torch.zeros(0, 3),
        "slice": torch.arange(12.0).view(3, 4).T[1:],
        "nan": torch.tensor([float("nan"), float("inf")]),
    }
    save_checkpoint(tmp_path / "new" / "last.safetensors", tensors, STATE)
    back, state = read_checkpoint(tmp_path / "new" / "last.safetensors")
    assert state == STATE and back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype
        torch.testing.assert_close(back[name], tensor, rtol=0, atol=0, equal_nan=True)


def test_shared_and_learning_tensors_are_saved(tmp_path):
    """Two names of one storage, and a parameter with gradient, are no obstacle."""
    weight = nn.Parameter(torch.ones(3))
    save_checkpoint(tmp_path / "c", {"a": weight, "b": weight}, {})
    assert read_checkpoint(tmp_path / "c")[0]["b"].tolist() == [1, 1, 1]


def test_only_the_file_itself_is_left(tmp_path):
    """No temporary file stays beside it."""
    save_checkpoint(tmp_path / "c.safetensors", {"a": torch.ones(2)}, {})
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]


@pytest.mark.parametrize("failing", ["save_file", "replace"])
def test_old_file_survives_a_failed_write(tmp_path, monkeypatch, failing):
    """A full disk while writing or renaming: the old checkpoint stays whole, no debris."""
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, {"a": torch.ones(2)}, {"step": 1})

    def write_half(tensors, partial, metadata):
        partial.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    def refuse(*_):
        raise OSError(28, "No space left on device")

    if failing == "save_file":
        monkeypatch.setattr(checkpoint, "save_file", write_half)
    else:
        monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(CheckpointError, match="last.safetensors: cannot be written .*No space"):
        save_checkpoint(path, {"a": torch.zeros(2)}, {"step": 2})
    monkeypatch.undo()
    tensors, state = read_checkpoint(path)
    assert tensors["a"].tolist() == [1, 1] and state == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["last.safetensors"]


def test_folder_that_is_a_file_is_named(tmp_path):
    """A path under a file cannot be written: a known error, not a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_checkpoint(tmp_path / "file" / "c.safetensors", {"a": torch.ones(1)}, {})
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        read_checkpoint(tmp_path / "file" / "c.safetensors")


def test_missing_file_and_folder_are_named(tmp_path):
    """Neither nothing nor a folder is a checkpoint; the remedy is said."""
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(CheckpointError, match="no such checkpoint; give a run"):
            read_checkpoint(path)


@pytest.mark.parametrize("kept", [0, 1, 8, 9, 60, -1])
def test_truncated_file_is_named(tmp_path, kept):
    """A copy that broke off anywhere is damaged, never half loaded."""
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"a": torch.ones(20)}, STATE)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        read_checkpoint(path)


def test_text_in_its_place_is_named(tmp_path):
    """An LFS pointer or an error page is no checkpoint."""
    path = tmp_path / "c.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        read_checkpoint(path)


class _Bomb:
    """A pickle that shows when it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_are_refused_unopened(tmp_path, protocol):
    """A raw pickle under the name of a checkpoint runs nothing."""
    path = tmp_path / "c.safetensors"
    path.write_bytes(pickle.dumps(_Bomb(tmp_path / "opened"), protocol=protocol))
    with pytest.raises(CheckpointError, match="a pickle, not safetensors; refused"):
        read_checkpoint(path)
    assert not (tmp_path / "opened").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files_are_refused(tmp_path, zipped):
    """torch.save's zip and its older form are pickles too."""
    path = tmp_path / "c.safetensors"
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="a pickle, not safetensors; refused"):
        read_checkpoint(path)


@pytest.mark.parametrize("length", [640, 896, 1152, 1408, 19280])
def test_header_whose_length_reads_like_a_pickle_is_fine(tmp_path, length):
    """The file begins with its header's length: 640 is 80 02 like a pickle, 19280 is PK."""
    path = tmp_path / "c.safetensors"

    def save(padding):
        save_checkpoint(path, {"a": torch.ones(2)}, {"pad": "x" * padding})
        return int.from_bytes(path.read_bytes()[:8], "little")

    assert save(length - save(0)) == length
    assert read_checkpoint(path)[0]["a"].tolist() == [1, 1]


def test_safetensors_of_others_are_named(tmp_path):
    """Weights without our state are not a checkpoint, with other metadata or none."""
    for number, metadata in enumerate((None, {"format": "pt"})):
        path = tmp_path / f"{number}.safetensors"
        save_file({"a": torch.ones(2)}, path, metadata=metadata)
        with pytest.raises(CheckpointError, match="not a checkpoint of depthkit"):
            read_checkpoint(path)


def test_broken_state_is_named(tmp_path):
    """A state that is no JSON is a known error."""
    save_file({"a": torch.ones(2)}, tmp_path / "c", metadata={"depthkit": "{step: 3"})
    with pytest.raises(CheckpointError, match="its state is no JSON"):
        read_checkpoint(tmp_path / "c")


def test_state_is_plain_json(tmp_path):
    """Other programs read the header: eight bytes of length, JSON, our state as text in it."""
    save_checkpoint(tmp_path / "c", {"a": torch.ones(2)}, STATE)
    raw = (tmp_path / "c").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert json.loads(header["__metadata__"]["depthkit"]) == STATE


# --- weights -------------------------------------------------------------------------------------


def test_weights_go_back_into_their_network():
    """All parameters and buffers, counters too, are those of the saved network."""
    one, other = network(0), network(1)
    train(one, torch.optim.SGD(one.parameters(), lr=0.1), 2)
    load_weights(other, one.state_dict(), "x")
    for key, value in one.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key


def test_missing_extra_and_misshaped_keys_are_named():
    """Each fault is counted and named with its shapes, in one line, and nothing is loaded."""
    net = network()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    tensors = {k: v + 1 for k, v in before.items()}
    del tensors["3.bias"]
    tensors["4.weight"] = torch.ones(1)
    tensors["0.weight"] = torch.ones(4, 6, 3, 3)
    with pytest.raises(CheckpointError) as caught:
        load_weights(net, tensors, "run/last.safetensors")
    assert str(caught.value) == (
        "run/last.safetensors: weights of another network: 1 missing (3.bias); 1 extra (4.weight); "
        "1 misshaped (0.weight (4, 6, 3, 3) for (4, 3, 3, 3))"
    )
    assert all(torch.equal(net.state_dict()[k], v) for k, v in before.items())


def test_long_lists_of_faults_are_cut():
    """Of many faults the first three are named, and how many there are."""
    with pytest.raises(CheckpointError, match=r"9 missing \(0.weight, 0.bias, 1.weight, ...\)"):
        load_weights(network(), {}, "x")


def test_scalar_for_a_vector_is_misshaped():
    """A shape that would broadcast is still wrong."""
    tensors = dict(network().state_dict()) | {"1.weight": torch.tensor(1.0)}
    with pytest.raises(CheckpointError, match=r"1 misshaped \(1.weight \(\) for \(4,\)\)"):
        load_weights(network(), tensors, "x")


def test_take_strips_the_prefix():
    """Only names under the prefix, without it; the rest stays out."""
    tensors = {
        "task.a.b": torch.ones(1),
        "optimizer.0.step": torch.ones(1),
        "task2.c": torch.ones(1),
    }
    assert list(take(tensors, "task.")) == ["a.b"]


# --- optimizer -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1),
        lambda p: torch.optim.Adam(p, lr=1e-2, amsgrad=True),
        lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9),
    ],
)
def test_optimizer_goes_on_as_if_uninterrupted(tmp_path, make):
    """Three steps, through a file, two more: the same weights bit for bit as five in a row."""
    whole, broken = network(), network()
    whole_optimizer, optimizer = make(whole.parameters()), make(broken.parameters())
    train(whole, whole_optimizer, 3), train(broken, optimizer, 3)
    save_checkpoint(tmp_path / "c", broken.state_dict() | _moments(optimizer), {})
    resumed = network(5)
    tensors, _ = read_checkpoint(tmp_path / "c")
    moments = take(tensors, "optimizer.")
    load_weights(resumed, {k: v for k, v in tensors.items() if k[0].isdigit()}, "c")
    resumed_optimizer = make(resumed.parameters())
    load_optimizer(resumed_optimizer, moments, "test")
    train(whole, whole_optimizer, 2), train(resumed, resumed_optimizer, 2)
    for key, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key


def _moments(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return {f"optimizer.{k}": v for k, v in optimizer_tensors(optimizer).items()}


def test_optimizer_keeps_its_own_learning_rate():
    """The rate comes from the configuration, the moments from the file."""
    net = network()
    old, new = torch.optim.Adam(net.parameters(), lr=1), torch.optim.Adam(net.parameters(), lr=2)
    train(net, old, 1)
    load_optimizer(new, optimizer_tensors(old), "test")
    assert new.param_groups[0]["lr"] == 2
    assert optimizer_tensors(new).keys() == optimizer_tensors(old).keys()


def test_fresh_optimizer_has_no_tensors():
    """Before the first step there is nothing to save, and nothing is put back."""
    optimizer = torch.optim.Adam(network().parameters())
    assert optimizer_tensors(optimizer) == {}
    load_optimizer(optimizer, {}, "test")
    assert optimizer_tensors(optimizer) == {}
