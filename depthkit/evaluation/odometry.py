# SPDX-License-Identifier: Apache-2.0
"""The score of one trajectory: t_rel, r_rel, ATE, RPE, the snippet ATE, and coverage beside them.

A figure that the data do not support is None with a reason, never 0; missing poses are reported.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from depthkit.errors import DataError
from depthkit.evaluation import odometry_review as review
from depthkit.evaluation.alignment import Alignment, align, origin_of, umeyama
from depthkit.evaluation.association import associate, list_frames
from depthkit.evaluation.baselines import standing_still_ate, straight_on
from depthkit.evaluation.relative import (
    SEGMENT_LENGTHS,
    SegmentErrors,
    log_angle,
    relative_errors,
    segment_errors,
)
from depthkit.evaluation.snippets import SnippetAte, snippet_ate
from depthkit.trajectory import Trajectory

SCALE_MISMATCH = 1.2
"""Without scale alignment, a fitted scale off by more than this factor is worth a note."""


@dataclass(frozen=True)
class OdometryScore:
    """The figures of one trajectory, and the arrays behind them for plots."""

    t_rel_percent: float | None
    """Mean drift over segments of 100 to 800 m."""
    r_rel_deg_per_100m: float | None
    ate_m: float
    """Root mean square distance of the aligned positions."""
    ate_still_m: float
    """ATE of standing still, with the same alignment, on the same poses."""
    ate_straight_m: float | None
    """The same of going straight on at constant speed; None where that cannot be aligned."""
    rpe_trans_m: float
    """Mean over pairs of consecutive scored poses (evo prints the root mean square as well)."""
    rpe_rot_deg: float
    """Mean over the same pairs of arccos((trace - 1) / 2), the formula of the KITTI devkit."""
    rpe_rot_evo_deg: float
    """Mean over the same pairs of the length of the rotation vector, as evo takes it. The two
    differ where a file writes matrices with few digits (KITTI: by about 1 %)."""
    coverage: float
    """Share of the reference that the estimate covers, in [0, 1]."""
    aligned: Alignment
    """The scored poses. (M, 4, 4) each"""
    stamps: np.ndarray
    """Stamps of the scored poses, seconds or frame indices. (M,)"""
    ate: np.ndarray
    """Distance of each scored position to its reference, metres. (M,)"""
    reference_path: np.ndarray
    """All reference positions in the frame of `aligned`, holes included. (N, 3)"""
    T_first_world: np.ndarray
    """Points of the reference's world to the frame of `aligned`. (4, 4)"""
    segments: SegmentErrors
    snippets: SnippetAte
    snippet_length: int
    reasons: dict[str, str]
    """Why a figure is None, by its name."""
    notes: tuple[str, ...]
    """Caveats for the reader of the figures, one sentence each."""
    assumed: tuple[str, ...]
    """Conventions that the files do not state, as they were taken."""

    def as_json(self) -> dict[str, Any]:
        """Return the figures of the command line's contract, the arrays left out."""
        snippets = self.snippets
        return {
            "t_rel_percent": self.t_rel_percent,
            "r_rel_deg_per_100m": self.r_rel_deg_per_100m,
            "ate_m": self.ate_m,
            "rpe_trans_m": self.rpe_trans_m,
            "rpe_rot_deg": self.rpe_rot_deg,
            "coverage": self.coverage,
            "poses": len(self.stamps),
            "align": self.aligned.mode,
            "scale": self.aligned.similarity.scale,
            "segments": len(self.segments.length),
            "segments_possible": self.segments.possible,
            "path_length_m": self.segments.path_length,
            "snippet_ate_length": self.snippet_length,
            "snippet_ate_mean": _mean(snippets.sfmlearner),
            "snippet_ate_std": _std(snippets.sfmlearner),
            "snippet_ate_rmse_mean": _mean(snippets.rmse),
            "snippet_ate_rmse_std": _std(snippets.rmse),
            "snippet_ate_count": len(snippets.rmse),
            "snippet_ate_possible": snippets.possible,
            "ate_mean_m": float(np.mean(self.ate)),
            "ate_median_m": float(np.median(self.ate)),
            "ate_max_m": float(np.max(self.ate)),
            "rpe_rot_evo_deg": self.rpe_rot_evo_deg,
            "ate_still_m": self.ate_still_m,
            "ate_straight_m": self.ate_straight_m,
            "reasons": self.reasons,
            "notes": list(self.notes),
            "assumed": list(self.assumed),
        }


def score_odometry(
    reference: Trajectory,
    estimate: Trajectory,
    *,
    mode: str = "none",
    max_gap: float | None = None,
    snippet_length: int = 5,
    notes: tuple[str, ...] = (),
) -> OdometryScore:
    """Score an estimated trajectory against its reference.

    Args:
        reference: ground-truth poses, metres.
        estimate: the same stamps or frame indices, at any scale.
        mode: alignment, a key of `alignment.ALIGNMENTS`.
        max_gap: seconds between stamps that may pair; None pairs equal stamps (KITTI indices).
        snippet_length: frames in a snippet of the snippet ATE.
        notes: what is known of the two files already; kept with the score.

    Raises:
        DataError: fewer poses than a score needs, nothing in common, or no motion to align by.
    """
    _check_length("the reference holds", len(reference))
    _check_length("the estimate holds", len(estimate))
    matches = associate(reference, estimate, max_gap=max_gap)
    _check_length("estimate and reference share", len(matches.reference))
    frames = list_frames(reference, estimate, matches, max_gap=max_gap)
    matched = reference.T_world_cam[matches.reference]
    aligned = align(matched, estimate.T_world_cam[matches.estimate], mode)
    ate = np.linalg.norm(aligned.estimate[:, :3, 3] - aligned.reference[:, :3, 3], axis=1)
    rpe_trans, rpe_rot = relative_errors(aligned.reference, aligned.estimate)
    rpe_rot_evo = relative_errors(aligned.reference, aligned.estimate, angle=log_angle)[1]
    # Everything in the frame of the first common pose; unknown frames hold a placeholder.
    T_first_world = origin_of(matched[0])
    truth = T_first_world @ reference.T_world_cam
    guess = np.tile(np.eye(4), (len(frames.reference), 1, 1))
    guess[frames.known] = aligned.estimate
    segments = segment_errors(truth[frames.reference], guess, known=frames.known)
    snippets = snippet_ate(truth[frames.reference], guess, snippet_length, known=frames.known)
    t_rel, r_rel = _mean(segments.translation), _mean(segments.rotation)
    return OdometryScore(
        t_rel_percent=None if t_rel is None else 100 * t_rel,
        r_rel_deg_per_100m=None if r_rel is None else 100 * float(np.rad2deg(r_rel)),
        ate_m=float(np.sqrt(np.mean(ate**2))),
        ate_still_m=standing_still_ate(aligned.reference[:, :3, 3], mode),
        ate_straight_m=_straight_ate(reference.stamps[matches.reference], matched, mode),
        rpe_trans_m=float(np.mean(rpe_trans)),
        rpe_rot_deg=float(np.rad2deg(np.mean(rpe_rot))),
        rpe_rot_evo_deg=float(np.rad2deg(np.mean(rpe_rot_evo))),
        coverage=frames.coverage,
        aligned=aligned,
        stamps=reference.stamps[matches.reference],
        ate=ate,
        reference_path=truth[:, :3, 3],
        T_first_world=T_first_world,
        segments=segments,
        snippets=snippets,
        snippet_length=snippet_length,
        reasons=_reasons(segments, snippets, frames.coverage, snippet_length),
        notes=(
            *notes,
            *reference.notes,
            *estimate.notes,
            *_notes(segments, frames.coverage, aligned, len(estimate)),
            *review.suspicions(
                matched,
                estimate.T_world_cam[matches.estimate],
                reference.stamps[matches.reference],
            ),
            *(review.counted_from_one(reference, estimate) if max_gap is None else ()),
            *review.no_better(ate, aligned.reference[:, :3, 3], mode),
        ),
        assumed=tuple(dict.fromkeys((*reference.assumed, *estimate.assumed))),
    )


def _straight_ate(stamps: np.ndarray, matched: np.ndarray, mode: str) -> float | None:
    """Return the ATE of going straight on; None where the reference does not move. (N, 4, 4)"""
    try:
        line = align(matched, straight_on(stamps, matched), mode)
    except DataError:
        return None
    offsets = line.estimate[:, :3, 3] - line.reference[:, :3, 3]
    return float(np.sqrt(np.mean(np.sum(offsets**2, axis=1))))


def _check_length(what: str, count: int) -> None:
    if count < 2:
        noun = "pose" if count == 1 else "poses"
        raise DataError(f"{what} {count} {noun}; a score needs at least 2")


def _mean(values: np.ndarray) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _std(values: np.ndarray) -> float | None:
    return float(np.std(values)) if len(values) else None


def _reasons(
    segments: SegmentErrors, snippets: SnippetAte, coverage: float, snippet_length: int
) -> dict[str, str]:
    """Return why a figure is None."""
    reasons: dict[str, str] = {}
    if len(segments.length) == 0:
        least = SEGMENT_LENGTHS[0]
        why = f"path too short: {segments.path_length:.1f} m, t_rel needs at least {least} m"
        if segments.possible:
            why = (
                f"no segment of {least} m has a pose at both ends: the estimate covers "
                f"{100 * coverage:.1f} % of the reference"
            )
        reasons |= {"t_rel_percent": why, "r_rel_deg_per_100m": why}
    if len(snippets.rmse) == 0:
        why = f"no {snippet_length} consecutive frames have a pose"
        names = ("mean", "std", "rmse_mean", "rmse_std")
        reasons |= {f"snippet_ate_{name}": why for name in names}
    return reasons


def _notes(
    segments: SegmentErrors, coverage: float, aligned: Alignment, estimated: int
) -> tuple[str, ...]:
    """List what the figures alone would hide."""
    notes = []
    unpaired = estimated - len(aligned.estimate)
    if unpaired:
        notes.append(f"{unpaired} of {estimated} estimated poses pair with no reference pose")
    if coverage < 1:
        lost = f", {len(segments.length)} of {segments.possible} segments were scored"
        notes.append(
            f"the estimate covers {100 * coverage:.1f} % of the reference: the errors are those of "
            f"the covered part{lost if segments.possible else ''}"
        )
    scale = _fitted_scale(aligned)
    if scale is not None and not 1 / SCALE_MISMATCH < scale < SCALE_MISMATCH:
        notes.append(
            f"a Sim(3) fit would scale the estimate by {scale:.4g}: {_unit_or_scale(scale)}"
        )
    return tuple(notes)


def _unit_or_scale(scale: float) -> str:
    """Say what a fitted scale looks like: another unit, or none at all."""
    relative = "a relative (monocular) trajectory needs align '7dof' or 'scale'"
    for factor, unit in {1e-3: "millimetres", 1e-2: "centimetres"}.items():
        for one, whose in ((factor, "its"), (1 / factor, "the reference's")):
            if abs(np.log(scale / one)) < np.log(1.1):
                return f"are {whose} positions {unit}? They are read as metres; else {relative}"
    return relative


def _fitted_scale(aligned: Alignment) -> float | None:
    """Return the scale a fit would use, where the mode left the scale alone and a fit exists."""
    if aligned.mode not in ("none", "6dof") or len(aligned.estimate) < 3:
        return None
    try:
        source, target = aligned.estimate[:, :3, 3], aligned.reference[:, :3, 3]
        return umeyama(source, target, with_scale=True).scale
    except DataError:
        return None
