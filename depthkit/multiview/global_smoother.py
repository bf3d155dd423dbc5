# SPDX-License-Identifier: Apache-2.0
"""Edge-aware filling of sparse or uncertain maps: the fast global smoother [Min 2014].

The weighted least squares problem over the picture is split into lines: along rows, then columns,
a few rounds with falling strength. Two quantities are smoothed alike, weight times value and the
weight; their ratio is the filled map.
"""

import numpy as np

from depthkit.errors import check_shape

AMOUNT = 900.0
"""Strength: about the square of the reach in an even region, pixels."""
EDGE = 16.0
"""Grey difference that cuts the link of two pixels to 1 / e."""
ROUNDS = 3


def fill(
    values: np.ndarray,
    weight: np.ndarray,
    guide: np.ndarray,
    *,
    amount: float = AMOUNT,
    edge: float = EDGE,
) -> tuple[np.ndarray, np.ndarray]:
    """Smooth a map where its weight is high and fill it where the weight is low.

    Args:
        values: (H, W) float32
        weight: trust in each value, 0 for unknown. (H, W) float32
        guide: grey picture whose edges stop the smoothing. (H, W) uint8
        amount: strength.
        edge: grey difference that stops it.

    Returns:
        The filled map, and the weight that reached each pixel. (H, W) float32 each
    """
    from depthkit.multiview.smoother_kernels import solve_lines

    height, width = values.shape
    check_shape("fill: weight", weight, f"{height} {width}")
    check_shape("fill: guide", guide, f"{height} {width}")
    both = np.stack([weight * values, weight]).astype(np.float32)
    grey = guide.astype(np.float32)
    across = np.zeros((height, width), np.float32)
    down = np.zeros((width, height), np.float32)
    across[:, :-1] = np.exp(-np.abs(np.diff(grey, axis=1)) / edge)
    down[:, :-1] = np.exp(-np.abs(np.diff(grey, axis=0)) / edge).T
    # Strengths of the rounds, whose sum is the wanted one [Min 2014, eq. 13].
    rounds = np.arange(ROUNDS)
    strengths = 1.5 * amount * 4.0 ** (ROUNDS - 1 - rounds) / (4.0**ROUNDS - 1)
    for strength in strengths:
        solve_lines(both, across, np.float32(strength))
        columns = np.ascontiguousarray(both.transpose(0, 2, 1))
        solve_lines(columns, down, np.float32(strength))
        both = np.ascontiguousarray(columns.transpose(0, 2, 1))
    return both[0] / np.maximum(both[1], 1e-12), both[1]
