# SPDX-License-Identifier: Apache-2.0
"""`depthkit synth`: worlds with exact depth, poses, flow, occlusion and moving objects."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from depthkit.cli.arguments import size
from depthkit.cli.rendering import say_backend

if TYPE_CHECKING:
    from depthkit.synth.generate import SynthPlan

WORLDS = {
    "stillbox": "random solids in a random room, a straight flight (Pinard 2017a)",
    "street": "a canyon of blocks, vehicles that move, a car's camera",
    "colon": "a colon of rising complexity, light on the camera (Ruano 2023)",
}
_USUAL_SIZE = {"stillbox": (128, 128), "street": (128, 416), "colon": (256, 256)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    lines = "\n".join(f"  {name:9} {line}" for name, line in WORLDS.items())
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"worlds:\n{lines}\n\nThe same command continues where a killed one stopped."
    parser.add_argument("world", choices=tuple(WORLDS), metavar="WORLD", help="see below")
    parser.add_argument("--out", type=Path, metavar="DIR", help="data set folder")
    parser.add_argument("--scenes", type=int, default=10, metavar="N", help="(default: 10)")
    parser.add_argument(
        "--frames", type=int, default=10, metavar="N", help="of each scene (default: 10)"
    )
    parser.add_argument(
        "--size", type=size, metavar="HxW", help="pixels (default: what suits the world)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="(default: 0)")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="differences from the world's options; --keys lists them",
    )
    parser.add_argument("--keys", action="store_true", help="list the world's options and stop")
    parser.add_argument("--name", default="", help="of the sequences (default: the world's)")
    parser.add_argument(
        "--split", choices=("train", "val", "test"), default="train", help="(default: train)"
    )
    parser.add_argument(
        "--depth-only", action="store_true", help="no flow, occlusion, ids and moving: smaller"
    )
    faults = parser.add_argument_group("what a real camera does (all off)")
    faults.add_argument(
        "--noise", type=float, default=0.0, metavar="LEVELS", help="sensor noise, of 255"
    )
    faults.add_argument(
        "--blur", type=float, default=0.0, metavar="SHARE", help="exposure time over frame time"
    )
    faults.add_argument(
        "--exposure", type=float, default=0.0, metavar="STOPS", help="change of brightness"
    )
    parser.add_argument(
        "--backend",
        choices=("auto", "gl", "ray"),
        default="auto",
        help="OpenGL, or rays where there is none (default: auto)",
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)"
    )
    parser.add_argument("--json", action="store_true", help="print one object")


def run(args: argparse.Namespace) -> None:
    """Make the scenes and say where they are."""
    from depthkit.errors import UsageError
    from depthkit.strict_yaml import field_help, load_config
    from depthkit.synth.generate import SynthPlan, find_world
    from depthkit.synth.write import CameraFaults

    if args.keys:
        for entry in field_help(find_world(args.world).options):
            print(f"{entry.name}: {entry.type} = {entry.default}\n    {entry.doc}")
        return
    if args.out is None:
        raise UsageError("no folder to write; give --out DIR")
    plan = SynthPlan(
        world=args.world,
        out=args.out,
        scenes=args.scenes,
        frames=args.frames,
        size=args.size or _USUAL_SIZE[args.world],
        seed=args.seed,
        options=load_config(find_world(args.world).options, None, args.set),
        faults=CameraFaults(args.noise, args.blur, args.exposure),
        split=args.split,
        name=args.name,
        truth=not args.depth_only,
        backend=args.backend,
        workers=args.workers,
    )
    say_backend(args.backend)
    names = _with_progress(plan)
    summary = {"out": str(args.out), "sequences": len(names), "frames": args.frames}
    if args.json:
        print(json.dumps(summary))
    else:
        print(f"{args.out}: {len(names)} sequences of {args.frames} frames, split {args.split}")


def _with_progress(plan: SynthPlan) -> list[str]:
    """Generate with a progress bar on stderr."""
    from depthkit.cli.progress import new_bar
    from depthkit.synth.generate import generate

    bar = new_bar()
    bar.add_task(f"{plan.world} scenes", total=plan.scenes)

    def advance(count: int) -> None:
        bar.start()
        bar.advance(bar.task_ids[0], count)

    try:
        return generate(plan, advance)
    finally:
        bar.stop()
