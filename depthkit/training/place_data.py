# SPDX-License-Identifier: Apache-2.0
"""The data of a run that learns places: sequences, two dates of the same places, or pictures."""

from dataclasses import replace

import numpy as np

from depthkit.config import DataConfig, TrainConfig
from depthkit.data.augment import Variation
from depthkit.data.place_loading import (
    PlaceDataset,
    PlaceReading,
    PlaceSource,
    paired_source,
    picture_source,
    sequence_source,
)
from depthkit.data.sequence import open_dataset
from depthkit.errors import ConfigError
from depthkit.training.data import RunData, choose_names


def open_place_data(config: TrainConfig) -> RunData:
    """Open what shows places, and hold out what validates.

    `data.root` is a data set or a sequence folder, a folder with `A` and `B`, or a folder of
    pictures; `place.pictures` are further folders of pictures. Without validation sequences the
    last pictures of each source are held out.

    Raises:
        DataError: a part is missing or broken, or too few pictures are left.
        ConfigError: no training sequence.
    """
    data = config.data
    train, val = _open_sources(config)
    held_out = [_tail(source.usable, data.validation_share) for source in train]
    reading = PlaceReading(
        size=data.size, rasters=config.model.place_second == "raster", seed=config.run.seed
    )
    variation = Variation(data.flip, data.colour_jitter, data.zoom, data.flip_vertical)
    if val:
        judged = PlaceDataset(val, reading)
        targets = None
    else:
        judged = PlaceDataset(train, reading, targets=held_out)
        targets = [~held for held in held_out]
    varied = replace(reading, variation=variation)
    names = tuple(source.name for source in train)
    return RunData(PlaceDataset(train, varied, targets=targets), judged, (), names, None, None)


def _open_sources(config: TrainConfig) -> tuple[list[PlaceSource], list[PlaceSource]]:
    """Open what teaches and what validates."""
    data, place = config.data, config.place
    more = [picture_source(folder) for folder in place.pictures]
    root = data.root
    if not any((root / name).exists() for name in ("camera.yaml", "split.yaml")):
        pairs = all((root / name).is_dir() for name in ("A", "B"))
        return [paired_source(root) if pairs else picture_source(root), *more], []
    dataset = open_dataset(root)
    names, val_names = _names(data)
    train, val = (
        [
            sequence_source(dataset.open(name), overlap=place.overlap, turned=place.turned)
            for name in part
        ]
        for part in (names, val_names)
    )
    return [*train, *more], val


def _names(data: DataConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    dataset = open_dataset(data.root)
    names = choose_names(data.train, dataset, "train")
    if not names:
        raise ConfigError(f"{data.root}: no training sequence; name them in data.train")
    return names, choose_names(data.val, dataset, "val")


def _tail(usable: np.ndarray, share: float) -> np.ndarray:
    """The last usable pictures of a source: a share of them, two at least. (N,) bool"""
    last = np.flatnonzero(usable)[-max(2, round(usable.sum() * share)) :]
    return np.arange(len(usable)) >= (last[0] if len(last) else len(usable))
