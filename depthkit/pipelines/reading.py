# SPDX-License-Identifier: Apache-2.0
"""The frames of a stream that can be read; the others are named and counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from depthkit.data.frame_conversion import MAX_UNREADABLE
from depthkit.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    from depthkit.data.stream import FrameStream, StreamFrame
    from depthkit.watcher import Watcher


def readable(
    stream: FrameStream, name: str, skipped: list[str], watcher: Watcher
) -> Iterator[tuple[StreamFrame, np.ndarray]]:
    """Pass on frames that can be read, and their colours (H, W, 3); name the rest, up to 5 %.

    Args:
        stream: the source.
        name: of the stage, for the progress bar.
        skipped: gets a line for each unreadable frame.
        watcher: receives progress, and a note for each unreadable frame.

    Raises:
        DataError: more than 5 % cannot be read.
    """
    total = len(stream)
    for frame in watcher.track(stream.frames(), name, total):
        if frame.rgb is not None:
            yield frame, frame.rgb
            continue
        skipped.append(frame.problem)
        watcher.note(f"skipped: {frame.problem}")
        if len(skipped) > MAX_UNREADABLE * total:
            raise DataError(
                f"{len(skipped)} of {total} frames unreadable (more than {MAX_UNREADABLE:.0%}),"
                f" the last: {frame.problem}"
            )
