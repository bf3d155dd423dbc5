# SPDX-License-Identifier: Apache-2.0
"""Features of one image for wide baselines, relocalisation and loops, and matches between two.

SIFT (Lowe, IJCV 2004) runs on a reduced image, a quarter of the cost at half size; pixels are
always those of the full image. A learned detector fills the same record.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import cv2
import numpy as np

from depthkit.errors import DataError, check_shape

AREA = 80_000
"""Pixels of the reduced image: half size at 640x480."""
COUNT = 1200
"""Number of features kept, the strongest."""
CONTRAST = 0.02
"""SIFT's contrast threshold; half of OpenCV's default, for dim rooms and haze."""
RATIO = 0.8
"""Largest ratio of the best to the second best distance of a match [Lowe 2004, 7.1]."""


@dataclass(frozen=True, eq=False)
class Features:
    """Keypoints of one image with their descriptors, strongest first."""

    pixels: np.ndarray
    """Positions (u, v), pixels of the full image. (N, 2) float32"""
    descriptors: np.ndarray
    """Descriptors compared by Euclidean distance. (N, D) uint8 or float32"""
    scales: np.ndarray
    """Diameters of the described patches, pixels of the full image; 0 where the detector has
    none. (N,) float32"""
    angles: np.ndarray
    """Orientations from u towards v, radians in [0, 2 pi); 0 where the detector has none.
    (N,) float32"""
    ratio: float = RATIO
    """Largest ratio of the best to the second best distance of a match of such descriptors; 1
    where being each other's nearest is enough."""

    def __post_init__(self) -> None:
        """Check that the four arrays have one length.

        Raises:
            ShapeError: they do not.
            DataError: descriptors are neither uint8 nor float32.
        """
        count = len(self.pixels)
        check_shape("Features: pixels", self.pixels, f"{count} 2")
        check_shape("Features: descriptors", self.descriptors, f"{count} D")
        check_shape("Features: scales", self.scales, f"{count}")
        check_shape("Features: angles", self.angles, f"{count}")
        if self.descriptors.dtype not in (np.uint8, np.float32):
            got = self.descriptors.dtype
            raise DataError(f"Features: descriptors must be uint8 or float32, got {got}; cast them")

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, index: np.ndarray | slice) -> "Features":
        """Return a part of the features, by indices, a mask or a slice."""
        return Features(
            self.pixels[index],
            self.descriptors[index],
            self.scales[index],
            self.angles[index],
            self.ratio,
        )


class Detector(Protocol):
    """What finds and describes the features of an image: SIFT, or a learned network."""

    @property
    def name(self) -> str:
        """Name of what made the descriptors; two of one name may be compared."""
        ...

    @property
    def width(self) -> int:
        """Numbers of a descriptor."""
        ...

    def detect(self, gray: np.ndarray, *, valid: np.ndarray | None = None) -> Features:
        """Find features, pixels of the image, strongest first.

        Args:
            gray: image, 0..255. (H, W) uint8
            valid: where features may lie; everywhere if None. (H, W) bool
        """
        ...


@dataclass(frozen=True)
class Sift:
    """SIFT with RootSIFT descriptors, as a detector; without state."""

    area: int | None = AREA
    """Pixels of the reduced image; None works at full size."""
    count: int = COUNT
    """Largest number of features, the strongest are kept."""

    name: ClassVar[str] = "sift"
    width: ClassVar[int] = 128

    def detect(self, gray: np.ndarray, *, valid: np.ndarray | None = None) -> Features:
        """Find features; see `detect_sift`."""
        area = gray.size if self.area is None else self.area
        return detect_sift(gray, valid=valid, count=self.count, area=area)


def detect_sift(
    gray: np.ndarray,
    *,
    valid: np.ndarray | None = None,
    count: int = COUNT,
    area: int = AREA,
    root: bool = True,
) -> Features:
    """Find and describe SIFT features on a reduced image.

    Args:
        gray: image, 0..255. (H, W) uint8
        valid: where features may lie; everywhere if None. (H, W) bool
        count: largest number of features, the strongest are kept.
        area: number of pixels of the reduced image; a smaller image is not enlarged.
        root: take the square root of the L1-normalised descriptor, so that Euclidean distance
            compares by the Hellinger kernel (Arandjelovic and Zisserman, CVPR 2012).

    Returns:
        The features, pixels of the full image; none in an image without texture.

    Raises:
        ShapeError: gray is not (H, W), or valid has another size.
        DataError: gray is not uint8.
    """
    check_shape("detect_sift: gray", gray, "H W")
    if gray.dtype != np.uint8:
        raise DataError(f"detect_sift: gray must be uint8, 0..255, got {gray.dtype}; convert it")
    # 1. Reduce the image, and the mask so that only fully valid pixels remain.
    small, mask = _reduce(gray, valid, area)
    # 2. Detect; without precise upscaling OpenCV's positions are off by a quarter of a pixel.
    sift = cv2.SIFT.create(count, 3, CONTRAST, 10.0, 1.6, cv2.CV_8U, enable_precise_upscale=True)
    keypoints, descriptors = sift.detectAndCompute(small, mask)
    if descriptors is None:
        return no_features()
    # 3. Strongest first; two orientations of one point are told apart by the angle.
    keys = np.array([(k.angle, k.pt[1], k.pt[0], -k.response) for k in keypoints])
    order = np.lexsort(keys.T)[:count]
    chosen, descriptors = [keypoints[i] for i in order], descriptors[order]
    # 4. To the full image by the half-pixel rule.
    size = np.array(gray.shape[::-1]) / small.shape[::-1]
    pixels = (np.array([k.pt for k in chosen]) + 0.5) * size - 0.5
    scales = np.array([k.size for k in chosen]) * np.sqrt(size.prod())
    angles = np.radians([k.angle % 360.0 for k in chosen])
    return Features(
        pixels.astype(np.float32),
        root_sift(descriptors) if root else descriptors,
        scales.astype(np.float32),
        angles.astype(np.float32),
    )


def no_features(width: int = 128) -> Features:
    """Return the features of an image without texture: none."""
    none = np.zeros(0, np.float32)
    return Features(np.zeros((0, 2), np.float32), np.zeros((0, width), np.uint8), none, none)


def root_sift(descriptors: np.ndarray) -> np.ndarray:
    """Take the square root of L1-normalised descriptors, 512 levels per unit as SIFT has.

    Args:
        descriptors: SIFT. (N, 128) uint8 or float32

    Returns:
        Descriptors whose Euclidean distance is the Hellinger distance times 512 sqrt(2). (N, 128)
        uint8
    """
    total = np.maximum(descriptors.sum(axis=1, keepdims=True, dtype=np.float32), 1e-6)
    rooted = 512.0 * np.sqrt(descriptors / total)
    return np.minimum(np.rint(rooted), 255.0).astype(np.uint8)


def match(
    a: Features, b: Features, *, ratio: float | None = None, cross_check: bool = True
) -> np.ndarray:
    """Match features by their nearest descriptor.

    Distances of uint8 descriptors are exact integers below 2^24 in float32, so that matches do not
    depend on the processor.

    Args:
        a, b: features of two images, of one detector.
        ratio: largest ratio of the best to the second best distance; 1 keeps all. The
            features' own if None.
        cross_check: keep only pairs in which each is the other's nearest.

    Returns:
        Indices into a and b, increasing in a. (M, 2) int64, M may be 0

    Raises:
        DataError: the descriptors have different types or lengths.
    """
    x, y = a.descriptors, b.descriptors
    if x.dtype != y.dtype or x.shape[1] != y.shape[1]:
        raise DataError(
            f"match: expected descriptors of one detector, got {x.shape[1]} {x.dtype} and "
            f"{y.shape[1]} {y.dtype}; detect both images alike"
        )
    if len(a) == 0 or len(b) == 0:
        return np.zeros((0, 2), np.int64)
    squared = squared_distances(x, y)
    ratio = a.ratio if ratio is None else ratio
    # 1. Nearest in b of each of a, and a's own nearest back from there.
    rows, nearest = np.arange(len(a)), squared.argmin(axis=1)
    kept = squared.argmin(axis=0)[nearest] == rows if cross_check else np.ones(len(a), bool)
    # 2. Ratio to the second nearest; with a single candidate there is none to be mistaken for.
    best = squared[rows, nearest]
    squared[rows, nearest] = np.inf
    kept &= best <= ratio**2 * squared.min(axis=1)
    return np.column_stack([rows[kept], nearest[kept]])


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return |x_i - y_j|^2 of descriptors. (N, D), (M, D) -> (N, M) float32"""
    x, y = x.astype(np.float32), y.astype(np.float32)
    squared = (x @ y.T) * -2.0
    squared += np.einsum("nd,nd->n", x, x)[:, None]
    squared += np.einsum("nd,nd->n", y, y)
    return np.maximum(squared, 0.0, out=squared)


def _reduce(
    gray: np.ndarray, valid: np.ndarray | None, area: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Shrink an image to about `area` pixels, and its mask; the mask holds 255 where valid."""
    height, width = gray.shape
    if valid is not None:
        check_shape("detect_sift: valid", valid, f"{height} {width}")
    scale = min(1.0, float(np.sqrt(area / (height * width))))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    mask = None if valid is None else np.where(valid, np.uint8(255), np.uint8(0))
    if size == (width, height):
        return np.ascontiguousarray(gray), mask
    if mask is not None:
        mask = np.where(cv2.resize(mask, size, interpolation=cv2.INTER_AREA) == 255, 255, 0)
        mask = mask.astype(np.uint8)
    return cv2.resize(gray, size, interpolation=cv2.INTER_AREA), mask
