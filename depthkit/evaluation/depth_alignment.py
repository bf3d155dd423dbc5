# SPDX-License-Identifier: Apache-2.0
"""Bring one depth map to the scale of its truth before it is scored: `1 / D = a / depth + b`.

Median scaling [Zhou 2017] leaves b at 0. Networks that learnt inverse depth up to scale and shift
are aligned in both, by least squares in inverse depth [Ranftl 2020, eq. 4]: the protocol of papers
on unseen scenes. Either takes from the truth what the network does not know.
"""

from dataclasses import dataclass

import numpy as np

DEPTH_ALIGNMENTS = {
    "none": "predictions taken as they are, in metres",
    "median": "each prediction scaled by median(truth) / median(prediction) of its scored pixels",
    "affine": "each prediction scaled and shifted in inverse depth by least squares over its "
    "scored pixels",
}


@dataclass(frozen=True)
class DepthAlignment:
    """What one prediction was aligned by: aligned depth is `1 / (a / depth + b)`."""

    a: float = 1.0
    """Factor on the inverse depth, 0 or more; 0: no positive one fits, all is one constant."""
    b: float = 0.0
    """Shift of the inverse depth, 1 / metres."""

    def apply(self, depth: np.ndarray, farthest: float = np.inf) -> np.ndarray:
        """Align known depths; those whose inverse comes out at 0 or below are set to the farthest.

        Args:
            depth: above 0 and finite where known; the rest becomes 0. (...)
            farthest: largest depth, metres.
        """
        known = np.isfinite(depth) & (depth > 0)
        if self.b == 0:
            return np.where(known, depth / self.a, 0.0)
        inverse = self.a / np.where(known, depth, 1.0) + self.b
        ahead = inverse > 1 / farthest
        return np.where(known, np.where(ahead, 1 / np.where(ahead, inverse, 1.0), farthest), 0.0)

    def behind(self, depth: np.ndarray) -> float:
        """Return the share of known depths whose aligned inverse is 0 or below. (N,)"""
        return float(np.mean(self.a / depth + self.b <= 0))


def align_depth(p: np.ndarray, g: np.ndarray, mode: str) -> DepthAlignment:
    """Fit the alignment of one prediction.

    Args:
        p: predicted depths, above 0. (N,)
        g: true depths of the same pixels, metres. (N,)
        mode: a key of `DEPTH_ALIGNMENTS`.
    """
    if mode == "none":
        return DepthAlignment()
    if mode == "median":
        return DepthAlignment(float(np.median(p) / np.median(g)))
    x, y = 1 / p.astype(np.float64), 1 / g.astype(np.float64)
    off = x - x.mean()
    variance = float(np.mean(off**2))
    # Least squares with a >= 0: a constant prediction and a reversed one keep the shift alone.
    a = 0.0 if variance <= (1e-9 * x.mean()) ** 2 else float(np.mean(off * y)) / variance
    a = max(a, 0.0)
    return DepthAlignment(a, float(y.mean() - a * x.mean()))
