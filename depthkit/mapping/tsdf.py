# SPDX-License-Identifier: Apache-2.0
"""A surface from depth maps with known poses: truncated signed distances [Curless and Levoy 1996].

Distances are kept near surfaces only, in hashed blocks of voxels [Niessner et al. 2013], so memory
follows the surface and not the room. Depth counts by the inverse square of its standard deviation.
Keyframes form submaps, each with a rigid pose: a closed loop moves them, and `mesh` fuses them.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from depthkit.errors import ConfigError, DataError, check_shape
from depthkit.mapping.blocks import SIDE, Blocks, pack_keys, unpack_keys
from depthkit.mapping.submaps import Submaps
from depthkit.rigid import inverse

if TYPE_CHECKING:
    from depthkit.mapping.fused import Volume
    from depthkit.mapping.mesh import Mesh, Points

ASSUMED_SIGMA = 0.02
"""Relative standard deviation of depth that comes without one: that of a good depth sensor."""
_LEAST_SIGMA = 1e-6
_ROOM = 16  # a full map drops one block in this many at once, not one a frame


class Tsdf:
    """A map of surfaces. Lengths are in the unit of the poses and depths: metres, or relative.

    Memory is bounded: a full map drops its blocks farthest from the camera and counts them in
    `dropped`.
    """

    def __init__(
        self,
        *,
        voxel: float = 0.05,
        truncation: float = 4.0,
        max_depth: float = 5.0,
        max_blocks: int = 8192,
        max_weight: float = 200.0,
        keyframes_per_submap: int = 0,
    ) -> None:
        """Start empty.

        Args:
            voxel: distance of neighbouring voxels.
            truncation: distance from the surface up to which voxels are written, in voxels; unsure
                depth widens it to two standard deviations, at most 3 times.
            max_depth: depth beyond which there is no surface; farther pixels only show free space.
            max_blocks: largest number of blocks of 16^3 voxels, 45 kB each.
            max_weight: weight at which a mean becomes a sliding one, so that changes show.
            keyframes_per_submap: keyframes that share a rigid pose; 0: all.

        Raises:
            ConfigError: a value out of range.
        """
        _check_settings(voxel, truncation, max_depth, max_blocks, max_weight)
        self.voxel, self.truncation = float(voxel), float(truncation * voxel)
        self.max_depth, self.max_weight = float(max_depth), float(max_weight)
        self.dropped = 0
        """Number of blocks that a full map lost."""
        self.frames = 0
        """Number of frames integrated."""
        self._blocks = Blocks(max_blocks)
        self._submaps = Submaps(keyframes_per_submap)

    def __len__(self) -> int:
        """Return the number of blocks."""
        return len(self._blocks)

    def integrate(
        self,
        depth: np.ndarray,
        *,
        K: np.ndarray,
        T_world_cam: np.ndarray,
        sigma: np.ndarray | None = None,
        rgb: np.ndarray | None = None,
        keyframe: int = 0,
    ) -> None:
        """Average one frame into the map. Pass confident pixels only.

        Args:
            depth: along the optical axis; NaN or <= 0 unknown. (H, W)
            K: intrinsics, pixels. (3, 3)
            T_world_cam: pose of the camera. (4, 4)
            sigma: relative standard deviation of depth; None: 2 %. (H, W)
            rgb: picture of the same size. (H, W, 3) uint8
            keyframe: number of the last keyframe, which chooses the submap.

        Raises:
            DataError: K or the pose is not finite.
        """
        depth, sigma, rgb = check_frame(depth, sigma, rgb)
        if not (np.isfinite(K).all() and np.isfinite(T_world_cam).all()):
            raise DataError("Tsdf.integrate: K and T_world_cam must be finite; leave the frame out")
        from depthkit.mapping.tsdf_kernels import integrate

        # 1. The frame in the submap of its keyframe.
        submap, T_world_map = self._submaps.enter(keyframe)
        T_map_cam = inverse(T_world_map) @ T_world_cam
        ray = np.array([K[0, 0], K[1, 1], K[0, 2], K[1, 2]], np.float64)
        # 2. Blocks near its surfaces, made where there are none; and those that it sees through.
        touched = self._touched(depth, sigma, ray, T_map_cam)
        keys = np.insert(touched, 0, submap, axis=1)
        near = self._blocks.add(self._make_room(keys, T_world_cam[:3, 3]))
        seen = self._in_view(submap, ray, inverse(T_map_cam), depth.shape)
        # 3. The voxels of both.
        rows, blocks = np.union1d(near, seen), self._blocks
        limits = np.array([self.voxel, self.truncation, self.max_depth, self.max_weight])
        with np.errstate(divide="ignore"):
            inverse_depth = np.where(depth > 0, 1 / depth, np.float32(0))
        integrate(
            rows,
            *(blocks.keys, blocks.distance, blocks.weight, blocks.colour),
            *(inverse_depth, sigma, rgb, ray, inverse(T_map_cam), limits),
        )
        self.frames += 1

    def move(self, correction: np.ndarray, since: int = 0) -> None:
        """Move the submaps of keyframes from `since` on, see `Submaps.move`."""
        self._submaps.move(correction, since)

    def bend(self, correction: np.ndarray, since: int = 0) -> None:
        """Spread a loop's correction over the submaps since then, see `Submaps.bend`."""
        self._submaps.bend(correction, since)

    def fused(self) -> "Volume":
        """Return all submaps as one volume in the world."""
        from depthkit.mapping.fused import fuse

        return fuse(self._blocks, self._submaps.poses, self.voxel)

    def mesh(self, *, least_weight: float = 1.0, least_faces: int = 0) -> "Mesh":
        """Return the surface as triangles.

        Args:
            least_weight: smallest weight of a voxel that counts; 1 is one observation with a
                standard deviation of one voxel.
            least_faces: number of faces below which a component is left out.

        Raises:
            DataError: nothing was integrated, or nothing with that weight.
        """
        from depthkit.mapping.mesh import mesh_of

        return mesh_of(self.fused(), least_weight=least_weight, least_faces=least_faces)

    def surface_points(self, *, least_weight: float = 1.0) -> "Points":
        """Return points of the surface, at most one a voxel; empty where there is none.

        Args:
            least_weight: as in `mesh`.
        """
        from depthkit.mapping.mesh import points_of

        return points_of(self.fused(), least_weight=least_weight)

    # --- inside -----------------------------------------------------------------------------------

    def _touched(
        self, depth: np.ndarray, sigma: np.ndarray, ray: np.ndarray, T_map_cam: np.ndarray
    ) -> np.ndarray:
        """List the blocks near the surfaces of a frame, in order. (N, 3)"""
        from depthkit.mapping.tsdf_kernels import touched_blocks

        # Samples are at most a voxel apart at the largest depth.
        stride = max(1, int(self.voxel * min(ray[0], ray[1]) / self.max_depth))
        found = touched_blocks(
            depth, sigma, ray, T_map_cam, stride, self.voxel, self.truncation, self.max_depth
        )
        return unpack_keys(np.unique(pack_keys(found)))

    def _in_view(
        self, submap: int, ray: np.ndarray, T_cam_map: np.ndarray, size: tuple[int, ...]
    ) -> np.ndarray:
        """Return the rows of the submap's blocks that may be in view: by bounding spheres. (R,)"""
        keys = self._blocks.keys[: len(self._blocks)]
        reach = SIDE * self.voxel
        centres = (keys[:, 1:] + 0.5) * reach @ T_cam_map[:3, :3].T + T_cam_map[:3, 3]
        fx, fy, cx, cy = ray
        height, width = size
        # Inner normals of the sides of the viewing pyramid, in the camera.
        sides = np.array(
            [
                [fx, 0, cx + 0.5],
                [-fx, 0, width - 0.5 - cx],
                [0, fy, cy + 0.5],
                [0, -fy, height - 0.5 - cy],
            ]
        )
        sides /= np.linalg.norm(sides, axis=1, keepdims=True)
        radius = 0.5 * math.sqrt(3) * reach
        inside = (centres @ sides.T > -radius).all(axis=1)
        inside &= (centres[:, 2] > -radius) & (centres[:, 2] < self.max_depth + radius)
        return np.flatnonzero(inside & (keys[:, 0] == submap))

    def _make_room(self, keys: np.ndarray, centre: np.ndarray) -> np.ndarray:
        """Drop the farthest blocks where needed; return the keys that fit. (N, 4)"""
        blocks = self._blocks
        rows = blocks.find(keys)
        short = len(blocks) + int((rows < 0).sum()) - blocks.most
        if short <= 0:
            return keys
        # 1. Others than those needed now, the farthest first.
        others = np.setdiff1d(np.arange(len(blocks)), rows)
        away = self._distance_to(blocks.keys[others], centre)
        order = others[np.argsort(-away, kind="stable")]
        gone = order[: max(short, blocks.most // _ROOM)]
        blocks.drop(gone)
        # 2. A frame that needs more than all: its nearest blocks.
        left = max(0, short - len(gone))
        self.dropped += len(gone) + left
        if left == 0:
            return keys
        nearest = np.argsort(self._distance_to(keys, centre), kind="stable")
        too_far = blocks.find(keys[nearest[blocks.most :]])
        blocks.drop(too_far[too_far >= 0])
        return keys[np.sort(nearest[: blocks.most])]

    def _distance_to(self, keys: np.ndarray, centre: np.ndarray) -> np.ndarray:
        """Return the distances of blocks' centres to a point of the world. (N,)"""
        poses = np.stack(
            [self._submaps.poses[submap] for submap in keys[:, 0].tolist()] or [np.eye(4)]
        )
        poses = poses[: len(keys)]
        points = (keys[:, 1:] + 0.5) * (SIDE * self.voxel)
        moved = np.einsum("nij,nj->ni", poses[:, :3, :3], points) + poses[:, :3, 3]
        return np.asarray(np.linalg.norm(moved - centre, axis=1))


def _check_settings(
    voxel: float, truncation: float, max_depth: float, max_blocks: int, max_weight: float
) -> None:
    for name, value, least in (
        ("voxel", voxel, 0),
        ("truncation", truncation, 1),
        ("max_depth", max_depth, voxel),
        ("max_blocks", max_blocks, 0),
        ("max_weight", max_weight, 0),
    ):
        if not (math.isfinite(value) and value > least):
            raise ConfigError(f"Tsdf: {name}: above {least:g} and finite, got {value}")


def check_frame(
    depth: np.ndarray, sigma: np.ndarray | None, rgb: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return depth, sigma and picture in the kernels' types; the picture may be empty."""
    check_shape("Tsdf.integrate: depth", depth, "H W")
    height, width = depth.shape
    if sigma is not None:
        check_shape("Tsdf.integrate: sigma", sigma, f"{height} {width}")
    if rgb is not None:
        check_shape("Tsdf.integrate: rgb", rgb, f"{height} {width} 3")
    depth = np.ascontiguousarray(depth, np.float32)
    known = np.isfinite(depth) & (depth > 0)
    if sigma is None:
        sure = np.full(depth.shape, ASSUMED_SIGMA, np.float32)
    else:
        sure = np.ascontiguousarray(sigma, np.float32)
        known = known & np.isfinite(sure)  # depth that nobody vouches for is unknown
        sure = np.where(known, np.maximum(sure, np.float32(_LEAST_SIGMA)), np.float32(1))
    picture = np.zeros((0, 0, 3), np.uint8) if rgb is None else np.ascontiguousarray(rgb, np.uint8)
    return np.where(known, depth, np.float32(0)), sure, picture
