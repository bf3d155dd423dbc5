# SPDX-License-Identifier: Apache-2.0
"""A frame of any size inside a network's input, and the way back: stretch, letterbox or pad.

The picture takes the rows and columns `inner`; what is around it is border. The intrinsics follow
by the one pixel convention: resizing by s maps c to s (c + 0.5) - 0.5, a border moves it.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.errors import EngineError
from depthkit.runtime.network.manifest_parts import Resize
from depthkit.runtime.preprocess import resize_K, to_size


@dataclass(frozen=True)
class PictureFit:
    """Where the picture lies in a network's input."""

    camera: tuple[int, int]
    """Size of the camera's frame, (H, W) pixels."""
    network: tuple[int, int]
    """Size of the network's input, (H, W) pixels."""
    inner: tuple[int, int]
    """Size of the picture in it, (H, W) pixels."""
    top: int
    """Rows of border above the picture."""
    left: int
    """Columns of border left of the picture."""

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the picture in the network's input."""
        (height, width), top, left = self.inner, self.top, self.left
        return slice(top, top + height), slice(left, left + width)


def fit_picture(camera: tuple[int, int], network: tuple[int, int], resize: Resize) -> PictureFit:
    """Work out where a frame goes.

    Args:
        camera: size of the frame, (H, W).
        network: size of the input, (H, W).
        resize: rule of the network.

    Raises:
        EngineError: a frame so long and narrow that less than a pixel of it is left.
    """
    if resize.rule == "stretch":
        return PictureFit(camera, network, network, 0, 0)
    factor = min(network[0] / camera[0], network[1] / camera[1])
    inner = round(camera[0] * factor), round(camera[1] * factor)
    if min(inner) < 1:
        raise EngineError(
            f"a frame of {camera[1]}x{camera[0]} leaves no pixel in the network's "
            f"{network[1]}x{network[0]} with its aspect ratio kept; crop the frame"
        )
    spare = network[0] - inner[0], network[1] - inner[1]
    if resize.rule == "letterbox":
        return PictureFit(camera, network, inner, spare[0] // 2, spare[1] // 2)
    top, left = spare if resize.side == "left-above" else (0, 0)
    return PictureFit(camera, network, inner, top, left)


def place_picture(rgb: np.ndarray, fit: PictureFit, resize: Resize) -> np.ndarray:
    """Resize a frame and put the border around it. (H, W, 3) -> (h, w, 3) uint8"""
    small = to_size(rgb, fit.inner)
    if fit.inner == fit.network:
        return np.ascontiguousarray(small)
    placed = np.empty((*fit.network, 3), np.uint8)
    placed[:] = resize.value
    placed[fit.window] = small
    return placed


def place_K(K: np.ndarray, fit: PictureFit) -> np.ndarray:
    """Return the intrinsics at the network's size, its border included. (3, 3)"""
    moved = resize_K(K, fit.camera, fit.inner)
    moved[:2, 2] += fit.left, fit.top
    return moved
