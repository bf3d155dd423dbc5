# SPDX-License-Identifier: Apache-2.0
"""From a torch module to an ONNX graph with all weights inside and nothing of training left."""

import logging
import warnings
from typing import Any

import numpy as np
import onnx
import torch

from depthkit.errors import EngineError
from depthkit.export.graphs import LEAST_SIDE, Graph

OPSET = 18
_LARGEST_BATCH, _LARGEST_SIDE = 4096, 8192


def to_onnx(graph: Graph, inputs: dict[str, np.ndarray], *, opset: int = OPSET) -> onnx.ModelProto:
    """Export a module.

    Args:
        graph: what to export.
        inputs: an example of each input, batch of two at least: one would be taken for a constant.
        opset: ONNX operator set, 18 or newer.

    Raises:
        EngineError: torch cannot export it, or parts of training are left in the graph.
    """
    if opset < OPSET:
        raise EngineError(f"opset must be {OPSET} or newer, got {opset}")
    example = tuple(torch.from_numpy(inputs[name]) for name in graph.inputs)
    graph.module.eval()
    loud = logging.getLogger("torch.onnx")
    level = loud.level
    loud.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # renamed axes and the like: nothing a user can change
            program = torch.onnx.export(
                graph.module,
                example,
                input_names=list(graph.inputs),
                output_names=[graph.output],
                dynamic_shapes=_free_axes(graph),
                opset_version=opset,
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        line = str(error.__cause__ or error).strip().splitlines()[0]
        raise EngineError(f"torch cannot export this {graph.kind} network: {line}") from error
    finally:
        loud.setLevel(level)
    if program is None:  # never, with dynamo; its type allows it
        raise EngineError("torch has exported nothing")
    model = program.model_proto
    tidy(model)
    check_graph(model, graph)
    return model


def _free_axes(graph: Graph) -> tuple[dict[int, Any], ...]:
    axes: dict[int, Any] = {0: torch.export.Dim("N", min=1, max=_LARGEST_BATCH)}
    height_width = {}
    if graph.dynamic:
        least = LEAST_SIDE[graph.kind]
        height_width = {
            name: torch.export.Dim(name, min=least, max=_LARGEST_SIDE) for name in ("H", "W")
        }
    found = []
    for name in graph.inputs:
        first = 2 if name == "flow" else 1
        sides = {first + i: dim for i, dim in enumerate(height_width.values())}
        found.append(axes | sides)
    return tuple(found)


def tidy(model: onnx.ModelProto) -> None:
    """Remove what no runtime reads: stack traces with paths of this machine, guessed shapes."""
    model.producer_name, model.producer_version, model.doc_string = "depthkit", "", ""
    del model.metadata_props[:]
    graph = model.graph
    graph.name, graph.doc_string = "depthkit", ""
    del graph.value_info[:], graph.metadata_props[:]
    for item in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        item.doc_string = ""
        del item.metadata_props[:]


def check_graph(model: onnx.ModelProto, graph: Graph) -> None:
    """Refuse a graph with other inputs or outputs, weights outside, or parts that do nothing.

    Raises:
        EngineError: the exporter has left something.
    """
    names = tuple(one.name for one in model.graph.input)
    outputs = tuple(one.name for one in model.graph.output)
    if (names, outputs) != (graph.inputs, (graph.output,)):
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
