# SPDX-License-Identifier: Apache-2.0
"""`depthkit train`: a configuration file in, a run folder out."""

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from depthkit.config import TrainConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument("config", type=Path, nargs="?", help="YAML file; see configs/")
    parser.add_argument("--run", type=Path, help="run folder to write")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="differences from the file, such as data.shifts=[-2,2]",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the run's last checkpoint, exactly"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="build all, run one batch, print sizes, write nothing",
    )
    parser.add_argument("--keys", action="store_true", help="list all configuration keys and leave")
    parser.add_argument("--json", action="store_true", help="print the result as one object")


def run(args: argparse.Namespace) -> None:
    """Train, or print what would be trained."""
    from depthkit.config import TrainConfig
    from depthkit.config.strict_yaml import field_help, load_config
    from depthkit.errors import ConfigError

    if args.keys:
        for entry in field_help(TrainConfig):
            print(f"{entry.name}: {entry.type} = {entry.default}\n    {entry.doc}")
        return
    path = args.config
    if path is None and args.resume and args.run is not None:
        path = args.run / "config.yaml"
    if path is None:
        raise ConfigError("no configuration file; give one (see configs/) or --resume --run DIR")
    config = apply_overrides_last(load_config(TrainConfig, path, args.set), args.set)
    if args.dry_run:
        _describe(config, as_json=args.json)
        return
    if args.run is None:
        raise ConfigError("no run folder; give --run DIR")
    from depthkit.pipelines.train import train

    result = train(config, args.run, resume=args.resume)
    if result is None:  # another process of the run prints it
        return
    if args.json:
        print(json.dumps(asdict(result), default=str))
    else:
        how = "complete already" if result.loss is None else f"loss {result.loss:.4f}"
        print(f"{result.steps} steps, {how}; checkpoint {result.last}")
        if result.warning is None:  # the log ends with it
            print(f"next: {next_command(config, args.run)}", file=sys.stderr)


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
