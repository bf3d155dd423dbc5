# SPDX-License-Identifier: Apache-2.0
"""`depthkit adopt`, step by step: read, match, rebuild, prove, describe, judge, publish."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from depthkit.export.foreign_convention import Said, combine
from depthkit.export.foreign_describe import describe_foreign
from depthkit.export.foreign_file import read_foreign
from depthkit.export.foreign_graph import build_graph
from depthkit.export.foreign_match import check_said_size, choose_output, match
from depthkit.export.foreign_presets import Preset
from depthkit.export.foreign_proof import prove_at_camera, prove_backends, prove_sizes
from depthkit.export.foreign_reference import open_foreign, reference_answers
from depthkit.export.pictures import draw_views
from depthkit.runtime.network.manifest import Manifest, publish_model, write_model
from depthkit.runtime.network.parity import Parity

Judge = Callable[[Path, Manifest], tuple[str, ...]]
"""Looks at answers of the file before it is published; returns notes, raises to refuse."""


@dataclass(frozen=True)
class Adopted:
    """What has been written."""

    path: Path
    manifest: Manifest
    bytes: int
    output: str
    """Output of the foreign graph that counts."""
    parities: tuple[Parity, ...]
    """Backends of this machine that answer as the foreign graph does."""
    refused: tuple[str, ...]
    """Backends of this machine that do not, and why."""
    at_camera: float | None
    """Largest relative difference of the engine from the foreign graph on a frame of another shape;
    None where the shift is solved by the engine alone."""
    notes: tuple[str, ...]


def adopt_model(
    path: Path, out: Path, preset: Preset | None, said: Said, *, judge: Judge
) -> Adopted:
    """Write one ONNX file of ours from one of another program: proven, or not at all.

    Args:
        path: the foreign file; external data lie beside it.
        out: the file, replaced where it exists.
        preset: its family, None where all is said.
        said: options that stand over the preset.
        judge: looks at the answers before the file is published.

    Raises:
        DataError: the file does not fit what is said of it, or its answers contradict it.
        EngineError: no readable graph, or no backend answers as the foreign graph does.
    """
    # 1. What the file has, against what it should take.
    convention = combine(None if preset is None else preset.convention, said)
    matched = match(read_foreign(path), convention, said)
    check_said_size(matched, said)
    output, run = choose_output(matched), open_foreign(matched)
    # 2. Its own answer, and the graph around it.
    picture = draw_views(matched.picture.size).earlier
    answers = run(picture)
    graph = build_graph(matched, output, {name: one.shape for name, one in answers.items()})
    expected = reference_answers(matched, output, answers, matched.picture.size)
    manifest = describe_foreign(matched, output, preset, picture, expected)
    # 3. Written under another name, proven, judged, renamed.
    partial = out.with_name(f".{out.stem}.partial.onnx")
    try:
        data = graph.SerializeToString()
        write_model(partial, manifest, data)
        parities, refused = prove_backends(partial, path)
        notes = matched.notes
        if manifest.dynamic and (why := prove_sizes(partial, matched, output, run)):
            manifest = replace(manifest, dynamic=False)
            write_model(partial, manifest, data)
            notes = (*notes, why)
        at_camera = prove_at_camera(partial, matched, output, run)
        notes = (*notes, *judge(partial, manifest))
        publish_model(partial, out)
    finally:
        partial.unlink(missing_ok=True)
        partial.with_suffix(".json").unlink(missing_ok=True)
    size = out.stat().st_size
    return Adopted(out, manifest, size, output.name, parities, refused, at_camera, notes)
