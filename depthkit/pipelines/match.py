# SPDX-License-Identifier: Apache-2.0
"""Disparity of a rectified stereo pair, by census, ZNCC or learnt similarity."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from depthkit.errors import DataError
from depthkit.pipelines.models import PLAIN, EngineOptions, open_features
from depthkit.watcher import SILENT, Watcher

if TYPE_CHECKING:
    from depthkit.multiview.hybrid_match import Matched
    from depthkit.multiview.matching_cost import Describe
    from depthkit.multiview.rectified import PairGeometry

SCALE = 256.0
"""Value of disparity.png per pixel of disparity, as KITTI has it."""
PLAIN_COSTS = ("census", "zncc")


@dataclass(frozen=True)
class MatchOptions:
    """What `match` is asked for."""

    left: Path
    right: Path
    out: Path
    similarity: str = "census"
    """census, zncc, or a model of kind features."""
    max_disparity: int | None = None
    """Largest disparity, pixels; None for what the features of the pair suggest."""
    engine: EngineOptions = PLAIN
    force: bool = False


@dataclass(frozen=True)
class MatchSummary:
    """What was done: printed, and kept as summary.json."""

    left: str
    right: str
    out: str
    width: int
    height: int
    similarity: str
    max_disparity: int
    """Largest disparity that was searched, pixels."""
    measured: float
    """Share of the pixels with a match found from both pictures."""
    median_disparity: float | None
    """Over the measured pixels; null where there is none."""
    vertical_offset: float | None
    """Median offset of matched features across the rows, pixels; null with too few of them."""
    scale: float
    """Value of disparity.png / scale = pixels."""
    seconds: float
    """Time of the matching, without reading and writing."""
    files: dict[str, str]
    """Kind of output -> file inside `out`."""


def match(options: MatchOptions, watcher: Watcher = SILENT) -> MatchSummary:
    """Match a pair and write what is found.

    Raises:
        DataError: a picture is missing, the sizes differ, the pair is not rectified or the other
            way round, or the output exists.
        CheckpointError, EngineError: there is no such model, or it does not run here.
    """
    from depthkit.data.image_io import read_rgb
    from depthkit.multiview.rectified import measure_pair, suggest_max_disparity
    from depthkit.pipelines.output_folder import SUMMARY, check_replaceable, growing
    from depthkit.pipelines.records import save_record

    check_replaceable(options.out, SUMMARY, force=options.force)
    # 1. The pair, and whether it is one.
    left, right = (_grey(read_rgb(path)) for path in (options.left, options.right))
    _check_sizes(left, right, options)
    found = measure_pair(left, right)
    _check_pair(found, options)
    most = options.max_disparity
    if most is None:
        most = suggest_max_disparity(found, left.shape[1])
        watcher.note(f"largest disparity: {most} pixels, by the features that both pictures show")
    elif most >= left.shape[1]:
        raise DataError(f"--max-disparity: below the width, {left.shape[1]} pixels; got {most}")
    # 2. Its disparity.
    with _describing(options, watcher) as describe:
        started = perf_counter()
        matched = _match(left, right, most, options.similarity, describe)
        seconds = perf_counter() - started
    # 3. The folder.
    summary = _summarise(options, matched, found, most, seconds)
    with growing(options.out, force=options.force) as folder:
        _write(folder, matched)
        save_record(summary, folder / SUMMARY)
    return summary


def _grey(rgb: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)


def _check_sizes(left: np.ndarray, right: np.ndarray, options: MatchOptions) -> None:
    if left.shape != right.shape:
        (height, width), (h, w) = left.shape, right.shape
        raise DataError(
            f"{options.right}: is {w}x{h}, {options.left.name} is {width}x{height}; "
            "a rectified pair has one size"
        )


def _check_pair(found: PairGeometry, options: MatchOptions) -> None:
    """Refuse pictures whose features contradict a rectified pair.

    Raises:
        DataError: they do.
    """
    names = f"{options.left.name} and {options.right.name}"
    if not found.is_rectified:
        raise DataError(
            f"{names}: not rectified: the rows of {found.matches} matched features differ by "
            f"{found.vertical:.1f} pixels (median), allowed 1.5; rectify the pair first"
        )
    if found.is_known and found.median < 0:
        raise DataError(
            f"{names}: features lie {-found.median:.1f} pixels farther right in the right picture "
            "(median), so the two look swapped; give the left one first"
        )


@contextmanager
def _describing(options: MatchOptions, watcher: Watcher) -> Iterator[Describe | None]:
    """Open the model of the learnt cost, where one is named."""
    if options.similarity in PLAIN_COSTS:
        yield None
        return
    with open_features(Path(options.similarity), options.engine, note=watcher.note) as engine:
        yield engine


def _match(
    left: np.ndarray, right: np.ndarray, most: int, similarity: str, describe: Describe | None
) -> Matched:
    from depthkit.multiview.hybrid_match import MatchConfig, match_pair

    match similarity:
        case "census":
            config = MatchConfig(cost="census")
        case "zncc":
            config = MatchConfig(cost="zncc")
        case _:
            config = MatchConfig(cost="learned")
    return match_pair(left, right, max_disparity=most, config=config, describe=describe)


def _summarise(
    options: MatchOptions, matched: Matched, found: PairGeometry, most: int, seconds: float
) -> MatchSummary:
    height, width = matched.measured.shape
    known = matched.disparity[matched.measured]
    return MatchSummary(
        left=str(options.left),
        right=str(options.right),
        out=str(options.out),
        width=width,
        height=height,
        similarity=options.similarity,
        max_disparity=most,
        measured=float(matched.measured.mean()),
        median_disparity=float(np.median(known)) if known.size else None,
        vertical_offset=found.vertical if found.is_known else None,
        scale=SCALE,
        seconds=seconds,
        files={
            "disparity": "disparity.png",
            "filled": "disparity.npy",
            "valid": "valid.png",
            "picture": "picture.jpg",
        },
    )


def _write(folder: Path, matched: Matched) -> None:
    """Write measured disparity as 16 bits, filled disparity as floats, the mask and a picture."""
    import io

    from depthkit.data.image_io import encode, write_atomic
    from depthkit.outputs.pictures import InverseDepthColours, save_picture

    steps = np.clip(np.rint(matched.disparity * SCALE), 1, 65535)
    steps = np.where(matched.measured, steps, 0).astype(np.uint16)
    write_atomic(folder / "disparity.png", encode(steps, "png"))
    buffer = io.BytesIO()
    np.save(buffer, matched.disparity)
    write_atomic(folder / "disparity.npy", buffer.getvalue())
    mask = np.where(matched.measured, np.uint8(255), np.uint8(0))
    write_atomic(folder / "valid.png", encode(mask, "png"))
    nearness = InverseDepthColours().paint(1 / np.maximum(matched.disparity, 1 / SCALE))
    save_picture(folder / "picture.jpg", nearness)
