# SPDX-License-Identifier: Apache-2.0
"""Whether depth knows how good it is: its errors against the sigmas that came with it.

Errors of log depth are taken as those of a Laplace distribution with standard deviation sigma: they
are heavier than a normal distribution's, because a wrong match is far off. Of a Laplace
distribution with scale b = sigma / sqrt(2), a share 1 - exp(-q / b) lies within +-q; so 90 % lie
within q = sigma ln(10) / sqrt(2) = 1.628 sigma.
"""

import numpy as np

from depthkit.errors import check_shape

SHARE = 0.9
BAND = float(-np.log(1 - SHARE) / np.sqrt(2))
"""Half width in sigmas of the band that holds SHARE of a Laplace distribution: 1.628."""


class BandCoverage:
    """Counts the pixels whose error of log depth lies within the band of their own sigma."""

    def __init__(self) -> None:
        self.inside = 0
        """Pixels within their band."""
        self.pixels = 0
        """Pixels with a truth, a depth and a sigma."""

    def add(self, pred: np.ndarray, gt: np.ndarray, sigma: np.ndarray, scored: np.ndarray) -> None:
        """Count the pixels of an image.

        Args:
            pred: depth, in the unit of the truth. (H, W)
            gt: true depth. (H, W)
            sigma: relative standard deviation of `pred`; not above 0 is unknown. (H, W)
            scored: pixels that count; depth and truth are above 0 there. (H, W) bool
        """
        check_shape("BandCoverage: pred", pred, "H W")
        for name, array in (("gt", gt), ("sigma", sigma), ("scored", scored)):
            check_shape(f"BandCoverage: {name}", array, " ".join(map(str, pred.shape)))
        known = scored & np.isfinite(sigma) & (sigma > 0)
        error = np.abs(np.log(pred[known].astype(np.float64) / gt[known]))
        self.inside += int((error <= BAND * sigma[known]).sum())
        self.pixels += int(known.sum())

    @property
    def share(self) -> float | None:
        """Share of the pixels within their band, 0.9 where sigma is right; None without pixels."""
        return self.inside / self.pixels if self.pixels else None
