# SPDX-License-Identifier: Apache-2.0
"""`depthkit train`: a configuration file in, a run folder out."""

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from depthkit.errors import UsageError
from depthkit.recipes import describe_recipe, find_recipe, list_recipes

if TYPE_CHECKING:
    from depthkit.config import TrainConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument(
        "config", type=Path, nargs="?", help="YAML file, or a shipped one's name (see --list)"
    )
    parser.add_argument("--run", type=Path, help="run folder to write")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="overrides of the file, such as data.shifts=[-2,2]",
    )
    parser.add_argument(
        "--resume", action="store_true", help="continue exactly from the run's last checkpoint"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="build everything, run one batch, print sizes, write nothing",
    )
    parser.add_argument("--keys", action="store_true", help="list all configuration keys and exit")
    parser.add_argument("--list", action="store_true", help="list the shipped configurations")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


_LEARNT_NOTHING = 3  # exit code


def run(args: argparse.Namespace) -> int:
    """Train, or print what would be trained; 3 where held-out tracks say it learnt nothing."""
    from depthkit.config import TrainConfig
    from depthkit.config.strict_yaml import field_help, load_config

    if args.list:
        _print_recipes()
        return 0
    if args.keys:
        for entry in field_help(TrainConfig):
            print(f"{entry.name}: {entry.type} = {entry.default}\n    {entry.doc}")
        return 0
    config = apply_overrides_last(load_config(TrainConfig, _find_config(args), args.set), args.set)
    if args.dry_run:
        _describe(config, as_json=args.json)
        return 0
    if args.run is None:
        raise UsageError("no run folder; give --run DIR")
    from depthkit.cli.progress import watching
    from depthkit.pipelines.train import make_ready, train

    with watching() as watcher:
        make_ready(config, args.run, resume=args.resume, watcher=watcher)
    result = train(config, args.run, resume=args.resume)
    if result is None:  # another process of the run prints it
        return 0
    failed = result.verdict is not None and result.verdict.learnt is False
    if args.json:
        print(json.dumps(asdict(result), default=str))
    else:
        how = "complete already" if result.loss is None else f"loss {result.loss:.4f}"
        print(f"{result.steps} steps, {how}; checkpoint {result.last}")
        if result.warning is None and not failed:  # the log ends with it
            print(f"next: {next_command(config, args.run)}", file=sys.stderr)
    return _LEARNT_NOTHING if failed else 0


def _find_config(args: argparse.Namespace) -> Path:
    if args.config is not None:
        return find_recipe(args.config)
    if args.resume and args.run is not None:
        return Path(args.run) / "config.yaml"
    raise UsageError(
        "no configuration file; give one, or a shipped one's name such as indoor/redkitchen, "
        "or --resume --run DIR"
    )


def _print_recipes() -> None:
    recipes = list_recipes()
    width = max(map(len, recipes), default=0)
    for name, path in recipes.items():
        print(f"{name:{width}}  {describe_recipe(path)}")


def _describe(config: "TrainConfig", *, as_json: bool) -> None:
    """Print what the run, or each of its stages, would be."""
    from depthkit.pipelines.train import describe

    reports = describe(config)
    if as_json:
        found = [asdict(report) for report in reports]
        print(json.dumps({"stages": found} if config.stages else found[0]))
        return
    for k, report in enumerate(reports, 1):
        if config.stages:
            print(f"stage {k} of {len(reports)}: {' '.join(config.stages[k - 1])}")
        print(report.as_text())


def next_command(config: "TrainConfig", run: Path) -> str:
    """Return the command that makes use of a finished run."""
    return f"depthkit {config.kind.next_command.format(run=run)}"


def apply_overrides_last(config: "TrainConfig", overrides: list[str]) -> "TrainConfig":
    """Let the command line win over the stages too: default < file < stage < --set."""
    last = tuple(word for word in overrides if not word.startswith("stages"))
    stages = tuple((*stage, *(w for w in last if w not in stage)) for stage in config.stages)
    return replace(config, stages=stages)
