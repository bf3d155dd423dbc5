# SPDX-License-Identifier: Apache-2.0
"""Where the camera was at each frame, from what the robot knows: poses, displacements, attitudes.

A stream that once knew its motion is never silently taken for one that does not: a frame without
its pose is left out, lest relative depth pass for metres, and one without its attitude, lest a turn
pass for parallax.
"""

from typing import Literal, NamedTuple

import numpy as np

from depthkit.errors import check_shape

Kind = Literal["pose", "displacement", "unknown"]
Intrinsics = tuple[tuple[int, int], np.ndarray]
"""(H, W) of a camera's frames, and K, pixels."""

SAME_K = 1e-3  # relative; a larger change of the intrinsics is another camera

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

    def read(
        self,
        *,
        T_world_cam: np.ndarray | None,
        displacement: float | None,
        R_world_cam: np.ndarray | None,
    ) -> Place:
        """Take in what is known of the next frame.

        Args:
            T_world_cam: pose, metres; goes before the other two. (4, 4)
            displacement: metres since the frame before, of any direction.
            R_world_cam: attitude alone. (3, 3)

        Raises:
            ShapeError: the caller's bug.
        """
        if T_world_cam is not None:
            check_shape("T_world_cam", T_world_cam, "4 4")
        if R_world_cam is not None:
            check_shape("R_world_cam", R_world_cam, "3 3")
        kind = _kind_of(T_world_cam, displacement)
        if self.kind is None:
            self.kind = kind
        if kind == "unknown" and self.kind != "unknown":
            # A missing pose harms one frame; a missing displacement cuts off all before it.
            what = "pose" if self.kind == "pose" else "displacement"
            return Place(fault=f"no {what} for this frame", breaks=self.kind == "displacement")
        breaks, self.kind = kind != self.kind, kind
        if breaks:
            self._turns = None
        if T_world_cam is not None:
            return _of_pose(np.asarray(T_world_cam, dtype=np.float64), breaks)
        return self._of_displacement(displacement, R_world_cam, breaks)

    def _of_displacement(
        self, displacement: float | None, R_world_cam: np.ndarray | None, breaks: bool
    ) -> Place:
        if displacement is not None:
            if np.isnan(displacement):  # so a caller says that it should be known
                return Place(fault="no displacement for this frame", breaks=True)
            if not (np.isfinite(displacement) and displacement >= 0):
                fault = f"displacement must be 0 m or more, got {displacement}"
                return Place(fault=fault, breaks=True)
            self._travelled += float(displacement)
        if R_world_cam is None and self._turns:
            return Place(fault="no attitude for this frame", breaks=breaks)
        R = None if R_world_cam is None else np.asarray(R_world_cam, dtype=np.float64)
        breaks |= self._turns is False and R is not None  # how the frames before turned is unknown
        self._turns = R is not None
        if R is not None and np.isnan(R).all():
            return Place(fault="no attitude for this frame", breaks=breaks)
        if R is not None and (fault := _rotation_fault(R)):
            return Place(fault=f"attitude {fault}", breaks=breaks)
        travelled = None if displacement is None else self._travelled
        return Place(R, travelled=travelled, breaks=breaks)


def _kind_of(T_world_cam: np.ndarray | None, displacement: float | None) -> Kind:
    if T_world_cam is not None:
        return "pose"
    return "unknown" if displacement is None else "displacement"


def _of_pose(T: np.ndarray, breaks: bool) -> Place:
    if np.isnan(T).all():  # so a caller says that there should be one
        return Place(fault="no pose for this frame", breaks=breaks)
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


def steady_intrinsics(before: Intrinsics | None, now: Intrinsics) -> Intrinsics:
    """Return those of before where now differs by the noise of a calibration alone.

    At the network's focal length, frames of one camera then have one size.
    """
    if before is None or before[0] != now[0]:
        return now[0], np.array(now[1], dtype=np.float64)
    same = np.allclose(before[1], now[1], rtol=SAME_K, atol=1e-6)
    return before if same else (now[0], np.array(now[1], dtype=np.float64))
