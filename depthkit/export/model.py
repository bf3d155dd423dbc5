# SPDX-License-Identifier: Apache-2.0
"""`depthkit export`, step by step: wrap, export, lower, describe, prove, publish."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch

from depthkit.config.task_kinds import Part
from depthkit.errors import EngineError
from depthkit.export.convert import OPSET, to_onnx
from depthkit.export.describe import describe
from depthkit.export.graphs import Graph, build_graph, fold_normalisation
from depthkit.export.lower import store_half, to_fp16
from depthkit.export.pictures import Views, draw_views
from depthkit.export.quantize import quantize
from depthkit.multiview.plane_sweep import plane_sweep
from depthkit.runtime.network import backend_onnxruntime
from depthkit.runtime.network.backend import Backend, check_parity, open_backend, runnable
from depthkit.runtime.network.manifest import Manifest, Precision, publish_model, write_model
from depthkit.runtime.network.parity import TOLERANCES, Parity, relative_difference, summarize
from depthkit.tasks.loaded import LoadedTask

Inputs = dict[str, np.ndarray]
Outputs = dict[str, np.ndarray]

SMALL = (64, 64)
"""Size of the stored input where it has many planes, pixels: it lies in every file."""
_CALIBRATED = 0.75  # of the int8 tolerance is used up here; other runtimes round otherwise
_JUDGES = 3  # calibration inputs on which int8 is judged, beside the stored one


@dataclass(frozen=True)
class Options:
    """What the user may choose."""

    part: Part = "depth"
    precision: Precision = "fp32"
    dynamic: bool = False
    """H and W free; those of pairs always are."""
    half_weights: bool = False
    """Compute in 32 bits, store weights in 16: half the file."""
    opset: int = OPSET

    def __post_init__(self) -> None:
        if self.half_weights and self.precision != "fp32":
            raise EngineError(
                f"--half-weights stores what computes in fp32 in 16 bits; {self.precision} is "
                "smaller by itself: leave one of the two out"
            )


@dataclass(frozen=True)
class Exported:
    """What has been written."""

    path: Path
    manifest: Manifest
    bytes: int
    parities: tuple[Parity, ...]
    """Parity of the stored input, on each backend of this machine."""
    shapes_worst: float
    """Largest relative difference from torch for other batches, and sizes if free; ONNX Runtime."""
    rounding: tuple[float, float] | None
    """Worst and median relative change by weights in 16 bits; None where they were not rounded."""
    in_8_bits: tuple[int, int] | None
    """(int8 convolutions, all convolutions); None if not quantised."""


def export_model(
    loaded: LoadedTask,
    out: Path,
    options: Options = Options(),  # noqa: B008 (frozen)
    *,
    calibration: Callable[[Manifest], list[Inputs]] | None = None,
) -> Exported:
    """Write one ONNX file with its manifest, and the JSON beside it: proven, or not at all.

    Args:
        loaded: a trained task; its networks are changed on the way.
        out: the file, replaced where it exists.
        options: what to write.
        calibration: for int8: reads inputs as the model of this manifest gets them at work.

    Raises:
        EngineError: there is no such part, torch cannot export it, or a backend of this machine
            does not answer as torch does.
    """
    graph = build_graph(loaded, options.part, dynamic=options.dynamic)
    if options.precision == "int8" and calibration is None:
        raise EngineError("int8 needs to know what the network sees; give --calibration SEQUENCE")
    inputs = draw_inputs(graph, SMALL if graph.planes else loaded.config.data.size)
    rounding = _round_weights(graph, inputs) if options.half_weights else None
    manifest = describe(
        loaded, graph, inputs, run_torch(graph, inputs), options.precision, options.opset
    )
    frames = [inputs, *calibration(manifest)] if calibration is not None else [inputs]
    twice = {name: np.concatenate([array, array]) for name, array in inputs.items()}
    model = to_onnx(graph, twice, opset=options.opset)
    in_8_bits = None
    if options.precision == "fp16":
        model = to_fp16(model)
    elif options.precision == "int8":
        model, in_8_bits = _quantize(graph, model, frames)
    elif options.half_weights:
        model = store_half(model)
    data = model.SerializeToString()
    parities, shapes_worst = _prove_and_publish(graph, out, manifest, data)
    size = out.stat().st_size
    return Exported(out, manifest, size, parities, shapes_worst, rounding, in_8_bits)


def draw_inputs(graph: Graph, size: tuple[int, int], *, seed: int = 0) -> Inputs:
    """Draw a picture, or two and what lies between them, for a graph. One of each, (H, W)"""
    views = draw_views(size, seed=seed)
    pictures = dict(zip(graph.inputs, views, strict=False))  # a single frame is the earlier one
    if graph.planes:
        pictures["volume"] = _draw_volume(views, graph.planes)
    return {name: array[None] for name, array in pictures.items()}


def _draw_volume(views: Views, planes: tuple[float, ...]) -> np.ndarray:
    """Sweep the two views: a camera of 90 degrees that went 0.3 m to the right. (P, H, W) uint8"""
    height, width = views.later.shape[:2]
    K = np.array([[width / 2, 0, (width - 1) / 2], [0, width / 2, (height - 1) / 2], [0, 0, 1]])
    return plane_sweep(
        views.earlier,
        views.later,
        t_previous_current=np.array([0.3, 0, 0]),
        K=K,
        inverse_depths=np.array(planes),
    )


@torch.no_grad()
def run_torch(graph: Graph, inputs: Inputs) -> Outputs:
    """Return the answers of torch, in 32 bits."""
    graph.module.eval()
    answers = graph.module(*(torch.from_numpy(inputs[name]) for name in graph.inputs))
    answers = answers if isinstance(answers, tuple) else (answers,)
    return {
        name: answer.float().numpy() for name, answer in zip(graph.outputs, answers, strict=True)
    }


@torch.no_grad()
def _round_weights(graph: Graph, inputs: Inputs) -> tuple[float, float]:
    """Round the weights of convolutions to 16 bits, and measure what that changes."""
    before = run_torch(graph, inputs)
    for weight in graph.module.parameters():
        if weight.ndim >= 2:
            weight.copy_(weight.half())
    if not all(weight.isfinite().all() for weight in graph.module.parameters()):
        raise EngineError("a weight is too large for 16 bits; export without --half-weights")
    fold_normalisation(graph.module)
    worst, median = difference(run_torch(graph, inputs), before)
    if not median <= TOLERANCES["fp16"]:
        raise EngineError(
            f"weights in 16 bits change the answer by {median:.2g} (median, relative), allowed "
            f"{TOLERANCES['fp16']:.2g}; export without --half-weights"
        )
    return worst, median


def difference(now: Outputs, then: Outputs) -> tuple[float, float]:
    """Return the worst and the median relative difference; see `summarize`.

    Args:
        now: by output: motions (N, 6), depths or log odds (N, H, W), flows (N, 2, H, W).
        then: the same.
    """
    return summarize(
        {
            name: np.concatenate(
                [
                    relative_difference(name, a.ravel(), b.ravel())
                    for a, b in zip(now[name], answer, strict=True)
                ]
            )
            for name, answer in then.items()
        }
    )


def _quantize(
    graph: Graph, model: onnx.ModelProto, frames: list[Inputs]
) -> tuple[onnx.ModelProto, tuple[int, int]]:
    """Put convolutions into 8 bits; the stored input and some of the calibration's are judges."""
    judges = [frames[0], *frames[1 :: max(1, len(frames) // _JUDGES)]]
    truths = [run_torch(graph, inputs) for inputs in judges]

    def measure(small: onnx.ModelProto) -> float:
        compute, _, _ = backend_onnxruntime.load(
            small.SerializeToString(),
            own="int8",
            device="onnxruntime",
            threads=1,
            precision="default",
        )
        pairs = zip(judges, truths, strict=True)
        return max(difference(compute(one), truth)[1] for one, truth in pairs)

    return quantize(model, frames, measure, allowed=_CALIBRATED * TOLERANCES["int8"])


def _prove_and_publish(
    graph: Graph, out: Path, manifest: Manifest, model: bytes
) -> tuple[tuple[Parity, ...], float]:
    """Write under another name, run it on all backends, rename if all hold."""
    partial = out.with_name(f".{out.stem}.partial.onnx")
    try:
        write_model(partial, manifest, model)
        parities = tuple(_parity(partial, *case) for case in runnable())
        for parity in parities:
            if not parity.holds:
                raise EngineError(f"{out}: not written: {parity}")
        backend = open_backend(partial, backend="onnxruntime")
        try:
            shapes_worst = _check_shapes(graph, backend)
        finally:
            backend.close()
        publish_model(partial, out)
    finally:
        partial.unlink(missing_ok=True)
        partial.with_suffix(".json").unlink(missing_ok=True)
    return parities, shapes_worst


def _parity(path: Path, backend: str, precision: str) -> Parity:
    opened = open_backend(path, backend=backend, precision=precision)
    try:
        return check_parity(opened)
    finally:
        opened.close()


def _check_shapes(graph: Graph, backend: Backend) -> float:
    """Run two at once, of another size where that is free, through torch and ONNX Runtime.

    Raises:
        EngineError: they disagree, so that sizes of the training were baked into the graph.
    """
    height, width = backend.manifest.size
    if graph.dynamic:
        height, width = height + 21, width + 34  # multiples of nothing
    pictures = [draw_inputs(graph, (height, width), seed=seed) for seed in (1, 2)]
    inputs = {name: np.concatenate([one[name] for one in pictures]) for name in graph.inputs}
    now, then = backend.run(inputs), run_torch(graph, inputs)
    for name, answer in then.items():
        if now[name].shape != answer.shape:
            gives = f"{name} of {now[name].shape}, torch of {answer.shape}"
            raise EngineError(f"two inputs of {height}x{width} give {gives}")
    worst, median = difference(now, then)
    precision = backend.manifest.precision
    measured, allowed = (worst if precision == "fp32" else median), TOLERANCES[precision]
    if not measured <= allowed:
        raise EngineError(
            f"two inputs of {width}x{height} differ from torch by {measured:.2g} (relative), "
            f"allowed {allowed:.2g}; not written"
        )
    return worst
