# SPDX-License-Identifier: Apache-2.0
"""The descriptors' hinge loss of SuperPoint [DeTone 2018, eq. 4 to 6].

Every descriptor of one view is compared with every descriptor of the other: those of one place
shall be alike, all others apart. Its detector's loss is `keypoints.detector_loss`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from depthkit.errors import check_shape

POSITIVE_MARGIN, NEGATIVE_MARGIN = 1.0, 0.2  # m_p and m_n of the paper
POSITIVE_WEIGHT = 250.0  # lambda_d of the paper: a view has one match for hundreds of others


def same_place(first: Tensor, second: Tensor, *, radius: float) -> Tensor:
    """Mark pairs of points that show the same place: s of [DeTone 2018, eq. 4].

    Args:
        first: points of the first view, carried into the second, pixels. (B, N, 2)
        second: points of the second view, pixels. (B, M, 2)
        radius: pixels; the side of a cell in the paper.

    Returns:
        (B, N, M) bool
    """
    check_shape("same_place: first", first, "B N 2")
    check_shape("same_place: second", second, f"{len(first)} M 2")
    apart = first[:, :, None] - second[:, None]
    return apart.square().sum(3) <= radius**2


def hinge_loss(
    first: Tensor,
    second: Tensor,
    *,
    same: Tensor,
    usable: Tensor,
    positive_weight: float = POSITIVE_WEIGHT,
) -> Tensor:
    """Return the mean of w s max(0, m_p - d^T d') + (1 - s) max(0, d^T d' - m_n) over all pairs.

    Args:
        first: descriptors of length 1. (B, N, C)
        second: those of the other view. (B, M, C)
        same: pairs of one place, s. (B, N, M) bool
        usable: pairs that count. (B, N, M) bool
        positive_weight: w.

    Returns:
        () 0 where no pair counts.
    """
    check_shape("hinge_loss: first", first, "B N C")
    check_shape("hinge_loss: second", second, f"{len(first)} M {first.shape[2]}")
    cosine = first @ second.transpose(1, 2)  # (B, N, M)
    check_shape("hinge_loss: same", same, " ".join(map(str, cosine.shape)))
    alike = positive_weight * F.relu(POSITIVE_MARGIN - cosine)
    apart = F.relu(cosine - NEGATIVE_MARGIN)
    each = torch.where(same, alike, apart)
    return torch.where(usable, each, 0.0).sum() / usable.sum().clamp(min=1)
