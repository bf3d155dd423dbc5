# SPDX-License-Identifier: Apache-2.0
"""Reasons to refuse a loop: more than drift explains, or two hits in a row that disagree."""

from dataclasses import dataclass

import numpy as np

from depthkit.multiview.similarity import rigid_of, scale_of
from depthkit.rigid import inverse, log_so3

DRIFT = 0.25, 0.10
"""Largest drift that a loop may correct as a part of the path since: relative, and in metres.
Monocular systems drift by 2 to 14 % on our clips (../shared/odometry.md)."""
NEAR = 0.10
"""Part of the scene's depth that is allowed beside the drift, and between two hits in a row."""
TURN = float(np.radians(5.0)), float(np.radians(0.3))
"""Largest turn that a loop may correct: constant, and for each keyframe since, radians."""
SCALE_JUMP = 0.15, 0.02, float(np.log(3.0))
"""Largest change of the scale, logarithm: constant, for each keyframe since, and at most."""
LEFT = 1.0
"""Change of the view after which a place counts as left, see `has_returned`."""
METRIC_SCALE = 0.15
"""Largest logarithm of the scale between two keyframes that both say metres."""
AGREE_TURN, AGREE_SCALE = float(np.radians(5.0)), 0.1
"""Largest difference between two hits in a row: radians (rolling shutter bends a view by 1 to 3
degrees), and logarithm of the scale beyond three standard deviations."""


@dataclass(frozen=True)
class Since:
    """What lies between the two visits of a place."""

    path: float
    """Length of the path, unit of the map."""
    keyframes: int
    depth: float
    """Median depth of the scene, unit of the map."""
    metric: bool
    """Whether both visits say metres."""
    scale_known: bool
    """Whether the hit measured the scale."""


def drift_alarm(said: np.ndarray, now: np.ndarray, since: Since) -> str:
    """Compare what a loop says with what drift can explain.

    Args:
        said: pose of the new keyframe in the map by the loop, a similarity. (4, 4)
        now: the same by the graph. (4, 4)
        since: what lies between.

    Returns:
        Why it is no drift, empty if it can be.
    """
    shift, turn, scale = difference(said, now)
    allowed = DRIFT[since.metric] * since.path + NEAR * since.depth
    if shift > allowed:
        return (
            f"jump: by {shift:.3g} where drift explains {allowed:.3g} after a path of "
            f"{since.path:.3g}"
        )
    allowed = TURN[0] + TURN[1] * since.keyframes
    if turn > allowed:
        return (
            f"turn: by {np.degrees(turn):.1f} degrees where drift explains "
            f"{np.degrees(allowed):.1f}"
        )
    allowed = min(SCALE_JUMP[0] + SCALE_JUMP[1] * since.keyframes, SCALE_JUMP[2])
    if since.scale_known and not since.metric and abs(scale) > allowed:
        return f"scale jump: {np.exp(scale):.2f} where drift explains {np.exp(allowed):.2f}"
    return ""


def has_returned(between: np.ndarray, hit: np.ndarray, depth: float) -> bool:
    """Whether the camera had left the place in between, so that a hit is a loop.

    A view is left by one when the camera moves by the depth of the scene, or turns by half a
    radian. Straight on, the old place is still in sight after many keyframes: no loop.

    Args:
        between: poses of the keyframes from the old to the new one, both included. (N, 4, 4)
        hit: the new keyframe's pose in the old one by the hit. (4, 4)
        depth: median depth of the scene, in the unit of the poses.
    """
    from_old = _view_change(inverse(between[0]) @ between, depth)
    from_new = _view_change(inverse(between[-1]) @ between, depth)
    left = float(np.minimum(from_old, from_new).max())
    return left > max(LEFT, float(_view_change(hit[None], depth)[0]))


def _view_change(T: np.ndarray, depth: float) -> np.ndarray:
    """Change of the view by motions: 1 for the depth of the scene or for half a radian. (N,)"""
    turn = np.linalg.norm(log_so3(T[:, :3, :3]), axis=1)
    return np.linalg.norm(T[:, :3, 3], axis=1) / depth + turn / 0.5


def disagreement(
    before: np.ndarray, now: np.ndarray, depth: float, *, scale_sigma: float | None
) -> str:
    """Compare two hits in a row by where they put the same keyframe.

    Args:
        before, now: its pose in the map by the earlier hit and by its own, similarities. (4, 4)
        depth: median depth of the scene, unit of the map.
        scale_sigma: standard deviation of the logarithm of their ratio of scales; None where either
            did not measure it.

    Returns:
        Why they disagree, empty if they agree.
    """
    shift, turn, scale = difference(before, now)
    if shift > NEAR * depth or turn > AGREE_TURN:
        return f"disagree: two hits in a row differ by {shift:.3g} and {np.degrees(turn):.1f} deg"
    if scale_sigma is not None and abs(scale) > AGREE_SCALE + 3.0 * scale_sigma:
        return f"disagree: two hits in a row differ in scale by {np.exp(abs(scale)):.2f}"
    return ""


def difference(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """Distance, angle (radians) and logarithm of the scale between two poses of one map."""
    R = rigid_of(a)[:3, :3].T @ rigid_of(b)[:3, :3]
    shift = float(np.linalg.norm(a[:3, 3] - b[:3, 3]))
    return shift, float(np.linalg.norm(log_so3(R))), float(np.log(scale_of(a) / scale_of(b)))
