# SPDX-License-Identifier: Apache-2.0
"""What the figures of a depth score would hide: a reversed order, a wrong unit; frames to show."""

import math

import numpy as np

from depthkit.errors import DataError
from depthkit.evaluation.depth import (
    DepthProtocol,
    DepthReport,
    DepthScore,
    clip_depth,
    depth_metrics,
    scored_pixels,
)

REVERSED = -0.5
"""Rank correlation of prediction and truth below which the order of depths is reversed."""

UNRELATED = 0.2
"""Rank correlation up to which predictions say nothing about the truth."""

ONE_SCALE, ONE_SPREAD = 1.5, 0.3
"""A median ratio beyond the one, of a spread below the other, is one unknown scale."""

ASPECT = 0.05
"""Logarithm of the ratio of two aspect ratios that is worth a word."""

CHOICE = "By abs_rel, among frames with at least half of the usual number of scored pixels"
"""How `frames_to_show` chooses, as a caption."""

FAR_OUT = 0.5
"""Share of the true pixels outside the depth range that is worth a word."""

_UNITS = {1000.0: "millimetres", 256.0: "KITTI's 1/256 m", 5000.0: "TUM's 1/5000 m"}
"""Stored value per metre of usual files."""

_DEFAULT = 1000.0
"""What a folder that states no unit was read with."""


def suspicions(report: DepthReport, assumed: tuple[bool, bool]) -> list[str]:
    """Say what looks wrong with the predictions, and what to do.

    Args:
        report: the score.
        assumed: whether the unit of the predictions and of the truth is stated nowhere.
    """
    found = []
    if report.rank_correlation <= REVERSED:
        found.append(
            f"near and far are swapped (rank correlation {report.rank_correlation:.2f} with the "
            "truth): the predictions look like inverse depth or disparity; store depth, that is "
            "1 / inverse depth or fx * baseline / disparity"
        )
    elif not report.rank_correlation > UNRELATED:
        found.append(_unrelated(report.rank_correlation))
    elif report.protocol.align == "none":
        found += _wrong_unit(report.ratio_median, assumed) or _relative(report)
    found += _stretched(report)
    if report.out_of_range > FAR_OUT:
        found.append(
            f"{100 * report.out_of_range:.0f} % of the true pixels lie outside "
            f"{report.protocol.min_depth:g} to {report.protocol.max_depth:g} m and were left out; "
            "if their unit is another one, give --gt-scale (1000 for millimetres)"
        )
    return found


def _unrelated(rank: float) -> str:
    if math.isnan(rank):
        return "the predictions are one constant in each image: there is no depth in them"
    return (
        f"near and far of predictions and truth have little in common (rank correlation {rank:.2f})"
        ": are they of the same frames, not mirrored, rotated or cropped?"
    )


def _relative(report: DepthReport) -> list[str]:
    """Suspect depth up to scale: one factor, far from 1, for all images."""
    ratio = report.ratio_median
    if 1 / ONE_SCALE <= ratio <= ONE_SCALE or report.ratio_spread > ONE_SPREAD:
        return []
    return [
        f"truth / prediction is {ratio:.4g} in the median of all images (spread "
        f"{report.ratio_spread:.2f}): relative depth needs --align median, another unit "
        "--pred-scale"
    ]


def _stretched(report: DepthReport) -> list[str]:
    """Say that predictions of another shape were stretched to the truth."""
    squeezed = [s for s in report.sizes if abs(math.log(s[0] * s[3] / s[1] / s[2])) > ASPECT]
    if not squeezed:
        return []
    h, w, H, W = squeezed[0]
    return [
        f"predictions of {h}x{w} were stretched to {H}x{W}, another shape: right where the network "
        "saw squeezed frames, wrong where they were cropped or of another camera"
    ]


def _wrong_unit(ratio: float, assumed: tuple[bool, bool]) -> list[str]:
    """Compare truth / prediction with the ratios that a wrong unit would make."""
    for scale, unit in _UNITS.items():
        for side, what, factor in (
            ("pred", "are the predictions", 1 / scale),
            ("gt", "is the truth", scale),
        ):
            if abs(math.log(ratio / factor)) < math.log(1.25):
                return [_advice(ratio, f"{what} stored in {unit}?", side, scale)]
    for scale in (256.0, 5000.0):
        for is_assumed, side, what, factor in (
            (assumed[0], "pred", "are the predictions", _DEFAULT / scale),
            (assumed[1], "gt", "is the truth", scale / _DEFAULT),
        ):
            if is_assumed and abs(math.log(ratio / factor)) < math.log(1.1):
                return [_advice(ratio, f"{what} stored in {_UNITS[scale]}?", side, scale)]
    return []


def _advice(ratio: float, question: str, side: str, scale: float) -> str:
    return (
        f"truth / prediction is {ratio:.4g} in the median: {question} Try --{side}-scale {scale:g}"
    )


def frames_to_show(report: DepthReport) -> dict[str, tuple[DepthScore, int]]:
    """Choose the best, the middle and the worst frame by abs_rel, with their indices.

    Frames with fewer than half of the usual number of scored pixels are left out: a good figure of
    a few pixels is no good frame.
    """
    scored = [(s, i) for i, s in zip(report.indices, report.scores, strict=True) if s is not None]
    enough = np.median([s.pixels for s, _ in scored]) / 2
    ranked = sorted(
        ((s, i) for s, i in scored if s.pixels >= enough), key=lambda one: (one[0].abs_rel, one[1])
    )
    return {"best": ranked[0], "middle": ranked[len(ranked) // 2], "worst": ranked[-1]}


def title_of(rank: str, name: str, score: DepthScore) -> str:
    """Write the title of a frame's picture: its figure and how much of it was scored."""
    return f"{rank}: {name}, {_figure(score)}"


def as_scored(
    pred: np.ndarray, gt: np.ndarray, protocol: DepthProtocol
) -> tuple[np.ndarray, np.ndarray, str]:
    """Bring a prediction to what the score sees, for a picture beside its figure.

    Args:
        pred: metres, or any unit when aligned; 0, NaN and inf = unknown. (H, W)
        gt: metres, 0 = unknown. (H, W)
        protocol: alignment and range.

    Returns:
        depth: scaled and clipped as scored. (H, W)
        scored: pixels that count. (H, W) bool
        figure: abs_rel and the share of the true pixels, as words.
    """
    scored = scored_pixels(gt, None, protocol)
    try:
        score = depth_metrics(pred, gt, **vars(protocol))
    except DataError:
        return clip_depth(pred, protocol), scored, "not scored"
    return clip_depth(aligned_as_scored(pred, score, protocol), protocol), scored, _figure(score)


def aligned_as_scored(pred: np.ndarray, score: DepthScore, protocol: DepthProtocol) -> np.ndarray:
    """Align a map as its score did; unknown pixels become 0. (H, W)"""
    return score.alignment.apply(pred, protocol.max_depth)


def alignment_notes(report: DepthReport) -> list[str]:
    """Say where an affine alignment is degenerate."""
    notes = []
    if report.flat and report.protocol.align == "affine":
        notes.append(
            f"in {report.flat} of {report.frames} frames no factor above 0 fits (predictions are "
            "constant, or near and far are swapped): they are scored as one constant depth"
        )
    if report.behind > 0:
        notes.append(
            f"the affine fit has no depth for {100 * report.behind:.1f} % of the scored pixels "
            f"(inverse depth of 0 or less): they are scored as {report.protocol.max_depth:g} m"
        )
    return notes


def _figure(score: DepthScore) -> str:
    covered = f"{100 * score.pixel_coverage:.1f} % of the true pixels"
    return f"abs_rel {score.abs_rel:.4f}, {covered}"
