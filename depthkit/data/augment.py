# SPDX-License-Identifier: Apache-2.0
"""Random changes of a snippet that keep its geometry true: K and the known motions follow."""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional as colour

from depthkit.camera import resize_matrix
from depthkit.data.snippet import Snippet


@dataclass(frozen=True)
class Variation:
    """How far a snippet may be changed."""

    flip: bool
    colour_jitter: float
    zoom: float
    flip_vertical: bool = False


def vary(snippet: Snippet, variation: Variation, rng: np.random.Generator) -> Snippet:
    """Return a randomly changed snippet (no batch axis); the same change for all its frames."""
    if variation.colour_jitter > 0:
        snippet = jitter_colours(snippet, rng.uniform(-1, 1, 3) * variation.colour_jitter + 1)
    if variation.zoom > 1:
        scale = rng.uniform(1, variation.zoom)
        snippet = zoom_and_crop(snippet, scale, corner=rng.uniform(0, 1, 2))
    if variation.flip and rng.random() < 0.5:
        snippet = mirror(snippet)
    if variation.flip_vertical and rng.random() < 0.5:
        snippet = mirror(snippet, vertical=True)
    return snippet


def jitter_colours(snippet: Snippet, factors: np.ndarray) -> Snippet:
    """Scale brightness, contrast and saturation by three factors around one."""
    frames = torch.cat([snippet.target[None], snippet.sources])
    brightness, contrast, saturation = (float(f) for f in factors)
    frames = colour.adjust_brightness(frames, brightness)
    # Contrast turns about the target's mean, not each frame's: one change for the whole snippet.
    mean = colour.rgb_to_grayscale(frames[:1]).mean()
    frames = torch.lerp(mean.expand_as(frames), frames, contrast).clamp_(0, 1)
    frames = colour.adjust_saturation(frames, saturation)
    return replace(snippet, target=frames[0], sources=frames[1:])


def mirror(snippet: Snippet, *, vertical: bool = False) -> Snippet:
    """Mirror left to right, or top to bottom: motions are seen in the mirror, T' = M T M.

    The principal point goes along: cx' = W - 1 - cx, or cy' = H - 1 - cy; so do known keypoints.
    """
    axis, side = (1, -2) if vertical else (0, -1)
    K = snippet.K.clone()
    K[axis, 2] = snippet.target.shape[side] - 1 - K[axis, 2]
    points = snippet.points.clone()
    points[..., axis] = snippet.target.shape[side] - 1 - points[..., axis]
    signs = torch.ones(4)
    signs[axis] = -1
    return replace(
        snippet,
        target=snippet.target.flip(side),
        sources=snippet.sources.flip(side),
        valid=snippet.valid.flip(side),
        depth_gt=snippet.depth_gt.flip(side),
        taught=snippet.taught.flip(side),
        K=K,
        T_source_target_gt=snippet.T_source_target_gt * signs * signs[:, None],
        axes=snippet.axes * signs[:3],
        points=points,
    )


def zoom_and_crop(snippet: Snippet, scale: float, corner: np.ndarray) -> Snippet:
    """Enlarge by `scale` and crop back to the old size; `corner` in [0, 1]^2 says where (v, u)."""
    height, width = snippet.target.shape[-2:]
    large = (round(height * scale), round(width * scale))
    top, left = (
        int(c * (big - small)) for c, big, small in zip(corner, large, (height, width), strict=True)
    )

    def cut(x: Tensor, mode: str) -> Tensor:
        if x.numel() == 0:
            return x
        options = {"align_corners": False} if mode == "bilinear" else {}
        x = F.interpolate(x, large, mode=mode, **options)
        return x[..., top : top + height, left : left + width]

    S = torch.as_tensor(resize_matrix((height, width), large), dtype=snippet.K.dtype)
    S[0, 2] -= left
    S[1, 2] -= top
    points = snippet.points * S.diagonal()[:2] + S[:2, 2]
    limits = points.new_tensor([width - 1, height - 1])
    outside = ((points < 0) | (points > limits)).any(1, keepdim=True)
    return replace(
        snippet,
        target=cut(snippet.target[None], "bilinear")[0],
        sources=cut(snippet.sources, "bilinear"),
        valid=cut(snippet.valid[None].float(), "nearest-exact")[0].bool(),
        depth_gt=cut(snippet.depth_gt[None], "nearest-exact")[0],
        zoom=snippet.zoom * (large[1] / width),
        taught=cut(snippet.taught[None], "nearest-exact")[0],
        points=points.masked_fill(outside, torch.nan),
        K=S @ snippet.K,
    )
