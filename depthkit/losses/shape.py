# SPDX-License-Identifier: Apache-2.0
"""Shape of a depth map: its edges (first differences) and its curvature (second differences).

SfSNet adds such terms to the depth term so that folds and polyps stay sharp [Ruano 2023]. The paper
says so much; its exact form and weights were not found. Ours: the mean absolute difference of the
derivatives, at several scales, in the paper's gamma depth; `configs/endoscope` holds the weights.

Differences are linear: those of prediction and truth differ by the differences of the error, which
is all that is computed here.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from depthkit.errors import check_shape


def edge_loss(pred: Tensor, truth: Tensor, valid: Tensor, *, scales: int = 3) -> Tensor:
    """Compare first differences: mean of |dx e| + |dy e| of the error e = prediction - truth.

    A wrong offset is free, a fold that is blurred or misplaced is not. Coarser scales average
    blocks of 2 x 2 pixels and difference the means, so a slope counts twice as much at each.

    Args:
        pred: a map of depth in any form, such as gamma depth. (B, 1, H, W)
        truth: the same of the truth; anything, NaN too, where it does not count. (B, 1, H, W)
        valid: pixels that count; a difference counts where all its pixels do. (B, 1, H, W) bool
        scales: full size, half, a quarter, ...; fewer where the map is too small.

    Returns:
        Mean over the differences that count, then over the scales; 0 where none counts. ()
    """
    levels = []
    for error, known in _pyramid("edge_loss", pred, truth, valid, scales):
        along_x, along_y = (_mean(*_difference(error, known, axis)) for axis in (-1, -2))
        levels.append(along_x + along_y)
    return torch.stack(levels).mean()


def curvature_loss(pred: Tensor, truth: Tensor, valid: Tensor, *, scales: int = 3) -> Tensor:
    """Compare second differences: mean of |dxx e| + |dyy e| + 2 |dxy e|, e as above.

    Any wrong plane is free; what bends where the truth does not, or fails to, is not. Arguments and
    result as `edge_loss`. ()
    """
    levels = []
    for error, known in _pyramid("curvature_loss", pred, truth, valid, scales):
        along_x, along_y = (_difference(error, known, axis) for axis in (-1, -2))
        xx, xy = (_mean(*_difference(*along_x, axis)) for axis in (-1, -2))
        levels.append(xx + 2 * xy + _mean(*_difference(*along_y, -2)))
    return torch.stack(levels).mean()


def _pyramid(
    where: str, pred: Tensor, truth: Tensor, valid: Tensor, scales: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the error and where it is known, at full size and each half of it."""
    check_shape(f"{where}: prediction", pred, "B 1 H W")
    shape = " ".join(map(str, pred.shape))
    check_shape(f"{where}: truth", truth, shape)
    check_shape(f"{where}: valid", valid, shape)
    error = pred - torch.where(valid, truth, pred.detach())  # 0 * NaN would still be NaN
    yield error, valid
    for _ in range(1, scales):
        if min(error.shape[-2:]) < 2:
            return
        error = F.avg_pool2d(error, 2)
        valid = F.avg_pool2d(valid.to(error.dtype), 2) == 1  # all four pixels known
        yield error, valid


def _difference(x: Tensor, known: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Return the differences of neighbours along an axis, and where both neighbours are known."""
    lines = known.movedim(axis, 0)
    return x.diff(dim=axis), (lines[1:] & lines[:-1]).movedim(0, axis)


def _mean(differences: Tensor, known: Tensor) -> Tensor:
    return (differences.abs() * known).sum() / known.sum().clamp(min=1)
