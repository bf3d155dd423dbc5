# SPDX-License-Identifier: Apache-2.0
"""`depthkit verify`: does an exported model answer on this machine as it did in training?"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthkit.errors import EngineError
from depthkit.installation import install_line

if TYPE_CHECKING:
    from depthkit.runtime.manifest import Manifest
    from depthkit.runtime.parity import Parity


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
    parser.add_argument("--threads", type=int, default=1, help="processor cores to use")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> None:
    """Check the file, run its stored input on each backend, print a table.

    Raises:
        EngineError: the file is refused, or a backend differs by more than is allowed.
    """
    from depthkit.runtime.backend import available_backends
    from depthkit.runtime.manifest import find_model, read_manifest

    path = find_model(args.model)
    manifest = read_manifest(path)
    rows = [verify_one(path, *case, args.threads) for case in choose_cases(args.backend)]
    absent = {
        name: words for name, words in available_backends().items() if not words[:1].isdigit()
    }
    print(as_json(path, manifest, rows) if args.json else as_text(path, manifest, rows, absent))
    failed = [str(row["parity"] or row["error"]) for row in rows if not row["holds"]]
    if failed:
        raise EngineError(f"{path}: {len(failed)} of {len(rows)} FAILED: {'; '.join(failed)}")


def choose_cases(backend: str) -> list[tuple[str, str]]:
    """Return backends and precisions to run; one asked for is tried in any case.

    Raises:
        EngineError: nothing here can run a model.
    """
    from depthkit.runtime.backend import runnable

    cases = runnable()
    if backend == "all":
        if not cases:
            raise EngineError(f"no runtime is installed; run: {install_line('runtime')}")
        return cases
    return [case for case in cases if case[0] == backend] or [(backend, "default")]


def verify_one(path: Path, backend: str, precision: str, threads: int) -> dict[str, Any]:
    """Run the stored input on one backend; one that does not even run has failed too."""
    from depthkit.runtime.backend import check_parity, open_backend

    name = backend if precision == "default" else f"{backend} {precision}"
    try:
        opened = open_backend(path, backend=backend, threads=threads, precision=precision)
        try:
            parity = check_parity(opened)
        finally:
            opened.close()
    except EngineError as error:
        return {"name": name, "parity": None, "holds": False, "error": str(error)}
    return {"name": name, "parity": parity, "holds": parity.holds, "error": ""}


def as_json(path: Path, manifest: Manifest, rows: list[dict[str, Any]]) -> str:
    """Return one object for machines."""
    from depthkit.cli.evaluate_output import plain

    checks = [
        {"backend": row["name"], "holds": row["holds"], "error": row["error"]}
        | (asdict(row["parity"]) if row["parity"] else {})
        for row in rows
    ]
    ok = all(row["holds"] for row in rows)
    record = {"file": str(path), "sha256": manifest.sha256, "ok": ok, "checks": checks}
    return json.dumps(plain(record), indent=2)


def as_text(
    path: Path, manifest: Manifest, rows: list[dict[str, Any]], absent: dict[str, str]
) -> str:
    """Lay the same out as a table."""
    height, width = manifest.size
    lines = [
        f"{path}: {manifest.kind} ({manifest.network}), {manifest.precision}, {width}x{height}, "
        f"{manifest.scale} ({manifest.scale_source})",
        f"sha256 {manifest.sha256[:16]}... holds; relative difference from the stored output:",
        f"{'':22} {'':6} {'worst':>9} {'median':>9} {'allowed':>17}",
    ]
    for row in rows:
        parity: Parity | None = row["parity"]
        if parity is None:
            lines.append(f"{row['name']:22} FAILED ({row['error']})")
            continue
        allowed = f"{parity.tolerance:.2g} ({parity.statistic})"
        lines.append(
            f"{parity.backend:22} {parity.precision:6} {parity.worst:9.2g} {parity.median:9.2g} "
            f"{allowed:>17}  {'OK' if parity.holds else 'FAILED'}"
        )
    lines += [f"{name:22} absent ({words})" for name, words in absent.items()]
    return "\n".join(lines)
