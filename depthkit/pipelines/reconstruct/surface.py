# SPDX-License-Identifier: Apache-2.0
"""The surface of one segment, grown frame by frame, and its files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from depthkit.errors import DataError
from depthkit.mapping.mesh_files import write_glb, write_ply
from depthkit.mapping.tsdf import Tsdf
from depthkit.rigid import inverse
from depthkit.runtime.result import CONFIDENT_SIGMA

if TYPE_CHECKING:
    from depthkit.mapping.mesh import Mesh, Points
    from depthkit.runtime.result import DepthResult

WIDTH = 320
"""Widest depth map that is taken in, pixels: wider ones are sampled."""
STEPS = 100
"""Voxels to the median depth: 2 cm at 2 m, 15 cm at 15 m."""
FINEST = 0.02
"""Smallest voxel of a surface in metres: finer than depth from a video is."""
REACH = 4.0
"""Median depths up to which surfaces are made."""
WAITING = 6
"""Frames that wait until the size of a voxel is chosen, by the median of their depths."""
MOVED, TURNED = 0.01, 1.0
"""Motion since the last frame taken in from which on the next one is, in median depths and in
degrees: standing still adds the same errors again and again."""
SHARPNESS = 0.25
"""Smallest voxel in typical standard deviations of depth: a finer one would show noise alone."""
VIEWS = 3.0
"""Observations of typical sharpness that a voxel needs to count."""
LEAST_FACES = 60
"""Faces of the smallest piece that is kept."""
MOST_BLOCKS = 6000
"""Blocks of 16^3 voxels at most, 270 MB."""
MESH_PLY, MESH_GLB, CLOUD = "mesh.ply", "mesh.glb", "cloud.ply"


@dataclass(frozen=True, eq=False)
class Surface:
    """What a segment's depth maps make together."""

    mesh: Mesh
    points: Points
    voxel: float
    """Distance of neighbouring voxels, in the unit of the path."""
    frames: int
    """Depth maps taken in."""
    dropped: int
    """Blocks that did not fit into memory."""


@dataclass(frozen=True, eq=False)
class _Seen:
    """A depth map that is taken in: confident pixels only."""

    depth: np.ndarray
    sigma: np.ndarray
    rgb: np.ndarray
    K: np.ndarray
    T_world_cam: np.ndarray


class SurfaceBuilder:
    """Takes depth maps of one segment; memory is bounded (kept state)."""

    def __init__(self, *, is_metric: bool, voxel: float | None) -> None:
        """Start empty.

        Args:
            is_metric: lengths are metres.
            voxel: distance of neighbouring voxels; None chooses it by the scene's depth.
        """
        self.is_metric, self.voxel = is_metric, voxel
        self._waiting = list[_Seen]()
        self._tsdf: Tsdf | None = None
        self._last: np.ndarray | None = None
        self._typical = self._unsure = 0.0

    def add(self, result: DepthResult, rgb: np.ndarray, T_world_cam: np.ndarray) -> None:
        """Take in a frame, where the camera has moved since the last one.

        Args:
            result: its depth, in the unit of the pose.
            rgb: its colours. (H, W, 3) uint8
            T_world_cam: its pose. (4, 4)
        """
        seen = _confident(result, rgb, T_world_cam)
        if seen is None or not self._has_moved(seen):
            return
        self._last = T_world_cam
        if self._tsdf is not None:
            self._integrate(self._tsdf, seen)
            return
        self._waiting.append(seen)
        self._typical = float(np.median([np.nanmedian(one.depth) for one in self._waiting]))
        spread = [np.nanmedian(one.depth * one.sigma) for one in self._waiting]
        self._unsure = float(np.median(spread))
        if len(self._waiting) == WAITING:
            self._begin()

    def close(self) -> Surface | None:
        """Return the surface; None where nothing was seen well enough."""
        if self._waiting:
            self._begin()
        if self._tsdf is None:
            return None
        # An observation weighs (voxel / standard deviation)^2.
        weight = VIEWS * min(1.0, (self._tsdf.voxel / max(self._unsure, 1e-9)) ** 2)
        try:
            mesh = self._tsdf.mesh(least_weight=weight, least_faces=LEAST_FACES)
        except DataError:  # no voxel has that weight
            return None
        points = self._tsdf.surface_points(least_weight=weight)
        return Surface(mesh, points, self._tsdf.voxel, self._tsdf.frames, self._tsdf.dropped)

    def _begin(self) -> None:
        """Choose the voxel and take in what has waited."""
        voxel = self.voxel or max(self._typical / STEPS, SHARPNESS * self._unsure)
        if self.is_metric and self.voxel is None:
            voxel = max(voxel, FINEST)
        reach = max(REACH * self._typical, 2 * voxel)
        self._tsdf = Tsdf(voxel=voxel, max_depth=reach, max_blocks=MOST_BLOCKS)
        for one in self._waiting:
            self._integrate(self._tsdf, one)
        self._waiting.clear()

    @staticmethod
    def _integrate(tsdf: Tsdf, seen: _Seen) -> None:
        tsdf.integrate(
            seen.depth, K=seen.K, T_world_cam=seen.T_world_cam, sigma=seen.sigma, rgb=seen.rgb
        )

    def _has_moved(self, seen: _Seen) -> bool:
        if self._last is None:
            return True
        step = inverse(self._last) @ seen.T_world_cam
        turn = np.degrees(np.arccos(np.clip((np.trace(step[:3, :3]) - 1) / 2, -1, 1)))
        way = float(np.linalg.norm(step[:3, 3]))
        return bool(turn > TURNED or way > MOVED * self._typical)


def _confident(result: DepthResult, rgb: np.ndarray, T_world_cam: np.ndarray) -> _Seen | None:
    """Sample the confident pixels of a depth map; None without any."""
    if result.depth is None or result.sigma is None or result.K is None:
        return None
    stride = max(1, round(result.depth.shape[1] / WIDTH))
    depth, sigma = result.depth[::stride, ::stride], result.sigma[::stride, ::stride]
    sure = np.isfinite(depth) & (depth > 0) & (sigma <= CONFIDENT_SIGMA)
    if result.valid is not None:
        sure &= result.valid[::stride, ::stride]
    if not sure.any():
        return None
    # Pixel centres are whole numbers, so the sampled picture has u' = u / stride.
    K = np.diag([1 / stride, 1 / stride, 1.0]) @ result.K
    depth = np.where(sure, depth, np.float32(np.nan))
    return _Seen(depth, np.array(sigma), np.array(rgb[::stride, ::stride]), K, T_world_cam)


def write_surface(folder: Path, surface: Surface, *, comment: str) -> dict[str, str]:
    """Write mesh and points; return what lies where.

    Args:
        folder: exists.
        surface: of one segment, y down.
        comment: axes and unit, one line.
    """
    write_ply(folder / MESH_PLY, surface.mesh, comment=comment)
    write_glb(folder / MESH_GLB, surface.mesh)
    write_ply(folder / CLOUD, surface.points, comment=comment)
    return {"mesh": MESH_PLY, "mesh for browsers": MESH_GLB, "points": CLOUD}


def extent(surface: Surface) -> Iterator[float]:
    """Yield the sides of the box around a surface, without its most distant hundredths."""
    low, high = np.percentile(surface.mesh.vertices, (1, 99), axis=0)
    yield from (float(side) for side in high - low)
