# SPDX-License-Identifier: Apache-2.0
"""Recordings of places with a truth: pictures, which are queries, and what is a right answer.

Four layouts are told apart by what lies in the folder: `query` and `truth` (Gardens Point), `A` and
`B` (pictures of one place years apart, as LEVIR-CD), a sequence folder with poses, and pictures in
`images` beside `poses.txt` (one pose a picture, as AirSim writes). A second folder is a database.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depthkit.data.image_io import list_images, read_rgb
from depthkit.data.sequence import open_sequence
from depthkit.errors import DataError
from depthkit.evaluation.place_truth import (
    PlaceTruth,
    first_return,
    truth_by_index,
    truth_by_poses,
    truth_of_returns,
)
from depthkit.pipelines.score.options import PlaceRules
from depthkit.trajectory.files import load_kitti
from depthkit.trajectory.text import read_table

PAIRS = (("query", "truth"), ("query", "database"), ("A", "B"))
"""Names of the two folders of a matched recording: queries, and the picture right for each."""
LAYOUTS = (
    "query/ and truth/, A/ and B/, a sequence folder with poses, or images/ beside poses.txt; or "
    "name a second folder with --database"
)


@dataclass(frozen=True)
class View:
    """A picture of a place, and how it is held."""

    path: Path
    turns: int = 0
    """Quarter turns against the clock."""

    def read(self) -> np.ndarray:
        """Read the picture and turn it. (H, W, 3) uint8 RGB"""
        return np.ascontiguousarray(np.rot90(read_rgb(self.path), self.turns))


@dataclass(frozen=True, eq=False)
class PlaceData:
    """Pictures, which of them are asked and which answer, and what is right."""

    name: str
    """Name of the folder."""
    pictures: tuple[View, ...]
    """All pictures."""
    query: np.ndarray
    """Numbers of the queries. (Q,) int"""
    database: np.ndarray
    """Numbers of the places. (D,) int"""
    learn: np.ndarray
    """Numbers of the pictures known before the first query with an answer: vocabularies and
    projections are learnt on these. (L,) int"""
    truth: PlaceTruth
    """What is right."""
    rule: str
    """What is right, in words."""
    notes: tuple[str, ...] = ()
    """What was assumed."""


@dataclass(frozen=True, eq=False)
class _Recording:
    """Pictures of one folder with their poses, where there are any."""

    pictures: tuple[Path, ...]
    poses: np.ndarray | None
    """T_world_cam; NaN where unknown. (N, 4, 4)"""
    is_metric: bool


def load_places(data: Path, database: Path | None, rules: PlaceRules) -> PlaceData:
    """Find pictures and truth of one recording or two.

    Args:
        data: a folder in one of the layouts, or the queries where a database is given.
        database: a second recording of the same places.
        rules: what counts as one place.

    Raises:
        DataError: no such layout, or nothing that matches.
    """
    for folder in (data, database):
        if folder is not None and not folder.is_dir():
            raise DataError(f"{folder}: no such folder; give one with {LAYOUTS}")
    if database is not None:
        return _two_recordings(data, database, rules)
    found = _find_pair(data)
    if found is not None:
        query, answers = map(_pictures, found)
        return _matched(data.name, query, answers, rules)
    if rules.turned:
        raise DataError(f"{data}: --turned is for matched pictures of a camera that looks down")
    return _one_recording(data, rules)


def _find_pair(data: Path) -> tuple[Path, Path] | None:
    """Find two folders of matched pictures here, or in the only folder that lies here."""
    inner = [path for path in sorted(data.iterdir()) if path.is_dir()]
    for root in (data, *(inner if len(inner) == 1 else [])):
        for query, answers in PAIRS:
            if (root / query).is_dir() and (root / answers).is_dir():
                return root / query, root / answers
    return None


def _pictures(folder: Path) -> tuple[Path, ...]:
    pictures = tuple(list_images(folder))
    if not pictures:
        raise DataError(f"{folder}: holds no pictures; expected those of places")
    return pictures


def _matched(
    name: str, query: tuple[Path, ...], answers: tuple[Path, ...], rules: PlaceRules
) -> PlaceData:
    """Match two lists of pictures by equal names, else in order."""
    stems = {path.stem: path for path in answers}
    common = [path for path in query if path.stem in stems]
    notes: tuple[str, ...] = ()
    if common:
        left_out = len(query) + len(answers) - 2 * len(common)
        query, answers = tuple(common), tuple(stems[path.stem] for path in common)
        if left_out:
            notes = (f"{left_out} pictures without one of the same name were left out",)
    elif len(query) != len(answers):
        raise DataError(
            f"{name}: {len(query)} queries and {len(answers)} places share no names; give both "
            "the same names, or poses"
        )
    within = f"within {rules.tolerance} pictures of it" if rules.tolerance else "alone"
    turned = ", asked in four quarter turns" if rules.turned else ""
    asked = [View(path, turns) for path in query for turns in range(4 if rules.turned else 1)]
    places = np.arange(len(asked), len(asked) + len(answers))
    truth = truth_by_index(len(answers), rules.tolerance)
    return PlaceData(
        name=name,
        pictures=(*asked, *map(View, answers)),
        query=np.arange(len(asked)),
        database=places,
        learn=places,
        truth=truth.repeated(len(asked) // len(query)),
        rule=f"right is the matching picture {within}{turned}",
        notes=notes,
    )


def _one_recording(data: Path, rules: PlaceRules) -> PlaceData:
    """Ask the frames of a recording for what was passed before."""
    recording = _read_recording(data)
    if recording is None or recording.poses is None:
        raise DataError(f"{data}: no places with a truth; expected {LAYOUTS}")
    recording, notes = _with_known_poses(recording, data)
    poses = _poses_of(recording)
    truth = truth_of_returns(poses, radius=rules.radius, angle=rules.angle, apart=rules.path_apart)
    everything = np.arange(len(poses))
    before = first_return(truth.right & truth.candidates)
    return PlaceData(
        name=data.name,
        pictures=tuple(map(View, recording.pictures)),
        query=everything,
        database=everything,
        learn=everything[:before],
        truth=truth,
        rule=f"{_posed_rule(rules)}, passed at least {rules.path_apart:g} m of path before",
        notes=notes,
    )


def _two_recordings(data: Path, database: Path, rules: PlaceRules) -> PlaceData:
    """Ask a recording for the places of another, by poses in one world or by matching pictures."""
    query, places = _read_recording(data), _read_recording(database)
    if query is None or places is None or query.poses is None or places.poses is None:
        return _matched(data.name, _any_pictures(data), _any_pictures(database), rules)
    query, notes = _with_known_poses(query, data)
    places, more = _with_known_poses(places, database)
    truth = truth_by_poses(
        _poses_of(query), _poses_of(places), radius=rules.radius, angle=rules.angle
    )
    count, total = len(query.pictures), len(query.pictures) + len(places.pictures)
    return PlaceData(
        name=f"{data.name} in {database.name}",
        pictures=tuple(map(View, (*query.pictures, *places.pictures))),
        query=np.arange(count),
        database=np.arange(count, total),
        learn=np.arange(count, total),
        truth=truth,
        rule=_posed_rule(rules),
        notes=(*notes, *more, "the poses of both recordings are taken to be of one world"),
    )


def _posed_rule(rules: PlaceRules) -> str:
    return f"right is a place within {rules.radius:g} m and {rules.angle:g} degrees"


def _any_pictures(folder: Path) -> tuple[Path, ...]:
    """List the pictures of a folder, or of the frames or images in it."""
    inner = [folder / name for name in ("frames", "images") if (folder / name).is_dir()]
    return _pictures(inner[0] if inner else folder)


def _read_recording(folder: Path) -> _Recording | None:
    """Read a sequence folder, or pictures beside one pose each; None where it is neither."""
    if (folder / "camera.yaml").is_file():
        sequence = open_sequence(folder)
        return _Recording(sequence.frames, sequence.poses, sequence.has_metric_poses)
    file, images = folder / "poses.txt", folder / "images"
    if not (file.is_file() and images.is_dir()):
        return None
    pictures, rows = _pictures(images), len(read_table(file).rows)
    if len(pictures) != rows:
        raise DataError(
            f"{folder}: {len(pictures)} pictures and {rows} rows of poses; write one for each"
        )
    known = load_kitti(file)
    poses = np.full((rows, 4, 4), np.nan)
    poses[known.stamps.astype(int)] = known.T_world_cam
    return _Recording(pictures, poses, True)


def _with_known_poses(recording: _Recording, folder: Path) -> tuple[_Recording, tuple[str, ...]]:
    """Leave out frames without a pose, and say so."""
    poses = _poses_of(recording)
    known = np.isfinite(poses).all(axis=(1, 2))
    if known.sum() < 2:
        raise DataError(f"{folder}: {known.sum()} frames have poses; give it poses of more")
    pictures = tuple(path for path, keep in zip(recording.pictures, known, strict=True) if keep)
    notes = []
    if not known.all():
        notes.append(f"{folder}: {int((~known).sum())} frames without a pose were left out")
    if not recording.is_metric:
        notes.append(f"{folder}: its poses are no metres; radius and path are in their unit")
    return _Recording(pictures, poses[known], recording.is_metric), tuple(notes)


def _poses_of(recording: _Recording) -> np.ndarray:
    if recording.poses is None:
        raise RuntimeError("a recording without poses is matched by its pictures")
    return recording.poses
