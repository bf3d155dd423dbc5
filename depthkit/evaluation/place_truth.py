# SPDX-License-Identifier: Apache-2.0
"""What is right in place recognition: by the number of a picture, by poses, by coming back.

Right is a place that is near and seen the same way. What is near without that is neither right nor
false: a loop to it does no harm, but nobody may expect it to be found.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.errors import DataError, check_shape

LEAST_CALIBRATION = 10
"""Queries before the first return that are enough to choose a threshold on."""


@dataclass(frozen=True, eq=False)
class PlaceTruth:
    """What is right, for Q queries and D places of the database."""

    right: np.ndarray
    """The two show one place. (Q, D) bool"""
    near: np.ndarray
    """They are near enough that a loop between them is no false one; holds `right`. (Q, D) bool"""
    candidates: np.ndarray
    """The query may be answered by the place; False for its own recent past. (Q, D) bool"""
    calibration: np.ndarray
    """Queries that a threshold is chosen on, and that do not count behind it. (Q,) bool"""

    def __post_init__(self) -> None:
        """Check the shapes.

        Raises:
            ShapeError: they differ.
            DataError: there is no query or no place.
        """
        check_shape("PlaceTruth: right", self.right, "Q D")
        queries, places = self.right.shape
        if not (queries and places):
            raise DataError(f"{queries} queries and {places} places; both need at least one")
        check_shape("PlaceTruth: near", self.near, f"{queries} {places}")
        check_shape("PlaceTruth: candidates", self.candidates, f"{queries} {places}")
        check_shape("PlaceTruth: calibration", self.calibration, f"{queries}")

    @property
    def answerable(self) -> np.ndarray:
        """Queries that have a right answer among their candidates. (Q,) bool"""
        return np.asarray((self.right & self.candidates).any(axis=1))

    @property
    def asked(self) -> np.ndarray:
        """Queries that have candidates at all. (Q,) bool"""
        return np.asarray(self.candidates.any(axis=1))

    def repeated(self, times: int) -> "PlaceTruth":
        """Ask each query several times, one after the other."""
        arrays = self.right, self.near, self.candidates, self.calibration
        return PlaceTruth(*(np.repeat(array, times, axis=0) for array in arrays))


def truth_by_index(count: int, tolerance: int = 0) -> PlaceTruth:
    """Query i shows place i; every second query is calibration.

    Args:
        count: number of queries and of places.
        tolerance: largest difference of the indices that is right; twice that is near.
    """
    apart = np.abs(np.arange(count)[:, None] - np.arange(count))
    everywhere = np.ones((count, count), bool)
    return PlaceTruth(apart <= tolerance, apart <= 2 * tolerance, everywhere, _every_second(count))


def truth_by_poses(
    query: np.ndarray, database: np.ndarray, *, radius: float, angle: float
) -> PlaceTruth:
    """Right is a place within the radius that looks the same way; every second query calibrates.

    Args:
        query: T_world_cam, metres. (Q, 4, 4)
        database: T_world_cam in the same world. (D, 4, 4)
        radius: largest distance of a right place, metres; within twice that all is near.
        angle: largest angle between the optical axes of a right place, degrees.
    """
    right, near = _right_and_near(query, database, radius=radius, angle=angle)
    return PlaceTruth(right, near, np.ones_like(right), _every_second(len(query)))


def truth_of_returns(poses: np.ndarray, *, radius: float, angle: float, apart: float) -> PlaceTruth:
    """Ask each frame of one recording for places that were passed before.

    Calibration is what comes before the first return, where it is `LEAST_CALIBRATION` queries or
    more: there every answer is wrong. Else it is every second query.

    Args:
        poses: T_world_cam in order of time, metres. (N, 4, 4)
        radius, angle: as of `truth_by_poses`.
        apart: least length of path between a query and its candidates, metres.
    """
    right, near = _right_and_near(poses, poses, radius=radius, angle=angle)
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    path = np.concatenate([[0.0], np.cumsum(steps)])
    candidates = path[:, None] - path >= apart
    before = np.arange(len(poses)) < first_return(right & candidates)
    early = before & candidates.any(axis=1)
    enough = early.sum() >= LEAST_CALIBRATION
    return PlaceTruth(right, near, candidates, early if enough else _every_second(len(poses)))


def first_return(right: np.ndarray) -> int:
    """Return the first query with a right answer; their number where none has one."""
    answered = right.any(axis=1)
    return int(answered.argmax()) if answered.any() else len(right)


def _right_and_near(
    query: np.ndarray, database: np.ndarray, *, radius: float, angle: float
) -> tuple[np.ndarray, np.ndarray]:
    check_shape("poses of the queries", query, "Q 4 4")
    check_shape("poses of the database", database, "D 4 4")
    distance = np.linalg.norm(query[:, None, :3, 3] - database[:, :3, 3], axis=2)
    cosine = query[:, :3, 2] @ database[:, :3, 2].T
    aligned = cosine >= np.cos(np.radians(angle))
    return (distance <= radius) & aligned, distance <= 2 * radius


def _every_second(count: int) -> np.ndarray:
    return np.arange(count) % 2 == 0
