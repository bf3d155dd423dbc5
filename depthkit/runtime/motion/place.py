# SPDX-License-Identifier: Apache-2.0
"""Where the camera was at each frame, from what the robot knows: poses, displacements, attitudes.

A stream that once knew its motion is never silently taken for one that does not: a frame without
its pose is left out, lest relative depth pass for metres, and one without its attitude, lest a turn
pass for parallax.
"""

from typing import Literal, NamedTuple

import numpy as np

from depthkit.errors import check_shape
from depthkit.runtime.motion.told import Motion

Kind = Literal["pose", "displacement", "unknown"]
NOT_A_ROTATION = 1e-3  # largest entry of R R^T - I; float32 quaternions stay below 1e-6

SOURCES = {
    "pose": "camera poses",
    "displacement": "displacements of the camera, added up: exact in straight flight, too long in "
    "a curve",
    "unknown": "displacement unknown: as if the camera had moved the nominal baseline",
}


class Place(NamedTuple):
    """Where a frame was taken, as far as it is known; see `RingFrame`."""

    R_world_cam: np.ndarray | None = None
    position: np.ndarray | None = None
    travelled: float | None = None
    fault: str = ""
    """Why the frame cannot be used; empty where it can."""
    breaks: bool = False
    """Nothing before this frame has a known distance to it."""


class CameraMotion:
    """Adds up a stream's motion. What kind it is, the first frame says."""

    def __init__(self) -> None:
        """Start with nothing known."""
        self.kind: Kind | None = None
        self._travelled = 0.0
        self._turns: bool | None = None  # attitudes come; None before the first frame of a kind

    def scale_source(self) -> str:
        """Say in words where the scale comes from."""
        return SOURCES[self.kind or "unknown"]

    def read(self, motion: Motion) -> Place:
        """Take in what is known of the next frame.

        Raises:
            ShapeError: the caller's bug.
        """
        if motion.T_world_cam is not None:
            check_shape("T_world_cam", motion.T_world_cam, "4 4")
        if motion.R_world_cam is not None:
            check_shape("R_world_cam", motion.R_world_cam, "3 3")
        kind = self._kind_of(motion)
        if kind is None:
            return Place(fault="no motion for this frame, and its source should know it")
        breaks, self.kind = self.kind not in (None, kind), kind
        if breaks:
            self._turns = None
        if motion.T_world_cam is not None:
            return _of_pose(np.asarray(motion.T_world_cam, dtype=np.float64), breaks)
        if kind != "unknown" and motion.displacement is None:
            # A missing pose harms one frame; a missing displacement cuts off all before it.
            what = "pose" if kind == "pose" else "displacement"
            return Place(fault=f"no {what} for this frame", breaks=kind == "displacement")
        return self._of_displacement(motion, breaks)

    def _kind_of(self, motion: Motion) -> Kind | None:
        """Return what a frame has or should have; None where even that is not known yet."""
        if motion.T_world_cam is not None:
            return "pose"
        if motion.displacement is not None:
            return "displacement"
        if motion.expected and motion.R_world_cam is not None:
            return "displacement"  # the attitude came, so it is the distance that is missing
        if motion.expected:
            return self.kind
        # A stream that once knew its motion is not silently taken for one that does not.
        return self.kind or "unknown"

    def _of_displacement(self, motion: Motion, breaks: bool) -> Place:
        displacement, R_world_cam = motion.displacement, motion.R_world_cam
        if displacement is not None:
            if not (np.isfinite(displacement) and displacement >= 0):
                fault = f"displacement must be 0 m or more, got {displacement}"
                return Place(fault=fault, breaks=True)
            self._travelled += float(displacement)
        R = None if R_world_cam is None else np.asarray(R_world_cam, dtype=np.float64)
        missing = R is None and bool(self._turns or motion.expected)
        turns = missing or R is not None
        breaks |= self._turns is False and turns  # how the frames before turned is unknown
        self._turns = turns
        if missing:
            return Place(fault="no attitude for this frame", breaks=breaks)
        if R is not None and (fault := _rotation_fault(R)):
            return Place(fault=f"attitude {fault}", breaks=breaks)
        travelled = None if displacement is None else self._travelled
        return Place(R, travelled=travelled, breaks=breaks)


def _of_pose(T: np.ndarray, breaks: bool) -> Place:
    R, position = T[:3, :3], T[:3, 3]
    fault = _rotation_fault(R) or ("" if np.isfinite(position).all() else "is not finite")
    if fault:
        return Place(fault=f"pose {fault}", breaks=breaks)
    return Place(R, position, breaks=breaks)


def _rotation_fault(R: np.ndarray) -> str:
    if not np.isfinite(R).all():
        return "is not finite"
    if np.abs(R @ R.T - np.eye(3)).max() > NOT_A_ROTATION or np.linalg.det(R) < 0:
        return "is no rotation"
    return ""
