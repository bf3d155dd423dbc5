# SPDX-License-Identifier: Apache-2.0
"""`keypoints`: how keypoints and their descriptors are learnt from pictures without labels."""

from dataclasses import dataclass
from typing import Literal

from depthkit.config.ranges import check_ranges, option


@dataclass(frozen=True)
class KeypointsConfig:
    """Pairs of views, what makes a keypoint, and what a descriptor is judged by."""

    way: Literal["silk", "superpoint"] = "silk"
    """silk: descriptors by the cycle-consistent likelihood of true matches, keypoints where
    matching succeeds [Gleize 2023]. superpoint: keypoints at given points (rendered shapes, or
    labels by homographic adaptation), descriptors by a hinge loss [DeTone 2018]."""
    window: tuple[int, int] = option((240, 320), least=64)
    """Height and width of the views made of a picture, pixels, multiples of 8."""
    geometry_share: float = option(0.5, least=0, most=1)
    """Share of pairs that are two frames related by depth and known motion, where a snippet has
    both; the others are one picture twice, related by a random homography, as all are whose points
    are given (superpoint)."""
    rotation: float = option(25.0, least=0, most=180)
    """Largest turn of a view, degrees; between the two views of a pair up to twice as much."""
    scale: float = option(1.5, least=1, most=4)
    """Largest factor by which a view is enlarged or shrunk."""
    tilt: float = option(0.2, least=0, below=0.5)
    """How far the corners of a view move for its perspective, as a share of its sides."""
    disturbance: float = option(1.0, least=0)
    """Strength of the changes of colour, light, sharpness and noise of each view; 0 for none."""
    temperature: float = option(0.05, above=0)
    """Divisor of the cosines in the likelihood of a match (silk); 1 / 20 in the paper."""
    corners: bool = True
    """Compare corners alone, and learn keypoints at those that both views show and match (silk,
    ours): they can be found again to a pixel, and are fewer. False: compare one random pixel of
    each cell, and learn keypoints wherever matching succeeds, as published."""
    score_weight: float = option(1.0, above=0)
    """Weight of the keypoints' loss; that of the descriptors has 1."""
    hinge_weight: float = option(10.0, least=0)
    """Weight of the descriptors' loss (superpoint), 0.0001 in the paper; 0 trains the detector
    alone."""
    same_weight: float = option(100.0, above=0)
    """Weight of pairs of one place over others (superpoint), 250 in the paper, whose views have
    more cells. After 160 steps on cut pictures 12 % of places are matched with 30 or 100, 7 % with
    10 or 250."""
    same_within: float = option(8.0, above=0)
    """Distance up to which two descriptors are of one place (superpoint), pixels; the side of a
    cell in the paper."""

    def __post_init__(self) -> None:
        check_ranges(self)
