# SPDX-License-Identifier: Apache-2.0
"""Homographic adaptation: labels of an unlabelled picture that hold from many views of it.

The score of a picture is the mean of what a detector says of random views of it, each carried back:
F(I) = 1 / N sum_i H_i^-1 f(H_i(I)) [DeTone 2018, eq. 10]. What one view alone shows as a corner
fades, what all show stays; each pixel is divided by the number of views that had it.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from depthkit.config import KeypointsConfig
from depthkit.errors import check_shape
from depthkit.geometry.projection import pixel_grid, size_of
from depthkit.geometry.warp import sample
from depthkit.tasks.keypoint_pairs import draw_homographies, move

Score = Callable[[Tensor], Tensor]
"""RGB in [0, 1], (B, 3, H, W), to probabilities of a keypoint, (B, H, W)."""

BORDER = 4
"""Pixels at a view's border that count for nothing: a detector sees the border as an edge there."""


@torch.no_grad()
def adapted_score(score: Score, picture: Tensor, homographies: Tensor, *, batch: int = 8) -> Tensor:
    """Average a detector's score over views of a picture, each carried back to it.

    Args:
        score: the detector.
        picture: RGB in [0, 1]. (3, H, W)
        homographies: pixels of each view to pixels of the picture; views have its size. (N, 3, 3)
        batch: views that are looked at together.

    Returns:
        Mean probability; 0 where no view shows the pixel. (H, W)
    """
    check_shape("adapted_score: picture", picture, "3 H W")
    check_shape("adapted_score: homographies", homographies, "N 3 3")
    size = size_of(picture)
    inner = _inner(size, like=picture)
    total, count = torch.zeros_like(picture[0]), torch.zeros_like(picture[0])
    for H in homographies.split(batch):
        # 1. The views, and what the detector says of them.
        view = sample(picture.expand(len(H), -1, -1, -1), _carry(size, H))
        said = score(view) * inner
        # 2. Back to the picture, with what of it each view shows.
        back = _carry(size, torch.linalg.inv(H))
        limits = back.new_tensor([size[1] - 1, size[0] - 1])[:, None, None]
        shown = ((back >= 0) & (back <= limits)).all(1)
        maps = sample(torch.stack([said, inner.expand_as(said)], 1), back)  # (B, 2, H, W)
        total += (maps[:, 0] * shown).sum(0)
        count += (maps[:, 1] * shown).sum(0)
    return total / count.clamp(min=0.5)


def draw_views(count: int, size: tuple[int, int], config: KeypointsConfig) -> Tensor:
    """Draw homographies of views of a whole picture, the first one the picture itself.

    Args:
        count: number of views.
        size: of the picture, (H, W), pixels.
        config: ranges of turn, scale and tilt.

    Returns:
        Pixels of each view to pixels of the picture. (N, 3, 3)
    """
    middle = 0.5 + 0.3 * (torch.rand(count, 2) - 0.5)
    return torch.cat([torch.eye(3)[None], draw_homographies(middle, size, config)[1:]])


def strongest_points(
    score: Tensor, *, threshold: float, radius: int = 4, most: int = 512
) -> tuple[Tensor, Tensor]:
    """Return pixels whose score is the largest around them, the strongest first.

    Args:
        score: probabilities. (H, W)
        threshold: least score of a point.
        radius: no stronger pixel lies within it, along rows and columns, pixels.
        most: points at the most.

    Returns:
        points: whole pixels (u, v). (P, 2)
        strength: their scores. (P,)
    """
    check_shape("strongest_points: score", score, "H W")
    largest = F.max_pool2d(score[None, None], 2 * radius + 1, stride=1, padding=radius)[0, 0]
    v, u = torch.nonzero((score == largest) & (score >= threshold), as_tuple=True)
    strength, order = score[v, u].sort(descending=True, stable=True)
    points = torch.stack([u, v], 1)[order].to(score.dtype)
    return points[:most], strength[:most]


def _carry(size: tuple[int, int], H: Tensor) -> Tensor:
    """Apply homographies to all pixels. -> (B, 2, H, W)"""
    grid = pixel_grid(*size, H)[:2].transpose(0, 1)  # (H*W, 2)
    return move(grid.expand(len(H), -1, -1), H).transpose(1, 2).unflatten(2, size)


def _inner(size: tuple[int, int], *, like: Tensor) -> Tensor:
    """Mark pixels away from the border with 1. (H, W)"""
    inner = like.new_zeros(size)
    inner[BORDER:-BORDER, BORDER:-BORDER] = 1
    return inner
