# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: one safetensors file with all tensors, and the run's state as JSON in its header.

One file, written beside and renamed, is either the old state or the new one, never half of each.
Pickles run code when they are opened, so they are refused; keys must match exactly, or nothing is
loaded.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from depthkit.errors import CheckpointError

_SHOWN = 3  # keys named in an error


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write tensors and a JSON state into one file, atomically.

    Raises:
        CheckpointError: the disk is full or the folder cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    owned = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(owned, partial, metadata={"depthkit": json.dumps(state)})
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        with suppress(OSError):  # such as a folder that is a file: there is nothing to remove
            partial.unlink()
        raise CheckpointError(f"{path}: cannot be written ({error})") from error


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint of `save_checkpoint`: tensors by name, and the state.

    Raises:
        CheckpointError: missing, truncated, a pickle, or not written by depthkit.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such checkpoint; give a run of 'depthkit train' that has saved one"
        )
    try:
        if _is_pickle(path):
            raise CheckpointError(
                f"{path}: a pickle, not safetensors; refused, because opening one runs its code"
            )
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: truncated or damaged ({error})") from error
    if "depthkit" not in metadata:
        raise CheckpointError(f"{path}: safetensors, but not a checkpoint of depthkit")
    try:
        return tensors, json.loads(metadata["depthkit"])
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path}: its state is no JSON ({error})") from error


def _is_pickle(path: Path) -> bool:
    """Tell a pickle, or torch's zip of one, by its first bytes.

    Safetensors begins with the length of its header, which may be the very bytes of a pickle (640
    is 80 02); the header's brace after it settles the matter.
    """
    with path.open("rb") as file:
        magic = file.read(9)
    starts = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
    return magic.startswith(starts) and magic[8:] != b"{"


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Load weights whose names and shapes match exactly.

    Args:
        module: the network or task.
        tensors: one for each of the module's keys, and no other.
        where: file named in the error.

    Raises:
        CheckpointError: a missing, extra or misshaped key, with the first ones named.
    """
    expected = module.state_dict()
    missing = [key for key in expected if key not in tensors]
    extra = [key for key in tensors if key not in expected]
    misshaped = [
        f"{key} {tuple(tensors[key].shape)} for {tuple(value.shape)}"
        for key, value in expected.items()
        if key in tensors and tensors[key].shape != value.shape
    ]
    faults = [
        f"{len(keys)} {kind} ({', '.join(keys[:_SHOWN])}{', ...' if len(keys) > _SHOWN else ''})"
        for kind, keys in (("missing", missing), ("extra", extra), ("misshaped", misshaped))
        if keys
    ]
    if faults:
        raise CheckpointError(f"{where}: weights of another network: {'; '.join(faults)}")
    module.load_state_dict(dict(tensors), strict=True)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return an optimiser's moments and step counts by parameter number."""
    return {
        f"{number}.{name}": torch.as_tensor(value)
        for number, entries in optimizer.state_dict()["state"].items()
        for name, value in entries.items()
    }


def load_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], where: str
) -> None:
    """Put back what `optimizer_tensors` returned.

    Moments take the memory layout of their weights: the fused kernel walks both side by side.

    Raises:
        CheckpointError: moments of other weights.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    entries: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        weight = weights[int(number)] if int(number) < len(weights) else None
        if weight is None or value.shape not in (weight.shape, torch.Size([])):
            raise CheckpointError(f"{where}: optimiser state {key} belongs to another network")
        if value.shape == weight.shape:
            value = torch.empty_like(weight).copy_(value)
        entries.setdefault(int(number), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": entries, "param_groups": groups})


def take(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors under a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
