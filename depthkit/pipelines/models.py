# SPDX-License-Identifier: Apache-2.0
"""From whatever names a model to a running engine: the one way of all jobs that infer.

An exported file and a shipped name are opened as they are, without torch. A run folder and a
checkpoint are exported to a temporary file first, with a note: there is one inference path.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from depthkit.errors import CheckpointError, ConfigError, EngineError
from depthkit.runtime.config import SWEEP

if TYPE_CHECKING:
    from depthkit.runtime.config import Backend, Precision, Quality
    from depthkit.runtime.depth.depth_engine import DepthEngine
    from depthkit.runtime.depth.depth_method import DepthMethod
    from depthkit.runtime.flow.flow_engine import FlowEngine
    from depthkit.runtime.network.feature_engine import FeatureEngine
    from depthkit.runtime.network.place_engine import PlaceEngine
    from depthkit.runtime.odometry.odometry_engine import OdometryEngine
    from depthkit.tasks.loaded import LoadedTask

Part = Literal["depth", "pose", "flow", "features", "place"]
NO_NETWORK = (
    "sweep: is depth from several views and has no network; it is for 'depthkit infer', "
    "'depthkit evaluate model', depth_node and depthkit.runtime.SweepStream"
)
Note: TypeAlias = Callable[[str], None]
"""A callback that receives one sentence for the user."""


def ignore(text: str) -> None:
    """Drop a note."""


@dataclass(frozen=True)
class EngineOptions:
    """What an engine runs on."""

    backend: Backend = "auto"
    """Runtime; auto is ONNX Runtime, on a GPU where it has one."""
    threads: int = 1
    """Processor cores of the network and of OpenCV."""
    precision: Precision = "default"
    """Numbers it computes in; default is what the file was exported with."""


PLAIN = EngineOptions()


def engine_options(backend: Backend, threads: int | None, precision: Precision) -> EngineOptions:
    """Put together what an engine runs on; threads None for `default_threads()`."""
    cores = default_threads() if threads is None else threads
    return EngineOptions(backend, cores, precision)


def default_threads() -> int:
    """Return OMP_NUM_THREADS where it is a number, else the cores this process may use."""
    named = os.environ.get("OMP_NUM_THREADS", "")
    if named.isdigit() and int(named) > 0:
        return int(named)
    if hasattr(os, "sched_getaffinity"):  # a container or `taskset` may allow fewer than there are
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_model(
    model: str | Path,
    *,
    part: Part | None = None,
    backend: Backend = "auto",
    threads: int | None = None,
    precision: Precision = "default",
    note: Note = ignore,
) -> DepthEngine | FlowEngine | OdometryEngine | FeatureEngine | PlaceEngine:
    """Open any model as the engine of its kind; use it in a `with` block, or call `close()`.

    Args:
        model: exported .onnx, run folder, checkpoint, or a shipped model's name such as
            "sweepnet-stillbox".
        part: which network of a run that has several; its first one when None.
        backend: runtime; auto is ONNX Runtime, on a GPU where it has one.
        threads: processor cores; OMP_NUM_THREADS, else all usable ones when None.
        precision: numbers to compute in; default is what the file was exported with.
        note: receives a sentence when a run is exported to a temporary file first.

    Returns:
        DepthEngine: `depth(rgb)` of one frame (H, W, 3) uint8 -> depth (H, W); of pairs, give the
            engine to `depthkit.runtime.DepthStream`, which chooses the earlier frames.
        FlowEngine: `flow(rgb, rgb_next)` -> (H, W, 2), pixels.
        OdometryEngine: `process(rgb, stamp=seconds)` -> T_world_cam (4, 4).
        FeatureEngine: called with a picture (H, W) or (H, W, 3) uint8 -> unit descriptors
            (H, W, C).
        PlaceEngine: called with a picture -> one unit descriptor of all of it (D,).

    Raises:
        CheckpointError: there is no such model, or its checkpoint does not load.
        EngineError: the run has no such part, or nothing here can run the file.
    """
    from depthkit.pipelines.checks import check_choice

    check_choice("part", part, get_args(Part))
    path = Path(model)
    options = engine_options(backend, threads, precision)
    kind = part or _first_part(path)
    if kind == "pose":
        return open_odometry(path, options, note=note)
    if kind == "flow":
        return open_flow(path, options, note=note)
    if kind == "features":
        return open_features(path, options, note=note)
    if kind == "place":
        return open_place(path, options, note=note)
    return open_depth(path, options, note=note)


def _first_part(model: Path) -> Part:
    """Tell what an exported file holds, or which network of a run comes first."""
    if not needs_export(model):
        from depthkit.runtime.network.manifest import find_model, read_manifest

        kind = read_manifest(find_model(model)).kind
        return kind if kind in ("pose", "flow", "features", "place") else "depth"
    parts: tuple[Part, ...] = ("depth", "flow", "features", "place", "pose")
    return next((part for part in parts if _has_part(model, part)), "depth")


def open_method(
    model: Path,
    options: EngineOptions = PLAIN,
    *,
    quality: Quality | None = None,
    similarity: str | None = None,
    note: Note = ignore,
) -> DepthMethod:
    """Open what a user names where depth is wanted: a network, or the word sweep.

    Args:
        model: as of `as_onnx`, or the word sweep.
        options: what it runs on; the sweep takes the threads.
        quality: of the sweep; None for normal.
        similarity: of the sweep: census, zncc, or an exported network of kind features; None for
            census.
        note: receives sentences that the user should read.

    Raises:
        ConfigError: a quality or a similarity of a network.
    """
    from depthkit.runtime.depth.depth_method import network_method, sweep_method

    if model == SWEEP:
        return sweep_method(quality or "normal", similarity=similarity or "census", **vars(options))
    given = {"--quality": quality, "--similarity": similarity}
    for name, value in given.items():
        if value is not None:
            raise ConfigError(f"{model}: {name} is for sweep, not for networks")
    return network_method(open_depth(model, options, note=note))


def open_depth(model: Path, options: EngineOptions = PLAIN, *, note: Note = ignore) -> DepthEngine:
    """Open the depth network of a model; see `as_onnx`."""
    from depthkit.runtime.depth.depth_engine import DepthEngine

    with as_onnx(model, note=note) as file:
        return DepthEngine.open(file, **vars(options))


def open_odometry(
    model: Path,
    options: EngineOptions = PLAIN,
    *,
    max_gap: float = 1.0,
    note: Note = ignore,
) -> OdometryEngine:
    """Open the pose network of a model; see `as_onnx`.

    Args:
        model: an exported pose network, or a run that learnt one.
        options: what it runs on.
        max_gap: longest pause between two frames of the stream, seconds.
        note: receives sentences that the user should read.
    """
    from depthkit.runtime.odometry.odometry_engine import OdometryEngine

    with as_onnx(model, part="pose", note=note) as file:
        return OdometryEngine.open(file, **vars(options), max_gap=max_gap)


def open_flow(model: Path, options: EngineOptions = PLAIN, *, note: Note = ignore) -> FlowEngine:
    """Open the flow network of a model; see `as_onnx`."""
    from depthkit.runtime.flow.flow_engine import FlowEngine

    with as_onnx(model, part="flow", note=note) as file:
        return FlowEngine.open(file, **vars(options))


def open_features(
    model: Path, options: EngineOptions = PLAIN, *, note: Note = ignore
) -> FeatureEngine:
    """Open the network of descriptors of a model; see `as_onnx`."""
    from depthkit.runtime.network.feature_engine import FeatureEngine

    with as_onnx(model, part="features", note=note) as file:
        return FeatureEngine.open(file, **vars(options))


def open_place(model: Path, options: EngineOptions = PLAIN, *, note: Note = ignore) -> PlaceEngine:
    """Open the network of places of a model; see `as_onnx`."""
    from depthkit.runtime.network.place_engine import PlaceEngine

    with as_onnx(model, part="place", note=note) as file:
        return PlaceEngine.open(file, **vars(options))


@contextmanager
def as_onnx(model: Path, *, part: Part = "depth", note: Note = ignore) -> Iterator[Path]:
    """Pass on the exported file of a model, for as long as the context lasts.

    Args:
        model: exported .onnx, run folder, checkpoint, or a shipped model's name.
        part: which network of a run that has several.
        note: receives a sentence when a run is exported first.

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
        note(f"{model}: exported to a temporary ONNX file; 'depthkit export' writes one to keep")
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
        CheckpointError: there is no such model, or it is the word sweep.
    """
    from depthkit.runtime.network.manifest import SHIPPED

    if model == SWEEP:
        raise CheckpointError(NO_NETWORK)
    if model.exists():
        return model.is_dir() or model.suffix == ".safetensors"
    is_name = model.parent == Path()
    if is_name and (SHIPPED / f"{model.name}.onnx").is_file():
        return False
    if is_name and (SHIPPED / f"{model.name}.safetensors").is_file():
        return True
    raise CheckpointError(
        f"{model}: no such model; give an exported .onnx, a run or checkpoint folder, a shipped "
        f"name ({', '.join(shipped_names())}), or the word sweep"
    )


def shipped_names() -> list[str]:
    """List the names of the shipped models, exported or as weights."""
    from depthkit.runtime.network.manifest import SHIPPED

    return sorted({file.stem for file in SHIPPED.glob("*") if file.suffix != ".md"})


def has_own_pose(model: Path) -> bool:
    """Whether a model is a run whose pose network can be exported, beside the depth network."""
    return model != SWEEP and needs_export(model) and _has_part(model, "pose")


def _has_part(model: Path, part: Part) -> bool:
    """Whether a part of a run can be exported."""
    from depthkit.export.graphs import build_graph
    from depthkit.tasks.loaded import load_task

    try:
        build_graph(load_task(model), part, dynamic=False)
    except EngineError:
        return False
    return True
