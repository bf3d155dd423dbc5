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
    """Residuals, one column for each problem that is solved with the same derivatives. (N, R, Q)"""
    first: np.ndarray
    """Derivative to state k. (N, R, S)"""
    second: np.ndarray
    """Derivative to state k + 1; empty for residuals of one state. (N, R, S)"""
    border: np.ndarray
    """Derivative to the shared unknowns. (N, R, M)"""

    def after(self, step: "ArrowStep") -> np.ndarray:
        """Residuals that a step leaves, by the linear model. (N, R, Q)"""
        left = self.residual + self.border @ step.border
        if self.second.shape[1]:
            return left + self.first @ step.states[:-1] + self.second @ step.states[1:]
        return left + self.first @ step.states


@dataclass(frozen=True, eq=False)
class ArrowStep:
    """Solution of the normal equations."""

    states: np.ndarray
    """Steps of the states. (N, S, Q)"""
    border: np.ndarray
    """Steps of the shared unknowns. (M, Q)"""
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
        pull: right-hand side of that prior. (M, Q)

    Raises:
        numpy.linalg.LinAlgError: the residuals leave an unknown free.
    """
    D, U, F, b, corner, c = _normal_blocks(links, nodes, prior, pull)
    size, m = D.shape[1], F.shape[2]
    packed = np.concatenate([F, b], axis=2)
    solved = np.zeros((len(D), size, size + packed.shape[2]))
    # 1. Eliminate the states from the first to the last.
    for k in range(len(U)):
        solved[k] = np.linalg.solve(D[k], np.concatenate([U[k], packed[k]], axis=1))
        D[k + 1] -= U[k].T @ solved[k, :, :size]
        packed[k + 1] -= U[k].T @ solved[k, :, size:]
    solved[-1, :, size:] = np.linalg.solve(D[-1], packed[-1])
    by_border, alone = solved[..., size : size + m], solved[..., size + m :]
    # 2. The shared unknowns are left.
    border = packed[..., :m].swapaxes(1, 2)
    covariance = np.linalg.inv(corner - (border @ by_border).sum(axis=0))
    shared = covariance @ (c - (border @ alone).sum(axis=0))
    # 3. Insert them, then the states from the last to the first.
    states = alone - by_border @ shared
    for k in range(len(U) - 1, -1, -1):
        states[k] -= solved[k, :, :size] @ states[k + 1]
    last = np.linalg.inv(D[-1]) + by_border[-1] @ covariance @ by_border[-1].T
    return ArrowStep(states, shared, covariance, last)


def _normal_blocks(
    links: Factors, nodes: Factors, prior: np.ndarray, pull: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Diagonal, upper and border blocks with their right-hand sides, J^T J and -J^T r."""
    A, B, C, V, W = links.first, links.second, links.border, nodes.first, nodes.border
    At, Bt, Vt = (m.swapaxes(1, 2) for m in (A, B, V))
    r, s = links.residual, nodes.residual
    D, F, b = Vt @ V, Vt @ W, -(Vt @ s)
    D[:-1] += At @ A
    D[1:] += Bt @ B
    F[:-1] += At @ C
    F[1:] += Bt @ C
    b[:-1] -= At @ r
    b[1:] -= Bt @ r
    Ct, Wt = C.swapaxes(1, 2), W.swapaxes(1, 2)
    corner = prior + (Ct @ C).sum(axis=0) + (Wt @ W).sum(axis=0)
    c = pull - (Ct @ r).sum(axis=0) - (Wt @ s).sum(axis=0)
    return D, At @ B, F, b, corner, c
