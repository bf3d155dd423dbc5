# SPDX-License-Identifier: Apache-2.0
"""Launch files at work with the real launch and launch_ros: what they start comes up and sends."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from installed_package import CHECKOUT, install
from launching import Launched
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from nav_msgs.msg import Odometry
from ros_graph import Graph
from runtime.onnx_makers import write_mono, write_pair, write_pose
from sensor_msgs.msg import CameraInfo, Image

from depthkit.synth.boxes import write_box_sequence

launch = pytest.importorskip("launch", reason="needs the launch of ROS 2")
if not hasattr(launch, "LaunchService"):  # the folder launch/, or another package of that name
    pytest.skip("needs the launch of ROS 2", allow_module_level=True)
pytest.importorskip("launch_ros.actions", reason="needs launch_ros")

pytestmark = pytest.mark.ros
FILES = ("nodes", "uav", "endoscope", "replay")
Start = Callable[..., Launched]


def launch_file(name: str) -> Path:
    """Return a launch file of this checkout."""
    return CHECKOUT / "launch" / f"{name}.launch.py"


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sequence folder with poses: 12 frames of 48 x 64."""
    root = tmp_path_factory.mktemp("launch") / "room"
    write_box_sequence(root, 12, (48, 64), 2)
    return root


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Networks that cost nothing: of pairs, of single frames in metres, of motion."""
    folder = tmp_path_factory.mktemp("models")
    return {
        "pair": write_pair(folder / "pair.onnx"),
        "mono": write_mono(folder / "mono.onnx", scale="metric", scale_source="made up"),
        "pose": write_pose(folder / "pose.onnx"),
    }


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Launch files from this checkout, without an installation; all end with the test."""
    begun: list[Launched] = []

    def begin(file: Path, environment: dict[str, str] | None = None, **arguments: Any) -> Launched:
        folder = tmp_path / f"launch-{len(begun)}"
        begun.append(Launched(file, arguments, folder, environment))
        return begun[-1]

    yield begin
    for one in begun:
        one.end()


def wait_for(graph: Graph, launched: Launched, messages: list[Any], count: int = 1) -> None:
    """Wait for messages; what was said is shown where none come."""
    try:
        graph.spin_until(lambda: len(messages) >= count, 25)
    except TimeoutError:
        pytest.fail(f"no message; {launched.output()[-3000:]}")


@pytest.mark.parametrize("name", FILES)
def test_arguments_are_described(name: str) -> None:
    """`--show-args` tells of every argument what it is, and has a default for all but a source."""
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    description = get_launch_description_from_python_launch_file(str(launch_file(name)))
    arguments = {one.name: one for one in description.get_launch_arguments()}
    needed = [one.name for one in arguments.values() if one.default_value is None]
    assert {"model", "image", "odometry", "namespace", "lifecycle", "log_level"} <= set(arguments)
    assert all(len(one.description) > 10 for one in arguments.values())
    assert needed == (["source"] if name == "replay" else [])


def test_replay_gives_depth_and_motion(
    graph: Graph, processes: object, start: Start, room: Path, models: dict[str, Path]
) -> None:
    """A recording is played to both nodes: depth in metres, with its camera, and odometry."""
    probe = graph.probe()
    depths, cameras = probe.collect("depth", Image), probe.collect("depth/camera_info", CameraInfo)
    moved = probe.collect("visual_odometry", Odometry)
    words = {"model": models["pair"], "pose_model": models["pose"], "odometry_node": "true"}
    launched = start(launch_file("replay"), source=room, loop="true", **words)
    wait_for(graph, launched, depths, 3)
    wait_for(graph, launched, cameras)
    wait_for(graph, launched, moved)
    assert (depths[-1].encoding, depths[-1].height, depths[-1].width) == ("32FC1", 48, 64)
    assert (cameras[-1].height, cameras[-1].width) == (48, 64)
    assert "Traceback" not in launched.output()


def test_endoscope_in_a_namespace(
    graph: Graph, processes: object, start: Start, room: Path, models: dict[str, Path]
) -> None:
    """Single frames of a source give depth below the namespace, on topics that were renamed."""
    probe = graph.probe()
    depths = probe.collect("/scope/depth", Image)
    seen = probe.collect("/scope/tip/image", Image)
    words = {"source": room, "model": models["mono"], "image": "tip/image", "loop": "true"}
    launched = start(launch_file("endoscope"), namespace="scope", **words)
    wait_for(graph, launched, depths)
    wait_for(graph, launched, seen)
    assert (depths[-1].height, depths[-1].width) == (48, 64)


def test_uav_waits_for_its_manager(
    graph: Graph, processes: object, start: Start, room: Path, models: dict[str, Path]
) -> None:
    """With lifecycle:=true nothing comes before configure and activate, and then depth does."""
    probe = graph.probe()
    depths = probe.collect("depth", Image)
    words = {"source": room, "model": models["pair"], "lifecycle": "true", "loop": "true"}
    launched = start(launch_file("uav"), **words)
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        assert depths == []
        request = ChangeState.Request(transition=Transition(id=transition))
        answer = probe.call("/depth_node/change_state", ChangeState, request)
        assert answer.success, launched.output()
    wait_for(graph, launched, depths)


def test_interrupt_ends_everything(
    graph: Graph, processes: object, start: Start, room: Path, models: dict[str, Path]
) -> None:
    """Ctrl-C ends launch with 0 and leaves no node behind."""
    said = graph.probe().collect("/diagnostics", DiagnosticArray)
    launched = start(launch_file("replay"), source=room, model=models["pair"])
    wait_for(graph, launched, said)
    assert set(launched.children()) == {"depth_node", "player_node"}
    assert launched.end() == 0
    assert launched.survivors() == []
    assert "process has died" not in launched.output()


def test_all_ends_with_the_recording(
    graph: Graph, processes: object, start: Start, room: Path, models: dict[str, Path]
) -> None:
    """A replay that is over leaves no node that waits for more; one line says why it ends."""
    launched = start(launch_file("replay"), source=room, model=models["pair"])
    assert launched.wait() == 0
    assert launched.survivors() == []
    assert launched.output().count("the player has ended") == 1


def test_a_source_that_is_none_ends_all(
    graph: Graph, processes: object, start: Start, models: dict[str, Path]
) -> None:
    """Nobody waits beside a dead player."""
    launched = start(launch_file("replay"), source="/nowhere", model=models["pair"])
    launched.wait()
    assert launched.survivors() == []
    assert "player_node: /nowhere: source not found" in launched.output()
    assert "the player has ended (/nowhere)" in launched.output()


def test_what_is_not_installed_is_said(start: Start, tmp_path: Path) -> None:
    """Without depth_image_proc and RViz the rest starts, and one line says how to get them."""
    words = {"cloud": "true", "rviz": "true", "depth_node": "false"}
    launched = start(launch_file("nodes"), environment_without_ros(tmp_path), **words)
    assert launched.wait() == 0
    assert "depth_image_proc is not installed; sudo apt install" in launched.output()
    assert "rviz2 is not installed; sudo apt install" in launched.output()


def test_cloud_and_rviz_are_told_the_topics(start: Start, tmp_path: Path) -> None:
    """Where they are installed they start with the names in use, and room for large clouds."""
    environment = environment_without_ros(tmp_path)
    for variable in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_BUILTIN_TRANSPORTS"):
        environment.pop(variable, None)
    names = ("depth_image_proc/point_cloud_xyzrgb_node", "rviz2/rviz2")
    for name in names:
        write_program(tmp_path, name, 'echo "$0 $* $FASTRTPS_DEFAULT_PROFILES_FILE"')
    words = {"cloud": "true", "rviz": "true", "depth_node": "false", "image": "eye/image_raw"}
    launched = start(launch_file("nodes"), environment, **words)
    assert launched.wait() == 0
    cloud, rviz = (line_with(name, launched.output()) for name in names)
    for rule in (
        "-r depth_registered/image_rect:=depth ",
        "-r rgb/image_rect_color:=eye/image_raw ",
        "-r eye/camera_info:=depth/camera_info ",
    ):
        assert rule in cloud
    assert "-d " in rviz and "-r /image:=eye/image_raw " in rviz
    assert cloud.endswith("ros_nodes/fastdds.xml") and rviz.endswith("ros_nodes/fastdds.xml")


def test_the_users_profile_is_kept(start: Start, tmp_path: Path) -> None:
    """What the user said to Fast DDS counts, under any of its names."""
    write_program(tmp_path, "rviz2/rviz2", 'echo "profile <$FASTRTPS_DEFAULT_PROFILES_FILE>"')
    environment = environment_without_ros(tmp_path) | {"FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"}
    environment["FASTRTPS_DEFAULT_PROFILES_FILE"] = ""
    launched = start(launch_file("nodes"), environment, rviz="true", depth_node="false")
    assert launched.wait() == 0
    assert "profile <>" in launched.output()


def test_arguments_win_over_the_file(start: Start, tmp_path: Path) -> None:
    """model:=... counts, though the file names the node more exactly than launch does."""
    launched = start(launch_file("uav"), model="nowhere", params_file=stern(tmp_path))
    launched.wait()
    assert "nowhere: no such model file" in launched.output()


def test_an_installed_package_starts_its_executables(start: Start, tmp_path: Path) -> None:
    """Where the index knows the package, launch starts lib/depthkit/depth_node."""
    package = install("pip", tmp_path / "installed")
    environment = package.environment()
    environment["PYTHONPATH"] += os.pathsep + os.environ.get("PYTHONPATH", "")
    file = package.prefix / "share" / "depthkit" / "launch" / "uav.launch.py"
    launched = start(file, environment, params_file=stern(tmp_path))
    launched.wait()
    assert f"cmd '{package.prefix}/lib/depthkit/depth_node " in launched.output()
    assert "elsewhere: no such model file" in launched.output()


def write_program(prefix: Path, name: str, line: str) -> None:
    """Install a program "package/executable" that runs one line of shell, where launch finds it."""
    marker = prefix / "share/ament_index/resource_index/packages" / name.partition("/")[0]
    program = prefix / "lib" / name
    for path in (marker, program):
        path.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()
    program.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    program.chmod(0o755)


def line_with(word: str, text: str) -> str:
    """Return the line that a program printed."""
    return next(line for line in text.splitlines() if f"lib/{word} " in line)


def stern(folder: Path) -> Path:
    """Write parameters with which depth_node ends at once, and says so in one line."""
    path = folder / "stern.yaml"
    path.write_text(
        "/**/depth_node: {ros__parameters: {model: elsewhere, wait_for_model: false}}\n",
        encoding="utf-8",
    )
    return path


def environment_without_ros(folder: Path) -> dict[str, str]:
    """Return an environment whose index knows no package."""
    return os.environ | {"AMENT_PREFIX_PATH": str(folder)}
