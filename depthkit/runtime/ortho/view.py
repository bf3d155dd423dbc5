# SPDX-License-Identifier: Apache-2.0
"""A frame as it is looked for: its features as rays, at one heading or at several."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from depthkit.multiview.features import Detector, Features
from depthkit.runtime.ortho.tile_index import HEADINGS, turned_size, turning


@dataclass(frozen=True, eq=False)
class View:
    """A frame as it is looked for."""

    rgb: np.ndarray
    features: Features
    rays: np.ndarray
    """Features on the plane z = 1. (N, 2)"""
    corners: np.ndarray
    """Corners of the frame on that plane. (4, 2)"""
    diagonal: float
    """Diagonal of the frame on that plane."""
    side: float
    """Its shorter side on that plane."""


class Eye:
    """The camera of the frames and the detector of their features; without further state."""

    def __init__(self, K: np.ndarray, size: tuple[int, int], detector: Detector) -> None:
        """Keep what all frames share.

        Args:
            K: pixels. (3, 3)
            size: of the frames, (H, W) pixels.
            detector: of features.
        """
        self._K, self._size, self._detector = np.asarray(K, np.float64), size, detector

    def look(self, rgb: np.ndarray, valid: np.ndarray | None) -> Iterator[View]:
        """Describe a frame: once, or at several headings where features have no orientation."""
        gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        features = self._detector.detect(gray, valid=valid)
        yield self._view(rgb, features)
        if features.angles.any():
            return
        for angle in np.arange(1, HEADINGS) * (360.0 / HEADINGS):
            yield self._view(rgb, self._detect_turned(gray, valid, float(angle)))

    def _detect_turned(self, gray: np.ndarray, valid: np.ndarray | None, angle: float) -> Features:
        """Find features on the turned frame; positions are those of the frame as it is."""
        inside = np.ones(gray.shape, bool) if valid is None else valid
        A = turning(gray.shape[1], gray.shape[0], angle)
        size = turned_size(gray.shape[1], gray.shape[0], angle)
        turned = cv2.warpAffine(gray, A, size, borderMode=cv2.BORDER_REPLICATE)
        mask = cv2.warpAffine(inside.astype(np.uint8), A, size, flags=cv2.INTER_NEAREST) > 0
        found = self._detector.detect(turned, valid=mask)
        back = cv2.invertAffineTransform(A)
        pixels = (found.pixels @ back[:, :2].T + back[:, 2]).astype(np.float32)
        return replace(found, pixels=pixels)

    def _view(self, rgb: np.ndarray, features: Features) -> View:
        height, width = self._size
        ends = np.array(
            [[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]]
        )
        corners = self.rays(ends)
        sides = np.linalg.norm(corners[1] - corners[0]), np.linalg.norm(corners[2] - corners[1])
        diagonal = float(np.linalg.norm(corners[2] - corners[0]))
        return View(rgb, features, self.rays(features.pixels), corners, diagonal, float(min(sides)))

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Bring pixels to the plane z = 1. (N, 2)"""
        homogeneous = np.column_stack([pixels.astype(np.float64), np.ones(len(pixels))])
        return (homogeneous @ np.linalg.inv(self._K).T)[:, :2]
