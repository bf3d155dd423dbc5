# SPDX-License-Identifier: Apache-2.0
"""ROS parameters from the configuration dataclasses, so that node, command line and docs agree.

A field `min_overlap` of a nested configuration `baseline` is the parameter `baseline.min_overlap`;
its description is the docstring under the field, its range that of `option`.
"""

import difflib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import ParameterException, ParameterNotDeclaredException
from rclpy.node import Node
from rclpy.parameter import Parameter

from depthkit.config.ranges import range_text
from depthkit.errors import ConfigError, DepthkitError
from ros_nodes.life.schema import Leaf, build, choices, convert, flatten, leaves

T = TypeVar("T")

_ROS_OWN = ("use_sim_time", "start_type_description_service", "qos_overrides.")


def declare(node: Node, schema: type[T]) -> T:
    """Declare a parameter for every field of a configuration and read the given values.

    An integer is accepted for a float. Fields are read-only unless they are `live`; declaring
    again, as a lifecycle node does, returns the current values.

    Args:
        node: node that owns the parameters.
        schema: a frozen dataclass with a default for every field; others may be nested in it.

    Raises:
        ConfigError: a value is of another type or outside its range; names the parameter.
    """
    found = list(leaves(schema))
    values = {leaf.name: _given_value(node, leaf) for leaf in found}
    config = build(schema, values)
    for leaf in found:
        _declare_one(node, leaf, values[leaf.name])
    return config


def follow(
    node: Node, schema: type[T], current: T, apply: Callable[[T], None]
) -> Callable[[], None]:
    """Let `ros2 param set` change the live fields of a running node.

    Args:
        node: node on which `declare` has declared the schema.
        schema: the configuration's class.
        current: the current configuration.
        apply: called with the new configuration on the executor's thread; a DepthkitError rejects
            it.

    Returns:
        A function that ends it.
    """
    by_name = {leaf.name: leaf for leaf in leaves(schema)}
    state = [current]

    def on_set(parameters: list[Parameter]) -> SetParametersResult:
        given = {p.name: p.value for p in parameters if p.name in by_name}
        if not given:
            return SetParametersResult(successful=True)
        try:
            values = {name: convert(by_name[name], value) for name, value in given.items()}
            changed = build(schema, {**flatten(state[0]), **values})
            apply(changed)
        except DepthkitError as error:
            return SetParametersResult(successful=False, reason=str(error))
        state[0] = changed
        return SetParametersResult(successful=True)

    def before_set(parameters: list[Parameter]) -> list[Parameter]:
        for one in parameters:
            if not node.has_parameter(one.name):
                raise _unknown(one.name, list(by_name))
        return [_as_declared(p, by_name.get(p.name)) for p in parameters]

    node.add_pre_set_parameters_callback(before_set)
    node.add_on_set_parameters_callback(on_set)

    def stop() -> None:
        node.remove_pre_set_parameters_callback(before_set)
        node.remove_on_set_parameters_callback(on_set)

    return stop


def given_names(node: Node) -> list[str]:
    """List the parameters given to a new node, without those that ROS reads itself.

    Args:
        node: made with `automatically_declare_parameters_from_overrides`.
    """
    names = node.list_parameters([], 0).names
    return [name for name in names if not name.startswith(_ROS_OWN)]


def drop_unread(node: Node, given: Iterable[str]) -> list[str]:
    """Undeclare given parameters that no configuration reads: typing errors in a file or after -p.

    Args:
        node: node, after all parameters have been declared.
        given: earlier result of `given_names`.

    Returns:
        One line for each; empty if nothing was declared because a value was rejected.
    """
    known = [name for name in node.list_parameters([], 0).names if _is_described(node, name)]
    known = [name for name in known if not name.startswith(_ROS_OWN)]
    if not known:
        return []
    unread = [name for name in given if node.has_parameter(name) and name not in known]
    for name in unread:
        node.undeclare_parameter(name)
    return [
        f"parameter {name!r} is not known and was ignored{_hint(name, known)}" for name in unread
    ]


def _unknown(name: str, known: list[str]) -> ParameterNotDeclaredException:
    """Make the error that rclpy returns, with the name of the parameter in its text."""
    error = ParameterNotDeclaredException([name])
    error.args = (f"parameter {name!r} is not known{_hint(name, known)}",)
    return error


def _is_described(node: Node, name: str) -> bool:
    return bool(node.describe_parameter(name).description)


def _hint(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    if not near:
        # A missing prefix, "min_overlap" for "baseline.min_overlap", is too far for difflib.
        near = [one for one in known if one.rpartition(".")[2] == name.rpartition(".")[2]][:1]
    return f"; did you mean {near[0]!r}?" if near else "; see: ros2 param list"


# ---- one parameter ------------------------------------------------------------------------------


def _given_value(node: Node, leaf: Leaf) -> Any:
    """Take the value from the command line, a file or an earlier declaration, else the default."""
    if not node.has_parameter(leaf.name):
        # Declared without a type, a parameter accepts any value; the type is checked here.
        node.declare_parameter(leaf.name, None, ParameterDescriptor(dynamic_typing=True))
    given = node.get_parameter(leaf.name).value
    return leaf.default if given is None else convert(leaf, given)


def _as_declared(parameter: Parameter, leaf: Leaf | None) -> Parameter:
    """Convert an integer to the declared float; leave everything else to the checks."""
    if leaf is None:
        return parameter
    try:
        value = _to_ros(convert(leaf, parameter.value))
    except ConfigError:
        return parameter
    return Parameter(leaf.name, value=value)


def _to_ros(value: Any) -> Any:
    if isinstance(value, Path):
        return "" if value == Path() else str(value)
    return list(value) if isinstance(value, tuple) else value


def _declare_one(node: Node, leaf: Leaf, value: Any) -> None:
    if node.has_parameter(leaf.name):
        if node.describe_parameter(leaf.name).read_only:
            return  # declared before, by an earlier life of a lifecycle node
        node.undeclare_parameter(leaf.name)
    try:
        # The value is passed here, not read from ROS again: it may have been converted.
        node.declare_parameter(leaf.name, _to_ros(value), _descriptor(leaf), ignore_override=True)
    except ParameterException as error:
        raise ConfigError(f"parameter {leaf.name}: {error}") from None


def _descriptor(leaf: Leaf) -> ParameterDescriptor:
    bounds = leaf.metadata
    constraints = f"one of {', '.join(choices(leaf))}" if choices(leaf) else range_text(bounds)
    descriptor = ParameterDescriptor(
        description=leaf.text,
        additional_constraints=constraints,
        read_only=not bounds.get("live", False),
    )
    low = bounds.get("least", bounds.get("above"))
    high = bounds.get("most", bounds.get("below"))
    if low is None or high is None:
        return descriptor  # a range of ROS has two ends; a slider to 1e308 helps nobody
    if leaf.kind is float:
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(low), to_value=float(high))
        ]
    if leaf.kind is int:
        descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
    return descriptor
