# SPDX-License-Identifier: Apache-2.0
"""Pictures of a street's surfaces: facades, shop fronts, asphalt, leaves, paint, sky.

A pool is drawn once a process; a scene takes some of each kind and tints them.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from depthkit.synth.patterns import fractal_noise

SIZE = 256  # pixels
Rng = np.random.Generator

# How many of each kind the pool holds, and how many a scene takes.
POOL = {
    "facade": (16, 7),
    "shop": (10, 4),
    "plain": (8, 3),
    "asphalt": (5, 1),
    "pavement": (5, 1),
    "ground": (5, 2),
    "paint": (3, 7),
    "glass": (2, 1),
    "dark": (1, 1),
    "lamps": (1, 1),
    "white": (1, 1),
    "leaves": (6, 3),
    "bark": (2, 1),
    "sign": (8, 3),
    "sky": (6, 1),
}
TINTED = ("facade", "shop", "plain", "paint", "ground")


@dataclass(frozen=True)
class Palette:
    """The textures of one scene."""

    textures: np.ndarray
    """(L, SIZE, SIZE, 3) uint8"""
    layers: dict[str, tuple[int, ...]]
    """Layers of each kind."""

    def pick(self, rng: Rng, kind: str) -> int:
        """Return one layer of a kind."""
        return int(rng.choice(self.layers[kind]))


def draw_palette(rng: Rng) -> Palette:
    """Take some textures of each kind from the pool and tint them."""
    chosen: list[np.ndarray] = []
    layers: dict[str, tuple[int, ...]] = {}
    for kind, (count, taken) in POOL.items():
        layers[kind] = tuple(range(len(chosen), len(chosen) + taken))
        for i in rng.choice(count, taken, replace=taken > count):
            picture = _pool()[kind][i]
            chosen.append(_tinted(picture, _tint(rng, kind)) if kind in TINTED else picture)
    return Palette(np.stack(chosen), layers)


@functools.cache
def _pool() -> dict[str, list[np.ndarray]]:
    """Draw the pool, the same in every process. Lists of (SIZE, SIZE, 3) uint8"""
    makers: dict[str, Callable[[Rng], np.ndarray]] = {
        "facade": _facade,
        "shop": _shop,
        "plain": lambda rng: _stone(rng, 200, 14),
        "asphalt": lambda rng: _stone(rng, rng.uniform(70, 110), 11, tint=3),
        "pavement": _pavement,
        "ground": lambda rng: _stone(rng, 150, 26),
        "paint": lambda rng: _stone(rng, 236, 5),
        "glass": _glass,
        "dark": lambda rng: _stone(rng, 26, 3),
        "lamps": _lamps,
        "white": lambda rng: _stone(rng, 225, 10),
        "leaves": _leaves,
        "bark": _bark,
        "sign": _sign,
        "sky": _sky,
    }
    rng = np.random.default_rng(2017)
    return {kind: [makers[kind](rng) for _ in range(count)] for kind, (count, _) in POOL.items()}


def _tint(rng: Rng, kind: str) -> np.ndarray:
    """Draw a factor for each channel. (3,)"""
    if kind == "paint":  # many cars are white, grey or black; the others are gaudy
        value = rng.uniform(0.08, 1.0)
        grey = np.full(3, value) + rng.uniform(-0.03, 0.03, 3)
        return grey if rng.random() < 0.55 else rng.uniform(0.05, 0.9, 3)
    if kind == "ground":
        return np.array([rng.uniform(0.4, 0.9), rng.uniform(0.6, 0.95), rng.uniform(0.3, 0.6)])
    warm = rng.uniform(-0.22, 0.12)
    return rng.uniform(0.65, 1.1) * np.array([1.0, 1.0 + warm / 2, 1.0 + warm])


def _tinted(picture: np.ndarray, factors: np.ndarray) -> np.ndarray:
    return cv2.multiply(picture, np.array([*factors, 0.0]))


# --- the kinds -----------------------------------------------------------------------------------


def _stone(rng: Rng, grey: float, contrast: float, *, tint: float = 6) -> np.ndarray:
    """A rough surface: grain over broad stains."""
    value = grey + 0.6 * contrast * fractal_noise(rng, SIZE, roughness=0.85)
    return _picture(value[..., None] + rng.uniform(-tint, tint, 3))


def _bark(rng: Rng) -> np.ndarray:
    """Upright furrows: noise with columns eight times as close as rows, and still tileable."""
    return _stone(rng, 95, 22, tint=12)[:, 8 * np.arange(SIZE) % SIZE]


def _pavement(rng: Rng) -> np.ndarray:
    """Slabs with dark joints, each of a grey of its own."""
    count = int(rng.choice([4, 8]))
    picture = _stone(rng, rng.uniform(125, 165), 8).astype(np.float32)
    slabs = rng.uniform(-14, 14, (count, count)).astype(np.float32)
    picture += cv2.resize(slabs, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST)[..., None]
    step = SIZE // count
    picture[np.arange(SIZE) % step < 2] *= 0.7
    picture[:, np.arange(SIZE) % step < 2] *= 0.7
    return _picture(picture)


def _facade(rng: Rng) -> np.ndarray:
    """Two storeys of windows in a wall of plaster or brick."""
    picture = _stone(rng, rng.uniform(170, 225), 9)
    if rng.random() < 0.5:
        _bricks(picture, rng)
    columns = int(rng.integers(2, 5))
    share = rng.uniform(0.4, 0.7), rng.uniform(0.45, 0.72)
    frame = (picture.mean(axis=(0, 1)) * rng.choice([0.55, 1.25])).clip(0, 255).tolist()
    for storey in range(2):
        if rng.random() < 0.5:
            y = 128 * storey
            cv2.rectangle(picture, (0, y), (SIZE, y + 5), frame, -1)
        for column in range(columns):
            _window(picture, rng, (column, storey, columns), share, frame)
    return picture


def _window(
    picture: np.ndarray,
    rng: Rng,
    place: tuple[int, int, int],
    share: tuple[float, float],
    frame: list[float],
) -> None:
    """Paint one window: frame, glass that mirrors the sky, sometimes a curtain or a blind."""
    column, storey, columns = place
    width, height = int(SIZE / columns * share[0]), int(128 * share[1])
    x = int((column + 0.5) * SIZE / columns) - width // 2
    y = 128 * storey + (128 - height) // 2
    cv2.rectangle(picture, (x - 3, y - 3), (x + width + 3, y + height + 3), frame, -1)
    ramp = np.linspace(1.35, 0.7, height)[:, None, None]
    glass = rng.uniform(35, 85) * ramp * np.array([0.85, 0.95, 1.1])
    picture[y : y + height, x : x + width] = glass.clip(0, 255)
    if rng.random() < 0.4:
        drop = int(height * rng.uniform(0.15, 0.9))
        picture[y : y + drop, x : x + width] = rng.uniform(90, 215, 3)
    cv2.line(picture, (x + width // 2, y), (x + width // 2, y + height), frame, 3)
    cv2.rectangle(picture, (x - 6, y + height + 2), (x + width + 6, y + height + 6), frame, -1)


def _bricks(picture: np.ndarray, rng: Rng) -> None:
    """Paint joints over a wall; each brick gets a shade of its own."""
    shades = rng.uniform(0.82, 1.05, (32, 16)).astype(np.float32)
    rows = np.arange(SIZE) // 8
    columns = ((np.arange(SIZE)[None, :] + 8 * (rows[:, None] % 2)) // 16) % 16
    factor = shades[rows[:, None], columns]
    colour = np.array([1.0, rng.uniform(0.6, 0.9), rng.uniform(0.45, 0.8)])
    picture[:] = (picture * factor[..., None] * colour).astype(np.uint8)
    picture[np.arange(SIZE) % 8 == 0] = (picture[np.arange(SIZE) % 8 == 0] * 0.8).astype(np.uint8)


def _shop(rng: Rng) -> np.ndarray:
    """A ground floor: panes, a door, a sign over them or an awning."""
    picture = _stone(rng, rng.uniform(120, 210), 10)
    colour = rng.uniform(30, 220, 3).tolist()
    cv2.rectangle(picture, (0, 30), (SIZE, 70), colour, -1)
    for k in range(int(rng.integers(4, 12))):  # what might be letters
        x, tall = 20 + 18 * k, int(rng.integers(8, 24))
        cv2.rectangle(picture, (x, 62 - tall), (x + 9, 62), (240, 240, 235), -1)
    if rng.random() < 0.4:
        for x in range(0, SIZE, 32):
            cv2.rectangle(picture, (x, 70), (x + 15, 96), (235, 235, 230), -1)
            cv2.rectangle(picture, (x + 16, 70), (x + 31, 96), colour, -1)
    panes = int(rng.integers(2, 5))
    for k in range(panes):
        left, right = int(SIZE * k / panes) + 8, int(SIZE * (k + 1) / panes) - 8
        bottom = 250 if rng.random() < 0.3 else 215
        cv2.rectangle(picture, (left, 84), (right, bottom), rng.uniform(20, 75, 3).tolist(), -1)
        for _ in range(5):  # goods behind the glass
            x, y = int(rng.integers(left, right)), int(rng.integers(110, bottom))
            size = int(rng.integers(4, 16))
            end = (min(x + size, right), min(y + size, bottom))
            cv2.rectangle(picture, (x, y), end, rng.uniform(30, 200, 3).tolist(), -1)
    return picture


def _glass(rng: Rng) -> np.ndarray:
    """Windows of a car: dark, paler where they mirror the sky."""
    ramp = np.linspace(80, 30, SIZE)[:, None, None] * np.array([0.85, 0.95, 1.05])
    return _picture(ramp + 4 * fractal_noise(rng, SIZE)[..., None])


def _lamps(rng: Rng) -> np.ndarray:
    """White in the left half, red in the right one."""
    picture = np.full((SIZE, SIZE, 3), 245.0)
    picture[:, SIZE // 2 :] = (190, 20, 20)
    return _picture(picture)


def _leaves(rng: Rng) -> np.ndarray:
    """Light and dark spots of a crown."""
    green = np.array([rng.uniform(45, 110), rng.uniform(85, 130), rng.uniform(25, 55)])
    value = 1 + 0.25 * fractal_noise(rng, SIZE, coarsest=8, roughness=0.9)
    return _picture(value[..., None] * green)


def _sign(rng: Rng) -> np.ndarray:
    """A board: two colours and a few bars."""
    back, front = rng.uniform(20, 240, 3), rng.uniform(20, 240, 3).tolist()
    picture = _picture(back + 3 * fractal_noise(rng, SIZE)[..., None])
    for _ in range(int(rng.integers(2, 7))):
        x, y = rng.integers(10, 200, 2).tolist()
        w, h = rng.integers(15, 120, 2).tolist()
        cv2.rectangle(picture, (x, y), (min(x + w, 245), min(y + h, 245)), front, -1)
    return picture


def _sky(rng: Rng) -> np.ndarray:
    """Haze at the horizon (bottom row), blue above, clouds between."""
    blue = np.array([rng.uniform(110, 170), rng.uniform(160, 200), rng.uniform(225, 250)])
    height = np.linspace(1, 0, SIZE)[:, None, None] ** 0.6
    picture = (1 - height) * np.array([225, 230, 236]) + height * blue
    clouds = np.clip(0.5 * fractal_noise(rng, SIZE) + rng.uniform(-0.4, 0.5), 0, 1)[..., None]
    return _picture(picture + 0.8 * clouds * (np.array([250, 250, 252]) - picture))


def _picture(values: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.clip(values, 0, 255), (SIZE, SIZE, 3)).astype(np.uint8)
