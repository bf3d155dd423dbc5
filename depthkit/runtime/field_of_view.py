# SPDX-License-Identifier: Apache-2.0
"""The lit field of view of an endoscope: the round picture inside its dark border.

The border never gets bright, while dark tissue does as the scope moves: the decision is made on the
largest brightness each pixel has reached. Deterministic: the same frames give the same mask.
"""

from os.path import expanduser  # that of Path raises where a user has no home
from pathlib import Path

import cv2
import numpy as np

from depthkit.errors import DataError
from depthkit.runtime.preprocess import check_frame, enlarge_mask, to_size

LIT = 24  # grey levels of the brightest channel; noise of the dark frame stays below 10
WORK_SIDE = 320  # pixels; the estimate is made on a smaller picture, which also thins noise out
RIM = np.ones((3, 3), np.uint8)  # the blurred edge of the picture, one pixel of the small one


class FieldOfView:
    """The lit region of a stream of frames; a change of image size starts over."""

    def __init__(self, *, memory: int = 300) -> None:
        """Start without any frame.

        Args:
            memory: frames in a block. Brightness older than two blocks no longer counts, so that
                a "no signal" screen is dropped.
        """
        if memory < 1:
            raise DataError(f"memory: 1 frame or more, got {memory}")
        self._memory = memory
        self.reset()

    def reset(self) -> None:
        """Forget all frames."""
        self._size = (0, 0)
        self._now: np.ndarray = np.zeros((0, 0), np.uint8)  # maximum of this block of frames
        self._before: np.ndarray = self._now  # maximum of the previous block
        self._count = 0
        self._lit = np.zeros((0, 0), bool)
        self._mask = np.zeros((0, 0), bool)

    def look(self, rgb: np.ndarray) -> np.ndarray:
        """Take the next frame and return the mask of the picture.

        Args:
            rgb: (H, W, 3) uint8

        Returns:
            True inside the picture; all False until something was bright. Read-only; the same array
            is returned until the estimate changes. (H, W) bool

        Raises:
            DataError: not a colour frame.
        """
        check_frame(rgb)
        if rgb.shape[:2] != self._size:
            self.reset()
            self._size = rgb.shape[:2]
        lit = self._brightest(to_size(rgb, _work_size(self._size))) >= LIT
        if not np.array_equal(lit, self._lit):
            self._lit = lit
            self._mask = enlarge_mask(picture_of(lit), self._size)
            self._mask.flags.writeable = False
        elif not self._mask.size:  # the first frame is all dark
            self._mask = np.zeros(self._size, bool)
        return self._mask

    def _brightest(self, small: np.ndarray) -> np.ndarray:
        """Return each pixel's maximum over this and the previous block. (h, w) uint8"""
        red, green, blue = cv2.split(small)
        bright = np.asarray(cv2.max(cv2.max(red, green), blue))
        if self._count == 0:
            self._now, self._before = bright, np.zeros_like(bright)
        elif self._count % self._memory == 0:
            self._now, self._before = bright, self._now
        else:
            np.maximum(self._now, bright, out=self._now)
        self._count += 1
        return np.maximum(self._now, self._before)


class DrawnView:
    """A mask drawn by hand, for frames of its aspect ratio."""

    def __init__(self, path: Path) -> None:
        """Read the mask.

        Args:
            path: image file, 0 outside the picture and any other value inside.

        Raises:
            DataError: missing, or not a picture.
        """
        try:
            drawn = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) if path.is_file() else None
        except (OSError, cv2.error):  # a folder that is closed to us, more pixels than OpenCV takes
            drawn = None
        if drawn is None:
            raise DataError(f"{path}: no mask that can be read; give a PNG, 0 outside the picture")
        self._path, self._drawn = path, np.asarray(drawn) > 0
        self._mask = self._drawn

    def reset(self) -> None:
        """Do nothing: a drawn mask has no past."""

    def look(self, rgb: np.ndarray) -> np.ndarray:
        """Return the mask at the frame's size, to be read only. (H, W) bool

        Raises:
            DataError: a frame of another shape.
        """
        size = rgb.shape[:2]
        if self._mask.shape != size:
            (height, width), (full, wide) = self._drawn.shape, size
            if abs(full * width - wide * height) > max(full, wide):  # off by more than rounding
                raise DataError(
                    f"{self._path}: the mask is {width}x{height}, frames are {wide}x{full}; draw "
                    "it on a frame of this camera"
                )
            self._mask = enlarge_mask(self._drawn, size)
        return self._mask


def open_view(mask: str) -> FieldOfView | DrawnView | None:
    """Open the field of view that a `mask` setting names.

    Args:
        mask: "" for the whole frame (returns None), "auto" to find a round picture, or the path of
            a drawn mask.

    Raises:
        DataError: the file is missing, or not a picture.
    """
    if not mask:
        return None
    return FieldOfView() if mask == "auto" else DrawnView(Path(expanduser(mask)))


def picture_of(lit: np.ndarray) -> np.ndarray:
    """Return the largest lit region with the dark islands inside it, less its rim.

    Letters and hot pixels in the dark frame are left out, dark tissue is not, unless it reaches the
    border of the frame.

    Args:
        lit: the pixel has been bright. (h, w) bool

    Returns:
        (h, w) bool
    """
    if lit.all():
        return lit
    count, labels, stats, _ = cv2.connectedComponentsWithStats(lit.astype(np.uint8), connectivity=8)
    if count == 1:
        return np.zeros_like(lit)
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    # All else is one dark region round the picture once the border itself counts as dark.
    dark = cv2.copyMakeBorder(
        (labels != largest).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1
    )
    cv2.floodFill(dark, None, (0, 0), 2)
    outside = np.asarray(cv2.dilate((dark == 2).astype(np.uint8)[1:-1, 1:-1], RIM))
    return outside == 0


def _work_size(size: tuple[int, int]) -> tuple[int, int]:
    shrink = max(1.0, max(size) / WORK_SIDE)
    return max(1, round(size[0] / shrink)), max(1, round(size[1] / shrink))
