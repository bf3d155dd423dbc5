# SPDX-License-Identifier: Apache-2.0
"""Reasons to refuse a loop: more than drift explains, or two hits in a row that disagree."""

from dataclasses import dataclass

import numpy as np

from depthkit.multiview.similarity import rigid_of, scale_of
from depthkit.rigid import log_so3

DRIFT = 0.25, 0.10
"""Largest drift that a loop may correct as a part of the path since: relative, and in metres.
Monocular systems drift by 2 to 14 % on our clips (../shared/odometry.md)."""
NEAR = 0.10
"""Part of the scene's depth that is allowed beside the drift, and between two hits in a row."""
TURN = float(np.radians(5.0)), float(np.radians(0.3))
"""Largest turn that a loop may correct: constant, and for each keyframe since, radians."""
SCALE_JUMP = 0.15, 0.02, float(np.log(3.0))
"""Largest change of the scale, logarithm: constant, for each keyframe since, and at most."""
METRIC_SCALE = 0.15
"""Largest logarithm of the scale between two keyframes that both say metres."""
AGREE_TURN, AGREE_SCALE = float(np.radians(3.0)), 0.2
"""Largest difference between two hits in a row: radians, logarithm."""


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


def disagreement(before: np.ndarray, now: np.ndarray, since: Since) -> str:
    """Compare two hits in a row by where they put the same keyframe.

    Args:
        before, now: its pose in the map by the earlier hit and by its own, similarities. (4, 4)
        since: as in `drift_alarm`; depth and scale_known are read.

    Returns:
        Why they disagree, empty if they agree.
    """
    shift, turn, scale = difference(before, now)
    if shift > NEAR * since.depth or turn > AGREE_TURN:
        return f"disagree: two hits in a row differ by {shift:.3g} and {np.degrees(turn):.1f} deg"
    if since.scale_known and abs(scale) > AGREE_SCALE:
        return f"disagree: two hits in a row differ in scale by {np.exp(abs(scale)):.2f}"
    return ""


def difference(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """Distance, angle (radians) and logarithm of the scale between two poses of one map."""
    R = rigid_of(a)[:3, :3].T @ rigid_of(b)[:3, :3]
    shift = float(np.linalg.norm(a[:3, 3] - b[:3, 3]))
    return shift, float(np.linalg.norm(log_so3(R))), float(np.log(scale_of(a) / scale_of(b)))
