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
MAX_SIGMA = 0.1
"""Largest relative standard deviation of a scale that is given out."""
MIN_SIGMA = 0.005
"""Smallest one: scale factors and axes of accelerometers are not better than half a per cent."""
START_NOISE, START_TURN = 0.005, 1e-3
"""Noise of visual places and rotations before it is estimated, metres and rad."""
START_FACTOR = 3.0
"""Noise of an accelerometer in motion over its density at rest, before it is estimated."""
LEAST_NOISE, LEAST_TURN = 1e-6, 1e-5
"""Smallest estimates of the same, parts of the path's extent and rad."""
ROUNDS = 6
"""Gauss-Newton steps at most; the noise is estimated anew after each."""


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
    """Noise found: visual places (unit of the path), visual rotations (rad), accelerometer (multiple
    of the stated density)."""
    reason: str = ""
    """Why no scale is given; empty if one is."""


def align(
    T_world_cam: np.ndarray,
    motions: list[Preintegrated],
    *,
    T_cam_imu: np.ndarray,
    noise: ImuNoise,
    prior: BiasPrior,
) -> Alignment:
    """Find scale, gravity and biases of one window.

    Args:
        T_world_cam: poses of the camera by vision, translations in any one unit. (K, 4, 4)
        motions: inertial motion from each pose to the next. K - 1 of them
        T_cam_imu: points of the IMU to the camera, metres. (4, 4)
        noise: densities of the IMU's noise.
        prior: biases before the window.

    Returns:
        The alignment; without a scale, and with the reason, where the window does not show it.
    """
    problem = _gather(T_world_cam, motions, T_cam_imu, noise, prior)
    bg = rotation_bias(problem.R_visual, motions, prior)
    # 1. Gravity and excitation from the specific force alone.
    problem = replace(problem, prior=prior)
    force = _world_force(problem, bg)
    excitation = float(np.sqrt(_variance(force, problem.dt)))
    rough = _rough(problem, bg, force, excitation)
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
        state = _linear_start(problem, bg)
        if not state.scale > 0:
            return replace(rough, reason="the inertial and the visual path do not agree in shape")
        return _refine(problem, state, rough)
    except np.linalg.LinAlgError:
        return replace(rough, reason="scale, velocity and gravity cannot be told apart here")


def rotation_bias(R: np.ndarray, motions: list[Preintegrated], prior: BiasPrior) -> np.ndarray:
    """Find the gyro bias that turns inertial rotations into the visual ones [Qin & Shen 2017].

    Args:
        R: T_world_imu's rotations by vision. (K, 3, 3)
        motions: inertial motion from each to the next.
        prior: biases before.

    Returns:
        Gyro bias, rad/s. (3,)
    """
    dR = np.stack([m.delta_R for m in motions])
    J = np.stack([m.bias_jacobian[:3, :3] for m in motions])
    at = np.stack([m.bias[:3] for m in motions])
    turn = log_so3(dR.swapaxes(1, 2) @ R[:-1].swapaxes(1, 2) @ R[1:]) + np.einsum(
        "nij,nj->ni", J, at
    )
    weight = START_TURN**-2
    H = weight * np.einsum("nji,njk->ik", J, J) + np.eye(3) / prior.gyro_sigma**2
    return np.linalg.solve(
        H, weight * np.einsum("nji,nj->i", J, turn) + prior.gyro / prior.gyro_sigma**2
    )


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
        dR=np.stack([m.delta_R for m in motions]),
        dv=np.stack([m.delta_v for m in motions]),
        dp=np.stack([m.delta_p for m in motions]),
        J=np.stack([m.bias_jacobian for m in motions]),
        whiten=np.linalg.inv(np.linalg.cholesky(covariance)),
        at=np.stack([m.bias for m in motions]),
        noise=noise,
        prior=prior,
    )


def _world_force(problem: Window, bg: np.ndarray) -> np.ndarray:
    """Mean specific force of each interval in the world, m/s2. (K - 1, 3)"""
    change = np.zeros_like(problem.at)
    change[:, :3] = bg - problem.at[:, :3]
    change[:, 3:] = problem.prior.accel - problem.at[:, 3:]
    dv = problem.dv + np.einsum("nij,nj->ni", problem.J[:, 3:6], change)
    return np.einsum("nij,nj->ni", problem.R_visual[:-1], dv) / problem.dt[:, None]


def _variance(force: np.ndarray, dt: np.ndarray) -> float:
    """Variance of vectors about their mean, weighted by time, summed over the axes."""
    weight = dt[:, None] / dt.sum()
    return float((weight * (force - (weight * force).sum(axis=0)) ** 2).sum())


def _rough(problem: Window, bg: np.ndarray, force: np.ndarray, excitation: float) -> Alignment:
    """Gravity as the mean specific force: right up to the mean acceleration of the window."""
    mean = (problem.dt[:, None] * force).sum(axis=0) / problem.dt.sum()
    length = float(np.linalg.norm(mean))
    sigma = np.hypot(excitation, problem.prior.accel_sigma) / GRAVITY
    gyro_sigma = START_TURN / float(problem.dt.sum()) + problem.noise.gyro
    known = replace(problem.prior, gyro=bg, gyro_sigma=min(gyro_sigma, problem.prior.gyro_sigma))
    return Alignment(None, None, -mean / max(length, 1e-9), float(sigma), known, excitation)


def _linear_start(problem: Window, bg: np.ndarray) -> Guess:
    """Places, velocities, gravity and scale at once, rotations held at the visual ones."""
    zero = np.zeros_like(problem.places)
    accel = zero + problem.prior.accel
    state = Guess(
        problem.R_visual, zero, zero, zero, accel, 0.0, np.zeros(3), bg, START_NOISE, START_TURN,
        linear=True,
    )  # fmt: skip
    step = solve_step(problem, state).step
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


def _refine(problem: Window, state: Guess, rough: Alignment) -> Alignment:
    """Iterate to the maximum of the likelihood, with noise levels from the residuals."""
    for _ in range(ROUNDS):
        solved = solve_step(problem, state)
        moved = apply_step(state, solved.step)
        extent = float(np.ptp(problem.places, axis=0).max())
        state = replace(
            moved,
            noise=max(state.noise * np.sqrt(solved.place_ratio), LEAST_NOISE * extent),
            turn=max(state.turn * np.sqrt(solved.turn_ratio), LEAST_TURN),
            accel_factor=max(state.accel_factor * np.sqrt(solved.accel_ratio), 1.0),
        )
    last = solve_step(problem, state).step
    sigma = np.sqrt(np.diag(last.covariance))
    accel_sigma = float(np.sqrt(np.diag(last.last_covariance)[ACCEL].max()))
    walked = problem.noise.gyro_walk * float(np.sqrt(problem.dt.sum()))  # one bias for the window
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
    if sigma[0] > MAX_SIGMA:
        text = f"sigma of the scale is {100 * sigma[0]:.0f} %, needs {100 * MAX_SIGMA:.0f} %"
        return replace(found, scale=None, sigma=None, reason=text)
    return found
