# SPDX-License-Identifier: Apache-2.0
"""Supervision of a predicted motion by a known one: scale from speed, rotation from an IMU."""

import torch
from torch import Tensor

from depthkit.errors import check_shape
from depthkit.geometry.se3 import log_so3


def baseline_loss(T_pred: Tensor, T_gt: Tensor, known: Tensor) -> Tensor:
    """Ask for the known baseline: | |t_pred| - |t_gt| |, metres [Guizilini 2020, eq. 6].

    Only the length is compared, as a speedometer gives it; that is what makes depth metric.

    Args:
        T_pred: motions. (N, 4, 4)
        T_gt: truths; anything, NaN too, where unknown. (N, 4, 4)
        known: which of them have a truth. (N,) bool

    Returns:
        Mean over the known ones, 0 if no motion is known. ()
    """
    T_gt = _fill_unknown("baseline_loss", T_pred, T_gt, known)
    error = (T_pred[:, :3, 3].norm(dim=-1) - T_gt[:, :3, 3].norm(dim=-1)).abs()
    return (error * known).sum() / known.sum().clamp(min=1)


def rotation_loss(T_pred: Tensor, T_gt: Tensor, known: Tensor) -> Tensor:
    """Return the mean angle between predicted and known rotations, radians. Shapes as above. ()"""
    T_gt = _fill_unknown("rotation_loss", T_pred, T_gt, known)
    angle = log_so3(T_pred[:, :3, :3] @ T_gt[:, :3, :3].mT).square().sum(-1).add(1e-12).sqrt()
    return (angle * known).sum() / known.sum().clamp(min=1)


def _fill_unknown(where: str, T_pred: Tensor, T_gt: Tensor, known: Tensor) -> Tensor:
    """Check the shapes, and put the prediction for an unknown truth: 0 * NaN would still be NaN."""
    check_shape(f"{where}: T_pred", T_pred, "N 4 4")
    check_shape(f"{where}: T_gt", T_gt, f"{len(T_pred)} 4 4")
    check_shape(f"{where}: known", known, f"{len(T_pred)}")
    return torch.where(known[:, None, None], T_gt, T_pred.detach())
