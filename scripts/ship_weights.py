#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turn a run's last checkpoint into weights that come with depthkit: 16 bits, no optimiser.

Beside the weights, which training starts from, lies the exported file that all verbs run.

    python scripts/ship_weights.py runs/depthnet depthnet-stillbox
    python scripts/ship_weights.py depthnet-stillbox depthnet-stillbox  # its exported file anew

Statistics of batch normalisation stay in 32 bits: 16 could not hold the largest and smallest.
"""

import argparse
from pathlib import Path

import torch

from depthkit.config import TrainConfig
from depthkit.config.strict_yaml import load_config
from depthkit.errors import CheckpointError
from depthkit.export.model import Options, export_model
from depthkit.models.checkpoint import read_checkpoint, save_checkpoint
from depthkit.tasks.loaded import SHIPPED, find_checkpoint, load_task

MOST = 12e6  # bytes a file may have


def main() -> None:
    """Write the file, load it again, say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="run folder or checkpoint")
    parser.add_argument("name", help="under which every verb finds it")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="folder to write")
    args = parser.parse_args()
    path = args.out / f"{args.name}.safetensors"
    check_finished(args.run)
    checkpoint = find_checkpoint(args.run)
    if checkpoint != path:
        ship(checkpoint, path)
    loaded = load_task(path)
    options = Options(part=loaded.config.kind.parts[0], half_weights=True)
    exported = export_model(loaded, path.with_suffix(".onnx"), options)
    exported.path.with_suffix(".json").unlink()  # the manifest lies inside, too
    for file in (path, exported.path):
        print(f"{file}: {file.stat().st_size / 1e6:.2f} MB")


def check_finished(run: Path) -> None:
    """Refuse a run, or a curriculum, that has not come to its end.

    Raises:
        CheckpointError: stages or steps are missing.
    """
    file = find_checkpoint(run)
    _, state = read_checkpoint(file)
    config = run / "config.yaml"
    stages = load_config(TrainConfig, config).stages if config.is_file() else ()
    if stages and f"stage_{len(stages)}" not in file.parts:
        raise CheckpointError(f"{run}: {len(stages)} stages, and the last is not there; --resume")
    steps = state["config"]["optimizer"]["steps"]
    if state["step"] < steps:
        raise CheckpointError(f"{file}: step {state['step']} of {steps}; finish it with --resume")


def ship(checkpoint: Path, path: Path) -> None:
    """Write the task's weights of a checkpoint, halved in size.

    Raises:
        CheckpointError: the file would be larger than a shipped one may be.
    """
    tensors, state = read_checkpoint(checkpoint)
    kept = {name: halve(name, value) for name, value in tensors.items() if name.startswith("task.")}
    state["config"]["data"]["root"] = "data"  # a path of the machine that trained it
    state["config"]["model"]["init"] = None
    if "place" in state["config"]:  # weights of before that task have no such part
        state["config"]["place"]["pictures"] = []
    state["sequences"] = [f"{len(state['sequences'])} synthetic scenes"]
    size = sum(value.numel() * value.element_size() for value in kept.values())
    if size > MOST:
        raise CheckpointError(f"{path}: would have {size / 1e6:.1f} MB, at most {MOST / 1e6:g} MB")
    save_checkpoint(path, kept, state)


def halve(name: str, value: torch.Tensor) -> torch.Tensor:
    """Return a weight in 16 bits; statistics and counts as they are.

    Raises:
        CheckpointError: a weight is too large for 16 bits.
    """
    if "running_" in name or not value.is_floating_point():
        return value
    if not value.half().isfinite().all():
        raise CheckpointError(f"{name}: does not fit into 16 bits")
    return value.half()


if __name__ == "__main__":
    main()
