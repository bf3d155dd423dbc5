# SPDX-License-Identifier: Apache-2.0
"""Reads an ONNX file of another program: whole, with its weights, inputs and outputs named."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
from onnx.external_data_helper import load_external_data_for_model, uses_external_data

from depthkit.errors import EngineError
from depthkit.runtime.network.manifest import Precision

Dims: TypeAlias = tuple[int | str, ...]

OLDEST = 11  # opset; older ones resize and slice by other rules
LARGEST = 2_000_000_000  # bytes; one ONNX file with its weights inside ends at 2 GiB
_KEY = "depthkit"
_TO_INT8 = {"QuantizeLinear", "DequantizeLinear", "MatMulInteger", "ConvInteger", "QLinearConv"}
_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)


@dataclass(frozen=True)
class Port:
    """An input or output of a graph."""

    name: str
    type: int
    """Element type, an `onnx.TensorProto.DataType`."""
    dims: Dims
    """Sizes; a free axis has its name."""

    def __str__(self) -> str:
        word = onnx.TensorProto.DataType.Name(self.type).lower()
        return f"{self.name} {word} [{', '.join(map(str, self.dims))}]"


@dataclass(frozen=True, eq=False)
class ForeignFile:
    """A graph of another program with all weights inside."""

    path: Path
    sha256: str
    """Hash of the file's bytes, external data not counted."""
    model: onnx.ModelProto
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    opset: int
    precision: Precision


def read_foreign(path: Path) -> ForeignFile:
    """Read and check a file.

    Args:
        path: ONNX file; external data lie beside it.

    Raises:
        EngineError: missing, damaged, a file of depthkit, too old, too large, or without weights.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EngineError(f"{path}: cannot be read: {error.strerror}") from error
    model = _parse(data, path)
    _load_weights(model, path)
    opset = next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), 0)
    if opset < OLDEST:
        raise EngineError(f"{path}: opset {opset}; export it with opset {OLDEST} or newer")
    weights = {one.name for one in model.graph.initializer}
    inputs = tuple(_port(one) for one in model.graph.input if one.name not in weights)
    outputs = tuple(_port(one) for one in model.graph.output)
    digest = hashlib.sha256(data).hexdigest()
    return ForeignFile(path, digest, model, inputs, outputs, opset, _precision(model))


def _parse(data: bytes, path: Path) -> onnx.ModelProto:
    try:
        model = onnx.ModelProto.FromString(data)
    except Exception as error:  # protobuf's DecodeError has another base in each version
        raise EngineError(f"{path}: no ONNX file, or cut off ({len(data)} bytes)") from error
    if not model.graph.node or not model.graph.output:
        raise EngineError(f"{path}: no ONNX graph in it ({len(data)} bytes)")
    if any(entry.key == _KEY for entry in model.metadata_props):
        raise EngineError(f"{path}: is a file of depthkit already; 'depthkit verify' checks it")
    return model


def _load_weights(model: onnx.ModelProto, path: Path) -> None:
    """Bring external data into the graph."""
    outside = [one for one in _tensors(model.graph) if uses_external_data(one)]
    names = sorted(
        {entry.value for one in outside for entry in one.external_data if entry.key == "location"}
    )
    missing = [name for name in names if not (path.parent / name).is_file()]
    if missing:
        raise EngineError(
            f"{path}: its weights lie in {', '.join(missing)}, which is not beside it; copy "
            f"{'it' if len(missing) == 1 else 'them'} there"
        )
    size = path.stat().st_size + sum(_bytes_of(one) for one in outside)
    if size > LARGEST:
        raise EngineError(
            f"{path}: {size / 1e9:.1f} GB with its weights; one ONNX file holds 2: adopt an fp16 "
            "or smaller export"
        )
    if outside:
        load_external_data_for_model(model, str(path.parent))


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Yield stored tensors, those of nodes and inner graphs too."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            inner = [attribute.g] if attribute.HasField("g") else []
            for one in (*inner, *attribute.graphs):
                yield from _tensors(one)


def _bytes_of(tensor: onnx.TensorProto) -> int:
    length = {entry.key: entry.value for entry in tensor.external_data}.get("length")
    if length is not None:
        return int(length)
    item = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize
    return int(np.prod(tensor.dims, dtype=np.int64)) * item


def _port(info: onnx.ValueInfoProto) -> Port:
    dims = info.type.tensor_type.shape.dim
    sizes = tuple(d.dim_value if d.dim_value > 0 else d.dim_param or "?" for d in dims)
    return Port(info.name, info.type.tensor_type.elem_type, sizes)


def _precision(model: onnx.ModelProto) -> Precision:
    """Tell in what a graph computes: by its operators, and the type of most of its weights."""
    if any(node.op_type in _TO_INT8 for node in model.graph.node):
        return "int8"
    counts = dict.fromkeys(_FLOATS, 0)
    for tensor in model.graph.initializer:
        if tensor.data_type in counts:
            counts[tensor.data_type] += int(np.prod(tensor.dims, dtype=np.int64))
    half = any(
        one.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
        for one in (*model.graph.input, *model.graph.output)
    )
    floats = sum(counts.values())
    return "fp16" if half or (floats and 2 * counts[onnx.TensorProto.FLOAT] < floats) else "fp32"


def listed(ports: Iterable[Port]) -> str:
    """Name ports for a message."""
    return "; ".join(map(str, ports)) or "none"
