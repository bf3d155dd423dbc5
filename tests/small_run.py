# SPDX-License-Identifier: Apache-2.0
"""Small training runs for the tests: a rendered world, short settings, runs as real programs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from depthkit.config import TrainConfig
from depthkit.config.strict_yaml import load_config
from depthkit.data.snippet import Snippet, collate
from depthkit.data.snippet_loading import SnippetDataset
from depthkit.synth.boxes import write_box_sequence

CHECKOUT = Path(__file__).resolve().parent.parent
SIZE = (64, 96)
FRAMES = 24

SMALL = (
    "data.size=[64,96]",
    "data.workers=0",
    "model.depth=light",
    "model.pose=light",
    "optimizer.batch_size=4",
    "optimizer.steps=4",
    "optimizer.learning_rate=5e-4",
    "run.device=cpu",
    "run.precision=fp32",
    "run.threads=1",
    "run.log_every=1",
    "run.validation_batches=1",
)
ZHOU = (
    "model.depth=dispnet",
    "model.pose=posenet",
    "model.pose_input=snippet",
    "loss.ssim_weight=0",
    "loss.reduction=mean",
    "loss.auto_mask=false",
    "loss.full_resolution=false",
    "loss.smoothness=second_order",
    "loss.smoothness_weight=0.5",
    "loss.explainability_weight=0.2",
)


def write_world(path: Path) -> Path:
    """Write one sequence of a room of boxes, with exact depth and poses."""
    write_box_sequence(path, FRAMES, SIZE, seed=3)
    return path


def small_config(root: Path, *words: str) -> TrainConfig:
    """Return the small configuration with differences, later words winning."""
    return load_config(TrainConfig, None, small_words(root, *words))


def small_words(root: Path, *words: str) -> list[str]:
    """Return what `--set` needs for a small run; of two words for a key the later one stays."""
    chosen = {}
    for word in (f"data.root={root}", *SMALL, *words):
        key, _, value = word.partition("=")
        chosen[key] = value
    return [f"{key}={value}" for key, value in chosen.items()]


def write_config(path: Path, root: Path, *words: str) -> Path:
    """Write the small configuration as a YAML file."""
    from depthkit.config.strict_yaml import to_yaml

    path.write_text(to_yaml(small_config(root, *words)))
    return path


def program(*words: str | Path) -> list[str]:
    """Return the command line of the program, run by this Python."""
    return [sys.executable, "-m", "depthkit", *map(str, words)]


def environment() -> dict[str, str]:
    """Return an environment for child processes: one thread each, the checkout's own package."""
    return os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'tests'}",
        "PYTHONUNBUFFERED": "1",
    }


def call(command: list[str], *, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, its output kept."""
    return subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=timeout, check=False
    )


def read_log(run: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a run's log."""
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def curve(run: Path, *, without: tuple[str, ...] = ("seconds", "images_per_second")) -> dict:
    """Return a run's figures by (step, name), clocks left out."""
    return {
        (line["step"], name): np.nan if value is None else value
        for line in read_log(run)
        for name, value in line.items()
        if name not in without
    }


def batch_of(data: SnippetDataset, *positions: int) -> Snippet:
    """Return chosen snippets as one batch."""
    return collate([data[(position, 0)] for position in positions])
