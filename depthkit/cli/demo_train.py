# SPDX-License-Identifier: Apache-2.0
"""`depthkit demo --train`: a world with exact truth, training without labels, scores of both ends.

The networks see colours alone. Depth and poses of the world are read by the scores and by nothing
else, and the scored flights are none of those trained on.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from depthkit.cli.demo_output import MARKER, say, start_folder
from depthkit.cli.infer import check_replaceable
from depthkit.recipes import list_recipes

SCENE_SEED = 0


@dataclass(frozen=True)
class World:
    """How much is rendered: flights through one room, each on its own way."""

    train: int = 16
    val: int = 1
    test: int = 2
    frames: int = 24
    """Of each flight."""

    def names(self, part: str) -> list[str]:
        """Return the sequences of a part of the split."""
        return [f"{part}_{i}" for i in range(getattr(self, part))]


WORLD = World()


def run_training(args: argparse.Namespace) -> None:
    """Render, train, score, draw; print what came out and where it is."""
    from depthkit.config import TrainConfig
    from depthkit.strict_yaml import load_config

    begin = time.perf_counter()
    check_replaceable(args.out, MARKER, force=args.force)
    config = load_config(TrainConfig, list_recipes()["demo"], args.set)
    config = replace(config, data=replace(config.data, root=args.out / "world"))
    start_folder(args.out)

    say("1/4 rendering a room of boxes")
    write_world(config.data.root, WORLD, config.data.size)
    say("2/4 training depth and motion from colours alone")
    from depthkit.training.loop import train

    start = time.perf_counter()
    train(config, args.out / "run")
    trained = time.perf_counter() - start
    say("3/4 scoring on flights not trained on")
    from depthkit.cli.demo_train_scores import score_training

    result = score_training(args.out, config)
    say("4/4 drawing")
    from depthkit.cli.demo_train_report import write_training_report

    report = write_training_report(args.out, config, result, trained=trained)
    summary = {
        **asdict(result.figures),
        "steps": config.optimizer.steps,
        "train_seconds": round(trained, 1),
        "seconds": round(time.perf_counter() - begin, 1),
        "report": str(report),
    }
    print(json.dumps(summary) if args.json else as_text(summary, args.out))


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


def as_text(summary: dict[str, object], out: Path) -> str:
    """Format the figures as a small table and say where everything lies."""
    from depthkit.cli.demo_train_scores import FIGURE_ROWS
    from depthkit.evaluation.report import format_cell

    lines = [f"{'':38}{'untrained':>10}{'trained':>10}{'baseline':>10}"]
    for row in FIGURE_ROWS:
        cells = [format_cell(summary[key]) for key in row.keys]  # type: ignore[arg-type]
        lines.append(f"{row.label:38}" + "".join(f"{cell:>10}" for cell in cells))
    lines += [
        "",
        f"{summary['steps']} steps in {summary['train_seconds']} s, {summary['seconds']} s in all",
        f"report    {summary['report']}",
        f"pictures  {out / 'pictures'}",
        f"world     {out / 'world'}",
        f"run       {out / 'run'}    (try: depthkit infer {out / 'run'} VIDEO --out DIR)",
    ]
    return "\n".join(lines)
