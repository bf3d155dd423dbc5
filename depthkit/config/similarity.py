# SPDX-License-Identifier: Apache-2.0
"""`similarity`: how descriptors learn what matches between two views."""

from dataclasses import dataclass
from typing import Literal

from depthkit.config.ranges import check_ranges, option, require


@dataclass(frozen=True)
class SimilarityConfig:
    """Pairs of points, what decides, and what it is judged by [Chebbi 2023, DeepSim-Nets]."""

    decision: Literal["cosine", "mlp"] = "cosine"
    """How two descriptors are compared: by their normalised dot product (cosine), which is what an
    exported network is used with, or by a small network beside it (mlp)."""
    objective: Literal["triplet", "contrast"] = "triplet"
    """Loss of the cosine: a true match beats a false one by the margin (triplet, the paper's), or
    it is picked out of all admissible offsets (contrast, ours: learns in fewer steps). The mlp has
    cross-entropy."""
    margin: float = option(0.3, above=0, below=2)
    """Margin between the cosines of a true and a false match."""
    temperature: float = option(0.07, above=0)
    """Divisor of the cosines of objective contrast."""
    hidden_weight: float = option(1.0, least=0)
    """Weight of the term of hidden pixels, which have no match at all."""
    nearest: float = option(1.5, above=0)
    """Smallest offset of a false match from the true one, pixels."""
    farthest: int = option(8, least=2)
    """Largest offset of a false match, pixels; offsets from -farthest to farthest - 1 are looked
    through for the hardest one."""
    hardest_from: int = option(300, least=0)
    """First step at which the hardest admissible false match is taken; before, a random one."""
    points: int = option(1024, least=1)
    """Points compared in each picture."""
    window: tuple[int, int] | None = option((96, 128), above=32)
    """Height and width of the random part of the pictures that is compared, pixels; null for whole
    pictures."""
    homography_share: float = option(0.2, least=0, most=1)
    """Share of pairs that are one picture and its view through a random homography, in place of two
    frames; pictures without depth or motion are all paired so."""
    disturbance: float = option(1.0, least=0)
    """Strength of what is changed in one of the two views: contrast, gamma, noise, blur, a turn of
    up to 2 degrees, and up to 1 pixel across the direction of search; 0 for none."""

    def __post_init__(self) -> None:
        check_ranges(self)
        require(
            self.nearest < self.farthest,
            f"nearest: below farthest, which is {self.farthest}; got {self.nearest}",
        )
