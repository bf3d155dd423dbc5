# SPDX-License-Identifier: Apache-2.0
"""Classical baseline for pair networks: DIS flow, triangulated with the known motion."""

import numpy as np

from depthkit.multiview.dense_flow import dense_flow, fill_from_neighbours
from depthkit.multiview.triangulation import triangulate


def classical_depth(
    target: np.ndarray,
    source: np.ndarray,
    T_source_target: np.ndarray,
    *,
    K: np.ndarray,
    max_depth: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Measure the target's depth from the same inputs as a pair network.

    The source is derotated first (K R K^-1), which leaves only parallax. A pixel without a
    measurement takes the depth of the nearest measured pixel, so that every pixel can be scored;
    of the fillings tried (far end, median, neighbour) this one scored best.

    Args:
        target, source: (H, W, 3) uint8 RGB
        T_source_target: target-frame points to source frame, metres. (4, 4)
        K: intrinsics of both, pixels. (3, 3)
        max_depth: largest depth returned, metres.

    Returns:
        Depth of every pixel in metres, and the mask of measured pixels. (H, W) float64, bool
    """
    R, t = T_source_target[:3, :3], T_source_target[:3, 3]
    # 1. Dense flow to the derotated source.
    flow = dense_flow(target, source, source_of_target=K @ R @ np.linalg.inv(K))
    # 2. The motion that remains is a pure translation, in the target's axes.
    T_derotated_target = np.eye(4)
    T_derotated_target[:3, 3] = R.T @ t
    # 3. Triangulate, then fill.
    measured = triangulate(flow, T_derotated_target, K, max_depth=max_depth)
    depth = fill_from_neighbours(measured.depth, measured.valid, otherwise=max_depth)
    return depth, measured.valid
