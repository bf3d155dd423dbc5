# SPDX-License-Identifier: Apache-2.0
"""Depth maps of one frame from several baselines, fused per pixel in inverse depth.

A map is trusted where its net value, depth at the nominal baseline, lies inside a band: below it
the parallax is larger than in training, above it too small to be measured. A parallax error is an
even error in inverse depth, so inverse depth is averaged.
"""

from typing import NamedTuple

import numpy as np

from depthkit.errors import check_shape

Band = tuple[float, float, float, float]


class Fused(NamedTuple):
    """Result of fusing several depth maps."""

    depth: np.ndarray
    """Fused depth, metres, > 0. (H, W) float32"""
    weight: np.ndarray
    """Largest weight of any map at the pixel, 0 to 1; 0 if none was in its band. (H, W) float32"""
    coverage: np.ndarray
    """Pixels that at least one pair shows. (H, W) bool"""
    shares: np.ndarray
    """Share of each map in the depth, mean over pixels where any was in its band. (N,) float64"""


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
        maps: outputs of the network, metres at the nominal baseline, > 0. (N, H, W)
        baselines: baseline of each map, metres. (N,)
        valid: pixels that both frames of the pair show. (N, H, W) bool
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
    # Shortest baseline first: what it measures as near is out of a longer one's range, whatever
    # that one returns. A long baseline misses small near objects and returns the background.
    estimate = np.full(maps.shape[1:], np.inf, np.float32)
    for i in order:
        factor, metres = factors[i], maps[i] * factors[i]
        # 1. Trust: inside its own band, and by the estimate so far not nearer than this band.
        trust = band_weight(maps[i], band) * _rise(estimate / factor, band) * valid[i]
        # 2. Inverse variance: a parallax error is an inverse-depth error in 1 / |t|.
        share = trust * (factor * factor)
        each[i] = share
        shares += share
        inverses += share / metres
        np.maximum(weight, trust, out=weight)
        # 3. The estimate that gates longer baselines: this map where it is not too near or nothing
        #    else is known, replaced by the weighted mean where any map was in its band.
        farther = valid[i] & ((maps[i] >= band[1]) | np.isinf(estimate))
        estimate = np.where(farther, metres, estimate)
        np.divide(shares, inverses, out=estimate, where=shares > 0)
    # 4. Pixels that no pair shows keep the shortest baseline's value and are not covered.
    unseen = np.isinf(estimate)
    depth = np.where(unseen, maps[order[0]] * factors[order[0]], estimate)
    return Fused(depth.astype(np.float32), weight, ~unseen, _mean_shares(each, shares))


def _mean_shares(each: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Return the share of each map in the total weight, mean over pixels. (N, H, W) -> (N,)"""
    known = total > 0
    parts = each[:, known] / total[known]  # (N, pixels)
    return parts.mean(axis=1, dtype=np.float64) if known.any() else np.zeros(len(each))


def _rise(net: np.ndarray, band: Band) -> np.ndarray:
    """Return the rising flank of the trapezoid, 1 beyond it. (...)"""
    return np.clip((net - band[0]) / (band[1] - band[0]), 0.0, 1.0)
