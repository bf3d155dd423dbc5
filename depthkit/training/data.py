# SPDX-License-Identifier: Apache-2.0
"""From a data configuration to the two data sets of a run: what teaches and what is held out."""

from dataclasses import dataclass, replace
from fnmatch import filter as match_names
from typing import Any

import numpy as np

from depthkit.config import DataConfig, LossConfig, TrainConfig
from depthkit.data.augment import Variation
from depthkit.data.inspect import load_inspection, suggest_shifts
from depthkit.data.sequence import Dataset, Sequence, open_dataset
from depthkit.data.snippet_loading import SnippetDataset
from depthkit.data.teacher_maps import open_teacher
from depthkit.errors import ConfigError, DataError
from depthkit.training.motion_unit import MotionUnit, fix_unit, with_known_motion

FOCAL_SPREAD = 1.02
"""Largest ratio of focal lengths, in pixels, in the training data of a pair network."""


@dataclass(frozen=True)
class RunData:
    """What a run learns from and is judged on."""

    train: SnippetDataset
    val: SnippetDataset
    shifts: tuple[int, ...]
    names: tuple[str, ...]
    """Sequences trained on, for the checkpoint."""
    focal: float | None
    """Smallest fx of the training sequences at the size of the networks, pixels; None where no
    camera matters."""
    focal_most: float | None
    """Largest fx, pixels. Equals `focal` unless the network takes K as input."""
    unit: MotionUnit | None = None
    """Unit of known motions, where the run learns from them."""


def open_run_data(
    config: DataConfig,
    *,
    seed: int,
    single_view: bool = False,
    known_motion: bool = False,
    taught: bool = False,
) -> RunData:
    """Open the sequences, choose the shifts, and hold out what validates.

    Args:
        config: which data.
        seed: seed of the random variation.
        single_view: the task looks at targets alone; sources are not read.
        known_motion: the poses are the motion; only targets whose sources all have one are taken.
        taught: the training sequences hold depth of a teacher, which the snippets then have.

    Where no validation sequence is named, the last targets of each training sequence are held out.
    They may still be sources: depth is never predicted for a source.

    Raises:
        DataError: a sequence is missing, broken or too short, or has no poses and needs them.
        ConfigError: no training sequence.
    """
    dataset = open_dataset(config.root)
    train_names = choose_names(config.train, dataset, "train")
    val_names = choose_names(config.val, dataset, "val")
    if not train_names:
        raise ConfigError(f"{config.root}: no training sequence; name them in data.train")
    sequences = [dataset.open(name) for name in train_names]
    shifts = () if single_view else _choose_shifts(config, sequences)
    val_sequences = [dataset.open(name) for name in val_names]
    usable = [_usable(sequence, config.skip_static) for sequence in sequences]
    reachable, val_reachable = (
        [_reachable(sequence, shifts, known_motion) for sequence in part]
        for part in (sequences, val_sequences)
    )
    unit, teachers = None, [open_teacher(sequence) for sequence in sequences if taught]
    if known_motion:
        usable = [u & known for u, known in zip(usable, reachable, strict=True)]
        scaled, unit = fix_unit([*sequences, *val_sequences], shifts)
        teachers = [
            None if teacher is None else replace(teacher, factors=factors)
            for teacher, factors in zip(teachers, unit.factors, strict=False)
        ]
        sequences, val_sequences = scaled[: len(sequences)], scaled[len(sequences) :]
    common: dict[str, Any] = {"shifts": shifts, "size": config.size, "seed": seed}
    if taught:
        common["teachers"] = [None] * len(val_sequences) if val_names else teachers
    if val_names:
        val = SnippetDataset(val_sequences, targets=val_reachable, **common)
    else:
        held_out = [_tail(each, config.validation_share) for each in reachable]
        val = SnippetDataset(sequences, targets=held_out, **common)
        usable = [u & ~held for u, held in zip(usable, held_out, strict=True)]
    variation = Variation(config.flip, config.colour_jitter, config.zoom, config.flip_vertical)
    common |= {"variation": variation, "random_shift": config.random_shift}
    common |= {"teachers": teachers} if taught else {}
    train = SnippetDataset(sequences, targets=usable, **common)
    focals = [sequence.camera.resized(config.size).fx for sequence in sequences]
    return RunData(train, val, shifts, tuple(train_names), min(focals), max(focals), unit)


def training_sequences(config: DataConfig) -> list[Sequence]:
    """Open the sequences that a run trains on.

    Raises:
        DataError: a sequence is missing or broken.
        ConfigError: there is none.
    """
    dataset = open_dataset(config.root)
    names = choose_names(config.train, dataset, "train")
    if not names:
        raise ConfigError(f"{config.root}: no training sequence; name them in data.train")
    return [dataset.open(name) for name in names]


def require_teachers(data: RunData) -> None:
    """Refuse to learn from a teacher that has said nothing of a training sequence yet.

    Raises:
        DataError: `teacher/` is missing.
    """
    for sequence, teacher in zip(data.train.sequences, data.train.teachers or (), strict=False):
        if teacher is None:
            raise DataError(
                f"{sequence.name}: no depth of the sweep (teacher/); 'depthkit train' and "
                "depthkit.pipelines.train make it before the first step"
            )


def check_truth(data: RunData, config: TrainConfig) -> None:
    """Refuse a task whose truth the data does not hold; its row in `KINDS` says what it needs.

    Raises:
        DataError: known motions, depths or one focal length are needed and missing.
    """
    truth = config.kind.truth
    sequences = data.train.sequences
    if truth.depth(config):
        sequences = [*sequences, *data.val.sequences]  # metres are scored on what is held out too
        _check_depth(sequences, config.task)
    if why := truth.poses(config):
        _check_known_motion(sequences, why)
    if why := truth.points(config):
        _check_points([*sequences, *data.val.sequences], why)
    if why := truth.metric_poses(config):
        _check_metric_poses(sequences, why)
    if truth.weighted_motion:
        check_poses(data, config.loss)
    if truth.one_focal_length:
        _check_one_focal_length(sequences, config)


def _check_depth(sequences: list[Sequence], task: str) -> None:
    for sequence in sequences:
        if not sequence.has_depth or sequence.depth_kind != "metric":
            raise DataError(
                f"{sequence.name}: task {task} learns from metric depth, which is missing "
                "(depth/, depth_kind: metric); leave it out by data.train and data.val"
            )


def _check_points(sequences: list[Sequence], why: str) -> None:
    for sequence in sequences:
        if not sequence.has_points:
            raise DataError(
                f"{sequence.name}: {why}, and there is no points/; render them with 'depthkit "
                "synth shapes', or label pictures with the script label_points.py"
            )


def _check_metric_poses(sequences: list[Sequence], why: str) -> None:
    for sequence in sequences:
        if not sequence.has_metric_poses:
            raise DataError(
                f"{sequence.name}: {why} gives metres by poses in metres, and "
                "these are up to scale; tell the odometry a length (camera height, speed), or "
                "learn by rebuilt views with loss.motion: known"
            )


def _check_known_motion(sequences: list[Sequence], why: str) -> None:
    for sequence in sequences:
        if sequence.poses is None:
            raise DataError(
                f"{sequence.name}: {why}, and there is no poses.txt; "
                "leave it out by data.train and data.val"
            )


def _check_one_focal_length(sequences: list[Sequence], config: TrainConfig) -> None:
    if config.model.depth == "sweepnet":  # its volume is made with K
        return
    size = config.data.size
    cameras = [sequence.camera.resized(size) for sequence in sequences]
    focal = [f for camera in cameras for f in (camera.fx, camera.fy)]
    if max(focal) > FOCAL_SPREAD * min(focal):
        raise DataError(
            f"focal lengths from {min(focal):.1f} to {max(focal):.1f} pixels at {size}: a network "
            "for pairs has no input for them; train on sequences of one camera, at a data.size of "
            "its own aspect, or set model.depth: sweepnet"
        )


def check_poses(data: RunData, loss: LossConfig) -> None:
    """Refuse to ask for known motions where none is known: the scale would be called metric.

    Raises:
        DataError: baselines or rotations are asked for, and no training sequence has poses.
    """
    if loss.baseline_weight == loss.rotation_weight == 0:
        return
    known = [s for s in data.train.sequences if s.poses is not None and np.isfinite(s.poses).any()]
    if not known:
        raise DataError(
            f"loss.baseline_weight or loss.rotation_weight is set, but none of {list(data.names)} "
            "has poses (poses.txt); prepare them with --poses, or set both weights to 0"
        )


def choose_names(wanted: tuple[str, ...], dataset: Dataset, part: str) -> tuple[str, ...]:
    """Return sequence names; a glob stands for all of its own part of the split."""
    names: dict[str, None] = {}  # keeps order, each once
    for word in wanted or getattr(dataset, part):
        if not set(word) & set("*?["):
            names[word] = None
            continue
        found = match_names(getattr(dataset, part), word)
        if not found:
            raise ConfigError(
                f"{dataset.root}: no sequence under {part} in split.yaml matches {word!r}; "
                f"change data.{part}"
            )
        names.update(dict.fromkeys(found))
    return tuple(names)


def _choose_shifts(config: DataConfig, sequences: list[Sequence]) -> tuple[int, ...]:
    if config.shifts != "auto":
        return config.shifts
    steps = [max(abs(shift) for shift in suggest_shifts(sequence)) for sequence in sequences]
    step = round(float(np.median(steps)))
    return (-step, step)


def _usable(sequence: Sequence, skip_static: bool) -> np.ndarray:
    """Frames that may be targets: those a saved inspection has not called unusable. (N,) bool"""
    if not skip_static or not (sequence.root / "inspect.json").exists():
        return np.ones(len(sequence), bool)
    return np.asarray(load_inspection(sequence.root).usable)


def _reachable(sequence: Sequence, shifts: tuple[int, ...], known_motion: bool) -> np.ndarray:
    """Targets before whose end no source lies; with known motion, known to all. (N,) bool"""
    if known_motion:
        return with_known_motion(sequence, shifts)
    return np.arange(len(sequence)) < len(sequence) - max(0, max(shifts, default=0))


def _tail(possible: np.ndarray, share: float) -> np.ndarray:
    """The last possible targets of a sequence: a share of the frames, one at least. (N,) bool"""
    last = np.flatnonzero(possible)[-max(1, round(len(possible) * share)) :]
    return np.arange(len(possible)) >= (last[0] if len(last) else len(possible))
