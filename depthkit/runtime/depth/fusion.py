# SPDX-License-Identifier: Apache-2.0
"""Maps of one frame from several baselines, fused per pixel in inverse depth.

A map is trusted where its own net value, depth at the nominal baseline, lies inside a band: below
it parallax is larger than what was learnt, above it too small to be seen. Errors of parallax are
even in inverse depth, so that is what is averaged.
"""

from typing import NamedTuple

import numpy as np

from depthkit.errors import check_shape

Band = tuple[float, float, float, float]


class Fused(NamedTuple):
    """One depth map of several."""

    depth: np.ndarray
    """Metres. (H, W) float32, > 0"""
    weight: np.ndarray
    """Trust in the best map of the pixel, 0 where none was in its band. (H, W) float32, 0 to 1"""
    coverage: np.ndarray
    """Some pair saw the pixel. (H, W) bool"""
    shares: np.ndarray
    """Of each map in the depth, mean over pixels where any was in its band. (N,) float64"""


def band_weight(net: np.ndarray, band: Band) -> np.ndarray:
    """Return a trapezoid: 0 at the outer ends of the band, 1 between the inner ones.

    Args:
        net: depth at the nominal baseline, metres. (...)
        band: where the weight begins, is full, fades, ends; metres at the nominal baseline.
    """
    begin, full, fade, end = band
    rise, fall = (net - begin) / (full - begin), (end - net) / (end - fade)
    return np.clip(np.minimum(rise, fall), 0.0, 1.0).astype(np.float32)


def fuse(
    maps: np.ndarray,
    baselines: np.ndarray,
    *,
    valid: np.ndarray,
    band: Band,
    nominal_baseline: float,
) -> Fused:
    """Fuse depth maps of one frame.

    Args:
        maps: what the network said, metres at the nominal baseline, > 0. (N, H, W)
        baselines: of each, metres. (N,)
        valid: the pair saw the pixel. (N, H, W) bool
        band: as for `band_weight`.
        nominal_baseline: D0, metres.
    """
    check_shape("fuse: maps", maps, "N H W")
    check_shape("fuse: valid", valid, " ".join(map(str, maps.shape)))
    check_shape("fuse: baselines", baselines, str(len(maps)))
    factors = np.asarray(baselines, dtype=np.float32) / np.float32(nominal_baseline)
    order = np.argsort(factors, kind="stable")
    shares, inverses, weight = (np.zeros(maps.shape[1:], np.float32) for _ in range(3))
    each = np.zeros(maps.shape, np.float32)
    # From the shortest baseline on: what it sees near is beyond a longer one's reach, whatever
    # that one says. Small near solids are missed there and taken for what lies behind.
    estimate = np.full(maps.shape[1:], np.inf, np.float32)
    for i in order:
        factor, metres = factors[i], maps[i] * factors[i]
        trust = band_weight(maps[i], band) * _rise(estimate / factor, band) * valid[i]
        share = trust * (factor * factor)  # of inverse depth, the same parallax error is 1 / |t|
        each[i] = share
        shares += share
        inverses += share / metres
        np.maximum(weight, trust, out=weight)
        farther = valid[i] & ((maps[i] >= band[1]) | np.isinf(estimate))
        estimate = np.where(farther, metres, estimate)
        np.divide(shares, inverses, out=estimate, where=shares > 0)
    unseen = np.isinf(estimate)
    depth = np.where(unseen, maps[order[0]] * factors[order[0]], estimate)
    return Fused(depth.astype(np.float32), weight, ~unseen, _mean_shares(each, shares))


def _mean_shares(each: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Return the part of each map in the sum of all, mean over pixels. (N, H, W) -> (N,)"""
    known = total > 0
    parts = each[:, known] / total[known]  # (N, pixels)
    return parts.mean(axis=1, dtype=np.float64) if known.any() else np.zeros(len(each))


def _rise(net: np.ndarray, band: Band) -> np.ndarray:
    """Return the left flank of the trapezoid, which stays 1 beyond. (...)"""
    return np.clip((net - band[0]) / (band[1] - band[0]), 0.0, 1.0)
