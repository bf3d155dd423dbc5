# SPDX-License-Identifier: Apache-2.0
"""Positions of all vehicles on a street over time: the camera's car, moving and parked ones.

A vehicle is drawn and kept only when it stays clear of all that were kept before, at every frame
and halfway between frames.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from depthkit.synth.street_road import RoadLine
from depthkit.synth.street_shapes import Shape, draw_shape

LANE = 3.4  # metres
PARKING = 2.5  # metres: width of the strip for parked cars
PARKING_PITCH = 6.4  # metres between the middles of two places
SIDE_STREET = 9.0  # metres: its width
SIDE_REACH = 100.0  # metres a side street goes on to either side
GAP = 0.3  # metres that always stay between two vehicles
HEADWAY = 5.0  # metres in front of the camera that others keep free
CAMERA_CAR = Shape("car", 4.4, 1.8, 1.5)
TRIES = 12  # for each vehicle
ONCOMING, SAME_WAY = 0.45, 0.35  # shares of the vehicles that move; the others cross


@dataclass(frozen=True)
class Layout:
    """Where vehicles may be."""

    line: RoadLine
    lanes: int
    """For each direction."""
    side: float
    """1 where traffic keeps right, -1 where it keeps left."""
    crossings: tuple[float, ...]
    """Middle of each side street, s in metres."""
    end: float
    """End of the street, s in metres."""

    @property
    def half_width(self) -> float:
        """Distance from the middle of the road to the kerb, metres."""
        return self.lanes * LANE + PARKING

    def lane(self, number: int, direction: float) -> float:
        """Return d of the middle of a lane; number 0 is the innermost."""
        return self.side * direction * (number + 0.5) * LANE


@dataclass(frozen=True)
class Track:
    """Where a vehicle is at each half frame."""

    shape: Shape
    s: np.ndarray
    """Position along the road, metres. (2 N - 1,)"""
    d: np.ndarray
    """Position to the right of its middle, metres. (2 N - 1,)"""
    turn: float
    """From the road's direction, radians."""
    headway: float = 0.0
    """Distance in front that other vehicles keep free, metres."""

    def poses(self, line: RoadLine) -> np.ndarray:
        """Return T_world_body at each whole frame. (N, 4, 4)"""
        return line.pose(self.s[::2], self.d[::2], turn=self.turn)


def half_frames(frames: int, rate: float) -> np.ndarray:
    """Return the times of frames and of the moments halfway between, seconds. (2 N - 1,)"""
    return np.arange(2 * frames - 1) / (2 * rate)


def way(rng: np.random.Generator, speed: float, times: np.ndarray) -> np.ndarray:
    """Return metres driven: a speed that swings by up to 15 % within seconds, as drivers do."""
    rate, phase = rng.uniform(0.3, 1.0), rng.uniform(0, 2 * np.pi)
    swing = rng.uniform(0.0, 0.15) / rate
    return speed * (times + swing * (np.sin(rate * times + phase) - np.sin(phase)))


def moving_tracks(
    rng: np.random.Generator, layout: Layout, camera: Track, times: np.ndarray, count: int
) -> list[Track]:
    """Draw vehicles that move; fewer than wanted where there is no room.

    Args:
        rng: source of all randomness.
        layout: layout of the street.
        camera: its car's track, which all keep clear of.
        times: result of `half_frames`.
        count: wanted number.
    """
    kept = [camera]
    discs = [_discs(camera, layout.line)]
    for _ in range(TRIES * count):
        if len(kept) > count:
            break
        track = _draw(rng, layout, camera, times)
        if track is None:
            continue
        mine = _discs(track, layout.line)
        if all(_are_apart(mine, other) for other in discs):
            kept.append(track)
            discs.append(mine)
    return kept[1:]


def parked_tracks(
    rng: np.random.Generator, layout: Layout, spans: list[tuple[float, float]], share: float
) -> list[Track]:
    """Fill a share of the places along both kerbs; none in a side street.

    Args:
        rng: source of all randomness.
        layout: layout of the street.
        spans: where blocks begin and end, s in metres.
        share: share of the places that are taken.
    """
    tracks = []
    for start, end in spans:
        for direction in (-1.0, 1.0):
            for s in np.arange(start + 5, end - 5, PARKING_PITCH):
                shape = draw_shape(rng)
                if rng.random() >= share or shape.length > 6.0:
                    continue
                d = layout.side * direction * (layout.half_width - shape.width / 2 - 0.25)
                place = np.array([s + rng.uniform(-0.15, 0.15)]), np.array([d])
                wrong = np.pi if rng.random() < 0.1 else 0.0
                tracks.append(Track(shape, *place, (0.0 if direction > 0 else np.pi) + wrong))
    return tracks


def _draw(
    rng: np.random.Generator, layout: Layout, camera: Track, times: np.ndarray
) -> Track | None:
    """Draw one vehicle of a random kind; None where the street has no place for that kind."""
    kinds: tuple[Callable[..., Track | None], ...] = (_oncoming, _same_way, _crossing)
    share = np.array([ONCOMING, SAME_WAY, 1 - ONCOMING - SAME_WAY])
    make = kinds[int(rng.choice(len(kinds), p=share))]
    return make(rng, layout, camera, times)


def _oncoming(rng: np.random.Generator, layout: Layout, camera: Track, times: np.ndarray) -> Track:
    d = layout.lane(int(rng.integers(layout.lanes)), -1.0)
    start = rng.uniform(camera.s[0] + 8, min(camera.s[-1] + 120, layout.end))
    s = start - way(rng, rng.uniform(4, 15), times)
    return Track(draw_shape(rng), s, np.full_like(s, d), np.pi)


def _same_way(rng: np.random.Generator, layout: Layout, camera: Track, times: np.ndarray) -> Track:
    """Ahead at about the camera's speed, so that it is seen for long."""
    d = layout.lane(int(rng.integers(layout.lanes)), 1.0)
    mean = (camera.s[-1] - camera.s[0]) / max(times[-1], 1e-9)
    start = camera.s[0] + rng.uniform(8, 60)
    s = start + way(rng, max(mean, 4.0) * rng.uniform(0.75, 1.3), times)
    return Track(draw_shape(rng), s, np.full_like(s, d), 0.0)


def _crossing(
    rng: np.random.Generator, layout: Layout, camera: Track, times: np.ndarray
) -> Track | None:
    """On a side street, in the middle of the road at some time of the clip or near it."""
    near = [s for s in layout.crossings if camera.s[0] + 8 < s < camera.s[-1] + 70]
    if not near:
        return None
    direction = float(rng.choice([-1.0, 1.0]))
    speed, moment = rng.uniform(3, 9), rng.uniform(times[0] - 1, times[-1] + 1)
    d = direction * (way(rng, speed, times) - speed * moment)
    if np.abs(d).max() > SIDE_REACH - 15:
        return None
    s = float(rng.choice(near)) + layout.side * direction * -SIDE_STREET / 4
    return Track(draw_shape(rng), np.full_like(d, s), d, direction * np.pi / 2)


def _discs(track: Track, line: RoadLine) -> tuple[np.ndarray, float]:
    """Cover a vehicle with discs: their centres (T, n, 2) and radius, metres."""
    length, width = track.shape.length + track.headway, track.shape.width
    count = int(np.ceil(length / width))
    offset = ((np.arange(count) + 0.5) / count - 0.5) * length + track.headway / 2
    poses = line.pose(track.s, track.d, turn=track.turn)
    centres = poses[:, None, :3, 3] + offset[:, None] * poses[:, None, :3, 2]
    return centres[..., [0, 2]], float(np.hypot(width, length / count) / 2)


def _are_apart(a: tuple[np.ndarray, float], b: tuple[np.ndarray, float]) -> bool:
    between = a[0][:, :, None] - b[0][:, None]
    return bool((between**2).sum(axis=-1).min() > (a[1] + b[1] + GAP) ** 2)
