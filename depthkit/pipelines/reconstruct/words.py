# SPDX-License-Identifier: Apache-2.0
"""What a reconstruction says of itself: what is metres and why, what failed, what was assumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from depthkit.pipelines.odometry.options import REMEDY
from depthkit.runtime.result import CONFIDENT_SIGMA

if TYPE_CHECKING:
    from depthkit.pipelines.odometry.path_log import PathLog
    from depthkit.pipelines.reconstruct.depth import DepthPass
    from depthkit.pipelines.reconstruct.frames import KnownCamera
    from depthkit.pipelines.reconstruct.summary import PartSummary
    from depthkit.pipelines.reconstruct.surface import Surface

FEW = 0.95
"""Share of frames with a pose, or with depth, below which it counts as a failure."""
NAMED = 4
"""Losses and segments that are named one by one."""
UNSURE = 0.05
"""Relative standard deviation of a focal length from which on it is said to bend shapes."""


def about_metres(main: PartSummary, sources: tuple[str, ...], log: PathLog) -> tuple[str, ...]:
    """Say what is metres and why, or why nothing is.

    Args:
        main: the largest segment.
        sources: what was there to give metres.
        log: what the odometry said, frame by frame.
    """
    if main.unit == "metric":
        sigma = "" if main.scale_sigma is None else f", +- {100 * main.scale_sigma:.2g} %"
        return (
            f"Metres: depth, path and surface are in metres, by {main.scale_source}{sigma}. All of "
            "them share one factor: if it is off, everything is off by the same share.",
        )
    if not sources:
        return (
            "Not metres: pictures alone do not say how large things are, so depth, path and "
            f"surface share one unknown factor. Shapes and proportions hold; for metres {REMEDY}.",
        )
    reasons = Counter(one.scale.reason for one in log.posed if one.scale.reason)
    why = f": {reasons.most_common(1)[0][0]}" if reasons else ""
    return (f"Not metres: {' and '.join(sources)} gave no scale for the largest segment{why}.",)


def about_failures(
    log: PathLog,
    parts: tuple[PartSummary, ...],
    depth: DepthPass,
    surface: Surface | None,
    suspicions: tuple[str, ...],
) -> tuple[str, ...]:
    """Say what did not work, and why.

    Args:
        log: what the odometry said, frame by frame.
        parts: the segments, the largest first.
        depth: what the second reading left.
        surface: of the largest segment.
        suspicions: of the odometry, about calibration and sensors.
    """
    return (
        *_about_poses(log),
        *_about_segments(parts),
        *_about_depth(parts, depth),
        *_about_surface(surface),
        *(f"The odometry says: {one}." for one in suspicions),
    )


def _about_poses(log: PathLog) -> Iterator[str]:
    total = len(log.frames)
    losses = log.losses()
    missing = sum(one.frames for one in losses)
    # Frames before the first start are given a pose later, by the map.
    if not losses or missing < (1 - FEW) * total:
        return
    named = "; ".join(
        f"{one.start:.1f} to {one.end:.1f} s ({one.frames} frames): {one.reason}"
        for one in losses[:NAMED]
    )
    left = f"; and {len(losses) - NAMED} more stretches" if len(losses) > NAMED else ""
    yield f"The live path has no pose for {missing} of {total} frames: {named}{left}."


def _about_segments(parts: tuple[PartSummary, ...]) -> Iterator[str]:
    if len(parts) == 1:
        return
    kept = sum(bool(one.folder) for one in parts[1:])
    where = f"; {kept} more lie in segments/, each in a world of its own" if kept else ""
    yield (
        f"The path broke into {len(parts)} segments, between which the motion is not known: the "
        f"largest one ({parts[0].poses} frames) is what you see{where}."
    )


def _about_depth(parts: tuple[PartSummary, ...], depth: DepthPass) -> Iterator[str]:
    posed = sum(one.poses for one in parts)
    found = sum(one.frames for one in depth.segments.values())
    if found < FEW * posed:
        reasons = sum((one.reasons for one in depth.segments.values()), Counter[str]())
        why = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(NAMED))
        yield f"{posed - found} of {posed} frames with a pose have no depth{': ' * bool(why)}{why}."
    if found and parts[0].confident < 0.3:
        yield (
            f"Only {parts[0].confident:.0%} of the pixels are measured, with a standard deviation "
            f"of {CONFIDENT_SIGMA:.0%} or less; the rest is filled in and not part of the surface: "
            "little parallax, little texture, or moving things."
        )


def _about_surface(surface: Surface | None) -> Iterator[str]:
    if surface is None:
        yield "No surface: too few pixels were measured well enough to make one."
    elif surface.dropped:
        yield (
            f"The scene is larger than the memory for it: {surface.dropped} blocks of the surface "
            "that lay farthest away were given up; a larger --voxel keeps all."
        )


def about_assumptions(
    camera: KnownCamera, assumed: tuple[str, ...], main: PartSummary
) -> tuple[str, ...]:
    """Say what nobody stated and was taken.

    Args:
        camera: and where it came from.
        assumed: notes of the source.
        main: the largest segment.
    """
    said = [] if camera.origin in ("calibration", "EXIF") else [f"Camera: {camera.words}."]
    if camera.sigma is not None and camera.sigma > UNSURE:
        said.append(
            f"The focal length is known to {100 * camera.sigma:.0f} % only: depth along the view "
            "may be stretched by as much."
        )
    axes = f"Axes of the surface: {main.axes}."
    return (*said, *(_sentence(one) for one in assumed), "The scene stood still.", axes)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
