# SPDX-License-Identifier: Apache-2.0
"""`depthkit verify`: does an exported model answer on this machine as it did in training?"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from depthkit.pipelines.verify import Verification


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument(
        "model", type=Path, help="ONNX file of 'depthkit export', or a shipped model's name"
    )
    parser.add_argument(
        "--backend",
        default="all",
        choices=("all", "onnxruntime", "openvino", "cuda", "tensorrt"),
        help="all: whatever this machine has, in each of its precisions",
    )
    parser.add_argument(
        "--threads", type=int, default=1, help="processor cores to use (default: 1)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> None:
    """Check the file, run its stored input on each backend, print a table.

    Raises:
        EngineError: the file is refused, or a backend differs by more than is allowed.
    """
    from depthkit.pipelines.records import plain
    from depthkit.pipelines.verify import verify

    found = verify(args.model, backend=args.backend, threads=args.threads)
    print(json.dumps(plain(found.as_json()), indent=2) if args.json else as_text(found))
    found.require()


def as_text(found: Verification) -> str:
    """Lay the checks out as a table."""
    manifest = found.manifest
    height, width = manifest.size
    lines = [
        f"{found.file}: {manifest.kind} ({manifest.network}), {manifest.precision}, "
        f"{width}x{height}, {manifest.scale} ({manifest.scale_source})",
        f"sha256 {manifest.sha256[:16]}... holds; relative difference from the stored output:",
        f"{'':22} {'':6} {'worst':>9} {'median':>9} {'allowed':>17}",
    ]
    for one in found.checks:
        parity = one.parity
        if parity is None:
            lines.append(f"{one.backend:22} FAILED ({one.error})")
            continue
        allowed = f"{parity.tolerance:.2g} ({parity.statistic})"
        lines.append(
            f"{parity.backend:22} {parity.precision:6} {parity.worst:9.2g} {parity.median:9.2g} "
            f"{allowed:>17}  {'OK' if parity.holds else 'FAILED'}"
        )
    lines += [f"{name:22} absent ({words})" for name, words in found.absent.items()]
    return "\n".join(lines)
