# SPDX-License-Identifier: Apache-2.0
"""`depthkit demo`: the networks that come with depthkit at work on flights rendered on the spot.

With --train it trains a depth and a motion network of its own instead, see `demo_train`.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from depthkit.cli.demo_output import MARKER, say, start_folder
from depthkit.cli.infer import check_replaceable
from depthkit.cli.rendering import say_backend
from depthkit.errors import UsageError

if TYPE_CHECKING:
    from depthkit.cli.demo_scores import Result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder to write")
    parser.add_argument(
        "--seed", type=_natural, metavar="S", help="of the rendered flights (default: 0)"
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
        help="with --train: differences from configs/demo.yaml, such as optimizer.steps=800",
    )
    parser.add_argument("--force", action="store_true", help="replace an earlier demo")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> None:
    """Show the shipped networks, or train others; print what came out and where it is."""
    if args.train and args.seed is not None:
        raise UsageError("--seed is of the flights without --train; give --set run.seed=S")
    if args.set and not args.train:
        raise UsageError("--set goes with --train; without it nothing is trained")
    if args.train:
        from depthkit.cli.demo_train import run_training

        run_training(args)
    else:
        run_shipped(args)


def run_shipped(args: argparse.Namespace) -> None:
    """Render, score, draw."""
    begin = time.perf_counter()
    check_replaceable(args.out, MARKER, force=args.force)
    from depthkit.cli.demo_report import write_demo_report
    from depthkit.cli.demo_scores import open_shipped, score_frames, score_pairs, write_flights

    pairs, frames = open_shipped()
    say_backend("auto")
    start_folder(args.out)
    seed = args.seed or 0
    say("1/3 rendering flights that no network was trained on")
    solids = write_flights(args.out / "stillbox", "stillbox", pairs.manifest.size, seed=seed)
    colons = write_flights(args.out / "colon", "colon", frames.manifest.size, seed=seed)
    say("2/3 predicting and scoring")
    results = [score_pairs(pairs, solids), score_frames(frames, colons)]
    say("3/3 drawing")
    report = write_demo_report(args.out, results)
    seconds = round(time.perf_counter() - begin, 1)
    if args.json:
        figures = {result.world: result.as_json() for result in results}
        rest = {"align": "none", "seed": seed, "seconds": seconds, "report": str(report)}
        print(json.dumps(figures | rest))
    else:
        print(as_text(results, args.out, report, seconds))


def as_text(results: list[Result], out: Path, report: Path, seconds: float) -> str:
    """Format the figures as a small table and say where everything lies."""
    from depthkit.cli.demo_scores import COLUMNS, UNSCALED
    from depthkit.evaluation.report import format_cell

    lines = [f"{'':38}" + "".join(f"{name:>15}" for name in COLUMNS)]
    for result in results:
        lines.append(result.title)
        for figure in result.figures:
            cells = ["-" if value is None else format_cell(value) for value in figure.values()]
            lines.append(f"  {figure.label:36}" + "".join(f"{cell:>15}" for cell in cells))
    lines += [
        "",
        UNSCALED,
        "",
        f"{seconds} s in all",
        f"report    {report}",
        f"pictures  {out / 'pictures'}",
    ]
    lines += [
        f"flights   {out / r.world}    (try: depthkit evaluate model {r.weights} {out / r.world})"
        for r in results
    ]
    return "\n".join(lines)


def _natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected 0 or more, got {value}")
    return value
