# SPDX-License-Identifier: Apache-2.0
"""Two films rendered and reconstructed on the spot, and the networks that come with depthkit."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depthkit.pipelines.demo.folder import MARKER, start_folder
from depthkit.pipelines.demo.report import write_demo_report
from depthkit.pipelines.demo.scores import (
    Result,
    open_shipped,
    score_frames,
    score_pairs,
    write_flights,
)
from depthkit.pipelines.demo.worlds import World, film_and_reconstruct
from depthkit.pipelines.output_folder import check_replaceable
from depthkit.pipelines.rendering import check_renderer
from depthkit.watcher import SILENT, Watcher

__all__ = ["Result", "ShippedDemo", "demo_shipped"]


@dataclass(frozen=True)
class ShippedDemo:
    """What came out of the films and of the shipped networks."""

    worlds: tuple[World, ...]
    """One a film."""
    results: tuple[Result, ...]
    """One a network."""
    seed: int
    seconds: float
    """Wall time of all."""
    report: str
    """The HTML report."""

    def as_json(self) -> dict[str, Any]:
        """Return the object that the command line prints."""
        figures = {world.film.name: world.as_json() for world in self.worlds}
        figures |= {result.world: result.as_json() for result in self.results}
        rest = {"align": "none", "seed": self.seed, "seconds": self.seconds, "report": self.report}
        return figures | rest


def demo_shipped(
    out: Path, *, seed: int = 0, force: bool = False, watcher: Watcher = SILENT
) -> ShippedDemo:
    """Film, reconstruct, render, score, draw.

    Args:
        out: folder to write.
        seed: of the worlds and of the flights.
        force: replace an earlier demo.
        watcher: receives a note for each stage, and one on the renderer.
    """
    begin = time.perf_counter()
    check_replaceable(out, MARKER, force=force)
    pairs, frames = open_shipped()
    check_renderer("auto", lambda text: watcher.note(f"depthkit: note: {text}"))
    start_folder(out)
    watcher.note("1/4 two films: video files of a room and of a street, reconstructed")
    worlds = film_and_reconstruct(out, seed=seed, watcher=watcher)
    watcher.note("2/4 rendering flights that no network was trained on")
    solids = write_flights(out / "stillbox", "stillbox", pairs.manifest.size, seed=seed)
    colons = write_flights(out / "colon", "colon", frames.manifest.size, seed=seed)
    watcher.note("3/4 predicting and scoring")
    results = score_pairs(pairs, solids), score_frames(frames, colons)
    watcher.note("4/4 drawing")
    report = write_demo_report(out, worlds, list(results))
    return ShippedDemo(
        tuple(worlds), results, seed, round(time.perf_counter() - begin, 1), str(report)
    )
