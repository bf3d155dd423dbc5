# SPDX-License-Identifier: Apache-2.0
"""Which topic of a bag says how the camera moved, and its poses at the times of the frames.

Odometry first, as a node takes it; else a topic of stamped poses or transforms, a path, or the tree
of /tf. What holds poses and is not read is named. Stamps of poses and of frames must be of one
clock: where they are not, the error names both spans.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depthkit.data.bag import ODOMETRY, TRANSFORMS, Topic, choose_topic
from depthkit.data.bag_frames import Tracks, body_frame, moving_pose, path_to_top, read_tracks
from depthkit.data.bag_scan import PATH, Scan
from depthkit.data.importers.source import ImportOptions
from depthkit.errors import DataError
from depthkit.trajectory import Trajectory, interpolate_poses

STAMPED = (
    "geometry_msgs/msg/PoseStamped",
    "geometry_msgs/msg/PoseWithCovarianceStamped",
    "geometry_msgs/msg/TransformStamped",
)
POSE_TYPES = (ODOMETRY, *STAMPED, PATH)
OPTION = "--odometry-topic"
_WISHES = ("goal", "initialpose", "setpoint", "target", "clicked", "plan", "waypoint")
"""Topics named so say where to go, not where the camera is."""
CLOCK_LAG = 5.0
"""Seconds between stamp and recording by which two topics may differ; more is another clock."""
LEAPS = {37.0: "TAI and UTC are 37 s apart", 18.0: "GPS time and UTC are 18 s apart"}
NAMED = 4
"""Frames of a tree that a message names."""
GPS_EPOCH = 315964800.0
"""Seconds from 1970 to 1980."""


@dataclass(frozen=True)
class PoseSource:
    """What poses are taken from."""

    topic: str = ""
    """Empty for none."""
    type: str = ""
    frame: str = ""
    """Fixed frame requested with /tf:FRAME; empty for the usual one."""
    is_named: bool = False
    """By the user: then nothing else will do."""
    notes: tuple[str, ...] = ()
    """Other topics with poses."""


@dataclass(frozen=True)
class FramePoses:
    """Poses at the frames, and what there is to say about them."""

    poses: np.ndarray | None
    """T_world_cam, NaN where unknown. (N, 4, 4)"""
    notes: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()


# --- which topic ---------------------------------------------------------------------------------


def choose_pose_source(bag: Path, topics: Collection[Topic], wanted: str) -> PoseSource:
    """Choose the topic whose poses count.

    Args:
        bag: for messages.
        topics: of the bag.
        wanted: name the user gave, of /tf with ':FRAME' behind it; 'none' for no poses, empty for
            the only one.

    Raises:
        DataError: the wanted one is not there, or there are several odometries.
    """
    trees = [topic.name for topic in topics if _is_tree(topic)]
    name, _, frame = wanted.partition(":")
    if wanted and f"/{name.lstrip('/')}" in trees:
        return PoseSource(f"/{name.lstrip('/')}", TRANSFORMS, frame, is_named=True)
    if wanted:
        named = choose_topic(bag, topics, POSE_TYPES, wanted, option=OPTION)
        return PoseSource(named or "", _type_of(topics, named), is_named=named is not None)
    option = f"{OPTION} (or 'none')"
    found = choose_topic(bag, topics, (ODOMETRY,), "", option=option)
    others = [t for t in topics if t.type in POSE_TYPES and t.count > (t.type != PATH)]
    if found is not None:
        return PoseSource(found, ODOMETRY, notes=_unread(others, found))
    likely = [topic for topic in others if not any(word in topic.name for word in _WISHES)]
    for types in (STAMPED, (PATH,)):
        names = sorted({topic.name for topic in likely if topic.type in types})
        if len(names) == 1:
            kind = _type_of(likely, names[0])
            return PoseSource(names[0], kind, notes=_unread(others, names[0]))
        if names:
            return PoseSource(notes=_unread(others, ""))
    tree = trees[0] if len(trees) == 1 else ""
    return PoseSource(tree, TRANSFORMS if tree else "", notes=_unread(others, ""))


def static_topics(topics: Collection[Topic]) -> list[str]:
    """Return the topics of frames that do not move, those of a robot's namespace too."""
    return [t.name for t in topics if t.type == TRANSFORMS and t.name.endswith("/tf_static")]


def _is_tree(topic: Topic) -> bool:
    return topic.type == TRANSFORMS and topic.count > 0 and not topic.name.endswith("/tf_static")


def _type_of(topics: Collection[Topic], name: str | None) -> str:
    """Return the type of a topic; the first in the order of preference where it has several."""
    types = {topic.type for topic in topics if topic.name == name and topic.count}
    return next((one for one in POSE_TYPES if one in types), "")


def _unread(topics: Collection[Topic], taken: str) -> tuple[str, ...]:
    names = [f"{t.name} ({t.type.rpartition('/')[2]})" for t in topics if t.name != taken]
    if not names:
        return ()
    return (
        f"poses of {', '.join(names)} are not read; {OPTION} picks the topic whose poses count",
    )


# --- poses at the frames -------------------------------------------------------------------------


def poses_at_frames(
    bag: Path, scan: Scan, source: PoseSource, times: np.ndarray, options: ImportOptions
) -> FramePoses:
    """Interpolate the poses of a source at the frames, then put the camera in its place.

    Args:
        bag: read once more where the tree of /tf is needed.
        scan: what was read with the frames.
        source: chosen.
        times: of the frames, seconds. (N,)
        options: longest gap; whether the poses are those of a body.

    Raises:
        DataError: a source that the user named has no pose for any frame.
    """
    if not source.topic:
        return FramePoses(None, source.notes)
    if source.type == TRANSFORMS:
        found = _of_tree(bag, scan, source, times, options)
    else:
        found = _of_topic(bag, scan, source, times, options)
    if found.poses is None and source.is_named:
        raise DataError(f"{bag}: {found.notes[-1]}")
    return FramePoses(found.poses, (*source.notes, *found.notes), found.assumed)


def _of_topic(
    bag: Path, scan: Scan, source: PoseSource, times: np.ndarray, options: ImportOptions
) -> FramePoses:
    if not scan.track:
        return FramePoses(None, (f"no poses: {source.topic} holds none that can be used",))
    stamps, track = zip(*scan.track, strict=True)
    trajectory = Trajectory(np.array(stamps), np.stack(track))
    found, _ = interpolate_poses(trajectory, times, options.max_gap)
    fault, words = _clocks(scan, source, times, trajectory.stamps, scan.pose_lag, found)
    if fault:
        return FramePoses(None, (fault,))
    if options.body_to_camera is not None:  # put on by the caller, instead of the tree's transform
        return FramePoses(found, (), words)
    if not scan.base_frame and source.type != ODOMETRY:
        text = (
            f"poses of {source.topic} ({source.type.rpartition('/')[2]}) do not name their frame: "
            f"taken as the camera's, {scan.frame_id!r} (--body-to-camera FILE where a body's)"
        )
        return FramePoses(found, (), (*words, text))
    T_base_cam = _place_of_camera(bag, scan, times, options.max_gap)
    if T_base_cam is None:
        return FramePoses(
            None,
            (
                f"no poses: {source.topic} is of {scan.base_frame!r}, the pictures are of "
                f"{scan.frame_id!r}, and neither /tf_static nor /tf joins them "
                "(--body-to-camera FILE does)",
            ),
        )
    # One by one, as a node does: a product of stacked matrices may round otherwise.
    return FramePoses(np.stack([T @ M for T, M in zip(found, T_base_cam, strict=True)]), (), words)


def _place_of_camera(bag: Path, scan: Scan, times: np.ndarray, max_gap: float) -> np.ndarray | None:
    """Return T_base_cam at each frame: fixed, or as the tree of /tf moves. (N, 4, 4)"""
    fixed = scan.frames.lookup(scan.base_frame, scan.frame_id)
    if fixed is not None:
        return np.broadcast_to(fixed, (len(times), 4, 4))
    tracks = read_tracks(bag, scan.frames)
    return moving_pose(tracks, scan.base_frame, scan.frame_id, times, max_gap)


def _of_tree(
    bag: Path, scan: Scan, source: PoseSource, times: np.ndarray, options: ImportOptions
) -> FramePoses:
    """Follow the frames from the camera, or the body whose mounting is given, to a fixed one."""
    tracks = read_tracks(bag, scan.frames, source.topic)
    frame = scan.frame_id.lstrip("/")
    if options.body_to_camera is not None:
        frame = body_frame(tracks, frame)
    above = path_to_top(tracks, frame)
    top = _fixed_frame(source, tracks, above)
    if not top:
        held = [f"{name!r} in {edge.parent!r}" for name, edge in tracks.edges.items()][:NAMED]
        text = (
            f"no poses: nothing in {source.topic} moves the pictures' frame {frame!r}; it holds "
            f"{', '.join(held) or 'nothing'} (--body-to-camera FILE joins them)"
        )
        return FramePoses(None, (text,))
    found = moving_pose(tracks, top, frame, times, options.max_gap)
    if found is None:
        return FramePoses(None, (f"no poses: {source.topic} does not join {frame!r} and {top!r}",))
    moving = [tracks.edges[one] for one in above[: above.index(top)] if tracks.moves(one)]
    stamps = np.concatenate([[edge.stamps[0], edge.stamps[-1]] for edge in moving])
    lag = float(np.median([edge.lag for edge in moving]))
    fault, words = _clocks(scan, source, times, np.sort(stamps), lag, found)
    if fault:
        return FramePoses(None, (fault,))
    text = (
        f"poses are those of {frame!r} in {top!r} of {source.topic} ({OPTION} names another topic, "
        f"or '{source.topic}:FRAME' another fixed frame of {', '.join(above[1:])})"
    )
    return FramePoses(found, (), (*words, text))


def _fixed_frame(source: PoseSource, tracks: Tracks, above: list[str]) -> str:
    """Return the frame poses are given in: 'odom', which does not jump, or the topmost one."""
    moving = [i for i, one in enumerate(above) if tracks.moves(one)]
    if source.frame:
        if source.frame not in above[1:]:
            held = ", ".join(above[1:]) or "none"
            raise DataError(f"{source.topic}: no frame {source.frame!r} above the camera; {held}")
        return source.frame
    if not moving:
        return ""
    fixed = above[moving[0] + 1 :]
    return next((one for one in fixed if one.rpartition("/")[2] == "odom"), fixed[-1])


# --- clocks --------------------------------------------------------------------------------------


def _clocks(
    scan: Scan,
    source: PoseSource,
    times: np.ndarray,
    stamps: np.ndarray,
    pose_lag: float,
    found: np.ndarray,
) -> tuple[str, tuple[str, ...]]:
    """Compare the clocks of frames and poses.

    Args:
        scan: with the frames' lag.
        source: whose poses they are.
        times: of the frames, seconds. (N,)
        stamps: of the poses, rising. (M,)
        pose_lag: seconds from stamp to recording of the poses.
        found: poses at the frames, NaN where unknown. (N, 4, 4)

    Returns:
        Why there are no poses, empty where there are; and what was assumed.
    """
    spans = (
        f"pictures are stamped {times[0]:.3f} to {times[-1]:.3f} s, poses of {source.topic} "
        f"{stamps[0]:.3f} to {stamps[-1]:.3f} s"
    )
    apart = scan.frame_lag - pose_lag
    if not np.isfinite(found).all(axis=(1, 2)).any():
        overlap = min(times[-1], stamps[-1]) - max(times[0], stamps[0])
        why = (
            "no pose lies near enough (--max-gap)" if overlap > 0 else _epochs(times[0], stamps[0])
        )
        return f"no poses: {spans}; {why}", ()
    if source.type == PATH or abs(apart) <= CLOCK_LAG:
        return "", ()
    leap = next((text for s, text in LEAPS.items() if abs(abs(apart) - s) < 0.5), "")
    text = f"{spans}, and they were recorded {apart:+.1f} s apart from that"
    if leap and not source.is_named:
        return f"no poses: {text}: {leap}; {OPTION} {source.topic} takes them all the same", ()
    return "", (f"{text}: the stamps are taken as those of one clock ({OPTION} none: no poses)",)


def _epochs(frames: float, poses: float) -> str:
    """Say what may be the matter with two clocks."""
    apart, earlier = abs(frames - poses), min(frames, poses)
    if earlier < 1e8 < max(frames, poses):
        which = "the pictures" if frames < poses else "the poses"
        return f"these are two clocks: that of {which} counts from boot; both need one"
    if abs(apart - GPS_EPOCH) < 3600:
        return "these are two clocks: one counts from 1980 (GPS), the other from 1970"
    leap = next((f"; {text}" for s, text in LEAPS.items() if abs(apart - s) < 0.5), "")
    return f"they do not meet: {apart:.1f} s from start to start{leap}; both need one clock"
