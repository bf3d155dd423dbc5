# SPDX-License-Identifier: Apache-2.0
"""ORB (Rublee et al., ICCV 2011) as a detector: the fast reference beside SIFT and networks.

The 256 bits of a descriptor become 256 numbers 0 or 1, whose squared Euclidean distance is the
Hamming distance of the bits.
"""

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from depthkit.errors import DataError, check_shape
from depthkit.multiview.features import Features, no_features

BITS = 256
RATIO = 0.9
"""Largest ratio of the best to the second best distance of a match, chosen on KITTI 02 and 7-Scenes
RedKitchen (0-199) among 0.7 to 1: most relative poses within 10 degrees."""
_PATCH = 31  # pixels of the described patch at the finest level, and OpenCV's border


@dataclass(frozen=True)
class Orb:
    """ORB at full size, 8 levels of factor 1.2; without state."""

    count: int = 1200
    """Largest number of features, the strongest are kept."""

    name: ClassVar[str] = "orb"
    width: ClassVar[int] = BITS

    def detect(self, gray: np.ndarray, *, valid: np.ndarray | None = None) -> Features:
        """Find features, pixels of the image, strongest first.

        Args:
            gray: image, 0..255. (H, W) uint8
            valid: where features may lie; everywhere if None. (H, W) bool

        Returns:
            The features; none in an image without texture, or within OpenCV's border of 31 px.

        Raises:
            ShapeError: gray is not (H, W), or valid has another size.
            DataError: gray is not uint8.
        """
        check_shape("Orb.detect: gray", gray, "H W")
        if gray.dtype != np.uint8:
            raise DataError(f"Orb.detect: gray must be uint8, 0..255, got {gray.dtype}; convert it")
        mask = None
        if valid is not None:
            check_shape("Orb.detect: valid", valid, f"{gray.shape[0]} {gray.shape[1]}")
            mask = np.where(valid, np.uint8(255), np.uint8(0))
        orb = cv2.ORB.create(nfeatures=self.count, patchSize=_PATCH, edgeThreshold=_PATCH)
        keypoints, packed = orb.detectAndCompute(np.ascontiguousarray(gray), mask)
        if packed is None or not len(packed):
            return no_features(BITS)
        keys = np.array([(k.octave, k.pt[1], k.pt[0], -k.response) for k in keypoints])
        order = np.lexsort(keys.T)[: self.count]
        return Features(
            np.array([keypoints[i].pt for i in order], np.float32),
            np.unpackbits(np.asarray(packed[order], np.uint8), axis=1),
            np.array([keypoints[i].size for i in order], np.float32),
            np.radians(np.array([keypoints[i].angle % 360.0 for i in order])).astype(np.float32),
            RATIO,
        )
