# SPDX-License-Identifier: Apache-2.0
"""The camera of a video, whose pixels may not be square and whose frames may be turned on reading.

A sample aspect ratio is the width of a pixel over its height: fy = fx * ratio for one lens.
"""

from dataclasses import replace

from depthkit.camera import SourceCamera
from depthkit.data.importers.source import ImportOptions, find_camera, guess_camera
from depthkit.data.importers.video_file import VideoFacts
from depthkit.errors import DataError

ASPECT_TOLERANCE = 0.03
"""How far fy / fx of a calibration may lie from the shape of the pixels."""


def find_video_camera(
    facts: VideoFacts, options: ImportOptions
) -> tuple[SourceCamera, str, tuple[str, ...]]:
    """Return the camera of the decoded frames, where it came from, and notes about its pixels.

    Raises:
        DataError: no calibration, or one of the frames before they are turned.
    """
    try:
        camera, calibration = find_camera((facts.path.parent,), facts.size, options)
    except DataError:
        _refuse_unturned(facts, options)
        squeezed = _of_square_pixels(facts, options)
        if squeezed is None:
            raise
        return (*squeezed, ())
    if camera is options.fallback and facts.pixel_aspect != 1.0:
        raise DataError(
            f"{facts.path}: pixels are {facts.pixel_aspect:.3f} times as wide as high, and there "
            "is no calibration; give --camera FILE, or --fov DEGREES"
        )
    if options.fov is not None and camera == guess_camera(options.fov, facts.size):
        return _with_aspect(camera, facts.pixel_aspect), calibration, ()
    return camera, calibration, _about_pixels(facts, camera)


def _of_square_pixels(facts: VideoFacts, options: ImportOptions) -> tuple[SourceCamera, str] | None:
    """Take a calibration of the frames stretched to square pixels, as players show them."""
    height, width = facts.size[0], round(facts.size[1] * facts.pixel_aspect)
    found = None if width == facts.size[1] else _find(facts, (height, width), options)
    if found is None:
        return None
    camera, calibration = found
    sentence = f"the calibration is of the frames stretched to square pixels, {width}x{height}"
    K = camera.camera.resized(facts.size)
    return replace(camera, camera=K, assumed=(*camera.assumed, sentence)), calibration


def _refuse_unturned(facts: VideoFacts, options: ImportOptions) -> None:
    """Name a calibration that fits the frames as they are stored, before they are turned."""
    height, width = facts.size
    if facts.rotation in (90, 270) and _find(facts, (width, height), options) is not None:
        raise DataError(
            f"{facts.path}: {_turned(facts)}: they are {width}x{height} but the calibration is for "
            f"{height}x{width}; give the calibration of the turned frames"
        )


def _find(
    facts: VideoFacts, size: tuple[int, int], options: ImportOptions
) -> tuple[SourceCamera, str] | None:
    """Return the calibration if it is of another size, (H, W)."""
    try:
        found = find_camera((facts.path.parent,), size, options)
    except DataError:
        return None
    return found if found[0].camera.size == size else None


def _with_aspect(camera: SourceCamera, aspect: float) -> SourceCamera:
    """Give a guessed camera the pixels of the file."""
    if aspect == 1.0:
        return camera
    K = replace(camera.camera, fy=camera.camera.fx * aspect)
    sentence = (
        f"pixels are {aspect:.3f} times as wide as high by the file's sample aspect ratio: "
        f"fx {K.fx:.1f}, fy {K.fy:.1f} (--camera overrules)"
    )
    return replace(camera, camera=K, assumed=(*camera.assumed, sentence))


def _about_pixels(facts: VideoFacts, camera: SourceCamera) -> tuple[str, ...]:
    """Say where a calibration contradicts the shape of the pixels, or may be of unturned frames."""
    if camera.camera.size != facts.size:
        return ()
    notes, ratio = list[str](), camera.camera.fy / camera.camera.fx
    if facts.rotation:
        notes.append(f"{_turned(facts)}: the calibration must be of the turned frames")
    if abs(ratio / facts.pixel_aspect - 1) > ASPECT_TOLERANCE:
        notes.append(
            f"pixels are {facts.pixel_aspect:.3f} times as wide as high by the file's sample "
            f"aspect ratio, the calibration has fy / fx = {ratio:.3f}: is it of other pixels? it "
            "is used as it is"
        )
    return tuple(notes)


def _turned(facts: VideoFacts) -> str:
    return f"the file says to turn its frames by {facts.rotation} degrees, which is done"
