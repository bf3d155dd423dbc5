# SPDX-License-Identifier: Apache-2.0
"""From a torch module to an ONNX graph with all weights inside and nothing of training left."""

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from depthkit.errors import EngineError
from depthkit.export.graphs import LEAST_SIDE, Graph

OPSET, OPSETS = 18, (18, 19, 20)
_LARGEST_BATCH, _LARGEST_SIDE = 4096, 8192


def to_onnx(
    graph: Graph, inputs: dict[str, np.ndarray], *, opset: int = OPSET, dynamo: bool = False
) -> onnx.ModelProto:
    """Export a module.

    Args:
        graph: what to export.
        inputs: an example of each input, batch of two: one would be taken for a constant.
        opset: ONNX operator set, one of OPSETS.
        dynamo: by torch's newer exporter, which takes twenty times as long for the same graph. The
            older one follows one run and may take a size for a constant: what is exported is run
            with other sizes before it is written.

    Raises:
        EngineError: torch cannot export it, or parts of training are left in the graph.
    """
    if opset not in OPSETS:
        raise EngineError(f"opset must be one of {', '.join(map(str, OPSETS))}, got {opset}")
    example = tuple(torch.from_numpy(inputs[name]) for name in graph.inputs)
    names = {"input_names": list(graph.inputs), "output_names": list(graph.outputs)}
    run = _run_dynamo if dynamo else _run_trace
    graph.module.eval()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # constants of the trace: sizes are checked by running
            model = run(graph, example, opset_version=opset, verbose=False, **names)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        line = str(error.__cause__ or error).strip().splitlines()[0]
        raise EngineError(f"torch cannot export this {graph.kind} network: {line}") from error
    tidy(model)
    check_graph(model, graph)
    return model


def _run_trace(graph: Graph, example: tuple[torch.Tensor, ...], **options: Any) -> onnx.ModelProto:
    free = {name: _axes(graph, name) for name in (*graph.inputs, *graph.outputs)}
    with TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        torch.onnx.export(graph.module, example, file, dynamic_axes=free, dynamo=False, **options)
        return onnx.load(file)


def _run_dynamo(graph: Graph, example: tuple[torch.Tensor, ...], **options: Any) -> onnx.ModelProto:
    dims: dict[str, Any] = {"N": torch.export.Dim("N", min=1, max=_LARGEST_BATCH)}
    for side in ("H", "W"):
        dims[side] = torch.export.Dim(side, min=LEAST_SIDE[graph.kind], max=_LARGEST_SIDE)
    shapes = tuple(
        {axis: dims[name] for axis, name in _axes(graph, one).items()} for one in graph.inputs
    )
    program = torch.onnx.export(
        graph.module, example, dynamic_shapes=shapes, dynamo=True, **options
    )
    if program is None:  # never, with dynamo; its type allows it
        raise EngineError("torch has exported nothing")
    return program.model_proto


def _axes(graph: Graph, name: str) -> dict[int, str]:
    """Name the free axes of an input or output."""
    first = 2 if name == "volume" else 1  # planes stand before the sides
    return {0: "N"} | ({first: "H", first + 1: "W"} if graph.dynamic else {})


def tidy(model: onnx.ModelProto) -> None:
    """Remove what no runtime reads: stack traces with paths of this machine, guessed shapes."""
    model.producer_name, model.producer_version, model.doc_string = "depthkit", "", ""
    del model.metadata_props[:]
    graph = model.graph
    graph.name, graph.doc_string = "depthkit", ""
    del graph.value_info[:], graph.metadata_props[:]
    _lift_constants(model)
    for item in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        item.doc_string = ""
        del item.metadata_props[:]


def _lift_constants(model: onnx.ModelProto) -> None:
    """Turn nodes that are one number into stored ones: what is left computes."""
    kept = []
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            value = numpy_helper.to_array(node.attribute[0].t)
            model.graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
        else:
            kept.append(node)
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    del model.graph.node[:]
    model.graph.node.extend(kept)


def check_graph(model: onnx.ModelProto, graph: Graph) -> None:
    """Refuse a graph with other inputs or outputs, weights outside, or parts that do nothing.

    Raises:
        EngineError: the exporter has left something.
    """
    names = tuple(one.name for one in model.graph.input)
    outputs = tuple(one.name for one in model.graph.output)
    if (names, outputs) != (graph.inputs, graph.outputs):
        raise EngineError(f"the exported graph has inputs {names} and outputs {outputs}")
    if any(one.data_location for one in model.graph.initializer):
        raise EngineError("the exported graph keeps weights in another file")
    dead = dead_parts(model)
    if dead:
        raise EngineError(f"{len(dead)} parts of the exported graph do nothing, such as {dead[0]}")
    training = {"Dropout", "RandomNormalLike", "RandomUniformLike", "Bernoulli"}
    left = sorted({node.op_type for node in model.graph.node} & training)
    if left or model.functions or model.training_info:
        raise EngineError(f"the exported graph holds parts of training: {left or 'functions'}")


def dead_parts(model: onnx.ModelProto) -> list[str]:
    """Return names of nodes and weights that reach no output."""
    needed = {one.name for one in model.graph.output}
    dead = []
    for node in reversed(model.graph.node):  # ONNX keeps nodes in the order of computation
        if needed.isdisjoint(node.output):
            dead.append(node.name or node.op_type)
        else:
            needed.update(node.input)
    return dead + [one.name for one in model.graph.initializer if one.name not in needed]
