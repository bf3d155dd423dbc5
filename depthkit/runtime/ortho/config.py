# SPDX-License-Identifier: Apache-2.0
"""Settings of finding frames in an orthophoto."""

from dataclasses import dataclass

from depthkit.config.ranges import check_ranges, option


@dataclass(frozen=True)
class OrthoConfig:
    """Settings of finding frames in an orthophoto; the defaults serve all cameras.

    They were set beforehand, not searched for. Of 36 views whose place an orthophoto lacks
    (`scripts/places/localise_pairs.py seasons`) none has an evidence above 1.6.
    """

    height: float = option(0.0, least=0)
    """Height of the camera above the ground, metres, right within a third; 0 = unknown."""
    tilt_sigma: float = option(5.0, above=0, most=45)
    """Standard deviation of the optical axis from straight down, degrees."""
    candidates: int = option(12, least=1, most=1000)
    """Number of tiles that look most alike and are compared feature by feature."""
    ratio: float = option(0.9, least=0, most=1)
    """Largest ratio of the best to the second best distance of a match; 0 for what the detector
    says. Consensus bears more wrong matches than what the ratio is usually set for."""
    evidence: float = option(8.0, above=0)
    """Least evidence of a fix: the power of ten of the number of pictures of other places among
    which as many features agree by chance once."""
    margin: float = option(1.5, least=1)
    """Least ratio of a fix's evidence to that of the best other place."""
    tolerance: float = option(0.01, above=0, below=0.1)
    """Largest distance of agreeing features, diagonals of the frame."""
    noise: float = option(0.0008, above=0)
    """Least standard deviation of a feature's position, diagonals of the frame."""

    def __post_init__(self) -> None:
        check_ranges(self)
