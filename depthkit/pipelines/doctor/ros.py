# SPDX-License-Identifier: Apache-2.0
"""What `depthkit doctor` reports of ROS 2: whether the nodes can run, and what they would lack."""

import importlib
import importlib.metadata
import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from depthkit.installation import install_line
from depthkit.pipelines.doctor.judge import Ability, State

_MESSAGES = (
    "builtin_interfaces.msg",
    "diagnostic_msgs.msg",
    "geometry_msgs.msg",
    "lifecycle_msgs.msg",
    "nav_msgs.msg",
    "rosgraph_msgs.msg",
    "sensor_msgs.msg",
    "std_msgs.msg",
    "std_srvs.srv",
)
_PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
_NODE_ROOM = 34  # MiB: the profile's segment and what Fast DDS keeps beside it
_INSTALL = f"source ROS' setup.bash, or {install_line('ros')}"


def look_at_ros() -> dict[str, State]:
    """Say of each part of ROS 2 that depthkit uses whether it answers."""
    return {
        "ROS 2 (rclpy)": _look("rclpy", _INSTALL, _rclpy),
        "ROS messages": _messages(),
        "tf2_msgs": _look("tf2_msgs.msg", "no /tf: extrinsics come from parameters"),
        "launch_ros": _look("launch_ros", "no launch files: python -m ros_nodes.depth_node"),
        "depthkit's nodes": _look(
            "ros_nodes", "not installed with depthkit", lambda: str(_nodes_folder())
        ),
        "Fast DDS profile": _profile(),
        "shared memory": _shared_memory(),
    }


def judge_nodes(ros: dict[str, State], runtime: Ability) -> Ability:
    """Say whether the nodes can run.

    Args:
        ros: what `look_at_ros` said.
        runtime: whether models run at all.
    """
    for name in ("ROS 2 (rclpy)", "ROS messages", "depthkit's nodes"):
        if ros[name].state != "present":
            return Ability(False, f"{name}: {ros[name].state}; {ros[name].detail}")
    return runtime


def _look(module: str, without: str, describe: Callable[[], str] | None = None) -> State:
    """Import a module; `without` describes what its absence means."""
    package = module.partition(".")[0]
    try:
        importlib.import_module(module)
        return State("present", describe() if describe else _version(package))
    except Exception as error:  # a library that does not load may raise anything
        if isinstance(error, ModuleNotFoundError) and error.name == package:
            return State("missing", without)
        lines = str(error).strip().splitlines() or [""]
        return State("broken", f"{type(error).__name__}: {lines[0]}")


def _rclpy() -> str:
    rclpy: Any = importlib.import_module("rclpy")
    rmw = rclpy.utilities.get_rmw_implementation_identifier()
    distribution = os.environ.get("ROS_DISTRO")
    origin = f"ROS_DISTRO {distribution}" if distribution else "ROS_DISTRO is not set"
    return f"{_version('rclpy')}, {rmw}, {origin}, {Path(rclpy.__file__).parent}"


def _messages() -> State:
    """All or nothing: the nodes import all of them."""
    states = {module: _look(module, "") for module in _MESSAGES}
    lacking = [module for module, state in states.items() if state.state != "present"]
    if not lacking:
        return State("present", states["sensor_msgs.msg"].detail)
    if len(lacking) == len(states):
        return State("missing", _INSTALL)
    names = ", ".join(module.partition(".")[0] for module in lacking)
    return State("missing", f"{names}; install common_interfaces of your ROS")


def _version(package: str) -> str:
    """Return a package's version; the wheels prefix their names, a ROS install does not."""
    plain = package.replace("_", "-")
    for distribution in (f"ros-{plain}", plain):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown version"


def _profile() -> State:
    """Look at the one setting of Fast DDS without which pictures are lost between processes."""
    for variable in _PROFILES:
        path = os.environ.get(variable)
        if path:
            state = "present" if Path(path).is_file() else "broken"
            return State(state, f"{variable}={path}{'' if state == 'present' else ': no file'}")
    shipped = _nodes_folder() / "fastdds.xml"
    words = f"depthkit's nodes set it themselves; for others: export {_PROFILES[0]}={shipped}"
    return State("missing", words)


def _shared_memory() -> State:
    """A container has 64 MiB by default: room for one node."""
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return State("missing", f"no {folder}: pictures go over the network stack")
    free = shutil.disk_usage(folder).free >> 20
    if free >= _NODE_ROOM:
        return State("present", f"{free} MiB free in {folder}, {_NODE_ROOM} for each node")
    words = f"{free} MiB free in {folder}, {_NODE_ROOM} for each node; docker run --shm-size=1g"
    return State("broken", words)


def _nodes_folder() -> Path:
    spec = importlib.util.find_spec("ros_nodes")
    return Path(spec.origin).parent if spec is not None and spec.origin else Path("ros_nodes")
