# SPDX-License-Identifier: Apache-2.0
"""Scores of a pair network over baselines, beside the classical answer and the best constant."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np

from depthkit.data.sequence import Sequence
from depthkit.errors import DataError, EngineError
from depthkit.evaluation.depth import DepthProtocol
from depthkit.evaluation.pairs import (
    MAX_ROTATION,
    Pair,
    PairScore,
    mean_score,
    pairs_at_baseline,
    pairs_at_shift,
    score_best_constants,
    score_pair,
)
from depthkit.multiview.classical import classical_depth
from depthkit.runtime.depth.depth_engine import DepthEngine
from depthkit.runtime.depth.one_pair import LEAST_MOTION, depth_of_pair
from depthkit.trajectory import inverse

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Multiples of the nominal baseline: the default rows of the table."""

METHODS = {
    "model": "model",
    "classical": "classical",
    "constant": "best constant",
    "model_where_measured": "model, *",
    "classical_where_measured": "classical, *",
}
"""Key in the JSON object and name in the table; * = pixels that the classical answer measured."""


class PairModel(Protocol):
    """What is scored; `EnginePairs` is one."""

    @property
    def nominal_baseline(self) -> float:
        """Metres."""

    @property
    def max_depth(self) -> float:
        """Farthest depth it knows at the nominal baseline, metres."""

    def depth(
        self,
        rgb_previous: np.ndarray,
        rgb_current: np.ndarray,
        *,
        K: np.ndarray,
        T_current_previous: np.ndarray,
    ) -> np.ndarray:
        """Return the metric depth of the current frame. (H, W)"""


@dataclass(frozen=True)
class EnginePairs:
    """A pair network run on one pair at a time; pixels at its far end are scored too."""

    engine: DepthEngine

    @property
    def nominal_baseline(self) -> float:
        """Metres."""
        return float(self.engine.manifest.nominal_baseline or 0)

    @property
    def max_depth(self) -> float:
        """Farthest depth it knows at the nominal baseline, metres."""
        return float(self.engine.manifest.max_depth or 0)

    def depth(
        self,
        rgb_previous: np.ndarray,
        rgb_current: np.ndarray,
        *,
        K: np.ndarray,
        T_current_previous: np.ndarray,
    ) -> np.ndarray:
        """Return the metric depth of the current frame. (H, W)"""
        pair = rgb_previous, rgb_current
        result = depth_of_pair(self.engine, *pair, K=K, T_current_previous=T_current_previous)
        if result.depth is None:
            raise EngineError(f"no depth of a pair: {result.reason}")
        return result.depth


@dataclass(frozen=True)
class Setting:
    """One row of the table: how targets are paired."""

    baseline: float | None = None
    """Metres."""
    shift: int | None = None
    """Frames; one of the two is given."""

    def pairs(self, T_world_cam: np.ndarray) -> list[Pair]:
        """Pair the frames of a sequence."""
        if self.baseline is not None:
            return pairs_at_baseline(T_world_cam, self.baseline)
        return pairs_at_shift(T_world_cam, self.shift or 0)


@dataclass(frozen=True)
class Case:
    """A pair of a sequence, to be read when needed."""

    sequence: Sequence
    pair: Pair

    def read_truth(self) -> np.ndarray:
        """Read the target's depth, metres, 0 = unknown or no image. (H, W)"""
        return read_truth(self.sequence, self.pair.target)

    def read_frames(self) -> tuple[np.ndarray, np.ndarray]:
        """Read target and source. (H, W, 3) uint8 each"""
        sequence, pair = self.sequence, self.pair
        return sequence.read_frame(pair.target), sequence.read_frame(pair.source)


@dataclass(frozen=True)
class Row:
    """The scores of one setting."""

    setting: Setting
    frames: int
    """Targets that could have been scored: those with a pose."""
    cases: tuple[Case, ...]
    """Scored pairs."""
    scores: dict[str, PairScore | None]
    """Score of each of METHODS; None where there was nothing to score."""
    errors: tuple[float, ...] = field(repr=False, default=())
    """abs_rel of the model, one a case."""

    def as_json(self, nominal_baseline: float) -> dict[str, Any]:
        """Return plain values."""
        wanted = self.setting.baseline
        return {
            "shift": self.setting.shift,
            "factor": None if wanted is None else wanted / nominal_baseline,
            "baseline_m": self.baseline,
            "rotation_deg": self.rotation_deg,
            "pairs": len(self.cases),
            "frames": self.frames,
            "coverage": self.coverage,
        } | {key: score and asdict(score) for key, score in self.scores.items()}

    @property
    def coverage(self) -> float:
        """Share of the targets that were scored."""
        return len(self.cases) / max(1, self.frames)

    @property
    def baseline(self) -> float | None:
        """Mean of the scored pairs, metres; None without pairs."""
        return self._mean([case.pair.baseline for case in self.cases])

    @property
    def rotation_deg(self) -> float | None:
        """Mean angle between the views of the scored pairs, degrees; None without pairs."""
        return self._mean([np.degrees(case.pair.rotation) for case in self.cases])

    @staticmethod
    def _mean(values: list[float]) -> float | None:
        return float(np.mean(values)) if values else None


def read_truth(sequence: Sequence, frame: int) -> np.ndarray:
    """Read depth, metres, 0 = unknown or no image. (H, W) float32"""
    depth, valid = sequence.read_depth(frame), sequence.read_valid()
    return depth if valid is None else np.where(valid, depth, np.float32(0))


def score_row(
    model: PairModel,
    sequences: list[Sequence],
    setting: Setting,
    protocol: DepthProtocol,
    *,
    every: int = 1,
    watch: Callable[[list[Case]], Iterator[Case]] = iter,
) -> Row:
    """Score all pairs of one setting.

    Args:
        model: the pair network.
        sequences: with poses and depth, metres.
        setting: how frames are paired.
        protocol: range and alignment.
        every: take every n-th target.
        watch: passes the cases on, with a progress bar for instance.

    Pairs with less motion or more rotation than a robot would take lower the coverage.
    """
    least = LEAST_MOTION * model.nominal_baseline
    cases = [
        Case(sequence, pair)
        for sequence in sequences
        for pair in setting.pairs(_poses(sequence))
        if pair.target % every == 0 and pair.baseline >= least and pair.rotation <= MAX_ROTATION
    ]
    frames = sum(int(np.isfinite(_poses(s)[::every]).all(axis=(1, 2)).sum()) for s in sequences)
    found: dict[str, list[PairScore]] = {key: [] for key in METHODS}
    scored = []
    for case in watch(cases):
        scores = score_case(model, case, protocol)
        for key, score in scores.items():
            found[key] += [score] if score is not None else []
        if scores["model"] is not None:
            scored.append((case, scores["model"].abs_rel))
    means = {key: mean_score(scores) for key, scores in found.items()}
    means["constant"] = score_constant(model, [case for case, _ in scored], protocol)
    return Row(
        setting, frames, tuple(c for c, _ in scored), means, errors=tuple(e for _, e in scored)
    )


def score_case(
    model: PairModel, case: Case, protocol: DepthProtocol
) -> dict[str, PairScore | None]:
    """Score the model and the classical answer on one pair."""
    gt, (target, source), pair = case.read_truth(), case.read_frames(), case.pair
    to_nominal = model.nominal_baseline / pair.baseline
    pred = predict(model, case, target, source)
    classical, measured = classical_depth(
        target,
        source,
        pair.T_source_target,
        K=case.sequence.camera.K,
        max_depth=model.max_depth / to_nominal,
    )
    score = partial(score_pair, to_nominal=to_nominal, far=model.max_depth, protocol=protocol)
    return {
        "model": score(pred, gt, None),
        "classical": score(classical, gt, None),
        "model_where_measured": score(pred, gt, measured),
        "classical_where_measured": score(classical, gt, measured),
    }


def score_constant(
    model: PairModel, cases: list[Case], protocol: DepthProtocol
) -> PairScore | None:
    """Score the best constants over the scored pairs."""
    truths = _Truths(cases, model.nominal_baseline)
    if not cases:
        return None
    return score_best_constants(truths, far=model.max_depth, protocol=protocol)


def predict(model: PairModel, case: Case, target: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Let the model see a pair: the target is its current frame, the source the previous one."""
    return model.depth(
        source,
        target,
        K=case.sequence.camera.K,
        T_current_previous=inverse(case.pair.T_source_target),
    )


@dataclass(frozen=True)
class _Truths:
    """The truths of cases, read anew in each pass, with D0 / |t|."""

    cases: list[Case]
    nominal_baseline: float

    def __iter__(self) -> Iterator[tuple[np.ndarray, float]]:
        for case in self.cases:
            yield case.read_truth(), self.nominal_baseline / case.pair.baseline


def _poses(sequence: Sequence) -> np.ndarray:
    if sequence.poses is None:
        raise DataError(
            f"{sequence.root}: has no poses.txt; the scale of a pair's depth is its known motion"
        )
    return sequence.poses
