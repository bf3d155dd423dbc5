# SPDX-License-Identifier: Apache-2.0
"""Codes of images in one array, and which of them are most alike: one matrix product.

A long code is first compared by a short projection of it (random directions; Johnson and
Lindenstrauss 1984): 10,000 products of 256 numbers instead of 4096. The best of them are compared
in full, so that the similarities that are returned are exact.
"""

from collections.abc import Iterable

import numpy as np

from depthkit.errors import DataError

SHORT = 256
"""Numbers of the projection; a code of up to twice as many is compared as it is."""
SHORTLIST = 96
"""Number of images that are compared in full; cosines of projections err by 1/16."""
START = 64
"""Number of rows at the start; the array doubles when it is full."""


class PlaceIndex:
    """Codes by number, in one array that grows by doubling (kept state)."""

    def __init__(self, width: int) -> None:
        """Start empty.

        Args:
            width: numbers of a code.
        """
        self.width = width
        self._long = np.zeros((START, width), np.float32)
        self._turn = _projection(width) if width > 2 * SHORT else None
        self._short = self._long if self._turn is None else np.zeros((START, SHORT), np.float32)
        self._keys = np.zeros(START, np.int64)
        self._rows: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: int) -> bool:
        return key in self._rows

    @property
    def bytes_each(self) -> int:
        """Bytes of an image: its code, the projection and its number."""
        return 4 * self.width + (0 if self._turn is None else 4 * SHORT) + 8

    def code(self, key: int) -> np.ndarray:
        """Return the code of an image. (width,) float32"""
        return self._long[self._rows[key]].copy()

    def add(self, key: int, code: np.ndarray) -> None:
        """Keep the code of an image.

        Args:
            key: its number, not in the index yet.
            code: unit length, or zeros where there is nothing to compare. (width,)

        Raises:
            DataError: the code has another length or is not finite, or the number is taken.
        """
        code = self._checked(code)
        if key in self._rows:
            raise DataError(f"PlaceIndex: number {key} is taken; number the images anew")
        row = len(self._rows)
        if row == len(self._keys):
            self._grow()
        self._rows[key], self._keys[row], self._long[row] = row, key, code
        if self._turn is not None:
            self._short[row] = code @ self._turn

    def remove(self, key: int) -> None:
        """Forget an image: the last row takes its place."""
        row, last = self._rows.pop(key), len(self._rows)
        if row != last:
            self._keys[row], self._long[row] = self._keys[last], self._long[last]
            self._rows[int(self._keys[row])] = row
            if self._turn is not None:
                self._short[row] = self._short[last]

    def find(
        self, code: np.ndarray, *, count: int, leave_out: Iterable[int] = ()
    ) -> list[tuple[int, float]]:
        """Return the most similar images and their cosines, most similar first.

        Args:
            code: of the image that is looked for. (width,)
            count: largest number of answers.
            leave_out: numbers that are not asked for.

        Raises:
            DataError: the code has another length or is not finite.
        """
        code, total = self._checked(code), len(self._rows)
        if total == 0 or not code.any():
            return []
        hidden = [self._rows[key] for key in leave_out if key in self._rows]
        # 1. All images by the short codes.
        turned = code if self._turn is None else code @ self._turn
        similarity = self._short[:total] @ turned
        similarity[hidden] = -np.inf
        # 2. The best of them by the long codes; equal ones in the order of their numbers.
        few = min(total - len(hidden), max(count, SHORTLIST))
        rows = np.argpartition(-similarity, few - 1)[:few] if few else np.zeros(0, int)
        exact = self._long[rows] @ code
        order = np.lexsort([self._keys[rows], -exact])[:count]
        return [(int(self._keys[rows[i]]), float(exact[i])) for i in order]

    def _checked(self, code: np.ndarray) -> np.ndarray:
        """Return a code as float32; refuse one of another length."""
        code = np.asarray(code, np.float32)
        if code.shape != (self.width,):
            raise DataError(
                f"PlaceIndex: expected codes of {self.width} numbers, got {code.shape}; describe "
                "all places with one network"
            )
        if not np.isfinite(code).all():
            raise DataError("PlaceIndex: the code of an image holds NaN; check its network")
        return code

    def _grow(self) -> None:
        """Double the number of rows."""
        shared = self._short is self._long
        self._keys = np.concatenate([self._keys, np.zeros_like(self._keys)])
        self._long = np.concatenate([self._long, np.zeros_like(self._long)])
        more = self._long if shared else np.concatenate([self._short, np.zeros_like(self._short)])
        self._short = more


def _projection(width: int) -> np.ndarray:
    """Draw random directions, the same each time. (width, SHORT) float32"""
    drawn = np.random.default_rng(0).standard_normal((width, SHORT), dtype=np.float32)
    return drawn / np.float32(np.sqrt(SHORT))
