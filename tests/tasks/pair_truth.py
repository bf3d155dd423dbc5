# SPDX-License-Identifier: Apache-2.0
"""A small snippet of pairs with chosen depth and motion, for the tests of supervised tasks."""

import torch

from depthkit.data.snippet import Snippet


def pair_snippet(depth: torch.Tensor, translations: list[list[float]]) -> Snippet:
    """Return pairs with this depth, (B, 1, H, W) metres, and these motions, metres or NaN."""
    torch.manual_seed(0)
    batch, _, height, width = depth.shape
    T = torch.eye(4).repeat(batch, 1, 1, 1)
    T[:, 0, :3, 3] = torch.tensor(translations)
    T[T.isnan().flatten(1).any(1)] = torch.nan
    return Snippet(
        target=torch.rand(batch, 3, height, width),
        sources=torch.rand(batch, 1, 3, height, width),
        K=torch.eye(3).repeat(batch, 1, 1),
        shifts=torch.full((batch, 1), -3),
        T_source_target_gt=T,
        valid=torch.ones(batch, 1, height, width, dtype=torch.bool),
        depth_gt=depth,
        names=tuple(f"pair/{i}" for i in range(batch)),
    )
