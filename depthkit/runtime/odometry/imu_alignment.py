# SPDX-License-Identifier: Apache-2.0
"""Metres for an up-to-scale visual path from preintegrated inertial motion, loosely coupled.

As [Qin & Shen 2017] the start is linear: gyro bias from rotations, then places, velocities, gravity
and scale together. After it, maximum likelihood [Campos et al. 2020, inertial-only optimisation]
with gravity on its sphere, the logarithm of the scale, biases with priors, and the visual poses
as measurements with noise and drift whose sizes are estimated, so that the sigma is honest.
"""

from dataclasses import dataclass, replace

import numpy as np

from depthkit.rigid import inverse, log_so3
from depthkit.runtime.odometry.imu_arrow import ArrowStep
from depthkit.runtime.odometry.imu_preintegration import Preintegrated
from depthkit.runtime.odometry.imu_window import (
    ACCEL,
    GRAVITY,
    PLACE,
    VELOCITY,
    BiasPrior,
    Guess,
    Window,
    apply_step,
    solve_step,
)
from depthkit.trajectory.imu import ImuNoise

MIN_NODES = 8
MIN_EXCITATION = 0.25
"""Least standard deviation of the acceleration, m/s2 [odometry.md, section 4, IMU start]."""
MAX_GYRO_BIAS, MAX_ACCEL_BIAS = 1.0, 2.5
"""Biases above these show a failure, rad/s and m/s2 [odometry.md, section 4]."""
MAX_SIGMA = 0.08
"""Largest relative standard deviation of a scale that is given out."""
FEW_POSES = 12.0
"""Few poses show their noise levels badly: sigmas grow by sqrt(1 + FEW_POSES / poses)."""
MIN_SIGMA = 0.005
"""Smallest one: scale factors and axes of accelerometers are not better than half a per cent."""
START_NOISE, START_TURN = 0.005, 1e-3
"""Noise of visual places and rotations before it is estimated, metres and rad."""
START_FACTOR = 3.0
"""Noise of an accelerometer in motion over its density at rest, before it is estimated."""
LEAST_NOISE, LEAST_TURN = 1e-6, 1e-5
"""Smallest estimates of the same, parts of the path's extent and rad."""
ROUNDS = 8
"""Gauss-Newton steps at most; the noise is estimated anew after each."""
SETTLED = 0.1
"""Change of the scale in standard deviations, and of variances, at which they end."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """Result for one window."""

    scale: float | None
    """Metres per unit of the visual path; None where `reason` says why."""
    sigma: float | None
    """Relative standard deviation of the scale."""
    gravity: np.ndarray
    """Direction of the pull in the world of the visual path, a unit vector. (3,)"""
    gravity_sigma: float
    """Standard deviation of roll and of pitch, rad."""
    bias: BiasPrior
    """Biases after the window, and how well they are known."""
    excitation: float
    """Standard deviation of the acceleration, m/s2."""
    levels: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Noise found: of visual places (unit of the path), of visual rotations (rad), and of the
    accelerometer (multiple of the stated density)."""
    reason: str = ""
    """Why no scale is given; empty if one is."""


def align(
    T_world_cam: np.ndarray,
    motions: list[Preintegrated],
    *,
    T_cam_imu: np.ndarray,
    noise: ImuNoise,
    prior: BiasPrior,
    start: Alignment | None = None,
) -> Alignment:
    """Find scale, gravity and biases of one window.

    Args:
        T_world_cam: poses of the camera by vision, translations in any one unit. (K, 4, 4)
        motions: inertial motion from each pose to the next. K - 1 of them
        T_cam_imu: points of the IMU to the camera, metres. (4, 4)
        noise: densities of the IMU's noise.
        prior: biases before the window.
        start: alignment of a window just before, of the same path: saves the linear start.

    Returns:
        The alignment; without a scale, and with the reason, where the window does not show it.
    """
    window = _gather(T_world_cam, motions, T_cam_imu, noise, prior)
    bg, bg_sigma = rotation_bias(window.R_visual, motions, prior)
    # 1. Gravity and excitation from the specific force alone.
    force = _world_force(window, bg)
    excitation = float(np.sqrt(_variance(force, window.dt)))
    rough = _rough(window, replace(prior, gyro=bg, gyro_sigma=bg_sigma), force, excitation)
    if len(T_world_cam) < MIN_NODES:
        return replace(rough, reason=f"{len(T_world_cam)} poses so far; needs {MIN_NODES}")
    if excitation < MIN_EXCITATION:
        text = (
            f"acceleration varies by {excitation:.2f} m/s2, needs {MIN_EXCITATION:g}: fly or walk "
            "with changes of speed"
        )
        return replace(rough, reason=text)
    # 2. Linear start, 3. maximum likelihood.
    try:
        state = _linear_start(window, bg) if start is None else _warm_start(window, start)
        if not state.scale > 0:
            return replace(rough, reason="the inertial and the visual path do not agree in shape")
        return _refine(window, state, rough)
    except np.linalg.LinAlgError:
        return replace(rough, reason="scale, velocity and gravity cannot be told apart here")


def rotation_bias(
    R: np.ndarray, motions: list[Preintegrated], prior: BiasPrior
) -> tuple[np.ndarray, float]:
    """Find the gyro bias that turns inertial rotations into the visual ones [Qin & Shen 2017].

    Args:
        R: T_world_imu's rotations by vision. (K, 3, 3)
        motions: inertial motion from each to the next.
        prior: biases before.

    Returns:
        bias: gyro bias, rad/s. (3,)
        sigma: standard deviation of each axis, rad/s; for visual rotations good to START_TURN.
    """
    dR = np.stack([m.rotation for m in motions])
    J = np.stack([m.bias_jacobian[:3, :3] for m in motions])
    at = np.stack([m.bias[:3] for m in motions])
    turn = log_so3(dR.swapaxes(1, 2) @ R[:-1].swapaxes(1, 2) @ R[1:]) + np.einsum(
        "nij,nj->ni", J, at
    )
    weight = START_TURN**-2
    H = weight * np.einsum("nji,njk->ik", J, J) + np.eye(3) / prior.gyro_sigma**2
    pull = weight * np.einsum("nji,nj->i", J, turn) + prior.gyro / prior.gyro_sigma**2
    # The errors of neighbouring intervals cancel: the whole time counts, not each interval.
    total = float(np.sqrt(2) * START_TURN / sum(m.duration for m in motions))
    return np.linalg.solve(H, pull), float(min(total, prior.gyro_sigma))


def _gather(
    T: np.ndarray,
    motions: list[Preintegrated],
    T_cam_imu: np.ndarray,
    noise: ImuNoise,
    prior: BiasPrior,
) -> Window:
    covariance = np.stack([m.covariance for m in motions])
    return Window(
        R_visual=T[:, :3, :3] @ T_cam_imu[:3, :3],
        places=T[:, :3, 3] - T[0, :3, 3],
        lever=inverse(T_cam_imu)[:3, 3],
        dt=np.array([m.duration for m in motions]),
        rotation=np.stack([m.rotation for m in motions]),
        velocity=np.stack([m.velocity for m in motions]),
        place=np.stack([m.place for m in motions]),
        J=np.stack([m.bias_jacobian for m in motions]),
        whiten=np.linalg.inv(np.linalg.cholesky(covariance)),
        at=np.stack([m.bias for m in motions]),
        noise=noise,
        prior=prior,
    )


def _world_force(window: Window, bg: np.ndarray) -> np.ndarray:
    """Mean specific force of each interval in the world, m/s2. (K - 1, 3)"""
    change = np.zeros_like(window.at)
    change[:, :3] = bg - window.at[:, :3]
    change[:, 3:] = window.prior.accel - window.at[:, 3:]
    dv = window.velocity + np.einsum("nij,nj->ni", window.J[:, 3:6], change)
    return np.einsum("nij,nj->ni", window.R_visual[:-1], dv) / window.dt[:, None]


def _variance(force: np.ndarray, dt: np.ndarray) -> float:
    """Variance of vectors about their mean, weighted by time, summed over the axes."""
    weight = dt[:, None] / dt.sum()
    return float((weight * (force - (weight * force).sum(axis=0)) ** 2).sum())


def _rough(window: Window, bias: BiasPrior, force: np.ndarray, excitation: float) -> Alignment:
    """Gravity as the mean specific force: right up to the mean acceleration of the window."""
    mean = (window.dt[:, None] * force).sum(axis=0) / window.dt.sum()
    sigma = float(np.hypot(excitation, bias.accel_sigma) / GRAVITY)
    gravity = -mean / max(float(np.linalg.norm(mean)), 1e-9)
    return Alignment(None, None, gravity, sigma, bias, excitation)


def _linear_start(window: Window, bg: np.ndarray) -> Guess:
    """Places, velocities, gravity and scale at once, rotations held at the visual ones."""
    zero = np.zeros_like(window.places)
    accel = zero + window.prior.accel
    state = Guess(
        window.R_visual, zero, zero, zero, accel, 0.0, np.zeros(3), bg, START_NOISE, START_TURN,
        linear=True,
    )  # fmt: skip
    step = solve_step(window, state).step
    scale, gravity = float(step.border[0]), step.border[1:4]
    length = max(float(np.linalg.norm(gravity)), 1e-9)
    return replace(
        state,
        p=step.states[:, PLACE],
        v=step.states[:, VELOCITY],
        accel=accel + step.states[:, ACCEL],
        scale=scale,
        g=GRAVITY * gravity / length,
        noise=START_NOISE / max(scale, 1e-9),
        accel_factor=START_FACTOR,
        linear=False,
    )


def _warm_start(window: Window, start: Alignment) -> Guess:
    """Places and velocities by the scale of the window before."""
    if start.scale is None:
        return _linear_start(window, start.bias.gyro)
    p = start.scale * window.places - window.R_visual @ window.lever
    times = np.concatenate([[0.0], np.cumsum(window.dt)])
    return Guess(
        R=window.R_visual,
        p=p,
        v=np.gradient(p, times, axis=0),
        drift=np.zeros_like(p),
        accel=np.zeros_like(p) + start.bias.accel,
        scale=start.scale,
        g=GRAVITY * start.gravity,
        gyro=start.bias.gyro,
        noise=start.levels[0],
        turn=start.levels[1],
        accel_factor=start.levels[2],
    )


def _refine(window: Window, state: Guess, rough: Alignment) -> Alignment:
    """Iterate to the maximum of the likelihood, with noise levels from the residuals."""
    extent = float(np.ptp(window.places, axis=0).max())
    for i in range(ROUNDS):
        solved = solve_step(window, state)
        ratios = np.array([solved.place_ratio, solved.turn_ratio, solved.accel_ratio])
        state = replace(
            apply_step(state, solved.step),
            noise=max(state.noise * np.sqrt(ratios[0]), LEAST_NOISE * extent),
            turn=max(state.turn * np.sqrt(ratios[1]), LEAST_TURN),
            accel_factor=max(state.accel_factor * np.sqrt(ratios[2]), 1.0),
        )
        moved = abs(solved.step.border[0]) / np.sqrt(solved.step.covariance[0, 0])
        if i > 0 and moved < SETTLED and np.abs(ratios - 1).max() < SETTLED:
            break
    return _judged(state, solved.step, window, rough)


def _judged(state: Guess, last: ArrowStep, window: Window, rough: Alignment) -> Alignment:
    """Give the scale out, or say why not."""
    growth = np.sqrt(1 + FEW_POSES / len(window.places))
    sigma = growth * np.sqrt(np.diag(last.covariance))
    accel_sigma = float(np.sqrt(np.diag(last.last_covariance)[ACCEL].max()))
    walked = window.noise.gyro_walk * float(np.sqrt(window.dt.sum()))  # one bias for the window
    gyro_sigma = float(np.hypot(sigma[3:].max(), walked))
    bias = BiasPrior(state.gyro, state.accel[-1], gyro_sigma, accel_sigma)
    found = Alignment(
        scale=state.scale,
        sigma=float(np.hypot(sigma[0], MIN_SIGMA)),
        gravity=state.g / GRAVITY,
        gravity_sigma=float(sigma[1:3].max()),
        bias=bias,
        excitation=rough.excitation,
        levels=(state.noise, state.turn, state.accel_factor),
    )
    if np.abs(bias.gyro).max() > MAX_GYRO_BIAS or np.abs(bias.accel).max() > MAX_ACCEL_BIAS:
        text = "biases beyond what sensors have; the inertial and the visual path do not agree"
        return replace(rough, reason=text)
    if sigma[0] > MAX_SIGMA:
        text = f"sigma of the scale is {100 * sigma[0]:.0f} %, needs {100 * MAX_SIGMA:.0f} %"
        return replace(found, scale=None, sigma=None, reason=text)
    return found
