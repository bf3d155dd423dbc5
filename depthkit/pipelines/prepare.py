# SPDX-License-Identifier: Apache-2.0
"""`prepare` as a job: options checked, one record of all sequences that were written."""

import math
from dataclasses import dataclass, replace

from depthkit.data import prepare as preparing
from depthkit.data.importers import FORMATS
from depthkit.data.prepare import Prepared, PrepareOptions
from depthkit.errors import ConfigError
from depthkit.pipelines.checks import (
    check_at_least,
    check_choice,
    check_crop,
    check_positive,
    check_size,
)
from depthkit.pipelines.odometry.options import WORD, ScaleSources
from depthkit.watcher import SILENT, Watcher

__all__ = ["PrepareSummary", "Prepared", "check_prepare", "prepare"]

CHOICES = {
    "format": ("auto", *FORMATS),
    "time_unit": ("auto", "s", "ms", "us", "ns"),
    "quaternion": ("xyzw", "wxyz"),
    "bits": (10, 12, 16),
    "bayer": ("rggb", "bggr", "grbg", "gbrg"),
    "fit": ("stretch", "crop"),
    "split": ("train", "val", "test"),
    "ext": ("jpg", "png"),
}
NO_SCALE = ScaleSources()
WIDEST = 170  # degrees: what a pinhole still makes sense of


@dataclass(frozen=True)
class PrepareSummary:
    """What became of a source."""

    out: str
    """The data set folder."""
    sequences: tuple[Prepared, ...]
    """One record a sequence."""


def prepare(
    options: PrepareOptions, watcher: Watcher = SILENT, *, scale: ScaleSources = NO_SCALE
) -> PrepareSummary:
    """Write the chosen sequences of a source as sequence folders of a data set.

    Args:
        options: what to read and how to store it; `poses` may be the word odometry.
        watcher: receives progress and notes.
        scale: what gives the odometry metres.

    Raises:
        ConfigError: an option has a value that it cannot have.
        DataError: nothing to read, no calibration, an output that exists; nothing half-written.
    """
    check_prepare(options)
    if options.poses != WORD:
        if scale.names:
            raise ConfigError(f"{scale.names[0]}: is for --poses odometry")
        return PrepareSummary(str(options.out), tuple(preparing.prepare(options, watcher)))
    from depthkit.pipelines.odometry.sequence_poses import find_sequence_poses

    by_odometry = replace(options, poses=None, motion=f"odometry {scale}")
    done = preparing.prepare(
        by_odometry,
        watcher,
        find_poses=lambda folder: find_sequence_poses(folder, scale, watcher),
    )
    return PrepareSummary(str(options.out), tuple(done))


def check_prepare(options: PrepareOptions) -> None:
    """Check the options as the command line checks its arguments.

    Raises:
        ConfigError: names the option, what was expected and what it got.
    """
    for name, choices in CHOICES.items():
        check_choice(name, getattr(options, name), choices)
    check_crop(options.crop)
    check_size(options.size)
    check_at_least(1, every=options.every, workers=options.workers)
    check_at_least(0, start=options.start)
    check_positive(fps=options.fps, max_gap=options.max_gap, depth_scale=options.depth_scale)
    check_positive(fov=options.fov)
    low, high = options.levels or (0.0, 1.0)
    if not -math.inf < low < high < math.inf:
        raise ConfigError(f"levels: expected two rising numbers, got {options.levels}")
    if options.fov is not None and options.fov >= WIDEST:
        raise ConfigError(f"fov: degrees below {WIDEST}, got {options.fov:g}")
    if options.fov is not None and options.camera is not None:
        raise ConfigError("camera and fov are two answers to one question; give one of the two")
