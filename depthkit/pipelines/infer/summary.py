# SPDX-License-Identifier: Apache-2.0
"""What `infer` has done: the record it returns, prints and keeps as summary.json."""

from dataclasses import dataclass


@dataclass(frozen=True)
class InferSummary:
    """What was done: printed, and kept as summary.json."""

    model: str
    source: str
    out: str
    frames: int
    """Frames that could be read."""
    skipped: tuple[str, ...]
    """Unreadable frames, one line each with the reason."""
    coverage: float
    """Share of the readable frames that have depth."""
    without_depth: tuple[str, ...]
    """Readable frames without depth, one line each with the reason."""
    rule: str | None
    """How earlier frames were chosen; null for a network of single frames."""
    scale: str
    """metric | relative"""
    scale_source: str
    """Where the scale comes from, in words."""
    depth_scale: float
    """PNG value / depth_scale = depth"""
    path_length: float | None
    """Length of the trajectory, metres if path_scale is metric; null without a trajectory."""
    path_scale: str | None
    """metric | relative"""
    segments: int | None
    """Parts of the trajectory between which the motion is not known."""
    static_rule: str | None
    """Evidence by which pixels were called static; null without a flow network."""
    without_static: tuple[str, ...]
    """Frames without a static map, one line each with the reason."""
    backend: str
    precision: str
    threads: int
    seconds: float
    """Wall time from the first frame to the last file."""
    files: dict[str, str]
    """Kind of output -> file or folder inside `out`."""
