# SPDX-License-Identifier: Apache-2.0
"""Scores of each method on each picture pair: of known homographies, or of known poses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from time import process_time
from typing import Any

import numpy as np

from depthkit.data.homography_pairs import HomographyPair
from depthkit.data.image_io import read_rgb
from depthkit.data.sequence import Sequence
from depthkit.errors import DataError
from depthkit.evaluation.matching import HomographyScore, score_homography
from depthkit.evaluation.pose_pairs import PoseScore, choose_pairs, pose_error
from depthkit.multiview.robust_fit import Robust, fit_homography, fit_relative_pose
from depthkit.pipelines.score.degradations import DEGRADATIONS, WARPS, degraded
from depthkit.pipelines.score.matching_methods import Method, View
from depthkit.trajectory import inverse

Matches = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class PairRow:
    """The scores of one method on one pair."""

    scene: str
    pair: str
    method: str
    score: HomographyScore | PoseScore
    features_ms: float
    """Processor time of finding the features of a picture, mean of the two, milliseconds."""
    match_ms: float
    """Processor time of matching the pair, milliseconds."""

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        about = {"scene": self.scene, "pair": self.pair, "method": self.method}
        times = {"features_ms": self.features_ms, "match_ms": self.match_ms}
        return about | asdict(self.score) | times


@dataclass(frozen=True, eq=False)
class Case:
    """Two pictures to be scored, and how."""

    scene: str
    pair: str
    first: np.ndarray
    """(H, W, 3) uint8"""
    second: np.ndarray
    judge: Callable[[View, View, Matches], HomographyScore | PoseScore]
    valid: np.ndarray | None = None
    """Where features may lie, in both; everywhere if None. (H, W) bool"""


def score_cases(methods: tuple[Method, ...], cases: Iterable[Case]) -> Iterator[list[PairRow]]:
    """Score every method on every case: one list a case, in the order of the methods.

    The features of a first picture are kept for the cases that follow with the same one.
    """
    kept: dict[str, View] = {}
    last: np.ndarray | None = None
    for case in cases:
        if last is None:
            for method in methods:
                method.look(case.first)  # what the first call alone costs is not timed
        if case.first is not last:
            last, kept = case.first, {}
        for method in methods:
            if method.name not in kept:
                kept[method.name] = method.look(case.first, valid=case.valid)
        yield [_score(method, kept[method.name], case) for method in methods]


def _score(method: Method, a: View, case: Case) -> PairRow:
    b = method.look_again(case.second, valid=case.valid)
    begun = process_time()
    matched = method.matcher(a, b)
    spent = 1e3 * (process_time() - begun)
    score = case.judge(a, b, matched)
    return PairRow(case.scene, case.pair, method.name, score, (a.ms + b.ms) / 2, spent)


# --- known homographies --------------------------------------------------------------------------


def homography_cases(pairs: list[HomographyPair], robust: Robust) -> Iterator[Case]:
    """Read the pairs one after the other; pairs of one scene share their first picture."""
    path, first = None, np.zeros(0)
    for pair in pairs:
        if pair.first != path:
            path, first = pair.first, read_rgb(pair.first)
        judge = _by_homography(pair.H_second_first, robust)
        yield Case(pair.scene, pair.name, first, read_rgb(pair.second), judge)


def degraded_cases(pictures: Iterable[tuple[str, np.ndarray]], robust: Robust) -> Iterator[Case]:
    """Pair each picture with copies of itself; the fault stands as the scene.

    The homographies are the same for every fault, so that only the fault differs.

    Args:
        pictures: name and (H, W, 3) uint8 of each.
        robust: how the homography is found.
    """
    for index, (name, rgb) in enumerate(pictures):
        for fault in DEGRADATIONS:
            for warp in range(WARPS):
                second, H = degraded(rgb, fault, np.random.default_rng((index, warp)))
                judge = _by_homography(H, robust)
                yield Case(fault.name, f"{name} {warp + 1}", rgb, second, judge)


def _by_homography(
    H_b_a: np.ndarray, robust: Robust
) -> Callable[[View, View, Matches], HomographyScore]:
    def judge(a: View, b: View, matched: Matches) -> HomographyScore:
        points = None
        if a.features is not None and b.features is not None:
            points = a.features.pixels, b.features.pixels
        found = fit_homography(*matched, robust=robust)
        return score_homography(points, matched, found, H_b_a, (a.size, b.size))

    return judge


# --- known poses ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class PosedPair:
    """Two frames of a sequence whose motion is known."""

    sequence: Sequence
    first: int
    second: int
    T_second_first: np.ndarray
    """(4, 4)"""


def posed_pairs(sequences: list[Sequence], gap: tuple[int, int], count: int) -> list[PosedPair]:
    """Choose the frame pairs of all sequences.

    Args:
        sequences: with poses.
        gap: least and largest number of frames from the first to the second.
        count: largest number of pairs of each sequence.

    Raises:
        DataError: a sequence without poses, or with no pair.
    """
    return [pair for sequence in sequences for pair in _pairs_of(sequence, gap, count)]


def _pairs_of(sequence: Sequence, gap: tuple[int, int], count: int) -> list[PosedPair]:
    poses = sequence.poses
    if poses is None:
        raise DataError(
            f"{sequence.root}: has no poses.txt to score against; run 'depthkit odometry' with "
            "--write-poses, or name a sequence with poses"
        )
    chosen = choose_pairs(poses, gap, count)
    if not chosen:
        raise DataError(
            f"{sequence.root}: no two frames with poses lie {gap[0]} to {gap[1]} frames apart and "
            f"moved, of {len(sequence)}; give another --gap"
        )
    return [PosedPair(sequence, i, j, inverse(poses[j]) @ poses[i]) for i, j in chosen]


def posed_cases(pairs: list[PosedPair], robust: Robust) -> Iterator[Case]:
    """Read the frame pairs one after the other."""
    for pair in pairs:
        sequence, i, j = pair.sequence, pair.first, pair.second
        frames = sequence.read_frame(i), sequence.read_frame(j)
        judge = _by_pose(pair.T_second_first, sequence.camera.K, robust)
        yield Case(sequence.name, f"{i}-{j}", *frames, judge, sequence.read_valid())


def _by_pose(
    T_b_a: np.ndarray, K: np.ndarray, robust: Robust
) -> Callable[[View, View, Matches], PoseScore]:
    def judge(a: View, b: View, matched: Matches) -> PoseScore:
        pose = fit_relative_pose(*matched, K, robust=robust)
        counts = tuple(0 if view.features is None else len(view.features) for view in (a, b))
        error = np.inf if pose is None else pose_error(pose.R_b_a, pose.direction_b_a, T_b_a)
        inliers = 0 if pose is None else int(pose.inliers.sum())
        return PoseScore((counts[0], counts[1]), len(matched[0]), inliers, float(error))

    return judge
