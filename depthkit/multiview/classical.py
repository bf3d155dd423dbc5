# SPDX-License-Identifier: Apache-2.0
"""The classical answer beside every pair network: DIS flow and the known motion, triangulated."""

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
    """Measure the target's depth with the same knowledge a pair network gets.

    The known rotation is taken out of the source first (K R K^-1): what is left is parallax. A
    pixel without a measurement takes that of the nearest pixel with one, so that every pixel can
    be scored: of the fillings tried (far end, median, neighbour) it served the method best.

    Args:
        target, source: (H, W, 3) uint8 RGB
        T_source_target: target-frame points to source frame, metres. (4, 4)
        K: intrinsics of both, pixels. (3, 3)
        max_depth: deepest answer, metres.

    Returns:
        Depth of every pixel, metres, and where it was measured. (H, W) float64, (H, W) bool
    """
    R, t = T_source_target[:3, :3], T_source_target[:3, 3]
    flow = dense_flow(target, source, source_of_target=K @ R @ np.linalg.inv(K))
    T_derotated_target = np.eye(4)
    T_derotated_target[:3, 3] = R.T @ t
    measured = triangulate(flow, T_derotated_target, K, max_depth=max_depth)
    depth = fill_from_neighbours(measured.depth, measured.valid, otherwise=max_depth)
    return depth, measured.valid
