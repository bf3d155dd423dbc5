# SPDX-License-Identifier: Apache-2.0
"""Derotation: two views of one camera centre differ by the homography K R K^-1.

It needs no depth, so a pair can be brought to the same orientation before depth is estimated.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from depthkit.errors import check_shape
from depthkit.geometry.projection import reproject, size_of
from depthkit.geometry.warp import inside, sample


class Derotated(NamedTuple):
    """A view rotated to the target's orientation."""

    image: Tensor
    """Derotated image, border colours outside. (B, C, H, W)"""
    valid: Tensor
    """Pixels that lie inside the source. (B, 1, H, W) bool"""


def derotate(image: Tensor, *, R_target_source: Tensor, K: Tensor) -> Derotated:
    """Derotate a source view to the target's orientation; the camera centre stays.

    Target pixels are sampled in the source at K R_source_target K^-1, bilinearly.

    Args:
        image: source image. (B, C, H, W)
        R_target_source: directions of the source frame to the target frame. (B, 3, 3)
        K: intrinsics of the image, and of the result, at H x W, pixels. (B, 3, 3)

    Returns:
        The derotated view and its valid pixels.
    """
    check_shape("derotate: image", image, "B C H W")
    check_shape("derotate: R_target_source", R_target_source, f"{len(image)} 3 3")
    check_shape("derotate: K", K, f"{len(image)} 3 3")
    T_source_target = torch.eye(4, dtype=K.dtype, device=K.device).repeat(len(K), 1, 1)
    T_source_target[:, :3, :3] = R_target_source.mT
    anywhere = torch.ones_like(image[:, :1])  # without translation any depth gives the same pixel
    pixels, ahead = reproject(anywhere, T_source_target=T_source_target, K_target=K, K_source=K)
    return Derotated(sample(image, pixels), inside(pixels, ahead, size_of(image)))
