# SPDX-License-Identifier: Apache-2.0
"""Copies of a picture that a known homography moved and a fault of cameras or links degraded."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

WARPS = 3
"""Homographies drawn for each picture."""
_MAX_TURN = 30.0  # degrees
_ZOOM = (0.7, 1.3)
_CORNER = 0.1  # of the side: how far each corner moves by itself


@dataclass(frozen=True)
class Degradation:
    """One fault at one strength."""

    name: str
    apply: Callable[[np.ndarray, np.random.Generator], np.ndarray]
    """From (H, W, 3) uint8 and a source of noise to the same size and type."""


def jpeg(quality: int) -> Degradation:
    """Compress by JPEG, quality 1 to 100."""

    def apply(rgb: np.ndarray, _: np.random.Generator) -> np.ndarray:
        data = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))

    return Degradation(f"jpeg {quality}", apply)


def blur(sigma: float) -> Degradation:
    """Blur by a Gaussian of this standard deviation, pixels."""

    def apply(rgb: np.ndarray, _: np.random.Generator) -> np.ndarray:
        return cv2.GaussianBlur(rgb, (0, 0), sigma)

    return Degradation(f"blur {sigma:g} px", apply)


def gamma(exponent: float) -> Degradation:
    """Darken as at night: shares of white to this power, in 8 bits."""
    levels = np.rint(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)

    def apply(rgb: np.ndarray, _: np.random.Generator) -> np.ndarray:
        return levels[rgb]

    return Degradation(f"gamma {exponent:g}", apply)


def light(contrast: float, offset: float) -> Degradation:
    """Change the light: contrast times the value plus an offset, cut at black and white."""

    def apply(rgb: np.ndarray, _: np.random.Generator) -> np.ndarray:
        return np.clip(np.rint(rgb * contrast + offset), 0, 255).astype(np.uint8)

    return Degradation(f"light x{contrast:g}{offset:+g}", apply)


def noise(sigma: float) -> Degradation:
    """Add Gaussian noise of this standard deviation, grey values."""

    def apply(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.clip(np.rint(rgb + rng.normal(0, sigma, rgb.shape)), 0, 255).astype(np.uint8)

    return Degradation(f"noise {sigma:g}", apply)


DEGRADATIONS = (
    Degradation("none", lambda rgb, rng: rgb),
    *(light(1.5, 30), light(0.4, -10)),
    *map(jpeg, (30, 10, 5)),
    *map(blur, (1.5, 3.0, 5.0)),
    *map(gamma, (2.0, 3.0, 4.0)),
    *map(noise, (10.0, 25.0, 50.0)),
)


def degraded(
    rgb: np.ndarray, fault: Degradation, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Move a picture by a drawn homography, then degrade it.

    What comes from outside the picture is its mirror image: it has no partner, and no dark edge.

    Args:
        rgb: (H, W, 3) uint8
        fault: what is done to the moved picture.
        rng: source of the homography and of noise.

    Returns:
        picture: (H, W, 3) uint8
        H: pixels of rgb to pixels of the picture. (3, 3)
    """
    size = rgb.shape[1], rgb.shape[0]
    H = draw_homography(rng, size)
    moved = cv2.warpPerspective(
        rgb, H, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return fault.apply(np.asarray(moved), rng), H


def draw_homography(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Draw a turn, a zoom, and a move of each corner; the centre stays near its place.

    Args:
        rng: source of numbers.
        size: (W, H), pixels.

    Returns:
        (3, 3), H[2, 2] = 1
    """
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * (np.array(size) - 1.0)
    angle = np.radians(rng.uniform(-_MAX_TURN, _MAX_TURN))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = corners.mean(axis=0)
    moved = (corners - centre) @ (rng.uniform(*_ZOOM) * turn).T + centre
    moved += rng.uniform(-_CORNER, _CORNER, (4, 2)) * size
    H = cv2.getPerspectiveTransform(corners.astype(np.float32), moved.astype(np.float32))
    return np.asarray(H / H[2, 2])
