# SPDX-License-Identifier: Apache-2.0
"""`depthkit demo`: two films rendered on the spot and turned into 3-D, and the shipped networks.

With --train it trains a depth and a motion network of its own instead.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from depthkit.cli.progress import watching
from depthkit.errors import UsageError

if TYPE_CHECKING:
    from depthkit.pipelines.demo.shipped import ShippedDemo
    from depthkit.pipelines.demo.training import TrainingDemo


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder to write")
    parser.add_argument(
        "--seed",
        type=_natural,
        metavar="S",
        help="random seed of the rendered worlds (default: 0)",
    )
    parser.add_argument(
        "--train",
        action="store_true",
        help="train depth and motion without labels instead: about a minute and a half",
    )
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="with --train: overrides of configs/demo.yaml, such as optimizer.steps=800",
    )
    parser.add_argument("--force", action="store_true", help="replace an earlier demo")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> None:
    """Show films and shipped networks at work, or train others; print what came out and where."""
    if args.train and args.seed is not None:
        raise UsageError("--seed is of the flights without --train; give --set run.seed=S")
    if args.set and not args.train:
        raise UsageError("--set goes with --train; without it nothing is trained")
    with watching("") as watcher:
        if args.train:
            from depthkit.pipelines.demo.training import demo_training

            trained = demo_training(args.out, args.set, force=args.force, watcher=watcher)
            print(json.dumps(trained.as_json()) if args.json else training_text(trained, args.out))
            return
        from depthkit.pipelines.demo.shipped import demo_shipped

        shown = demo_shipped(args.out, seed=args.seed or 0, force=args.force, watcher=watcher)
        print(json.dumps(shown.as_json()) if args.json else shipped_text(shown, args.out))


def shipped_text(shown: ShippedDemo, out: Path) -> str:
    """Format the figures as a small table and say where everything lies."""
    from depthkit.pipelines.demo.scores import COLUMNS, UNSCALED
    from depthkit.pipelines.score.report import format_cell

    lines = [*_film_lines(shown), "", f"{'':38}" + "".join(f"{name:>15}" for name in COLUMNS)]
    for result in shown.results:
        lines.append(result.title)
        for figure in result.figures:
            cells = ["-" if value is None else format_cell(value) for value in figure.values()]
            lines.append(f"  {figure.label:36}" + "".join(f"{cell:>15}" for cell in cells))
    lines += [
        "",
        UNSCALED,
        "",
        f"{shown.seconds} s in all",
        f"report    {shown.report}",
        f"pictures  {out / 'pictures'}",
    ]
    lines += [
        f"flights   {out / r.world}    (try: depthkit evaluate model {r.weights} {out / r.world})"
        for r in shown.results
    ]
    return "\n".join(lines)


def _film_lines(shown: ShippedDemo) -> list[str]:
    """Format what was made of each film."""
    from depthkit.pipelines.demo.worlds import COLUMNS
    from depthkit.pipelines.score.report import format_cell

    lines = ["films, reconstructed without a network".ljust(40) + "".join(map(_column, COLUMNS))]
    for world in shown.worlds:
        score = world.score
        unit = "in metres" if score.scale == "metric" else "times one factor"
        cells = (score.abs_rel, score.abs_rel_measured, score.abs_rel_constant)
        label = f"  {score.name}: depth abs_rel, {unit}"
        lines.append(label.ljust(40) + "".join(_column(format_cell(cell)) for cell in cells))
    lines += [
        f"  {w.score.name}: {100 * w.score.measured:.0f} % of the pixels measured, path off by "
        f"{w.score.path_percent:.2f} % of its length; {w.summary.out}/report.html"
        for w in shown.worlds
    ]
    return lines


def _column(text: str) -> str:
    return f"{text:>17}"


def training_text(found: TrainingDemo, out: Path) -> str:
    """Format the figures as a small table and say where everything lies."""
    from depthkit.pipelines.demo.train_scores import FIGURE_ROWS
    from depthkit.pipelines.score.report import format_cell

    lines = [f"{'':38}{'untrained':>10}{'trained':>10}{'baseline':>10}"]
    for row in FIGURE_ROWS:
        cells = [format_cell(getattr(found.figures, key)) for key in row.keys]
        lines.append(f"{row.label:38}" + "".join(f"{cell:>10}" for cell in cells))
    lines += [
        "",
        f"{found.steps} steps in {found.train_seconds} s, {found.seconds} s in all",
        f"report    {found.report}",
        f"pictures  {out / 'pictures'}",
        f"world     {out / 'world'}",
        f"run       {out / 'run'}    (try: depthkit infer {out / 'run'} VIDEO --out DIR)",
    ]
    return "\n".join(lines)


def _natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected 0 or more, got {value}")
    return value
