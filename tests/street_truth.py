# SPDX-License-Identifier: Apache-2.0
"""Two frames of a small rendered street with all that is known of them, for tests of flow."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from depthkit.data.snippet import Snippet
from depthkit.rigid import inverse
from depthkit.synth.render import open_renderer
from depthkit.synth.scene import Render
from depthkit.synth.street import StreetOptions, make_street_scene

SIZE = (96, 192)


@dataclass(frozen=True)
class StreetPair:
    """A frame and the next one; a batch of one."""

    first: Tensor
    """RGB in [0, 1]. (1, 3, H, W)"""
    second: Tensor
    """(1, 3, H, W)"""
    flow: Tensor
    """First -> second, pixels; 0 where unknown. (1, 2, H, W)"""
    backward: Tensor
    """Second -> first. (1, 2, H, W)"""
    known: Tensor
    """The flow is. (1, 1, H, W) bool"""
    visible: Tensor
    """Pixels of the first that the second sees: neither hidden nor outside. (1, 1, H, W) bool"""
    moving: Tensor
    """The body seen moves by itself. (1, 1, H, W) bool"""
    depth: Tensor
    """Of the first, metres. (1, 1, H, W)"""
    T_second_first: Tensor
    """(1, 4, 4)"""
    K: Tensor
    """(1, 3, 3)"""

    def snippet(self, sources: int = 1) -> Snippet:
        """Return a snippet, the second frame every source; the sky, too far, is not judged."""
        return Snippet(
            target=self.first,
            sources=self.second[:, None].repeat(1, sources, 1, 1, 1),
            K=self.K,
            shifts=torch.ones(1, sources, dtype=torch.int64),
            T_source_target_gt=self.T_second_first[:, None].repeat(1, sources, 1, 1),
            valid=self.known,
            depth_gt=self.depth,
            names=("street/000000",),
        )


@cache
def street_pair(seed: int = 3, size: tuple[int, int] = SIZE, speed: float = 6.0) -> StreetPair:
    """Render frames 0 and 1 of a street with traffic, by rays: they need no OpenGL."""
    pytest.importorskip("embreex", reason="needs embreex (extra synth)")
    scene = make_street_scene(StreetOptions(speed=(speed, speed)), seed, frames=2, size=size)
    renderer = open_renderer("ray")
    renderer.load(scene)
    there, back = renderer.render(0, 1), renderer.render(1, 0)
    renderer.close()
    T = inverse(scene.T_world_cam[1]) @ scene.T_world_cam[0]
    return StreetPair(
        first=_colours(there),
        second=_colours(back),
        flow=_flow(there),
        backward=_flow(back),
        known=_plane(np.isfinite(there.flow).all(-1)),
        visible=_plane(~(there.occluded | there.outside)),
        moving=_plane(np.isin(there.ids, scene.moving_ids)),
        depth=_plane(there.depth),
        T_second_first=torch.from_numpy(T).float()[None],
        K=torch.from_numpy(scene.camera.K).float()[None],
    )


def _colours(render: Render) -> Tensor:
    return torch.from_numpy(render.rgb).permute(2, 0, 1)[None].float() / 255


def _flow(render: Render) -> Tensor:
    return torch.from_numpy(np.nan_to_num(render.flow)).permute(2, 0, 1)[None].float()


def _plane(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values)[None, None]
