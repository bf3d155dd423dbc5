# SPDX-License-Identifier: Apache-2.0
"""Pictures of what networks predict, for TensorBoard."""

import torch
from torch import Tensor
from torchvision.utils import flow_to_image

_ENDS = (0.02, 0.98)  # percentiles that become black and white: single pixels decide nothing
_LEAST_SPAN = 0.01  # of the far percentile: below it a map counts as constant and is drawn grey


@torch.no_grad()
def nearness_picture(inverse_depth: Tensor) -> Tensor:
    """Draw inverse depth: near is white, far is black, a constant map is grey.

    Each image is stretched between its own percentiles; divided by its largest value alone, a map
    that has only begun to learn, or one with a single near pixel, would be one plain tone.

    Args:
        inverse_depth: above 0. (B, 1, H, W)

    Returns:
        In [0, 1]. (B, 1, H, W)
    """
    ends = torch.tensor(_ENDS, device=inverse_depth.device)
    far, near = inverse_depth.float().flatten(1).quantile(ends, dim=1)[..., None, None, None]
    span = torch.maximum(near - far, _LEAST_SPAN * near)
    return ((inverse_depth.float() - (near + far) / 2) / span + 0.5).clamp(0, 1)


def flow_picture(flow: Tensor) -> Tensor:
    """Paint flow: the hue is its direction, the colour's strength its length.

    What is not finite is painted as still: the loss shows it, the painter would crash.

    Args:
        flow: pixels. (N, 2, H, W)

    Returns:
        RGB in [0, 1]. (N, 3, H, W)
    """
    return flow_to_image(flow.nan_to_num(0, 0, 0)).float() / 255
