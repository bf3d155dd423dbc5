# SPDX-License-Identifier: Apache-2.0
"""`place`: which pictures show one place, how they are varied, and by what loss they teach."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from depthkit.config.ranges import check_ranges, option, require


@dataclass(frozen=True)
class PlaceConfig:
    """Pairs of pictures of one place, the loss, and the descriptor that is left."""

    objective: Literal["multi_similarity", "triplet", "contrastive", "decision"] = (
        "multi_similarity"
    )
    """Loss: multi-similarity [Wang 2019], triplet of the hardest wrong answer [Hermans 2017],
    contrastive [Hadsell 2006], or a dense sigmoid on the difference of two codes with cross-entropy
    (decision) [Khokhlova 2020]."""
    margin: float = option(0.1, above=0, below=2)
    """Margin of triplet, in cosines."""
    distance: float = option(0.9, above=0, below=2)
    """Margin of contrastive: distance that pictures of two places shall have, of descriptors of
    length 1."""
    overlap: float = option(0.3, above=0, below=1)
    """Share of the view that two frames have in common where they show the same place."""
    apart: float = option(2.0, least=1)
    """Distance beyond which two frames of a sequence are two places, as a multiple of the distance
    at which they cease to share that part of the view."""
    turned: float = option(40.0, above=0, most=180)
    """Largest angle between the optical axes of two visits of one place, degrees; beyond, the pair
    is neither right nor wrong."""
    pictures: tuple[Path, ...] = ()
    """Folders of pictures that teach beside data.root: each picture is a place of its own, and its
    other view is made of it."""
    rotation: float = option(8.0, least=0, most=180)
    """Largest turn of a picture, degrees; 180 for cameras that look down."""
    crop: float = option(0.3, least=0, below=1)
    """Largest part of the sides that is cut away."""
    perspective: float = option(0.08, least=0, most=0.3)
    """Largest way of a corner, as a share of the sides: what a change of viewpoint does."""
    season: float = option(1.0, least=0, most=3)
    """Strength of changes of light and colour, other ones in each picture: exposure, contrast,
    gamma, tint, saturation, a gradient of light, blur, noise and covered patches; 0 for none."""
    mine_every: int = option(0, least=0)
    """Epochs between two searches for hard pairs, those that are not found among all others (map@5
    below 0.5), which then make up half of each batch; 5 in [Khokhlova 2020], 0 for never."""
    whitening: Literal["none", "pca", "whitened"] = "pca"
    """What is folded into the last layer at export, fitted on the training pictures of the last
    steps: nothing, an order by variance so that a code may be cut short (pca), or equal variance of
    all numbers as well (whitened)."""
    kept: int = option(0, least=0)
    """Numbers that stay after whitening; 0 for all."""

    def __post_init__(self) -> None:
        check_ranges(self)
        require(
            self.kept != 1,
            "kept: a descriptor of length 1 needs 2 numbers or more; got 1",
        )
