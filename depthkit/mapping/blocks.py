# SPDX-License-Identifier: Apache-2.0
"""Blocks of 16 x 16 x 16 voxels by their index: the memory of a map, bounded."""

import numpy as np

from depthkit.errors import DataError

SIDE = 16
"""Voxels along an edge of a block."""
_FIRST = 64  # blocks that memory is taken for at the start
_OFFSET, _BITS = 1 << 20, 21  # of packed block indices


class Blocks:
    """Rows of voxel arrays, found by submap and block index; rows 0 to len - 1 are in use."""

    def __init__(self, most: int) -> None:
        """Start empty.

        Args:
            most: largest number of blocks, 45 kB each.
        """
        self.most = most
        self._row_of: dict[tuple[int, ...], int] = {}
        self.keys = np.zeros((0, 4), np.int64)
        """Submap and block index (x, y, z) of each row. (capacity, 4)"""
        self.distance = np.zeros((0, SIDE, SIDE, SIDE), np.float32)
        """Signed distance to the surface, > 0 on the free side."""
        self.weight = np.zeros((0, SIDE, SIDE, SIDE), np.float32)
        """Weight of the distance; 0: never seen."""
        self.colour = np.zeros((0, SIDE, SIDE, SIDE, 3), np.uint8)
        """RGB; (0, 0, 0): none was seen."""
        self._reserve(min(_FIRST, most))

    def __len__(self) -> int:
        return len(self._row_of)

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Return the rows of blocks, -1 where a block does not exist. (N, 4) -> (N,)"""
        found = [self._row_of.get(tuple(key), -1) for key in keys.tolist()]
        return np.array(found, np.int64)

    def add(self, keys: np.ndarray) -> np.ndarray:
        """Return the rows of blocks, made empty where they do not exist yet; the caller has made
        room. (N, 4) -> (N,)
        """
        rows = self.find(keys)
        new = np.flatnonzero(rows < 0)
        rows[new] = len(self) + np.arange(len(new))
        self._reserve(len(self) + len(new))
        self.keys[rows[new]] = keys[new]
        for values in (self.distance, self.weight, self.colour):
            values[rows[new]] = 0
        for row in rows[new].tolist():
            self._row_of[tuple(self.keys[row].tolist())] = row
        return rows

    def drop(self, rows: np.ndarray) -> None:
        """Remove blocks; the last rows move into their places. (N,)"""
        for row in sorted(rows.tolist(), reverse=True):
            last = len(self) - 1
            del self._row_of[tuple(self.keys[row].tolist())]
            if row == last:
                continue
            for values in (self.keys, self.distance, self.weight, self.colour):
                values[row] = values[last]
            self._row_of[tuple(self.keys[row].tolist())] = row

    def _reserve(self, count: int) -> None:
        """Take memory for at least `count` blocks: twice as much as before, never above `most`."""
        before = len(self.keys)
        if count <= before:
            return
        size = min(self.most, max(count, 2 * before)) - before
        self.keys, self.distance, self.weight, self.colour = (
            np.concatenate([values, np.zeros((size, *values.shape[1:]), values.dtype)])
            for values in (self.keys, self.distance, self.weight, self.colour)
        )


def pack_keys(keys: np.ndarray) -> np.ndarray:
    """Put block indices into one number each, whose order is that of x, y, z. (N, 3) -> (N,)

    Raises:
        DataError: a block more than 2^20 blocks from the origin.
    """
    if keys.size and np.abs(keys).max() >= _OFFSET:
        raise DataError(
            "Tsdf.integrate: a point lies more than 16 million voxels from the origin; look at the "
            "poses, or choose larger voxels"
        )
    x, y, z = (keys + _OFFSET).T
    return np.asarray((x << 2 * _BITS) | (y << _BITS) | z, np.int64)


def unpack_keys(packed: np.ndarray) -> np.ndarray:
    """Return the block indices of packed numbers. (N,) -> (N, 3)"""
    mask = (1 << _BITS) - 1
    parts = [packed >> 2 * _BITS, (packed >> _BITS) & mask, packed & mask]
    return np.stack(parts, axis=1) - _OFFSET
