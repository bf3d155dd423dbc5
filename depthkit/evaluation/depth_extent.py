# SPDX-License-Identifier: Apache-2.0
"""How much of the truth lies inside the depth range, and what it is where nothing does."""

import numpy as np


class Extent:
    """Counts true pixels, and keeps the median truth of each frame."""

    def __init__(self) -> None:
        self.known = 0
        self.counted = 0
        self.medians: list[float] = []

    def add(self, known: np.ndarray, counted: int) -> None:
        """Take in the true depths of one frame, and how many of them are inside the range. (N,)"""
        self.known += known.size
        self.counted += counted
        self.medians += [float(np.median(known))] if known.size else []

    @property
    def out_of_range(self) -> float:
        """Share of the true pixels that do not count."""
        return 1 - self.counted / self.known if self.known else 0.0

    def why_nothing(self, min_depth: float, max_depth: float) -> str:
        """Say why no frame could be scored."""
        why = "no frame has both a prediction and a truth inside the depth range"
        if self.counted:
            return f"{why}: predictions are 0, NaN, infinite or negative wherever the truth counts"
        if not self.medians:
            return f"{why}: the truth is 0 or NaN everywhere"
        return (
            f"{why} of {min_depth:g} to {max_depth:g} m: the truth is "
            f"{np.median(self.medians):.4g} in the median; give its unit (--gt-scale 1000 for "
            "millimetres) or --max-depth"
        )
