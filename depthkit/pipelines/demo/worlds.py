# SPDX-License-Identifier: Apache-2.0
"""What `depthkit demo` makes of its two films, and how right it is.

The reconstruction sees a video file and a calibration. Its depth is scored in metres as it says it
where it says metres; else times the one factor that a whole film lacks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from depthkit.data.folder import make_folder
from depthkit.errors import DataError
from depthkit.evaluation.report import Cell, Section
from depthkit.pipelines.demo.films import PLAN, Film, film_room, film_street
from depthkit.pipelines.odometry.options import ScaleSources
from depthkit.pipelines.reconstruct.options import ReconstructOptions
from depthkit.pipelines.reconstruct.report import depth_sections, in_words, surface_sections
from depthkit.pipelines.reconstruct.run import REPORT, Reconstruction, reconstruct_all
from depthkit.runtime.result import CONFIDENT_SIGMA
from depthkit.watcher import Watcher

if TYPE_CHECKING:
    from depthkit.data.stream import StreamFrame
    from depthkit.pipelines.reconstruct.placed import Placed
    from depthkit.pipelines.reconstruct.summary import ReconstructSummary
    from depthkit.runtime.result import DepthResult

FAR = 60.0
"""Depth beyond which nothing is scored, metres."""
FILMING, RESULTS = "films", "worlds"
COLUMNS = ("all pixels", "measured pixels", "best constant")
HEADINGS = {
    "room": "A walk through a room: nothing but a video and a calibration",
    "street": "A drive along a street: the height of the camera over the road is known",
}
TEXTS = {
    "room": (
        "The film was rendered a moment ago and is an ordinary video file. Nothing says how large "
        "the room is, so its depth is scored times one factor for the whole film."
    ),
    "street": (
        "The height of the camera, measured once, turns everything into metres: its depth is "
        "scored as it is."
    ),
}


@dataclass(frozen=True)
class WorldScore:
    """How right the depth of one film is: mean relative error over the scored frames."""

    name: str
    scale: str
    """metric: metres, scored as they are; relative: times one factor for the whole film."""
    frames: int
    """Scored frames with depth."""
    abs_rel: float
    """Mean over all pixels up to FAR."""
    abs_rel_measured: float
    """Mean over the measured ones: with a standard deviation up to CONFIDENT_SIGMA."""
    measured: float
    """Share of these."""
    abs_rel_constant: float
    """Error of the constant depth that is best on these very frames."""
    path_percent: float
    """Root mean square error of the positions, in percent of the path's length, after the best
    rigid motion, and scale where the path is relative."""
    seconds: float


@dataclass(frozen=True, eq=False)
class World:
    """One film, what was made of it, and its score."""

    film: Film
    summary: ReconstructSummary
    found: Reconstruction
    score: WorldScore

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return vars(self.score) | {"report": str(Path(self.summary.out) / REPORT)}


@dataclass
class _Judge:
    """Compares depth with the truth, frame by frame; keeps logarithms of ratios and no maps."""

    film: Film
    ratios: list[np.ndarray] = field(default_factory=list)
    """Depth over truth of each scored pixel."""
    truths: list[np.ndarray] = field(default_factory=list)
    measured: list[np.ndarray] = field(default_factory=list)
    places: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    """Position and true position of each frame."""

    def see(self, frame: StreamFrame, placed: Placed, result: DepthResult) -> None:
        """Take a frame with its pose and depth."""
        true = self.film.T_world_cam[frame.index]
        self.places.append((placed.T_world_cam[:3, 3], true[:3, 3]))
        truth = self.film.depth.get(frame.index)
        if truth is None or result.depth is None or result.sigma is None:
            return
        scored = (truth > 0) & (truth < FAR) & np.isfinite(result.depth) & (result.depth > 0)
        self.ratios.append(result.depth[scored] / truth[scored])
        self.truths.append(truth[scored])
        self.measured.append(result.sigma[scored] <= CONFIDENT_SIGMA)


def film_and_reconstruct(out: Path, *, seed: int, watcher: Watcher) -> list[World]:
    """Film both worlds and reconstruct them.

    Args:
        out: the demo's folder.
        seed: of the worlds.
        watcher: receives a note for each stage.
    """
    worlds = []
    for name, make in (("room", film_room), ("street", film_street)):
        watcher.note(f"filming and reconstructing a {name}")
        film = make(out / FILMING / name, PLAN, seed=seed, watcher=watcher)
        judge = _Judge(film)
        options = ReconstructOptions(
            film.video,
            out / RESULTS / name,
            camera=film.camera_file,
            scale=ScaleSources(camera_height=film.camera_height),
        )
        make_folder(options.out.parent)
        quiet = Watcher(watcher.begin, watcher.advance)  # its words are in the report
        summary, found = reconstruct_all(options, quiet, observe=judge.see)
        worlds.append(World(film, summary, found, _score(judge, summary)))
    return worlds


def world_sections(out: Path, worlds: list[World]) -> list[Section]:
    """Draw what was made of the films; return the first half of the report.

    Args:
        out: the demo's folder; pictures go into its pictures/.
        worlds: of both films.
    """
    sections = []
    for world in worlds:
        name, folder = world.film.name, out / "pictures" / world.film.name
        make_folder(folder)
        drawn = surface_sections(folder, world.summary, world.found)
        drawn += depth_sections(folder, world.found, names=("strip",))
        link = f"{RESULTS}/{name}/{REPORT}"
        text = f"{TEXTS[name]}\n\n{in_words(world.summary)}"
        more = f"<p><a href='{link}'>All of its report</a></p>"
        head = Section(HEADINGS[name], text=text, rows=score_rows(world.score), html=more)
        sections += [head, *drawn]
    return sections


def score_rows(score: WorldScore) -> list[list[Cell]]:
    """Return the table of one film, its header first."""
    return [
        [f"{score.frames} frames scored", *COLUMNS],
        [
            f"abs_rel, {'metres as they are' if score.scale == 'metric' else 'one factor a film'}",
            *(score.abs_rel, score.abs_rel_measured, score.abs_rel_constant),
        ],
        ["share of the pixels", "1", f"{score.measured:.2f}", ""],
        ["error of the path, % of its length", f"{score.path_percent:.2f}", "", ""],
    ]


def _score(judge: _Judge, summary: ReconstructSummary) -> WorldScore:
    """Score a film.

    Raises:
        DataError: no scored frame has depth.
    """
    if not judge.ratios:
        raise DataError(f"{judge.film.name}: no scored frame has depth")
    ratios, truths, sure = (
        np.concatenate(one) for one in (judge.ratios, judge.truths, judge.measured)
    )
    if summary.scale == "relative":
        ratios = ratios / np.median(ratios[sure] if sure.any() else ratios)
    errors = np.abs(ratios - 1)
    return WorldScore(
        name=judge.film.name,
        scale=summary.scale,
        frames=len(judge.ratios),
        abs_rel=float(errors.mean()),
        abs_rel_measured=float(errors[sure].mean()) if sure.any() else float("nan"),
        measured=float(sure.mean()),
        abs_rel_constant=_best_constant(truths),
        path_percent=_path_error(judge, with_scale=summary.scale == "relative"),
        seconds=summary.seconds,
    )


def _best_constant(truths: np.ndarray) -> float:
    """Return the least mean relative error of one depth: the median weighted by 1 / truth."""
    order = np.sort(truths.astype(np.float64))
    weight = np.cumsum(1 / order)
    constant = order[np.searchsorted(weight, 0.5 * weight[-1])]
    return float(np.abs(constant / order - 1).mean())


def _path_error(judge: _Judge, *, with_scale: bool) -> float:
    """Return the error of the positions after alignment [Umeyama 1991], percent of the way."""
    from depthkit.evaluation.alignment import umeyama

    found, true = (np.array(one) for one in zip(*judge.places, strict=True))
    fit = umeyama(found, true, with_scale=with_scale)
    away = np.linalg.norm(fit.scale * found @ fit.R.T + fit.t - true, axis=1)
    way = np.linalg.norm(np.diff(true, axis=0), axis=1).sum()
    return float(100 * np.sqrt((away**2).mean()) / way)
