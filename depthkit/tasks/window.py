# SPDX-License-Identifier: Apache-2.0
"""A window of frames and the motions in it: any frame as the target, rotation out, one baseline."""

from typing import NamedTuple

import torch
from torch import Tensor

from depthkit.data.snippet import Snippet
from depthkit.geometry.rotation import derotate
from depthkit.geometry.se3 import inverse, rigid_motion

_TINY = 1e-5  # added to the reference's |t|, as published


class Window(NamedTuple):
    """The frames of a snippet by their parts."""

    target: Tensor
    """(B, 3, H, W)"""
    others: Tensor
    """(B, S, 3, H, W)"""
    times: tuple[int, ...]
    """Place in time of the target and each of the others, frames; only their order is used."""
    reference: int
    """Which of the others makes the pair with the target."""
    T_others_target_gt: Tensor
    """Known motions, metres; the identity where unknown. (B, S, 4, 4)"""
    known: Tensor
    """(B, S) bool"""


def window_of(
    snippet: Snippet, shifts: tuple[int, ...], *, target: int = 0, reference: int = 0
) -> Window:
    """Take a snippet apart with any of its frames as the target.

    Args:
        snippet: with S sources.
        shifts: offsets of the sources, frames; their order in time.
        target: 0 for the snippet's own, k for its k-th source.
        reference: which of the others, 0 to S - 1, in the snippet's order without the target.
    """
    frames = torch.cat([snippet.target[:, None], snippet.sources], 1)
    others = [i for i in range(frames.shape[1]) if i != target]
    T = snippet.T_source_target_gt
    identity = torch.eye(4, dtype=T.dtype, device=T.device)
    T_frame_first = torch.cat([identity.expand(len(T), 1, 4, 4), T], 1)
    T_others_target = T_frame_first[:, others] @ inverse(T_frame_first[:, [target]])
    known = T_others_target.isfinite().all(-1).all(-1)
    return Window(
        target=frames[:, target],
        others=frames[:, others],
        times=tuple((0, *shifts)[i] for i in (target, *others)),
        reference=reference,
        T_others_target_gt=torch.where(known[..., None, None], T_others_target, identity),
        known=known,
    )


def turn(others: Tensor, T_other_target: Tensor, K: Tensor) -> Tensor:
    """Take the rotation out of other views: turn each like its target. (N, 3, H, W)"""
    return derotate(others, R_target_source=T_other_target[:, :3, :3].mT, K=K).image


def normalise_baseline(
    T_others_target: Tensor,
    reference: int,
    nominal_baseline: float,
    *,
    lengths: Tensor | None = None,
) -> Tensor:
    """Scale all translations so that the reference's is the nominal baseline D0 long.

    t_i <- t_i D0 / (|t_r| + 1e-5) [Pinard 2018]: a common factor of all translations is lost.

    Args:
        T_others_target: motions, translations in any unit. (B, S, 4, 4)
        reference: which of the others, r.
        nominal_baseline: D0, metres.
        lengths: measured lengths of the translations, used in place of the predicted. (B, S)

    Returns:
        The motions, metres at the nominal baseline. (B, S, 4, 4)
    """
    t = T_others_target[..., :3, 3]
    if lengths is not None:
        t = t * (lengths / (t.norm(dim=-1) + _TINY))[..., None]
    scale = nominal_baseline / (t[:, reference].norm(dim=-1) + _TINY)
    return rigid_motion(T_others_target[..., :3, :3], t * scale[:, None, None])
