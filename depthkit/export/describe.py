# SPDX-License-Identifier: Apache-2.0
"""The manifest of a network that is being exported: where it comes from, what it was taught."""

from importlib.metadata import version
from typing import Literal

import numpy as np

import depthkit
from depthkit.config import TrainConfig
from depthkit.export.graphs import LEAST_DEPTH, Graph
from depthkit.runtime.network.manifest import Manifest, Precision
from depthkit.runtime.network.manifest_parts import Check, Mixture, StaticLaw
from depthkit.runtime.network.parity import (
    TOLERANCES,
    encode_floats,
    encode_flow,
    encode_image,
    encode_volume,
    on_grid,
)
from depthkit.source_commit import source_commit
from depthkit.tasks.loaded import LoadedTask

_GRID = 24  # values that are kept along the longer side of a map, about


def describe(
    loaded: LoadedTask,
    graph: Graph,
    inputs: dict[str, np.ndarray],
    answers: dict[str, np.ndarray],
    precision: Precision,
    opset: int,
) -> Manifest:
    """Write the manifest of a graph.

    Args:
        loaded: the trained task.
        graph: what of it is exported.
        inputs: to be stored, one of each.
        answers: torch's to them, by output. (1, H, W) depth or log odds, (1, 6) motion,
            (1, 2, H, W) flow or (1, D) place
        precision: precision of the file.
        opset: ONNX operator set of the file.
    """
    config, state = loaded.config, loaded.state
    is_pair = graph.kind == "pair"
    limits = depth_range(config) if "depth" in graph.outputs else (None, None)
    scale, source = name_scale(loaded, graph)
    return Manifest(
        kind=graph.kind,
        network=graph.network,
        size=config.data.size,
        scale=scale,
        scale_source=source,
        check=make_check(inputs, answers),
        tolerance=TOLERANCES[precision],
        precision=precision,
        dynamic=graph.dynamic,
        stride=graph.stride,
        channels=answers["features"].shape[1] if "score" in answers else 0,
        K=training_camera(loaded),
        focal=loaded.focal,
        focal_most=state.get("focal_most") if graph.planes else None,
        planes=graph.planes,
        min_depth=limits[0],
        max_depth=limits[1],
        nominal_baseline=config.supervised.nominal_baseline if is_pair else None,
        shifts=loaded.shifts,
        place_parts=graph.place_parts,
        takes_raster="second" in graph.inputs,
        flow=graph.flow,
        static_law=static_law(loaded) if graph.kind == "flow" else None,
        opset=opset,
        config=dict(state["config"]),
        commit=str(state.get("commit", "unknown")),
        data=tuple(state.get("sequences", ())),
        created_with=programs(),
    )


def make_check(inputs: dict[str, np.ndarray], answers: dict[str, np.ndarray]) -> Check:
    """Store inputs as pictures, and the answers on a coarse grid."""
    height, width = next(iter(inputs.values())).shape[1:3]
    step = max(1, max(height, width) // _GRID)
    kept = {
        name: on_grid(answer[0], step) if answer[0].ndim >= 2 else answer[0]
        for name, answer in answers.items()
    }
    encode = {"flow": encode_flow, "volume": encode_volume}
    pictures = {name: encode.get(name, encode_image)(array[0]) for name, array in inputs.items()}
    return Check(pictures, step, {name: encode_floats(each) for name, each in kept.items()})


def depth_range(config: TrainConfig) -> tuple[float, float]:
    """Return the nearest and farthest depth that the network can predict."""
    if config.kind.exported == "pair":
        return LEAST_DEPTH, config.supervised.max_depth
    return config.model.min_depth, config.model.max_depth


def name_scale(loaded: LoadedTask, graph: Graph) -> tuple[Literal["metric", "relative"], str]:
    """Return whether the output is in metres, and where the scale comes from, in words."""
    kind = loaded.config.kind
    if graph.kind == "flow":
        return "relative", "none: flow is pixels of the picture"
    if graph.kind in ("features", "place"):
        return "relative", "none: descriptors have no unit"
    if graph.kind == "pair":
        baseline = loaded.config.supervised.nominal_baseline
        return "metric", f"displacement given at run time (metres at {baseline:g} m of it)"
    if graph.kind == "pose" and kind.exported == "pair":  # depth is per baseline, motion free
        return "relative", "none: translations have the pose network's own unit"
    if source := loaded.state.get("scale_source"):
        return loaded.scale, source
    if loaded.scale == "relative":
        return "relative", "none: depth and motion share one unknown factor"
    known = "depth" if kind.truth.depth(loaded.config) else "baselines"
    return "metric", f"known {known} in training"


def static_law(loaded: LoadedTask) -> StaticLaw | None:
    """Return the law of static pixels; None where the run has learnt none."""
    models = [getattr(loaded.task, name, None) for name in ("delta", "gap")]
    if any(model is None or not bool(model.fitted) for model in models):
        return None
    delta, gap = (
        Mixture(**{name: float(value) for name, value in model.current()._asdict().items()})
        for model in models
        if model is not None
    )
    config = loaded.config
    return StaticLaw(
        evidence=config.coop.evidence,
        ratio=config.coop.delta == "ratio",
        delta=delta,
        gap=gap,
        ssim_weight=config.loss.ssim_weight,
        window=config.coop.window,
        temper=getattr(loaded.task, "temper", None),
    )


def training_camera(loaded: LoadedTask) -> tuple[tuple[float, ...], ...] | None:
    """Return K at the size of the training, its principal point taken as the centre."""
    if loaded.focal is None:
        return None
    (height, width), focal = loaded.config.data.size, float(loaded.focal)
    return ((focal, 0.0, (width - 1) / 2), (0.0, focal, (height - 1) / 2), (0.0, 0.0, 1.0))


def programs() -> dict[str, str]:
    """Name what writes the file."""
    found = {name: version(name) for name in ("torch", "onnx", "onnxruntime")}
    return {"depthkit": depthkit.__version__, "commit": source_commit(), **found}
