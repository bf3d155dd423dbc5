# SPDX-License-Identifier: Apache-2.0
"""The IMU doctor: do the samples of a sequence fit its frames, and how noisy are they?

Rate, gaps and saturation are read off the samples; axes, unit, bias and clock are compared with the
rotation that the frames themselves show, which no calibration went into but K.
"""

import math

import numpy as np

from depthkit.data.imu_units import suspect_units
from depthkit.data.inspect.imu_noise import Windows, measure_windows, usual, worst
from depthkit.data.inspect.record import DensityFigures, ImuFigures
from depthkit.data.inspect.scan import Scan
from depthkit.data.sequence import Sequence
from depthkit.multiview.epipolar import rotation_angle
from depthkit.multiview.gyro_fit import GyroFit, fit_gyro
from depthkit.trajectory import Imu

GAP = 3.0
"""Times the usual spacing of samples, from which on it is a gap."""
SLOW = 50.0
"""Hz: below, an IMU says little between two frames."""
HELD = 3
"""Samples in a row at one and the same extreme, from which on it counts as the end of the range."""
FAR = 4.0
"""Robust deviations from the median that such an extreme lies off at least."""
AXES = ["wx", "wy", "wz", "ax", "ay", "az"]
AXES_TOLERANCE = 2.0
"""Degrees between T_cam_imu and the axes by the frames, from which on it is a finding."""
AXES_UNTOLD = 3.0
"""Degrees of standard deviation above which the motion does not tell the axes."""
CLOCK_TOLERANCE = 0.01
"""Seconds of offset, from which on it is a finding; exposure and readout take some milliseconds."""
SURE = 4.0
"""Standard deviations that a finding must exceed."""
RATIO_TOLERANCE = 0.1
DEGREES_BAND = 0.2
NOISY = 3.0
"""Times the given density that motion may show without a word."""
BIAS_LIMIT = 0.2
"""rad/s: a larger bias of a gyroscope hints at a fault."""
GYRO_WALK, ACCEL_WALK = 2e-5, 3e-3
"""Random walks of small sensors (EuRoC's ADIS16448), as no short recording can measure them."""


def check_imu(seq: Sequence, scan: Scan) -> ImuFigures | None:
    """Look at the IMU of a sequence; None without one.

    Args:
        seq: the sequence.
        scan: motion from each frame to the next, of the first frames at least.
    """
    imu = seq.imu
    if imu is None:
        return None
    times, windows = seq.times[: len(scan.looks)], measure_windows(imu)
    fit = fit_gyro(times, _rotations(scan), imu.rows) if len(imu) > 1 else "it has one sample"
    found, untold = (None, fit) if isinstance(fit, str) else (fit, "")
    still = windows.still
    axes, axes_sigma = _axes(imu, found)
    densities = _densities(imu, windows)
    return ImuFigures(
        samples=len(imu),
        rate_hz=imu.rate,
        gaps=_gaps(imu, seq.times[0]),
        uncovered=int(np.sum((seq.times < imu.stamps[0]) | (seq.times > imu.stamps[-1]))),
        saturated=_saturated(imu),
        rest_seconds=float(still.sum()),
        gravity=usual(windows.gravity[still]),
        pairs=0 if found is None else found.pairs,
        untold=untold,
        axes_deg=axes,
        axes_sigma_deg=axes_sigma,
        R_cam_imu=()
        if found is None or found.is_mirrored
        else tuple(found.R_cam_imu.ravel().tolist()),
        gyro_bias=_bias(found, windows),
        rate_ratio=math.nan if found is None else found.ratio,
        time_offset=math.nan if found is None else found.offset,
        time_offset_sigma=math.nan if found is None else found.offset_sigma,
        densities=densities,
        findings=_findings(seq, imu, found, (axes, axes_sigma), densities),
    )


def _rotations(scan: Scan) -> np.ndarray:
    """Return R_b_a of each frame to the next, NaN where unknown. (N - 1, 3, 3)"""
    R = np.full((len(scan.steps), 3, 3), np.nan)
    for i, step in enumerate(scan.steps):
        if step is not None and step.pair.motion is not None:
            R[i] = step.pair.motion.R_b_a
    return R


def _gaps(imu: Imu, start: float) -> tuple[tuple[float, float], ...]:
    """List where samples are missing: seconds since the first frame, and how long."""
    steps = np.diff(imu.stamps)
    if not len(steps):
        return ()
    found = np.flatnonzero(steps > GAP * np.median(steps))
    return tuple((float(imu.stamps[i] - start), float(steps[i])) for i in found)


def _saturated(imu: Imu) -> tuple[tuple[str, int], ...]:
    """Count the samples at the end of the range, by axis."""
    counts = [
        (name, _count_held(values)) for name, values in zip(AXES, imu.rows.T[1:], strict=True)
    ]
    return tuple((name, count) for name, count in counts if count)


def _count_held(values: np.ndarray) -> int:
    """Count samples at a far extreme that is held for some samples in a row."""
    middle = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - middle))
    total = 0
    for extreme in {float(values.min()), float(values.max())}:
        at = values == extreme
        runs = np.convolve(at, np.ones(HELD), "valid") == HELD if len(at) >= HELD else at[:0]
        if runs.any() and abs(extreme - middle) > FAR * spread > 0:
            total += int(at.sum())
    return total


def _axes(imu: Imu, fit: GyroFit | None) -> tuple[float, float]:
    """Return the angle between T_cam_imu and the axes by the frames, and its sigma, degrees."""
    if fit is None:
        return math.nan, math.nan
    sigma = math.degrees(fit.rotation_sigma)
    if imu.T_cam_imu is None or fit.is_mirrored or sigma > AXES_UNTOLD:
        return math.nan, sigma
    return rotation_angle(fit.R_cam_imu @ imu.T_cam_imu[:3, :3].T), sigma


def _bias(fit: GyroFit | None, windows: Windows) -> tuple[float, ...]:
    """Return the gyroscope's bias by its mean at rest, else by the frames; empty if unknown."""
    if windows.still.any():
        return tuple(np.median(windows.rate[windows.still], axis=0).tolist())
    return () if fit is None else tuple(fit.bias.tolist())


def _densities(imu: Imu, windows: Windows) -> tuple[DensityFigures, ...]:
    """Compare the densities that are given with those at rest and in motion."""
    given = imu.noise
    rows = [
        ("gyro", windows.gyro, given.gyro if given else math.nan),
        ("accel", windows.accel, given.accel if given else math.nan),
    ]
    measured = [
        DensityFigures(name, stated, usual(d[windows.still]), worst(d), worst(d))
        for name, d, stated in rows
        if np.isfinite(d).any()
    ]
    walks = [
        ("gyro_walk", given.gyro_walk if given else math.nan, GYRO_WALK),
        ("accel_walk", given.accel_walk if given else math.nan, ACCEL_WALK),
    ][: 1 + imu.has_accel]
    return (
        *measured,
        *(
            DensityFigures(
                name, stated, math.nan, math.nan, typical if math.isnan(stated) else stated
            )
            for name, stated, typical in walks
        ),
    )


# --- findings ------------------------------------------------------------------------------------


def _findings(
    seq: Sequence,
    imu: Imu,
    fit: GyroFit | None,
    axes: tuple[float, float],
    densities: tuple[DensityFigures, ...],
) -> tuple[str, ...]:
    """Say what is wrong; `axes` is the angle to T_cam_imu and its sigma, degrees."""
    units = list(suspect_units(imu.rows)) if fit is None else _unit_findings(imu, fit)
    found = [*_sample_findings(seq, imu), *units]
    if fit is not None:
        found += [*_axes_findings(imu, fit, *axes), *_clock_findings(fit)]
    if not units:  # a wrong unit makes these figures wrong as well
        found += _noise_findings(densities)
        if fit is not None and np.abs(fit.bias).max() > BIAS_LIMIT:
            found.append(f"the gyroscope's bias is large: {np.abs(fit.bias).max():.2f} rad/s")
    return tuple(found)


def _clock_findings(fit: GyroFit) -> list[str]:
    if abs(fit.offset) <= max(CLOCK_TOLERANCE, SURE * fit.offset_sigma):
        return []
    return [
        f"the stamps of the IMU are {1e3 * abs(fit.offset):.1f} ms "
        f"{'later' if fit.offset > 0 else 'earlier'} than those of the frames; shift imu.csv by "
        f"{-1e3 * fit.offset:+.1f} ms"
    ]


def _sample_findings(seq: Sequence, imu: Imu) -> list[str]:
    found = []
    if imu.rate < SLOW:
        found.append(f"{imu.rate:.3g} samples a second: too few to bridge frames; expected 100")
    if imu.T_cam_imu is None:
        found.append("T_cam_imu is unknown; prepare with --imu-to-camera FILE")
    gaps, saturated = _gaps(imu, seq.times[0]), _saturated(imu)
    if gaps:
        longest = max(gaps, key=lambda gap: gap[1])
        found.append(
            f"{len(gaps)} gaps between samples, the longest {longest[1]:.3g} s long, "
            f"{longest[0]:.1f} s after the first frame"
        )
    if saturated:
        axes = ", ".join(f"{name} {count} samples" for name, count in saturated)
        found.append(f"saturated: values are held at the end of their range ({axes})")
    return found


def _unit_findings(imu: Imu, fit: GyroFit) -> list[str]:
    """Judge the unit of the gyroscope by the camera, that of the accelerometer by gravity."""
    doubts = list(suspect_units(imu.rows))
    degrees = abs(fit.ratio * math.pi / 180 - 1) < DEGREES_BAND
    if degrees:
        doubts = [text for text in doubts if not text.startswith("gyroscope")]
        doubts.append(
            f"gyroscope: turns {fit.ratio:.1f} times as fast as the camera: its unit is deg/s; "
            "prepare with --imu-units deg/s"
        )
    elif abs(fit.ratio - 1) > RATIO_TOLERANCE:
        doubts.append(
            f"gyroscope: turns {fit.ratio:.2f} times as fast as the camera; check its unit, the "
            "focal length of camera.yaml and the times of the frames"
        )
    return doubts


def _noise_findings(densities: tuple[DensityFigures, ...]) -> list[str]:
    """Name the densities that are far below what the motion shows."""
    low = [one for one in densities if one.motion > NOISY * one.given]
    return [
        f"{one.name}: noise in motion is {one.motion / one.given:.0f} times the density of "
        "imu.yaml; an estimator needs that of motion"
        for one in low
    ]


def _axes_findings(imu: Imu, fit: GyroFit, axes: float, sigma: float) -> list[str]:
    if fit.is_mirrored:
        return ["the rates fit the frames mirrored only: one axis, or all, have the wrong sign"]
    if imu.T_cam_imu is None or not axes > max(AXES_TOLERANCE, SURE * sigma):
        return []
    R_given = imu.T_cam_imu[:3, :3]
    if rotation_angle(fit.R_cam_imu @ R_given) < max(AXES_TOLERANCE, SURE * sigma):
        return [f"T_cam_imu is off by {axes:.1f} deg: it is the inverse (T_imu_cam)"]
    return [
        f"the axes of T_cam_imu are off by {axes:.1f} deg (sigma {sigma:.2f}) from those that the "
        "frames show; its rotation should be R_cam_imu of --json"
    ]
