# SPDX-License-Identifier: Apache-2.0
"""What a sweep of one frame compares: sources, mended poses, and the range of inverse depths."""

from dataclasses import dataclass

import cv2
import numpy as np

from depthkit.multiview.pose_correction import Corrected, correct_poses
from depthkit.rigid import inverse
from depthkit.runtime.depth.baseline import Decision
from depthkit.runtime.depth.frame_ring import RingFrame
from depthkit.runtime.depth.sweep import inverse_levels
from depthkit.runtime.depth.sweep_config import SweepConfig
from depthkit.runtime.depth.sweep_map import DepthMap
from depthkit.runtime.depth.sweep_sources import Candidate, choose, look

WIDER = 1.6
"""Factor by which the range of inverse depths exceeds that of the tracks and of the last map."""
MORE = 1.6
"""Largest factor of the number of levels where the range is wider than usual."""
ENDS = (2, 98)
"""Percentiles of inverse depth that make the range."""
FEW = 10
"""Tracked corners below which their inverse depths say nothing."""
USUAL_RESIDUAL, CALM = 1.0, 0.1
"""Residual of poses that no track tells, and error of the best poses, pixels."""
LENGTHWISE = 2.0
"""Error of the baselines' lengths, in pixels of parallax, over the residual of the tracks, which
shows errors across the epipolar lines only; chosen on RedKitchen 0-199."""


@dataclass(frozen=True, eq=False)
class Plan:
    """Frames to compare, with mended poses, and the scene's depth as far as it is known."""

    current: RingFrame
    sources: list[RingFrame]
    corrected: Corrected
    parallax: tuple[float, ...]
    """Mean parallax of each source at the typical depth, pixels."""
    inverse_depth: float
    """A typical one."""

    @property
    def error(self) -> float:
        """Relative error of the scale: that of the given poses over the parallax."""
        residual = self.corrected.before if np.isfinite(self.corrected.before) else USUAL_RESIDUAL
        return LENGTHWISE * (residual + CALM) / float(np.linalg.norm(self.parallax))

    @property
    def decision(self) -> Decision:
        """Which frames are compared, and how well their poses fit."""
        corrected = self.corrected
        return Decision(
            "sweep",
            shifts=tuple(self.current.index - source.index for source in self.sources),
            baselines=tuple(np.linalg.norm(corrected.T_sources_target[:, :3, 3], axis=1).tolist()),
            parallax=self.parallax,
            reason=f"{len(self.sources)} frames by parallax; tracks agree with their poses within "
            f"{corrected.after:.2f} pixels, {corrected.before:.2f} as given",
        )


def make_plan(
    current: RingFrame, past: list[RingFrame], config: SweepConfig, *, known: float
) -> tuple[Plan | None, str]:
    """Choose the sources of a frame and mend their poses; without any, say why.

    Args:
        current: frame to sweep.
        past: earlier frames.
        config: wanted parallaxes and limits.
        known: a typical inverse depth of the last map; 0 without one.
    """
    if not past:
        return None, "no past frame yet"
    T = np.stack([inverse(pose_of(one)) @ pose_of(current) for one in past])
    typical = known if known > 0 else _tracked_depth(current, past, T, len(config.parallaxes))
    if typical is None:
        return None, "the camera has not moved enough yet: no corner shows parallax"
    grey = grey_of(current)
    width = grey.shape[1]
    candidates = look(T, current.frame.K, grey.shape, typical)
    chosen = choose(
        candidates,
        [share * width for share in config.parallaxes],
        least=config.least_parallax * width,
        overlap=config.min_overlap,
    )
    if not chosen:
        return None, _why_none(candidates, config.least_parallax * width)
    corrected = correct_poses(
        grey,
        [grey_of(past[i]) for i in chosen],
        T[chosen],
        K=current.frame.K,
        inverse_depth=typical,
        keep=not config.correct_poses,
    )
    parallax = tuple(candidates[i].parallax for i in chosen)
    return Plan(current, [past[i] for i in chosen], corrected, parallax, typical), ""


def levels_of(plan: Plan, last: DepthMap | None, *, planes: int, nearer: float) -> np.ndarray:
    """Return the inverse depths to try: those of the tracks and of the last map, widened. (N,)

    Args:
        plan: of the frame.
        last: last map in this frame, where there is one.
        planes: number of levels of a usual range.
        nearer: factor by which the near end is farther out.
    """
    tracked = plan.corrected.inverse_depths
    known = [tracked[tracked > 0]] if (tracked > 0).sum() >= FEW else []
    if last is not None:
        sure = last.inverse[last.sure]
        known += [sure] if sure.size >= FEW else []
    if not known:
        known = [np.array([plan.inverse_depth / 3, plan.inverse_depth * 3])]
    ends = np.array([np.percentile(part, ENDS) for part in known])
    count = round(planes * min(nearer, MORE))  # a wider range in about the same steps
    return inverse_levels(ends[:, 0].min() / WIDER, ends[:, 1].max() * WIDER * nearer, count)


def _tracked_depth(
    current: RingFrame, past: list[RingFrame], T: np.ndarray, count: int
) -> float | None:
    """Return a typical inverse depth by tracks into the farthest past frames; None if unknown."""
    # They show most parallax, as long as corners can be followed.
    lengths = np.linalg.norm(T[:, :3, 3], axis=1)
    far = np.argsort(-lengths, kind="stable")[:count]
    if not lengths[far[0]] > 0:
        return None
    views = [grey_of(past[i]) for i in far]
    found = correct_poses(grey_of(current), views, T[far], K=current.frame.K, inverse_depth=0.0)
    known = found.inverse_depths[found.inverse_depths > 0]
    return float(np.median(known)) if len(known) >= FEW else None


def _why_none(candidates: list[Candidate], least: float) -> str:
    """Say why no past frame is of use. least: smallest parallax that counts, pixels."""
    most = max(c.parallax for c in candidates)
    if max(c.overlap for c in candidates) == 0:
        return "no past frame shows any of this one; the camera turned away, or its pose jumped"
    if most < least:
        return f"too little parallax: {most:.1f} pixels at most, {least:.1f} are needed"
    return "no past frame with parallax shows enough of this one; the camera turned away"


def grey_of(frame: RingFrame) -> np.ndarray:
    """Return a frame in grey. (h, w) uint8"""
    return cv2.cvtColor(frame.frame.rgb, cv2.COLOR_RGB2GRAY)


def pose_of(frame: RingFrame) -> np.ndarray:
    """Return T_world_cam. (4, 4)"""
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = frame.R_world_cam, frame.position
    return T
