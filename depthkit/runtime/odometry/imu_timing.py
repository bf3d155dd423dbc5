# SPDX-License-Identifier: Apache-2.0
"""The camera's rotations against the gyro's: time offset, and whether axes and unit agree.

Between neighbouring frames the rotation vector is the integral of the rate, up to a term of third
order in their distance, so offset and bias are a least squares fit of two curves.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from depthkit.rigid import log_so3

LEAST_PAIRS, PAIRS_FOR_OFFSET = 30, 60
LEAST_VARIANCE = 0.05
"""How much of the offset's variance may cancel between neighbouring pairs: all but this part."""
LEAST_RATE = 0.08
"""Rotation that is needed, rms over the pairs, rad/s."""
REACH, GRID = 0.1, 0.005
"""Largest offset that is looked for and the first search's step, seconds."""
LEAST_SIGMA = 0.0003
"""Smallest standard deviation of an offset: exposure and readout are not known better, seconds."""
SMALL_DIFFERENCE = np.radians(0.5)
"""Difference of a pair's rotations, rms, that confirms a gyro while little turns."""
PAIR_GAP = 0.2
"""Largest distance of two frames that are compared, seconds."""
PAIRS, PAIRS_AGAIN = 200, 20
"""Pairs that are kept, and how many new ones call for a new fit."""
APPLY_OFFSET, APPLY_SIGMAS = 0.002, 4.0
"""Least time offset that is corrected, seconds, and in standard deviations."""
AGREE, TURNED = 0.8, 0.9
"""Correlation of sound axes, at least; that of wrong axes after they are turned, at least."""
UNIT_BAND, RATIO_BAND = (40.0, 80.0), (0.8, 1.25)
"""Rate of the gyro over that of the camera: of deg/s taken for rad/s (57.3), and of a sound one."""


@dataclass(frozen=True, eq=False)
class TimingFit:
    """How the gyro's rotations compare with the camera's."""

    offset: float
    """Clock of the IMU less that of the frames, seconds: a frame of stamp t was taken when the
    IMU's clock read t + offset."""
    sigma: float
    """Its standard deviation, seconds."""
    bias: np.ndarray
    """Gyro bias in the same fit, rad/s. (3,)"""
    fault: str
    """What does not agree; empty if all does."""


def fit_timing(
    rows: np.ndarray, stamps: np.ndarray, R: np.ndarray, *, around: float = 0.0
) -> TimingFit | None:
    """Compare rotations between frames with the gyro's.

    Args:
        rows: samples t wx wy wz ax ay az that cover the stamps. (N, 7)
        stamps: of both frames of each pair, seconds; at most PAIR_GAP apart. (P, 2)
        R: rotation of each pair by vision, axes of the IMU: end to start. (P, 3, 3)
        around: offset that the search is centred on, seconds.

    Returns:
        None while there are too few pairs or too little rotation to say.
    """
    low, high = rows[0, 0] + REACH - around, rows[-1, 0] - REACH - around
    inside = (stamps[:, 0] >= low) & (stamps[:, 1] <= high)
    stamps, seen = stamps[inside], log_so3(R[inside])
    dt = stamps[:, 1] - stamps[:, 0]
    if len(seen) < LEAST_PAIRS or np.sqrt(np.mean((seen / dt[:, None]) ** 2) * 3) < LEAST_RATE:
        return None
    curve = _integral(rows)
    # 1. The offset of a grid at which both turn most alike, whatever axes and unit of the gyro.
    size = np.sqrt((seen**2).sum(axis=1))
    good = size <= 4 * np.percentile(size, 90)  # without pairs where vision jumped
    stamps, seen, dt = stamps[good], seen[good], dt[good]
    grid = around + np.arange(-REACH, REACH + GRID / 2, GRID)
    fits = [_residual(rows[:, 0], curve, stamps, seen, td)[0] for td in grid]
    best = int(np.argmax([_likeness(seen, dt, residual).turned for residual in fits]))
    fault = _disagreement(_likeness(seen, dt, fits[best]))
    # 2. Gauss-Newton from there.
    offset, sigma, bias = _refined(rows, curve, (stamps, seen), float(grid[best]))
    return TimingFit(offset, sigma, bias, fault)


class TurnWatch:
    """Compares the camera's rotations with the gyro's as both go on."""

    def __init__(self) -> None:
        """Start without rotations."""
        self.offset = 0.0
        """Clock of the IMU less that of the frames as far as it is corrected, seconds."""
        self.fault = ""
        """What does not agree; empty if all does."""
        self.notes: list[str] = []
        """Corrections, in order."""
        self.agrees = False
        """Whether the camera's rotations have shown that the gyro's can be trusted."""
        self._stamps: list[tuple[float, float]] = []
        self._rotations: list[np.ndarray] = []
        self._fresh = 0
        self._found = 0.0  # significant change by the fit before

    def add(self, start: float, end: float, R: np.ndarray, rows: np.ndarray) -> bool:
        """Take the rotation between two frames.

        Args:
            start: stamp of the earlier frame, seconds.
            end: stamp of the later one; at most PAIR_GAP on, else the pair is left out.
            R: axes of the IMU at the end to those at the start, by vision. (3, 3)
            rows: samples so far. (N, 7)

        Returns:
            Whether the offset was corrected now.
        """
        if not 0 < end - start <= PAIR_GAP:
            return False
        self._stamps = [*self._stamps[1 - PAIRS :], (start, end)]
        self._rotations = [*self._rotations[1 - PAIRS :], R]
        self._fresh += 1
        if self._fresh < PAIRS_AGAIN or len(rows) < 10:
            return False
        self._fresh = 0
        stamps, rotations = np.array(self._stamps), np.stack(self._rotations)
        fit = fit_timing(rows, stamps, rotations, around=self.offset)
        if fit is None:
            self.agrees = not self.fault and small_difference(
                rows, stamps, rotations, offset=self.offset
            )
            return False
        return self._take(fit)

    def _take(self, fit: TimingFit) -> bool:
        """Keep the fault; correct the offset where two fits in a row find it significant."""
        self.fault, self.agrees = fit.fault, not fit.fault
        change, before = fit.offset - self.offset, self._found
        enough = len(self._stamps) >= PAIRS_FOR_OFFSET
        significant = enough and abs(change) > max(APPLY_OFFSET, APPLY_SIGMAS * fit.sigma)
        self._found = change if significant and not fit.fault else 0.0
        if self._found * before <= 0:
            return False
        self.offset, self._found = fit.offset, 0.0
        size, sigma = 1e3 * abs(fit.offset), 1e3 * fit.sigma
        word = "late" if fit.offset > 0 else "early"
        self.notes.append(
            f"stamps of the IMU are {size:.1f} ms {word} against the frames (sigma {sigma:.1f} "
            "ms); corrected"
        )
        return True


def small_difference(rows: np.ndarray, stamps: np.ndarray, R: np.ndarray, *, offset: float) -> bool:
    """Tell whether gyro and camera agree where both turn too little for a fit.

    Args:
        rows: samples. (N, 7)
        stamps: of both frames of each pair, seconds. (P, 2)
        R: rotation of each pair by vision, axes of the IMU. (P, 3, 3)
        offset: clock of the IMU less that of the frames, seconds.
    """
    inside = (stamps[:, 0] + offset >= rows[0, 0]) & (stamps[:, 1] + offset <= rows[-1, 0])
    if inside.sum() < LEAST_PAIRS:
        return False
    residual, _ = _residual(rows[:, 0], _integral(rows), stamps[inside], log_so3(R[inside]), offset)
    return bool(np.sqrt((residual**2).sum(axis=1).mean()) < SMALL_DIFFERENCE)


def _integral(rows: np.ndarray) -> np.ndarray:
    """Integral of the rates up to each sample, rad. (N, 3)"""
    steps = 0.5 * (rows[1:, 1:4] + rows[:-1, 1:4]) * np.diff(rows[:, 0])[:, None]
    return np.concatenate([np.zeros((1, 3)), np.cumsum(steps, axis=0)])


def _at(times: np.ndarray, values: np.ndarray, t: np.ndarray) -> np.ndarray:
    return np.stack([np.interp(t, times, values[:, k]) for k in range(3)], axis=1)


def _residual(
    times: np.ndarray, curve: np.ndarray, stamps: np.ndarray, seen: np.ndarray, offset: float
) -> tuple[np.ndarray, np.ndarray]:
    """Gyro less vision less the best bias, rad (P, 3), and that bias, rad/s (3,)."""
    gyro = _at(times, curve, stamps[:, 1] + offset) - _at(times, curve, stamps[:, 0] + offset)
    dt = (stamps[:, 1] - stamps[:, 0])[:, None]
    bias = ((gyro - seen) * dt).sum(axis=0) / (dt**2).sum()
    return gyro - seen - bias * dt, bias


def _refined(
    rows: np.ndarray, curve: np.ndarray, pairs: tuple[np.ndarray, np.ndarray], offset: float
) -> tuple[float, float, np.ndarray]:
    """Offset with its sigma, and the bias there."""
    stamps, seen = pairs
    dt = (stamps[:, 1] - stamps[:, 0])[:, None]
    start, sigma, bias = offset, np.inf, np.zeros(3)
    for _ in range(4):
        r, bias = _residual(rows[:, 0], curve, stamps, seen, offset)
        ends = (_at(rows[:, 0], rows[:, 1:4], stamps[:, k] + offset) for k in (1, 0))
        slope = next(ends) - next(ends)
        slope = slope - dt * (slope * dt).sum(axis=0) / (dt**2).sum()
        power = max(float((slope**2).sum()), 1e-12)
        move = -float((slope * r).sum()) / power
        offset = float(np.clip(offset + move, start - GRID, start + GRID))
        sigma = _offset_sigma(slope, r) / power
    return offset, float(np.hypot(sigma, LEAST_SIGMA)), bias


def _offset_sigma(slope: np.ndarray, residual: np.ndarray) -> float:
    """Standard deviation of sum(slope * residual): neighbouring residuals share a frame.

    The error of a frame's rotation enters two pairs with opposite signs; where the slope is smooth
    they cancel. Their correlation is measured [Newey & West 1987, one lag].
    """
    freedom = max(residual.size - 4, 1)
    own, shared = (residual**2).sum() / freedom, (residual[1:] * residual[:-1]).sum() / freedom
    power = (slope**2).sum()
    variance = own * power + 2 * shared * (slope[1:] * slope[:-1]).sum()
    return float(np.sqrt(max(variance, LEAST_VARIANCE * own * power)))


class _Likeness(NamedTuple):
    """Two sets of rotation vectors, freed of their means."""

    ratio: float  # length of the gyro's over the camera's
    straight: float  # correlation as they are
    turned: float  # the same after the best rotation between them
    angle: float  # of that rotation, degrees


def _likeness(seen: np.ndarray, dt: np.ndarray, residual: np.ndarray) -> _Likeness:
    """Compare by the singular values of the cross-covariance [Umeyama 1991]."""
    seen = seen - dt[:, None] * seen.sum(axis=0) / dt.sum()
    gyro = seen + residual
    power = float((gyro**2).sum()), float((seen**2).sum()) + 1e-18
    norm = np.sqrt(power[0] * power[1]) + 1e-18
    U, S, Vt = np.linalg.svd(gyro.T @ seen)
    sign = 1.0 if np.linalg.det(U @ Vt) > 0 else -1.0
    angle = np.degrees(np.linalg.norm(log_so3((U * [1.0, 1.0, sign]) @ Vt)))
    return _Likeness(
        ratio=float(np.sqrt(power[0] / power[1])),
        straight=float((gyro * seen).sum() / norm),
        turned=float((S[0] + S[1] + sign * S[2]) / norm),
        angle=float(angle),
    )


def _disagreement(alike: _Likeness) -> str:
    """Name wrong units or axes."""
    if alike.straight >= AGREE:
        return _ratio_fault(alike.ratio)
    if alike.turned >= TURNED:
        return (
            f"axes: the gyro is turned by {alike.angle:.0f} degrees against T_cam_imu; check its "
            "rotation"
        )
    return (
        f"gyro and camera do not turn together (correlation {alike.straight:.2f}); is it the IMU "
        "of this camera, and of this time?"
    )


def _ratio_fault(ratio: float) -> str:
    if UNIT_BAND[0] < ratio < UNIT_BAND[1]:
        return f"gyro: turns {ratio:.0f} times as fast as the camera; are these deg/s?"
    if not RATIO_BAND[0] < ratio < RATIO_BAND[1]:
        return f"gyro: turns {ratio:.2f} times as fast as the camera; check its unit and K"
    return ""
