# SPDX-License-Identifier: Apache-2.0
"""The HTML report of `reconstruct`: one file that opens without network, and its pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from depthkit.data.folder import make_folder
from depthkit.data.image_io import encode, write_atomic
from depthkit.evaluation.path_plots import NAMED, plot_path, plot_states
from depthkit.evaluation.report import Cell, Picture, Section, write_report
from depthkit.evaluation.scene_mesh import SceneMesh, draw_from_above
from depthkit.evaluation.scene_view import ScenePath, scene_view
from depthkit.installation import install_line
from depthkit.pipelines.odometry.summary import unit_of
from depthkit.runtime.result import CONFIDENT_SIGMA

if TYPE_CHECKING:
    from depthkit.pipelines.reconstruct.run import Reconstruction
    from depthkit.pipelines.reconstruct.summary import PartSummary, ReconstructSummary

PICTURES = "pictures"
TOP_WIDTH = 900  # pixels of the view from above
LISTED = 20  # segments of the table
STRIP = (
    "upper row: frames; middle: their depth, near is bright; lower: the pixels of it that were "
    f"measured, with a standard deviation of {CONFIDENT_SIGMA:.0%} or less, which alone make the "
    "surface"
)
SHEET = "the whole run, each frame with its depth; framed orange: no depth, framed red: no pose"
READING = (
    "The path was found first, by geometry alone, in one pass over the frames; then every frame "
    "was compared with earlier ones seen from elsewhere on the path, which gives depth where there "
    "is texture and parallax, and a standard deviation everywhere. Depth between measured pixels "
    "is filled in from its neighbours: good to look at, not to measure in. Only measured pixels "
    "are part of the surface.\n\n"
    "Scale: unknown = lengths are relative, up to one factor; observed = a source measures the "
    "step now; held = none at the moment, the last factor is kept; lost = held for too long, or "
    "the sources contradict each other. The plot shows the state as it was at each moment; depth "
    "and surface use the final one for all of a segment."
)


def write_reconstruct_report(
    folder: Path, summary: ReconstructSummary, found: Reconstruction
) -> None:
    """Write the pictures and report.html.

    Args:
        folder: that of the run.
        summary: figures and words.
        found: what the pictures are drawn from.
    """
    from depthkit.pipelines.reconstruct.run import REPORT

    make_folder(folder / PICTURES)
    title = f"Reconstruction of {Path(summary.source).name}"
    sections = reconstruct_sections(folder / PICTURES, summary, found)
    write_report(folder / REPORT, title, sections, subtitle=_lead(summary))


def reconstruct_sections(
    pictures: Path, summary: ReconstructSummary, found: Reconstruction
) -> list[Section]:
    """Draw the pictures of a reconstruction; return the sections of its report.

    Args:
        pictures: folder for them.
        summary: figures and words.
        found: what they are drawn from.
    """
    words = Section("What is metres, what failed, what was assumed", text=in_words(summary))
    sections = [*surface_sections(pictures, summary, found), words]
    sections += depth_sections(pictures, found, names=("strip", "sheet"))
    sections += _path_sections(pictures, summary, found)
    sections.append(Section("Figures", rows=_figure_rows(summary)))
    if len(summary.segments) > 1:
        sections.append(Section("Segments", rows=_segment_rows(summary)))
    return [*sections, Section("How to read it", text=READING)]


def surface_sections(
    pictures: Path, summary: ReconstructSummary, found: Reconstruction
) -> list[Section]:
    """Return the 3-D view and the view from above; none where there is no surface."""
    surface = found.surfaces.get(summary.main.number)
    if surface is None:
        return []
    mesh = SceneMesh(surface.mesh.vertices, surface.mesh.faces, surface.mesh.colours, surface.voxel)
    view = scene_view(mesh, _scene_path(summary, found))
    return [
        Section("The surface and the path", html=view),
        Section("From above", pictures=[_top_view(pictures, mesh, found, summary)]),
    ]


def _lead(summary: ReconstructSummary) -> str:
    unit = unit_of(summary.scale, summary.scale_source, summary.scale_sigma)
    return (
        f"{summary.poses} of {summary.frames} frames with a pose, {summary.depth_frames} with "
        f"depth; lengths: {unit}"
    )


def in_words(summary: ReconstructSummary) -> str:
    """Say what is metres, what failed, what was assumed: a paragraph each."""
    failed = summary.failed or ("nothing.",)
    return "\n\n".join(
        [
            *summary.metric,
            "What failed or is weak: " + " ".join(failed),
            "What was assumed: " + " ".join(summary.assumed),
        ]
    )


def _scene_path(summary: ReconstructSummary, found: Reconstruction) -> ScenePath:
    """Return the path of the largest segment; a stretch without poses breaks the line."""
    rows = found.placed.of(summary.main.number)
    order = {one.time: i for i, one in enumerate(found.log.frames)}
    place = np.array([order[t] for t, _ in rows])
    begins = np.append(True, np.diff(place) > 1)
    camera = found.camera
    return ScenePath(np.stack([one.T_world_cam for _, one in rows]), begins, camera.K, camera.size)


def _top_view(
    pictures: Path, mesh: SceneMesh, found: Reconstruction, summary: ReconstructSummary
) -> Picture:
    rows = found.placed.of(summary.main.number)
    path = np.array([one.T_world_cam[:3, 3] for _, one in rows])
    top = draw_from_above(mesh, path, width=TOP_WIDTH)
    file = pictures / "from_above.png"
    write_atomic(file, encode(top.picture, "png"))
    across = top.picture.shape[1] / top.scale
    unit = "m" if summary.scale == "metric" else "units of the path (not metres)"
    caption = (
        f"the surface from above, {across:.3g} {unit} across; the path from green to orange; "
        "surfaces that face down, such as ceilings, are left out"
    )
    return Picture(file, caption)


def depth_sections(
    pictures: Path, found: Reconstruction, *, names: tuple[str, ...]
) -> list[Section]:
    """Draw small pictures of depth. names: of them, strip and sheet."""
    strip = found.depth.strip
    drawn = {"strip": (strip.draw_strip(), STRIP), "sheet": (strip.draw_sheet(), SHEET)}
    shown = []
    for name in names:
        picture, caption = drawn[name]
        if picture is not None:
            file = pictures / f"{name}.jpg"
            write_atomic(file, encode(picture, "jpg"))
            shown.append(Picture(file, caption))
    return [Section("Depth", pictures=shown)]


def _path_sections(
    pictures: Path, summary: ReconstructSummary, found: Reconstruction
) -> list[Section]:
    """Draw path and states; a sentence in their place where matplotlib is missing."""
    try:
        plots = [_plot_path(pictures, summary, found), _plot_states(pictures, found)]
    except ModuleNotFoundError as error:
        if not str(error.name).startswith("matplotlib"):
            raise
        text = f"No plots: matplotlib is not installed; run: {install_line('evaluate')}"
        return [Section("The path over time", text=text)]
    return [Section("The path over time", pictures=plots)]


def _plot_path(pictures: Path, summary: ReconstructSummary, found: Reconstruction) -> Picture:
    paths = {
        one.number: np.array([pose.T_world_cam[:3, 3] for _, pose in found.placed.of(one.number)])
        for one in summary.segments[:NAMED]
    }
    unit = "m" if summary.scale == "metric" else "relative"
    caption = "the path as depth and surface use it"
    if len(summary.segments) > 1:
        caption += f"; {len(summary.segments)} segments, each from an origin of its own"
    return Picture(plot_path(pictures / "path.png", paths, {}, unit=unit), caption)


def _plot_states(pictures: Path, found: Reconstruction) -> Picture:
    frames, nan = found.log.frames, float("nan")
    path = plot_states(
        pictures / "states.png",
        np.array([one.time for one in frames]),
        [one.scale.state for one in frames],
        np.array([nan if one.scale.sigma is None else one.scale.sigma for one in frames]),
        np.array([one.tracks for one in frames]),
        np.array([one.time in found.placed.by_stamp for one in frames]),
    )
    return Picture(path, "state of the scale with its sigma; landmarks seen; frames without a pose")


def _figure_rows(summary: ReconstructSummary) -> list[list[Cell]]:
    main, camera = summary.main, summary.camera
    unit = unit_of(summary.scale, summary.scale_source, summary.scale_sigma)
    sigma = "" if camera.sigma is None else f", +- {100 * camera.sigma:.1f} %"
    rows: list[list[Cell]] = [
        ["", "value", ""],
        ["frames with a pose", f"{summary.poses} of {summary.frames}", ""],
        ["frames with depth", str(summary.depth_frames), ""],
        [
            f"pixels measured to {CONFIDENT_SIGMA:.0%} or better",
            f"{100 * main.confident:.0f} %",
            "of each frame",
        ],
        ["length of the path", f"{main.path_length:.4g}", unit],
        ["focal length", f"{camera.focal:.1f}", f"pixels, by {camera.origin}{sigma}"],
        ["view", f"{camera.field_of_view:.1f}", "degrees wide"],
        ["segments", str(len(summary.segments)), ""],
    ]
    if main.voxel is not None:
        box = " x ".join(f"{side:.3g}" for side in main.size)
        rows += [
            ["surface", f"{main.faces} triangles", f"{main.vertices} vertices"],
            ["finest detail", f"{main.voxel:.3g}", unit],
            ["box around it", box, "x, y (down), z"],
        ]
    return [*rows, ["time", f"{summary.seconds:.1f}", "seconds"]]


def _segment_rows(summary: ReconstructSummary) -> list[list[Cell]]:
    rows: list[list[Cell]] = [
        ["segment", "from [s]", "to [s]", "poses", "with depth", "length", "unit", "files in"]
    ]
    for one in summary.segments[:LISTED]:
        rows.append([*_times(one), str(one.poses), str(one.depth_frames), *_measures(one)])
    left = len(summary.segments) - LISTED
    return rows if left <= 0 else [*rows, ["", "", "", f"and {left} more", "", "", "", ""]]


def _times(one: PartSummary) -> list[Cell]:
    return [str(one.number), f"{one.start:.3f}", f"{one.end:.3f}"]


def _measures(one: PartSummary) -> list[Cell]:
    folder = one.folder or "too short"
    return [f"{one.path_length:.4g}", unit_of(one.unit, one.scale_source, one.scale_sigma), folder]
