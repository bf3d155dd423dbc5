# SPDX-License-Identifier: Apache-2.0
"""`depthkit.evaluate.matching`: scores of features and matchers from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from depthkit.watcher import SILENT, Watcher

if TYPE_CHECKING:
    from depthkit.pipelines.score.matching import MatchingEvaluation


def matching(
    data: str | Path,
    *,
    models: str | Path | Sequence[str | Path] = (),
    matcher: Literal["nearest", "lightglue", "loftr"] = "nearest",
    matcher_weights: str | Path | None = None,
    count: int = 2048,
    gap: tuple[int, int] = (10, 40),
    pairs: int = 100,
    robust: Literal["magsac", "ransac"] = "magsac",
    looks: Literal["upright", "turned", "tilted"] = "upright",
    degrade: bool = False,
    watcher: Watcher = SILENT,
) -> MatchingEvaluation:
    """Score features and matchers beside SIFT and ORB, on one thread.

    Args:
        data: folder of HPatches or of Oxford's pictures, a sequence folder with poses, or a data
            set folder.
        models: networks of kind features with a score: exported .onnx, run folder, checkpoint, or a
            shipped model's name.
        matcher: nearest descriptor, lightglue between features, or loftr without features.
        matcher_weights: file of lightglue's or loftr's weights; nothing is downloaded.
        count: largest number of features in a picture, of every method.
        gap: sequences: least and largest number of frames between the two of a pair.
        pairs: sequences: pairs of each; with degrade: frames of each.
        robust: how homography and pose are found among wrong matches, of every method.
        looks: at the second picture, of every method: as it is, turned by quarters too, or also
            tilted; the look with the most matches is kept.
        degrade: score the first picture of each scene, or frames, against degraded copies.
        watcher: receives progress, and notes that the user should read.

    Returns:
        `groups`: means of each scene and method, then over all pairs (`mean("sift")`); `rows`:
        every method on every pair.

    Raises:
        DataError: no such data, or a truth that is missing.
        CheckpointError: no such model, or weights that are not the matcher's.
        EngineError: a model of another kind, or one without a score.
    """
    from depthkit.pipelines.score.matching import evaluate_matching
    from depthkit.pipelines.score.matching_options import MatchingOptions

    names = (models,) if isinstance(models, str | Path) else models
    options = MatchingOptions(
        data=Path(data),
        models=tuple(map(Path, names)),
        matcher=matcher,
        matcher_weights=None if matcher_weights is None else Path(matcher_weights),
        count=count,
        gap=gap,
        pairs=pairs,
        robust=robust,
        looks=looks,
        degrade=degrade,
    )
    return evaluate_matching(options, watcher)
