# SPDX-License-Identifier: Apache-2.0
"""How a gyroscope sits on a camera, and how far their clocks are apart, by rotation rates alone.

The camera turns between two frames at the rate w_cam = -log(R_b_a) / dt (axes of the camera), the
gyroscope's mean rate over the same time, moved by the offset d, is w_imu(d). They obey
w_cam = R_cam_imu (w_imu(d) - bias) / ratio. For a given d this is a similarity of two point sets
after their means are taken out (Umeyama 1991), so neither the axes nor the bias need be known; d is
searched on a grid and refined by a parabola. It is the cross-correlation of the rates, by vectors.
"""

from dataclasses import dataclass, replace

import numpy as np

from depthkit.rigid import log_so3, skew

MAX_OFFSET = 0.5
"""Seconds of offset that are searched, either way."""
COARSE, FINE = 0.01, 0.001
"""Seconds between the offsets of the two grids."""
MIN_PAIRS = 20
MIN_TURN = 0.02
"""rad/s: deviation of the camera's rate from its mean below which nothing can be told."""
MIN_AGREEMENT = 0.5
"""Share of the camera's rotation that the gyroscope must explain."""
CLEARLY_BETTER = 0.5
"""Share of the error that a reflection must leave of that of a rotation, to be named."""
ITERATIONS = 4
"""Rounds of reweighting; on EuRoC MH_01 the angle changes by less than 0.01 degrees after the
third."""


@dataclass(frozen=True)
class GyroFit:
    """The gyroscope against the rotation of the camera."""

    R_cam_imu: np.ndarray
    """Directions of the IMU to the camera; of determinant -1 if mirrored. (3, 3)"""
    bias: np.ndarray
    """Rates of the gyroscope at rest, in its own unit and axes. (3,)"""
    ratio: float
    """Rates of the gyroscope over those of the camera; 1 where both are rad/s and K is right."""
    offset: float
    """Stamp of the IMU minus stamp of the camera of one moment, seconds."""
    offset_sigma: float
    rotation_sigma: float
    """Standard deviation of R_cam_imu about the axis that is known worst, radians."""
    agreement: float
    """Share of the variance of the camera's rate that is explained, at most 1."""
    noise: float
    """Robust standard deviation of a component of the rate that is left, rad/s."""
    pairs: int
    """Pairs of frames that were compared."""
    is_mirrored: bool
    """A reflection fits better than any rotation: one or all axes have the wrong sign."""


@dataclass(frozen=True)
class _Similarity:
    """w_cam = R (w_imu - bias) / ratio at one offset."""

    R: np.ndarray
    scale: float
    shift: np.ndarray
    residual: np.ndarray
    """(P, 3) rad/s"""


def fit_gyro(
    times: np.ndarray, R_next: np.ndarray, rows: np.ndarray, *, max_offset: float = MAX_OFFSET
) -> GyroFit | str:
    """Fit axes, bias, unit and time offset of a gyroscope to the rotations between frames.

    Args:
        times: of the frames, seconds, rising. (N,)
        R_next: rotation R_b_a from each frame to the next, NaN where unknown. (N - 1, 3, 3)
        rows: samples t wx wy wz ...; seconds, any unit of rate. (M, >= 4)
        max_offset: offsets that are searched, seconds.

    Returns:
        The fit, or a word why there is none.
    """
    w_cam = _camera_rates(times, R_next)
    known = np.isfinite(w_cam).all(axis=1) & _covered(times, rows, max_offset)
    if known.sum() < MIN_PAIRS:
        return f"only {int(known.sum())} pairs of frames have a rotation and samples of the IMU"
    spread = float(np.sqrt(np.mean(np.sum((w_cam[known] - w_cam[known].mean(axis=0)) ** 2, 1))))
    if spread < MIN_TURN:
        return "the camera hardly turns"
    # 1. Search the offset, for the rates as they are and mirrored.
    gyro, target = _Gyro(times, rows, known), w_cam[known]
    searched = [_search(gyro, target, spread, max_offset, sign) for sign in (1.0, -1.0)]
    losses = [np.median(np.sum(fit.residual**2, axis=1)) for fit, _ in searched]
    is_mirrored = bool(losses[1] < CLEARLY_BETTER**2 * losses[0])
    fit, offset = searched[is_mirrored]
    # 2. Refuse what does not agree anywhere.
    agreement = 1 - float(losses[is_mirrored] / spread**2)
    if agreement < MIN_AGREEMENT:
        return "gyroscope and camera do not turn alike at any offset; are both of one recording?"
    if abs(offset) > max_offset - COARSE:
        return f"no offset within {max_offset:g} s makes gyroscope and camera agree"
    # 3. How accurate it is, by the residuals.
    return _conclude(gyro, fit, offset, agreement, is_mirrored=is_mirrored)


class _Gyro:
    """Mean rates between frames, at any offset, by the integral of the samples."""

    def __init__(self, times: np.ndarray, rows: np.ndarray, known: np.ndarray) -> None:
        self.known, self.stamps, self.times = known, rows[:, 0], times
        means = 0.5 * (rows[1:, 1:4] + rows[:-1, 1:4])
        steps = means * np.diff(self.stamps)[:, None]
        self.turned = np.concatenate([np.zeros((1, 3)), np.cumsum(steps, axis=0)])

    def rates(self, offset: float) -> np.ndarray:
        """Return the mean rate of each known pair. (P, 3)"""
        at = self.times + offset
        angle = np.stack([np.interp(at, self.stamps, axis) for axis in self.turned.T], axis=1)
        return (np.diff(angle, axis=0) / np.diff(self.times)[:, None])[self.known]


def _search(
    gyro: "_Gyro", target: np.ndarray, spread: float, max_offset: float, sign: float
) -> tuple["_Similarity", float]:
    """Find the offset at which the rates, times a sign, fit those of the camera best.

    Returns:
        The fit at the offset, and the offset in seconds.
    """
    # Coarse, with residuals beyond a third of the motion counting less.
    coarse, wide = np.arange(-max_offset, max_offset + COARSE / 2, COARSE), spread / 3
    fits = [_fit(sign * gyro.rates(d), target, wide) for d in coarse]
    best = int(np.argmin([_score(fit, wide) for fit in fits]))
    # Fine, at the scale of the noise, down to the lowest point of a parabola.
    noise = max(_deviation(fits[best].residual), 1e-9)
    fine = coarse[best] + np.arange(-COARSE, COARSE + FINE / 2, FINE)
    scores = [_score(_fit(sign * gyro.rates(d), target, noise), noise) for d in fine]
    offset = _lowest(fine, np.array(scores))
    fit = _fit(sign * gyro.rates(offset), target, noise)
    return replace(fit, R=sign * fit.R), offset


def _camera_rates(times: np.ndarray, R_next: np.ndarray) -> np.ndarray:
    """Return the rate between each frame and the next, in the camera, NaN where unknown."""
    known = np.isfinite(R_next).all(axis=(1, 2))
    rates = np.full((len(R_next), 3), np.nan)
    rates[known] = -log_so3(R_next[known]) / np.diff(times)[known, None]
    return rates


def _covered(times: np.ndarray, rows: np.ndarray, max_offset: float) -> np.ndarray:
    """Tell which pairs lie within the samples at every offset, or nearly so for short ones."""
    first, last = rows[0, 0], rows[-1, 0]
    margin = min(max_offset, 0.1 * (times[-1] - times[0]))
    return (times[:-1] - margin >= first) & (times[1:] + margin <= last)


def _fit(source: np.ndarray, target: np.ndarray, width: float) -> _Similarity:
    """Fit target = scale R source + shift, residuals far beyond `width` counting linearly.

    Args:
        source: rates of the gyroscope. (P, 3)
        target: rates of the camera, rad/s. (P, 3)
        width: where a residual begins to count linearly, rad/s.
    """
    weights = np.ones((len(source), 1))
    for _ in range(ITERATIONS):
        mean_s, mean_t = (np.sum(weights * w, 0) / weights.sum() for w in (source, target))
        a, b = source - mean_s, target - mean_t
        U, S, Vt = np.linalg.svd((weights * b).T @ a)
        sign = np.sign(np.linalg.det(U @ Vt)) or 1.0
        R = U @ np.diag([1.0, 1.0, sign]) @ Vt
        scale = float((S[0] + S[1] + sign * S[2]) / max(np.sum(weights * a**2), 1e-300))
        residual = b - scale * a @ R.T
        error = np.linalg.norm(residual, axis=1, keepdims=True)
        weights = 1 / np.sqrt(1 + (error / width) ** 2)
    return _Similarity(R, scale, mean_t - scale * R @ mean_s, residual)


def _score(fit: _Similarity, width: float) -> float:
    """Return the mean pseudo-Huber loss."""
    squared = np.sum(fit.residual**2, axis=1) / width**2
    return float(np.mean(np.sqrt(1 + squared) - 1))


def _lowest(at: np.ndarray, values: np.ndarray) -> float:
    """Return where a parabola through the lowest value and its neighbours is lowest."""
    i = int(np.clip(np.argmin(values), 1, len(values) - 2))
    left, here, right = values[i - 1 : i + 2]
    bend = left - 2 * here + right
    step = 0.5 * (left - right) / bend if bend > 0 else 0.0
    return float(at[i] + np.clip(step, -1, 1) * (at[1] - at[0]))


def _deviation(residual: np.ndarray) -> float:
    return 1.4826 * float(np.median(np.abs(residual)))


def _conclude(
    gyro: _Gyro, fit: _Similarity, offset: float, agreement: float, *, is_mirrored: bool
) -> GyroFit:
    """Add standard deviations: noise over the information, for noise that is correlated in time."""
    noise = _deviation(fit.residual) * _correlation_factor(fit.residual)
    source = gyro.rates(offset)
    turned = fit.scale * (source - source.mean(axis=0)) @ fit.R.T
    # A small rotation r of the axes changes a rate w by r x w: the information is sum([w]^T [w]).
    crosses = skew(turned)
    information = np.sum(np.swapaxes(crosses, 1, 2) @ crosses, axis=0)
    weakest = max(float(np.linalg.eigvalsh(information)[0]), 1e-12)
    slopes = fit.scale * (gyro.rates(offset + FINE) - gyro.rates(offset - FINE)) / (2 * FINE)
    steep = max(float(np.sum((slopes - slopes.mean(axis=0)) ** 2)), 1e-12)
    return GyroFit(
        R_cam_imu=fit.R,
        bias=-fit.R.T @ fit.shift / fit.scale,
        ratio=1 / fit.scale,
        offset=offset,
        offset_sigma=noise / np.sqrt(steep),
        rotation_sigma=noise / np.sqrt(weakest),
        agreement=agreement,
        noise=_deviation(fit.residual),
        pairs=len(source),
        is_mirrored=is_mirrored,
    )


def _correlation_factor(residual: np.ndarray) -> float:
    """Return by how much correlated noise deviates further in a mean than white noise would.

    For a first-order process of correlation c it is sqrt((1 + c) / (1 - c)).
    """
    limit = 3 * _deviation(residual)
    clipped = np.clip(residual, -limit, limit)
    power = float(np.sum(clipped**2))
    c = float(np.sum(clipped[1:] * clipped[:-1])) / power if power > 0 else 0.0
    c = min(max(c, 0.0), 0.9)
    return float(np.sqrt((1 + c) / (1 - c)))
