# SPDX-License-Identifier: Apache-2.0
"""Where the camera was at each frame: from poses, or from displacements and attitudes.

A stream that once had motion never silently turns into one without: a frame that lacks its pose is
skipped, so that relative depth is not taken for metres, and a frame that lacks its attitude, so
that rotation is not taken for parallax.
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
    """Camera pose of a frame, as far as it is known; fields as in `RingFrame`."""

    R_world_cam: np.ndarray | None = None
    position: np.ndarray | None = None
    travelled: float | None = None
    fault: str = ""
    """Why the frame is unusable; empty if it is usable."""
    breaks: bool = False
    """Whether the distance to all earlier frames is unknown."""


class CameraMotion:
    """Accumulates a stream's motion; the first frame decides its kind."""

    def __init__(self) -> None:
        """Start without any motion."""
        self.kind: Kind | None = None
        self._travelled = 0.0
        self._turns: bool | None = None  # whether attitudes are given; None at first

    def scale_source(self) -> str:
        """Describe where the scale comes from."""
        return SOURCES[self.kind or "unknown"]

    def read(self, motion: Motion) -> Place:
        """Take the motion of the next frame and return its place.

        Raises:
            ShapeError: the caller's bug.
        """
        if motion.T_world_cam is not None:
            check_shape("T_world_cam", motion.T_world_cam, "4 4")
        if motion.R_world_cam is not None:
            check_shape("R_world_cam", motion.R_world_cam, "3 3")
        if motion.T_world_cam is not None and not motion.metric:
            R, way = motion.T_world_cam[:3, :3], motion.displacement
            motion = Motion(None, way, R, expected=motion.expected)
        kind = self._kind_of(motion)
        if kind is None:
            return Place(fault="no motion for this frame, although its source should have one")
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
        """Return the kind of motion a frame has or should have; None while that is unknown."""
        if motion.T_world_cam is not None:
            return "pose"
        if motion.displacement is not None:
            return "displacement"
        if motion.expected and motion.R_world_cam is not None:
            return "displacement"  # the attitude is given, so it is the distance that is missing
        if motion.expected:
            return self.kind
        # A stream that once had motion does not silently become one without.
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
        breaks |= self._turns is False and turns  # the attitude of earlier frames is unknown
        self._turns = turns
        if missing:
            return Place(fault="no attitude for this frame", breaks=breaks)
        if R is not None and (fault := rotation_fault(R)):
            return Place(fault=f"attitude {fault}", breaks=breaks)
        travelled = None if displacement is None else self._travelled
        return Place(R, travelled=travelled, breaks=breaks)


def _of_pose(T: np.ndarray, breaks: bool) -> Place:
    R, position = T[:3, :3], T[:3, 3]
    fault = rotation_fault(R) or ("" if np.isfinite(position).all() else "is not finite")
    if fault:
        return Place(fault=f"pose {fault}", breaks=breaks)
    return Place(R, position, breaks=breaks)


def rotation_fault(R: np.ndarray) -> str:
    """Return why a matrix is no rotation; empty if it is one. R: (3, 3)"""
    if not np.isfinite(R).all():
        return "is not finite"
    if np.abs(R @ R.T - np.eye(3)).max() > NOT_A_ROTATION or np.linalg.det(R) < 0:
        return "is not a rotation"
    return ""
