# SPDX-License-Identifier: Apache-2.0
"""Sixteen bits: fp16 graphs, and weights that are only stored so.

Depth is what suffers from rounding: 16 bits hold 100 m to 6 cm. So the pixels on their way in,
every head, and all that follows the last convolution stay in 32 bits. So do positions at which a
graph samples: 16 bits place them by a tenth of a pixel.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_CONVOLUTIONS = ("Conv", "ConvTranspose")
_SMALL = 256  # values; a smaller tensor is not worth a node


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph computing in 16 bits between its first convolution and its heads.

    Weights of those nodes become 16-bit, and casts stand where the precision changes.
    """
    half = onnx.ModelProto()
    half.CopyFrom(model)
    inner, floats = _inner_nodes(model), _float_tensors(model)
    made = {
        name for node in model.graph.node if node.name in inner for name in node.output
    } & floats
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    cast: dict[str, str] = {}

    def other(name: str, to: int) -> str:
        """Name the tensor in the other precision, cast where it is first needed."""
        if name not in cast:
            cast[name] = f"{name}.{'half' if to == TensorProto.FLOAT16 else 'float'}"
            if name in weights:
                values = numpy_helper.to_array(weights[name]).astype(np.float16)
                half.graph.initializer.append(numpy_helper.from_array(values, cast[name]))
            else:
                nodes.append(helper.make_node("Cast", [name], [cast[name]], to=to))
        return cast[name]

    for node in half.graph.node:
        is_inner = node.name in inner
        to = TensorProto.FLOAT16 if is_inner else TensorProto.FLOAT
        for i, name in enumerate(node.input):
            # Resize takes its scales in 32 bits whatever it resizes.
            if (
                name in floats
                and (name in made) != is_inner
                and not (node.op_type == "Resize" and i)
            ):
                node.input[i] = other(name, to)
        nodes.append(node)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del half.graph.node[:]
    half.graph.node.extend(nodes)
    _drop_unused(half)
    return half


def _float_tensors(model: onnx.ModelProto) -> set[str]:
    """Return the names of all tensors in 32 bits."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    typed = [*graph.value_info, *graph.input, *graph.output]
    found = {one.name for one in typed if one.type.tensor_type.elem_type == TensorProto.FLOAT}
    return found | {one.name for one in graph.initializer if one.data_type == TensorProto.FLOAT}


def _drop_unused(model: onnx.ModelProto) -> None:
    """Remove weights that no node reads any more."""
    read = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def store_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the same graph with the weights that are 16-bit numbers stored in 16 bits.

    A cast makes 32 bits of them again, which runtimes compute once, at load: half the file, the
    same answers.
    """
    small = onnx.ModelProto()
    small.CopyFrom(model)
    casts = []
    for tensor in small.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < _SMALL:
            continue
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *small.graph.node]
    del small.graph.node[:]
    small.graph.node.extend(nodes)
    return small


def _inner_nodes(model: onnx.ModelProto) -> set[str]:
    """Return the nodes on a way from one convolution to another, both included, heads not."""
    ends = heads(model)
    after = _reached(model, forward=True)
    before = _reached(model, forward=False)
    casts = {node.name for node in model.graph.node if node.op_type == "Cast"}
    return (after & before) - ends - casts - _positions(model)


def _positions(model: onnx.ModelProto) -> set[str]:
    """Return the nodes that sample, and those between convolutions and the positions they take."""
    tensors, found = set[str](), set[str]()
    for node in reversed(model.graph.node):
        if node.op_type == "GridSample":
            found.add(node.name)
            tensors.add(node.input[1])
        elif node.op_type not in _CONVOLUTIONS and not tensors.isdisjoint(node.output):
            found.add(node.name)
            tensors.update(node.input)
    return found


def heads(model: onnx.ModelProto) -> set[str]:
    """Return the convolutions that make one channel (a depth) or two (a flow), and those that no
    other follows.
    """
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    last = {n.name for n in model.graph.node if n.op_type in _CONVOLUTIONS}
    last -= _reached(model, forward=False, itself=False)
    made = {"Conv": 0, "ConvTranspose": 1}  # axis of a weight that counts the channels made
    few = {
        node.name
        for node in model.graph.node
        if node.op_type in made and shapes.get(node.input[1], (0, 0))[made[node.op_type]] in (1, 2)
    }
    return last | {name for name in few if name not in _depthwise(model)}


def firsts(model: onnx.ModelProto) -> set[str]:
    """Return the convolutions that no other comes before: those that see pixels."""
    later = _reached(model, forward=True, itself=False)
    return {n.name for n in model.graph.node if n.op_type in _CONVOLUTIONS} - later


def _depthwise(model: onnx.ModelProto) -> set[str]:
    """A transposed convolution of groups also has one channel a group, and is no head."""
    return {
        node.name
        for node in model.graph.node
        if any(a.name == "group" and a.i > 1 for a in node.attribute)
    }


def _reached(model: onnx.ModelProto, *, forward: bool, itself: bool = True) -> set[str]:
    """Return the nodes that follow a convolution, or that one follows."""
    nodes = list(model.graph.node) if forward else list(reversed(model.graph.node))
    tensors, found = set[str](), set[str]()
    for node in nodes:
        near, far = (node.input, node.output) if forward else (node.output, node.input)
        reached = not tensors.isdisjoint(near)
        is_convolution = node.op_type in _CONVOLUTIONS
        if reached or (is_convolution and itself):
            found.add(node.name)
        if reached or is_convolution:
            tensors.update(far)
    return found
