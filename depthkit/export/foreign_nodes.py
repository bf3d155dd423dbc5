# SPDX-License-Identifier: Apache-2.0
"""Nodes around a foreign graph, written so that every opset from 11 on reads them."""

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

_AXES_AS_INPUT = 13  # opset of Unsqueeze; ReduceL2 follows at 18
_REDUCE_AXES_AS_INPUT = 18


class Nodes:
    """Grows a list of nodes and stored numbers; each call returns the name of its result."""

    def __init__(self, opset: int) -> None:
        """Start empty; opset: of the graph that the nodes join."""
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._count = 0

    def add(self, op: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node."""
        name = output or f"depthkit/{op}_{self._count}"
        self._count += 1
        self.nodes.append(helper.make_node(op, list(inputs), [name], name, **attributes))
        return name

    def store(self, values: Any, dtype: Any = np.float32) -> str:
        """Add stored numbers."""
        name = f"depthkit/number_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def cast(self, x: str, to: int) -> str:
        """Change the type of the elements."""
        return self.add("Cast", x, to=to)

    def pick(self, x: str, axis: int, index: int | list[int]) -> str:
        """Take one entry of an axis, which vanishes, or several in an order."""
        return self.add("Gather", x, self.store(index, np.int64), axis=axis)

    def unsqueeze(self, x: str, axis: int, *, output: str = "") -> str:
        """Put in an axis of one entry."""
        if self.opset >= _AXES_AS_INPUT:
            return self.add("Unsqueeze", x, self.store([axis], np.int64), output=output)
        return self.add("Unsqueeze", x, output=output, axes=[axis])

    def length(self, x: str, axis: int) -> str:
        """Take the length of vectors along an axis, which stays."""
        if self.opset >= _REDUCE_AXES_AS_INPUT:
            return self.add("ReduceL2", x, self.store([axis], np.int64), keepdims=1)
        return self.add("ReduceL2", x, axes=[axis], keepdims=1)

    def resize(self, x: str, scales: tuple[float, ...] | None, sizes: tuple[int, ...]) -> str:
        """Resize bilinearly by the one pixel convention, by factors where sizes are free."""
        how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        roi = self.store([], np.float32)
        if scales is not None:
            return self.add("Resize", x, roi, self.store(scales), **how)
        empty = self.store([], np.float32)
        return self.add("Resize", x, roi, empty, self.store(sizes, np.int64), **how)

    def unknown_unless(self, condition: str, x: str) -> str:
        """Put NaN where a condition does not hold."""
        return self.add("Where", condition, x, self.store(np.nan))
