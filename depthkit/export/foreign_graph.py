# SPDX-License-Identifier: Apache-2.0
"""Puts normalisation and meaning into a foreign graph: uint8 frames in, depth in our terms out.

In: frame (1, H, W, 3) uint8 RGB. Out: depth (1, H, W), NaN where the network does not know; points
(1, 3, H, W) where the engine has to solve a shift; or features (1, C, h, w) of length 1, and where
the network finds keypoints their score (1, H, W).
"""

import numpy as np
import onnx
from onnx import TensorProto, compose, helper

from depthkit.errors import DataError, EngineError
from depthkit.export.foreign_file import Port
from depthkit.export.foreign_map import MapPlan, plan_map
from depthkit.export.foreign_match import Matched
from depthkit.export.foreign_nodes import Nodes
from depthkit.runtime.depth.focal_rule import SOLVE_SHIFT

PREFIX = "foreign/"
GREY = (0.299, 0.587, 0.114)
"""Weights of R, G and B for networks of grey pictures [ITU-R BT.601]."""
WHOLE = 1 - 1e-3
"""Share of known pixels from which an enlarged pixel is known: all, but for rounding."""
_IR = 8  # older ones want every weight among the inputs
_SHORTEST = 1e-12  # of a descriptor that is 0: it stays 0


def build_graph(
    matched: Matched, output: Port, shapes: dict[str, tuple[int, ...]]
) -> onnx.ModelProto:
    """Return the adopted graph.

    Args:
        matched: file and convention.
        output: the output that counts.
        shapes: of all outputs, as answered to one frame.

    Raises:
        DataError: an output does not fit.
        EngineError: the result is no valid graph: the file was not either.
    """
    model = compose.add_prefix(matched.file.model, PREFIX)
    nodes = Nodes(matched.file.opset)
    # 1. In front: type, range, colour order and layout; constants for further inputs.
    _prepare(nodes, matched)
    for name, value in matched.constants.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, PREFIX + name))
    front, nodes.nodes = nodes.nodes, []
    # 2. Behind: the meaning.
    if matched.convention.kind == "features":
        answers = dict([_features(nodes, matched, output, shapes)])
    else:
        answers = dict([_depth(nodes, matched, output, shapes)])
    if matched.convention.score_output:
        answers |= dict([_score(nodes, matched, shapes)])
    # 3. One graph of all three, with our input and our outputs.
    sides = ("H", "W") if matched.picture.free else matched.picture.size
    inner = list(model.graph.node)
    del model.graph.node[:], model.graph.input[:], model.graph.output[:], model.graph.value_info[:]
    model.graph.node.extend([*front, *inner, *nodes.nodes])
    model.graph.initializer.extend(nodes.weights)
    model.graph.input.append(
        helper.make_tensor_value_info("frame", TensorProto.UINT8, (1, *sides, 3))
    )
    for answer, dims in answers.items():
        free = tuple(f"{answer}{i}" for i in range(len(dims))) if matched.picture.free else dims
        model.graph.output.append(
            helper.make_tensor_value_info(answer, TensorProto.FLOAT, (1, *free))
        )
    _tidy(model)
    return model


def _prepare(nodes: Nodes, matched: Matched) -> None:
    """Write the nodes from frame to the foreign input."""
    convention, picture = matched.convention, matched.picture
    scaling, x = convention.scaling, "frame"
    if picture.port.type != TensorProto.UINT8:
        x = nodes.cast(x, TensorProto.FLOAT)
    elif any(scaling.mean) or set(scaling.std) != {1.0}:
        raise DataError(
            f"{matched.file.path}: input {picture.port} takes bytes; give --normalise none"
        )
    if any(scaling.mean):
        x = nodes.add("Sub", x, nodes.store(scaling.mean))
    if set(scaling.std) != {1.0}:
        x = nodes.add("Div", x, nodes.store(scaling.std))
    if picture.channels == 1:
        x = nodes.add("MatMul", x, nodes.store(np.array(GREY)[:, None]))
    elif convention.colour == "BGR":
        x = nodes.pick(x, 3, [2, 1, 0])
    if not picture.channels_last:
        x = nodes.add("Transpose", x, perm=[0, 3, 1, 2])
    if picture.clip:
        x = nodes.unsqueeze(x, 1)
    if picture.port.type not in (TensorProto.FLOAT, TensorProto.UINT8):
        x = nodes.cast(x, picture.port.type)
    nodes.add("Identity", x, output=PREFIX + picture.port.name)


def _map(nodes: Nodes, name: str, plan: MapPlan) -> str:
    """Bring an output to (h, w), or (channels, h, w), float32."""
    x = nodes.cast(PREFIX + name, TensorProto.FLOAT)
    for axis in reversed(plan.axes):
        x = nodes.pick(x, axis, 0)
    return nodes.add("Transpose", x, perm=[2, 0, 1]) if plan.channels_last else x


def _features(
    nodes: Nodes, matched: Matched, output: Port, shapes: dict[str, tuple[int, ...]]
) -> tuple[str, tuple[int, ...]]:
    plan = plan_map(matched, output, shapes[output.name], channels=True)
    x = nodes.unsqueeze(_map(nodes, output.name, plan), 0)
    length = nodes.add("Max", nodes.length(x, 1), nodes.store(_SHORTEST))
    channels = shapes[output.name][-3]
    return nodes.add("Div", x, length, output="features"), (channels, *plan.size)


def _score(
    nodes: Nodes, matched: Matched, shapes: dict[str, tuple[int, ...]]
) -> tuple[str, tuple[int, ...]]:
    """Write the nodes from the foreign score of keypoints to ours."""
    name, size = matched.convention.score_output, matched.picture.size
    port = next(one for one in matched.file.outputs if one.name == name)
    plan = plan_map(matched, port, shapes[name], channels=False)
    if plan.size != size:
        raise DataError(
            f"{matched.file.path}: output {name} is {plan.size[0]}x{plan.size[1]} for an input of "
            f"{size[0]}x{size[1]}; a score of keypoints has one number a pixel"
        )
    return nodes.unsqueeze(_map(nodes, name, plan), 0, output="score"), size


def _depth(
    nodes: Nodes, matched: Matched, output: Port, shapes: dict[str, tuple[int, ...]]
) -> tuple[str, tuple[int, ...]]:
    """Write the nodes from the foreign output to depth, or to points."""
    convention, size = matched.convention, matched.picture.size
    points = convention.quantity == "points"
    plan = plan_map(matched, output, shapes[output.name], channels=points)
    x = _map(nodes, output.name, plan)
    # 1. Metres, by a constant and by a number that the network gives itself.
    if convention.scale_output:
        x = nodes.add("Mul", x, _number(nodes, matched, shapes))
    solved = convention.focal_rule == SOLVE_SHIFT
    if points and not solved:
        x = nodes.pick(x, 0, 2)
    x = _as_depth(nodes, matched, x)
    if convention.unit != 1:
        x = nodes.add("Mul", x, nodes.store(convention.unit))
    # 2. Unknown pixels.
    x = _valid(nodes, matched, x, plan.size, shapes)
    if solved:
        if plan.size != size:
            raise DataError(
                f"{matched.file.path}: points of {plan.size[0]}x{plan.size[1]} for an input of "
                f"{size[0]}x{size[1]}; solve_shift needs one a pixel"
            )
        return _named(nodes, nodes.unsqueeze(x, 0), "points"), (3, *size)
    # 3. The size of the input, resized in inverse depth; what is not in front is unknown.
    known = nodes.add("Greater", x, nodes.store(0.0))
    if plan.size != size:
        return _named(nodes, _enlarged(nodes, matched, (x, known), plan.size), "depth"), size
    return _named(nodes, nodes.unsqueeze(nodes.unknown_unless(known, x), 0), "depth"), size


def _named(nodes: Nodes, x: str, name: str) -> str:
    return nodes.add("Identity", x, output=name)


def _as_depth(nodes: Nodes, matched: Matched, x: str) -> str:
    """Turn a quantity into depth: 1 / q of what is inverse, exp of a logarithm."""
    match matched.convention.quantity:
        case "inverse" | "disparity":
            positive = nodes.add("Greater", x, nodes.store(0.0))
            return nodes.add("Reciprocal", nodes.unknown_unless(positive, x))
        case "log":
            return nodes.add("Exp", x)
        case _:
            return x


def _valid(
    nodes: Nodes,
    matched: Matched,
    x: str,
    size: tuple[int, int],
    shapes: dict[str, tuple[int, ...]],
) -> str:
    """Put NaN where a mask, the sky or the farthest depth says so."""
    validity = matched.convention.validity
    for name, above, known in (
        (validity.mask, validity.mask_above, True),
        (validity.sky, validity.sky_above, False),
    ):
        if not name:
            continue
        port = next(one for one in matched.file.outputs if one.name == name)
        plan = plan_map(matched, port, shapes[name], channels=False)
        if plan.size != size:
            raise DataError(
                f"{matched.file.path}: output {name} is {plan.size[0]}x{plan.size[1]}, depth is "
                f"{size[0]}x{size[1]}; leave it out of --validity"
            )
        over = nodes.add("Greater", _map(nodes, name, plan), nodes.store(above))
        x = nodes.unknown_unless(over if known else nodes.add("Not", over), x)
    if validity.most is not None:
        most = nodes.store(validity.most * matched.convention.unit)
        x = nodes.unknown_unless(nodes.add("Less", x, most), x)
    return x


def _number(nodes: Nodes, matched: Matched, shapes: dict[str, tuple[int, ...]]) -> str:
    """Return the output of one number that depth is multiplied by."""
    name = matched.convention.scale_output
    if int(np.prod(shapes[name], dtype=np.int64)) != 1:
        raise DataError(
            f"{matched.file.path}: output {name} has shape {list(shapes[name])}, expected one "
            "number"
        )
    x = nodes.cast(PREFIX + name, TensorProto.FLOAT)
    for axis in reversed(range(len(shapes[name]))):
        x = nodes.pick(x, axis, 0)
    return x


def _enlarged(nodes: Nodes, matched: Matched, depth: tuple[str, str], size: tuple[int, int]) -> str:
    """Resize depth and where it is known, (h, w), to the input's size (1, H, W).

    Unknown pixels are mixed as inverse 0, and each pixel that has a part of one is unknown.
    """
    (height, width), scales = matched.picture.size, None
    if matched.picture.free:
        scales = (1.0, 1.0, height / size[0], width / size[1])
        if any(one % 1 for one in scales):
            raise DataError(
                f"{matched.file.path}: its map is {size[0]}x{size[1]} for an input of {height}x"
                f"{width}, no whole fraction; export it with a fixed size"
            )
    x, known = depth
    inverse = nodes.add("Where", known, nodes.add("Reciprocal", x), nodes.store(0.0))
    share = nodes.cast(known, TensorProto.FLOAT)
    grown = []
    for each in (inverse, share):
        four = nodes.unsqueeze(nodes.unsqueeze(each, 0), 0)
        grown.append(nodes.pick(nodes.resize(four, scales, (1, 1, height, width)), 0, 0))
    whole = nodes.add("Greater", grown[1], nodes.store(WHOLE))
    return nodes.unknown_unless(whole, nodes.add("Reciprocal", grown[0]))


def _tidy(model: onnx.ModelProto) -> None:
    """Leave out what no runtime reads and outputs that nobody asked for; check the rest.

    Raises:
        EngineError: no valid graph.
    """
    model.producer_name, model.producer_version, model.doc_string = "depthkit", "", ""
    model.ir_version = max(model.ir_version, _IR)
    del model.metadata_props[:]
    model.graph.name, model.graph.doc_string = "depthkit", ""
    needed, kept = {one.name for one in model.graph.output}, []
    for node in reversed(model.graph.node):  # in the order of computation
        if needed & set(node.output):
            kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
            needed.update(node.input)
            needed.update(name for name in _inner_names(node))
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))
    weights = [one for one in model.graph.initializer if one.name in needed]
    kept_weights = [onnx.TensorProto.FromString(one.SerializeToString()) for one in weights]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept_weights)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        line = (str(error).strip().splitlines() or ["unknown"])[0]
        raise EngineError(f"the graph cannot be adopted: {line}") from error


def _inner_names(node: onnx.NodeProto) -> set[str]:
    """Return what the graphs inside a node read."""
    found: set[str] = set()
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            for inner in graph.node:
                found.update(inner.input)
                found |= _inner_names(inner)
            found.update(one.name for one in graph.output)
    return found
