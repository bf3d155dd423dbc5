# SPDX-License-Identifier: Apache-2.0
"""The figures of `depthkit demo --train`: the untrained networks, the trained ones, and a guess."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from depthkit.config import TrainConfig
from depthkit.data.sequence import Dataset, Sequence, open_dataset
from depthkit.errors import DataError
from depthkit.evaluation.baselines import constant_depth, constant_motion, mean_motion
from depthkit.evaluation.depth import DepthProtocol, DepthReport, score_depth
from depthkit.evaluation.odometry import OdometryScore, score_odometry
from depthkit.pipelines.models import EngineOptions, exported
from depthkit.pipelines.score.frames import depth_of_frame
from depthkit.runtime.depth.depth_engine import DepthEngine
from depthkit.runtime.odometry.odometry_engine import OdometryEngine
from depthkit.trajectory import Trajectory

if TYPE_CHECKING:
    from depthkit.tasks.loaded import LoadedTask


@dataclass(frozen=True)
class Figures:
    """Means over the test flights; None where there is nothing to align."""

    abs_rel_untrained: float
    abs_rel_trained: float
    abs_rel_constant: float
    """abs_rel of the constant depth that is best on the test flights themselves."""
    a1_untrained: float
    a1_trained: float
    a1_constant: float
    ate_untrained: float | None
    ate_trained: float | None
    ate_mean_motion: float | None
    """ATE of repeating the mean motion of the training flights."""
    snippet_ate_untrained: float | None
    snippet_ate_trained: float | None
    snippet_ate_mean_motion: float | None


@dataclass(frozen=True)
class Row:
    """One line of the table: a label and its untrained, trained and baseline figures."""

    label: str
    keys: tuple[str, str, str]


def _row(label: str, name: str, baseline: str) -> Row:
    return Row(label, (f"{name}_untrained", f"{name}_trained", f"{name}_{baseline}"))


FIGURE_ROWS = (
    _row("depth abs_rel (less is better)", "abs_rel", "constant"),
    _row("depth a1, share within 25 %", "a1", "constant"),
    _row("odometry ATE, 7dof, m", "ate", "mean_motion"),
    _row("odometry 5-frame ATE, m", "snippet_ate", "mean_motion"),
)


@dataclass(frozen=True)
class Networks:
    """Both networks of a run at work."""

    depth: DepthEngine
    motion: OdometryEngine


@dataclass(frozen=True)
class TrainingResult:
    """The figures, and what pictures are drawn from."""

    figures: Figures
    depth: DepthReport
    """Depth score of the trained network."""
    motion: OdometryScore
    """Motion score of the trained network on the first test flight."""
    untrained: Networks
    trained: Networks
    test: tuple[Sequence, ...]


def score_training(out: Path, config: TrainConfig) -> TrainingResult:
    """Score the run of a demo on its test flights.

    Args:
        out: the demo's folder, with world/ and run/.
        config: what was trained.
    """
    from depthkit.tasks.loaded import load_task

    dataset = open_dataset(config.data.root)
    test = tuple(dataset.open(name) for name in dataset.test)
    trained = open_networks(lambda: load_task(out / "run"), config)
    untrained = open_networks(lambda: untrained_task(load_task(out / "run")), config)
    before, after = (_score_depth(_predictions(nets.depth, test)) for nets in (untrained, trained))
    truths = [flight.read_depth(i) for flight in test for i in range(len(flight))]
    constant = constant_depth(truths, DepthProtocol())
    blind = _score_depth(((np.full(gt.shape, constant), gt) for gt in truths), align="none")
    motions = [
        [_score_motion(_chain(nets.motion, flight), flight) for flight in test]
        for nets in (untrained, trained)
    ]
    repeated = mean_motion([_reference(flight) for flight in _training(dataset)])
    motions += [[_score_motion(constant_motion(f.times, repeated), f) for f in test]]
    ate = [_mean([s.ate_m for s in scores if s]) for scores in motions]
    snippet = [_mean([float(s.snippets.sfmlearner.mean()) for s in m if s]) for m in motions]
    if motions[1][0] is None:
        raise DataError(f"{test[0].name}: the trained network sees no motion; train longer")
    figures = Figures(
        before.abs_rel, after.abs_rel, blind.abs_rel, before.a1, after.a1, blind.a1, *ate, *snippet
    )
    return TrainingResult(figures, after, motions[1][0], untrained, trained, test)


def open_networks(load: Callable[[], LoadedTask], config: TrainConfig) -> Networks:
    """Export both networks of a task and open them; each export gets a task of its own."""
    options = vars(EngineOptions(threads=config.run.threads or 1))
    with exported(load(), "depth") as file:
        depth = DepthEngine.open(file, **options)
    with exported(load(), "pose") as file:
        return Networks(depth, OdometryEngine.open(file, **options))


def untrained_task(trained: LoadedTask) -> LoadedTask:
    """Return the networks as they were before the first step."""
    import torch

    from depthkit.tasks import build_task

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trained.config.run.seed)
        return replace(trained, task=build_task(trained.config, trained.shifts).eval())


def _predictions(
    engine: DepthEngine, test: tuple[Sequence, ...]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pass on prediction and truth of every frame. (H, W) each"""
    for flight in test:
        for i in range(len(flight)):
            yield depth_of_frame(engine, flight, i), flight.read_depth(i)


def _score_depth(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]], align: str = "median"
) -> DepthReport:
    return score_depth(pairs, align=align)


def _chain(engine: OdometryEngine, flight: Sequence) -> Trajectory:
    """Chain the predicted motions of neighbouring frames."""
    engine.reset()
    frames = ((flight.read_frame(i), float(flight.times[i])) for i in range(len(flight)))
    poses = [engine.process(rgb, stamp=time).T_world_cam for rgb, time in frames]
    return Trajectory(flight.times, np.stack(poses))


def _score_motion(estimate: Trajectory, flight: Sequence) -> OdometryScore | None:
    """Score a flight's motion; None for an estimate that does not move."""
    try:
        return score_odometry(_reference(flight), estimate, mode="7dof")
    except DataError:
        return None


def _reference(flight: Sequence) -> Trajectory:
    if flight.poses is None:
        raise DataError(f"{flight.name}: has no poses to score against")
    return Trajectory(flight.times, flight.poses)


def _training(dataset: Dataset) -> list[Sequence]:
    return [dataset.open(name) for name in dataset.train]


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None
