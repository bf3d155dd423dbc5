# SPDX-License-Identifier: Apache-2.0
"""A map that outlives its session: keyframes with features and points, in the map's frame.

`saved_from` takes it from a loop closer at the end of a session, `restore` gives it to that of the
next one: the saved keyframes stay where they are, and loops lay the new session's segments into
them. `saved_map_files` puts it on disk.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from depthkit.camera import Camera
from depthkit.errors import DataError
from depthkit.multiview.similarity import rigid_of, scale_of
from depthkit.runtime.odometry.loop import LoopCloser
from depthkit.runtime.odometry.place_map import FEATURES_KEPT
from depthkit.runtime.odometry.place_view import PlaceView

FOCAL, CENTRE = 0.02, 0.02
"""Largest relative difference of two focal lengths, and of two principal points as a part of the
picture, of one camera; two calibrations of one camera differ by a few tenths of a percent, and a
focal length off by 5 % bends the path."""


@dataclass(frozen=True)
class SavedSegment:
    """Keyframes of one segment of one session."""

    session: int
    """Session that made it, from 0."""
    map: int
    """Number of the segment in whose frame it lies; its own where it was joined to none."""
    metric: bool
    """Whether lengths in that frame are metres."""


@dataclass(frozen=True, eq=False)
class SavedMap:
    """Keyframes of earlier sessions."""

    camera: Camera
    """Undistorted camera at its full size."""
    detector: str
    """Name of the detector of the features."""
    place: str
    """Name of the learnt descriptor of places; empty where VLAD of the features serves."""
    segments: tuple[SavedSegment, ...]
    """Segments by number."""
    views: tuple[PlaceView, ...]
    """Keyframes in the order of time; ids 0, 1, ...; poses and points in the frame and unit of
    their map, poses as loops have corrected them."""
    codes: np.ndarray | None = None
    """Learnt descriptors of the keyframes. (N, D) float32"""

    @property
    def sessions(self) -> int:
        """Number of sessions."""
        return 1 + max((one.session for one in self.segments), default=-1)

    @property
    def points(self) -> int:
        """Number of features with a position."""
        return sum(len(view.features) for view in self.views)

    @property
    def unit(self) -> str:
        """Unit of lengths: metric, relative, or mixed where its parts differ."""
        kinds = {one.metric for one in self.segments}
        return "mixed" if len(kinds) > 1 else "metric" if kinds == {True} else "relative"


@dataclass(frozen=True, eq=False)
class MapPose:
    """Where a frame is in a saved map."""

    T_map_cam: np.ndarray
    """Pose in the map's frame and unit. (4, 4)"""
    map: int
    """Number of the segment of the map in whose frame it is."""
    metric: bool
    """Whether that frame is in metres."""


def check_same_camera(saved: SavedMap, size: tuple[int, int], K: np.ndarray, where: str) -> None:
    """Refuse a map of another camera.

    Args:
        saved: the map.
        size: (H, W) of the frames.
        K: their intrinsics, pixels. (3, 3)
        where: the map, for the message.

    Raises:
        DataError: size, focal length or principal point differ.
    """
    camera = saved.camera
    if size != camera.size:
        raise DataError(
            f"{where}: is the map of a camera of {camera.width}x{camera.height}, the frames have "
            f"{size[1]}x{size[0]}; give the frames at that size, or another folder for a new map"
        )
    focal = np.array([K[0, 0], K[1, 1]]) / (camera.fx, camera.fy)
    centre = (K[:2, 2] - (camera.cx, camera.cy)) / size[::-1]
    if (np.abs(np.log(focal)) > FOCAL).any() or (np.abs(centre) > CENTRE).any():
        raise DataError(
            f"{where}: is the map of another camera (fx fy cx cy {_four(camera.K)}; the frames' "
            f"{_four(K)}); use the calibration that made it, or another folder for a new map"
        )


def check_same_kind(saved: SavedMap, *, detector: str, width: int, place: str, where: str) -> None:
    """Refuse a map whose descriptors are not those that are computed now.

    Args:
        saved: the map.
        detector: name of the detector in use.
        width: numbers of its descriptors.
        place: name of the descriptor of places in use; empty for none.
        where: the map, for the message.

    Raises:
        DataError: another detector or length, or another descriptor of places.
    """
    own = saved.views[0].features.descriptors.shape[1] if saved.views else width
    if saved.detector != detector or own != width:
        raise DataError(
            f"{where}: its descriptors are {own} numbers of {saved.detector}, in use are {width} "
            f"of {detector}; give the features that made it (--features), or another folder"
        )
    if saved.place != place:
        names = [f"{one}" if one else "none" for one in (saved.place, place)]
        raise DataError(
            f"{where}: its descriptor of places is {names[0]}, in use is {names[1]}; give the one "
            "that made it (--places), or another folder"
        )


def _four(K: np.ndarray) -> str:
    return " ".join(f"{one:.1f}" for one in (K[0, 0], K[1, 1], K[0, 2], K[1, 2]))


def restore(closer: LoopCloser, saved: SavedMap) -> None:
    """Give an empty loop closer the keyframes of a map; numbers below 0 tell them from new ones."""
    views, segments = len(saved.views), len(saved.segments)
    for i, view in enumerate(saved.views):
        moved = replace(view, id=view.id - views, segment=view.segment - segments)
        code = None if saved.codes is None else saved.codes[i]
        closer.keep(moved, code, map=saved.segments[view.segment].map - segments)


def saved_from(
    closer: LoopCloser, camera: Camera, *, detector: str, place: str, before: SavedMap | None
) -> SavedMap:
    """Collect the map at the end of a session.

    Args:
        closer: holds all keyframes; those of `before` were given to it by `restore`.
        camera: undistorted camera at its full size.
        detector: name of the detector in use.
        place: name of the descriptor of places in use; empty for none.
        before: the map that the session began with.
    """
    kept = list(closer.places.views.values())
    session = 0 if before is None else before.sessions
    # 1. Segments are numbered anew in the order of their keyframes.
    old = list(dict.fromkeys(view.segment for view in kept))
    roots = {segment: closer.graph.maps[segment] for segment in old}
    names = list(dict.fromkeys([*old, *roots.values()]))
    names.sort()
    number = {segment: i for i, segment in enumerate(names)}
    # 2. Poses and points in the frame and unit of their map.
    metric = _metric_maps(kept, roots)
    segments = []
    for name in names:
        own = session if name >= 0 or before is None else before.segments[name].session
        root = roots.get(name, name)
        segments.append(SavedSegment(own, number[root], metric.get(root, False)))
    views = [
        _in_map(
            view, closer.graph.poses[view.id], i, number[view.segment], metric[roots[view.segment]]
        )
        for i, view in enumerate(kept)
    ]
    codes = [closer.places.code(view.id) for view in kept]
    stacked = (
        None if not codes or codes[0] is None else np.stack([c for c in codes if c is not None])
    )
    return SavedMap(camera, detector, place, tuple(segments), tuple(views), stacked)


def _metric_maps(views: Sequence[PlaceView], roots: dict[int, int]) -> dict[int, bool]:
    """Say of each map whether it is in metres: as the segment whose frame it has."""
    metric: dict[int, bool] = {}
    for view in views:
        metric.setdefault(roots[view.segment], view.metric)
    for view in views:
        if view.segment == roots[view.segment]:
            metric[view.segment] = view.metric
    return metric


def _in_map(
    view: PlaceView, S_map_cam: np.ndarray, id: int, segment: int, metric: bool
) -> PlaceView:
    """Bring a keyframe to the frame and unit of its map."""
    thin = view.thinned(FEATURES_KEPT)
    points = thin.points * np.float32(scale_of(S_map_cam))
    pose = rigid_of(S_map_cam)
    return replace(thin, id=id, segment=segment, metric=metric, T_world_cam=pose, points=points)
