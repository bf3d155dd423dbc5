# SPDX-License-Identifier: Apache-2.0
"""Launch files and the parameters they give, without launching: nothing in them is misspelt."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from installed_package import CHECKOUT, EXECUTABLES

LAUNCH = sorted((CHECKOUT / "launch").glob("*.launch.py"))
PARAMETERS = sorted((CHECKOUT / "configs" / "ros").glob("*.yaml"))
PROFILES = ("uav", "endoscope", "replay")

pytestmark = pytest.mark.ros


def schema_of(node: str) -> type:
    """Return the configuration that a node declares its parameters from."""
    from ros_nodes.depth_config import DepthNodeConfig
    from ros_nodes.map_config import MapNodeConfig
    from ros_nodes.odometry_node import OdometryNodeConfig
    from ros_nodes.player_node import PlayerConfig

    kinds = (DepthNodeConfig, MapNodeConfig, OdometryNodeConfig, PlayerConfig)
    return dict(zip(EXECUTABLES, kinds, strict=True))[node]


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Name nested values as ROS does: {"motion": {"wait": 1}} is {"motion.wait": 1}."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = prefix + key
        found |= flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return found


@pytest.mark.parametrize("path", LAUNCH, ids=lambda path: path.name)
def test_launch_file_offers_a_description(path: Path) -> None:
    """Each parses and has the function that launch looks for."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [item.name for item in tree.body if isinstance(item, ast.FunctionDef)]
    assert "generate_launch_description" in functions


@pytest.mark.parametrize("name", PROFILES)
def test_each_profile_has_a_launch_file_and_parameters(name: str) -> None:
    """`NAME.launch.py` names `configs/ros/NAME.yaml`, and both are there."""
    text = (CHECKOUT / "launch" / f"{name}.launch.py").read_text(encoding="utf-8")
    assert f'"{name}.yaml"' in text
    assert CHECKOUT / "configs" / "ros" / f"{name}.yaml" in PARAMETERS


@pytest.mark.parametrize("path", PARAMETERS, ids=lambda path: path.name)
def test_parameters_are_those_of_the_nodes(path: Path) -> None:
    """Every key is declared by the node of its section, with a value it takes."""
    from ros_nodes.life.schema import build, convert, leaves

    sections = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert sections
    for section, content in sections.items():
        schema = schema_of(section.removeprefix("/**/"))
        known = {leaf.name: leaf for leaf in leaves(schema)}
        given = flat(content["ros__parameters"])
        assert sorted(given.keys() - known.keys()) == []
        values = {name: leaf.default for name, leaf in known.items()}
        build(schema, values | {name: convert(known[name], given[name]) for name in given})


@pytest.mark.parametrize("path", PARAMETERS, ids=lambda path: path.name)
def test_every_parameter_has_its_comment(path: Path) -> None:
    """A value in a file that users edit says what it means, with its unit."""
    lines = path.read_text(encoding="utf-8").splitlines()
    values = [line for line in lines if re.match(r"\s*\w+: [^#\s]", line)]
    assert values
    assert [line for line in values if "# " not in line] == []


@pytest.mark.parametrize("path", PARAMETERS, ids=lambda path: path.name)
def test_depth_models_of_the_parameters_are_shipped(path: Path) -> None:
    """A launch file gives depth as it comes: sweep, or a network that is in the package."""
    sections = yaml.safe_load(path.read_text(encoding="utf-8"))
    model = sections["/**/depth_node"]["ros__parameters"]["model"]
    assert model == "sweep" or (CHECKOUT / "depthkit" / "weights" / f"{model}.onnx").is_file()
