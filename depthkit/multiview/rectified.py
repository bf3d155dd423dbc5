# SPDX-License-Identifier: Apache-2.0
"""Whether two pictures are a rectified pair, told by the features that both show."""

from dataclasses import dataclass

import numpy as np

from depthkit.errors import check_shape
from depthkit.multiview.features import detect_sift, match

LEAST_MATCHES = 20
"""Matches below which nothing is concluded."""
LARGEST_OFFSET = 1.5
"""Vertical offset of rectified pairs, pixels: largest median of absolute values."""
_NEARER = 1.25  # disparity of what no feature shows, as a multiple of the largest one found
_OUTLIERS = 98.0  # percentile that stands for the largest disparity


@dataclass(frozen=True)
class PairGeometry:
    """How the features of a pair lie to each other."""

    matches: int
    """Number of matched features."""
    vertical: float
    """Median of the absolute vertical offsets, pixels; NaN without matches."""
    median: float
    """Median disparity, left u less right u, pixels; NaN without matches."""
    largest: float
    """Largest disparity without outliers, pixels; NaN without matches."""

    @property
    def is_known(self) -> bool:
        """Whether there are enough matches to conclude anything."""
        return self.matches >= LEAST_MATCHES

    @property
    def is_rectified(self) -> bool:
        """Whether matches lie on the same rows; True where that is not known."""
        return not self.is_known or self.vertical <= LARGEST_OFFSET


def measure_pair(left: np.ndarray, right: np.ndarray) -> PairGeometry:
    """Match features between two pictures.

    Args:
        left, right: grey. (H, W) uint8
    """
    check_shape("measure_pair: right", right, " ".join(map(str, left.shape)))
    a, b = detect_sift(left), detect_sift(right)
    pairs = match(a, b)
    if not len(pairs):
        return PairGeometry(0, np.nan, np.nan, np.nan)
    offset = a.pixels[pairs[:, 0]] - b.pixels[pairs[:, 1]]
    vertical = float(np.median(np.abs(offset[:, 1])))
    # A wrong match seldom lies on the same row: those alone tell the disparity.
    level = offset[np.abs(offset[:, 1]) <= max(LARGEST_OFFSET, vertical), 0]
    return PairGeometry(
        len(pairs), vertical, float(np.median(level)), float(np.percentile(level, _OUTLIERS))
    )


def suggest_max_disparity(found: PairGeometry, width: int) -> int:
    """Return a largest disparity that leaves room above the features', a multiple of 16 pixels.

    Args:
        found: what the features say; a quarter of the width where that is not enough.
        width: of the pictures, pixels.
    """
    wanted = _NEARER * found.largest + 8 if found.is_known else width / 4
    return int(np.clip(np.ceil(wanted / 16) * 16, 16, max(16, width // 2 // 16 * 16)))
