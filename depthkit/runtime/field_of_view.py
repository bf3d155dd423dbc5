# SPDX-License-Identifier: Apache-2.0
"""Which pixels an endoscope's optics light at all: the round picture in its dark frame.

The frame around the picture never gets bright, dark tissue does as the scope moves: what counts is
the brightest that each pixel has been. No clock and no chance: the same frames, the same mask.
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
    """The lit region of a stream of frames; the mask of each size starts anew."""

    def __init__(self, *, memory: int = 300) -> None:
        """Start with nothing seen.

        Args:
            memory: frames. What was bright more than two times that ago no longer counts: a screen
                that says "no signal" is forgotten.
        """
        if memory < 1:
            raise DataError(f"memory: 1 frame or more, got {memory}")
        self._memory = memory
        self.reset()

    def reset(self) -> None:
        """Forget all frames."""
        self._size = (0, 0)
        self._now: np.ndarray = np.zeros((0, 0), np.uint8)  # brightest of a block of frames
        self._before: np.ndarray = self._now  # of the block before
        self._count = 0
        self._lit = np.zeros((0, 0), bool)
        self._mask = np.zeros((0, 0), bool)

    def look(self, rgb: np.ndarray) -> np.ndarray:
        """Take in the next frame and say where the picture is.

        Args:
            rgb: (H, W, 3) uint8

        Returns:
            True inside the picture, all False while nothing was bright. To be read only; the same
            array comes again until the estimate changes. (H, W) bool

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
        """Return the brightest each pixel was in this block of frames and the last. (h, w) uint8"""
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
    """A mask that somebody drew, for frames of its shape."""

    def __init__(self, path: Path) -> None:
        """Read it.

        Args:
            path: of a picture, 0 outside and anything else inside.

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
    """Make what tells where the picture is.

    Args:
        mask: "" for all of the frame (None), "auto" to find a round picture, or the path of a drawn
            mask.

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
