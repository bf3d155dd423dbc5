# SPDX-License-Identifier: Apache-2.0
"""Agreement of depth between two views [Bian 2019, SC-SfMLearner]."""

from torch import Tensor

from depthkit.errors import check_shape


def depth_difference(projected: Tensor, interpolated: Tensor) -> Tensor:
    """Return |a - b| / (a + b) of two depths of the same point, in [0, 1] [Bian 2019, eq. 3].

    Args:
        projected: depth of the target's points, moved into the source frame, metres. (B, 1, H, W)
        interpolated: depth of the source, read where they land, metres. (B, 1, H, W)

    Returns:
        Relative difference; 1 - it is SC-Depth's weight for moving and hidden pixels. (B, 1, H, W)
    """
    check_shape("depth_difference: interpolated", interpolated, " ".join(map(str, projected.shape)))
    projected = projected.clamp(min=1e-6)  # behind the source: the largest difference, not more
    return (projected - interpolated).abs() / (projected + interpolated)
