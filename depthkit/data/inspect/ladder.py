# SPDX-License-Identifier: Apache-2.0
"""How parallax grows with the gap between two frames, and the training shift that follows from it.

Corners of a few anchor frames are followed frame by frame; at each gap of LADDER the motion back to
the anchor is measured. Parallax is judged in pixels of an image with 128 lines, the size networks
of this kind are trained at. Below about 2.5 px the photometric error of a wrong depth drowns in
noise and interpolation, above about 12 px it has left the basin in which gradients point home.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from depthkit.data.inspect.pictures import Picture, View
from depthkit.multiview.tracks import track
from depthkit.multiview.two_view import (
    MIN_TRACKS,
    PairMotion,
    flow_of_cells,
    measure_motion,
    rotation_residual,
)

LADDER = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40)
MIN_QUARTILE = 2.5
"""Training pixels that three anchors in four must exceed."""
MIN_MEDIAN = 3.0
WEAK_MEDIAN = 2.0
"""Training pixels: below this a sequence teaches nothing even at its longest gap."""
MAX_MEDIAN = 12.0
MIN_KEPT = 0.5
"""Share of tracks that must survive; a warp cannot explain what has left the view."""
LOST_KEPT = 0.25
STILL = 0.3
"""Reduced pixels of coherent flow that a motionless camera may show."""
TURN = 3.0
"""Training pixels of flow above which a pure rotation is distinguished from a slow camera."""
TURN_ERROR = 0.03
"""Share of the flow that a pure rotation may leave unexplained; a plane passing by leaves more."""


@dataclass(frozen=True)
class GapFigures:
    """Medians over the anchors that move, at one gap."""

    gap: int
    pairs: int
    moving: int
    """Pairs that are neither still nor a rotation on the spot."""
    parallax_px: float
    """Pixels of the sequence's own frames."""
    parallax_train: float
    """The same in pixels of an image with 128 lines."""
    parallax_train_quartile: float
    flow_px: float
    flow_train: float
    rotation_deg: float
    kept: float
    """Share of the corners still tracked."""


@dataclass(frozen=True)
class Pair:
    """One measured pair of frames; kept is the share of tracks that survived."""

    a: int
    b: int
    kept: float
    flow: float
    """Coherent flow, reduced pixels; NaN if unmeasured."""
    motion: PairMotion | None
    points_a: np.ndarray
    points_b: np.ndarray


class Chain:
    """Corners of one anchor frame on their way through the following frames."""

    def __init__(self, anchor: int, picture: Picture) -> None:
        self.anchor, self.frame, self.picture = anchor, anchor, picture
        self.start = self.points = picture.corners
        self.alive = np.ones(len(self.start), bool)

    def advance(self, picture: Picture) -> None:
        """Follow the corners into the next frame."""
        index = np.flatnonzero(self.alive)
        found, kept = track(self.picture.structure, picture.structure, self.points[index])
        points, alive = self.points.copy(), self.alive.copy()
        points[index], alive[index] = found, kept
        self.points, self.alive, self.picture = points, alive, picture
        self.frame += 1

    def measure(self, view: View) -> Pair:
        """Measure the motion from the anchor to the frame reached."""
        a, b = self.start[self.alive], self.points[self.alive]
        return measured_pair(self.anchor, self.frame, a, b, len(self.start), view)


def measured_pair(
    a: int, b: int, points_a: np.ndarray, points_b: np.ndarray, total: int, view: View
) -> Pair:
    """Build the record of frames a and b from the tracks that survived out of `total`."""
    return Pair(
        a=a,
        b=b,
        kept=len(points_a) / max(total, 1),
        flow=flow_of_cells(points_a, points_b, view.size),
        motion=measure_motion(points_a, points_b, view.K),
        points_a=points_a,
        points_b=points_b,
    )


def is_turn(pair: Pair, view: View) -> bool:
    """Whether the pair shows a rotation on the spot: much flow, and a rotation explains it all."""
    m = pair.motion
    return m is not None and m.is_rotation and _may_turn(m.displacement, m.rotation_error, view)


def shows_turn(points_a: np.ndarray, points_b: np.ndarray, view: View) -> bool:
    """`is_turn` of tracks alone; cheap where the answer is no."""
    if len(points_a) < MIN_TRACKS:
        return False
    displacement = float(np.median(np.linalg.norm(points_b - points_a, axis=1)))
    if not _may_turn(displacement, 0.0, view):
        return False
    if not _may_turn(displacement, rotation_residual(points_a, points_b, view.K), view):
        return False
    motion = measure_motion(points_a, points_b, view.K)
    return motion is not None and motion.is_rotation


def _may_turn(displacement: float, rotation_error: float, view: View) -> bool:
    return displacement * view.to_train >= TURN and rotation_error <= TURN_ERROR * displacement


def climb(
    anchors: Iterable[int],
    read: Callable[[int], Picture | None],
    view: View,
    *,
    gaps: Iterable[int],
    enough: Callable[[GapFigures], bool],
) -> tuple[list[GapFigures], list[list[Pair]]]:
    """Measure gap after gap until `enough`.

    Args:
        anchors: frame indices to start from.
        read: returns frame i, None where it is broken or past the end.
        view: the reduced image.
        gaps: rising gaps to measure at, frames.
        enough: stops the climb after the gap it is true for.

    Returns:
        The figures and the pairs of each gap.
    """
    chains = [Chain(i, picture) for i in anchors if (picture := read(i)) is not None]
    figures: list[GapFigures] = []
    pairs: list[list[Pair]] = []
    for gap in gaps:
        chains = [chain for chain in chains if _reach(chain, chain.anchor + gap, read)]
        if not chains:
            break
        pairs.append([chain.measure(view) for chain in chains])
        figures.append(gap_figures(gap, pairs[-1], view))
        if enough(figures[-1]):
            break
    return figures, pairs


def gap_figures(gap: int, pairs: list[Pair], view: View) -> GapFigures:
    """Summarise the pairs of one gap; figures of motion are over the moving ones."""
    measured = [pair for pair in pairs if pair.motion is not None]
    moving = [p for p in measured if p.flow > STILL and not is_turn(p, view)]
    parallax = np.array([p.motion.parallax for p in moving if p.motion is not None])
    rotation = [p.motion.rotation_deg for p in moving if p.motion is not None]
    return GapFigures(
        gap=gap,
        pairs=len(pairs),
        moving=len(moving),
        parallax_px=_quantile(parallax * view.to_full, 0.5),
        parallax_train=_quantile(parallax * view.to_train, 0.5),
        parallax_train_quartile=_quantile(parallax * view.to_train, 0.25),
        flow_px=_quantile([p.flow * view.to_full for p in moving], 0.5),
        flow_train=_quantile([p.flow * view.to_train for p in moving], 0.5),
        rotation_deg=_quantile(rotation, 0.5),
        kept=_quantile([p.kept for p in pairs], 0.5),
    )


def choose_gap(figures: list[GapFigures]) -> tuple[int | None, str]:
    """Choose the smallest gap with useful parallax and enough overlap.

    Returns:
        gap: frames, None if no gap will do.
        reason: one clause for the user.
    """
    usable = [f for f in figures if f.kept >= MIN_KEPT or f.gap == 1 and f.kept >= LOST_KEPT]
    for f in usable:
        if f.parallax_train_quartile >= MIN_QUARTILE and f.parallax_train >= MIN_MEDIAN:
            size = "large" if f.parallax_train > MAX_MEDIAN else "median"
            return f.gap, f"{size} parallax {f.parallax_train:.1f} px at 128 lines"
    best = max(
        (f for f in usable if f.parallax_train >= WEAK_MEDIAN),
        key=lambda f: f.parallax_train,
        default=None,
    )
    if best is not None:
        return best.gap, f"weak parallax, {best.parallax_train:.1f} px at 128 lines"
    return None, _why_none(figures, usable)


def is_enough(figures: GapFigures) -> bool:
    """Whether longer gaps cannot be the answer: this one is, or the tracks are lost."""
    return choose_gap([figures])[0] is not None and not _is_weak(figures) or is_lost(figures)


def is_lost(figures: GapFigures) -> bool:
    """Whether too few tracks are left for a longer gap to be measured."""
    return figures.kept < LOST_KEPT


def _is_weak(f: GapFigures) -> bool:
    return f.parallax_train_quartile < MIN_QUARTILE or f.parallax_train < MIN_MEDIAN


def _why_none(figures: list[GapFigures], usable: list[GapFigures]) -> str:
    if not figures:
        return "too few frames"
    if figures[0].kept == 0:
        return "nothing in the frames can be tracked"
    if not usable:
        return f"neighbouring frames share too little (tracks kept {100 * figures[0].kept:.0f} %)"
    if not any(f.moving for f in figures):
        return "the camera does not move"
    largest = max(usable, key=lambda f: np.nan_to_num(f.parallax_train))
    return (
        f"parallax stays at {np.nan_to_num(largest.parallax_train):.1f} px (128 lines) "
        f"up to a gap of {largest.gap}"
    )


def _reach(chain: Chain, frame: int, read: Callable[[int], Picture | None]) -> bool:
    while chain.frame < frame:
        picture = read(chain.frame + 1)
        if picture is None:
            return False
        chain.advance(picture)
    return True


def _quantile(values: np.ndarray | list[float], q: float) -> float:
    return float(np.quantile(values, q)) if len(values) else float("nan")
