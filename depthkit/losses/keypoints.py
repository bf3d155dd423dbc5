# SPDX-License-Identifier: Apache-2.0
"""Losses of learned keypoints: likelihood of true matches, and where a keypoint is [Gleize 2023].

Cells of the detector are 8 x 8 pixels. The logits of a cell compete with each other and with "no
point", whose logit is kept at 0 (DeTone 2018 learns it: a shift of all 65, which changes nothing).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from depthkit.errors import check_shape

CELL = 8
"""Side of a cell, pixels."""
NO_POINT = CELL * CELL
"""Class of a cell without a keypoint."""
UNKNOWN = -1
"""Class of a cell of which nothing is known."""
NEARBY = 4.0
"""Points closer than this are no false matches of each other, pixels: half a cell."""


class Matches(NamedTuple):
    """How descriptors of true matches compare with all others."""

    loss: Tensor
    """Mean negative log likelihood of the true matches, both ways. ()"""
    success: Tensor
    """Points whose nearest descriptor is the true one, both ways. (B, N) bool"""


def cycle_likelihood(
    first: Tensor,
    second: Tensor,
    *,
    places: tuple[Tensor, Tensor],
    usable: Tensor,
    temperature: float = 0.05,
) -> Matches:
    """Score true matches by the cycle-consistent likelihood of SiLK [Gleize 2023, eq. 3 and 4].

    The probability that point i of the first view goes to its match is a softmax over all points of
    the second view, and that of the way back one over all points of the first.

    Args:
        first: descriptors of length 1. (B, N, C)
        second: descriptors at the true matches. (B, N, C)
        places: pixels of the points in the first and in the second view. (B, N, 2) each
        usable: points that both views show; the others are neither true nor false. (B, N) bool
        temperature: divisor of the cosines.

    Returns:
        The loss, 0 without usable points, and which points are matched well.
    """
    check_shape("cycle_likelihood: second", second, " ".join(map(str, first.shape)))
    similarity = first @ second.transpose(1, 2) / temperature  # (B, N, N)
    # 1. Leave out what is no candidate: unusable points, and close neighbours of the true one.
    count = first.shape[1]
    own = torch.eye(count, dtype=torch.bool, device=first.device)
    there = similarity.masked_fill(~_candidates(places[1], usable, own), -torch.inf)
    back = similarity.transpose(1, 2).masked_fill(~_candidates(places[0], usable, own), -torch.inf)
    # 2. Log likelihoods of the true ones.
    true = similarity.diagonal(dim1=1, dim2=2)
    likelihood = 2 * true - there.logsumexp(2) - back.logsumexp(2)
    loss = -torch.where(usable, likelihood, 0).sum() / usable.sum().clamp(min=1)
    with torch.no_grad():
        success = usable & (there.amax(2) <= true) & (back.amax(2) <= true)
    return Matches(loss, success)


def _candidates(places: Tensor, usable: Tensor, own: Tensor) -> Tensor:
    """Which points compete with which others. (B, N, N) bool, True on the diagonal"""
    apart = torch.cdist(places, places) >= NEARBY
    return (apart & usable[:, None, :]) | own


def cell_classes(points: Tensor, present: Tensor, size: tuple[int, int]) -> Tensor:
    """Turn positions of keypoints into the class of each cell.

    Args:
        points: (u, v), pixels. (B, N, 2)
        present: which of them are keypoints. (B, N) bool
        size: of the picture, (H, W), multiples of 8.

    Returns:
        v % 8 * 8 + u % 8 of the keypoint in a cell, the last one where there are several, or
        NO_POINT. (B, H / 8, W / 8) int64
    """
    height, width = size
    u, v = points.round().nan_to_num(-1).long().unbind(2)
    held = present & (u >= 0) & (v >= 0) & (u < width) & (v < height)
    cell = (v // CELL) * (width // CELL) + u // CELL
    kind = v % CELL * CELL + u % CELL
    classes = kind.new_full((len(points), height // CELL * (width // CELL)), NO_POINT)
    for row, (where, what, holds) in enumerate(zip(cell, kind, held, strict=True)):
        classes[row, where[holds]] = what[holds]
    return classes.view(len(points), height // CELL, width // CELL)


def detector_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the cross-entropy of each cell's 64 places and "no point" [DeTone 2018, eq. 2].

    Args:
        logits: of each pixel. (B, 1, H, W)
        classes: of each cell: 0 to 63, NO_POINT or UNKNOWN. (B, H / 8, W / 8) int64

    Returns:
        Mean over the cells that are known. ()
    """
    cells = F.pixel_unshuffle(logits, CELL)  # (B, 64, h, w), v % 8 * 8 + u % 8
    cells = torch.cat([cells, torch.zeros_like(cells[:, :1])], 1)
    loss = F.cross_entropy(cells, classes, ignore_index=UNKNOWN, reduction="sum")
    return loss / (classes != UNKNOWN).sum().clamp(min=1)
