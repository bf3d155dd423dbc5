# SPDX-License-Identifier: Apache-2.0
"""Residuals of one window of visual poses and inertial motions, with their derivatives.

Every pose has fifteen unknowns: turn, place and velocity of the IMU, drift of the visual path, bias
of the accelerometer. Shared are the scale, gravity and the bias of the gyro. The inertial residuals
are those of [Forster et al. 2017, eq. (45)].
"""

from dataclasses import dataclass, replace

import numpy as np

from depthkit.rigid import exp_se3, log_so3, skew
from depthkit.runtime.odometry.imu_arrow import ArrowStep, Factors, solve_arrow
from depthkit.trajectory.imu import ImuNoise

GRAVITY = 9.81  # m/s2
DRIFT = 0.5
"""Drift of the visual path in one second, as a multiple of its white noise: 0.3 to 3 give the same
scales on MH_01; on paths without drift sigma is then up to twice too large."""
PROBES = 4
"""Draws of noise from which redundancies are counted."""
FAITH = 2.0
"""Weight of the assumed noise levels, as a number of residuals."""
PINNED = 1e-3
"""How firmly the drift is 0 at the first pose, as a multiple of the white noise."""

THETA, PLACE, VELOCITY, DRIFTED, ACCEL = (slice(i, i + 3) for i in range(0, 15, 3))
STATE = 15


@dataclass(frozen=True, eq=False)
class BiasPrior:
    """What is known of the biases at one time."""

    gyro: np.ndarray
    """rad/s. (3,)"""
    accel: np.ndarray
    """m/s2. (3,)"""
    gyro_sigma: float = 0.3
    """Standard deviation of each axis, rad/s."""
    accel_sigma: float = 0.2
    """Standard deviation of each axis, m/s2."""


@dataclass(frozen=True, eq=False)
class Window:
    """Measurements of one window: K visual poses and the K - 1 inertial motions between them."""

    R_visual: np.ndarray
    """T_world_imu's rotation by the camera. (K, 3, 3)"""
    places: np.ndarray
    """Places of the camera from the first one, unit of the visual path. (K, 3)"""
    lever: np.ndarray
    """The camera in the IMU frame, metres. (3,)"""
    dt: np.ndarray
    """Duration of the motions, seconds. (K - 1,)"""
    rotation: np.ndarray
    velocity: np.ndarray
    place: np.ndarray
    """Relative motions as in `Preintegrated`."""
    J: np.ndarray
    """Their derivatives to the biases. (K - 1, 9, 6)"""
    whiten: np.ndarray
    """Inverses of the Cholesky factors of their covariance, lower triangular. (K - 1, 9, 9)"""
    at: np.ndarray
    """Biases they were made with. (K - 1, 6)"""
    noise: ImuNoise
    prior: BiasPrior


@dataclass(frozen=True, eq=False)
class Guess:
    """Values of the unknowns, and the noise levels that go with them."""

    R: np.ndarray
    p: np.ndarray
    v: np.ndarray
    drift: np.ndarray
    accel: np.ndarray
    """Bias of the accelerometer at each pose, m/s2. (K, 3)"""
    scale: float
    """Metres per unit of the visual path."""
    g: np.ndarray
    """Gravity in the world, m/s2. (3,)"""
    gyro: np.ndarray
    """Bias of the gyro, rad/s. (3,)"""
    noise: float
    """Standard deviation of visual places, unit of the visual path; metres while `linear`."""
    turn: float
    """Standard deviation of visual rotations, rad."""
    accel_factor: float = 1.0
    """Noise of the accelerometer as a multiple of its stated density, 1 or more."""
    linear: bool = False
    """Start: gravity is any vector and the scale a factor, in which all but rotation is linear."""


@dataclass(frozen=True, eq=False)
class Solved:
    """One Gauss-Newton step, and how the residuals compare with the noise they were divided by."""

    step: ArrowStep
    turn_ratio: float
    """Variance of visual rotations over the assumed one."""
    place_ratio: float
    """The same of visual places and their drift."""
    accel_ratio: float
    """The same of inertial velocities and places."""


def solve_step(window: Window, guess: Guess) -> Solved:
    """Linearise all residuals at a guess and solve for the step.

    The variance ratios divide each group's squared residuals by its redundancy (Helmert's variance
    components). Redundancies are the squares that white noise of variance 1 leaves behind in the
    same solution; PROBES draws of it are solved along.

    Raises:
        numpy.linalg.LinAlgError: an unknown is left free.
    """
    links, nodes = _with_probes(_links(window, guess), 1), _with_probes(_nodes(window, guess), 2)
    information, pull = _shared_prior(window, guess)
    step = solve_arrow(links, nodes, information, pull)
    between, single = links.after(step), nodes.after(step)
    turn = _squares(single[:, 0:3])
    place = _squares(single[:, 3:6]) + _squares(between[:, 9:12])
    accel = _squares(between[:, 3:9])
    first = ArrowStep(step.states[..., 0], step.border[:, 0], step.covariance, step.last_covariance)
    return Solved(first, *(float(_ratio(group)) for group in (turn, place, accel)))


def _with_probes(factors: Factors, seed: int) -> Factors:
    """Add columns of white noise to the residuals; the same ones each time."""
    noise = np.random.default_rng(seed).standard_normal((*factors.residual.shape[:2], PROBES))
    # A row without derivatives is no measurement: it takes no noise.
    used = np.abs(factors.first).max(axis=2, keepdims=True) > 0
    return replace(factors, residual=np.concatenate([factors.residual, noise * used], axis=2))


def _squares(residual: np.ndarray) -> np.ndarray:
    """Sum of squares of each column. (N, R, Q) -> (Q,)"""
    return (residual**2).sum(axis=(0, 1))


def _ratio(squares: np.ndarray) -> float:
    """Variance ratio of a group, drawn to 1 where there is little redundancy."""
    return (squares[0] + FAITH) / (squares[1:].mean() + FAITH)


def apply_step(guess: Guess, step: ArrowStep) -> Guess:
    """Move a guess that is past its linear start."""
    turns = np.concatenate([np.zeros_like(guess.p), step.states[:, THETA]], axis=1)
    g = guess.g + GRAVITY * tangent(guess.g) @ step.border[1:3]
    return replace(
        guess,
        R=guess.R @ exp_se3(turns)[:, :3, :3],
        p=guess.p + step.states[:, PLACE],
        v=guess.v + step.states[:, VELOCITY],
        drift=guess.drift + step.states[:, DRIFTED],
        accel=guess.accel + step.states[:, ACCEL],
        scale=guess.scale * float(np.exp(np.clip(step.border[0], -1.0, 1.0))),
        g=GRAVITY * g / np.linalg.norm(g),
        gyro=guess.gyro + step.border[3:],
    )


def tangent(g: np.ndarray) -> np.ndarray:
    """Two unit vectors at right angles to a vector and each other. (3, 2)"""
    axis = np.zeros(3)
    axis[int(np.argmin(np.abs(g)))] = 1.0
    a = np.cross(g, axis)
    a /= np.linalg.norm(a)
    b = np.cross(g, a)
    return np.stack([a, b / np.linalg.norm(b)], axis=1)


def _gravity_columns(guess: Guess) -> np.ndarray:
    """Derivative of gravity to its unknowns. (3, 3) in the linear start, else (3, 2)"""
    return np.eye(3) if guess.linear else GRAVITY * tangent(guess.g)


def _links(w: Window, s: Guess) -> Factors:
    """Inertial residuals, growth of the drift and walk of the accelerometer's bias. 15 rows"""
    n, columns, dt = len(w.dt), _gravity_columns(s), w.dt[:, None]
    m = 1 + columns.shape[1] + 3
    Rt, R1 = s.R[:-1].swapaxes(1, 2), s.R[1:]
    change = np.concatenate([s.gyro - w.at[:, :3], s.accel[:-1] - w.at[:, 3:]], axis=1)
    corrected = np.einsum("nij,nj->ni", w.J, change)
    # 1. Rotation, velocity and place against the inertial motion freed of the guessed biases.
    gained_v = _turned(Rt, s.v[1:] - s.v[:-1] - dt * s.g)
    gained_p = _turned(Rt, s.p[1:] - s.p[:-1] - dt * s.v[:-1] - 0.5 * dt**2 * s.g)
    R = w.rotation @ _exp(corrected[:, :3])
    residual = np.concatenate(
        [
            log_so3(R.swapaxes(1, 2) @ Rt @ R1),
            gained_v - w.velocity - corrected[:, 3:6],
            gained_p - w.place - corrected[:, 6:9],
        ],
        axis=1,
    )
    # 2. Derivatives.
    A, B, C = np.zeros((n, 15, STATE)), np.zeros((n, 15, STATE)), np.zeros((n, 15, m))
    eye, h = np.eye(3), w.dt[:, None, None]
    A[:, 0:3, THETA], B[:, 0:3, THETA] = -(R1.swapaxes(1, 2) @ s.R[:-1]), eye
    A[:, 3:6, THETA], A[:, 6:9, THETA] = skew(gained_v), skew(gained_p)
    A[:, 3:6, VELOCITY], B[:, 3:6, VELOCITY] = -Rt, Rt
    A[:, 6:9, PLACE], B[:, 6:9, PLACE] = -Rt, Rt
    A[:, 6:9, VELOCITY] = -Rt * h
    A[:, 0:9, ACCEL] = -w.J[:, :, 3:]
    C[:, 0:9, -3:] = -w.J[:, :, :3]
    C[:, 3:6, 1:-3] = -h * Rt @ columns
    C[:, 6:9, 1:-3] = -0.5 * h**2 * Rt @ columns
    # 3. Whiten by the noise of the samples; then drift and walk, which grow with time.
    whiten = w.whiten / np.repeat([1.0, s.accel_factor], [3, 6])[:, None]
    for block in (A, B, C):
        block[:, 0:9] = whiten @ block[:, 0:9]
    residual = _turned(whiten, residual)
    drift, walk = DRIFT * s.noise * np.sqrt(dt), max(w.noise.accel_walk, 1e-6) * np.sqrt(dt)
    A[:, 9:12, DRIFTED], B[:, 9:12, DRIFTED] = -eye / drift[..., None], eye / drift[..., None]
    A[:, 12:15, ACCEL], B[:, 12:15, ACCEL] = -eye / walk[..., None], eye / walk[..., None]
    grown, walked = np.diff(s.drift, axis=0) / drift, np.diff(s.accel, axis=0) / walk
    return Factors(np.concatenate([residual, grown, walked], axis=1)[..., None], A, B, C)


def _nodes(w: Window, s: Guess) -> Factors:
    """Visual rotation and place of each pose; at the first one the pinned drift and the prior."""
    K, m = len(s.R), 1 + _gravity_columns(s).shape[1] + 3
    residual, V, W = np.zeros((K, 12)), np.zeros((K, 12, STATE)), np.zeros((K, 12, m))
    eye = np.eye(3)
    # 1. Rotation.
    residual[:, 0:3] = log_so3(w.R_visual.swapaxes(1, 2) @ s.R) / s.turn
    V[:, 0:3, THETA] = eye / s.turn
    # 2. Place of the camera. Divided by the scale, so that no noisy place multiplies an unknown.
    camera = s.p + _turned(s.R, np.broadcast_to(w.lever, s.p.shape))
    if s.linear:
        shrink, residual[:, 3:6] = 1.0, (camera - s.scale * w.places - s.drift) / s.noise
        W[:, 3:6, 0] = -w.places / s.noise
    else:
        shrink = 1.0 / s.scale
        residual[:, 3:6] = (camera * shrink - w.places - s.drift) / s.noise
        W[:, 3:6, 0] = -camera * shrink / s.noise
    V[:, 3:6, PLACE] = eye * shrink / s.noise
    V[:, 3:6, THETA] = -shrink * s.R @ skew(w.lever) / s.noise
    V[:, 3:6, DRIFTED] = -eye / s.noise
    # 3. The first pose.
    pin = PINNED * s.noise
    residual[0, 6:9], V[0, 6:9, DRIFTED] = s.drift[0] / pin, eye / pin
    residual[0, 9:12] = (s.accel[0] - w.prior.accel) / w.prior.accel_sigma
    V[0, 9:12, ACCEL] = eye / w.prior.accel_sigma
    return Factors(residual[..., None], V, np.zeros((K, 0, STATE)), W)


def _shared_prior(w: Window, s: Guess) -> tuple[np.ndarray, np.ndarray]:
    """Prior of the gyro's bias among the shared unknowns: information and right-hand side."""
    m = 1 + _gravity_columns(s).shape[1] + 3
    information = np.zeros((m, m))
    information[-3:, -3:] = np.eye(3) / w.prior.gyro_sigma**2
    pull = np.zeros((m, 1 + PROBES))
    pull[-3:, 0] = (w.prior.gyro - s.gyro) / w.prior.gyro_sigma**2
    return information, pull


def _turned(R: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Multiply matrices with vectors. (N, r, c), (N, c) -> (N, r)"""
    return (R @ x[..., None])[..., 0]


def _exp(turns: np.ndarray) -> np.ndarray:
    """Rotations of rotation vectors. (N, 3) -> (N, 3, 3)"""
    return exp_se3(np.concatenate([np.zeros_like(turns), turns], axis=1))[:, :3, :3]
