# SPDX-License-Identifier: Apache-2.0
"""Places seen before, found by their features: VLAD with a vocabulary learnt on the way.

VLAD (Jegou, Douze, Schmid and Perez, CVPR 2010) sums, for each word of a small vocabulary, the
differences of the descriptors to the word; words are normalised one by one (Arandjelovic and
Zisserman, CVPR 2013). The vocabulary comes from the first images by k-means with a fixed start, and
is learnt again when there are four times as many, so that it does not know the first room alone.
"""

import numpy as np

from depthkit.multiview.features import Features, squared_distances

WORDS = 32
LEARN_AT = (8, 32, 128)
"""Numbers of places at which the vocabulary is learnt; before the first nothing is found."""
SAMPLE = 6000
"""Number of descriptors a vocabulary is learnt from, evenly drawn from all places."""
ROUNDS = 12
"""Rounds of k-means."""


class Places:
    """Images by number, and which of them look like another one (kept state)."""

    def __init__(self) -> None:
        self._words: np.ndarray | None = None
        self._descriptors: dict[int, np.ndarray] = {}
        self._vectors: dict[int, np.ndarray] = {}
        self._due = list(LEARN_AT)

    def __len__(self) -> int:
        return len(self._descriptors)

    def add(self, key: int, features: Features) -> None:
        """Keep an image.

        Args:
            key: number that `find` returns.
            features: its features; their descriptors are kept without a copy.
        """
        self._descriptors[key] = features.descriptors
        if self._due and len(self) >= self._due[0]:
            self._due.pop(0)
            self._words = learn_words(list(self._descriptors.values()))
            self._vectors = {k: self._vector(d) for k, d in self._descriptors.items()}
        elif self._words is not None:
            self._vectors[key] = self._vector(features.descriptors)

    def remove(self, key: int) -> None:
        """Forget an image."""
        del self._descriptors[key]
        self._vectors.pop(key, None)

    def find(
        self, features: Features, *, count: int = 4, leave_out: frozenset[int] = frozenset()
    ) -> list[tuple[int, float]]:
        """Find the images that look most alike.

        Args:
            features: those of the image that is looked for.
            count: largest number of answers.
            leave_out: keys that are not asked for, as the most recent ones.

        Returns:
            Keys and cosine similarities, most similar first; none before the vocabulary is learnt.
        """
        keys = [key for key in self._vectors if key not in leave_out]
        if not keys or len(features) == 0:
            return []
        vectors = np.stack([self._vectors[key] for key in keys])
        similarity = vectors @ self._vector(features.descriptors)
        order = np.argsort(-similarity, kind="stable")[:count]
        return [(keys[i], float(similarity[i])) for i in order]

    def _vector(self, descriptors: np.ndarray) -> np.ndarray:
        if self._words is None:
            raise RuntimeError("places are compared only after their words are learnt")
        return vlad(descriptors, self._words)


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
