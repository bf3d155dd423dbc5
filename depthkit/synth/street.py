# SPDX-License-Identifier: Apache-2.0
"""A street for a camera in a car: blocks of houses, parked cars, and others that drive.

It is for training where objects move on their own: oncoming, ahead at about the camera's speed, and
crossing. All of it is solids and drawn textures; nothing is meant to be taken for a photograph.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.camera import Camera
from depthkit.errors import ConfigError
from depthkit.rigid import make_pose
from depthkit.synth.path import turns
from depthkit.synth.scene import Light, Scene
from depthkit.synth.street_blocks import build_block, build_view_stops
from depthkit.synth.street_road import draw_line
from depthkit.synth.street_site import (
    SKY_RADIUS,
    Site,
    block_spans,
    build_road,
    build_sky,
)
from depthkit.synth.street_textures import draw_palette
from depthkit.synth.street_traffic import (
    CAMERA_CAR,
    HEADWAY,
    PARKING_PITCH,
    SIDE_STREET,
    Layout,
    Track,
    half_frames,
    moving_tracks,
    parked_tracks,
    way,
)

DEPTH_RANGE = 200.0  # metres, deepest value stored
FRAMES_PER_SECOND = 10.0
AHEAD, BEHIND = 260.0, 12.0  # metres of street beyond the camera's way
NEARBY = 40.0  # metres beyond its way that are still seen from near
MOST_MOVING = 26  # vehicles: four bodies each, and a renderer moves 127
NEAR = 0.3  # metres


@dataclass(frozen=True)
class StreetOptions:
    """What may happen on a street."""

    speed: tuple[float, float] = (5.0, 15.0)
    """Slowest and fastest mean speed of the camera, metres a second."""
    height: tuple[float, float] = (1.5, 1.7)
    """Lowest and highest camera, metres over the road."""
    focal: float = 0.58
    """Focal length as a share of the picture's width: 0.58 is KITTI's, 81 degrees wide."""
    vehicles: float = 12.0
    """Vehicles on each 100 metres of street, moving and parked."""
    moving: float = 0.4
    """Share of the vehicles that drive; 0 for a street where only the camera moves."""
    curvature: float = 0.004
    """Sharpest bend of the road, 1 / metres; 0 for a straight one."""
    vibration: float = 1.0
    """Pitch, roll and bounce of the camera over the usual ones (0.3 degrees, 1.5 cm)."""

    def __post_init__(self) -> None:
        for name in ("speed", "height"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ConfigError(f"street: {name}: 0 < low <= high, got {low}, {high}")
        if self.speed[1] > 40 or self.height[1] > 4:
            raise ConfigError("street: speed: at most 40 m/s, height: at most 4 m")
        if not 0.3 <= self.focal <= 4:
            raise ConfigError(f"street: focal: 0.3 to 4 widths, got {self.focal}")
        if not 0 <= self.moving <= 1 or not 0 <= self.vehicles <= 30:
            raise ConfigError("street: moving: 0 to 1, vehicles: 0 to 30 on 100 m")
        if not 0 <= self.curvature <= 0.006 or not 0 <= self.vibration <= 20:
            raise ConfigError("street: curvature: 0 to 0.006 per metre, vibration: 0 to 20")


def make_street_scene(
    options: StreetOptions, seed: int, *, frames: int, size: tuple[int, int]
) -> Scene:
    """Draw a street and who drives on it.

    Args:
        options: what may happen.
        seed: same seed, same scene.
        frames: length of the drive.
        size: (H, W), pixels.
    """
    rng = np.random.default_rng((seed, 13))
    times = half_frames(frames, FRAMES_PER_SECOND)
    driven = way(rng, rng.uniform(*options.speed), times)
    layout = _layout(rng, options, driven[-1])
    lane = layout.lane(int(rng.integers(layout.lanes)), 1.0)
    car = Track(CAMERA_CAR, driven, np.full_like(driven, lane), 0.0, HEADWAY)
    site = Site(rng, layout, draw_palette(rng), reach=driven[-1] + NEARBY)
    _fill(site, options, car, times)
    height, width = size
    f = options.focal * width
    return Scene(
        bodies=tuple(site.bodies),
        textures=site.palette.textures,
        camera=Camera(width, height, f, f, (width - 1) / 2, (height - 1) / 2),
        T_world_cam=_camera_poses(rng, options, car, layout),
        times=times[::2],
        light=_light(rng),
        near=NEAR,
        far=3 * (SKY_RADIUS + layout.end),
    )


def _fill(site: Site, options: StreetOptions, car: Track, times: np.ndarray) -> None:
    """Build the street. What is near or hides much comes first: it spares drawing the rest."""
    rng, layout = site.rng, site.layout
    spans = block_spans(layout, -BEHIND)
    wanted = options.vehicles * layout.end / 100
    drivers = min(round(options.moving * wanted), MOST_MOVING)
    places = 2 * sum(span[1] - span[0] for span in spans) / PARKING_PITCH
    parked = min((1 - options.moving) * wanted / places, 1.0)
    for track in moving_tracks(rng, layout, car, times, drivers):
        site.add_vehicle(track, moves=True)
    for track in parked_tracks(rng, layout, spans, parked):
        site.add_vehicle(track, moves=False)
    build_road(site, spans)
    for span in spans:
        for side in (-1.0, 1.0):
            build_block(site, span, side)
    build_view_stops(site)
    build_sky(site)


def _layout(rng: np.random.Generator, options: StreetOptions, travel: float) -> Layout:
    """Draw the course of the road, its lanes and its side streets."""
    end = travel + AHEAD
    crossings, s = [], rng.uniform(10, 60)
    while s < end - 30:
        crossings.append(float(s))
        s += SIDE_STREET + rng.uniform(32, 90)
    # Vehicles may drive beyond the street's ends while they are out of sight.
    line = draw_line(rng, -BEHIND - 60 - 2 * travel, end + 60 + 2 * travel, options.curvature)
    lanes, side = 1 + int(rng.random() < 0.35), float(rng.choice([1.0, 1.0, -1.0]))
    return Layout(line, lanes, side, tuple(crossings), end)


def _camera_poses(
    rng: np.random.Generator, options: StreetOptions, car: Track, layout: Layout
) -> np.ndarray:
    """Drive along the lane with a little wander, and shake as a car does. (N, 4, 4)"""
    s = car.s[::2]
    wander = 0.12 * np.sin(s / rng.uniform(12, 30) + rng.uniform(0, 6))
    bounce = 0.015 * options.vibration * _shake(rng, len(s))
    height = rng.uniform(*options.height)
    on_road = layout.line.pose(s, car.d[::2] + wander, y=bounce - height)
    degrees = options.vibration * np.array([0.15, 0.3, 0.25])
    yaw, pitch, roll = (np.radians(a) * _shake(rng, len(s)) for a in degrees)
    tilt = np.radians(options.vibration * rng.uniform(-1.0, 1.0))  # how it was mounted
    return on_road @ make_pose(turns(yaw, pitch + tilt, roll), np.zeros((len(s), 3)))


def _shake(rng: np.random.Generator, count: int) -> np.ndarray:
    """A sum of waves of 0.4 to 3 Hz within about [-1, 1]. (N,)"""
    rates, phases = rng.uniform(0.4, 3.0, 4), rng.uniform(0, 2 * np.pi, 4)
    times = np.arange(count)[:, None] / FRAMES_PER_SECOND
    return np.sin(2 * np.pi * rates * times + phases).mean(axis=1) * 1.6


def _light(rng: np.random.Generator) -> Light:
    """A sun behind the camera or beside it, more or less veiled."""
    sun = rng.uniform(0.25, 0.65)
    direction = np.array([rng.uniform(-0.8, 0.8), rng.uniform(-1.0, -0.4), rng.uniform(-0.8, -0.2)])
    return Light(ambient=0.95 - 0.7 * sun, sun=sun, sun_direction=direction)
