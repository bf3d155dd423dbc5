# SPDX-License-Identifier: Apache-2.0
"""Places seen before, found by a learnt descriptor of the picture or by VLAD of its features.

VLAD (Jegou, Douze, Schmid and Perez, CVPR 2010) sums, for each word of a small vocabulary, the
differences of the descriptors to the word; words are normalised one by one (Arandjelovic and
Zisserman, CVPR 2013). The vocabulary comes from the first images by k-means with a fixed start, and
is learnt again when there are four times as many, so that it does not know the first room alone.
"""

from collections.abc import Callable

import numpy as np

from depthkit.errors import DataError
from depthkit.multiview.features import Features, squared_distances
from depthkit.runtime.odometry.place_index import PlaceIndex

WORDS = 32
LEARN_AT = (8, 32, 128)
"""Numbers of places at which the vocabulary is learnt; before the first nothing is found."""
SAMPLE = 6000
"""Number of descriptors a vocabulary is learnt from, evenly drawn from all places."""
ROUNDS = 12
"""Rounds of k-means."""

Describe = Callable[[np.ndarray], np.ndarray]
"""Learnt descriptor of a whole picture, of unit length: gray (H, W) uint8 -> (D,) float32."""


class Places:
    """Images by number, and which of them look like another one (kept state).

    With codes of a learnt descriptor these are compared, from the first image on; without, VLAD of
    the features, once the vocabulary is learnt.
    """

    def __init__(self) -> None:
        self._words: np.ndarray | None = None
        self._taught: dict[int, np.ndarray] = {}
        self._due = list(LEARN_AT)
        self._index: PlaceIndex | None = None
        self._count = 0
        self._coded: bool | None = None

    def __len__(self) -> int:
        return self._count

    @property
    def bytes_each(self) -> int:
        """Bytes that the index holds of an image; 0 before it can compare."""
        return 0 if self._index is None else self._index.bytes_each

    def code(self, key: int) -> np.ndarray:
        """Return the code by which an image is compared. (D,) float32

        Raises:
            KeyError: it is not there, or nothing can be compared yet.
        """
        if self._index is None:
            raise KeyError(key)
        return self._index.code(key)

    def add(self, key: int, features: Features, code: np.ndarray | None = None) -> None:
        """Keep an image.

        Args:
            key: number that `find` returns.
            features: its features; their descriptors are held until the last vocabulary is learnt.
            code: its learnt descriptor; all images have one, or none has. (D,)

        Raises:
            DataError: the code has another length than the first one, or is missing, or the
                descriptors have another length or type than those before.
        """
        self._check_kind(code)
        if code is not None:
            if self._index is None:
                self._index = PlaceIndex(len(code))
            self._index.add(key, code)
            self._count += 1
            return
        self._check_width(features)
        if self._due:
            self._taught[key] = features.descriptors
        self._count += 1
        if self._due and self._count >= self._due[0] and any(map(len, self._taught.values())):
            self._due.pop(0)
            self._learn()
        elif self._index is not None and self._words is not None:
            self._index.add(key, vlad(features.descriptors, self._words))

    def remove(self, key: int) -> None:
        """Forget an image."""
        self._taught.pop(key, None)
        if self._index is not None and key in self._index:
            self._index.remove(key)
        self._count -= 1

    def find(
        self,
        features: Features,
        code: np.ndarray | None = None,
        *,
        count: int = 4,
        leave_out: frozenset[int] = frozenset(),
    ) -> list[tuple[int, float]]:
        """Find the images that look most alike.

        Args:
            features: those of the image that is looked for.
            code: its learnt descriptor, where the kept images have one. (D,)
            count: largest number of answers.
            leave_out: keys that are not asked for, as the most recent ones.

        Returns:
            Keys and cosine similarities, most similar first; none before the vocabulary is learnt.

        Raises:
            DataError: the kept images have codes and this one has none, or the other way round.
        """
        if self._index is None:
            return []
        self._check_kind(code)
        if code is None:
            if self._words is None or len(features) == 0:
                return []
            self._check_width(features)
            code = vlad(features.descriptors, self._words)
        return self._index.find(code, count=count, leave_out=leave_out)

    def _learn(self) -> None:
        """Learn the vocabulary from all images, and describe them anew."""
        self._words = learn_words(list(self._taught.values()))
        self._index = PlaceIndex(self._words.size)
        for key, descriptors in self._taught.items():
            self._index.add(key, vlad(descriptors, self._words))
        if not self._due:
            self._taught = {}

    def _check_kind(self, code: np.ndarray | None) -> None:
        """Refuse codes beside images without."""
        if self._coded is None:
            self._coded = code is not None
        if self._coded != (code is not None):
            raise DataError(
                "Places: all images need a learnt descriptor, or none; describe them alike"
            )

    def _check_width(self, features: Features) -> None:
        """Refuse descriptors of another detector."""
        own = next(iter(self._taught.values()), self._words)
        if own is not None and own.shape[1] != features.descriptors.shape[1]:
            raise DataError(
                f"Places: expected descriptors of {own.shape[1]} numbers, got "
                f"{features.descriptors.shape[1]}; use one detector for a map"
            )


def learn_words(descriptors: list[np.ndarray], words: int = WORDS) -> np.ndarray:
    """Learn a vocabulary by k-means; the same descriptors give the same words.

    Args:
        descriptors: one array an image. each (N, D)
        words: number of words.

    Returns:
        Words. (words or fewer, D) float32
    """
    pool = np.concatenate(descriptors).astype(np.float32)
    step = max(1, len(pool) // SAMPLE)
    pool = pool[::step][:SAMPLE]
    centres = pool[np.random.default_rng(0).permutation(len(pool))[:words]]
    for _ in range(ROUNDS):
        nearest = squared_distances(pool, centres).argmin(axis=1)
        member = _members(nearest, len(centres))
        counts = member.sum(axis=1, keepdims=True)
        centres = np.where(counts > 0, member @ pool / np.maximum(counts, 1), centres)
    return centres.astype(np.float32)


def _members(nearest: np.ndarray, words: int) -> np.ndarray:
    """Mark with 1 which descriptors belong to which word. (N,) -> (words, N) float32"""
    return (nearest[None, :] == np.arange(words)[:, None]).astype(np.float32)


def vlad(descriptors: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Describe an image by the differences of its descriptors to the words.

    Args:
        descriptors: features of the image. (N, D) uint8 or float32
        words: vocabulary. (W, D) float32

    Returns:
        Unit vector; zeros without features. (W D,) float32
    """
    x = descriptors.astype(np.float32)
    nearest = squared_distances(x, words).argmin(axis=1)
    member = _members(nearest, len(words))
    sums = member @ x - member.sum(axis=1, keepdims=True) * words
    sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-6)
    flat = sums.ravel()
    return flat / max(float(np.linalg.norm(flat)), 1e-6)
