#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turn a run's last checkpoint into weights that come with depthkit: 16 bits, no optimiser.

    python scripts/ship_weights.py runs/depthnet depthnet-stillbox

Statistics of batch normalisation stay in 32 bits: 16 could not hold the largest and smallest.
"""

import argparse
from pathlib import Path

import torch

from depthkit.errors import CheckpointError
from depthkit.models.checkpoint import read_checkpoint, save_checkpoint
from depthkit.training.predict import SHIPPED, find_checkpoint, load_predictor

MOST = 12e6  # bytes a file may have


def main() -> None:
    """Write the file, load it again, say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="run folder or checkpoint")
    parser.add_argument("name", help="under which load_predictor finds it")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="folder to write")
    args = parser.parse_args()
    path = args.out / f"{args.name}.safetensors"
    ship(find_checkpoint(args.run), path)
    load_predictor(path)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


def ship(checkpoint: Path, path: Path) -> None:
    """Write the task's weights of a checkpoint, halved in size.

    Raises:
        CheckpointError: the file would be larger than a shipped one may be.
    """
    tensors, state = read_checkpoint(checkpoint)
    kept = {name: halve(name, value) for name, value in tensors.items() if name.startswith("task.")}
    state["config"]["data"]["root"] = "data"  # a path of the machine that trained it
    state["config"]["model"]["init"] = None
    state["sequences"] = [f"{len(state['sequences'])} synthetic scenes"]
    size = sum(value.numel() * value.element_size() for value in kept.values())
    if size > MOST:
        raise CheckpointError(f"{path}: would have {size / 1e6:.1f} MB, at most {MOST / 1e6:g} MB")
    save_checkpoint(path, kept, state)


def halve(name: str, value: torch.Tensor) -> torch.Tensor:
    """Return a weight in 16 bits; statistics and counts as they are."""
    return value if "running_" in name or not value.is_floating_point() else value.half()


if __name__ == "__main__":
    main()
