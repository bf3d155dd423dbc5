# SPDX-License-Identifier: Apache-2.0
"""Tells which axes of a foreign output are the map, which the channels, and which are idle."""

from dataclasses import dataclass

from depthkit.errors import DataError
from depthkit.export.foreign_file import Port
from depthkit.export.foreign_match import Matched


@dataclass(frozen=True)
class MapPlan:
    """How an output of any number of axes becomes a map."""

    axes: tuple[int, ...]
    """Axes of one entry, dropped."""
    channels_last: bool
    """Points and descriptors: the axis of channels is the last one."""
    size: tuple[int, int]
    """(h, w) of the map."""


def plan_map(matched: Matched, port: Port, shape: tuple[int, ...], channels: bool) -> MapPlan:
    """Tell map, channels and idle axes of an output by the shape that it had.

    Args:
        matched: the file.
        port: the output.
        shape: of its answer to one frame.
        channels: whether an axis of channels is wanted beside the map.

    Raises:
        DataError: no map, or another number of channels.
    """
    file, quantity = matched.file, matched.convention.quantity
    found = f"{file.path}: output {port.name} has shape {list(shape)}"
    if channels:
        idle, core = shape[:-3], shape[-3:]
        if len(shape) < 3 or any(one != 1 for one in idle):
            raise DataError(f"{found}, expected (1, channels, H, W); give --output-name")
        if matched.convention.kind == "features":
            return MapPlan(tuple(range(len(idle))), False, (core[1], core[2]))
        if 3 not in (core[0], core[2]):
            raise DataError(
                f"{found}, --output points takes 3 channels; give --output depth or others"
            )
        last = core[0] != 3
        sides = core[:2] if last else core[1:]
        return MapPlan(tuple(range(len(idle))), last, (sides[0], sides[1]))
    idle_axes = tuple(axis for axis, one in enumerate(shape) if one == 1)
    sides = tuple(one for one in shape if one != 1)
    if len(sides) != 2:
        hint = "points take 3 channels: --output points" if 3 in shape[1:] else "give --output-name"
        raise DataError(f"{found}, --output {quantity} takes one channel (1, H, W); {hint}")
    _check_aspect(matched, port, (sides[0], sides[1]))
    return MapPlan(idle_axes, False, (sides[0], sides[1]))


def _check_aspect(matched: Matched, port: Port, size: tuple[int, int]) -> None:
    """Refuse a map that cannot be a smaller copy of the input."""
    height, width = matched.picture.size
    if min(size) < 2 or abs(size[0] / height - size[1] / width) > 1.5 / min(height, width):
        raise DataError(
            f"{matched.file.path}: output {port.name} is a map of {size[0]}x{size[1]}, the input "
            f"is {height}x{width}: no smaller copy of it; give --output-name"
        )
