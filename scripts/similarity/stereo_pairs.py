# SPDX-License-Identifier: Apache-2.0
"""Rectified pairs with exact disparity: rendered ones that no training has seen, and Middlebury.

Every pair is a picture of a Still Box or of a street and one of the same moment from a camera that
stands to its right; seeds of 50000 and above are used by no recipe.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from depthkit.synth.render import open_renderer
from depthkit.synth.scene import Scene
from depthkit.synth.stillbox import StillboxOptions, make_stillbox_scene
from depthkit.synth.street import StreetOptions, make_street_scene

SIZE = (384, 512)
BASELINES = (0.08, 0.3)  # metres
NOISE = 2.0  # grey levels
SEED = 50_000


@dataclass(frozen=True, eq=False)
class StereoPair:
    """A rectified pair and what is known of it."""

    name: str
    left: np.ndarray
    """Grey. (H, W) uint8"""
    right: np.ndarray
    """Grey. (H, W) uint8"""
    disparity: np.ndarray
    """Disparity of the left picture, pixels; NaN where unknown. (H, W) float32"""
    visible: np.ndarray
    """Left pixels that the right picture shows. (H, W) bool"""

    @property
    def max_disparity(self) -> int:
        """The largest disparity, rounded up to a multiple of 16: what a user would give."""
        return int(np.ceil(np.nanmax(self.disparity) / 16) * 16)


def rendered_pairs(
    count: int, *, seed: int = SEED, size: tuple[int, int] = SIZE, exposure: float = 0.25
) -> Iterator[StereoPair]:
    """Render pairs; every third is a street.

    Args:
        count: number of pairs.
        seed: of the first one.
        size: (H, W), pixels.
        exposure: largest change of the right picture's brightness, stops.
    """
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        scene = _make_scene(number, seed + number, size)
        yield _render_pair(f"pair{seed + number}", scene, rng, exposure)


def _make_scene(number: int, seed: int, size: tuple[int, int]) -> Scene:
    if number % 3 == 2:
        return make_street_scene(StreetOptions(moving=0.0), seed, frames=2, size=size)
    options = StillboxOptions(room=(6.0, 60.0), distance=(0.9, 25.0))
    return make_stillbox_scene(options, seed, frames=2, size=size)


def _render_pair(name: str, scene: Scene, rng: np.random.Generator, exposure: float) -> StereoPair:
    baseline = float(rng.uniform(*BASELINES)) * (
        2 if scene.camera.height and "street" in name else 1
    )
    left = np.asarray(scene.T_world_cam[0])
    right = left.copy()
    right[:3, 3] += baseline * left[:3, 0]
    both = replace(scene, T_world_cam=np.stack([left, right]))
    renderer = open_renderer()
    try:
        renderer.load(both)
        first, second = renderer.render(0, 1), renderer.render(1)
    finally:
        renderer.close()
    gain = 2.0 ** rng.uniform(-exposure, exposure)
    greys = [
        _spoil(cv2.cvtColor(one.rgb, cv2.COLOR_RGB2GRAY), factor, rng)
        for one, factor in ((first, 1.0), (second, gain))
    ]
    known = first.depth > 0
    disparity = np.where(
        known, scene.camera.fx * baseline / np.where(known, first.depth, 1), np.nan
    )
    inside = np.arange(disparity.shape[1])[None] - disparity >= 0
    visible = known & inside & ~first.occluded.astype(bool)
    return StereoPair(name, greys[0], greys[1], disparity.astype(np.float32), visible)


def _spoil(grey: np.ndarray, gain: float, rng: np.random.Generator) -> np.ndarray:
    noisy = gain * grey.astype(np.float32) + rng.normal(0, NOISE, grey.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def motorcycle(folder: Path) -> StereoPair:
    """Read the motorcycle pair of Middlebury 2014; its truth tells not what is hidden."""
    greys = [cv2.imread(str(folder / f"motorcycle_{side}.png"), 0) for side in ("left", "right")]
    truth = np.load(folder / "motorcycle_disp.npz")["arr_0"].astype(np.float32)
    truth = np.where(np.isfinite(truth), truth, np.nan)
    return StereoPair("motorcycle", *greys, truth, np.isfinite(truth))
