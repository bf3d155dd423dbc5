# SPDX-License-Identifier: Apache-2.0
"""The pages on ROS say what the code says: messages, parameters, arguments, places of cameras."""

import ast
import functools
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from installed_package import CHECKOUT

from depthkit.rigid import quaternion_to_matrix
from depthkit.ros_messages import read_odometry

pytestmark = pytest.mark.ros
DOCS = CHECKOUT / "docs" / "ros"
OTHERS = "## Messages of other programs"
LEAST = 7  # letters of a fragment that says something
EDGES = " ();,:"


def read(name: str) -> str:
    """Return a page."""
    return (DOCS / name).read_text(encoding="utf-8")


@functools.cache
def texts() -> str:
    """Return all literal text of the nodes and of what they run, docstrings aside."""
    folders = [CHECKOUT / "ros_nodes", CHECKOUT / "depthkit" / "runtime"]
    files = [path for folder in folders for path in folder.rglob("*.py")]
    files += [CHECKOUT / "depthkit" / "ros_messages.py", *CHECKOUT.glob("depthkit/data/bag*.py")]
    files.append(CHECKOUT / "depthkit" / "data" / "sequence.py")
    return "\n".join(text for path in files for text in literals(path))


def literals(path: Path) -> list[str]:
    """List the strings of a file as they are put together, each hole of an f-string as `…`."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            parts = (one.value if isinstance(one, ast.Constant) else "…" for one in node.values)
            found.append("".join(map(str, parts)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return found


def quoted_messages() -> list[str]:
    """List the messages in the first columns of the page's tables."""
    ours, _, _ = read("errors.md").partition(OTHERS)
    rows = [line.split("|")[1] for line in ours.splitlines() if line.startswith("| `")]
    return [quote for cell in rows for quote in re.findall(r"`([^`]+)`", cell)]


def is_said(fragment: str) -> bool:
    """Whether the source has a fragment, in one piece or put together of two or three."""
    words = fragment.split(" ")
    cuts = range(1, len(words))
    ends = [(), *((i,) for i in cuts), *((i, k) for i in cuts for k in cuts if i < k)]
    for end in ends:
        bounds = [0, *end, len(words)]
        pieces = (" ".join(words[i:k]) for i, k in zip(bounds, bounds[1:], strict=False))
        if all(piece.strip(EDGES) in texts() for piece in pieces):
            return True
    return False


@pytest.mark.parametrize("quote", quoted_messages())
def test_a_quoted_message_is_said(quote: str) -> None:
    """Every message on the error page occurs in the source, hole for hole."""
    looked_for = [part.strip(EDGES) for part in quote.split("…")]
    assert any(len(part) >= LEAST for part in looked_for)
    assert [part for part in looked_for if not is_said(part)] == []


def test_the_page_quotes_enough() -> None:
    """The table reader finds the page's messages."""
    assert len(quoted_messages()) > 60


def test_the_page_of_parameters_is_current() -> None:
    """docs/ros/parameters.md is what `python scripts/ros_parameters.py` writes."""
    place = CHECKOUT / "scripts" / "ros_parameters.py"
    spec = importlib.util.spec_from_file_location("ros_parameters", place)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert read("parameters.md") == script.page()


def test_parameters_in_the_docs_are_declared() -> None:
    """Each `motion.wait` and `-p name:=...` of the how-to is a parameter of some node."""
    from ros_nodes.depth_config import DepthNodeConfig
    from ros_nodes.life.schema import leaves
    from ros_nodes.map_config import MapNodeConfig
    from ros_nodes.odometry_node import OdometryNodeConfig
    from ros_nodes.player_node import PlayerConfig

    schemas = (DepthNodeConfig, MapNodeConfig, OdometryNodeConfig, PlayerConfig)
    known = {leaf.name for schema in schemas for leaf in leaves(schema)}
    text = read("index.md") + read("errors.md")
    parts = "baseline|camera|motion|extrinsic|scale|noise|band|pose"
    named = set(re.findall(rf"`((?:{parts})\.[a-z_]+)", text))
    commands = text.replace("\\\n", " ").splitlines()
    own = [line for line in commands if re.search(r"depthkit \w+_node|ros_nodes\.\w+_node", line)]
    named |= {name for line in own for name in re.findall(r"-p ([\w.]+):=", line)}
    assert len(named) > 15
    assert sorted(named - known) == []


def test_launch_arguments_in_the_docs_exist() -> None:
    """Each `ros2 launch depthkit ... name:=value` is an argument; the table names all of them."""
    path = CHECKOUT / "launch" / "nodes.launch.py"
    offered: set[str] = set()
    for item in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(item, ast.Assign) and isinstance(item.value, ast.Dict):
            offered |= {str(ast.literal_eval(key)) for key in item.value.keys if key}
    text = read("index.md")
    lines = [
        line
        for line in text.splitlines()
        if line.startswith(("ros2 launch depthkit ", "ros2 launch launch/"))
    ]
    used = {name for line in lines for name in re.findall(r"(\w+):=", line)}
    table = text.partition("| argument | default |")[2].partition("\n\n")[0]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    told = {name for cell in rows for name in re.findall(r"`(\w+)`", cell)}
    assert len(used) > 5
    assert used <= offered
    assert told == offered


@pytest.mark.parametrize(
    ("looks", "ahead", "right"),
    [
        ("ahead (x", (1.0, 0.0, 0.0), (0.0, -1.0, 0.0)),
        ("down", (0.0, 0.0, -1.0), (0.0, -1.0, 0.0)),
        ("ahead, tilted", (np.cos(0.3), 0.0, -np.sin(0.3)), (0.0, -1.0, 0.0)),
    ],
)
def test_extrinsics_in_the_docs_look_where_they_say(looks: str, ahead: tuple, right: tuple) -> None:
    """Where z and x of the camera point in the body (x ahead, y left, z up), worked out by hand."""
    from ros_nodes.inputs.frames import ExtrinsicConfig

    [row] = [line for line in read("index.md").splitlines() if line.startswith(f"| {looks}")]
    rpy = tuple(float(word) for word in row.split("|")[2].split(","))
    R = ExtrinsicConfig(rpy=rpy).matrix[:3, :3]
    np.testing.assert_allclose(R[:, 2], ahead, atol=1e-4)
    np.testing.assert_allclose(R[:, 0], right, atol=1e-4)


@pytest.fixture
def px4_recipe(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The conversion shown for PX4; px4_msgs is not on PyPI, so its message is a stand-in."""
    messages: Any = ModuleType("px4_msgs.msg")
    messages.VehicleOdometry = SimpleNamespace
    monkeypatch.setitem(sys.modules, "px4_msgs", ModuleType("px4_msgs"))
    monkeypatch.setitem(sys.modules, "px4_msgs.msg", messages)
    [code] = re.findall(r"```python\n(.*?)```", read("index.md"), re.DOTALL)
    names: dict[str, Any] = {"__name__": "px4_odometry"}
    exec(compile(code, "index.md", "exec"), names)
    return names["to_odometry"]


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        ((1, 0, 0, 0), (0, 0, 0.5**0.5, 0.5**0.5)),  # level, to the north: yaw 90 degrees in ENU
        ((0.5**0.5, 0, 0, 0.5**0.5), (0, 0, 0, 1)),  # level, to the east: no rotation
        ((0.6, 0, 0.8, 0), (0.8 * 0.5**0.5, -0.8 * 0.5**0.5, 0.6 * 0.5**0.5, 0.6 * 0.5**0.5)),
    ],
)
def test_the_px4_recipe_turns_the_axes(px4_recipe: Any, q: tuple, expected: tuple) -> None:
    """North, east, down in microseconds become east, north, up with a stamp; x, y, z, w by hand."""
    px4 = SimpleNamespace(timestamp_sample=1_700_000_000_250_000, position=(1.0, 2.0, -3.0), q=q)
    stamp, T_odom_base = read_odometry(px4_recipe(px4))
    assert stamp == pytest.approx(1_700_000_000.25, abs=1e-6)
    np.testing.assert_allclose(T_odom_base[:3, 3], (2, 1, 3))
    np.testing.assert_allclose(T_odom_base[:3, :3], quaternion_to_matrix(expected), atol=1e-12)


def test_the_px4_recipe_keeps_the_nose_and_the_belly(px4_recipe: Any) -> None:
    """Each body axis points where it did: R_enu_flu = P R_ned_frd D with D = diag(1, -1, -1)."""
    w, x, y, z = np.array([0.5, -0.1, 0.3, 0.8]) / np.linalg.norm([0.5, -0.1, 0.3, 0.8])
    px4 = SimpleNamespace(timestamp_sample=1, position=(0.0, 0.0, 0.0), q=(w, x, y, z))
    _, T_odom_base = read_odometry(px4_recipe(px4))
    P = np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1]])
    expected = P @ quaternion_to_matrix((x, y, z, w)) @ np.diag([1, -1, -1])
    np.testing.assert_allclose(T_odom_base[:3, :3], expected, atol=1e-12)


def test_links_in_the_docs_lead_somewhere() -> None:
    """Files and headings that the pages link to are there."""
    for name in ("index.md", "errors.md", "parameters.md"):
        for target in re.findall(r"\]\(([^)]+)\)", read(name)):
            path, _, heading = target.partition("#")
            page = DOCS / path if path else DOCS / name
            assert page.exists(), target
            if heading:
                assert heading in headings(page.read_text(encoding="utf-8")), target


def headings(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in found}
