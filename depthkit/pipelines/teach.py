# SPDX-License-Identifier: Apache-2.0
"""Depth of several posed views, computed once before a training that it teaches.

The sweep looks at the frames of the training sequences; what it is sure of is kept in `teacher/`
of the sequence folder and read again by later runs, until poses or settings change.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from depthkit.data.teacher_maps import TeacherWriter, digest, open_teacher
from depthkit.errors import DataError
from depthkit.runtime.motion.told import Motion
from depthkit.runtime.result import CONFIDENT_SIGMA
from depthkit.watcher import SILENT, Watcher

if TYPE_CHECKING:
    from depthkit.config import TrainConfig
    from depthkit.data.sequence import Sequence
    from depthkit.runtime.depth.sweep_config import SweepConfig
    from depthkit.runtime.depth.sweep_stream import SweepStream

WORKING_WIDTH = 320
"""Width that views are compared at, pixels, by a whole factor below the camera's."""
DEPTH_STEPS = 2000
"""Steps of a stored depth at the usual depth of a sequence; what is 32 times as far is left out."""
LEAST_COVERAGE = 0.02
"""Share of sure pixels, over all frames, below which there is no teacher."""

LEAST_INTERVAL = 0.06
"""Time between two frames that are looked at, seconds: closer ones of a fast camera show the same.
"""

MakeStream = Callable[["SweepConfig"], "SweepStream"]


def make_teachers(
    config: TrainConfig, watcher: Watcher = SILENT, *, make_stream: MakeStream | None = None
) -> None:
    """Write `teacher/` into the training sequences that have none of these poses and settings.

    Args:
        config: of a run with supervised.teacher: sweep.
        watcher: receives progress, and a note for each sequence.
        make_stream: makes the depth source; the sweep where None.

    Raises:
        DataError: a sequence has no poses, or the sweep is sure of next to nothing.
    """
    from depthkit.training.data import training_sequences

    for sequence in training_sequences(config.data):
        settings = sweep_settings(sequence)
        made_of = digest(sequence, asdict(settings))
        there = open_teacher(sequence)
        if there is not None and there.made_of == made_of:
            continue
        _check(sequence)
        stream = (make_stream or _sweep)(settings)
        coverage = _teach(sequence, stream, made_of, settings.shrink, watcher)
        watcher.note(f"{sequence.name}: the sweep is sure of {coverage:.0%} of the pixels")


def sweep_settings(sequence: Sequence) -> SweepConfig:
    """Return the sweep's settings for frames of a sequence's size."""
    from depthkit.runtime.depth.sweep_config import SweepConfig

    return SweepConfig(shrink=max(1, round(sequence.camera.width / WORKING_WIDTH)))


def _sweep(settings: SweepConfig) -> SweepStream:
    from depthkit.runtime.depth.sweep_stream import SweepStream

    return SweepStream(settings)


def _check(sequence: Sequence) -> None:
    if sequence.poses is None:
        raise DataError(
            f"{sequence.name}: supervised.teacher: sweep needs poses (poses.txt); make them with "
            "'depthkit prepare --poses odometry', or give a sensor's with 'prepare --poses FILE'"
        )
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise DataError(
            f"{sequence.name}: has no depth of the sweep yet, and several processes would make it "
            "at once; start the run once in a single process"
        )


def _spread(frames: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Leave out frames sooner than `LEAST_INTERVAL` after the last one taken. (M,) int"""
    taken: list[int] = []
    for frame in frames:
        if not taken or times[frame] - times[taken[-1]] >= LEAST_INTERVAL:
            taken.append(int(frame))
    return np.array(taken)


def _teach(
    sequence: Sequence, stream: SweepStream, made_of: str, shrink: int, watcher: Watcher
) -> float:
    """Write one sequence's maps; return the share of sure pixels."""
    from depthkit.data.sparse_depth import usual_depth

    labels, poses = sequence.segments(), np.asarray(sequence.poses)
    posed = _spread(np.flatnonzero(labels >= 0), sequence.times)
    usual = usual_depth(sequence, int(labels[posed[0]]), min(8, len(posed) - 1))[0] or 1.0
    sure, last = 0.0, None
    watcher.begin(f"sweep of {sequence.name}", len(posed))
    with TeacherWriter(sequence, made_of, DEPTH_STEPS / usual) as writer:
        for i in posed.tolist():
            if labels[i] != last:
                stream.reset()
                last = labels[i]
            result = stream.process(
                sequence.read_frame(i),
                stamp=float(sequence.times[i]),
                K=sequence.camera.K,
                motion=Motion(poses[i], metric=sequence.has_metric_poses),
            )
            watcher.advance(1)
            if result.depth is None or result.sigma is None or result.valid is None:
                continue
            known = result.valid & (result.sigma <= CONFIDENT_SIGMA)
            depth = np.where(known, result.depth, 0)
            middle = slice(shrink // 2, None, shrink)
            writer.add(sequence.frames[i].stem, depth[middle, middle], result.sigma[middle, middle])
            sure += float(known.mean())
        coverage = sure / len(posed)
        if coverage < LEAST_COVERAGE:
            raise DataError(
                f"{sequence.name}: the sweep is sure of {coverage:.1%} of the pixels: too little "
                "parallax or texture to teach; run 'depthkit inspect', or set supervised.teacher: "
                "sensor"
            )
    return coverage
