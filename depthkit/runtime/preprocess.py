# SPDX-License-Identifier: Apache-2.0
"""Frames prepared for a network, and its maps brought back, by the one pixel convention.

The numpy counterpart of what training does in torch: frames are resized by area or bilinearly, and
derotated by the homography K R K^-1 as in `geometry/rotation.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from depthkit.camera import resize_matrix
from depthkit.errors import DataError, EngineError, check_shape
from depthkit.multiview.plane_sweep import plane_sweep

if TYPE_CHECKING:
    from depthkit.runtime.network.manifest import Manifest

REACH = (0.5, 2.0)
"""Accepted range of the field of view: tan of its half angle, relative to the training's."""
LEAST_SIDE = 32  # pixels at the network's focal length
HOT = 1e-3  # share of hot pixels that a dark sensor may have
BLACK = 8  # grey levels; a covered lens shows noise below it and nothing else
NO_TURN = 1e-7  # entries of R - I; a smaller rotation moves no pixel


@dataclass(frozen=True, eq=False)
class NetworkFrame:
    """A camera frame at the size a pair network takes; past frames are kept in this form."""

    rgb: np.ndarray
    """Image in its own memory, independent of the driver's buffer. (h, w, 3) uint8"""
    K: np.ndarray
    """Intrinsics at h x w, pixels. (3, 3)"""


def check_frame(rgb: np.ndarray) -> None:
    """Raise unless the array is a colour frame.

    Args:
        rgb: one frame. (H, W, 3) uint8

    Raises:
        TypeError: not an array: the caller's bug.
        DataError: an array of another type or shape.
    """
    if not isinstance(rgb, np.ndarray):
        raise TypeError(f"frame must be a numpy array, got {type(rgb).__name__}")
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise DataError(
            f"frame must be RGB, (H, W, 3) uint8, got {rgb.shape} {rgb.dtype}; convert grey, "
            "16-bit and four-channel images first"
        )


def check_camera(K: np.ndarray) -> None:
    """Raise unless K is that of a camera; an uncalibrated one has zeros. (3, 3)

    Raises:
        EngineError: not finite, or a focal length of about 0 or less.
    """
    check_shape("K", K, "3 3")
    if not (np.isfinite(K).all() and min(K[0, 0], K[1, 1]) > 1e-6):  # sizes overflow
        raise EngineError(
            f"K must be finite with focal lengths above 0, got {np.asarray(K).tolist()}; check the "
            "calibration"
        )


def is_black(rgb: np.ndarray) -> bool:
    """Whether a frame is black but for hot pixels: a covered lens, an empty buffer."""
    return bool(np.count_nonzero(rgb > BLACK) <= HOT * rgb.size)


def to_size(rgb: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize as training does: by area when the height shrinks, else bilinearly.

    Args:
        rgb: (H, W, 3) uint8
        size: wanted (h, w).

    Returns:
        The frame itself where it has that size already. (h, w, 3) uint8
    """
    if rgb.shape[:2] == size:
        return rgb
    how = cv2.INTER_AREA if size[0] < rgb.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(rgb, size[::-1], interpolation=how)


def size_at_focal(K: np.ndarray, size: tuple[int, int], manifest: "Manifest") -> tuple[int, int]:
    """Return the frame size at which the focal length is one that the network was trained for.

    Args:
        K: intrinsics of the camera at `size`, pixels. (3, 3)
        size: frame size (H, W).
        manifest: manifest of a pair network.

    Raises:
        EngineError: an impossible K, or a field of view far from that of the training.
    """
    check_camera(K)
    focal, (height, width) = manifest.focal, manifest.size
    if focal is None:
        raise EngineError("the manifest has no focal length; export the pair network again")
    focal = float(np.clip(K[0, 0], focal, manifest.focal_most or focal))
    wanted = (round(size[0] * focal / K[1, 1]), round(size[1] * focal / K[0, 0]))
    reach = max(wanted[0] / height, wanted[1] / width)
    if not REACH[0] <= reach <= REACH[1] or min(wanted) < LEAST_SIDE:
        raise EngineError(
            f"focal length {K[0, 0]:.1f} px of {size[1]}x{size[0]} frames is out of range: at the "
            f"network's {focal:.1f} px they would be {wanted[1]}x{wanted[0]}, and it learnt "
            f"{width}x{height} (from {REACH[0]} to {REACH[1]} times that, {LEAST_SIDE} a side at "
            "least); crop the frames or train for this camera"
        )
    return wanted


def resize_K(K: np.ndarray, from_size: tuple[int, int], to_size: tuple[int, int]) -> np.ndarray:
    """Return the intrinsics after frames are resized. (3, 3), sizes are (H, W)"""
    return resize_matrix(from_size, to_size) @ np.asarray(K, dtype=np.float64)


def derotate(
    rgb: np.ndarray, *, R_target_source: np.ndarray, K: np.ndarray, out: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Derotate a source view to the target's orientation; the camera centre stays.

    Target pixels are sampled in the source at K R_source_target K^-1, bilinearly.

    Args:
        rgb: source image. (h, w, 3) uint8
        R_target_source: directions of the source frame to the target frame. (3, 3)
        K: intrinsics of source and result, pixels. (3, 3)
        out: buffer for the derotated view; allocated if None. (h, w, 3) uint8

    Returns:
        image: derotated view, border colours outside. (h, w, 3) uint8
        valid: the pixel was inside the source. (h, w) bool
    """
    height, width = rgb.shape[:2]
    if np.abs(R_target_source - np.eye(3)).max() < NO_TURN:
        return _copy_to(out, rgb), np.ones((height, width), bool)
    H_source_target = K @ np.asarray(R_target_source, np.float64).T @ np.linalg.inv(K)
    image = cv2.warpPerspective(
        rgb,
        H_source_target,
        (width, height),
        dst=out,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return image, _covered(H_source_target, (height, width))


def _copy_to(out: np.ndarray | None, rgb: np.ndarray) -> np.ndarray:
    if out is None:
        return rgb.copy()
    out[...] = rgb
    return out


def _covered(H_source_target: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return which target pixels fall inside the source, half a pixel of margin, and in front.

    With (x, y, z) = H (u, v, 1), u_source > -0.5 is x + 0.5 z > 0 where z > 0: each border is a
    half-plane, linear in u and v, so that no pixel needs a division. (h, w) bool
    """
    height, width = size
    x, y, z = H_source_target
    v, u = np.arange(height)[:, None], np.arange(width)[None]
    borders = (
        z - [0, 0, 1e-6],
        x + z / 2,
        (width - 0.5) * z - x,
        y + z / 2,
        (height - 0.5) * z - y,
    )
    covered = np.ones(size, bool)
    for a, b, c in borders:
        covered &= a * u > -(b * v + c)
    return covered


def turn_batch(
    current: NetworkFrame,
    previous: Sequence[NetworkFrame],
    rotations: np.ndarray,
    multiple: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Derotate earlier frames to the current orientation, directly into a network's batch.

    Args:
        current: current frame, (h, w).
        previous: n frames of the same camera and size.
        rotations: R_current_previous. (n, 3, 3)
        multiple: divisor of the network's height and width; edges are repeated to the right and
            below.

    Returns:
        turned: derotated frames, sides padded to `multiple`. (n, h', w', 3) uint8
        covered: pixels that the earlier frames show. (n, h, w) bool
    """
    count, (height, width) = len(previous), current.rgb.shape[:2]
    check_shape("turn_batch: rotations", rotations, f"{max(1, count)} 3 3")
    turned, covered = _batch(count, current, multiple), np.empty((count, height, width), bool)
    for i, (frame, R) in enumerate(zip(previous, rotations, strict=True)):
        check_shape("turn_batch: previous", frame.rgb, f"{height} {width} 3")
        inner = turned[i, :height, :width]
        _, covered[i] = derotate(frame.rgb, R_target_source=R, K=current.K, out=inner)
    return _fill_up(turned, (height, width)), covered


def repeat_batch(frame: NetworkFrame, count: int, multiple: int = 1) -> np.ndarray:
    """Repeat a frame n times as a batch, padded as in `turn_batch`. (n, h', w', 3) uint8"""
    height, width = frame.rgb.shape[:2]
    batch = _batch(count, frame, multiple)
    batch[:, :height, :width] = frame.rgb
    return _fill_up(batch, (height, width))


def sweep_batch(
    turned: np.ndarray,
    current: np.ndarray,
    *,
    t_current_previous: np.ndarray,
    K: np.ndarray,
    manifest: "Manifest",
) -> np.ndarray:
    """Compute the plane-sweep volumes of a batch, by the same function as training.

    Args:
        turned: earlier frames, derotated to the current one. (n, h, w, 3) uint8
        current: the current frame, n times. (n, h, w, 3) uint8
        t_current_previous: positions of the earlier cameras in the current frame; only the
            direction is used. (n, 3)
        K: intrinsics of all frames, pixels. (3, 3)
        manifest: manifest of the network.

    Returns:
        (n, planes, h, w) uint8

    Raises:
        EngineError: a direction is unknown.
    """
    length = np.linalg.norm(t_current_previous, axis=1, keepdims=True)
    if not (length > 0).all():  # NaN is not
        raise EngineError(
            "this network needs the direction of motion, and it is unknown; give poses, or use "
            "depthnet, which does not need it"
        )
    inverse_depths = np.array(manifest.planes)
    to_nominal = -(manifest.nominal_baseline or 0.0) / length
    volumes = [
        plane_sweep(previous, now, t_previous_current=t, K=K, inverse_depths=inverse_depths)
        for previous, now, t in zip(turned, current, t_current_previous * to_nominal, strict=True)
    ]
    return np.stack(volumes)


def _batch(count: int, frame: NetworkFrame, multiple: int) -> np.ndarray:
    height, width = (-(-side // multiple) * multiple for side in frame.rgb.shape[:2])
    return np.empty((count, height, width, 3), np.uint8)


def _fill_up(batch: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    batch[:, height:, :width] = batch[:, height - 1 : height, :width]
    batch[:, :, width:] = batch[:, :, width - 1 : width]
    return batch


def enlarge_depth(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a depth map to the camera's size, bilinearly in depth. (h, w) -> (H, W) float32"""
    return _resized(depth, size)


def enlarge_inverse(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a depth map to the camera's size, bilinearly in 1 / depth. (h, w) -> (H, W) float32"""
    if depth.shape == size:
        return depth
    with np.errstate(divide="ignore"):  # unknown pixels stay unknown
        inverse = _resized(np.reciprocal(depth), size)
        return np.reciprocal(inverse, out=inverse)


def enlarge_mask(valid: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a mask to the camera's size: True where all mixed pixels are. (h, w) -> (H, W) bool"""
    if valid.shape == size:
        return valid
    if valid.all():
        return np.ones(size, bool)
    return _resized(valid.astype(np.float32), size) > 1 - 1e-3


def _resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if values.shape == size:
        return values
    return cv2.resize(values, size[::-1], interpolation=cv2.INTER_LINEAR)
