#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write the page of the nodes' parameters out of the classes they are declared from.

python scripts/ros_parameters.py [--out docs/ros/parameters.md]
"""

import argparse
from pathlib import Path

from ros_nodes.depth_config import DepthNodeConfig
from ros_nodes.life.schema import Leaf, default_text, leaves, values_text
from ros_nodes.map_config import MapNodeConfig
from ros_nodes.odometry_node import OdometryNodeConfig
from ros_nodes.player_node import PlayerConfig

OUT = Path(__file__).parent.parent / "docs" / "ros" / "parameters.md"
NODES = {
    "depth_node": DepthNodeConfig,
    "odometry_node": OdometryNodeConfig,
    "map_node": MapNodeConfig,
    "player_node": PlayerConfig,
}
HEAD = """# Parameters of the ROS nodes

Written by `scripts/ros_parameters.py` from the classes that the nodes declare them from. A node
says the same: `ros2 run depthkit depth_node --help`, and while it runs `ros2 param describe
/depth_node motion.wait`. In a YAML file the part before the point is a key of its own, see
[`configs/ros/uav.yaml`](../../configs/ros/uav.yaml); on a command line it is `-p motion.wait:=0.2`.

Live parameters may be set while the node runs: `ros2 param set /depth_node motion.wait 0.2`. The
others are read when it starts.
"""


def page() -> str:
    """Return the page's text."""
    parts = [HEAD]
    for name, schema in NODES.items():
        parts += [f"## {name}\n", "| parameter | default | values | live | |", "| --- " * 5 + "|"]
        parts += [*map(row, leaves(schema)), ""]
    return "\n".join(parts)


def row(leaf: Leaf) -> str:
    """Return one parameter as a line of the table."""
    text = leaf.text.replace("|", "\\|")
    live = "live" if leaf.metadata.get("live") else ""
    return f"| `{leaf.name}` | {default_text(leaf)} | {values_text(leaf)} | {live} | {text} |"


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="the page (default: %(default)s)")
    parser.parse_args().out.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
