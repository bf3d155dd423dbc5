# SPDX-License-Identifier: Apache-2.0
"""One frame as the doctor sees it: reduced, with its brightness, saturation and sharpness."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from depthkit.data.image_io import decode_rgb, read_bytes
from depthkit.data.sequence import Sequence
from depthkit.errors import DataError
from depthkit.multiview.tracks import CONTRAST_WINDOW, detect_corners, normalise_contrast

AREA = 416 * 312
"""Pixels of the reduced image: KLT is as good as at full size there, and five times faster."""
TRAIN_LINES = 128
"""Short side of a small training image; parallax is judged in its pixels."""
DARK_P95 = 40.0
"""Grey levels: a frame is dark if 95 % of its pixels are below."""
SATURATED = 250
BLOWN_SHARE = 0.35
"""A frame is blown out if more of its pixels than this are saturated."""
MIN_CORNERS = 24


@dataclass(frozen=True)
class View:
    """The reduced image all motion is measured in."""

    size: tuple[int, int]
    K: np.ndarray
    valid: np.ndarray | None
    """Pixels that are image, half a contrast window away from the edge of the mask. (H, W) bool"""
    to_full: float
    """Pixels of the sequence's own frames a reduced pixel."""
    to_train: float
    """Pixels of an image with TRAIN_LINES lines a reduced pixel."""


@dataclass(frozen=True)
class Picture:
    """A reduced frame and its figures."""

    gray: np.ndarray
    structure: np.ndarray
    """Contrast-normalised gray, where tracks are followed. (H, W) uint8"""
    valid: np.ndarray | None
    brightness: float
    p95: float
    saturated: float
    sharpness: float
    digest: bytes

    @cached_property
    def corners(self) -> np.ndarray:
        """Where tracks start, pixels. (N, 2) float32"""
        return detect_corners(self.structure, _trackable(self.gray, self.valid))

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong with the frame alone: dark, blown_out, featureless."""
        found = []
        if self.p95 < DARK_P95:
            found.append("dark")
        if self.saturated > BLOWN_SHARE:
            found.append("blown_out")
        if len(self.corners) < MIN_CORNERS:
            found.append("featureless")
        return tuple(found)


def view_of(seq: Sequence) -> View:
    """Choose the reduced size of a sequence: AREA pixels at its own aspect, never enlarged."""
    height, width = seq.camera.size
    scale = min(1.0, float(np.sqrt(AREA / (height * width))))
    size = (max(round(height * scale), 1), max(round(width * scale), 1))
    return View(
        size=size,
        K=seq.camera.resized(size).K,
        valid=_reduced_valid(seq, size),
        to_full=height / size[0],
        to_train=TRAIN_LINES / min(size),
    )


def _reduced_valid(seq: Sequence, size: tuple[int, int]) -> np.ndarray | None:
    """Shrink the mask of valid pixels by the window in which contrast is taken. (H, W) bool"""
    valid = seq.read_valid()
    if valid is None:
        return None
    small = cv2.resize(valid.astype(np.uint8), size[::-1], interpolation=cv2.INTER_AREA)
    padded = cv2.copyMakeBorder(small, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    inner = cv2.erode(padded, np.ones(CONTRAST_WINDOW, np.uint8))[1:-1, 1:-1] > 0
    if not inner.any():
        raise DataError(f"{seq.root}: valid.png leaves no pixel to look at; remove or replace it")
    return inner


def read_picture(seq: Sequence, i: int, view: View) -> Picture:
    """Read frame i.

    Raises:
        DataError: the file is unreadable, or of another size than the camera.
    """
    data = read_bytes(seq.frames[i])
    rgb = decode_rgb(data, seq.frames[i])
    if rgb.shape[:2] != seq.camera.size:
        raise DataError(
            f"{seq.frames[i]}: image is {rgb.shape[1]}x{rgb.shape[0]}, camera.yaml says "
            f"{seq.camera.width}x{seq.camera.height}"
        )
    return _picture_of(rgb, hashlib.blake2b(data, digest_size=16).digest(), view)


def _picture_of(rgb: np.ndarray, digest: bytes, view: View) -> Picture:
    full = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    gray = cv2.resize(full, view.size[::-1], interpolation=cv2.INTER_AREA)
    seen = gray if view.valid is None else gray[view.valid]
    return Picture(
        gray=gray,
        structure=normalise_contrast(gray),
        valid=view.valid,
        brightness=float(seen.mean()),
        p95=float(np.percentile(seen, 95)),
        saturated=float((seen >= SATURATED).mean()),
        sharpness=float(cv2.Laplacian(gray, cv2.CV_32F).var()),
        digest=digest,
    )


def _trackable(gray: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """Leave out saturated spots and their rims: speculars travel with the lamp, not the surface."""
    burnt = cv2.dilate((gray >= SATURATED).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    return ~burnt if valid is None else valid & ~burnt
