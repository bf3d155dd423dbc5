# SPDX-License-Identifier: Apache-2.0
"""What moves by itself, found from two reconstructions: by depth and camera motion, and by flow.

The paper's [Hariat 2023, CoopNet, abstract]: Delta = L_photo(depth, odometry) - L_photo(flow) of
each pixel, a model of its distribution, and that pixels where the two disagree strongly move and
teach depth and odometry nothing. Its law, threshold and code are not public. Ours is the model:

    p(Delta) = (1 - share) Laplace(Delta; location, scale)                     static
             + share [Delta > location] exp(-(Delta - location) / tail) / tail    moving

Flow can follow what moves and rigid motion cannot, never the other way round: so moving pixels
stand to the right, and the scale is taken from what lies left of the location, which they do not
touch, or from the upper quartile less their share. The same law serves the gap between rigid flow
and flow, which the authors' later work masks by [Hariat 2026, VLRC], in what depth and flow may be
wrong by. The rule of Competitive Collaboration [Ranjan 2019] is here as the alternative.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthkit.errors import check_shape

LEAST_ERROR = 0.01
"""Added to both photometric errors before their ratio: what noise makes of a perfect match."""
GAP_UNIT = 0.5
"""Pixels: flow is no better than that."""
ALONG, ACROSS = 0.2, 0.05
"""Shares of the parallax by which the gap may be larger: for wrong depth, for wrong motion."""
LARGEST_GAP = 8.0
"""A failure of flow, tens of pixels, must not outweigh all else."""
TEMPER = 0.3
"""Factor on the evidence's log likelihood ratio beside a mask network, because neighbouring pixels,
and Delta and the gap, are not independent. Chosen on training streets."""
_LEAST_SCALE = 1e-4
_LEAST_TAIL = 4.0  # scales: a tail as steep as the static law could not be separated from it
_MOST_SHARE = 0.15  # that may move: more would be wrong depth
_FIRST_FIT = 30  # steps of expectation and maximisation before the first law is used


class DeltaLaw(NamedTuple):
    """The distribution of Delta or of the gap's score. () each"""

    location: Tensor
    """Median of static pixels."""
    scale: Tensor
    """Mean distance of static pixels from it."""
    tail: Tensor
    """Mean distance of moving pixels from it."""
    share: Tensor
    """Share of moving pixels."""


class Difference(NamedTuple):
    """How much worse depth and motion rebuild a target than flow does."""

    delta: Tensor
    """0 where it is not known. (B, 1, H, W)"""
    known: Tensor
    """Both find the pixel in the same source. (B, 1, H, W) bool"""
    rigid: Tensor
    """Error by depth and motion, of the best source. (B, 1, H, W)"""
    flow: Tensor
    """Error by flow, of the best source. (B, 1, H, W)"""


class DeltaModel(nn.Module):
    """Keeps the running law of Delta; all of it is in its buffers, so checkpoints hold it."""

    law: Tensor
    """location, scale, tail, share. (4,)"""
    fitted: Tensor
    """Whether there was any Delta yet. () bool"""

    def __init__(self, *, momentum: float = 0.99, least_share: float = 0.002) -> None:
        """Make a model that knows nothing yet.

        Args:
            momentum: share of the old law that each step keeps.
            least_share: smallest share of moving pixels, whatever the samples; below 0.15.
        """
        super().__init__()
        self.momentum, self.least_share = momentum, least_share
        self.register_buffer("law", torch.tensor([0.0, 0.02, 0.1, 0.05]))
        self.register_buffer("fitted", torch.tensor(False))

    def current(self) -> DeltaLaw:
        """Return the law as it is now."""
        return DeltaLaw(*self.law.unbind())

    @torch.no_grad()
    def update(self, samples: Tensor) -> None:
        """Move the law towards new samples of Delta. (N,), NaN where unknown"""
        samples = samples[samples.isfinite()]
        if len(samples) == 0:
            return
        if not self.fitted:
            # First samples: fit to convergence; afterwards one step a batch, blended in.
            law = first_law(samples)
            for _ in range(_FIRST_FIT):
                law = self._refit(samples, law)
            self.law.copy_(torch.stack(law))
            self.fitted.fill_(True)
            return
        law = self._refit(samples, self.current())
        self.law.lerp_(torch.stack(law), 1 - self.momentum)

    def _refit(self, samples: Tensor, law: DeltaLaw) -> DeltaLaw:
        law = refit_law(samples, law)
        return law._replace(share=law.share.clamp(self.least_share, _MOST_SHARE))

    def forget(self) -> None:
        """Begin again with the next samples: networks that have just begun follow another law."""
        self.fitted.fill_(False)

    def posterior(self, delta: Tensor) -> Tensor:
        """Return the probability that pixels are static. Any shape, the same back"""
        return static_posterior(delta, self.current())

    def evidence(self, delta: Tensor) -> Tensor:
        """Return the log likelihood ratio of static against moving, without the shares."""
        law = self.current()
        return _log_odds(delta, law) - ((1 - law.share) / law.share).log()


def static_posterior(delta: Tensor, law: DeltaLaw) -> Tensor:
    """Return the probability of static, given Delta: 1 left of the location, falling to the right.

    log odds = log((1 - share) tail / (2 scale share)) - x (1 / scale - 1 / tail), x = Delta -
    location >= 0.

    Args:
        delta: any shape.
        law: with tail > scale.

    Returns:
        In [0, 1]; the shape of delta.
    """
    odds = _log_odds(delta, law)
    # Left of the location nothing moves: rigid motion cannot rebuild better than flow does.
    return torch.where(delta < law.location, 1.0, odds.sigmoid())


def _log_odds(delta: Tensor, law: DeltaLaw) -> Tensor:
    """Return the log odds right of the location; left of it those at it."""
    x = (delta - law.location).clamp(min=0)
    at_location = ((1 - law.share) * law.tail / (2 * law.scale * law.share)).log()
    return at_location - x * (1 / law.scale - 1 / law.tail)


def first_law(samples: Tensor) -> DeltaLaw:
    """Return a law to begin with: the median of all, the scale around it, 5 % that move."""
    location = _weighted_median(samples, torch.ones_like(samples))
    share = samples.new_tensor(0.05)
    scale = _static_scale(samples, location, share)
    return DeltaLaw(location, scale, 8 * scale, share)


def refit_law(samples: Tensor, law: DeltaLaw) -> DeltaLaw:
    """Take one step of expectation and maximisation.

    Args:
        samples: finite. (N,), N > 0
        law: the one before.
    """
    # Expectation: how static each sample is under the old law.
    static = static_posterior(samples, law)
    # Maximisation: location and scale of the static part, then the tail to its right.
    location = _weighted_median(samples, static)
    scale = _static_scale(samples, location, law.share)
    moving = 1 - static
    tail = (moving * (samples - location)).sum() / moving.sum().clamp(min=1e-6)
    return DeltaLaw(location, scale, tail.maximum(_LEAST_TAIL * scale), moving.mean())


def _static_scale(samples: Tensor, location: Tensor, share: Tensor) -> Tensor:
    """Return the mean distance of static pixels from their median.

    The larger of two: the mean distance of what lies left, which what moves does not touch, and
    the upper quartile over ln 2, as of a Laplace law, for errors of depth make the right side
    wider. The quartile is that of the static pixels if all that move lie to its right.
    """
    # Left side: static pixels alone. Right side: the quartile of the static share.
    gap = location - samples
    left = gap > 0
    mean = (gap * left).sum() / left.sum().clamp(min=1)
    quartile = (samples.quantile(0.75 * (1 - share)) - location) / math.log(2)
    return mean.maximum(quartile).clamp(min=_LEAST_SCALE)


def _weighted_median(samples: Tensor, weights: Tensor) -> Tensor:
    """Return the first sample, from the left, with half of the weight at or before it. ()"""
    order = samples.argsort()
    total = weights[order].cumsum(0)
    return samples[order][torch.searchsorted(total, total[-1] / 2)]


def compare_errors(
    rigid: Tensor, flow: Tensor, seen: Tensor, *, window: int = 5, ratio: bool = False
) -> Difference:
    """Subtract the errors of both reconstructions, each of its best source, without gradient.

    What one source hides the other one shows: the minimum drops it [Godard 2019] for both alike.

    Args:
        rigid: photometric error of each source, warped by depth and motion. (S, B, 1, H, W)
        flow: the same, warped by flow. (S, B, 1, H, W)
        seen: both lie inside that source, on image. (S, B, 1, H, W) bool
        window: side of the square that Delta is averaged over, odd, pixels.
        ratio: Delta is the logarithm of (rigid + 0.01) / (flow + 0.01) (ours): rich texture makes
            both errors large, and with them their difference, but not their ratio.
    """
    check_shape("compare_errors: rigid", rigid, "S B 1 H W")
    shape = " ".join(map(str, rigid.shape))
    check_shape("compare_errors: flow", flow, shape)
    check_shape("compare_errors: seen", seen, shape)
    with torch.no_grad():
        seen = seen & rigid.isfinite() & flow.isfinite()  # a diverged network is no evidence
        known = seen.any(0)
        rigid, flow = (e.masked_fill(~seen, torch.inf).amin(0) for e in (rigid, flow))
        rigid, flow = (torch.where(known, e, 0) for e in (rigid, flow))
        left, right = ((e + LEAST_ERROR).log() if ratio else e for e in (rigid, flow))
        delta = average_known(left - right, known, window=window)
    return Difference(delta, known, rigid, flow)


def gap_score(gap: Tensor, parallax: Tensor, seen: Tensor, *, window: int = 5) -> Tensor:
    """Measure how far flow is from rigid flow, in what depth and flow may be wrong by.

    z^2 = (along / (1/2 + p/5))^2 + (across / (1/2 + p/20))^2, along and across the parallax, p
    pixels long: an error of depth moves rigid flow along it, by a share of it. z is that of the
    best source, at most 8, averaged over a square around each pixel. (Ours.)

    Args:
        gap: flow minus rigid flow of each source, pixels. (S, B, 2, H, W)
        parallax: rigid flow minus that of a camera that only turns, pixels. (S, B, 2, H, W)
        seen: both lie inside that source, on image. (S, B, 1, H, W) bool
        window: side of the square, odd, pixels.

    Returns:
        0 where no source is seen. (B, 1, H, W)
    """
    check_shape("gap_score: gap", gap, "S B 2 H W")
    shape = " ".join(map(str, gap.shape))
    check_shape("gap_score: parallax", parallax, shape)
    with torch.no_grad():
        length = parallax.square().sum(2, keepdim=True).sqrt()  # norm: 10 times slower here
        u, v = (parallax / length.clamp(min=1e-3)).split(1, 2)
        x, y = gap.split(1, 2)
        along = (x * u + y * v) / (GAP_UNIT + ALONG * length)
        # Without parallax there is no direction: all of the gap is across.
        rest = (x.square() + y.square() - (x * u + y * v).square()).clamp(min=0)
        z = (along.square() + rest / (GAP_UNIT + ACROSS * length).square()).sqrt()
        z = z.clamp(max=LARGEST_GAP).masked_fill(~(seen & z.isfinite()), torch.inf).amin(0)
        known = z.isfinite()
        return average_known(torch.where(known, z, 0), known, window=window)


def average_known(values: Tensor, known: Tensor, *, window: int) -> Tensor:
    """Average what is known over a square around each known pixel; 0 elsewhere. (B, 1, H, W)"""
    parts = torch.where(known, values, 0), known.float()
    total, count = (F.avg_pool2d(x, window, 1, window // 2) for x in parts)
    return torch.where(known, total / count.clamp(min=1e-6), 0)


def spread_samples(delta: Tensor, known: Tensor, *, most: int = 4096) -> Tensor:
    """Pick about `most` pixels of each image on a regular grid; NaN where unknown. (B*n,)"""
    height, width = delta.shape[-2:]
    step = max(1, round((height * width / most) ** 0.5))
    return torch.where(known, delta, torch.nan)[..., ::step, ::step].flatten()


def cc_static(
    rigid: Tensor, flow: Tensor, gap: Tensor, *, rigid_weight: float = 1.0, agreement: float = 0.01
) -> Tensor:
    """Return Competitive Collaboration's label, made graded: above 1/2 is its static.

    m = [rigid_weight rigid <= flow] or [|rigid flow - flow| < agreement, u and v]; the share
    flow / (flow + rigid_weight rigid) is at least 1/2 just where the first holds. There a network
    learns m as its mask; here m is the mask.

    Args:
        rigid: photometric error by depth and motion. (B, 1, H, W)
        flow: photometric error by flow. (B, 1, H, W)
        gap: flow minus rigid flow, of the source where they agree best, pixels. (B, 2, H, W)
        rigid_weight: above 1 makes more of the picture move.
        agreement: pixels.
    """
    check_shape("cc_static: rigid", rigid, "B 1 H W")
    # SSIM of equal patches rounds to a little above 1, and so an error to a little below 0.
    rigid, flow = rigid.clamp(min=0), flow.clamp(min=0)
    share = (flow + 1e-6) / (flow + rigid_weight * rigid + 2e-6)
    agrees = (gap.abs() < agreement).all(1, keepdim=True)
    return torch.where(agrees, share.clamp(min=0.5), share)
