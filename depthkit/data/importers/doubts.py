# SPDX-License-Identifier: Apache-2.0
"""Doubts about a whole source: options without effect, impossible cameras and lenses."""

from dataclasses import replace

import cv2
import numpy as np

from depthkit.data.image_io import UnreadableImageError, read_bytes
from depthkit.data.importers.source import ImportOptions, Source
from depthkit.errors import DataError
from depthkit.picture import decode
from depthkit.undistort import doubt_lens

LONGEST_GAP, GAP_STEPS = 5.0, 100.0
"""Seconds, and usual steps between frames, that a gap has at least to be named."""
FASTEST = 60.0
"""Metres per second, as the median of a recording, beyond which its unit is doubted."""


def with_doubts(source: Source, options: ImportOptions, *, bayer: str | None = None) -> Source:
    """Add notes on options that are not used and on what no camera does.

    Args:
        source: the frames that are prepared.
        options: what the user said.
        bayer: the mosaic the user named.

    Raises:
        DataError: a mosaic was named and the pictures have colours.
    """
    if bayer and source.read is None:
        _check_mosaic(source, bayer)
    return replace(
        source,
        notes=(
            *source.notes,
            *_unused(source, options, bayer),
            *_jump(source.times),
            *_still(source),
        ),
        assumed=(*source.assumed, *_speed(source), *doubt_lens(source.camera)),
    )


def _unused(source: Source, options: ImportOptions, bayer: str | None) -> tuple[str, ...]:
    """Name the options that were given and change nothing in this source."""
    is_bag, has_poses = source.format == "bag", source.poses is not None
    calibration = str(source.origin.get("calibration", "a calibration"))
    is_said = any("--fov" in text for text in (calibration, *source.all_assumed))
    is_numbered = options.fps is not None and _is_rate(source.times, options.fps)
    rows = (
        ("--bits", options.bits != ImportOptions.bits and not is_bag, "it is for bags"),
        ("--odometry-topic", bool(options.odometry_topic) and not is_bag, "it is for bags"),
        ("--bayer", bool(bayer) and source.read is not None, "it is for picture files"),
        ("--quaternion", options.quaternion is not None and options.poses is None, "no --poses"),
        ("--max-gap", options.max_gap != ImportOptions.max_gap and not has_poses, "no poses"),
        ("--time-unit", options.time_unit != "auto" and is_numbered and not has_poses, "--fps set"),
        ("--fps", options.fps is not None and not is_numbered, "the source has times of its own"),
        ("--fov", options.fov is not None and not is_said, f"{calibration} counts"),
    )
    return tuple(f"{name}: unused, {why}" for name, is_unused, why in rows if is_unused)


def _jump(times: np.ndarray) -> tuple[str, ...]:
    """Name a gap in the times that no recording has."""
    steps = np.diff(times)
    if len(steps) < 3 or steps.max() < max(LONGEST_GAP, GAP_STEPS * float(np.median(steps))):
        return ()
    i = int(steps.argmax())
    return (
        f"times jump by {steps[i]:.6g} s between frames {i} and {i + 1}: two recordings, or a "
        "clock that was set? --frames takes a part",
    )


def _is_rate(times: np.ndarray, fps: float) -> bool:
    """Whether times are those of a frame rate, frames may be left out between them."""
    steps = np.diff(times) * fps
    return bool(np.allclose(steps, np.round(steps), atol=1e-3))


def _check_mosaic(source: Source, bayer: str) -> None:
    """Refuse --bayer for pictures that have colours already."""
    path = source.frames[0].path
    try:
        image = decode(read_bytes(path), path, cv2.IMREAD_UNCHANGED)
    except UnreadableImageError:
        return
    if image.ndim == 3 and bool((image[..., :1] != image[..., 1:3]).any()):
        raise DataError(
            f"{path}: --bayer {bayer}: is a colour picture, no mosaic; leave out --bayer"
        )


def _steps(source: Source) -> np.ndarray:
    """Return how far the camera moves between neighbouring frames with poses. (M,)"""
    if source.poses is None:
        return np.empty(0)
    steps = np.linalg.norm(np.diff(source.poses[:, :3, 3], axis=0), axis=1)
    return steps[np.isfinite(steps)]


def _speed(source: Source) -> tuple[str, ...]:
    """Doubt the unit of poses that move like a missile."""
    steps = _steps(source)
    if not source.metric or not len(steps):
        return ()
    step = float(np.median(steps))
    speed = step / float(np.median(np.diff(source.times)))
    if not speed > FASTEST:
        return ()
    return (
        f"poses taken as metres, times as seconds: the camera moves {step:.3g} m a frame, "
        f"{speed:.3g} m/s; if it does not, divide the positions (by 1000 if they are millimetres) "
        "or set the rate (--fps, --time-unit)",
    )


def _still(source: Source) -> tuple[str, ...]:
    """Say that the poses are all one."""
    if source.poses is None:
        return ()
    known = source.poses[np.isfinite(source.poses).all(axis=(1, 2))]
    if len(known) < 3 or not np.allclose(known, known[0], atol=1e-9):
        return ()
    return (f"all {len(known)} poses are the same: the camera stood still, or they are empty",)
