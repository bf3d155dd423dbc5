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
_SEGMENT = 34 << 20  # bytes: what the profile asks for, and what Fast DDS keeps beside it
_WAKE = 0.2  # seconds: a signal is heard at the latest after this
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
        name: of the node; `-r __node:=...` changes it.
        build: makes the component.
        argv: the command line without the program; None for the process' own.
        schema: the configuration that `build` declares, told by `--help`.

    Returns:
        Exit code: 0 after SIGINT, SIGTERM or a shutdown, 1 after a known error, told in one line.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    use_profile()
    with _heard_signals(whole_process=argv is None) as heard:
        try:
            lifecycle = _start_ros(_parser(name, schema), arguments)
            _run(name, build, heard, lifecycle)
        except DepthkitError as error:
            print(f"{name}: {first_line(error)}", file=sys.stderr)
            return 1
        finally:
            rclpy.try_shutdown()
    return 0


def use_profile() -> None:
    """Give Fast DDS room for pictures, unless the user told it something; before rclpy.init."""
    told = (*_PROFILE_VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS")
    if not any(os.environ.get(variable) for variable in told):
        os.environ.update(dict.fromkeys(_PROFILE_VARIABLES, str(PROFILE)))


def room_warning(free: int) -> str:
    """Say what to do where the profile's shared memory does not fit; empty where it does.

    Args:
        free: bytes left in /dev/shm.
    """
    if free >= _SEGMENT:
        return ""
    return (
        f"/dev/shm has {free >> 20} MiB left, a node needs {_SEGMENT >> 20}: pictures go over the "
        "network stack and some are lost; give a container more, docker run --shm-size=1g"
    )


def _start_ros(parser: argparse.ArgumentParser, arguments: list[str]) -> bool:
    """Read the command line and begin; return whether the node is to be a managed one."""
    try:
        lifecycle = parser.parse_args(remove_ros_args(arguments)).lifecycle
        # ROS' own handlers end the context at once, under a worker that still publishes.
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
    """Take what ROS says without the places in its own source."""
    return first_line(error).partition(", at /")[0]


def _argument_text(error: Exception) -> str:
    """Say what ROS could not read."""
    words = _ros_text(error)
    mixed = "Sequence should be of same type" in words
    return f"{words}; write every number of a list with a point: 1.0" if mixed else words


def _unknown_text(listed: str, arguments: Sequence[str]) -> str:
    """Say which words after --ros-args ROS does not know, and what may have been meant."""
    word = next((word for word in arguments if repr(word) in listed), listed)
    near = difflib.get_close_matches(word, _ROS_FLAGS, n=1, cutoff=0.8)
    meant = f"did you mean {near[0]}?" if near else "those of the node come before --ros-args"
    return f"unknown argument after --ros-args: {word}; {meant}"


@contextmanager
def _heard_signals(*, whole_process: bool) -> Iterator[list[int]]:
    """List SIGINT and SIGTERM instead of dying of them: a second one must not cut the end short.

    Args:
        whole_process: the process ends with the node, and hears no signal until it has ended.
    """
    # No Event: its lock is taken while it is set, and a second signal there would wait for ever.
    heard: list[int] = []
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(one, lambda number, _: heard.append(number)) for one in signals]
    try:
        yield heard
    finally:
        for one, handler in zip(signals, before, strict=True):
            # The interpreter would put the deadly default in place of a handler at its own end.
            signal.signal(one, signal.SIG_IGN if whole_process else handler)


def _run(name: str, build: Build, heard: list[int], lifecycle: bool) -> None:
    # Asked before the node exists: it takes its own share.
    warning = _shared_memory_warning()
    node = _make_node(name, build, lifecycle)
    if warning:
        node.get_logger().warning(warning)
    try:
        if isinstance(node, ManagedNode):
            _run_managed(node, heard)
        else:
            _run_component(node, build, heard)
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


def _run_managed(node: ManagedNode, heard: list[int]) -> None:
    name = node.get_fully_qualified_name()
    node.get_logger().info(f"waits for configure and activate: ros2 lifecycle set {name} configure")
    try:
        _spin(node, heard)
    finally:
        node.end()


def _run_component(node: Node, build: Build, heard: list[int]) -> None:
    component = build_component(node, build)
    try:
        component.start()
        try:
            _spin(node, heard)
        finally:
            component.stop()
    finally:
        component.close()


def _spin(node: Node, heard: list[int]) -> None:
    """Serve callbacks until a signal comes or somebody shuts the context down."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while rclpy.ok() and not heard:
            _spin_once(executor, node)
    except ExternalShutdownException:
        pass
    finally:
        executor.shutdown()


def _spin_once(executor: SingleThreadedExecutor, node: Node) -> None:
    try:
        executor.spin_once(timeout_sec=_WAKE)
    except RCLError as error:
        # rclpy of Jazzy lets a request for an impossible transition end the node (rclpy #1209).
        if not isinstance(node, ManagedNode) or "transition" not in str(error):
            raise
        node.get_logger().warning(f"transition refused: {_ros_text(error)}")
