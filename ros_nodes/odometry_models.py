# SPDX-License-Identifier: Apache-2.0
"""Networks of the odometry node: pose, and depth where a known height gives the scale."""

from dataclasses import dataclass, replace
from os.path import isfile  # that of Path raises where a folder is closed to us
from pathlib import Path

from depthkit.errors import EngineError
from depthkit.runtime import DepthEngine, OdometryEngine
from depthkit.runtime.config import EngineConfig
from depthkit.runtime.network.manifest import shipped_models
from ros_nodes.odometry_config import ScaleConfig


@dataclass(frozen=True, eq=False)
class Models:
    """Open networks of the node."""

    odometry: OdometryEngine
    depth: DepthEngine | None
    """Depth network for scale.source height, else None."""

    def close(self) -> None:
        """Free the networks."""
        self.odometry.close()
        if self.depth is not None:
            self.depth.close()


def open_models(config: EngineConfig, scale: ScaleConfig, *, max_gap: float, stride: int) -> Models:
    """Open the networks that the settings need.

    Args:
        config: pose network and backend; the depth network runs on the same backend.
        scale: source of the scale; names the depth network.
        max_gap: longest pause between two frames, seconds.
        stride: frames from one used frame to the next; 0 as in training.

    Raises:
        EngineError: an unusable file, or two networks that were not trained together.
    """
    check_model(config.model)
    engine = OdometryEngine.open(
        config.model,
        backend=config.backend,
        threads=config.threads,
        precision=config.precision,
        max_gap=max_gap,
    )
    shifts = [abs(shift) for shift in engine.manifest.shifts if shift]
    engine.stride = stride or min(shifts, default=1)
    if scale.source != "height":
        return Models(engine, None)
    try:
        return Models(engine, _open_depth(engine, replace(config, model=scale.depth_model)))
    except EngineError:
        engine.close()
        raise


def check_model(model: Path) -> None:
    """Raise early if the model cannot be a pose network.

    Raises:
        EngineError: the file does not exist; no shipped model is a pose network.
    """
    if not isfile(model):
        what = "is not a pose network" if model.name in shipped_models() else "no such model file"
        raise EngineError(
            f"{model}: {what}; no pose network is shipped: write one with 'depthkit export RUN "
            "--part pose' and set the parameter model to it"
        )


def _open_depth(engine: OdometryEngine, config: EngineConfig) -> DepthEngine:
    """Open the depth network that shares the pose network's unit."""
    path = config.model
    depth = DepthEngine.open(
        path, backend=config.backend, threads=config.threads, precision=config.precision
    )
    if depth.kind != "mono":
        depth.close()
        raise EngineError(f"{path}: source height needs a network of kind mono, got {depth.kind}")
    ours, theirs = engine.manifest, depth.manifest
    if (ours.config, ours.data, ours.commit) != (theirs.config, theirs.data, theirs.commit):
        depth.close()
        raise EngineError(
            f"{path}: not trained together with the pose network, so their units differ; export "
            "both from one run (depthkit export RUN --part depth, --part pose)"
        )
    return depth
