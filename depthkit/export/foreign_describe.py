# SPDX-License-Identifier: Apache-2.0
"""The manifest of an adopted network, with the foreign graph's own answer as its stored output."""

from importlib.metadata import version

import numpy as np

import depthkit
from depthkit.errors import DataError
from depthkit.export.foreign_file import Port
from depthkit.export.foreign_match import Matched
from depthkit.export.foreign_presets import Preset
from depthkit.export.foreign_reference import TOLERANCE, answer_name, comparable
from depthkit.runtime.depth.focal_rule import SOLVE_SHIFT
from depthkit.runtime.network.manifest import Manifest
from depthkit.runtime.network.manifest_parts import Check, Origin
from depthkit.runtime.network.parity import TOLERANCES, encode_floats, encode_image, on_grid
from depthkit.runtime.result import Scale
from depthkit.source_commit import source_commit

GRID = 48
"""Stored values along the longer side of a map, about."""
FEWEST = 0.01
"""Share of the stored picture's pixels that can be compared: about 20 stored values. The picture is
drawn: a network that tells the sky apart may take much of it for sky."""


def describe_foreign(
    matched: Matched,
    output: Port,
    preset: Preset | None,
    picture: np.ndarray,
    answers: dict[str, np.ndarray],
) -> Manifest:
    """Write the manifest.

    Args:
        matched: file and convention.
        output: output of the foreign graph that counts.
        preset: its family, None without one.
        picture: the stored input. (H, W, 3) uint8
        answers: the foreign graph's, in our terms and by our names: depth (H, W), points
            (3, H, W), or features (C, h, w) and where there is one score (H, W).

    Raises:
        DataError: the answer is unknown nearly everywhere, or of no use.
    """
    file, convention = matched.file, matched.convention
    answer = answers[answer_name(matched)]
    stored = answers | {answer_name(matched): comparable(matched, answer)}
    _check_known(matched, output, stored[answer_name(matched)])
    scale, source = _scale(matched, preset)
    most = convention.validity.most
    return Manifest(
        kind=convention.kind,
        network=file.path.stem if preset is None else preset.name,
        size=matched.picture.size,
        scale=scale,
        scale_source=source,
        check=_check(picture, stored),
        tolerance=max(TOLERANCE, TOLERANCES[file.precision]),
        precision=file.precision,
        dynamic=matched.picture.free,
        size_multiple=convention.multiple,
        stride=_stride(matched, answer) if convention.kind == "features" else 1,
        channels=len(answer) if "score" in answers else 0,
        max_depth=None if most is None else most * convention.unit,
        quantity=convention.quantity,
        ambiguity=convention.ambiguity if convention.kind == "mono" else None,
        focal_rule=convention.focal_rule,
        validity=str(convention.validity),
        resize=convention.resize,
        licence=convention.licence,
        adopted_from=_origin(matched, output, preset),
        opset=file.opset,
        created_with={"depthkit": depthkit.__version__, "commit": source_commit()}
        | {name: version(name) for name in ("onnx", "onnxruntime")},
    )


def _check(picture: np.ndarray, answers: dict[str, np.ndarray]) -> Check:
    """Store the picture, and the answers on a coarse grid."""
    step = max(1, max(max(answer.shape[-2:]) for answer in answers.values()) // GRID)
    values = {name: encode_floats(on_grid(answer, step)) for name, answer in answers.items()}
    return Check({"frame": encode_image(picture)}, step, values)


def _check_known(matched: Matched, output: Port, answer: np.ndarray) -> None:
    """Refuse answers that no normalisation or meaning can have been right for.

    Raises:
        DataError: unknown nearly everywhere, or one value.
    """
    share = float(np.isfinite(answer).mean())
    where = f"{matched.file.path}: output {output.name}"
    if share < FEWEST:
        raise DataError(
            f"{where} is known on {share:.0%} of a drawn picture, expected {FEWEST:.0%}: "
            f"--output {matched.convention.quantity}, --normalise or --validity is wrong"
        )
    if np.nanmin(answer) == np.nanmax(answer):
        raise DataError(f"{where} is the same everywhere: a wrong --output-name or --normalise")


def _scale(matched: Matched, preset: Preset | None) -> tuple[Scale, str]:
    """Return whether depth is metres, and where they come from."""
    convention = matched.convention
    who = matched.file.path.name if preset is None else preset.title
    if convention.kind == "features":
        return "relative", "none: descriptors have no unit"
    if convention.ambiguity == "none":
        rule = convention.focal_rule
        by = {"none": "", SOLVE_SHIFT: ", shift by K"}.get(
            rule, f", depth times {rule} of the camera"
        )
        return "metric", f"the network's own metres ({who}{by})"
    lacks = "a factor" if convention.ambiguity == "scale" else "a factor and a shift"
    return "relative", f"none: {lacks} of the network's {convention.quantity} unknown"


def _stride(matched: Matched, answer: np.ndarray) -> int:
    """Return pixels of the input along a side of a descriptor's block.

    Raises:
        DataError: sides do not agree, or there is no whole number.
    """
    (height, width), (rows, columns) = matched.picture.size, answer.shape[1:]
    stride = height // rows
    if (rows * stride, columns * stride) != (height, width):
        raise DataError(
            f"{matched.file.path}: descriptors of {rows}x{columns} for an input of "
            f"{height}x{width}: no whole number of pixels each; give another --input"
        )
    return stride


def _origin(matched: Matched, output: Port, preset: Preset | None) -> Origin:
    """Name the file and what it was taken for."""
    convention, picture = matched.convention, matched.picture
    numbers = (convention.scaling.mean, convention.scaling.std)
    scaling = "/".join(",".join(f"{value:g}" for value in each) for each in numbers)
    options = {
        "input": str(picture.port),
        "output": str(output),
        "normalise": scaling,
        "layout": "nhwc" if picture.channels_last else "nchw",
        "colour": convention.colour,
        "unit": f"{convention.unit:g}",
        "scale_output": convention.scale_output,
    }
    options |= {name: str(value.ravel().tolist()) for name, value in matched.constants.items()}
    name = "" if preset is None else preset.name
    return Origin(matched.file.path.name, matched.file.sha256, name, options)
