# SPDX-License-Identifier: Apache-2.0
"""Scores of optical flow: end-point error, and the outliers of KITTI 2015 (Fl).

All pixels of all frames count the same (pooled, as in KITTI's devkit), so the score of all pixels
is exactly the weighted mean of the seen and the occluded ones. Beside it stands the mean over
frames of each frame's error, as papers on Sintel and Middlebury print it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from depthkit.errors import DataError, check_shape

OUTLIER_PIXELS = 3.0
OUTLIER_SHARE = 0.05
"""An outlier is off by more than 3 px AND by more than 5 % of the true length [Menze 2015]."""

PARTS = {
    "all": "every pixel with a truth",
    "noc": "seen in the other frame too",
    "occ": "hidden in the other frame, or outside it",
    "moving": "on bodies that move by themselves",
    "static": "on all others",
    "moving_noc": "on moving bodies, seen in the other frame too",
}


@dataclass(frozen=True)
class FlowTruth:
    """Ground truth of the flow of a frame."""

    flow: np.ndarray
    """Pixels (u, v), NaN where unknown. (H, W, 2)"""
    occluded: np.ndarray | None = None
    """Occluded pixels, without a partner in the other frame; None if unknown. (H, W) bool"""
    moving: np.ndarray | None = None
    """Pixels on independently moving bodies; None if unknown. (H, W) bool"""


@dataclass(frozen=True)
class FlowScore:
    """Errors of the scored pixels; None where no such pixel is known."""

    epe: float
    """mean |p - g|, pixels"""
    fl_all_percent: float
    """share of outliers: more than 3 px and more than 5 % of |g|"""
    epe_noc: float | None
    fl_noc_percent: float | None
    epe_occ: float | None
    fl_occ_percent: float | None
    epe_moving: float | None
    fl_moving_percent: float | None
    epe_static: float | None
    fl_static_percent: float | None
    epe_moving_noc: float | None
    fl_moving_noc_percent: float | None
    coverage: float
    """share of the pixels with a truth that have a prediction"""
    pixels: int
    """scored"""


NO_BETTER = 0.9
"""Share of the error of no motion, from which on a prediction says nothing."""


@dataclass(frozen=True)
class FlowReport:
    """The score of all frames, and of each."""

    score: FlowScore
    coverage: float
    """share of the frames with a truth that have a prediction"""
    frames: int
    """scored"""
    frames_gt: int
    """frames with a truth"""
    epe_frame_mean: float
    """mean over scored frames of the frame's epe, pixels"""
    scores: tuple[FlowScore | None, ...]
    """one a frame with a truth, None where the prediction is missing"""
    indices: tuple[int, ...]
    """of those frames, counted from 0 in the pairs that were given"""
    epe_still: float = float("nan")
    """mean over the same frames of the epe of no motion at all, pixels"""

    def as_json(self) -> dict[str, Any]:
        """Return the figures of the command line's contract, parts that are known after them."""
        score = vars(self.score)
        first = {key: score[key] for key in ("epe", "fl_all_percent")}
        parts = {key: value for key, value in score.items() if key not in first}
        pixels = {"pixels": parts.pop("pixels"), "pixel_coverage": parts.pop("coverage")}
        known = {key: value for key, value in parts.items() if value is not None}
        counts = {key: getattr(self, key) for key in ("frames", "frames_gt", "epe_frame_mean")}
        return first | {"coverage": self.coverage} | known | counts | pixels


@dataclass
class FlowTally:
    """Sums over pixels, part by part: what is added up frame after frame gives the pooled score."""

    wanted: int = 0
    """Pixels with a truth."""
    count: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 0))
    error: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    """Sum of end-point errors, pixels."""
    outliers: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 0))

    def add(self, predicted: np.ndarray, truth: FlowTruth, valid: np.ndarray | None = None) -> None:
        """Add a frame; see `flow_errors`."""
        _check(predicted, truth, valid)
        wanted = np.isfinite(truth.flow).all(axis=-1)
        if valid is not None:
            wanted &= valid
        scored = wanted & np.isfinite(predicted).all(axis=-1)
        p, g = (flow[scored].astype(np.float64) for flow in (predicted, truth.flow))
        error = np.linalg.norm(p - g, axis=1)
        length = np.linalg.norm(g, axis=1)
        outlier = (error > OUTLIER_PIXELS) & (error > OUTLIER_SHARE * length)
        self.wanted += int(wanted.sum())
        for part, member in _members(truth, scored).items():
            self.count[part] += int(member.sum())
            self.error[part] += float(error[member].sum())
            self.outliers[part] += int(outlier[member].sum())

    def merge(self, other: "FlowTally") -> None:
        """Add the sums of another tally."""
        self.wanted += other.wanted
        for part in PARTS:
            self.count[part] += other.count[part]
            self.error[part] += other.error[part]
            self.outliers[part] += other.outliers[part]

    def score(self) -> FlowScore | None:
        """Return the score of all that was added; None when no pixel could be scored."""
        if self.count["all"] == 0:
            return None
        figures: dict[str, Any] = {}
        for part, count in self.count.items():
            name = "epe" if part == "all" else f"epe_{part}"
            figures[name] = self.error[part] / count if count else None
            share = 100 * self.outliers[part] / count if count else None
            figures[f"fl_{part}_percent"] = share
        coverage = self.count["all"] / self.wanted
        return FlowScore(**figures, coverage=coverage, pixels=self.count["all"])


def flow_errors(
    predicted: np.ndarray,
    truth: np.ndarray,
    *,
    valid: np.ndarray | None = None,
    occluded: np.ndarray | None = None,
    moving: np.ndarray | None = None,
) -> FlowScore:
    """Score the flow of one frame.

    Args:
        predicted: pixels (u, v); NaN and infinite = not predicted. (H, W, 2)
        truth: pixels (u, v), NaN where unknown. (H, W, 2)
        valid: pixels that may be scored; None for all. (H, W) bool
        occluded: pixels without a partner in the other frame. (H, W) bool
        moving: pixels on bodies that move by themselves. (H, W) bool

    Raises:
        ShapeError: the maps differ in size.
        DataError: no pixel has both a truth and a prediction.
    """
    tally = FlowTally()
    tally.add(predicted, FlowTruth(truth, occluded, moving), valid)
    score = tally.score()
    if score is None:
        raise DataError("no pixel has both a true flow and a predicted one")
    return score


def suspicions(report: FlowReport) -> list[str]:
    """Say that a prediction is no better than no motion at all, and what it may be."""
    if not report.epe_frame_mean > NO_BETTER * report.epe_still > 0:
        return []
    return [
        f"no better than no motion at all, whose epe is {report.epe_still:.4g} px: is the flow "
        "forward (first to second frame), in pixels of this size, with u before v?"
    ]


def score_flow(pairs: Iterable[tuple[np.ndarray | None, FlowTruth]]) -> FlowReport:
    """Score a set of frames.

    Args:
        pairs: (prediction or None where it is missing, truth), of one size each. (H, W, 2)

    Raises:
        ShapeError: a prediction and its truth differ in size.
        DataError: no frame has both a prediction and a truth.
    """
    tally = FlowTally()
    scores: dict[int, FlowScore | None] = {}
    still: list[float] = []
    for index, (predicted, truth) in enumerate(pairs):
        if not np.isfinite(truth.flow).all(axis=-1).any():
            continue  # a frame without truth says nothing about the prediction
        scores[index] = None
        if predicted is not None:
            alone = FlowTally()
            alone.add(predicted, truth)
            tally.merge(alone)
            scores[index] = alone.score()
            if scores[index] is not None:
                both = np.isfinite(truth.flow).all(axis=-1) & np.isfinite(predicted).all(axis=-1)
                still.append(float(np.mean(np.linalg.norm(truth.flow[both], axis=-1))))
    total = tally.score()
    if total is None:
        raise DataError("no frame has both a predicted and a true flow")
    found = [score for score in scores.values() if score is not None]
    return FlowReport(
        score=total,
        coverage=len(found) / len(scores),
        frames=len(found),
        frames_gt=len(scores),
        epe_frame_mean=float(np.mean([score.epe for score in found])),
        scores=tuple(scores.values()),
        indices=tuple(scores),
        epe_still=float(np.mean(still)),
    )


def _members(truth: FlowTruth, scored: np.ndarray) -> dict[str, np.ndarray]:
    """Return which of the scored pixels belong to each part that is known. (N,) bool each"""
    members = {"all": np.ones(int(scored.sum()), dtype=bool)}
    for mask, yes, no in ((truth.occluded, "occ", "noc"), (truth.moving, "moving", "static")):
        if mask is not None:
            members |= {yes: mask[scored], no: ~mask[scored]}
    if "noc" in members and "moving" in members:
        members["moving_noc"] = members["moving"] & members["noc"]
    return members


def _check(predicted: np.ndarray, truth: FlowTruth, valid: np.ndarray | None) -> None:
    check_shape("flow score: truth", truth.flow, "H W 2")
    height, width = truth.flow.shape[:2]
    check_shape("flow score: predicted", predicted, f"{height} {width} 2")
    masks = {"valid": valid, "occluded": truth.occluded, "moving": truth.moving}
    for name, mask in masks.items():
        if mask is not None:
            check_shape(f"flow score: {name}", mask, f"{height} {width}")
