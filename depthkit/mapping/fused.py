# SPDX-License-Identifier: Apache-2.0
"""All submaps of a signed distance map as one volume in the world."""

from dataclasses import dataclass

import numpy as np

from depthkit.mapping.blocks import SIDE, Blocks, pack_keys, unpack_keys
from depthkit.rigid import inverse


@dataclass(frozen=True, eq=False)
class Volume:
    """Blocks of voxels in the world, ordered by their packed index."""

    keys: np.ndarray
    """Packed block indices, rising. (N,) int64"""
    rows: np.ndarray
    """Row of each block in the arrays. (N,) int64"""
    distance: np.ndarray
    """Signed distance to the surface, > 0 on the free side. (M, 16, 16, 16) float32"""
    weight: np.ndarray
    """Weight of the distance; 0: never seen. (M, 16, 16, 16) float32"""
    colour: np.ndarray
    """RGB; (0, 0, 0): none was seen. (M, 16, 16, 16, 3) uint8"""
    voxel: float
    """Distance of neighbouring voxels; voxel (i, j, k) lies at its index times this."""


def fuse(blocks: Blocks, poses: dict[int, np.ndarray], voxel: float) -> Volume:
    """Join submaps by the weighted mean of their distances.

    A submap that stands where it was made is added voxel by voxel; a moved one is sampled between
    its voxels.

    Args:
        blocks: blocks of all submaps.
        poses: T_world_map of each submap.
        voxel: distance of neighbouring voxels.
    """
    used = blocks.keys[: len(blocks)]
    volumes = []
    for submap, T_world_map in sorted(poses.items()):
        rows = np.flatnonzero(used[:, 0] == submap)
        packed = pack_keys(used[rows, 1:])
        order = np.argsort(packed)
        one = Volume(
            packed[order], rows[order], blocks.distance, blocks.weight, blocks.colour, voxel
        )
        volumes.append((one, T_world_map))
    if len(volumes) == 1 and (volumes[0][1] == np.eye(4)).all():
        return volumes[0][0]
    return _join(volumes, voxel)


def _join(volumes: list[tuple[Volume, np.ndarray]], voxel: float) -> Volume:
    from depthkit.mapping.tsdf_kernels import add_volume

    # 1. The blocks that any submap reaches into.
    reached = [_reached(volume, T) for volume, T in volumes]
    keys = np.unique(np.concatenate([np.zeros(0, np.int64), *reached]))
    shape = (len(keys), SIDE, SIDE, SIDE)
    joined = Volume(
        *(keys, np.arange(len(keys))),
        *(np.zeros(shape, np.float32), np.zeros(shape, np.float32)),
        *(np.zeros((*shape, 3), np.uint8), voxel),
    )
    # 2. One submap after the other into them.
    for (volume, T_world_map), mine in zip(volumes, reached, strict=True):
        add_volume(
            *(np.searchsorted(keys, mine), unpack_keys(mine)),
            *(joined.distance, joined.weight, joined.colour),
            *(volume.keys, volume.rows, volume.distance, volume.weight, volume.colour),
            *(inverse(T_world_map), bool((T_world_map == np.eye(4)).all()), voxel),
        )
    return joined


def _reached(volume: Volume, T_world_map: np.ndarray) -> np.ndarray:
    """List the blocks of the world that the blocks of a submap may reach into, packed, rising."""
    keys = unpack_keys(volume.keys)
    if (T_world_map == np.eye(4)).all():
        return volume.keys
    R, t = T_world_map[:3, :3], T_world_map[:3, 3] / (SIDE * volume.voxel)
    centres = (keys + 0.5) @ R.T + t
    half = 0.5 * np.abs(R).sum(axis=1)  # half sides of the box around a turned block
    low, high = np.floor(centres - half).astype(np.int64), np.floor(centres + half).astype(np.int64)
    found = [np.zeros(0, np.int64)]
    for step in np.ndindex(3, 3, 3):  # a box of at most sqrt(3) blocks touches at most three
        at = low + np.array(step)
        found.append(pack_keys(at[(at <= high).all(axis=1)]))
    return np.unique(np.concatenate(found))
