# SPDX-License-Identifier: Apache-2.0
"""`depthkit export`: a trained network as one ONNX file that proves itself."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from depthkit.pipelines.export import Exported


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument(
        "run", type=Path, help="run folder, checkpoint, or name of weights that come with depthkit"
    )
    parser.add_argument("--out", type=Path, required=True, help="file to write, e.g. model.onnx")
    parser.add_argument(
        "--part",
        default="depth",
        choices=("depth", "pose", "flow", "features", "place"),
        help="network to export (default: depth); flow includes the mask network of a coop run; "
        "features: descriptors of task similarity; place: the descriptor of task place",
    )
    parser.add_argument(
        "--precision",
        default="fp32",
        choices=("fp32", "fp16", "int8"),
        help="number format to compute in (default: fp32)",
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="SEQUENCE",
        help="int8: sequence folder that resembles the network's later input",
    )
    parser.add_argument(
        "--dynamic",
        action="store_true",
        help="accept frames of any size (pair and features networks always do)",
    )
    parser.add_argument(
        "--half-weights",
        action="store_true",
        help="compute in fp32, store weights in 16 bits: half the file",
    )
    parser.add_argument(
        "--opset", type=int, default=18, help="ONNX operator set, 18 (default) or newer"
    )
    parser.add_argument("--force", action="store_true", help="replace an earlier file")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> None:
    """Export, prove, say how close each backend of this machine is."""
    from depthkit.pipelines.export import ExportOptions, Options, as_json, export

    graph = Options(args.part, args.precision, args.dynamic, args.half_weights, args.opset)
    exported = export(ExportOptions(args.run, args.out, graph, args.calibration, args.force))
    print(json.dumps(as_json(exported), indent=2) if args.json else as_text(exported))


def as_text(exported: Exported) -> str:
    """Say the same for people."""
    manifest, (height, width) = exported.manifest, exported.manifest.size
    free = "any size, trained at " if manifest.dynamic else ""
    lines = [
        f"{exported.path}: {manifest.kind} ({manifest.network}), {manifest.precision}, "
        f"{free}{width}x{height}, {exported.bytes / 1e6:.1f} MB",
        f"scale: {manifest.scale} ({manifest.scale_source})",
    ]
    if exported.rounding is not None:
        worst, median = exported.rounding
        lines.append(f"weights in 16 bits change it by {worst:.2g} at worst, median {median:.2g}")
    if exported.in_8_bits is not None:
        few, many = exported.in_8_bits
        lines.append(f"{few} of {many} inner convolutions in 8 bits")
    lines.append("relative difference from torch:")
    for one in exported.parities:
        lines.append(
            f"  {one.backend:20} {one.precision:5} worst {one.worst:8.2g}  median {one.median:8.2g}"
            f"  allowed {one.tolerance:.2g} ({one.statistic})"
        )
    lines.append(f"  two at once, other pictures and sizes: worst {exported.shapes_worst:.2g}")
    return "\n".join(lines)
