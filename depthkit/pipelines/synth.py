# SPDX-License-Identifier: Apache-2.0
"""Worlds with exact depth, poses, flow and occlusion, shapes with exact corners, as a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from depthkit.config.strict_yaml import load_config
from depthkit.pipelines.rendering import check_renderer
from depthkit.synth.generate import SynthPlan, find_world, generate
from depthkit.synth.write import CameraFaults
from depthkit.watcher import SILENT, Watcher

USUAL_SIZE = {
    "stillbox": (128, 128),
    "street": (128, 416),
    "colon": (256, 256),
    "shapes": (240, 320),
}
"""(H, W) of the frames of each world where nothing else is given."""


@dataclass(frozen=True)
class SynthOptions:
    """One run of `synth`."""

    world: str
    """A key of USUAL_SIZE."""
    out: Path
    """Data set folder."""
    scenes: int = 10
    frames: int = 10
    """Frames of each scene."""
    size: tuple[int, int] | None = None
    """(H, W), pixels; None for what suits the world."""
    seed: int = 0
    overrides: tuple[str, ...] = ()
    """Differences from the world's options, KEY=VALUE each."""
    name: str = ""
    """Name of the sequences; the world's when empty."""
    split: Literal["train", "val", "test"] = "train"
    """Part of split.yaml."""
    depth_only: bool = False
    """Write no flow, occlusion, ids and moving."""
    noise: float = 0.0
    """Sensor noise, grey levels of 255."""
    blur: float = 0.0
    """Exposure time over frame time."""
    exposure: float = 0.0
    """Change of brightness, stops."""
    imu: str = ""
    """Simulated IMU written beside the frames: phone, adis or perfect; none when empty."""
    backend: Literal["auto", "gl", "ray"] = "auto"
    """Renderer; auto is OpenGL, or rays without OpenGL."""
    workers: int = 1
    """Processes."""


@dataclass(frozen=True)
class SynthSummary:
    """What is there now."""

    out: str
    sequences: int
    frames: int
    """Frames of each sequence."""


def synth(options: SynthOptions, watcher: Watcher = SILENT) -> SynthSummary:
    """Make the scenes that are not there yet.

    Args:
        options: which world, how much of it.
        watcher: receives progress, and a note on the renderer.

    Raises:
        ConfigError: an option that the world does not have.
        EngineError: nothing can render here.
    """
    world = find_world(options.world)
    plan = SynthPlan(
        world=options.world,
        out=options.out,
        scenes=options.scenes,
        frames=options.frames,
        size=options.size or USUAL_SIZE[options.world],
        seed=options.seed,
        options=load_config(world.options, None, options.overrides),
        faults=CameraFaults(options.noise, options.blur, options.exposure),
        split=options.split,
        name=options.name,
        truth=not options.depth_only,
        imu=options.imu,
        backend=options.backend,
        workers=options.workers,
    )
    if not plan.is_drawn:
        check_renderer(options.backend, watcher.note)
    watcher.begin(f"{plan.world} scenes", plan.scenes)
    return SynthSummary(str(plan.out), len(generate(plan, watcher.advance)), plan.frames)


def world_options(world: str) -> type:
    """Return the dataclass of what may happen in a world's scenes."""
    return find_world(world).options
