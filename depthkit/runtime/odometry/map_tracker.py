# SPDX-License-Identifier: Apache-2.0
"""A camera followed in a map that it builds itself, in units of the first view's median depth.

Each frame: (1) tracks are followed from where the map and a constant velocity put them; (2) the
pose is fitted to them, mapped and fresh landmarks together; (3) a frame with new parallax becomes a
keyframe: landmarks of the map are searched in it, the window is adjusted, and corners are added.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from depthkit.multiview.features import Detector, Sift
from depthkit.multiview.resection import PoseFit
from depthkit.rigid import exp_se3, inverse, log_se3
from depthkit.runtime.odometry.anchors import anchored
from depthkit.runtime.odometry.covariance import blind_start
from depthkit.runtime.odometry.feature_tracks import FeatureTracks, Matched
from depthkit.runtime.odometry.front_end import (
    MOVING,
    TRACKS,
    Tracks,
    WorkingFrame,
    follow,
    follow_far,
    new_corners,
)
from depthkit.runtime.odometry.landmark_map import MAPPED, Keyframe, LandmarkMap
from depthkit.runtime.odometry.local_map import search_map
from depthkit.runtime.odometry.pose_of_tracks import (
    LEAST_SEEN,
    NOISE,
    OFF,
    agreeing,
    expected_pixels,
    fit_tracks,
    turned_pixels,
)
from depthkit.runtime.odometry.start import rotation_of, try_start
from depthkit.runtime.odometry.window import FREE, Solver, adjust_window, measure_depths

FAR = 0.35
"""Share of the tracks that must be followed and agree; below it SIFT is asked as well."""
START_PARALLAX = 0.45
"""Median parallax at which a start is tried, degrees."""
START_SHARE = 0.4
"""Share of the first frame's tracks below which the start begins anew."""
KEYFRAME_BASE = 0.02
"""Motion since the last keyframe over the median depth that a keyframe needs."""
KEYFRAME_SHARE = 0.5
"""Share of the last keyframe's landmarks still tracked below which a keyframe is made."""
KEYFRAME_FAR = 0.08
"""Motion over the median depth at which a keyframe is made in any case."""
SIFT = Sift()
"""Features that are asked first where KLT fails: learned ones only where they find too few."""
MOST_WAITING = 300
"""Number of frames before a start whose poses are found afterwards."""
LATE, MOST_STEPS = 1.5, 4.0
"""Periods after which frames are missing, and up to which the speed is thought to stay."""
KNOWN = 0.1
"""Largest sigma of a point that is known at the start, below MAPPED."""
LEAST_SHARE = 0.4
"""Share of landmarks still tracked below which a keyframe is made without motion too."""


@dataclass(eq=False)
class Waiting:
    """A frame seen before the start, kept until the map can say where it was."""

    frame: WorkingFrame
    tracks: Tracks
    identity: np.ndarray
    """Landmarks of the tracks, as their slots may be given to others. (N,)"""


@dataclass(frozen=True, eq=False)
class Tracked:
    """What one frame gave."""

    T_cam_world: np.ndarray
    """Pose; while waiting for parallax only its rotation moves. (4, 4)"""
    state: str
    """waiting, started, known (started from known points), tracking, lost or resumed."""
    reason: str = ""
    fit: PoseFit | None = None
    new_keyframe: bool = False


@dataclass(eq=False)
class MapTracker:
    """Map, tracks and pose of one segment at a time. One thread."""

    tracks_wanted: int = TRACKS
    search_keyframes: int = 3
    free: int = FREE
    solver: Solver = "numpy"
    detector: Detector = field(default_factory=Sift)
    """Finds the features that are matched where SIFT fails too."""
    features: FeatureTracks = field(init=False)
    world: LandmarkMap = field(default_factory=LandmarkMap)
    tracks: Tracks = field(default_factory=Tracks)
    T: np.ndarray = field(default_factory=lambda: np.eye(4))
    """T_cam_world of the newest frame. (4, 4)"""
    velocity: np.ndarray = field(default_factory=lambda: np.eye(4))
    """T_current_previous of the newest two frames. (4, 4)"""
    period: float = np.inf
    """Time between those two, seconds."""
    lost_world: LandmarkMap = field(default_factory=LandmarkMap)
    """The map in which the camera was lost last."""
    before: WorkingFrame | None = None
    first: tuple[WorkingFrame, Tracks, np.ndarray] | None = None
    """While waiting for parallax: the first frame, where it saw the tracks, its pose."""
    waiting: list[Waiting] = field(default_factory=list)
    depth: float = 1.0
    """Median depth of the mapped landmarks in view."""

    def __post_init__(self) -> None:
        self.features = FeatureTracks(self.detector)

    def process(self, frame: WorkingFrame) -> Tracked:
        """Take the next frame."""
        if self.before is None:
            result = self._begin(frame, "first frame: no motion yet")
        elif self.first is not None:
            result = self._wait(frame)
        else:
            result = self._follow(frame)
        self.before = frame
        return result

    def restart(self) -> None:
        """Forget map and tracks; the next frame is the first, at the identity."""
        self.before, self.first, self.waiting = None, None, []
        self.world, self.tracks = LandmarkMap(), Tracks()
        self.T, self.velocity, self.period = np.eye(4), np.eye(4), np.inf

    def resume(self, frame: WorkingFrame, world: LandmarkMap, T: np.ndarray) -> Tracked | None:
        """Go on in an earlier map, where the frame sees enough of it.

        Args:
            frame: the newest frame; the next one follows it.
            world: the earlier map.
            T: where the camera may be, T_cam_world in that map. (4, 4)

        Returns:
            The pose in that map; None, and nothing has changed, where too few landmarks agree.
        """
        none = np.zeros(0, int)
        found = search_map(world, frame.image, T, K=frame.K, tracked=none, keyframes=4)
        if len(found.slots) < 2 * LEAST_SEEN:
            return None
        mine = self.world, self.tracks, self.T
        self.world, tracks = world, Tracks(found.slots, found.pixels)
        fit = fit_tracks(
            self.world, replace(frame, R_current_previous=None), tracks, T, T_before=self.T
        )
        good = fit.errors < OFF
        if good.sum() < max(1.5 * LEAST_SEEN, 0.5 * len(good)):
            self.world, self.tracks, self.T = mine
            return None
        self.tracks, self.T = tracks.kept(good), fit.T_cam_world
        self.velocity, self.period = np.eye(4), np.inf
        self.first, self.waiting = None, []
        self._make_keyframe(frame)
        self.before = frame
        return Tracked(self.T.copy(), "resumed", fit=fit, new_keyframe=True)

    def start_known(
        self, frame: WorkingFrame, pixels: np.ndarray, points: np.ndarray, sigmas: np.ndarray
    ) -> Tracked:
        """Start a map from points whose places are known, in their unit; the rotation is kept.

        Args:
            frame: the newest frame; the next one follows it.
            pixels: where it sees the points. (N, 2)
            points: in the axes of its camera. (N, 3)
            sigmas: relative standard deviations of their depths. (N,)
        """
        self.world, self.first, self.waiting = LandmarkMap(), None, []
        self.velocity, self.period, self.before = np.eye(4), np.inf, frame
        T_world_cam, slots = inverse(self.T), self.world.new_slots(len(pixels))
        self.world.position[slots] = points @ T_world_cam[:3, :3].T + T_world_cam[:3, 3]
        self.world.origin[slots] = T_world_cam[:3, 3]
        self.world.sigma[slots] = np.minimum(sigmas, KNOWN)
        self.tracks = Tracks(slots, pixels.astype(np.float32))
        self.depth = float(np.median(points[:, 2]))
        self._add_keyframe(frame, self.T, self.tracks)
        before = len(self.tracks)
        self._add_corners(frame)
        self.world.extend(
            self.world.keyframes[0], *self._observations(frame, self.tracks, start=before)
        )
        return Tracked(self.T.copy(), "known", new_keyframe=True)

    def resume_matched(self, frame: WorkingFrame, world: LandmarkMap) -> Tracked | None:
        """Go on in an earlier map, where features of its newest keyframes are seen.

        Args:
            frame: the newest frame; the next one follows it.
            world: the earlier map.

        Returns:
            The pose in that map; None, and nothing has changed, where too few features agree.
        """
        found = self.features.match(world, frame)
        if found is None:
            return None
        return replace(self._go_on(frame, world, found), state="resumed")

    def _go_on(self, frame: WorkingFrame, world: LandmarkMap, found: Matched) -> Tracked:
        """Take matched features as tracks; the frame becomes a keyframe."""
        self.world, slots = world, world.new_slots(len(found.pixels))
        world.position[slots], world.origin[slots] = found.points, found.origin
        world.sigma[slots] = found.sigmas
        self.tracks = Tracks(slots, found.pixels.astype(np.float32))
        self.T, self.velocity, self.period = found.T_cam_world, np.eye(4), np.inf
        self.first, self.waiting = None, []
        self._make_keyframe(frame)
        self.before = frame
        return Tracked(self.T.copy(), "tracking", new_keyframe=True)

    # --- start ------------------------------------------------------------------------------------

    def _begin(self, frame: WorkingFrame, reason: str, state: str = "waiting") -> Tracked:
        """Make a frame the first of a map; the rotation so far is kept."""
        self.world, self.tracks, self.depth = LandmarkMap(), Tracks(), 1.0
        self._add_corners(frame)
        self.first = frame, self.tracks.kept(np.ones(len(self.tracks), bool)), self.T.copy()
        self.waiting, self.velocity, self.period = [], np.eye(4), np.inf
        if state == "waiting" and len(self.tracks) < 2 * LEAST_SEEN:
            reason = (
                f"{len(self.tracks)} corners are too few to start from, needs {2 * LEAST_SEEN}: "
                "a bare wall, blur or darkness"
            )
        return Tracked(self.T.copy(), state, reason)

    def _wait(self, frame: WorkingFrame) -> Tracked:
        """Follow the first frame's tracks until there is parallax for a start."""
        first_frame, first, T_first = self._first()
        before, wanted = len(first), len(self.world.identity[self.world.identity >= 0])
        pixels, kept = follow(
            self._before(), frame, self.tracks.pixels, turned_pixels(frame, self.tracks)
        )
        if kept.sum() < max(FAR * before, LEAST_SEEN):
            pixels, kept = self._matched(frame)
        self.tracks = Tracks(self.tracks.slots, pixels).kept(kept)
        first = first.kept(kept)
        self.first = first_frame, first, T_first
        if kept.sum() < max(START_SHARE * wanted, 2 * LEAST_SEEN):
            return self._begin(frame, "waiting for parallax: the view changed before there was any")
        # 1. The rotation alone.
        R, parallax = rotation_of(first.pixels, self.tracks.pixels, frame.K)
        turn = np.eye(4)
        turn[:3, :3] = R
        self.T = turn @ T_first
        if parallax < START_PARALLAX:
            return self._still_waiting(frame, f"{parallax:.2f} degrees")
        # 2. Rotation and translation.
        start = try_start(first.pixels, self.tracks.pixels, frame.K)
        if isinstance(start, str):
            return self._still_waiting(frame, start)
        self._start(frame, start.T_second_first @ T_first, start.points, start.good)
        return Tracked(self.T.copy(), "started", new_keyframe=True)

    def _still_waiting(self, frame: WorkingFrame, reason: str) -> Tracked:
        identity = self.world.identity[self.tracks.slots]
        none = np.zeros((0, 0), np.uint8)  # K and stamp are enough
        light = replace(frame, image=none, gray=none, rgb=none, valid=None)
        self.waiting = [*self.waiting[-MOST_WAITING:], Waiting(light, self.tracks, identity)]
        return Tracked(self.T.copy(), "waiting", f"waiting for parallax: {reason}")

    def _start(
        self, frame: WorkingFrame, T: np.ndarray, points: np.ndarray, good: np.ndarray
    ) -> None:
        """Make the map of two keyframes."""
        first_frame, first, T_first = self._first()
        world, slots = self.world, self.tracks.slots
        ones = np.ones((len(slots), 1))
        guessed = np.concatenate([first_frame.rays(first.pixels), ones], axis=1)
        T_world_first = inverse(T_first)
        in_first = np.where(good[:, None], points, guessed)
        world.position[slots] = in_first @ T_world_first[:3, :3].T + T_world_first[:3, 3]
        self.T, self.first = T, None
        self._add_keyframe(first_frame, T_first, first)
        if not np.array_equal(T_first, np.eye(4)):
            world.keyframes[0].drift = blind_start(START_PARALLAX)
        self._add_keyframe(frame, T, self.tracks)
        sigma = NOISE / frame.focal
        measure_depths(world, slots, sigma=sigma)
        adjust_window(world, sigma=sigma, iterations=10, solver=self.solver)
        self._refresh(frame)

    def _first(self) -> tuple[WorkingFrame, Tracks, np.ndarray]:
        if self.first is None:
            raise RuntimeError("the map has started already")
        return self.first

    def _before(self) -> WorkingFrame:
        if self.before is None:
            raise RuntimeError("there is no earlier frame")
        return self.before

    # --- following --------------------------------------------------------------------------------

    def _follow(self, frame: WorkingFrame) -> Tracked:
        """Follow tracks, fit the pose, and make a keyframe where one is due."""
        had = len(self.tracks)
        T_expected = self._expected(frame)
        guess = expected_pixels(self.world, frame, self.tracks, T_expected)
        pixels, kept = follow(self._before(), frame, self.tracks.pixels, guess)
        trust = frame.trust(pixels)
        kept = kept if trust is None else kept & (trust >= MOVING)
        tracks = Tracks(self.tracks.slots, pixels).kept(kept)
        fit = fit_tracks(self.world, frame, tracks, T_expected, T_before=self.T)
        number = int((fit.errors < OFF).sum())
        if number < max(LEAST_SEEN, FAR * had):
            tracks, fit = self._follow_far(frame, tracks, fit, T_expected)
            number = int((fit.errors < OFF).sum())
        if number < LEAST_SEEN:
            found = self.features.match(self.world, frame)
            if found is not None:
                return self._go_on(frame, self.world, found)
            lost = f"lost: {number} of {had} tracks agree on a motion, needs {LEAST_SEEN}"
            self.T, self.lost_world = np.eye(4), self.world
            return self._begin(frame, lost, "lost")
        self.tracks = tracks.kept(fit.errors < OFF)
        self.velocity = fit.T_cam_world @ inverse(self.T)
        self.period = frame.stamp - self._before().stamp
        self.T = fit.T_cam_world
        due = self._keyframe_due()
        if due:
            self._make_keyframe(frame)
        return Tracked(self.T.copy(), "tracking", fit=fit, new_keyframe=due)

    def _expected(self, frame: WorkingFrame) -> np.ndarray:
        """Pose by constant velocity, with a gyro's rotation where there is one. (4, 4)"""
        velocity, pause = self.velocity.copy(), frame.stamp - self._before().stamp
        if pause > LATE * self.period:  # frames are missing: the same speed for longer
            velocity = exp_se3(min(pause / self.period, MOST_STEPS) * log_se3(velocity))
        if frame.R_current_previous is not None:
            velocity[:3, :3] = frame.R_current_previous
        return velocity @ self.T

    def _matched(self, frame: WorkingFrame) -> tuple[np.ndarray, np.ndarray]:
        """Follow tracks by SIFT, and by the learned features where SIFT finds too few."""
        found = follow_far(self._before(), frame, self.tracks.pixels, SIFT)
        if found[1].sum() >= LEAST_SEEN or isinstance(self.detector, Sift):
            return found
        return follow_far(self._before(), frame, self.tracks.pixels, self.detector)

    def _follow_far(
        self, frame: WorkingFrame, tracks: Tracks, fit: PoseFit, T: np.ndarray
    ) -> tuple[Tracks, PoseFit]:
        """Try SIFT from the previous frame; keep what more tracks agree on."""
        pixels, kept = self._matched(frame)
        if kept.sum() < LEAST_SEEN:
            return tracks, fit
        others = Tracks(self.tracks.slots, pixels).kept(kept)
        fits = [
            fit_tracks(self.world, frame, others, start, T_before=self.T) for start in (T, self.T)
        ]
        best = max(fits, key=lambda one: agreeing(self.world, others, one, self.tracks))
        better = agreeing(self.world, others, best, self.tracks) > agreeing(
            self.world, tracks, fit, self.tracks
        )
        return (others, best) if better else (tracks, fit)

    # --- keyframes --------------------------------------------------------------------------------

    def _keyframe_due(self) -> bool:
        """Whether there is new parallax and too few of the last keyframe's landmarks are left."""
        last, slots = self.world.keyframes[-1], self.tracks.slots
        moved = float(np.linalg.norm(last.centre - inverse(self.T)[:3, 3])) / self._depth()
        share = np.isin(slots, last.slots).sum() / max(len(last.slots), 1)
        if share < LEAST_SHARE or moved > KEYFRAME_FAR:
            return True
        return moved > KEYFRAME_BASE and bool(share < KEYFRAME_SHARE)

    def _depth(self) -> float:
        """Median depth of the mapped landmarks in view; the last one where there are too few."""
        _, depth = self.world.project(self.T, self.tracks.slots)
        good = (depth > 1e-3) & (self.world.sigma[self.tracks.slots] < MAPPED)
        if good.sum() > 10:
            self.depth = float(np.median(depth[good]))
        return self.depth

    def _make_keyframe(self, frame: WorkingFrame) -> None:
        world, sigma = self.world, NOISE / frame.focal
        # The gyro's rotation is from the frame before to this one, whose pose is known by now.
        frame = replace(frame, R_current_previous=None)
        # 1. Landmarks of the map that are seen again.
        found = search_map(
            world,
            frame.image,
            self.T,
            K=frame.K,
            tracked=self.tracks.slots,
            keyframes=self.search_keyframes,
        )
        if len(found.slots):
            self.tracks = self.tracks.with_more(found.slots, found.pixels)
            self.T = fit_tracks(self.world, frame, self.tracks, self.T, T_before=self.T).T_cam_world
        # 2. Tracks are measured against the first sight of their landmarks.
        self.tracks = anchored(world, frame, self.tracks, self.T)
        self.T = fit_tracks(self.world, frame, self.tracks, self.T, T_before=self.T).T_cam_world
        # 3. Adjust the window.
        self._add_keyframe(frame, self.T, self.tracks)
        measure_depths(world, self.tracks.slots, sigma=sigma)
        adjust_window(world, sigma=sigma, free=self.free, solver=self.solver)
        self._refresh(frame)

    def _refresh(self, frame: WorkingFrame) -> None:
        """Take over the adjusted pose, drop what the adjustment dropped, and add corners."""
        world = self.world
        newest = world.keyframes[-1]
        recent = np.unique(np.concatenate([one.slots for one in world.keyframes[-self.free :]]))
        measure_depths(world, recent, sigma=NOISE / frame.focal)
        self.T = newest.T_cam_world.copy()
        self.tracks = self.tracks.kept(np.isin(self.tracks.slots, newest.slots))
        world.free_unseen(self.tracks.slots)
        before = len(self.tracks)
        self._add_corners(frame)
        world.extend(newest, *self._observations(frame, self.tracks, start=before))

    def _add_corners(self, frame: WorkingFrame) -> None:
        """Begin tracks where the picture has none; their depth is that of their neighbours."""
        pixels = new_corners(frame, self.tracks.pixels, self.tracks_wanted)
        slots = self.world.new_slots(len(pixels))
        T_world_cam = inverse(self.T)
        rays = np.column_stack([frame.rays(pixels), np.ones(len(pixels))])
        points = rays * self._neighbours_depth(pixels)[:, None]
        self.world.position[slots] = points @ T_world_cam[:3, :3].T + T_world_cam[:3, 3]
        self.world.origin[slots] = T_world_cam[:3, 3]
        self.tracks = self.tracks.with_more(slots, pixels)

    def _neighbours_depth(self, pixels: np.ndarray) -> np.ndarray:
        """Median depth of the nearest mapped landmarks in the image. (N,)"""
        _, depth = self.world.project(self.T, self.tracks.slots)
        good = (self.world.sigma[self.tracks.slots] < MAPPED) & (depth > 1e-3)
        if good.sum() < 5 or len(pixels) == 0:
            return np.full(len(pixels), self.depth)
        squared = ((pixels[:, None] - self.tracks.pixels[good][None]) ** 2).sum(axis=2)
        nearest = np.argsort(squared, axis=1, kind="stable")[:, :5]
        return np.exp(np.median(np.log(depth[good][nearest]), axis=1))

    def _add_keyframe(self, frame: WorkingFrame, T: np.ndarray, tracks: Tracks) -> None:
        slots, rays, colours = self._observations(frame, tracks)
        number = self.world.numbered
        self.world.add(Keyframe(number, frame.stamp, frame.image, T.copy(), slots, rays, colours))

    def _observations(
        self, frame: WorkingFrame, tracks: Tracks, start: int = 0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return slots, rays and colours of the tracks from `start` on."""
        pixels = tracks.pixels[start:]
        height, width = frame.image.shape
        at = np.clip(np.rint(pixels).astype(int), 0, (width - 1, height - 1))
        return tracks.slots[start:].copy(), frame.rays(pixels), frame.rgb[at[:, 1], at[:, 0]]

    def waited(self) -> list[tuple[float, np.ndarray]]:
        """Return stamp and T_cam_world of the frames before the start, by the map now."""
        poses = []
        for one in self.waiting:
            tracks = one.tracks.kept(self.world.identity[one.tracks.slots] == one.identity)
            frame = replace(one.frame, R_current_previous=None)
            if len(tracks) >= LEAST_SEEN:
                fit = fit_tracks(
                    self.world, frame, tracks, self.world.keyframes[0].T_cam_world, T_before=self.T
                )
                poses.append((frame.stamp, fit.T_cam_world))
        self.waiting = []
        return poses
