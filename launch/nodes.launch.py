# SPDX-License-Identifier: Apache-2.0
"""The nodes of depthkit with point cloud and RViz, each switched by an argument.

The other launch files are this one with other defaults. It finds configs/ and ros_nodes/ next to
its own folder, in a checkout and in share/depthkit. It starts the installed executables if they are
in the ament index, else `python -m ros_nodes.<node>` from the checkout.
"""

import os
import posixpath
import sys
from pathlib import Path

import yaml
from ament_index_python.packages import get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    LogInfo,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

HOME = Path(__file__).resolve().parent.parent
PROFILE = HOME / "ros_nodes" / "fastdds.xml"
# Fast DDS 2 (Jazzy) reads the first name, Fast DDS 3 (Kilted) the second.
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")

NO_SCALE = (
    "no source of metres: depth_node finds the motion in its own images, depth is on "
    "depth_relative, odometry on visual_odometry_relative; for metres: scale_source:=imu, twist, "
    "speed or odometry, or camera_height:=1.2"
)

ARGUMENTS = {
    "params_file": ("", "YAML file of node parameters (configs/ros/*.yaml are examples)"),
    "model": ("", "sweep, or a depth network: a file or a shipped name; empty: params_file's"),
    "pose_model": ("", "pose network of odometry_node; empty: that of params_file, or geometry"),
    "image": ("image", "topic of the camera's images; <image>/compressed with camera.transport"),
    "camera_info": ("", "topic of the camera's calibration; empty: camera_info next to the image"),
    "odometry": ("odometry", "topic of odometry in metres; empty: that of odometry_node"),
    "imu": ("imu", "topic of the IMU: attitude of the camera, samples for odometry_node"),
    "twist": ("twist", "topic of the speed, m/s"),
    "features": ("", "network of keypoints of odometry_node; empty: params_file's, or SIFT"),
    "map": ("", "folder of a map of odometry_node, read and extended; empty: params_file's"),
    "scale_source": ("", "scale.source of odometry_node, as imu or twist; empty: params_file's"),
    "camera_height": ("", "camera height over level ground, metres; empty: params_file's"),
    "visual_odometry": ("visual_odometry", "topic on which odometry_node publishes"),
    "namespace": ("", "namespace of all nodes and relative topics"),
    "log_level": ("info", "debug, info, warn, error or fatal"),
    "rviz_config": (str(HOME / "configs" / "ros" / "replay.rviz"), "configuration of RViz"),
    "source": ("", "sequence folder, video or bag to play in place of a camera; empty: none"),
    "rate": ("1.0", "speed of the player, as a multiple of real time"),
}
SWITCHES = {
    "depth_node": ("true", "start depth_node"),
    "odometry_node": ("false", "start odometry_node, which publishes on visual_odometry"),
    "map_node": ("false", "start map_node: surface and grid from the depth in metres"),
    "loop": ("false", "the player restarts at the end"),
    "cloud": ("false", "start point_cloud_xyzrgb_node of depth_image_proc: depth, image -> points"),
    "rviz": ("false", "start RViz"),
    "lifecycle": ("false", "nodes wait to be configured and activated by a manager"),
    "use_sim_time": ("false", "nodes follow /clock; a player sends it and keeps recorded stamps"),
}


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, then start the nodes that they request."""
    texts = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in ARGUMENTS.items()
    ]
    switches = [
        DeclareLaunchArgument(
            name, default_value=default, description=text, choices=["true", "false"]
        )
        for name, (default, text) in SWITCHES.items()
    ]
    return LaunchDescription([*texts, *switches, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list:
    """List the actions that the arguments request."""
    given = read(context)
    wanted = {name: given[name] == "true" for name in SWITCHES}
    actions: list = profile(context)
    if wanted["depth_node"]:
        actions += depth(given)
    if wanted["odometry_node"]:
        actions.append(odometry(given))
    if wanted["map_node"]:
        topics = {"odometry": given["odometry"] or given["visual_odometry"]}
        actions.append(worker("map_node", given, topics, {}))
    if given["source"]:
        actions.append(player(given))
    if wanted["cloud"]:
        actions.append(cloud(given))
    if wanted["rviz"]:
        actions.append(rviz(given))
    return actions


def read(context: LaunchContext) -> dict[str, str]:
    """Return the arguments, with topic names and namespace resolved."""
    given = {name: LaunchConfiguration(name).perform(context) for name in (*ARGUMENTS, *SWITCHES)}
    if given["source"] or given["odometry_node"] == "false":  # another one's odometry
        given["odometry"] = given["odometry"] or "odometry"
    given["camera_info"] = given["camera_info"] or beside(given["image"])
    # An argument overrides the file's section /**/depth_node only for a node with a full name: ROS
    # prefers the more specific name to the later file.
    pushed = context.launch_configurations.get("ros_namespace", "")
    given["namespace"] = posixpath.join("/", pushed, given["namespace"])
    return given


def depth(given: dict[str, str]) -> list:
    """Describe depth_node; without any odometry in metres it finds the motion in its images."""
    source = said_of(given, "depth_node").get("motion", {}).get("source", "odometry")
    if not given["odometry"] and source in ("auto", "odometry") and not has_scale(given):
        own_motion = {"model": given["model"], "motion": {"source": "visual"}}
        return [LogInfo(msg=NO_SCALE), worker("depth_node", given, {}, own_motion)]
    topics = {"odometry": given["odometry"] or given["visual_odometry"]}
    return [worker("depth_node", given, topics, {"model": given["model"]})]


def odometry(given: dict[str, str]) -> Node:
    """Describe odometry_node with its source of metres; `points` is the name of the cloud."""
    name, other = given["visual_odometry"], given["odometry"]
    topics = {one: f"{name}_{one}" for one in ("points", "points_relative")}
    topics |= {"odometry": name, "odometry_relative": f"{name}_relative"}
    topics["scale_odometry"] = other or "odometry"
    scale: dict[str, object] = {"source": given["scale_source"]} if given["scale_source"] else {}
    if other and not has_scale(given):
        scale["source"] = "odometry"
    if given["camera_height"]:
        scale["camera_height"] = float(given["camera_height"])
    places = {name: given[name] for name in ("features", "map") if given[name]}
    settings = {"model": given["pose_model"], "scale": scale, "places": places}
    return worker("odometry_node", given, topics, settings)


def has_scale(given: dict[str, str]) -> bool:
    """Whether arguments or params_file give odometry_node metres; a network's training may."""
    if given["scale_source"] or given["camera_height"] or given["pose_model"]:
        return True
    said = said_of(given, "odometry_node")
    scale = said.get("scale", {})
    measured = scale.get("camera_height") or scale.get("source", "auto") != "auto"
    return bool(measured or said.get("model") or said.get("imu", {}).get("use"))


def said_of(given: dict[str, str], node: str) -> dict:
    """Return the parameters of a node in params_file."""
    file = given["params_file"]
    sections = yaml.safe_load(Path(file).read_text(encoding="utf-8")) if file else {}
    named = (said for name, said in sections.items() if name.endswith(node))
    return next(named, {}).get("ros__parameters", {})


def beside(image: str) -> str:
    """Return the camera_info topic of an image topic, as in image_transport."""
    return posixpath.join(posixpath.dirname(image), "camera_info")


def profile(context: LaunchContext) -> list[SetEnvironmentVariable]:
    """Set a Fast DDS profile with room for large messages, unless the user set one.

    The nodes of depthkit do so themselves; this is for the C++ nodes, whose clouds are larger.
    """
    variables = (*PROFILE_VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS")
    if any(context.environment.get(name) for name in variables):
        return []
    return [SetEnvironmentVariable(name, str(PROFILE)) for name in PROFILE_VARIABLES]


def worker(name: str, given: dict[str, str], topics: dict[str, str], settings: dict) -> Node:
    """Describe a node that processes images; empty settings are left to the file."""
    settings = {key: value for key, value in settings.items() if value}
    names = ("camera_info", "imu", "twist")
    return depthkit_node(
        name,
        given,
        parameters={**settings, "use_sim_time": given["use_sim_time"] == "true"},
        topics={**images(given), **{key: given[key] for key in names}, **topics},
        flags=["--lifecycle"] if given["lifecycle"] == "true" else [],
    )


def player(given: dict[str, str]) -> Node:
    """Describe the node that plays a recording on the topics of the other nodes.

    Its end shuts everything down: the other nodes would wait forever for images.
    """
    recorded = given["use_sim_time"] == "true"
    return depthkit_node(
        "player_node",
        given,
        parameters={
            "source": given["source"],
            "rate": float(given["rate"]),
            "loop": given["loop"] == "true",
            "stamps": "source" if recorded else "now",
            "clock": recorded,
        },
        topics={
            **images(given),
            **{key: given[key] for key in ("camera_info", "imu", "twist")},
            "odometry": given["odometry"] or "odometry",
        },
        flags=[],
        on_exit=[
            LogInfo(msg=f"the player has ended ({given['source']}); all nodes end with it"),
            Shutdown(reason="the player has ended"),
        ],
    )


def images(given: dict[str, str]) -> dict[str, str]:
    """Map the image topics of a node, raw and compressed."""
    return {"image": given["image"], "image/compressed": f"{given['image']}/compressed"}


def depthkit_node(
    name: str,
    given: dict[str, str],
    *,
    parameters: dict[str, object],
    topics: dict[str, str],
    flags: list[str],
    on_exit: list | None = None,
) -> Node:
    """Describe a node of this package, installed or in a checkout."""
    files = [given["params_file"]] if given["params_file"] else []
    common = {
        "name": name,
        "namespace": given["namespace"],
        "parameters": [*files, parameters],
        "remappings": list(topics.items()),
        "ros_arguments": ["--log-level", given["log_level"]],
        "output": "screen",
        "on_exit": on_exit,
    }
    if installed(name):
        return Node(package="depthkit", executable=name, arguments=flags, **common)
    inherited = os.environ.get("PYTHONPATH", "")
    return Node(
        executable=sys.executable,
        exec_name=name,
        arguments=["-m", f"ros_nodes.{name}", *flags],
        additional_env={"PYTHONPATH": os.pathsep.join(filter(None, [str(HOME), inherited]))},
        **common,
    )


def prefix_of(package: str) -> Path | None:
    """Return the install prefix of a package, None if it is not in the ament index."""
    try:
        return Path(get_package_prefix(package))
    except (LookupError, OSError):  # not in the index; no index at all
        return None


def installed(name: str) -> bool:
    """Whether depthkit is installed with this executable."""
    prefix = prefix_of("depthkit")
    return prefix is not None and (prefix / "lib" / "depthkit" / name).is_file()


def cloud(given: dict[str, str]) -> Node | LogInfo:
    """Describe the node that makes a coloured point cloud from depth and image.

    It uses the camera_info next to its image topic, so that name is remapped as well.
    """
    if prefix_of("depth_image_proc") is None:
        return missing("depth_image_proc", "cloud")
    return Node(
        package="depth_image_proc",
        executable="point_cloud_xyzrgb_node",
        name="point_cloud",
        namespace=given["namespace"],
        remappings=[
            ("rgb/image_rect_color", given["image"]),
            ("rgb/camera_info", "depth/camera_info"),
            (beside(given["image"]), "depth/camera_info"),
            ("depth_registered/image_rect", "depth"),
        ],
        output="screen",
    )


def rviz(given: dict[str, str]) -> Node | LogInfo:
    """Describe RViz, with its topics remapped like those of the nodes."""
    if prefix_of("rviz2") is None:
        return missing("rviz2", "rviz")
    topics = {name: name for name in ("depth", "depth_relative", "confidence", "points")}
    topics |= {name: given[name] for name in ("image", "visual_odometry")}
    return Node(
        package="rviz2",
        executable="rviz2",
        name="rviz",
        namespace=given["namespace"],
        arguments=["-d", given["rviz_config"]],
        remappings=[(f"/{name}", topic) for name, topic in topics.items()],
        output="screen",
    )


def missing(package: str, argument: str) -> LogInfo:
    """Report a package that is not installed; everything else starts nevertheless."""
    debian = f"ros-$ROS_DISTRO-{package.replace('_', '-')}"
    return LogInfo(msg=f"{argument}: {package} is not installed; sudo apt install {debian}")
