# SPDX-License-Identifier: Apache-2.0
"""Windows and black borders of frames: the option `--crop`, for sequences and for streams.

'mask' keeps the frames whole and leaves a border out by a mask; 'auto' also cuts the frames to the
picture; 'none' searches for nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from depthkit.camera import SourceCamera
from depthkit.data.black_border import Border, find_border
from depthkit.data.image_io import UnreadableImageError, read_rgb
from depthkit.data.importers.source import Source
from depthkit.data.stream import FrameStream, StreamFrame
from depthkit.errors import DataError

Window = tuple[int, int, int, int]
"""Top, left, height, width, pixels."""
Crop = str | Window
"""mask, auto or none, or the window to cut."""

LOOKS, STRIDE = 16, 2
"""Frames a border is looked for in: so many, every n-th from the start."""
KNOWN = 0.02
"""Share of the frame that a border may add to a mask without being another one."""
_OVERRULE = "the rest is left out (--crop auto cuts it off, --crop none keeps all)"


@dataclass(frozen=True)
class Cut:
    """What is cut off and left out of the frames of a source."""

    window: Window | None = None
    """None for whole frames."""
    mask: np.ndarray | None = None
    """Pixels of the frames as cut that are picture; None where all are. (H, W) bool"""
    words: tuple[str, ...] = ()
    """What was found and taken."""


def cut_image(image: np.ndarray, window: Window | None) -> np.ndarray:
    """Return a window of an image, the image itself without one. (H, W, ...)"""
    if window is None:
        return image
    top, left, height, width = window
    return np.ascontiguousarray(image[top : top + height, left : left + width])


def crop_camera(source: SourceCamera, window: Window | None) -> SourceCamera:
    """Return the camera of a window of its frames; the lens bends rays as before.

    Raises:
        DataError: the window leaves the frames, or the principal point lies outside of it.
    """
    if window is None:
        return source
    try:
        return replace(source, camera=source.camera.cropped(window[0], window[1], window[2:]))
    except DataError as error:
        top, left, height, width = window
        inside = 0 <= source.camera.cx - left < width and 0 <= source.camera.cy - top < height
        if not inside:
            raise DataError(
                f"--crop: the window of {width}x{height} at top {top}, left {left} does not hold "
                f"the camera's principal point ({source.camera.cx:g}, {source.camera.cy:g}); "
                "choose one around it"
            ) from None
        raise DataError(f"--crop: {str(error).removeprefix('camera: ')}") from None


def plan_cut(crop: Crop, border: Border | None, size: tuple[int, int]) -> Cut:
    """Decide what is cut off and left out.

    Args:
        crop: what the user said.
        border: found in the frames; not looked at where a window is given.
        size: of the frames, (H, W).

    Raises:
        DataError: a window that leaves the frames.
    """
    if not isinstance(crop, str):
        top, left, height, width = crop
        if top + height > size[0] or left + width > size[1]:
            raise DataError(
                f"--crop: window of {width}x{height} at top {top}, left {left} leaves the "
                f"{size[1]}x{size[0]} frames"
            )
        return Cut(crop)
    if crop == "none" or border is None:
        return Cut(
            words=("--crop auto: no black border found, frames stay whole",) * (crop == "auto")
        )
    if crop == "auto":
        mask = cut_image(border.mask, border.window)
        words = f"{border.words()}: frames are cut to it (--crop none keeps all)"
        return Cut(border.window, None if mask.all() else mask, (words,))
    return Cut(None, border.mask, (f"{border.words()}: {_OVERRULE}",))


# --- sequences ------------------------------------------------------------------------------------


def cut_of_source(source: Source, crop: Crop) -> Cut:
    """Decide how the frames of a source are cut; a border is looked for in some of them."""
    is_looked_for = isinstance(crop, str) and crop != "none"
    border = find_border(_some_frames(source)) if is_looked_for else None
    if border is not None and border.mask.shape != source.camera.camera.size:
        border = None  # said where the frames are converted
    return plan_cut(crop, border, source.camera.camera.size)


def _some_frames(source: Source) -> Iterator[np.ndarray]:
    """Decode a few frames of a source: spread over files, from the start of a video or bag."""
    count = len(source.frames)
    if source.read is None:
        for i in np.unique(np.linspace(0, count - 1, LOOKS).astype(int)):
            try:
                yield read_rgb(source.frames[i].path, levels=source.levels)
            except UnreadableImageError:
                continue
        return
    indices = [frame.index or 0 for frame in source.frames[: LOOKS * STRIDE : STRIDE]]
    for _, found in source.read(indices):
        if not isinstance(found, str):
            yield found


# --- streams --------------------------------------------------------------------------------------


def crop_stream(stream: FrameStream, crop: Crop) -> FrameStream:
    """Cut the frames of a stream, or mask a black border in them.

    Args:
        stream: a border that its own mask leaves out already is no news.
        crop: what the user said.

    Raises:
        DataError: a window that leaves the frames.
    """
    if crop == "none":
        return stream
    looked_at = [frame.rgb for frame in _first(stream) if frame.rgb is not None]
    if not looked_at:
        return stream
    size = looked_at[0].shape[0], looked_at[0].shape[1]
    border = find_border(looked_at) if isinstance(crop, str) else None
    if crop == "mask" and (border is None or _is_known(border, stream.covered)):
        return stream
    cut = plan_cut(crop, border, size)
    masks = [cut_image(one, cut.window) for one in (stream.covered,) if one is not None]
    masks += [] if cut.mask is None else [cut.mask]
    stream = replace(
        stream,
        notes=(*stream.notes, *cut.words),
        covered=np.logical_and.reduce(masks) if masks else None,
    )
    return stream if cut.window is None else _cut_stream(stream, cut.window, size)


def _is_known(border: Border, covered: np.ndarray | None) -> bool:
    """Whether a mask leaves out a border already, all but a rim."""
    if covered is None or covered.shape != border.mask.shape:
        return False
    return bool((covered & ~border.mask).mean() < KNOWN)


def _first(stream: FrameStream) -> Iterator[StreamFrame]:
    return islice(stream.frames(), 0, LOOKS * STRIDE, STRIDE)


def _cut_stream(stream: FrameStream, window: Window, size: tuple[int, int]) -> FrameStream:
    camera = stream.camera
    if camera is not None:
        camera = crop_camera(SourceCamera(camera), window).camera

    def frames() -> Iterator[StreamFrame]:
        for frame in stream.frames():
            if frame.rgb is not None and frame.rgb.shape[:2] != size:
                raise DataError(
                    f"{stream.path}: frame {frame.name} is {frame.rgb.shape[1]}x"
                    f"{frame.rgb.shape[0]}, the first one {size[1]}x{size[0]}: --crop needs frames "
                    "of one size"
                )
            yield frame if frame.rgb is None else replace(frame, rgb=cut_image(frame.rgb, window))

    return replace(stream, camera=camera, frames=frames)
