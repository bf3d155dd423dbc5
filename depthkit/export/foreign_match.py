# SPDX-License-Identifier: Apache-2.0
"""Matches a convention against a file: which input gets the picture, at what size, in what layout.

Nothing is guessed that the file does not show: what does not fit is refused in one line that names
what the file has.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx

from depthkit.errors import DataError
from depthkit.export.foreign_convention import Convention, Said
from depthkit.export.foreign_file import ForeignFile, Port, listed

_AXES = {4: ("batch", "channel"), 5: ("batch", "frame", "channel")}


@dataclass(frozen=True)
class Picture:
    """How the picture goes into the graph."""

    port: Port
    size: tuple[int, int]
    """(H, W), pixels."""
    free: bool
    """The graph takes other sizes too."""
    channels: int
    """3, or 1 for grey."""
    channels_last: bool
    clip: bool
    """The graph takes clips (1, T, ...); it gets one frame."""


@dataclass(frozen=True, eq=False)
class Matched:
    """A file and what it was found to take."""

    file: ForeignFile
    convention: Convention
    picture: Picture
    constants: dict[str, np.ndarray]
    """Further inputs, as arrays of their type and shape."""
    notes: tuple[str, ...] = ()


def match(file: ForeignFile, convention: Convention, said: Said) -> Matched:
    """Find the picture's input and all others.

    Args:
        file: the foreign graph.
        convention: what it should take.
        said: options of a person; only what they name themselves must be there.

    Raises:
        DataError: the file does not fit.
    """
    port = _picture_port(file, convention)
    picture = _picture(file, port, convention)
    convention, notes = _without_absent(file, convention, said)
    constants = {}
    for one in file.inputs:
        if one.name != port.name:
            constants[one.name] = _constant(file, one, convention)
    _check_own_scaling(file, port, convention)
    return Matched(file, convention, picture, constants, notes)


def _picture_port(file: ForeignFile, convention: Convention) -> Port:
    """Choose the input of the picture: a known name, else the only one with 4 or 5 axes."""
    named = {one.name: one for one in file.inputs}
    for name in convention.input_names:
        if name in named:
            return named[name]
    pictures = [one for one in file.inputs if len(one.dims) in _AXES]
    if len(convention.input_names) == 1 or len(pictures) != 1:
        wanted = (
            f"no input {convention.input_names[0]!r}"
            if convention.input_names
            else "no one picture"
        )
        raise DataError(
            f"{file.path}: {wanted} among its inputs: {listed(file.inputs)}; give --input-name"
        )
    return pictures[0]


def _picture(file: ForeignFile, port: Port, convention: Convention) -> Picture:
    """Tell the axes of the picture's input and its size."""
    axes = len(port.dims)
    if axes not in _AXES:
        raise DataError(
            f"{file.path}: input {port} has {axes} axes; a picture has 4 (batch, channels, H, W), "
            "a clip 5"
        )
    if axes == 5 and isinstance(port.dims[1], int) and port.dims[1] != 1:
        raise DataError(
            f"{file.path}: input {port} takes clips of {port.dims[1]} frames, a stream gives one "
            "at a time; export it with one frame"
        )
    if isinstance(port.dims[0], int) and port.dims[0] != 1:
        raise DataError(
            f"{file.path}: input {port} takes {port.dims[0]} pictures; export it with one"
        )
    last = _channels_last(file, port, convention)
    channels = port.dims[-1 if last else axes - 3]
    if channels not in (1, 3) and isinstance(channels, int):
        raise DataError(
            f"{file.path}: input {port} takes {channels} channels; a camera gives 3 (or grey, 1)"
        )
    sides = port.dims[axes - 3 : axes - 1] if last else port.dims[axes - 2 :]
    size, free = _size(file, port, sides, convention)
    return Picture(port, size, free, channels if isinstance(channels, int) else 3, last, axes == 5)


def _channels_last(file: ForeignFile, port: Port, convention: Convention) -> bool:
    if convention.layout != "auto":
        return convention.layout == "nhwc"
    first, last = (port.dims[axis] in (1, 3) for axis in (len(port.dims) - 3, -1))
    if first == last:
        raise DataError(
            f"{file.path}: input {port} does not show where its channels are; give --layout nchw "
            "or nhwc"
        )
    return last


def _size(
    file: ForeignFile, port: Port, sides: tuple[int | str, ...], convention: Convention
) -> tuple[tuple[int, int], bool]:
    """Return the input size: that of the file, else the wanted one; and whether others go too."""
    fixed, wanted = [one for one in sides if isinstance(one, int)], convention.size
    if not fixed and wanted is None:
        raise DataError(f"{file.path}: input {port} has free sides; give --input HEIGHTxWIDTH")
    size = tuple(
        one if isinstance(one, int) else (wanted or (0, 0))[axis] for axis, one in enumerate(sides)
    )
    height, width = size
    if min(height, width) < 1:
        raise DataError(f"{file.path}: input {port} has a free side; give --input HEIGHTxWIDTH")
    if height % convention.multiple or width % convention.multiple:
        raise DataError(
            f"{file.path}: {height}x{width} is no multiple of {convention.multiple}, which this "
            "network needs; give another --input, or --multiple 1"
        )
    return (height, width), not fixed


def check_said_size(matched: Matched, said: Said) -> None:
    """Refuse an input size that the file contradicts.

    Raises:
        DataError: it has a fixed size, and that is another.
    """
    size = matched.picture.size
    if said.input is not None and size != said.input:
        raise DataError(
            f"{matched.file.path}: input {matched.picture.port} is fixed at {size[0]}x{size[1]}, "
            f"--input says {said.input[0]}x{said.input[1]}; leave it out"
        )


def _without_absent(
    file: ForeignFile, convention: Convention, said: Said
) -> tuple[Convention, tuple[str, ...]]:
    """Drop what a preset allows for and the file lacks; what a person names must be there."""
    outputs, notes = {one.name for one in file.outputs}, []
    validity, given = convention.validity, said.validity is not None
    for what in ("mask", "sky"):
        name = getattr(validity, what)
        if name and name not in outputs:
            if given:
                raise DataError(
                    f"{file.path}: no output {name!r} for --validity; it has: "
                    f"{listed(file.outputs)}"
                )
            changed: dict[str, Any] = {what: ""}
            validity = replace(validity, **changed)
            notes.append(f"no output {name!r}: {what} is not told apart")
    if convention.scale_output and convention.scale_output not in outputs:
        raise DataError(
            f"{file.path}: no output {convention.scale_output!r}, which depth is multiplied by; it "
            f"has: {listed(file.outputs)}; give --scale-output"
        )
    if convention.score_output and convention.score_output not in outputs:
        notes.append(f"no output {convention.score_output!r}: it describes, and finds no keypoints")
        convention = replace(convention, score_output="")
    inputs, own = (
        {one.name for one in file.inputs},
        {text.partition("=")[0] for text in said.constants},
    )
    if unknown := sorted(own - inputs):
        raise DataError(
            f"{file.path}: no input {unknown[0]!r} for --constant; it has: {listed(file.inputs)}"
        )
    constants = {name: value for name, value in convention.constants.items() if name in inputs}
    return replace(convention, validity=validity, constants=constants), tuple(notes)


def _constant(file: ForeignFile, port: Port, convention: Convention) -> np.ndarray:
    """Return the array that an input always gets."""
    values = convention.constants.get(port.name)
    if values is None:
        raise DataError(
            f"{file.path}: takes a further input, {port}; give it numbers with --constant "
            f"{port.name}=..., or export the network without it"
        )
    shape = tuple(one if isinstance(one, int) else 1 for one in port.dims)
    if len(values) not in (1, int(np.prod(shape, dtype=np.int64))):
        raise DataError(
            f"{file.path}: input {port} takes {int(np.prod(shape))} numbers, --constant gives "
            f"{len(values)}"
        )
    dtype = onnx.helper.tensor_dtype_to_np_dtype(port.type)
    array = np.array(values, dtype=dtype)
    return np.full(shape, array[0]) if len(values) == 1 else array.reshape(shape)


def _check_own_scaling(file: ForeignFile, port: Port, convention: Convention) -> None:
    """Refuse to normalise twice: a graph whose first step takes a mean of pixel values off."""
    if not any(convention.scaling.mean):
        return
    stored = {one.name: one for one in file.model.graph.initializer}
    for node in file.model.graph.node:
        if node.op_type == "Sub" and port.name in node.input:
            other = next((name for name in node.input if name != port.name), "")
            if other in stored:
                mean = onnx.numpy_helper.to_array(stored[other]).astype(float).ravel()
                words = ", ".join(f"{value:g}" for value in mean[:3])
                raise DataError(
                    f"{file.path}: normalises its input itself (takes {words} off); give "
                    "--normalise none, or 0..1 where those are shares of white"
                )


def choose_output(matched: Matched) -> Port:
    """Return the output that is depth, points or descriptors.

    Raises:
        DataError: there is none of the name, or several could be meant.
    """
    file, convention = matched.file, matched.convention
    named = {one.name: one for one in file.outputs}
    for name in convention.output_names:
        if name in named:
            return named[name]
    aside = {convention.validity.mask, convention.validity.sky, convention.scale_output}
    aside |= {convention.score_output}
    left = [one for one in file.outputs if one.name not in aside and len(one.dims) != 1]
    if len(convention.output_names) == 1 or len(left) != 1:
        wanted = (
            f"no output {convention.output_names[0]!r}"
            if convention.output_names
            else "no one output"
        )
        raise DataError(
            f"{file.path}: {wanted} among its outputs: {listed(file.outputs)}; give --output-name"
        )
    return left[0]
