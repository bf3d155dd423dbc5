# SPDX-License-Identifier: Apache-2.0
"""Configurations as ROS parameters: declared, described, refused and changed on a real node."""

import pytest
from ros_graph import Graph

from depthkit.runtime.config import RuntimeConfig
from ros_nodes.params import declare

pytestmark = pytest.mark.ros


def test_defaults_come_back_as_the_configuration(graph: Graph) -> None:
    """A node told nothing has the defaults of the dataclass."""
    assert declare(graph.node("a"), RuntimeConfig) == RuntimeConfig()


def test_nested_fields_carry_their_prefix_and_integers_become_floats(graph: Graph) -> None:
    """`baseline.max_speed: 7` of a YAML file is 7.0."""
    node = graph.node(
        "a", parameters={"threads": 3, "baseline": {"max_speed": 7, "band": [1, 2, 3, 4]}}
    )
    config = declare(node, RuntimeConfig)
    assert config.threads == 3 and config.baseline.max_speed == 7.0
    assert config.baseline.band == (1.0, 2.0, 3.0, 4.0)
    assert node.get_parameter("baseline.max_speed").value == 7.0
    print(node.describe_parameter("baseline.min_overlap"))
