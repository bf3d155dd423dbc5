# SPDX-License-Identifier: Apache-2.0
"""The record that a task sees: a target frame, its sources, and what is known of them."""

from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Snippet:
    """One target and its sources; in a batch every field has a leading B."""

    target: Tensor
    """RGB in [0, 1]. (B, 3, H, W)"""
    sources: Tensor
    """RGB in [0, 1]. (B, S, 3, H, W)"""
    K: Tensor
    """Intrinsics at H x W, pixels. (B, 3, 3)"""
    shifts: Tensor
    """Frame offset of each source from the target. (B, S) int"""
    T_source_target_gt: Tensor
    """Known motions, metres; NaN where unknown. (B, S, 4, 4)"""
    valid: Tensor
    """Pixels that are image at all. (B, 1, H, W) bool"""
    depth_gt: Tensor
    """Known depth, metres; 0 where unknown. (B, 1, H, W)"""
    names: tuple[str, ...]
    """Sequence and frame of each target."""
    pairs: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    """Number of each target-source pair among those of the data set. (B, S) int"""
    axes: Tensor = field(default_factory=lambda: torch.ones(3))
    """Signs of the camera's axes: -1 where the frames were mirrored. (B, 3)"""
    zoom: Tensor = field(default_factory=lambda: torch.ones(1))
    """Enlargement of the frames: their focal length over that of their camera. (B, 1)"""
    taught: Tensor = field(default_factory=lambda: torch.zeros(2, 0, 0))
    """Depth of a teacher, unit of the motions, and its relative standard deviation; 0 where
    unknown, no pixel without a teacher. (B, 2, H, W)"""
    places: Tensor = field(default_factory=lambda: torch.zeros(0, 5))
    """Where target and sources were taken: number of the world, position, and how far away another
    place begins there, in the unit of the position. (B, 1 + S, 5)"""
    rasters: Tensor = field(default_factory=lambda: torch.zeros(0, 3, 0, 0))
    """Second modality of target and sources as pictures in [0, 1]; none without one.
    (B, 1 + S, 3, H, W)"""
    points: Tensor = field(default_factory=lambda: torch.zeros(0, 2))
    """Known keypoints of the target, pixels (u, v), the most certain first; NaN fills up, no row
    where no sequence lists any. (B, P, 2)"""

    def to(self, device: torch.device) -> "Snippet":
        """Return the snippet on a device."""
        moved: dict[str, Any] = {
            f.name: value.to(device, non_blocking=True)
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), Tensor)
        }
        return replace(self, **moved)


def collate(snippets: list[Snippet]) -> Snippet:
    """Stack single snippets into a batch."""
    stacked: dict[str, Any] = {
        f.name: torch.stack([getattr(s, f.name) for s in snippets])
        for f in fields(Snippet)
        if f.name != "names"
    }
    return Snippet(**stacked, names=tuple(name for s in snippets for name in s.names))
