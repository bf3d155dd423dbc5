# SPDX-License-Identifier: Apache-2.0
"""Matches of a frame with the ground, most of them wrong, to a view straight down: consensus.

Straight down, ground = foot + height R(angle) (x, -y) for a ray (x, y, 1): a similarity of the
plane, which two matches fix. That bears far more wrong matches than the eight numbers of a
homography; the tilt that it leaves out is what the tolerance is for. How much an agreement is worth
is told a contrario (Moisan and Stival, IJCV 2004): the number of such agreements that matches
scattered by chance would show.
"""

from dataclasses import dataclass
from math import lgamma, log, log10, pi

import numpy as np

from depthkit.multiview.features import Features

PAIRS = 40_000
"""Pairs of matches that are drawn."""
TRIED = 3000
"""Views of pairs that are compared with all matches."""
TURN = np.radians(25.0)
"""Largest difference of a feature's orientation from that of a view, radians."""
STRETCH = 1.6
"""Largest ratio of a feature's scale to that of a view."""
CLUE_SHARE = 0.07
"""Share of random matches whose orientation (TURN of a half turn: 0.14) and scale (about half)
agree with a view."""
LOOSE = 2.5
"""Tolerance before the tilt is known, in tolerances after."""
GRID = 0.04
"""Side of the squares of the frame in which agreeing matches count once, diagonals."""


@dataclass(frozen=True, eq=False)
class Consensus:
    """A view straight down that several matches agree with."""

    turn: complex
    """Height times the turn from (x, -y) to (east, north), metres."""
    foot: complex
    """Point of the ground below the camera, metres: east + north i."""
    inliers: np.ndarray
    """Matches that agree. (M,) bool"""

    @property
    def height(self) -> float:
        """Height of the camera above the ground, metres."""
        return abs(self.turn)


def implied_turns(
    frame: Features, ground: Features, *, focal: float, metres: np.ndarray
) -> np.ndarray | None:
    """Return the turn of the view that each match implies by itself: orientation and scale.

    Args:
        frame, ground: matched features, one beside the other. (M)
        focal: of the frame, pixels.
        metres: metres east and north of a pixel's steps on the orthophoto. (2, 2)

    Returns:
        Height times turn, metres (M,) complex; None where the detector knows no orientation.
    """
    if not frame.scales.all() or not ground.scales.all():
        return None
    angles = ground.angles.astype(np.float64)
    along = metres @ np.stack([np.cos(angles), np.sin(angles)])
    size = ground.scales * np.sqrt(abs(np.linalg.det(metres)))
    direction = (along[0] + 1j * along[1]) / np.linalg.norm(along, axis=0)
    # The ray's y axis points down, the similarity's up: the angle changes its sign.
    return direction * np.exp(1j * frame.angles.astype(np.float64)) * size * focal / frame.scales


def find_consensus(
    rays: np.ndarray,
    ground: np.ndarray,
    *,
    tolerance: float,
    heights: tuple[float, float],
    implied: np.ndarray | None = None,
) -> Consensus | None:
    """Find the view straight down that most matches agree with.

    Args:
        rays: matched features of the frame on the plane z = 1. (M, 2)
        ground: where they lie on the ground, metres east and north. (M, 2)
        tolerance: largest distance of agreeing matches on the plane z = 1.
        heights: least and largest height, metres.
        implied: turn that each match implies by itself, which must agree too. (M,) complex

    Returns:
        The view, refined on what agrees; None where fewer than three matches do.
    """
    q, g = rays[:, 0] - 1j * rays[:, 1], ground[:, 0] + 1j * ground[:, 1]
    if len(q) < 3:
        return None
    # 1. A view from every pair drawn; those too close to each other or out of range fall away.
    first, second = _pairs(len(q))
    dq = q[first] - q[second]
    turn = (g[first] - g[second]) / np.where(dq == 0, 1.0, dq)
    fits = (np.abs(dq) > 4 * tolerance) & (np.abs(turn) >= heights[0])
    fits &= np.abs(turn) <= heights[1]
    turn, first, second = turn[fits], first[fits], second[fits]
    if implied is not None:
        fits = agrees(implied[first], turn) & agrees(implied[second], turn)
        turn, first = turn[fits], first[fits]
    turn, start = turn[:TRIED], first[:TRIED]
    if not len(turn):
        return None
    foot = g[start] - turn * q[start]
    # 2. How many matches agree with each.
    error = np.abs(turn[:, None] * q + foot[:, None] - g)
    agree = error <= tolerance * np.abs(turn)[:, None]
    if implied is not None:
        agree &= agrees(implied, turn[:, None])
    # 3. Least squares on those of the best, twice.
    chosen = agree[int(agree.sum(axis=1).argmax())]
    for _ in range(2):
        if chosen.sum() < 3:
            return None
        a, b = _similarity(q[chosen], g[chosen])
        chosen = np.abs(a * q + b - g) <= tolerance * abs(a)
        if implied is not None:
            chosen &= agrees(implied, a)
    return Consensus(complex(a), complex(b), chosen)


def agrees(implied: np.ndarray, turn: np.ndarray | complex) -> np.ndarray:
    """Return whether orientation and scale of matches agree with a view."""
    ratio = implied / turn
    size = np.abs(ratio)
    near = (size <= STRETCH) & (size >= 1 / STRETCH)
    return near & (np.abs(np.angle(ratio)) <= TURN)


def _pairs(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return all pairs in mixed order, or as many as are drawn; the same for the same number."""
    rng = np.random.default_rng(count)
    if count * (count - 1) // 2 <= PAIRS:
        first, second = np.triu_indices(count, 1)
        order = rng.permutation(len(first))
        return first[order], second[order]
    first = rng.integers(0, count, PAIRS)
    return first, (first + rng.integers(1, count, PAIRS)) % count


def _similarity(q: np.ndarray, g: np.ndarray) -> tuple[complex, complex]:
    """Fit g = a q + b by least squares; complex (M,)."""
    dq, dg = q - q.mean(), g - g.mean()
    a = (np.conj(dq) @ dg) / max(float((np.abs(dq) ** 2).sum()), 1e-18)
    return a, g.mean() - a * q.mean()


def count_distinct(rays: np.ndarray, diagonal: float) -> int:
    """Count squares of the frame that hold a match: neighbours are no evidence of their own.

    Args:
        rays: agreeing features on the plane z = 1. (M, 2)
        diagonal: of the frame on that plane.
    """
    squares = np.floor(rays / (GRID * diagonal)).astype(np.int64)
    return len(np.unique(squares, axis=0))


def evidence(agreeing: int, matches: int, *, share: float, tests: int) -> float:
    """Return the negative power of ten of the expected number of agreements by chance.

    Of `matches` scattered evenly, each agrees with a view that two of them fix with probability
    `share`; the expected number of views with k agreeing is tests C(M, 2) P(at least k - 2 of
    M - 2), where the binomial's first term stands for its tail.

    Args:
        agreeing: matches that agree, the two included.
        matches: all of them.
        share: of the searched ground that is within the tolerance of a point.
        tests: tiles and headings that were tried.
    """
    k, n = agreeing - 2, matches - 2
    if k <= 0 or share >= 1 or k <= n * share:
        return 0.0
    pairs = log10(max(tests, 1)) + log10(matches * (matches - 1) / 2)
    choose = (lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)) / log(10)
    return max(0.0, -(pairs + choose + k * log10(share) + (n - k) * log10(1 - share)))


def share_of_circle(radius: float, area: float) -> float:
    """Return the share of an area that lies within a radius of a point of it."""
    return min(1.0, pi * radius**2 / area)
