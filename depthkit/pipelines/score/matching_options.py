# SPDX-License-Identifier: Apache-2.0
"""Options of `evaluate matching`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from depthkit.errors import ConfigError
from depthkit.multiview.robust_fit import Robust
from depthkit.pipelines.checks import check_at_least, check_choices

Looks = Literal["upright", "turned", "tilted"]
MatcherName = Literal["nearest", "lightglue", "loftr"]


@dataclass(frozen=True)
class MatchingOptions:
    """One run of `evaluate matching`."""

    data: Path
    """Folder in HPatches' or Oxford's layout, or a sequence folder with poses."""
    models: tuple[Path, ...] = ()
    """Networks of kind features with a score."""
    matcher: MatcherName = "nearest"
    """What pairs the features of the models; SIFT and ORB always take the nearest descriptor."""
    matcher_weights: Path | None = None
    """File of LightGlue's or LoFTR's weights."""
    count: int = 2048
    """Largest number of features in a picture, of every method."""
    gap: tuple[int, int] = (10, 40)
    """Sequences: least and largest number of frames between the two of a pair."""
    pairs: int = 100
    """Sequences: largest number of pairs of each; with degrade: number of frames."""
    robust: Robust = "magsac"
    """How homography and pose are found among wrong matches."""
    looks: Looks = "upright"
    """How the second picture is looked at, by every method that takes the nearest descriptor: as it
    is, turned by quarters too, or also tilted; the look with the most matches is kept."""
    degrade: bool = False
    """Score each first picture against warped and degraded copies of itself."""

    def __post_init__(self) -> None:
        check_choices(self)
        check_at_least(8, count=self.count)
        check_at_least(1, pairs=self.pairs)
        low, high = self.gap
        if not 1 <= low <= high:
            raise ConfigError(f"gap: two numbers of frames, 1 <= least <= largest, got {self.gap}")
        if self.matcher != "nearest" and self.matcher_weights is None:
            raise ConfigError(
                f"matcher {self.matcher}: has no weights of its own; give --matcher-weights FILE"
            )
        if self.matcher == "nearest" and self.matcher_weights is not None:
            raise ConfigError("matcher_weights: are of --matcher lightglue or loftr; name one")
