# SPDX-License-Identifier: Apache-2.0
"""From a scene to a sequence folder: render, simulate camera noise and blur, write.

Only colours are degraded; the ground truth is that of the middle of the exposure, and exact.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depthkit.data.sequence import SequenceWriter
from depthkit.data.truth import FrameTruth
from depthkit.errors import ConfigError
from depthkit.synth.imu import T_CAM_IMU, SmoothPath, find_grade, simulate_imu
from depthkit.synth.render import Renderer
from depthkit.synth.scene import Scene
from depthkit.trajectory import save_imu

BLUR_SAMPLES = 5


@dataclass(frozen=True)
class CameraFaults:
    """Simulated degradations of the image; all off by default."""

    noise: float = 0.0
    """Standard deviation of sensor noise at mid grey, levels of 255; more where it is bright."""
    blur: float = 0.0
    """Exposure time as a share of the time between frames: motion blur."""
    exposure: float = 0.0
    """Largest change of brightness over a sequence, stops; varies smoothly."""

    def __post_init__(self) -> None:
        for name in ("noise", "blur", "exposure"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name}: 0 or more, got {getattr(self, name)}")
        if self.blur > 1:
            raise ConfigError(f"blur: at most 1, the whole time between frames, got {self.blur}")


def write_scene(
    path: Path,
    scene: Scene,
    renderer: Renderer,
    *,
    depth_range: float,
    seed: int,
    faults: CameraFaults | None = None,
    source: Mapping[str, Any] | None = None,
    truth: bool = True,
    imu: str = "",
) -> None:
    """Render a scene into a sequence folder that appears at once.

    Args:
        path: the folder; it must not exist.
        scene: scene to render.
        renderer: an open one; the scene is loaded into it.
        depth_range: deepest value that must be stored, metres; deeper ones are unknown.
        seed: seed of noise and exposure.
        faults: degradations of the image; None for none.
        source: record of the origin for camera.yaml.
        truth: write flow, occlusion, ids and moving beside depth and poses.
        imu: sensor on the camera whose samples are written [imu.find_grade]; none if empty.
    """
    faults = faults or CameraFaults()
    rng = np.random.default_rng((seed, 5))
    gains = exposure_gains(rng, len(scene), faults.exposure)
    renderer.load(scene)
    writer = SequenceWriter(
        path,
        scene.camera,
        depth_scale=round_scale(depth_range),
        source=source,
        ext="png",
    )
    with writer:
        if imu:
            way = SmoothPath(scene.times, scene.T_world_cam, T_CAM_IMU)
            save_imu(writer.partial, simulate_imu(way, find_grade(imu), seed=seed)[0])
        for i in range(len(scene)):
            to = i + 1 if truth and i + 1 < len(scene) else None
            render = renderer.render(i, to)
            rgb = render.rgb if faults.blur == 0 else blurred(renderer, i, faults.blur)
            rgb = spoilt(rng, rgb, gain=float(gains[i]), noise=faults.noise)
            known = None
            if truth:
                moving = np.isin(render.ids, scene.moving_ids)
                known = FrameTruth(render.flow, render.occluded, render.ids, moving)
            pose, depth = scene.T_world_cam[i], render.depth
            writer.add_frame(rgb, scene.times[i], T_world_cam=pose, depth=depth, truth=known)


def round_scale(depth_range: float) -> float:
    """Return a depth_scale that stores `depth_range` in 16 bits: two digits, rounded down."""
    most = 65535 / depth_range
    unit = 10 ** (np.floor(np.log10(most)) - 1)
    return float(np.floor(most / unit) * unit)


def blurred(renderer: Renderer, t: float, shutter: float) -> np.ndarray:
    """Average pictures over an exposure around a time. (H, W, 3) uint8"""
    times = t + shutter * (np.arange(BLUR_SAMPLES) + 0.5 - BLUR_SAMPLES / 2) / BLUR_SAMPLES
    total = sum(renderer.render(time, truth=False).rgb.astype(np.float32) for time in times)
    return np.rint(total / BLUR_SAMPLES).astype(np.uint8)


def exposure_gains(rng: np.random.Generator, count: int, stops: float) -> np.ndarray:
    """Factors of brightness that wander smoothly within +- half of `stops`. (N,)"""
    phase = rng.uniform(0, 2 * np.pi) + np.arange(count) * rng.uniform(0.05, 0.5)
    return 2.0 ** (0.5 * stops * np.sin(phase))


def spoilt(rng: np.random.Generator, rgb: np.ndarray, *, gain: float, noise: float) -> np.ndarray:
    """Apply gain and sensor noise. (H, W, 3) uint8"""
    if gain == 1.0 and noise == 0:
        return rgb
    light = rgb.astype(np.float32) * gain
    if noise > 0:
        spread = noise * np.sqrt(0.2 + 0.8 * light / 128)
        light += spread * rng.normal(size=light.shape).astype(np.float32)
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)
