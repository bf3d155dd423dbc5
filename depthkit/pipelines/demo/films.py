# SPDX-License-Identifier: Apache-2.0
"""The two films of `depthkit demo`: video files of rendered worlds, with a calibration and no pose.

What the worlds are really like is kept aside, for the score alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depthkit.camera import Camera
from depthkit.config.yaml_text import dump_yaml
from depthkit.data.folder import make_folder
from depthkit.data.image_io import write_atomic
from depthkit.outputs.video import VideoFile
from depthkit.synth.render import open_renderer
from depthkit.synth.room import make_room_scene
from depthkit.synth.scene import Scene
from depthkit.synth.street import StreetOptions, make_street_scene
from depthkit.watcher import Watcher

SCORED = 5
"""Every so many frames one is scored."""
HEIGHT = 1.6
"""Height of the camera over the street, metres: what is measured on a car once."""
ROOM_SIZE, STREET_SIZE = (240, 320), (192, 576)
ROOM_FRAMES, STREET_FRAMES = 64, 36
STREET_SPEED = 8.0
"""Metres a second."""
FIRST_STREET = 3
"""Street of seed 0: houses on both sides and no lorry in front of them."""


@dataclass(frozen=True, eq=False)
class Film:
    """A video file, and the truth that its reconstruction never sees."""

    name: str
    video: Path
    camera_file: Path
    camera_height: float | None
    """What is known beside the pictures, metres; None for nothing."""
    T_world_cam: np.ndarray
    """True poses, metres. (N, 4, 4)"""
    depth: dict[int, np.ndarray]
    """True depth of some frames, metres, 0 = nothing there. (H, W)"""


@dataclass(frozen=True)
class FilmPlan:
    """How much is filmed."""

    room_frames: int = ROOM_FRAMES
    street_frames: int = STREET_FRAMES
    room_size: tuple[int, int] = ROOM_SIZE
    street_size: tuple[int, int] = STREET_SIZE


PLAN = FilmPlan()


def film_room(folder: Path, plan: FilmPlan, *, seed: int, watcher: Watcher) -> Film:
    """Film a walk through a furnished room; nothing says how large it is.

    Args:
        folder: is made.
        plan: how much.
        seed: of the room.
        watcher: receives progress.
    """
    scene = make_room_scene(seed, frames=plan.room_frames, size=plan.room_size)
    return _film(folder, "room", scene, None, watcher)


def film_street(folder: Path, plan: FilmPlan, *, seed: int, watcher: Watcher) -> Film:
    """Film a drive along a street; the height of the camera over the road is known.

    Args:
        folder: is made.
        plan: how much.
        seed: of the street.
        watcher: receives progress.
    """
    options = StreetOptions(
        speed=(STREET_SPEED, STREET_SPEED), height=(HEIGHT, HEIGHT), vehicles=6.0, moving=0.0
    )
    frames, size = plan.street_frames, plan.street_size
    scene = make_street_scene(options, FIRST_STREET + seed, frames=frames, size=size)
    return _film(folder, "street", scene, HEIGHT, watcher)


def _film(
    folder: Path, name: str, scene: Scene, camera_height: float | None, watcher: Watcher
) -> Film:
    """Render a scene into a video file, with its calibration beside it."""
    make_folder(folder)
    video = VideoFile(folder / f"{name}.mp4", fps=1 / float(np.median(np.diff(scene.times))))
    renderer, depth = open_renderer(), dict[int, np.ndarray]()
    renderer.load(scene)
    for i in watcher.track(range(len(scene)), f"filming a {name}", len(scene)):
        scored = i % SCORED == 0
        render = renderer.render(i, truth=scored)
        video.add(render.rgb, f"{name} {i}")
        if scored:
            depth[i] = render.depth
    renderer.close()
    video.close()
    camera_file = folder / "camera.yaml"
    write_atomic(camera_file, dump_yaml(_calibration(scene.camera)))
    return Film(name, video.path, camera_file, camera_height, scene.T_world_cam, depth)


def _calibration(camera: Camera) -> dict[str, object]:
    focal = {key: float(getattr(camera, key)) for key in ("fx", "fy", "cx", "cy")}
    return {"width": camera.width, "height": camera.height, **focal, "model": "pinhole"}
