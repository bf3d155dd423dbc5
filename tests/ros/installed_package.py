# SPDX-License-Identifier: Apache-2.0
"""Installs a copy of the checkout as users do, by colcon and by pip, into a folder of its own."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
EXECUTABLES = ("depth_node", "map_node", "odometry_node", "player_node")
TAKEN = ("setup.py", "package.xml", "LICENSE", "depthkit", "ros_nodes", "launch", "configs")
WEIGHTS = ("*.safetensors", "*.onnx")  # 60 MB that no test of an installation runs


@dataclass(frozen=True)
class Installed:
    """A package where ROS can find it."""

    prefix: Path
    """Holds share/depthkit and lib/depthkit."""
    libraries: Path
    """Holds depthkit and ros_nodes, to import."""

    def environment(self) -> dict[str, str]:
        """Return what the setup script of a workspace or a virtual environment sets."""
        tools = str(Path(sys.executable).parent)
        return os.environ | {
            "AMENT_PREFIX_PATH": str(self.prefix),
            "PATH": os.pathsep.join([tools, os.environ.get("PATH", os.defpath)]),
            "PYTHONPATH": str(self.libraries),
        }


def copy_checkout(folder: Path) -> Path:
    """Copy what an installation needs, so that building leaves nothing in the checkout."""
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", *WEIGHTS)
    for name in TAKEN:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name)
    return folder


def install(how: str, root: Path) -> Installed:
    """Install by "colcon" or "pip"; skips where the tool is not there."""
    checkout = copy_checkout(root / "src" / "depthkit")
    prefix = {"colcon": _by_colcon, "pip": _by_pip}[how](root, checkout)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return Installed(prefix, prefix / "lib" / version / "site-packages")


def _by_colcon(root: Path, checkout: Path) -> Path:
    colcon = shutil.which("colcon", path=str(Path(sys.executable).parent))
    if colcon is None:
        pytest.skip("needs colcon: pip install colcon-core colcon-ros")
    words = ["--log-base", "log", "build", "--base-paths", str(checkout)]
    _call([colcon, *words], root, {"COLCON_HOME": str(root / "colcon")})
    return root / "install" / "depthkit"


def _by_pip(root: Path, checkout: Path) -> Path:
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--ignore-installed"]
    words = ["install", "--quiet", *options, "--no-warn-script-location"]
    prefix = root / "venv"
    _call(
        [sys.executable, "-m", "pip", *words, "--prefix", str(prefix), str(checkout)],
        root,
        {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_CACHE_DIR": "1"},
    )
    return prefix


def _call(command: list[str], folder: Path, variables: dict[str, str]) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(f"{command[0]} {command[1]}: exit {done.returncode}\n{done.stdout[-2000:]}")
