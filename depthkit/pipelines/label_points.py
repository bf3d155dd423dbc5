# SPDX-License-Identifier: Apache-2.0
"""Keypoints of unlabelled pictures by homographic adaptation, written as `points/` of sequences.

A detector trained on rendered shapes looks at many random views of each picture; what they agree
on are the labels of the next training [DeTone 2018, section 5].
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from depthkit.config.ranges import check_ranges, option
from depthkit.errors import ConfigError, DataError
from depthkit.watcher import SILENT, Watcher

if TYPE_CHECKING:
    import numpy as np

    from depthkit.data.sequence import Sequence
    from depthkit.tasks.homographic_adaptation import Score


@dataclass(frozen=True)
class LabelOptions:
    """One run of `label_points`."""

    model: Path
    """Run or checkpoint of task keypoints."""
    data: Path
    """Data set, or one sequence folder."""
    views: int = option(100, least=1)
    """Random views of each picture, itself among them; 100 in the paper."""
    threshold: float = option(0.015, above=0, below=1)
    """Least mean probability of a point."""
    most: int = option(512, least=1)
    """Points of a picture at the most, the strongest ones."""
    radius: int = option(4, least=1)
    """Distance along rows and columns within which there is no stronger point, pixels."""
    rotation: float = option(60.0, least=0, most=180)
    """Largest turn of a view, degrees."""
    scale: float = option(1.5, least=1, most=4)
    """Largest factor by which a view is enlarged or shrunk."""
    tilt: float = option(0.2, least=0, below=0.5)
    """How far the corners of a view move for its perspective, as a share of its sides."""
    batch: int = option(8, least=1)
    """Views looked at together."""
    seed: int = 0
    force: bool = False
    """Replace points that are there."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class LabelSummary:
    """What is labelled now."""

    sequences: int
    frames: int
    points: float
    """Mean number a frame."""


def label_points(options: LabelOptions, watcher: Watcher = SILENT) -> LabelSummary:
    """Write the keypoints of every frame of a data set that a detector finds in many views of it.

    Args:
        options: which detector, which pictures.
        watcher: receives progress.

    Raises:
        CheckpointError: the model cannot be loaded.
        ConfigError: the model finds no keypoints.
        DataError: a sequence is broken, or has points and may not be changed.
    """
    score = open_score(options.model)
    sequences = _open_all(options.data)
    for sequence in sequences:
        if sequence.has_points and not options.force:
            raise DataError(
                f"{sequence.root}: has points/ already; use --force to replace them, or leave it "
                "out"
            )
    counts = [n for sequence in sequences for n in _label(sequence, score, options, watcher)]
    return LabelSummary(len(sequences), len(counts), sum(counts) / len(counts))


def open_score(model: Path) -> Score:
    """Return the detector of a trained task keypoints: RGB (B, 3, H, W) to (B, H, W).

    Raises:
        CheckpointError: missing, damaged, or weights of another network.
        ConfigError: another task.
    """
    from torch import Tensor, inference_mode

    from depthkit.models.keypoint_net import keypoint_probability
    from depthkit.tasks.loaded import load_task

    loaded = load_task(model)
    if loaded.config.task != "keypoints":
        raise ConfigError(
            f"{model}: a run of task {loaded.config.task} finds no keypoints; expected one of task "
            "keypoints"
        )
    net = loaded.task.get_submodule("features_net")

    def score(images: Tensor) -> Tensor:
        with inference_mode():
            return keypoint_probability(net(images).logits)[:, 0]

    return score


def _open_all(root: Path) -> list[Sequence]:
    from depthkit.data.sequence import open_dataset

    dataset = open_dataset(root)
    return [dataset.open(name) for name in (*dataset.train, *dataset.val, *dataset.test)]


def _label(
    sequence: Sequence, score: Score, options: LabelOptions, watcher: Watcher
) -> Iterator[int]:
    """Write points/ of one sequence, all of it or nothing; yield the number of each frame's."""
    from depthkit.data.folder import make_folder, partial_path, publish
    from depthkit.data.point_files import FOLDER, write_points

    final, valid = sequence.root / FOLDER, sequence.read_valid()
    partial = partial_path(final)
    shutil.rmtree(partial, ignore_errors=True)
    make_folder(partial)
    watcher.begin(f"points of {sequence.name}", len(sequence))
    try:
        for i in range(len(sequence)):
            rgb = sequence.read_frame(i)
            points = find_points(rgb, score, options, seed=options.seed + i, valid=valid)
            write_points(partial / f"{sequence.frames[i].stem}.txt", points)
            watcher.advance(1)
            yield len(points)
        publish(partial, final, force=options.force)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def find_points(
    rgb: np.ndarray,
    score: Score,
    options: LabelOptions,
    *,
    seed: int,
    valid: np.ndarray | None = None,
) -> np.ndarray:
    """Find the points of one picture that random views of it agree on.

    Args:
        rgb: (H, W, 3) uint8
        score: the detector; sides of what it is given are multiples of 8.
        options: views and thresholds.
        seed: of the views.
        valid: where points may lie; everywhere if None. (H, W) bool

    Returns:
        Pixels (u, v), the strongest first. (P, 2) float32
    """
    import torch
    import torch.nn.functional as F

    from depthkit.config import KeypointsConfig
    from depthkit.geometry.projection import size_of
    from depthkit.tasks.homographic_adaptation import adapted_score, draw_views, strongest_points

    height, width = rgb.shape[:2]
    picture = torch.from_numpy(rgb).permute(2, 0, 1).float() / 255
    picture = F.pad(picture[None], (0, -width % 8, 0, -height % 8), mode="replicate")[0]
    size = size_of(picture)
    ranges = KeypointsConfig(
        window=size, rotation=options.rotation, scale=options.scale, tilt=options.tilt
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        views = draw_views(options.views, size, ranges)
    mean = adapted_score(score, picture, views, batch=options.batch)[:height, :width]
    if valid is not None:
        mean = mean * torch.from_numpy(valid)
    points, _ = strongest_points(
        mean, threshold=options.threshold, radius=options.radius, most=options.most
    )
    return points.numpy()
