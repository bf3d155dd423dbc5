# SPDX-License-Identifier: Apache-2.0
"""The package as users install it: ROS finds its parts by place, after colcon as after pip."""

import ast
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from installed_package import CHECKOUT, EXECUTABLES, Installed, install


@pytest.fixture(scope="module", params=["colcon", "pip"])
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The package installed by each tool."""
    return install(request.param, tmp_path_factory.mktemp(request.param))


def call(package: Installed, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a program away from the checkout, with the installed package alone."""
    return subprocess.run(
        words,
        cwd=folder,
        env=package.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_index_knows_the_package(package: Installed) -> None:
    """Marker and manifest are where ament looks: else `ros2 run` says the package is not found."""
    share = package.prefix / "share"
    assert (share / "ament_index/resource_index/packages/depthkit").is_file()
    assert (share / "depthkit/package.xml").read_bytes() == (CHECKOUT / "package.xml").read_bytes()


@pytest.mark.parametrize("folder", ["launch", "configs", "configs/ros", "configs/uav"])
def test_shared_files_are_those_of_the_checkout(package: Installed, folder: str) -> None:
    """Each launch file and configuration is installed, at the same place below share/depthkit."""
    wanted = {path.name: path.read_bytes() for path in (CHECKOUT / folder).glob("*.*")}
    found = (package.prefix / "share" / "depthkit" / folder).glob("*.*")
    assert wanted
    assert {path.name: path.read_bytes() for path in found} == wanted


def test_the_profile_lies_where_launch_files_and_nodes_look(package: Installed) -> None:
    """One Fast DDS profile: beside the module for the nodes, in share for what is launched."""
    profile = (CHECKOUT / "ros_nodes" / "fastdds.xml").read_bytes()
    assert (package.libraries / "ros_nodes" / "fastdds.xml").read_bytes() == profile
    assert (package.prefix / "share/depthkit/ros_nodes/fastdds.xml").read_bytes() == profile


def test_launch_finds_exactly_the_nodes(package: Installed) -> None:
    """lib/depthkit holds what `ros2 run` completes and launch's Node starts, ready to execute."""
    files = sorted((package.prefix / "lib" / "depthkit").iterdir())
    assert [path.name for path in files] == sorted(EXECUTABLES)
    assert all(os.access(path, os.X_OK) for path in files)


@pytest.mark.ros
@pytest.mark.parametrize("name", EXECUTABLES)
def test_executables_run_from_anywhere(package: Installed, tmp_path: Path, name: str) -> None:
    """An installed node starts without the checkout, and says how it is used."""
    done = call(package, tmp_path, str(package.prefix / "lib" / "depthkit" / name), "--help")
    assert done.returncode == 0, done.stderr
    assert "--lifecycle" in done.stdout and "--ros-args" in done.stdout


def test_the_installed_modules_are_used(package: Installed, tmp_path: Path) -> None:
    """The environment of the tests above imports the installed copy, not this checkout."""
    done = call(package, tmp_path, sys.executable, "-c", "import ros_nodes as r; print(r.__file__)")
    assert Path(done.stdout.strip()).is_relative_to(package.libraries)


def test_a_wrong_parameter_reaches_the_installed_node(package: Installed, tmp_path: Path) -> None:
    """Arguments go through the script: a wrong one is one line and exit 1."""
    node = str(package.prefix / "lib" / "depthkit" / "depth_node")
    done = call(package, tmp_path, node, "--ros-args", "-p", "threads:=many")
    assert done.returncode == 1
    assert "parameter threads: expected an integer, got 'many'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_manifest_names_what_the_nodes_import() -> None:
    """`rosdep install` brings every ROS package that ros_nodes/ or launch/ import."""
    root = ElementTree.parse(CHECKOUT / "package.xml").getroot()
    named = {entry.text for entry in root.iter("exec_depend")}
    files = [*CHECKOUT.glob("ros_nodes/*.py"), *CHECKOUT.glob("launch/*.py")]
    imported = {name for path in files for name in top_modules(path)}
    ros = {name for name in imported if name.endswith(("_msgs", "_srvs", "_interfaces"))}
    assert {"rclpy", "launch", "launch_ros", "ament_index_python"} <= imported & named
    assert ros <= named


def top_modules(path: Path) -> set[str]:
    """List the packages a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found
