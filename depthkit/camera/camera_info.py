# SPDX-License-Identifier: Apache-2.0
"""Which camera a camera_info means: K of the full sensor, or of a picture that was cut or binned.

sensor_msgs/CameraInfo gives K for width x height of the full sensor; region of interest, then
binning, lead to the picture. Drivers often scale K themselves and state the binning all the same.
The principal point tells: a lens is mounted in front of the middle of its sensor.
"""

from typing import Any

import numpy as np

from depthkit.camera.pinhole import Camera
from depthkit.errors import DataError

OFF_CENTRE = 0.2
"""Share of a picture's side; a principal point further from the middle, in both axes, is wrong."""
CENTRAL = 0.1
"""And one within this of the middle is right."""


def camera_of_image(
    msg: Any, K: np.ndarray, size: tuple[int, int]
) -> tuple[Camera, tuple[str, ...]]:
    """Find the camera of the image that a camera_info goes with.

    Args:
        msg: a sensor_msgs/CameraInfo.
        K: its K, or the left part of P. (3, 3)
        size: of the image, (H, W).

    Returns:
        The camera, and what was assumed where the message contradicts itself.

    Raises:
        DataError: no size, of another image ratio, or a principal point far off the middle.
    """
    camera = _by_the_standard(msg, K, size)
    if not _is_off(camera):
        return _checked(camera, K, size, is_cut=_has_region(msg))
    for words, other in _other_readings(msg, K, size):
        if max(_offsets(other)) < CENTRAL:
            return other, (
                f"camera_info ({_stated(msg)}) and its K contradict each other: K is taken "
                f"{words}, with its {_place(other)} (--camera FILE overrules)",
            )
    if _has_region(msg) and _is_inside(camera):
        return camera, ()
    raise DataError(
        f"camera: {_place(camera)}: K is not of the stated {_stated(msg)} but of about "
        f"{_likely_size(K)} pixels; publish K of the full sensor, or give --camera FILE"
    )


def _stated(msg: Any) -> str:
    binning = f", binning {msg.binning_x}" if max(msg.binning_x, msg.binning_y) > 1 else ""
    return f"{msg.width}x{msg.height}{binning}"


def model_name(model: str, D: tuple[float, ...]) -> tuple[str, tuple[str, ...]]:
    """Return the distortion model, by the length of D if unnamed, and what was assumed.

    Args:
        model: the name, perhaps empty.
        D: the coefficients.
    """
    if model or not any(D):
        return model, ()
    found = "rational_polynomial" if len(D) > 5 else "plumb_bob"
    return found, (
        f"camera_info names no distortion_model: its {len(D)} coefficients are taken as {found} "
        "(--camera FILE overrules)",
    )


def second_camera(msg: Any, P: np.ndarray) -> tuple[str, ...]:
    """Say that P is that of the second camera of a stereo pair, seen from the first one's frame.

    Args:
        msg: a sensor_msgs/CameraInfo.
        P: its projection by rows. (12,)
    """
    if P[3] == 0:
        return ()
    return (
        f"camera_info: P[3] is {P[3]:g}, so this is the second camera of a stereo pair, "
        f"{-P[3] / P[0]:.3g} m beside the first; poses are taken as those of its frame_id, "
        f"{msg.header.frame_id!r}",
    )


def _by_the_standard(msg: Any, K: np.ndarray, size: tuple[int, int]) -> Camera:
    """Cut the region of interest out of the sensor, bin it, resize it to the image."""
    camera = _pinhole(int(msg.width), int(msg.height), K)
    roi = msg.roi
    if _has_region(msg):
        camera = camera.cropped(roi.y_offset, roi.x_offset, (roi.height, roi.width))
    by, bx = max(msg.binning_y, 1), max(msg.binning_x, 1)  # 0 is 1
    binned = camera.height // by, camera.width // bx
    camera = camera.cropped(0, 0, (binned[0] * by, binned[1] * bx)).resized(binned)
    if camera.size == size:
        return camera
    height, width = size
    if abs(camera.height * width / camera.width - height) >= 1:  # more than a rounded size
        turned = " (turned by 90 degrees?)" if (camera.width, camera.height) == size else ""
        raise DataError(
            f"the calibration is for {camera.width}x{camera.height}, expected the ratio of the "
            f"{width}x{height} image{turned}; publish the camera_info of this image"
        )
    return camera.resized(size)


def _other_readings(msg: Any, K: np.ndarray, size: tuple[int, int]) -> list[tuple[str, Camera]]:
    """List what K may mean instead: of the picture itself, or of a sensor that is not stated."""
    height, width = size
    bx, by = max(msg.binning_x, 1), max(msg.binning_y, 1)
    readings = [("as that of the pictures", _pinhole(width, height, K))]
    if (bx, by) != (1, 1) or _has_region(msg):
        sensor = K.copy()
        if _has_region(msg):
            sensor[:2, 2] -= msg.roi.x_offset, msg.roi.y_offset
        full = _pinhole(width * bx, height * by, sensor)
        readings.append(("as that of the full sensor", full.resized(size)))
    return readings


def _checked(
    camera: Camera, K: np.ndarray, size: tuple[int, int], *, is_cut: bool
) -> tuple[Camera, tuple[str, ...]]:
    """Refuse the K of a picture that was turned; name one that is off in one axis."""
    if is_cut:
        return camera, ()
    height, width = size
    turned = abs(K[0, 2] / height - 0.5), abs(K[1, 2] / width - 0.5)
    if max(_offsets(camera)) > CENTRAL and max(turned) < CENTRAL / 2:
        raise DataError(
            f"camera: {_place(camera)}, and in the middle if width and height change places: K is "
            "that of a picture turned by 90 degrees; publish K of this image, or give --camera FILE"
        )
    if max(_offsets(camera)) <= OFF_CENTRE:
        return camera, ()
    text = f"{_place(camera)}: unusual, taken as camera_info says it (--camera FILE overrules)"
    return camera, (text,)


def _pinhole(width: int, height: int, K: np.ndarray) -> Camera:
    return Camera(width, height, K[0, 0], K[1, 1], K[0, 2], K[1, 2])


def _has_region(msg: Any) -> bool:
    """Say whether a region of interest is set: 0 is the full sensor."""
    return bool(msg.roi.width and msg.roi.height)


def _offsets(camera: Camera) -> tuple[float, float]:
    """Return how far the principal point is from the middle, as shares of width and height."""
    x, y = _shares(camera)
    return abs(x - 0.5), abs(y - 0.5)


def _shares(camera: Camera) -> tuple[float, float]:
    return (camera.cx + 0.5) / camera.width, (camera.cy + 0.5) / camera.height


def _is_off(camera: Camera) -> bool:
    return min(_offsets(camera)) > OFF_CENTRE or not _is_inside(camera)


def _is_inside(camera: Camera) -> bool:
    return max(_offsets(camera)) <= 0.5


def _place(camera: Camera) -> str:
    x, y = _shares(camera)
    return f"principal point at {x:.2f}, {y:.2f} of the {camera.width}x{camera.height} picture"


def _likely_size(K: np.ndarray) -> str:
    """Return the picture in whose middle the principal point would lie."""
    return f"{round(2 * K[0, 2]) + 1}x{round(2 * K[1, 2]) + 1}"
