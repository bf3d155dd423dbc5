# SPDX-License-Identifier: Apache-2.0
"""Configurations as ROS parameters: declared, described, refused and changed on a real node."""

import dataclasses
import importlib
import pkgutil
import py_compile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from rcl_interfaces.msg import ParameterType
from rclpy.parameter import Parameter
from ros_graph import Graph

import ros_nodes
from depthkit.config.ranges import check_ranges, option
from depthkit.errors import ConfigError, EngineError
from depthkit.runtime.config import RuntimeConfig
from ros_nodes.life.params import declare, drop_unread, follow, given_names
from ros_nodes.life.schema import Leaf, build, flatten, leaves

pytestmark = pytest.mark.ros


@dataclass(frozen=True)
class LensConfig:
    """Nested in the one below."""

    zoom: float = option(1.0, least=1, most=4, live=True)
    """Enlargement."""
    mode: Literal["wide", "tele"] = "wide"
    """Of two."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class BaseConfig:
    """Inherited by the one below."""

    file: Path = Path("model.onnx")
    """A file,
    on two lines."""
    threads: int = option(1, least=1)
    """Open-ended."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class CameraConfig(BaseConfig):
    """One of each kind."""

    loop: bool = False
    """Yes or no."""
    depth: int = option(2, least=1, most=8)
    """Two ends."""
    low: float = option(0.0, live=True)
    """Below high."""
    high: float = option(1.0, live=True)
    """Above low."""
    xyz: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Metres."""
    ids: tuple[int, ...] = (1,)
    """Any number."""
    names: tuple[str, ...] = ("left",)
    """Any number."""
    info: Path = Path()
    """None by default."""
    lens: LensConfig = field(default_factory=LensConfig)
    """Nested."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low > self.high:
            raise ConfigError(f"low: at most high, got {self.low} and {self.high}")


# ---- what is declared --------------------------------------------------------------------------


def test_defaults_come_back_as_the_configuration(graph: Graph) -> None:
    """A node told nothing has the defaults of the dataclass, of every kind."""
    assert declare(graph.node("a"), CameraConfig) == CameraConfig()
    assert declare(graph.node("b"), RuntimeConfig) == RuntimeConfig()


def test_values_given_arrive_in_their_types(graph: Graph) -> None:
    """Nested names, integers for numbers, paths, lists and choices."""
    given = {
        "file": "~/a.onnx",
        "loop": True,
        "depth": 8,
        "high": 7,
        "xyz": [1, 2, 3],
        "ids": [4, 5],
        "names": ["a", "b", "c"],
        "info": "camera.yaml",
        "lens": {"zoom": 2, "mode": "tele"},
    }
    config = declare(graph.node("a", parameters=given), CameraConfig)
    assert config == CameraConfig(
        file=Path("~/a.onnx").expanduser(),
        loop=True,
        depth=8,
        high=7.0,
        xyz=(1.0, 2.0, 3.0),
        ids=(4, 5),
        names=("a", "b", "c"),
        info=Path("camera.yaml"),
        lens=LensConfig(zoom=2.0, mode="tele"),
    )
    assert type(config.high) is float and all(type(x) is float for x in config.xyz)


def test_home_of_nobody_stays_as_it_was_written(graph: Graph) -> None:
    """No traceback: that there is no such file says who opens it."""
    node = graph.node("a", parameters={"file": "~nobody-here/a.onnx"})
    assert declare(node, CameraConfig).file == Path("~nobody-here/a.onnx")


def test_node_that_declares_what_it_is_given_reads_the_same(graph: Graph) -> None:
    """`run_node` makes its nodes so, in order to find slips of the pen."""
    given = {"high": 7, "lens": {"zoom": 2}}
    node = graph.node("a", parameters=given, automatically_declare_parameters_from_overrides=True)
    assert declare(node, CameraConfig) == CameraConfig(high=7.0, lens=LensConfig(zoom=2.0))
    assert node.describe_parameter("high").type == ParameterType.PARAMETER_DOUBLE


def test_declaring_again_keeps_what_was_told(graph: Graph) -> None:
    """A lifecycle node configures more than once, with what was set in between."""
    node = graph.node("a", parameters={"depth": 5, "lens.zoom": 2})
    declare(node, CameraConfig)
    node.set_parameters([Parameter("lens.zoom", value=3.0)])
    config = declare(node, CameraConfig)
    assert config.depth == 5 and config.lens.zoom == 3.0


def test_parameters_are_described_to_other_nodes(graph: Graph) -> None:
    """Description from the docstring, type, range and who may change it, as `ros2 param` shows."""
    declare(graph.node("camera"), CameraConfig)
    probe = graph.probe()

    def describe(name: str) -> Any:
        return probe.describe_parameter("camera", name)

    zoom = describe("lens.zoom")
    assert zoom.description == "Enlargement." and not zoom.read_only
    assert zoom.type == ParameterType.PARAMETER_DOUBLE
    assert (zoom.floating_point_range[0].from_value, zoom.floating_point_range[0].to_value) == (
        1.0,
        4.0,
    )
    depth = describe("depth")
    assert depth.read_only and depth.integer_range[0].to_value == 8
    assert describe("file").description == "A file, on two lines."
    assert describe("file").type == ParameterType.PARAMETER_STRING
    threads = describe("threads")
    assert threads.additional_constraints == "1 or more" and not threads.integer_range
    assert describe("lens.mode").additional_constraints == "one of wide, tele"
    assert describe("xyz").type == ParameterType.PARAMETER_DOUBLE_ARRAY
    assert describe("ids").type == ParameterType.PARAMETER_INTEGER_ARRAY
    assert probe.get_parameter("camera", "info") == ""


def schemas() -> list[type[Any]]:
    """Find every configuration that a node's module defines."""
    names = [module.name for module in pkgutil.iter_modules(ros_nodes.__path__, "ros_nodes.")]
    modules = [importlib.import_module(name) for name in names]
    found = {
        one
        for module in modules
        for one in vars(module).values()
        if isinstance(one, type)
        and dataclasses.is_dataclass(one)
        and one.__name__.endswith("Config")
    }
    return sorted(found | {RuntimeConfig}, key=lambda one: one.__name__)


@pytest.mark.parametrize("schema", schemas(), ids=lambda one: one.__name__)
def test_every_parameter_of_every_node_is_described_and_declarable(
    graph: Graph, schema: type[Any]
) -> None:
    """A docstring under each field, a default inside its range, a type that ROS has."""
    undescribed = [leaf.name for leaf in leaves(schema) if not leaf.text]
    assert undescribed == []
    node = graph.node("a")
    assert declare(node, schema) == schema()
    told = {name: node.get_parameter(name).value for name in flatten(schema())}
    # What one node says, another understands: no value changes on its way through ROS.
    assert declare(graph.node("b", parameters=told), schema) == schema()


def outside(leaf: Leaf) -> Iterator[Any]:
    """Return values just outside of a parameter's range."""
    steps = {"least": -1, "most": 1, "above": 0, "below": 0}
    for name in steps.keys() & leaf.metadata.keys():
        value = leaf.metadata[name] + steps[name]
        yield (value,) * len(leaf.default) if isinstance(leaf.default, tuple) else value


@pytest.mark.parametrize("schema", schemas(), ids=lambda one: one.__name__)
def test_every_range_is_kept_by_the_configuration_itself(schema: type[Any]) -> None:
    """What a range forbids, the dataclass refuses by name: from YAML, Python and ROS alike."""
    for leaf in leaves(schema):
        for value in outside(leaf):
            with pytest.raises(ConfigError, match=leaf.name):
                build(schema, {**flatten(schema()), leaf.name: value})


def test_configuration_without_sources_is_declared_all_the_same(
    graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Descriptions are read from the source; a robot that ships byte code alone does without."""
    source = tmp_path / "shipped.py"
    source.write_text(
        "from dataclasses import dataclass\n"
        "@dataclass(frozen=True)\nclass Shipped:\n    speed: float = 2.0\n"
    )
    py_compile.compile(str(source), cfile=str(tmp_path / "shipped.pyc"))
    source.unlink()
    monkeypatch.syspath_prepend(tmp_path)
    schema = importlib.import_module("shipped").Shipped
    node = graph.node("a", parameters={"speed": 3})
    assert declare(node, schema) == schema(3.0)
    assert node.describe_parameter("speed").description == ""


# ---- what is refused ---------------------------------------------------------------------------

REFUSED = {
    "text": ({"high": "much"}, "parameter high: expected a number, got 'much'"),
    "bool for number": ({"high": True}, "parameter high: expected a number, got True"),
    "float for integer": ({"depth": 2.5}, "parameter depth: expected an integer, got 2.5"),
    "number for path": ({"file": 5}, "parameter file: expected a path in quotes, got 5"),
    "number for bool": ({"loop": 1}, "parameter loop: expected true or false, got 1"),
    "choice": (
        {"lens.mode": "wid"},
        "parameter lens.mode: expected one of wide, tele, got 'wid'; did you mean 'wide'?",
    ),
    "off for a choice": ({"lens.mode": False}, "expected one of wide, tele, got False"),
    "two of three": ({"xyz": [1.0, 2.0]}, "xyz: expected a list of 3 numbers, got [1.0, 2.0]"),
    "no list": ({"xyz": 1.0}, "parameter xyz: expected a list of 3 numbers, got 1.0"),
    "texts": ({"xyz": ["1", "2", "3"]}, "expected a list of 3 numbers, got ['1', '2', '3']"),
    "range": ({"lens.zoom": 5.0}, "parameter lens.zoom: 1 to 4, got 5.0"),
    "open range": ({"threads": 0}, "parameter threads: 1 or more, got 0"),
    "not a number": (
        {"lens.zoom": float("nan")},
        "parameter lens.zoom: expected a number, got nan",
    ),
    "no bounds": ({"low": float("nan")}, "parameter low: expected a number, got nan"),
    "together": ({"low": 2.0}, "parameter low: at most high, got 2.0 and 1.0"),
}


@pytest.mark.parametrize("given, line", REFUSED.values(), ids=REFUSED)
def test_wrong_value_is_refused_by_name(graph: Graph, given: dict[str, Any], line: str) -> None:
    """One line that names the parameter, what is expected and what was given."""
    with pytest.raises(ConfigError) as caught:
        declare(graph.node("a", parameters=given), CameraConfig)
    assert line in str(caught.value) and "\n" not in str(caught.value)


def test_names_that_nobody_reads_are_told_and_forgotten(graph: Graph) -> None:
    """With the nearest name, or the same one under its prefix; ROS' own names are left alone."""
    given = {"highh": 1.0, "zoom": 2.0, "wide_angle": 1, "lens.mode": "tele", "use_sim_time": False}
    node = graph.node("a", parameters=given, automatically_declare_parameters_from_overrides=True)
    names = given_names(node)
    assert sorted(names) == ["highh", "lens.mode", "wide_angle", "zoom"]
    declare(node, CameraConfig)
    lines = sorted(drop_unread(node, names))
    assert lines == [
        "parameter 'highh' is not known and was ignored; did you mean 'high'?",
        "parameter 'wide_angle' is not known and was ignored; see: ros2 param list",
        "parameter 'zoom' is not known and was ignored; did you mean 'lens.zoom'?",
    ]
    assert not node.has_parameter("wide_angle") and node.has_parameter("use_sim_time")


# ---- what changes while the node runs ----------------------------------------------------------


def following(graph: Graph) -> tuple[list[CameraConfig], Any]:
    """Make a node that keeps every configuration it was told, and a probe to tell it."""
    node, told = graph.node("camera"), []
    follow(node, CameraConfig, declare(node, CameraConfig), told.append)
    return told, graph.probe()


def test_live_fields_change_and_others_do_not(graph: Graph) -> None:
    """`ros2 param set` reaches `apply` with the whole new configuration, int for float too."""
    told, probe = following(graph)
    assert probe.set_parameter("camera", "high", 5).successful
    assert probe.set_parameter("camera", "lens.zoom", 2.0).successful
    assert told[0] == CameraConfig(high=5.0)
    assert told[1] == CameraConfig(high=5.0, lens=LensConfig(zoom=2.0))
    assert probe.get_parameter("camera", "high") == 5.0
    answer = probe.set_parameter("camera", "depth", 3)
    assert not answer.successful and "read-only" in answer.reason
    assert len(told) == 2 and probe.get_parameter("camera", "depth") == 2


def test_setting_an_unknown_parameter_names_the_nearest(graph: Graph) -> None:
    """`ros2 param set` with a slip is told what was meant."""
    told, probe = following(graph)
    answer = probe.set_parameter("camera", "hihg", 5.0)
    assert not answer.successful and told == []
    assert answer.reason == "parameter 'hihg' is not known; did you mean 'high'?"


CHANGES = {
    "range": ("lens.zoom", 9.0, "out of range"),
    "type": ("high", "much", "Wrong parameter type"),
    "together": ("low", 3.0, "parameter low: at most high, got 3.0 and 1.0"),
    "unknown": ("hihg", 3.0, ""),
}


@pytest.mark.parametrize("name, value, reason", CHANGES.values(), ids=CHANGES)
def test_wrong_change_is_refused_with_its_reason(
    graph: Graph, name: str, value: Any, reason: str
) -> None:
    """Nothing is applied, the value stays, the reason says why."""
    told, probe = following(graph)
    answer = probe.set_parameter("camera", name, value)
    assert not answer.successful and reason in answer.reason
    assert told == []
    assert probe.set_parameter("camera", "high", 4.0).successful
    assert told == [CameraConfig(high=4.0)]


def test_change_that_cannot_be_applied_is_refused(graph: Graph) -> None:
    """What `apply` refuses is not stored: neither in ROS nor in what comes next."""
    node = graph.node("camera")
    told: list[CameraConfig] = []

    def apply(config: CameraConfig) -> None:
        if config.high > 5:
            raise EngineError("the engine ends at 5")
        told.append(config)

    follow(node, CameraConfig, declare(node, CameraConfig), apply)
    probe = graph.probe()
    answer = probe.set_parameter("camera", "high", 9.0)
    assert not answer.successful and answer.reason == "the engine ends at 5"
    assert probe.get_parameter("camera", "high") == 1.0
    assert probe.set_parameter("camera", "low", -1.0).successful
    assert told == [CameraConfig(low=-1.0)]


def test_several_parameters_change_together(graph: Graph) -> None:
    """Atomically set, low and high may pass each other."""
    node, told = graph.node("camera"), []
    follow(node, CameraConfig, declare(node, CameraConfig), told.append)
    both = [Parameter("low", value=3), Parameter("high", value=4.0)]
    assert node.set_parameters_atomically(both).successful
    assert told == [CameraConfig(low=3.0, high=4.0)]


def test_following_ends(graph: Graph) -> None:
    """A lifecycle node that was cleaned up applies nothing any more."""
    node, told = graph.node("camera"), []
    stop = follow(node, CameraConfig, declare(node, CameraConfig), told.append)
    stop()
    assert node.set_parameters([Parameter("high", value=2.0)])[0].successful
    assert told == []
