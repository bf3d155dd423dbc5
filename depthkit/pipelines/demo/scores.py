# SPDX-License-Identifier: Apache-2.0
"""The flights of `depthkit demo`, and how well the shipped networks know their depth.

Everything is scored in metres as the networks say it. Beside them stand the best constants, chosen
on the scored frames themselves, and for pairs what classical flow makes of the same motion.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depthkit.data.sequence import Sequence, open_sequence
from depthkit.errors import CheckpointError, DataError
from depthkit.evaluation.depth import DepthProtocol, score_depth
from depthkit.evaluation.pairs import score_best_constants
from depthkit.pipelines.models import EngineOptions, default_threads, open_depth
from depthkit.pipelines.score.frames import depth_of_frame
from depthkit.pipelines.score.pairs import EnginePairs, Row, Setting, predict, read_truth, score_row
from depthkit.runtime.depth.depth_engine import DepthEngine
from depthkit.runtime.network import manifest
from depthkit.synth.colon import DEPTH_RANGE as COLON_RANGE
from depthkit.synth.generate import SynthPlan, generate

PAIR_WEIGHTS, FRAME_WEIGHTS = "sweepnet-stillbox", "shading-colon"
FIRST_SEED = 900  # of the flights of seed 0; training takes far smaller ones
COLUMNS = ("network", "classical", "best constant")
UNSCALED = (
    "Nothing is scaled to the truth, by the median or otherwise: depths are metres as predicted.\n"
    "The best constant is chosen for each figure on these very frames."
)


@dataclass(frozen=True)
class Flights:
    """How much is rendered of a world."""

    count: int
    frames: int
    """Frames per flight."""


# In 11 frames of 0.06 m every frame has another one 0.3 m before or behind it.
FLIGHTS = {"stillbox": Flights(6, 11), "colon": Flights(6, 4)}
SHOWN = 3  # flights of each world of which a picture is drawn


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    key: str
    label: str
    network: float
    constant: float
    classical: float | None = None
    """None where there is no classical answer."""

    def values(self) -> tuple[float, float | None, float]:
        """Return the figures in the order of COLUMNS."""
        return self.network, self.classical, self.constant


@dataclass(frozen=True)
class Shown:
    """What a picture is drawn from."""

    name: str
    title: str
    image: np.ndarray
    """(H, W, 3) uint8"""
    depth: np.ndarray
    """Predicted, metres. (H, W)"""
    truth: np.ndarray
    """Metres, 0 = unknown. (H, W)"""


@dataclass(frozen=True)
class Result:
    """What came out of one network."""

    world: str
    weights: str
    title: str
    frames: int
    """Scored."""
    figures: tuple[Figure, ...]
    shown: tuple[Shown, ...]

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        names = ("network", "classical", "constant")
        figures = {f.key: dict(zip(names, f.values(), strict=True)) for f in self.figures}
        return {"weights": self.weights, "frames": self.frames} | figures


def open_shipped() -> tuple[DepthEngine, DepthEngine]:
    """Open the network of pairs and that of single frames.

    Raises:
        CheckpointError: weights are not where they were installed.
    """
    pairs, frames = _open(PAIR_WEIGHTS), _open(FRAME_WEIGHTS)
    for name, engine, kind in ((PAIR_WEIGHTS, pairs, "pair"), (FRAME_WEIGHTS, frames, "mono")):
        if engine.kind != kind:
            raise CheckpointError(f"{name}: a network of another kind; install depthkit again")
    return pairs, frames


def _open(name: str) -> DepthEngine:
    path = manifest.SHIPPED / f"{name}.onnx"
    if not path.is_file() and not path.with_suffix(".safetensors").is_file():
        raise CheckpointError(
            f"{path}: no such weights; install depthkit again, or see 'depthkit demo --train'"
        )
    return open_depth(Path(name), EngineOptions(threads=default_threads()))


def write_flights(root: Path, world: str, size: tuple[int, int], *, seed: int) -> list[Sequence]:
    """Render the flights of a world.

    Args:
        root: data set folder to make.
        world: a key of FLIGHTS.
        size: (H, W), pixels.
        seed: same seed, same flights.
    """
    flights = FLIGHTS[world]
    plan = SynthPlan(
        world=world,
        out=root,
        scenes=flights.count,
        frames=flights.frames,
        size=size,
        seed=FIRST_SEED + seed,
        split="test",
        truth=False,
    )
    return [open_sequence(root / name) for name in generate(plan, lambda _: None)]


def score_pairs(engine: DepthEngine, flights: list[Sequence]) -> Result:
    """Score the network of pairs at its nominal baseline.

    Raises:
        DataError: no two frames lie that far apart.
    """
    model = EnginePairs(engine)
    baseline, far = model.nominal_baseline, model.max_depth
    row = score_row(model, flights, Setting(baseline=baseline), DepthProtocol(max_depth=far))
    network, classical, constant = (row.scores[k] for k in ("model", "classical", "constant"))
    if network is None or classical is None or constant is None:
        raise DataError(f"{flights[0].root}: no two frames are {baseline:g} m apart to be scored")
    labels = {
        "mae_m_at_d0": f"mean error, {far:g} m at most, m",
        "abs_rel": "abs_rel (less is better)",
    }
    figures = [
        Figure(key, label, *(getattr(score, key) for score in (network, constant, classical)))
        for key, label in labels.items()
    ]
    title = f"{PAIR_WEIGHTS}: {len(row.cases)} pairs of frames, {row.baseline:.3g} m apart"
    shown = [_show_pair(model, row, flight) for flight in flights[:SHOWN]]
    return Result("stillbox", PAIR_WEIGHTS, title, len(row.cases), tuple(figures), tuple(shown))


def score_frames(engine: DepthEngine, flights: list[Sequence]) -> Result:
    """Score the network of single frames."""
    protocol = DepthProtocol(max_depth=COLON_RANGE)
    frames = [(flight, i) for flight in flights for i in range(len(flight))]
    truths = [(read_truth(flight, i), 1.0) for flight, i in frames]
    depths = (depth_of_frame(engine, flight, i) for flight, i in frames)
    report = score_depth(zip(depths, (gt for gt, _ in truths), strict=True), **vars(protocol))
    constant = score_best_constants(truths, far=COLON_RANGE, protocol=protocol)
    if constant is None:
        raise DataError(f"{flights[0].root}: no pixel has a truth to be scored")
    figures = (
        Figure("a1", "a1, share within 25 %", report.a1, constant.a1),
        Figure("rmse_cm", "RMSE, cm", 100 * report.rmse, 100 * constant.rmse),
    )
    title = f"{FRAME_WEIGHTS}: {report.frames} single frames of the highest level"
    shown = [_show_frame(engine, flight) for flight in flights[:SHOWN]]
    return Result("colon", FRAME_WEIGHTS, title, report.frames, figures, tuple(shown))


def _show_frame(engine: DepthEngine, flight: Sequence) -> Shown:
    """Take the last frame of a flight."""
    i = len(flight) - 1
    image = flight.read_frame(i)
    name, title = f"{flight.name}_{i:06d}", f"{flight.name}, frame {i}"
    depth = depth_of_frame(engine, flight, i)
    return Shown(name, title, image, depth, read_truth(flight, i))


def _show_pair(model: EnginePairs, row: Row, flight: Sequence) -> Shown:
    """Take the last pair of a flight."""
    case = [case for case in row.cases if case.sequence is flight][-1]
    pair, (target, source) = case.pair, case.read_frames()
    return Shown(
        f"{flight.name}_{pair.target:06d}",
        f"{flight.name}, frame {pair.target} seen with {pair.source}, {pair.baseline:.3g} m apart",
        target,
        predict(model, case, target, source),
        case.read_truth(),
    )
