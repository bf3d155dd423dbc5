# SPDX-License-Identifier: Apache-2.0
"""From a data configuration to the two data sets of a run: what teaches and what is held out."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from depthkit.config import DataConfig, LossConfig
from depthkit.data.augment import Variation
from depthkit.data.inspect import load_inspection, suggest_shifts
from depthkit.data.sequence import Sequence, open_dataset
from depthkit.data.snippet import SnippetDataset
from depthkit.errors import ConfigError, DataError


@dataclass(frozen=True)
class RunData:
    """What a run learns from and is judged on."""

    train: SnippetDataset
    val: SnippetDataset
    shifts: tuple[int, ...]
    names: tuple[str, ...]
    """Sequences trained on, for the checkpoint."""


def open_run_data(config: DataConfig, *, seed: int) -> RunData:
    """Open the sequences, choose the shifts, and hold out what validates.

    Where no validation sequence is named, the last targets of each training sequence are held out.
    They may still be sources: depth is never predicted for a source.

    Raises:
        DataError: a sequence is missing, broken or too short.
        ConfigError: no training sequence.
    """
    dataset = open_dataset(config.root)
    train_names, val_names = config.train or dataset.train, config.val or dataset.val
    if not train_names:
        raise ConfigError(f"{config.root}: no training sequence; name them in data.train")
    sequences = [dataset.open(name) for name in train_names]
    shifts = _choose_shifts(config, sequences)
    usable = [_usable(sequence, config.skip_static) for sequence in sequences]
    common: dict[str, Any] = {"shifts": shifts, "size": config.size, "seed": seed}
    if val_names:
        val_sequences = [dataset.open(name) for name in val_names]
        val = SnippetDataset(val_sequences, **common)
    else:
        held_out = [_tail(len(sequence), shifts, config.validation_share) for sequence in sequences]
        val = SnippetDataset(sequences, targets=held_out, **common)
        usable = [u & ~held for u, held in zip(usable, held_out, strict=True)]
    variation = Variation(config.flip, config.colour_jitter, config.zoom)
    train = SnippetDataset(sequences, targets=usable, variation=variation, **common)
    return RunData(train, val, shifts, tuple(train_names))


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


def _tail(count: int, shifts: tuple[int, ...], share: float) -> np.ndarray:
    """The last targets of a sequence: a share of the frames, one at least. (N,) bool"""
    last = count - max(0, *shifts)
    return np.arange(count) >= last - max(1, round(count * share))
