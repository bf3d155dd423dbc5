# SPDX-License-Identifier: Apache-2.0
"""Regression of depth on known depth: the losses that D3-Net compares [Carvalho 2018], and edges.

All take prediction, truth and which pixels count, (B, 1, H, W) each, metres, and return a mean over
the pixels that count: 0 where no pixel counts, with a gradient of zeros.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from depthkit.errors import ConfigError, check_shape

RegressionLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
LEAST_DEPTH = 1e-3  # metres; logarithms take nothing nearer
LEAST_SIGMA = 0.01  # relative; no teacher is surer of a pixel


def build_loss(name: str) -> RegressionLoss:
    """Return a regression loss by name, one of `LOSSES`.

    Returns:
        A function of prediction, truth and valid, (B, 1, H, W) each, the last bool, to a mean, ().

    Raises:
        ConfigError: unknown name.
    """
    if name not in LOSSES:
        raise ConfigError(f"unknown loss {name!r}; choose one of {', '.join(LOSSES)}")
    return LOSSES[name]


def l1_loss(pred: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Return the mean of |e|, e = prediction - truth, metres. ()"""
    return _mean(_error(pred, truth, valid).abs(), valid)


def l2_loss(pred: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Return the mean of e^2, square metres. ()"""
    return _mean(_error(pred, truth, valid).square(), valid)


def huber_loss(pred: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Return the mean of e^2 / 2 where |e| <= c, else c (|e| - c / 2), square metres. ()

    c is a fifth of the batch's largest |e|, no constant to choose.
    """
    error = _error(pred, truth, valid).abs()
    c = _threshold(error)
    return _mean(torch.where(error <= c, error.square() / 2, c * (error - c / 2)), valid)


def berhu_loss(pred: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Return the mean of |e| where |e| <= c, else (e^2 + c^2) / 2c, metres [Laina 2016]. ()

    c is a fifth of the batch's largest |e|.
    """
    error = _error(pred, truth, valid).abs()
    c = _threshold(error)
    return _mean(torch.where(error <= c, error, (error.square() + c * c) / (2 * c)), valid)


def log_l1_loss(pred: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Return the mean of |log prediction - log truth|. ()"""
    return _mean(_log_error(pred, truth, valid).abs(), valid)


def scale_invariant_loss(
    pred: Tensor, truth: Tensor, valid: Tensor, *, share: float = 0.5
) -> Tensor:
    """Return mean(d^2) - share * mean(d)^2 of d = log p - log t [Eigen 2014, eq. 4]. ()

    The means are each image's own, then averaged over the images with a known pixel. At share 1 a
    common factor on an image's depths costs nothing, at 0 it costs all.
    """
    d = _log_error(pred, truth, valid)
    counts = valid.sum((1, 2, 3))
    pixels = counts.clamp(min=1)
    each = d.square().sum((1, 2, 3)) / pixels - share * (d.sum((1, 2, 3)) / pixels).square()
    return each.sum() / (counts > 0).sum().clamp(min=1)


def gradient_loss(pred: Tensor, truth: Tensor, valid: Tensor, *, scales: int = 4) -> Tensor:
    """Return the mean of |d/du d| + |d/dv d| of d = log p - log t [Li 2018, eq. 3]. ()

    At the full size and with every second, fourth, eighth pixel, averaged; only between pixels that
    both count. It sharpens edges and leaves a common factor free.
    """
    d = _log_error(pred, truth, valid)
    total = d.new_zeros(())
    for step in (2**k for k in range(scales)):
        x, known = d[..., ::step, ::step], valid[..., ::step, ::step]
        total = total + _mean(x.diff(dim=-1).abs(), known[..., 1:] & known[..., :-1])
        total = total + _mean(x.diff(dim=-2).abs(), known[..., 1:, :] & known[..., :-1, :])
    return total / scales


LOSSES: dict[str, RegressionLoss] = {
    "l1": l1_loss,
    "l2": l2_loss,
    "huber": huber_loss,
    "berhu": berhu_loss,
    "log_l1": log_l1_loss,
    "scale_invariant": scale_invariant_loss,
    "gradient": gradient_loss,
}


def taught_loss(pred: Tensor, truth: Tensor, sigma: Tensor) -> Tensor:
    """Return the mean of |log prediction - log truth| weighted by 1 / sigma. ()

    The negative log likelihood of a Laplace distribution of log depth whose scale is proportional
    to sigma, without its constant, over the mean weight: its size is that of a relative error,
    however sure the teacher is.

    Args:
        pred: depth, > 0. (B, 1, H, W)
        truth: depth of a teacher in the same unit, 0 where unknown. (B, 1, H, W)
        sigma: its relative standard deviation; taken as at least `LEAST_SIGMA`. (B, 1, H, W)
    """
    known = truth > 0
    weight = known / sigma.clamp(min=LEAST_SIGMA)
    error = _log_error(pred, truth, known).abs()
    return (error * weight).sum() / weight.sum().clamp(min=1e-9)


def shrink_known(depth: Tensor, known: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Average the known pixels of each block of step x step pixels.

    Args:
        depth: metres; anything where unknown. (B, 1, H, W)
        known: (B, 1, H, W) bool
        step: pixels; blocks at the right and lower border may be partial.

    Returns:
        The means, 0 without a known pixel, and which blocks hold one, (B, 1, h, w) each with
        h = ceil(H / step), w = ceil(W / step).
    """
    check_shape("shrink_known: depth", depth, "B 1 H W")
    check_shape("shrink_known: known", known, " ".join(map(str, depth.shape)))
    if step == 1:
        return depth.where(known, torch.zeros_like(depth)), known
    height, width = depth.shape[-2:]
    filled = (0, -width % step, 0, -height % step)
    share = F.avg_pool2d(F.pad(known.to(depth.dtype), filled), step)
    total = F.avg_pool2d(F.pad(depth.where(known, torch.zeros_like(depth)), filled), step)
    return total / share.clamp(min=1 / step**2), share > 0


def _error(pred: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Return prediction - truth, 0 where unknown: 0 * NaN would still be NaN. (B, 1, H, W)"""
    _check(pred, truth, valid)
    return torch.where(valid, pred - truth.where(valid, pred.detach()), 0 * pred)


def _log_error(pred: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Return log prediction - log truth, 0 where unknown. (B, 1, H, W)"""
    _check(pred, truth, valid)
    log_pred = pred.clamp(min=LEAST_DEPTH).log()
    log_truth = truth.where(valid, torch.ones_like(truth)).clamp(min=LEAST_DEPTH).log()
    return torch.where(valid, log_pred - log_truth, 0 * log_pred)


def _threshold(error: Tensor) -> Tensor:
    """Return c, a fifth of the largest |e|; it is a choice, no path for gradients. ()"""
    return (0.2 * error.detach().max()).clamp(min=1e-6)


def _mean(values: Tensor, valid: Tensor) -> Tensor:
    return (values * valid).sum() / valid.sum().clamp(min=1)


def _check(pred: Tensor, truth: Tensor, valid: Tensor) -> None:
    check_shape("loss: prediction", pred, "B 1 H W")
    shape = " ".join(map(str, pred.shape))
    check_shape("loss: truth", truth, shape)
    check_shape("loss: valid", valid, shape)
