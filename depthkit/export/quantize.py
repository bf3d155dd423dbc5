# SPDX-License-Identifier: Apache-2.0
"""Convolutions in 8 bits, as many as the answer bears.

Which ones hurt differs: of a pair network the first, which see small differences of pixels; of a
U-Net the last. So blocks of convolutions are tried one by one, and those that change the answer
least go into 8 bits, until the tolerance is used up. Heads and first convolutions never do.
"""

import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx

from depthkit.errors import EngineError
from depthkit.export.convert import tidy
from depthkit.export.lower import firsts, heads

Inputs = dict[str, np.ndarray]

_BLOCKS = 8
_TRIED = 8  # calibration inputs while blocks are tried; all of them for the result


def quantize(
    model: onnx.ModelProto,
    frames: Sequence[Inputs],
    measure: Callable[[onnx.ModelProto], float],
    *,
    allowed: float,
) -> tuple[onnx.ModelProto, tuple[int, int]]:
    """Put convolutions into 8 bits.

    Args:
        model: a graph in 32 bits.
        frames: inputs from which the ranges of activations are taken.
        measure: how far a graph's answer is from that of 32 bits.
        allowed: by which it may be.

    Returns:
        The graph, and how many convolutions are in 8 bits of how many.

    Raises:
        EngineError: not even one block holds.
    """
    names = quantizable(model)
    blocks = [list(part) for part in np.array_split(names, _BLOCKS) if len(part)]
    few = frames[:: -(-len(frames) // _TRIED)]
    alone = [measure(to_int8(model, few, block)) for block in blocks]
    order = [int(i) for i in np.argsort(alone)]
    # Errors of blocks are about independent: their squares add up. Where not, one block less.
    sums = np.sqrt(np.cumsum(np.square([alone[i] for i in order])))
    for count in range(int((sums <= allowed).sum()), 0, -1):
        chosen = [name for i in order[:count] for name in blocks[i]]
        small = to_int8(model, frames, chosen)
        if measure(small) <= allowed:
            return small, (len(chosen), len(names))
    raise EngineError(
        f"8 bits change the answer by {min(alone):.2g} (median, relative) even in an eighth of the "
        f"convolutions, allowed {allowed:.2g}; export with --precision fp16 or fp32"
    )


def to_int8(
    model: onnx.ModelProto, frames: Sequence[Inputs], chosen: Sequence[str]
) -> onnx.ModelProto:
    """Return the graph with the named convolutions in 8 bits (QDQ, weights per channel)."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    left_out = set(_convolutions(model)) - set(chosen)
    outputs = {node.output[0] for node in model.graph.node if node.name in left_out}
    # A rectifier is quantised in one with its convolution, so that no level is spent below zero.
    left_out |= {n.name for n in model.graph.node if n.op_type == "Relu" and n.input[0] in outputs}
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, before)
        logging.disable(logging.WARNING)  # advice for graphs that are not folded yet
        try:
            quantize_static(
                before,
                after,
                _Reader(frames),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv", "Relu"],
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=sorted(left_out),
            )
        finally:
            logging.disable(logging.NOTSET)
        small = onnx.load(after)
    tidy(small)
    return small


def quantizable(model: onnx.ModelProto) -> list[str]:
    """Return the names of the convolutions that may be in 8 bits, in order of computation."""
    ends = heads(model) | firsts(model)
    return [name for name in _convolutions(model) if name not in ends]


def _convolutions(model: onnx.ModelProto) -> list[str]:
    return [node.name for node in model.graph.node if node.op_type == "Conv"]


class _Reader:
    """Hands out calibration inputs as ONNX Runtime asks for them."""

    def __init__(self, frames: Sequence[Inputs]) -> None:
        self._frames = iter(frames)

    def get_next(self) -> Inputs | None:
        """Return the next input, None at the end."""
        return next(self._frames, None)
