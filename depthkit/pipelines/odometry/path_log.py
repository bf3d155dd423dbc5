# SPDX-License-Identifier: Apache-2.0
"""What an odometry said of each frame, and what follows: segments, losses, length, coverage."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from depthkit.rigid import inverse
from depthkit.runtime.result import ScaleState

if TYPE_CHECKING:
    from depthkit.data.stream import StreamFrame
    from depthkit.runtime.odometry.saved_map import MapPose
    from depthkit.runtime.result import OdometryResult

SAME_TIME = 1e-6  # seconds between two stamps of one frame


@dataclass(frozen=True, eq=False)
class FrameMotion:
    """One frame: its live pose, how sure it is, or the reason why there is none."""

    index: int
    """In the source, counted from 0."""
    time: float
    """Seconds."""
    segment: int
    T_world_cam: np.ndarray | None
    """Pose as it was published; None where no motion leads to or from it. (4, 4)"""
    sigma_position: float | None = None
    """Standard deviation of the position, root of the summed variances, unit of the path."""
    sigma_rotation: float | None = None
    """The same of the rotation, radians."""
    scale: ScaleState = ScaleState()
    """Whether lengths are metres at this frame."""
    tracks: int = 0
    """Landmarks seen in the frame."""
    reason: str = ""
    """Why no motion is known; empty if it is."""
    in_map: MapPose | None = None
    """Where it was in a saved map, as known at that moment."""


@dataclass(frozen=True)
class Segment:
    """Poses that belong together: one world, one scale."""

    number: int
    start: float
    """Time of its first pose, seconds."""
    end: float
    """Time of its last pose, seconds."""
    poses: int
    length: float
    """Length of its path; of a mixed one the steps in metres."""
    unit: str
    """metric: metres; relative: a unit of its own; mixed: metres for some of the frames."""
    scale_source: str
    """What the metres come from; empty for a relative one."""
    scale_sigma: float | None
    """Relative standard deviation of its lengths, at its end; None where unknown."""
    ended: str
    """Why it broke; empty for the end of the source."""


@dataclass(frozen=True)
class Loss:
    """Frames in a row without a pose."""

    start: float
    """Time of the first of them, seconds."""
    end: float
    """Time of the last of them, seconds."""
    frames: int
    reason: str
    """That of the first frame."""


@dataclass
class PathLog:
    """Keeps what an odometry says, frame after frame."""

    frames: list[FrameMotion] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    """Time that each frame took."""
    in_metres: bool = True
    """Whether all motions were metres."""

    def add(
        self,
        frame: StreamFrame,
        result: OdometryResult,
        milliseconds: float,
        *,
        in_map: MapPose | None = None,
    ) -> None:
        """Keep what is known of the next frame."""
        self.milliseconds.append(milliseconds)
        if result.T_previous_current is not None:
            start = result.T_world_cam @ inverse(result.T_previous_current)
            self._give_first_pose(result, start)
            self.in_metres &= result.scale == "metric"
        self.frames.append(replace(_of_result(frame, result), in_map=in_map))

    def _give_first_pose(self, result: OdometryResult, start: np.ndarray) -> None:
        """Give the frame that a motion starts from its pose, where it is the first of a segment."""
        for i in range(len(self.frames) - 1, -1, -1):
            one = self.frames[i]
            if one.T_world_cam is not None and one.segment == result.segment:
                return
            if result.since is None or abs(one.time - result.since) < SAME_TIME:
                self.frames[i] = replace(
                    one,
                    segment=result.segment,
                    T_world_cam=start,
                    scale=result.scale_state,
                )
                return

    @property
    def posed(self) -> list[FrameMotion]:
        """Frames with a pose."""
        return [one for one in self.frames if one.T_world_cam is not None]

    def segments(self) -> tuple[Segment, ...]:
        """Return the segments that hold a pose, in order."""
        groups = dict[int, list[FrameMotion]]()
        for one in self.posed:
            groups.setdefault(one.segment, []).append(one)
        return tuple(self._segment(number, frames) for number, frames in groups.items())

    def losses(self) -> tuple[Loss, ...]:
        """Return the stretches without a pose, in order."""
        found = list[list[FrameMotion]]()
        before = None
        for one in self.frames:
            if one.T_world_cam is None:
                if before is None or before.T_world_cam is not None:
                    found.append([])
                found[-1].append(one)
            before = one
        return tuple(
            Loss(run[0].time, run[-1].time, len(run), run[0].reason or "no motion leads here")
            for run in found
        )

    def _segment(self, number: int, chosen: list[FrameMotion]) -> Segment:
        """Sum up the poses of one segment."""
        last = self.frames.index(chosen[-1])
        after = [one.reason for one in self.frames[last + 1 :] if one.reason]
        broke = last + 1 < len(self.frames)
        metric = [one.scale.metric for one in chosen]
        state = next((one.scale for one in reversed(chosen) if one.scale.metric), ScaleState())
        return Segment(
            number=number,
            start=chosen[0].time,
            end=chosen[-1].time,
            poses=len(chosen),
            length=path_length(chosen),
            unit="metric" if all(metric) else "mixed" if any(metric) else "relative",
            scale_source=state.source,
            scale_sigma=state.sigma,
            ended=(after or ["no motion leads on"])[0] if broke else "",
        )


def path_length(frames: list[FrameMotion]) -> float:
    """Return the length of the path through frames with a pose: of its metres where it has any."""
    centres = np.array([one.T_world_cam[:3, 3] for one in frames if one.T_world_cam is not None])
    steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    metric = np.array([one.scale.metric for one in frames])[1:]
    return float(steps[metric].sum() if metric.any() else steps.sum())


def _of_result(frame: StreamFrame, result: OdometryResult) -> FrameMotion:
    known = not result.reason and result.T_previous_current is not None
    position, rotation = sigmas(result.covariance)
    return FrameMotion(
        index=frame.index,
        time=frame.time,
        segment=result.segment,
        T_world_cam=result.T_world_cam if known else None,
        sigma_position=position,
        sigma_rotation=rotation,
        scale=result.scale_state,
        tracks=0 if result.points is None else len(result.points.ids),
        reason=result.reason,
    )


def sigmas(covariance: np.ndarray | None) -> tuple[float | None, float | None]:
    """Return the standard deviations of position and rotation: roots of the summed variances.

    Args:
        covariance: of a pose, translation first; None where unknown. (6, 6)
    """
    if covariance is None:
        return None, None
    variances = np.diag(covariance)
    return float(np.sqrt(variances[:3].sum())), float(np.sqrt(variances[3:].sum()))
