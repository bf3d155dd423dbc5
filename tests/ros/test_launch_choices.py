# SPDX-License-Identifier: Apache-2.0
"""What the launch files start by their arguments, with stand-ins for the launch of ROS 2."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from installed_package import CHECKOUT

pytestmark = pytest.mark.ros


class Made(SimpleNamespace):
    """Any action of launch, with its arguments."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(args=args, **named)


class Configuration(Made):
    """A LaunchConfiguration that reads from the context."""

    def perform(self, context: Any) -> str:
        """Return the argument's value."""
        return context.launch_configurations[self.args[0]]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Return what nodes.launch.py starts with the arguments of uav.launch.py, by node."""
    actions = "DeclareLaunchArgument LogInfo OpaqueFunction SetEnvironmentVariable Shutdown"
    modules = {
        "launch": "LaunchContext LaunchDescription",
        "launch.actions": f"{actions} IncludeLaunchDescription",
        "launch.substitutions": "",
        "launch.launch_description_sources": "PythonLaunchDescriptionSource",
        "launch_ros": "",
        "launch_ros.actions": "Node",
        "ament_index_python": "",
        "ament_index_python.packages": "",
    }
    for name, classes in modules.items():
        module: Any = ModuleType(name)
        for one in classes.split():
            setattr(module, one, type(one, (Made,), {}))
        monkeypatch.setitem(sys.modules, name, module)

    def prefix(package: str) -> str:
        raise LookupError(package)

    stand_ins: Any = sys.modules
    stand_ins["launch.substitutions"].LaunchConfiguration = Configuration
    stand_ins["ament_index_python.packages"].get_package_prefix = prefix
    nodes, uav = (load(CHECKOUT / "launch" / f"{name}.launch.py") for name in ("nodes", "uav"))
    known = nodes.ARGUMENTS | nodes.SWITCHES
    defaults = {name: default for name, (default, _) in known.items()}
    for one in uav.generate_launch_description().args[0]:
        if hasattr(one, "default_value"):
            defaults[one.args[0]] = one.default_value

    def run(**arguments: str) -> dict[str, Any]:
        context = SimpleNamespace(launch_configurations=defaults | arguments, environment={})
        started = nodes.start(context)
        found = {one.name: one for one in started if type(one).__name__ == "Node"}
        said = [one.msg for one in started if type(one).__name__ == "LogInfo"]
        return {**found, "said": " ".join(said)}

    return run


def load(path: Path) -> Any:
    """Import a launch file."""
    spec = importlib.util.spec_from_file_location(path.name.partition(".")[0], path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def topic(node: Any, name: str) -> str:
    """Return what a topic of a node is remapped to."""
    return dict(node.remappings)[name]


def test_uav_without_metres_gives_relative_depth_and_odometry(start: Any) -> None:
    """Nothing but a camera: depth_node tracks its own images; sources of metres are named."""
    found = start(image="/camera/image_raw")
    assert found["depth_node"].parameters[-1]["motion"] == {"source": "visual"}
    assert "model" not in found["depth_node"].parameters[-1]  # that of uav.yaml: sweep
    assert topic(found["odometry_node"], "image") == "/camera/image_raw"
    assert "model" not in found["odometry_node"].parameters[-1]
    assert "scale_source:=imu" in found["said"]


def test_uav_with_a_source_of_metres_feeds_depth_by_its_odometry(start: Any) -> None:
    """The camera's own odometry is that of depth_node, on visual_odometry."""
    found = start(scale_source="imu", imu="/mavros/imu/data")
    assert found["odometry_node"].parameters[-1]["scale"] == {"source": "imu"}
    assert topic(found["odometry_node"], "imu") == "/mavros/imu/data"
    sent = topic(found["odometry_node"], "odometry")
    assert topic(found["depth_node"], "odometry") == sent == "visual_odometry"
    assert topic(found["odometry_node"], "scale_odometry") != sent
    assert topic(found["odometry_node"], "points") == "visual_odometry_points"
    assert not found["said"] and "motion" not in found["depth_node"].parameters[-1]
    high = start(camera_height="1.2")["odometry_node"]
    assert high.parameters[-1]["scale"] == {"camera_height": 1.2}


def test_an_autopilots_odometry_serves_both_as_before(start: Any) -> None:
    """Depth takes it as it is, and it scales the camera's own."""
    found = start(odometry="/mavros/local_position/odom")
    assert topic(found["depth_node"], "odometry") == "/mavros/local_position/odom"
    assert topic(found["odometry_node"], "scale_odometry") == "/mavros/local_position/odom"
    assert found["odometry_node"].parameters[-1]["scale"] == {"source": "odometry"}


def test_a_recording_brings_its_odometry_as_before(start: Any) -> None:
    """The player's odometry is that of depth_node, and never that of odometry_node."""
    found = start(source="flight")
    assert topic(found["depth_node"], "odometry") == "odometry"
    assert topic(found["player_node"], "odometry") == "odometry"
    assert topic(found["odometry_node"], "odometry") == "visual_odometry"


def test_without_odometry_node_the_topic_is_as_before(start: Any) -> None:
    """odometry_node:=false: the autopilot's odometry on `odometry`."""
    found = start(odometry_node="false")
    assert "odometry_node" not in found and topic(found["depth_node"], "odometry") == "odometry"


def test_a_model_without_metres_gets_its_motion_from_the_images_too(start: Any) -> None:
    """A named network keeps its name; odometry that nobody publishes is not waited for."""
    found = start(model="depthnet-stillbox")["depth_node"].parameters[-1]
    assert found["model"] == "depthnet-stillbox" and found["motion"] == {"source": "visual"}


def test_a_source_of_motion_in_the_file_is_not_overruled(start: Any, tmp_path: Path) -> None:
    """A user's own file: motion by twist stays that."""
    file = tmp_path / "own.yaml"
    file.write_text("/**/depth_node:\n  ros__parameters:\n    motion:\n      source: twist\n")
    found = start(params_file=str(file))
    assert "motion" not in found["depth_node"].parameters[-1] and not found["said"]


@pytest.mark.parametrize("section", ["/**/odometry_node", "/drone/odometry_node"])
def test_a_scale_in_the_file_counts(start: Any, tmp_path: Path, section: str) -> None:
    """A user's own file: nothing is overruled, and depth takes the camera's odometry."""
    file = tmp_path / "own.yaml"
    file.write_text(f"{section}:\n  ros__parameters:\n    scale:\n      source: twist\n")
    found = start(params_file=str(file))
    assert "scale" not in found["odometry_node"].parameters[-1] and not found["said"]
    assert topic(found["depth_node"], "odometry") == "visual_odometry"
