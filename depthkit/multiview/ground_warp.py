# SPDX-License-Identifier: Apache-2.0
"""Alignment of two frames over the ground: step, slope and errors of the motion, jointly.

A plane n^T X = h in frame b puts the pixel of b with ray x at R^T (x - t p^T x) in frame a, where
p = (s / h) n and s is the length of the step [plane-induced homography, Hartley and Zisserman,
13.1]. One number, q = p^T x, moves a pixel along its epipolar line, so a cell of 8 x 8 pixels
measures one number: by how much its q is off [Lucas and Kanade, IJCAI 1981]. All cells together
give the step, the slope of the ground, and what is left of the errors of rotation and direction,
each held by its prior. Cells that lie on no common plane are outliers.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from depthkit.multiview.ground_corridor import CELL, Corridor, Prior, Structure, scan_steps, tangent
from depthkit.rigid import skew

TUKEY = 4.685  # standard deviations of an outlier
ROUNDS = 5  # most alignments
REWEIGHTED = 2  # weightings of the cells in each
SHARED = 2.0  # factor on the cells' scatter: neighbours share what is not flat; from KITTI 02
LEAST_CELLS = 24  # fewer give no plane
LEAST_GRADIENT = 1.0  # sum of squared changes with q over a cell, grey levels squared
NOISE_FLOOR = 0.1  # variance of a pixel that no cell falls below, grey levels squared
CONVERGED = 2e-3  # change of the log step and of the angles, rad


@dataclass(frozen=True, eq=False)
class Alignment:
    """Step and ground that align two frames best."""

    log_step: float
    """Logarithm of the step's length in camera heights."""
    normal: np.ndarray
    """Unit normal of the ground in frame b, away from the camera. (3,)"""
    covariance: np.ndarray
    """Covariance of the log step and of the two angles of the normal along `tangent`. (3, 3)"""
    similarity: float
    """Share of the texture of frame b that frame a explains, at most 1."""
    contrast: float
    """Difference of the frames at the best scanned step over the median of all steps."""
    cells: int
    """Number of cells with texture that are seen in both frames."""
    agreeing: float
    """Share of them on the common plane."""
    scatter: float
    """Standard deviation of the cells about it over that of their own noise."""
    flow: float
    """Median length of the flow that the step itself causes, pixels of the frame."""


def align(a: Structure, b: Structure, *, corridor: Corridor, prior: Prior) -> Alignment | None:
    """Find step, ground and remaining errors of the motion that align two frames best.

    Args:
        a, b: structure of both frames in the corridor's crop.
        corridor: pixels of frame b.
        prior: ground and motion as known so far.

    Returns:
        The alignment; None if there is none.
    """
    # 1. A start from the scan.
    step, contrast = scan_steps(a.coarse, b.coarse, corridor=corridor, prior=prior)
    gradients = (cv2.Sobel(a.fine, -1, *axis, scale=1 / 8) for axis in ((1, 0), (0, 1)))
    layers = np.stack([a.fine, *gradients], axis=2)
    values = b.fine[corridor.pixels[:, 1], corridor.pixels[:, 0]]
    x = np.zeros(8)
    x[0] = np.log(step)
    # 2. Gauss-Newton: compare, and move to the parameters that most cells share.
    for _ in range(ROUNDS):
        view = _View.at(x, corridor, prior)
        cells = _cells(view, layers, values, corridor)
        if cells is None:
            return None
        change, information, agreeing, scatter = _most_shared(cells, x, prior)
        x = x + change
        if not (np.isfinite(x).all() and np.abs(x[1:]).max() < 0.5 and abs(x[0]) < 5):
            return None
        if np.abs(change[:3]).max() < CONVERGED:
            break
    # 3. The step and the ground; rotation and direction are only helpers.
    normal = prior.normal + tangent(prior.normal) @ x[1:3]
    return Alignment(
        log_step=float(x[0]),
        normal=normal / np.linalg.norm(normal),
        covariance=np.linalg.inv(information)[:3, :3],
        similarity=cells.similarity,
        contrast=contrast,
        cells=len(cells.shift),
        agreeing=agreeing,
        scatter=scatter,
        flow=view.flow * corridor.factor,
    )


@dataclass(frozen=True, eq=False)
class _View:
    """Where the pixels of the corridor lie in frame a, for one set of parameters."""

    place: np.ndarray
    """Column and row in the crop. (2, N) float32"""
    by_q: np.ndarray
    """Change of the place with q. (2, N) float32"""
    by_errors: np.ndarray
    """Change of the place with the rotation vector and the two angles of the direction. (5, 2, N)
    float32"""
    by_plane: np.ndarray
    """Change of q with the log step and the two angles of the normal, for rays. (3, 3)"""
    flow: float
    """Median length of the flow that the step causes, pixels of the crop."""

    @classmethod
    def at(cls, x: np.ndarray, corridor: Corridor, prior: Prior) -> "_View":
        """Map the corridor with parameters: log step, normal (2), rotation (3), direction (2)."""
        # 1. Points in frame a, R^T (ray - t q), turned by what the rotation is off.
        tilt, turn = tangent(prior.normal), tangent(prior.t)
        p = np.exp(x[0]) * (prior.normal + tilt @ x[1:3])
        back = ((np.eye(3) + skew(x[3:6])) @ prior.R.T).astype(np.float32)
        q = corridor.rays @ p.astype(np.float32)
        c = back @ (prior.t + turn @ x[6:8]).astype(np.float32)
        X, Y, Z = back @ corridor.rays.T - c[:, None] * q
        inverse = 1 / np.maximum(Z, np.float32(1e-3))
        u, v = X * inverse, Y * inverse
        # 2. Derivatives of (u, v) = (X, Y) / Z: with q, a rotation vector, the direction.
        one, side = np.ones_like(u), -(back @ turn).astype(np.float32)
        turned = [np.stack([(d[0] - u * d[2]), (d[1] - v * d[2])]) * (q * inverse) for d in side.T]
        spun = [
            np.stack([-u * v, -one - v * v]),
            np.stack([one + u * u, u * v]),
            np.stack([-v, u]),
        ]
        by_q = np.stack([u * c[2] - c[0], v * c[2] - c[1]]) * inverse
        # 3. In pixels of the crop.
        K = corridor.K.astype(np.float32)
        focal = np.array([K[0, 0], K[1, 1]])[:, None]
        place = np.stack([u, v]) * focal + K[:2, 2:]
        plane = np.stack([p, *(np.exp(x[0]) * tilt).T])
        flow = float(np.median(np.abs(q) * np.hypot(*(by_q * focal))))
        return cls(place, by_q * focal, np.stack(spun + turned) * focal[None], plane, flow)


@dataclass(frozen=True, eq=False)
class _Cells:
    """Cells with texture that are seen in both frames."""

    shift: np.ndarray
    """By how much q is off. (M,)"""
    weight: np.ndarray
    """Its information, from the cell's own noise. (M,)"""
    slopes: np.ndarray
    """Change of q with each parameter. (M, 8)"""
    similarity: float
    """Share of the texture that the alignment explains."""


def _cells(
    view: _View, layers: np.ndarray, values: np.ndarray, corridor: Corridor
) -> _Cells | None:
    """Compare the frames and sum over each cell; None if hardly any is left.

    Args:
        view: where the pixels lie in frame a.
        layers: structure of frame a and its gradient. (h, w, 3) float32
        values: structure of the pixels in frame b. (N,) float32
        corridor: the pixels.
    """
    # 1. Both frames without the mean of each cell, and with the same contrast.
    sampled, inside = _sample(layers, *view.place)
    count = corridor.total(inside)
    seen, texture = (_without_mean(one, inside, corridor) for one in (sampled[:, 0], values))
    power = corridor.total(texture * texture)
    gain = _gain(power, corridor.total(seen * seen))
    # 2. Residual of each pixel, and its change with q: the gradient along the epipolar line.
    residual = texture - gain * seen
    gradient = gain * (sampled[:, 1:] * inside[:, None]).T
    along = gradient[0] * view.by_q[0] + gradient[1] * view.by_q[1]
    g = _without_mean(along, inside, corridor)
    # 3. Sums over the cells; one with texture, seen in both frames, measures its q.
    gg, gr, rr = (corridor.total(pair) for pair in (g * g, g * residual, residual * residual))
    kept = (count > CELL * CELL / 4) & (gg > LEAST_GRADIENT)
    if kept.sum() < LEAST_CELLS:
        return None
    shift = gr[kept] / gg[kept]
    noise = np.maximum(rr[kept] - gr[kept] * shift, 0) / count[kept]
    # 4. Its change with the plane, by its mean ray, and with the errors of the motion.
    rays = np.stack([corridor.total(g * along * one) for one in corridor.rays.T], axis=1)
    errors = [
        corridor.total(g * (gradient[0] * by[0] + gradient[1] * by[1])) for by in view.by_errors
    ]
    slopes = np.concatenate([rays @ view.by_plane.T, np.stack(errors, axis=1)], axis=1)
    return _Cells(
        shift=shift,
        weight=gg[kept] / (noise + NOISE_FLOOR),
        slopes=slopes[kept] / gg[kept, None],
        similarity=float(1 - rr[kept].sum() / max(power[kept].sum(), 1e-9)),
    )


def _most_shared(
    cells: _Cells, x: np.ndarray, prior: Prior
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Solve for the change of the parameters that most cells share [Tukey's weights].

    Returns:
        change: of the parameters. (8,)
        information: of the parameters, with the prior. (8, 8)
        agreeing: share of the cells that are no outliers.
    """
    J, d, root = cells.slopes, cells.shift, np.sqrt(cells.weight)
    held = np.zeros((8, 8))
    held[1:, 1:] = prior.information
    pull = np.concatenate([[0.0], prior.pull - prior.information @ x[1:]])
    change = np.zeros(8)
    for _ in range(REWEIGHTED):
        away = np.abs(d - J @ change) * root
        scatter = max(1.4826 * float(np.median(away)), 1.0)
        trust = np.maximum(1 - (away / (TUKEY * scatter)) ** 2, 0) ** 2
        weight = trust * cells.weight / (SHARED * scatter) ** 2
        information = J.T @ (weight[:, None] * J) + held
        information[0, 0] += 1e-9
        change = np.linalg.solve(information, J.T @ (weight * d) + pull)
    return change, information, float((trust > 0.25).mean()), scatter


def _without_mean(one: np.ndarray, inside: np.ndarray, corridor: Corridor) -> np.ndarray:
    """Return pixels less the mean of their cell; 0 outside. (N,) float32"""
    count = np.maximum(corridor.total(inside), 1)
    mean = (corridor.total(one * inside) / count).astype(np.float32)
    return (one - mean[corridor.cells]) * inside


def _gain(power: np.ndarray, seen: np.ndarray) -> np.float32:
    """Return the contrast of one frame over that of the other: the median over the cells."""
    both = (power > LEAST_GRADIENT) & (seen > LEAST_GRADIENT)
    ratio = float(np.median(power[both] / seen[both])) if both.any() else 1.0
    return np.float32(np.sqrt(ratio))


def _sample(layers: np.ndarray, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sample layers (h, w, C) bilinearly at (N,); also return which places lie inside."""
    height, width = layers.shape[:2]
    inside = (u >= 0) & (u < width - 1) & (v >= 0) & (v < height - 1)
    u, v = np.where(inside, u, 0), np.where(inside, v, 0)
    left, top = u.astype(np.intp), v.astype(np.intp)
    across, down = (u - left).astype(np.float32)[:, None], (v - top).astype(np.float32)[:, None]
    flat, first = layers.reshape(height * width, -1), top * width + left
    above = flat[first] * (1 - across) + flat[first + 1] * across
    under = flat[first + width] * (1 - across) + flat[first + width + 1] * across
    return above * (1 - down) + under * down, inside
