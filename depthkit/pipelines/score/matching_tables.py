# SPDX-License-Identifier: Apache-2.0
"""Means of each method over the pairs of a scene and over all, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from depthkit.evaluation.matching import HomographyMean, HomographyScore, mean_homography
from depthkit.evaluation.pose_pairs import PoseMean, PoseScore, mean_pose
from depthkit.evaluation.report import Cell
from depthkit.pipelines.score.matching_pairs import PairRow

MEAN = "all pairs"

_HOMOGRAPHY = (
    *("scene", "method", "features", "matches", "share", "rep"),
    *("mma@1", "mma@3", "mma@5", "H@1", "H@3", "H@5", "found", "ms", "ms pair"),
)
_POSE = (
    *("scene", "method", "features", "matches", "inliers", "error"),
    *("auc@5", "auc@10", "auc@20", "found", "ms", "ms pair"),
)


@dataclass(frozen=True)
class Group:
    """The figures of one method over the pairs of a scene, or over all pairs."""

    scene: str
    method: str
    score: HomographyMean | PoseMean
    features_ms: float
    """Median processor time of a picture's features, milliseconds."""
    match_ms: float
    """Median processor time of matching a pair, milliseconds."""

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        about = {"scene": self.scene, "method": self.method}
        times = {"features_ms": self.features_ms, "match_ms": self.match_ms}
        return about | asdict(self.score) | times


def group_rows(rows: Sequence[PairRow]) -> tuple[Group, ...]:
    """Take the means of each scene where there are several, then those over all pairs."""
    scenes = list(dict.fromkeys(row.scene for row in rows))
    groups = []
    for scene in [*scenes, MEAN] if len(scenes) > 1 else [MEAN]:
        own = [row for row in rows if scene in (row.scene, MEAN)]
        for method in dict.fromkeys(row.method for row in own):
            groups.append(_group(scene, method, [row for row in own if row.method == method]))
    return tuple(groups)


def table_of(groups: Sequence[Group]) -> tuple[tuple[Cell, ...], ...]:
    """Return the header, then a line for each scene and method."""
    is_pose = isinstance(groups[0].score, PoseMean)
    lines: list[tuple[Cell, ...]] = [_POSE if is_pose else _HOMOGRAPHY]
    scene = ""
    for group in groups:
        lines.append(("" if group.scene == scene else group.scene, *_cells(group)))
        scene = group.scene
    return tuple(lines)


def _group(scene: str, method: str, rows: Sequence[PairRow]) -> Group:
    times = np.median([(row.features_ms, row.match_ms) for row in rows], axis=0)
    homographies = [row.score for row in rows if isinstance(row.score, HomographyScore)]
    poses = [row.score for row in rows if isinstance(row.score, PoseScore)]
    score = mean_homography(homographies) if homographies else mean_pose(poses)
    return Group(scene, method, score, float(times[0]), float(times[1]))


def _cells(group: Group) -> list[Cell]:
    score = group.score
    front: list[Cell] = [group.method, f"{score.features:.0f}", f"{score.matches:.0f}"]
    back = [f"{score.found}/{score.pairs}", f"{group.features_ms:.1f}", f"{group.match_ms:.1f}"]
    if isinstance(score, PoseMean):
        areas = [f"{100 * area:.1f}" for area in score.auc]
        return [*front, f"{score.inliers:.0f}", f"{score.median_deg:.2f}", *areas, *back]
    shares = (score.matched_share, score.repeatability, *score.accuracy, *score.homography)
    return [*front, *("-" if one is None else f"{one:.3f}" for one in shares), *back]
