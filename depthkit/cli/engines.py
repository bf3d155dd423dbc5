# SPDX-License-Identifier: Apache-2.0
"""From whatever names a model to a running engine: the one way of all verbs that infer.

An exported file and a shipped name are opened as they are, without torch. A run folder and a
checkpoint are exported to a temporary file first, and that is said: there is one inference path.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from depthkit.errors import CheckpointError, EngineError

if TYPE_CHECKING:
    from depthkit.runtime.depth.depth_engine import DepthEngine
    from depthkit.runtime.flow.flow_engine import FlowEngine
    from depthkit.runtime.odometry.odometry_engine import OdometryEngine
    from depthkit.tasks.loaded import LoadedTask

BACKENDS = ("auto", "onnxruntime", "openvino", "cuda", "tensorrt")
PRECISIONS = ("default", "fp32", "bf16", "fp16")
RULES = ("fixed", "best_of_n", "nearest", "feedback", "multi_range")
MODEL_HELP = "exported .onnx, run folder, checkpoint, or a shipped model's name"

Part = Literal["depth", "pose", "flow"]


@dataclass(frozen=True)
class EngineOptions:
    """What an engine runs on."""

    backend: str = "auto"
    """One of BACKENDS."""
    threads: int = 1
    """Processor cores of the network and of OpenCV."""
    precision: str = "default"
    """One of PRECISIONS."""


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where the network runs."""
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default="auto",
        help="auto: ONNX Runtime, on a GPU where it has one (default: auto)",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="default",
        help="numbers it computes in; default: those of the file",
    )
    add_threads(parser)


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Declare the number of processor cores."""
    parser.add_argument(
        "--threads",
        type=positive,
        default=default_threads(),
        metavar="N",
        help="processor cores (default: OMP_NUM_THREADS, else all usable: here %(default)s)",
    )


def engine_options(args: argparse.Namespace) -> EngineOptions:
    """Read the arguments that `add_engine_arguments` declared."""
    return EngineOptions(args.backend, args.threads, args.precision)


def default_threads() -> int:
    """Return OMP_NUM_THREADS where it is a number, else the cores this process may use."""
    named = os.environ.get("OMP_NUM_THREADS", "")
    if named.isdigit() and int(named) > 0:
        return int(named)
    if hasattr(os, "sched_getaffinity"):  # a container or `taskset` may allow fewer than there are
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def positive(text: str) -> int:
    """Read a whole number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {value}")
    return value


def open_depth(model: Path, options: EngineOptions = EngineOptions()) -> DepthEngine:  # noqa: B008
    """Open the depth network of a model; see `as_onnx`."""
    from depthkit.runtime.depth.depth_engine import DepthEngine

    with as_onnx(model) as file:
        return DepthEngine.open(file, **vars(options))


def open_odometry(
    model: Path,
    options: EngineOptions = EngineOptions(),  # noqa: B008
    *,
    max_gap: float = 1.0,
) -> OdometryEngine:
    """Open the pose network of a model; see `as_onnx`.

    Args:
        model: an exported pose network, or a run that learnt one.
        options: what it runs on.
        max_gap: longest pause between two frames of the stream, seconds.
    """
    from depthkit.runtime.odometry.odometry_engine import OdometryEngine

    with as_onnx(model, part="pose") as file:
        return OdometryEngine.open(file, **vars(options), max_gap=max_gap)


def open_flow(model: Path, options: EngineOptions = EngineOptions()) -> FlowEngine:  # noqa: B008
    """Open the flow network of a model; see `as_onnx`."""
    from depthkit.runtime.flow.flow_engine import FlowEngine

    with as_onnx(model, part="flow") as file:
        return FlowEngine.open(file, **vars(options))


@contextmanager
def as_onnx(model: Path, *, part: Part = "depth") -> Iterator[Path]:
    """Pass on the exported file of a model, for as long as the context lasts.

    Args:
        model: see MODEL_HELP.
        part: which network of a run that has several.

    Raises:
        CheckpointError: there is no such model, or its checkpoint does not load.
        EngineError: the run has no such part, or its network cannot be exported.
    """
    if not needs_export(model):
        from depthkit.runtime.network.manifest import find_model

        yield find_model(model)
        return
    from depthkit.tasks.loaded import load_task

    with exported(load_task(model), part) as file:
        line = f"{model}: exported to a temporary ONNX file; 'depthkit export' writes one to keep"
        print(f"note: {line}", file=sys.stderr, flush=True)
        yield file


@contextmanager
def exported(loaded: LoadedTask, part: Part) -> Iterator[Path]:
    """Export a part of a trained task to a temporary file."""
    from depthkit.export.model import Options, export_model

    with TemporaryDirectory(prefix="depthkit_") as folder:
        file = Path(folder) / f"{loaded.file.stem}.onnx"
        export_model(loaded, file, Options(part=part))
        yield file


def needs_export(model: Path) -> bool:
    """Whether a model is weights of torch: a run folder, a checkpoint, or shipped as such.

    Raises:
        CheckpointError: there is no such model.
    """
    from depthkit.runtime.network.manifest import SHIPPED

    if model.exists():
        return model.is_dir() or model.suffix == ".safetensors"
    is_name = model.parent == Path()
    if is_name and (SHIPPED / f"{model.name}.onnx").is_file():
        return False
    if is_name and (SHIPPED / f"{model.name}.safetensors").is_file():
        return True
    names = sorted({file.stem for file in SHIPPED.glob("*") if file.suffix != ".md"})
    raise CheckpointError(
        f"{model}: no such model; give an exported .onnx, a run or checkpoint folder, or a shipped "
        f"name ({', '.join(names)})"
    )


def has_own_pose(model: Path) -> bool:
    """Whether a model is a run that learnt, beside depth, motion that a robot can ask for."""
    if not needs_export(model):
        return False
    from depthkit.export.graphs import build_graph
    from depthkit.tasks.loaded import load_task

    try:
        build_graph(load_task(model), "pose", dynamic=False)
    except EngineError:
        return False
    return True
