# SPDX-License-Identifier: Apache-2.0
"""What runs on the robot: numpy and OpenCV, never torch.

    from depthkit.runtime import DepthEngine

Each name is loaded on first access, and a backend (ONNX Runtime, OpenVINO) when an engine opens:
importing this package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from depthkit.runtime.config import BaselineConfig, RuntimeConfig
    from depthkit.runtime.depth.baseline import Decision
    from depthkit.runtime.depth.depth_engine import DepthEngine, PairMaps
    from depthkit.runtime.depth.depth_stream import DepthStream
    from depthkit.runtime.depth.one_pair import depth_of_pair
    from depthkit.runtime.depth.scale_fit import ScaledDepth
    from depthkit.runtime.depth.sweep_config import SweepConfig
    from depthkit.runtime.depth.sweep_stream import SweepStream
    from depthkit.runtime.depth.visual_depth import VisualDepth
    from depthkit.runtime.flow.flow_engine import FlowEngine
    from depthkit.runtime.flow.moving_stream import MovingStream
    from depthkit.runtime.motion.told import Motion
    from depthkit.runtime.network.backend import available_backends, check_parity, open_backend
    from depthkit.runtime.network.feature_engine import FeatureEngine
    from depthkit.runtime.network.manifest import Manifest, read_manifest
    from depthkit.runtime.network.place_engine import PlaceEngine
    from depthkit.runtime.odometry.geometric import GeometricConfig, GeometricOdometry
    from depthkit.runtime.odometry.odometry_engine import OdometryEngine
    from depthkit.runtime.preprocess import NetworkFrame
    from depthkit.runtime.result import (
        DepthResult,
        FlowResult,
        OdometryResult,
        ScaleFit,
        StaticResult,
        Timing,
    )

__all__ = [
    "BaselineConfig",
    "Decision",
    "DepthEngine",
    "DepthResult",
    "DepthStream",
    "FeatureEngine",
    "FlowEngine",
    "FlowResult",
    "GeometricConfig",
    "GeometricOdometry",
    "Manifest",
    "Motion",
    "MovingStream",
    "NetworkFrame",
    "OdometryEngine",
    "OdometryResult",
    "PairMaps",
    "PlaceEngine",
    "RuntimeConfig",
    "ScaleFit",
    "ScaledDepth",
    "StaticResult",
    "SweepConfig",
    "SweepStream",
    "Timing",
    "VisualDepth",
    "available_backends",
    "check_parity",
    "depth_of_pair",
    "open_backend",
    "read_manifest",
]

_HOMES = {
    "BaselineConfig": "config",
    "Decision": "depth.baseline",
    "DepthEngine": "depth.depth_engine",
    "DepthResult": "result",
    "DepthStream": "depth.depth_stream",
    "FeatureEngine": "network.feature_engine",
    "FlowEngine": "flow.flow_engine",
    "FlowResult": "result",
    "GeometricConfig": "odometry.geometric",
    "GeometricOdometry": "odometry.geometric",
    "Manifest": "network.manifest",
    "Motion": "motion.told",
    "MovingStream": "flow.moving_stream",
    "NetworkFrame": "preprocess",
    "OdometryEngine": "odometry.odometry_engine",
    "OdometryResult": "result",
    "PairMaps": "depth.depth_engine",
    "PlaceEngine": "network.place_engine",
    "RuntimeConfig": "config",
    "ScaleFit": "result",
    "ScaledDepth": "depth.scale_fit",
    "StaticResult": "result",
    "SweepConfig": "depth.sweep_config",
    "SweepStream": "depth.sweep_stream",
    "Timing": "result",
    "VisualDepth": "depth.visual_depth",
    "available_backends": "network.backend",
    "check_parity": "network.backend",
    "depth_of_pair": "depth.one_pair",
    "open_backend": "network.backend",
    "read_manifest": "network.manifest",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module [PEP 562]."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
