# SPDX-License-Identifier: Apache-2.0
"""`depthkit synth`: worlds with exact depth, poses and flow; drawn shapes with exact corners."""

import argparse
import json
import os
from pathlib import Path

from depthkit.cli.arguments import options_of, size
from depthkit.cli.progress import watching

WORLDS = {
    "stillbox": "random solids in a random room, a straight flight (Pinard 2017a)",
    "street": "a canyon of blocks, vehicles that move, a car's camera",
    "colon": "a colon of rising complexity, light on the camera (Ruano 2023)",
    "shapes": "single pictures of drawn shapes, their corners in points/ (DeTone 2018)",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    lines = "\n".join(f"  {name:9} {line}" for name, line in WORLDS.items())
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        f"worlds:\n{lines}\n\nAn interrupted run continues when the same command is given again."
    )
    parser.add_argument("world", choices=tuple(WORLDS), metavar="WORLD", help="see below")
    parser.add_argument("--out", type=Path, metavar="DIR", help="data set folder")
    parser.add_argument(
        "--scenes", type=int, default=10, metavar="N", help="number of scenes (default: 10)"
    )
    parser.add_argument(
        "--frames", type=int, default=10, metavar="N", help="frames per scene (default: 10)"
    )
    parser.add_argument(
        "--size", type=size, metavar="HxW", help="frame size in pixels (default: the world's own)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="random seed (default: 0)")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="overrides of the world's options; --keys lists them",
    )
    parser.add_argument("--keys", action="store_true", help="list the world's options and exit")
    parser.add_argument("--name", default="", help="prefix of sequence names (default: the world)")
    parser.add_argument(
        "--split", choices=("train", "val", "test"), default="train", help="split (default: train)"
    )
    parser.add_argument(
        "--depth-only",
        action="store_true",
        help="write no flow, occlusion, object ids or moving masks",
    )
    parser.add_argument(
        "--imu",
        choices=("phone", "adis", "perfect"),
        default="",
        help="write imu.csv: what such an IMU on the camera measures (default: none)",
    )
    faults = parser.add_argument_group("camera imperfections (all off by default)")
    faults.add_argument(
        "--noise",
        type=float,
        default=0.0,
        metavar="LEVELS",
        help="standard deviation of sensor noise, grey levels of 255",
    )
    faults.add_argument(
        "--blur",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="motion blur: exposure time / frame time",
    )
    faults.add_argument(
        "--exposure",
        type=float,
        default=0.0,
        metavar="STOPS",
        help="largest change of brightness over a sequence, stops",
    )
    parser.add_argument(
        "--backend",
        choices=("auto", "gl", "ray"),
        default="auto",
        help="renderer; auto: OpenGL if available, else ray casting (default: auto)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        help="number of processes (default: all cores)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> None:
    """Make the scenes and say where they are."""
    from dataclasses import asdict

    from depthkit.config.strict_yaml import field_help
    from depthkit.errors import UsageError
    from depthkit.pipelines.synth import SynthOptions, synth, world_options

    if args.keys:
        for entry in field_help(world_options(args.world)):
            print(f"{entry.name}: {entry.type} = {entry.default}\n    {entry.doc}")
        return
    if args.out is None:
        raise UsageError("no folder to write; give --out DIR")
    words = options_of(args, "keys", "set")
    with watching(terminal_only=False) as watcher:
        made = synth(SynthOptions(**words, overrides=tuple(args.set)), watcher)
    if args.json:
        print(json.dumps(asdict(made)))
    else:
        count = f"{made.sequences} sequences of {made.frames} frames"
        print(f"{made.out}: {count}, split {args.split}")
