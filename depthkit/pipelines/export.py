# SPDX-License-Identifier: Apache-2.0
"""A trained network as one ONNX file that proves itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from depthkit.export.calibration import read_calibration
from depthkit.export.model import Exported, Options, export_model
from depthkit.pipelines.checks import check_out
from depthkit.tasks.loaded import load_task

__all__ = ["ExportOptions", "Exported", "Options", "as_json", "check_out", "export"]


@dataclass(frozen=True)
class ExportOptions:
    """One run of `export`."""

    run: Path
    """Run folder, checkpoint, or the name of weights that come with depthkit."""
    out: Path
    """File to write, ending in .onnx."""
    graph: Options
    """Which network, and how it is written."""
    calibration: Path | None = None
    """Sequence folder like what the network will see; int8 needs one."""
    force: bool = False
    """Replace an earlier file."""


def export(options: ExportOptions) -> Exported:
    """Export and prove, or write nothing.

    Raises:
        DataError: the file exists, or is no .onnx.
        CheckpointError: there is no such run.
        EngineError: the run has no such network, or the file does not answer as torch does.
    """
    check_out(options.out, force=options.force)
    calibration = options.calibration and partial(read_calibration, options.calibration)
    return export_model(
        load_task(options.run), options.out, options.graph, calibration=calibration or None
    )


def as_json(exported: Exported) -> dict[str, Any]:
    """Return what is there now, for machines."""
    manifest = exported.manifest
    return {
        "file": str(exported.path),
        "bytes": exported.bytes,
        "sha256": manifest.sha256,
        "kind": manifest.kind,
        "network": manifest.network,
        "precision": manifest.precision,
        "size": list(manifest.size),
        "dynamic": manifest.dynamic,
        "scale": manifest.scale,
        "scale_source": manifest.scale_source,
        "parity": [asdict(one) | {"holds": one.holds} for one in exported.parities],
        "other_shapes_worst": exported.shapes_worst,
        "weights_in_16_bits_change": exported.rounding,
        "convolutions_in_8_bits": exported.in_8_bits,
    }
