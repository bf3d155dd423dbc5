# SPDX-License-Identifier: Apache-2.0
"""How every node starts, spins and ends: one line on a known error, exit 0 on a signal."""

import argparse
import difflib
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from depthkit.errors import ConfigError, DepthkitError
from ros_nodes.life.lifecycle import Build, Component, ManagedNode, build_component, first_line
from ros_nodes.life.schema import help_text

__all__ = ["PROFILE", "Build", "Component", "run_node", "use_profile"]

PROFILE = Path(__file__).resolve().parents[1] / "fastdds.xml"
_PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
RCLError = rclpy_implementation.RCLError
UnknownROSArgsError = rclpy_implementation.UnknownROSArgsError
_SHARED_MEMORY = Path("/dev/shm")
_SEGMENT = 34 << 20  # bytes: the segment of the profile, and what Fast DDS adds to it
_WAKE = 0.2  # seconds until a signal is noticed, at most
_ROS_FLAGS = (
    "--param",
    "--params-file",
    "--remap",
    "--log-level",
    "--log-config-file",
    "--enclave",
)


def run_node(
    name: str,
    build: Build,
    argv: Sequence[str] | None = None,
    *,
    schema: type[Any] | None = None,
) -> int:
    """Run a node until a signal comes.

    Args:
        name: name of the node; `-r __node:=...` changes it.
        build: creates the component.
        argv: command line without the program; None for that of the process.
        schema: configuration that `build` declares, listed by `--help`.

    Returns:
        Exit code: 0 after SIGINT, SIGTERM or a shutdown, 1 after a known error (one line).
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    use_profile()
    with _received_signals(whole_process=argv is None) as received:
        try:
            lifecycle = _start_ros(_parser(name, schema), arguments)
            _run(name, build, received, lifecycle)
        except DepthkitError as error:
            print(f"{name}: {first_line(error)}", file=sys.stderr)
            return 1
        finally:
            rclpy.try_shutdown()
    return 0


def use_profile() -> None:
    """Set a Fast DDS profile with room for images, unless the user set one; before rclpy.init."""
    variables = (*_PROFILE_VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS")
    if not any(os.environ.get(variable) for variable in variables):
        os.environ.update(dict.fromkeys(_PROFILE_VARIABLES, str(PROFILE)))


def room_warning(free: int) -> str:
    """Return a warning if the profile's shared memory does not fit; empty if it fits.

    Args:
        free: free bytes in /dev/shm.
    """
    if free >= _SEGMENT:
        return ""
    return (
        f"/dev/shm has {free >> 20} MiB left, a node needs {_SEGMENT >> 20}: pictures go over the "
        "network stack and some are lost; give a container more, docker run --shm-size=1g"
    )


def _start_ros(parser: argparse.ArgumentParser, arguments: list[str]) -> bool:
    """Read the command line and start ROS; return whether the node is a managed one."""
    try:
        lifecycle = parser.parse_args(remove_ros_args(arguments)).lifecycle
        # ROS' own handlers end the context at once, while the worker still publishes.
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    except UnknownROSArgsError as error:
        raise ConfigError(_unknown_text(str(error), arguments)) from None
    except RCLError as error:
        raise ConfigError(_argument_text(error)) from None
    return bool(lifecycle)


def _parser(name: str, schema: type[Any] | None) -> argparse.ArgumentParser:
    listed = "" if schema is None else f"\n\nparameters and their defaults:\n{help_text(schema)}"
    parser = argparse.ArgumentParser(
        prog=name,
        description="A ROS 2 node of depthkit.",
        epilog="after --ros-args: -p parameter:=value, -r topic:=other, --params-file FILE"
        + listed,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--lifecycle", action="store_true", help="wait for configure and activate (managed node)"
    )
    return parser


def _ros_text(error: Exception) -> str:
    """Return ROS' message without the positions in its own source."""
    return first_line(error).partition(", at /")[0]


def _argument_text(error: Exception) -> str:
    """Explain what ROS could not parse."""
    words = _ros_text(error)
    mixed = "Sequence should be of same type" in words
    return f"{words}; write every number of a list with a point: 1.0" if mixed else words


def _unknown_text(listed: str, arguments: Sequence[str]) -> str:
    """Name the unknown argument after --ros-args, and what may have been meant."""
    word = next((word for word in arguments if repr(word) in listed), listed)
    near = difflib.get_close_matches(word, _ROS_FLAGS, n=1, cutoff=0.8)
    meant = f"did you mean {near[0]}?" if near else "those of the node come before --ros-args"
    return f"unknown argument after --ros-args: {word}; {meant}"


@contextmanager
def _received_signals(*, whole_process: bool) -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list: a second one must not interrupt the shutdown.

    Args:
        whole_process: whether the process ends with the node; signals are then ignored until it
            has ended.
    """
    # A list, not an Event: a second signal while the Event's lock is held would deadlock.
    received: list[int] = []
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(one, lambda number, _: received.append(number)) for one in signals]
    try:
        yield received
    finally:
        for one, handler in zip(signals, before, strict=True):
            # At its own end the interpreter would restore the default handler, which kills.
            signal.signal(one, signal.SIG_IGN if whole_process else handler)


def _run(name: str, build: Build, received: list[int], lifecycle: bool) -> None:
    # Measured before the node exists, as the node takes its own share.
    warning = _shared_memory_warning()
    node = _make_node(name, build, lifecycle)
    if warning:
        node.get_logger().warning(warning)
    try:
        if isinstance(node, ManagedNode):
            _run_managed(node, received)
        else:
            _run_component(node, build, received)
    finally:
        node.destroy_node()


def _shared_memory_warning() -> str:
    ours = str(PROFILE) in map(os.environ.get, _PROFILE_VARIABLES)
    if not (ours and _SHARED_MEMORY.is_dir()):
        return ""
    return room_warning(shutil.disk_usage(_SHARED_MEMORY).free)


def _make_node(name: str, build: Build, lifecycle: bool) -> Node:
    try:
        if lifecycle:
            return ManagedNode(name, build=build)
        return Node(name, automatically_declare_parameters_from_overrides=True)
    except ValueError as error:  # `name: []` in a file
        raise ConfigError(f"a parameter was given without a value: {first_line(error)}") from None


def _run_managed(node: ManagedNode, received: list[int]) -> None:
    name = node.get_fully_qualified_name()
    node.get_logger().info(f"waits for configure and activate: ros2 lifecycle set {name} configure")
    try:
        _spin(node, received)
    finally:
        node.end()


def _run_component(node: Node, build: Build, received: list[int]) -> None:
    component = build_component(node, build)
    try:
        component.start()
        try:
            _spin(node, received)
        finally:
            component.stop()
    finally:
        component.close()


def _spin(node: Node, received: list[int]) -> None:
    """Run callbacks until a signal arrives or the context is shut down."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while rclpy.ok() and not received:
            _spin_once(executor, node)
    except ExternalShutdownException:
        pass
    finally:
        executor.shutdown()


def _spin_once(executor: SingleThreadedExecutor, node: Node) -> None:
    try:
        executor.spin_once(timeout_sec=_WAKE)
    except RCLError as error:
        # In rclpy of Jazzy a request for an impossible transition ends the node (rclpy #1209).
        if not isinstance(node, ManagedNode) or "transition" not in str(error):
            raise
        node.get_logger().warning(f"transition refused: {_ros_text(error)}")
