# SPDX-License-Identifier: Apache-2.0
"""Least squares over a chain of states that share a few unknowns.

The normal matrix is block tridiagonal with a border (an arrow): eliminating state after state costs
time in proportion to their number.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Factors:
    """Whitened residuals of one state each, or between neighbours."""

    residual: np.ndarray
    """(N, R)"""
    first: np.ndarray
    """Derivative to state k. (N, R, S)"""
    second: np.ndarray
    """Derivative to state k + 1; empty for residuals of one state. (N, R, S)"""
    border: np.ndarray
    """Derivative to the shared unknowns. (N, R, M)"""


@dataclass(frozen=True, eq=False)
class ArrowStep:
    """Solution of the normal equations."""

    states: np.ndarray
    """Steps of the states. (N, S)"""
    border: np.ndarray
    """Steps of the shared unknowns. (M,)"""
    covariance: np.ndarray
    """Covariance of the shared unknowns. (M, M)"""
    last_covariance: np.ndarray
    """Covariance of the last state. (S, S)"""


def solve_arrow(links: Factors, nodes: Factors, prior: np.ndarray, pull: np.ndarray) -> ArrowStep:
    """Solve one Gauss-Newton step of a chain.

    Args:
        links: residuals between neighbours. N - 1 of them
        nodes: residuals of each state. N of them
        prior: information on the shared unknowns. (M, M)
        pull: right-hand side of that prior. (M,)

    Raises:
        numpy.linalg.LinAlgError: the residuals leave an unknown free.
    """
    D, U, F, b, corner, c = _normal_blocks(links, nodes, prior, pull)
    size = D.shape[1]
    packed = np.concatenate([F, b[:, :, None]], axis=2)
    solved = np.empty((len(D), size, size + packed.shape[2]))
    # 1. Eliminate the states from the first to the last.
    for k in range(len(D)):
        right = np.concatenate([U[k], packed[k]], axis=1) if k < len(U) else packed[k]
        x = np.linalg.solve(D[k], right)
        if k < len(U):
            solved[k] = x
            D[k + 1] -= U[k].T @ x[:, :size]
            packed[k + 1] -= U[k].T @ x[:, size:]
        else:
            solved[k, :, size:] = x
    reduced = corner - np.einsum("nsm,nsq->mq", packed[..., :-1], solved[..., size:-1])
    right_side = c - np.einsum("nsm,ns->m", packed[..., :-1], solved[..., -1])
    covariance = np.linalg.inv(reduced)
    shared = covariance @ right_side
    # 2. Insert the shared unknowns, then the states from the last to the first.
    states = solved[..., -1] - solved[..., size:-1] @ shared
    for k in range(len(D) - 2, -1, -1):
        states[k] -= solved[k, :, :size] @ states[k + 1]
    by_border = solved[-1, :, size:-1]
    last = np.linalg.inv(D[-1]) + by_border @ covariance @ by_border.T
    return ArrowStep(states, shared, covariance, last)


def _normal_blocks(
    links: Factors, nodes: Factors, prior: np.ndarray, pull: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Diagonal, upper and border blocks with their right-hand sides, J^T J and -J^T r."""
    A, B, C, V, W = links.first, links.second, links.border, nodes.first, nodes.border
    At, Bt, Vt = (m.swapaxes(1, 2) for m in (A, B, V))
    r, s = links.residual[..., None], nodes.residual[..., None]
    D, F, b = Vt @ V, Vt @ W, -(Vt @ s)[..., 0]
    D[:-1] += At @ A
    D[1:] += Bt @ B
    F[:-1] += At @ C
    F[1:] += Bt @ C
    b[:-1] -= (At @ r)[..., 0]
    b[1:] -= (Bt @ r)[..., 0]
    corner = prior + np.tensordot(C, C, ((0, 1), (0, 1))) + np.tensordot(W, W, ((0, 1), (0, 1)))
    c = pull - np.einsum("nrm,nr->m", C, links.residual) - np.einsum("nrm,nr->m", W, nodes.residual)
    return D, At @ B, F, b, corner, c
