# SPDX-License-Identifier: Apache-2.0
"""Rigid motions as 4x4 matrices, differentiable everywhere, at zero rotation too.

Rotations are axis-angle vectors in radians (axis times angle). Closed forms after Rodrigues;
near zero the coefficients come from their Taylor series, so that no gradient is ever NaN.
"""

import torch
from torch import Tensor

from depthkit.errors import check_shape

_SMALL = (
    1e-2  # rad**2: below it the series is exact to the last bit of float32 and 1e-13 of float64
)


def hat(w: Tensor) -> Tensor:
    """Return the matrix of the cross product: hat(w) @ v = w x v. (..., 3) -> (..., 3, 3)"""
    x, y, z = w.unbind(-1)
    o = torch.zeros_like(x)
    return torch.stack([o, -z, y, z, o, -x, -y, x, o], dim=-1).unflatten(-1, (3, 3))


def _coefficients(w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return sin(a)/a, (1-cos(a))/a^2 and (a-sin(a))/a^3 of the angle a = |w|. Each (..., 1, 1)"""
    a2 = w.square().sum(-1)[..., None, None]
    small = a2 < _SMALL
    s = torch.where(small, torch.ones_like(a2), a2)
    a = s.sqrt()
    sine = torch.where(small, 1 - a2 / 6 * (1 - a2 / 20 * (1 - a2 / 42)), a.sin() / a)
    cosine = torch.where(small, 0.5 - a2 / 24 * (1 - a2 / 30 * (1 - a2 / 56)), (1 - a.cos()) / s)
    cubic = torch.where(
        small, 1 / 6 - a2 / 120 * (1 - a2 / 42 * (1 - a2 / 72)), (a - a.sin()) / (s * a)
    )
    return sine, cosine, cubic


def exp_so3(w: Tensor) -> Tensor:
    """Turn axis-angle vectors into rotation matrices (Rodrigues). (..., 3) rad -> (..., 3, 3)"""
    check_shape("exp_so3: w", w, "... 3")
    sine, cosine, _ = _coefficients(w)
    W = hat(w)
    return torch.eye(3, dtype=w.dtype, device=w.device) + sine * W + cosine * (W @ W)


def log_so3(R: Tensor) -> Tensor:
    """Turn rotation matrices into axis-angle vectors, below pi. (..., 3, 3) -> (..., 3) rad"""
    check_shape("log_so3: R", R, "... 3 3")
    axis_sine = (R - R.mT)[..., [2, 0, 1], [1, 2, 0]] / 2  # axis * sin(angle)
    sine2 = axis_sine.square().sum(-1, keepdim=True)
    cosine = ((R.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True)) - 1) / 2
    small = (sine2 < 1e-8) & (cosine > 0)
    sine = torch.where(small, torch.ones_like(sine2), sine2).sqrt()
    angle_over_sine = torch.where(small, 1 + sine2 / 6, torch.atan2(sine, cosine) / sine)
    return axis_sine * angle_over_sine


def rigid_motion(R: Tensor, t: Tensor) -> Tensor:
    """Stack a rotation and a translation into a 4x4 matrix. (..., 3, 3), (..., 3) -> (..., 4, 4)"""
    top = torch.cat([R, t[..., None]], dim=-1)
    bottom = torch.zeros_like(top[..., :1, :])
    bottom[..., 0, 3] = 1
    return torch.cat([top, bottom], dim=-2)


def motion_from_vector(vector: Tensor) -> Tensor:
    """Convert a pose network's six numbers to a motion: rotation vector, then translation.

    Args:
        vector: rotation in radians, translation in metres or in the network's unit. (..., 6)

    Returns:
        The motion. (..., 4, 4)
    """
    check_shape("motion_from_vector: vector", vector, "... 6")
    return rigid_motion(exp_so3(vector[..., :3]), vector[..., 3:])


def exp_se3(xi: Tensor) -> Tensor:
    """Turn twists (rotation, then velocity) into motions. (..., 6) -> (..., 4, 4)"""
    check_shape("exp_se3: xi", xi, "... 6")
    w, v = xi[..., :3], xi[..., 3:]
    _, cosine, cubic = _coefficients(w)
    W = hat(w)
    V = torch.eye(3, dtype=xi.dtype, device=xi.device) + cosine * W + cubic * (W @ W)
    return rigid_motion(exp_so3(w), (V @ v[..., None])[..., 0])


def log_se3(T: Tensor) -> Tensor:
    """Undo `exp_se3`: motions, rotation below pi, to twists. (..., 4, 4) -> (..., 6)"""
    check_shape("log_se3: T", T, "... 4 4")
    w = log_so3(T[..., :3, :3])
    _, cosine, cubic = _coefficients(w)
    W = hat(w)
    V = torch.eye(3, dtype=T.dtype, device=T.device) + cosine * W + cubic * (W @ W)
    return torch.cat([w, torch.linalg.solve(V, T[..., :3, 3])], dim=-1)


def inverse(T: Tensor) -> Tensor:
    """Invert motions: T_a_b -> T_b_a. (..., 4, 4)"""
    check_shape("inverse: T", T, "... 4 4")
    R_inverse = T[..., :3, :3].mT
    return rigid_motion(R_inverse, -(R_inverse @ T[..., :3, 3:])[..., 0])
