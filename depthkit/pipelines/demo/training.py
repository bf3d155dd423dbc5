# SPDX-License-Identifier: Apache-2.0
"""A training from nothing: a world with exact truth, training without labels, scores of both ends.

The networks see colours alone. Depth and poses of the world are read by the scores and by nothing
else, and no scored flight is among those trained on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from depthkit.config import TrainConfig
from depthkit.config.strict_yaml import load_config
from depthkit.pipelines.demo.folder import MARKER, start_folder
from depthkit.pipelines.demo.train_scores import Figures, score_training
from depthkit.pipelines.output_folder import check_replaceable
from depthkit.recipes import list_recipes
from depthkit.watcher import SILENT, Watcher

SCENE_SEED = 0


@dataclass(frozen=True)
class World:
    """How much is rendered: flights through one room, each on its own way."""

    train: int = 16
    val: int = 1
    test: int = 2
    frames: int = 24
    """Frames per flight."""

    def names(self, part: str) -> list[str]:
        """Return the sequences of a part of the split."""
        return [f"{part}_{i}" for i in range(getattr(self, part))]


WORLD = World()


@dataclass(frozen=True)
class TrainingDemo:
    """What came out of a training from nothing."""

    figures: Figures
    """Means over the test flights."""
    steps: int
    train_seconds: float
    seconds: float
    """Wall time of all."""
    report: str
    """The HTML report."""

    def as_json(self) -> dict[str, object]:
        """Return the object that the command line prints."""
        rest = {key: value for key, value in vars(self).items() if key != "figures"}
        return {**asdict(self.figures), **rest}


def demo_training(
    out: Path, overrides: Sequence[str] = (), *, force: bool = False, watcher: Watcher = SILENT
) -> TrainingDemo:
    """Render, train, score, draw.

    Args:
        out: folder to write.
        overrides: differences from configs/demo.yaml, such as "optimizer.steps=800".
        force: replace an earlier demo.
        watcher: receives a note for each stage.
    """
    begin = time.perf_counter()
    check_replaceable(out, MARKER, force=force)
    config = load_config(TrainConfig, list_recipes()["demo"], overrides)
    config = replace(config, data=replace(config.data, root=out / "world"))
    start_folder(out)

    watcher.note("1/4 rendering a room of boxes")
    write_world(config.data.root, WORLD, config.data.size)
    watcher.note("2/4 training depth and motion from colours alone")
    from depthkit.training.loop import train

    start = time.perf_counter()
    train(config, out / "run")
    trained = time.perf_counter() - start
    watcher.note("3/4 scoring on flights not trained on")
    result = score_training(out, config)
    watcher.note("4/4 drawing")
    from depthkit.pipelines.demo.train_report import write_training_report

    report = write_training_report(out, config, result, trained=trained)
    return TrainingDemo(
        figures=result.figures,
        steps=config.optimizer.steps,
        train_seconds=round(trained, 1),
        seconds=round(time.perf_counter() - begin, 1),
        report=str(report),
    )


def write_world(root: Path, world: World, size: tuple[int, int]) -> None:
    """Render all flights and the split.

    Args:
        root: data set folder to make.
        world: how many flights and frames.
        size: (H, W), pixels.
    """
    from depthkit.data.sequence import write_split
    from depthkit.synth.boxes import write_flight
    from depthkit.synth.path import forward_path

    parts = {part: world.names(part) for part in ("train", "val", "test")}
    root.mkdir(parents=True)
    for seed, name in enumerate(name for names in parts.values() for name in names):
        write_flight(root / name, forward_path(world.frames, seed), size, SCENE_SEED)
    write_split(root, **parts)
