# SPDX-License-Identifier: Apache-2.0
"""From the numbers of a calibration file to K in our convention, or one line on why they cannot be.

K that is written by columns or as fractions of the picture's size, or that counts from a pixel's
corner, is converted and noted. What no camera looks like (a principal point far off the middle, a
field of view of 2 or 178 degrees, pixels twice as wide as high) is refused with its numbers: it is
nearly always the K of another picture.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from depthkit.camera.calibration import Calibration
from depthkit.errors import DataError

LARGEST_SKEW = 0.5
"""Pixels by which the skew that is left out may shift the border of the picture."""
SQUARE = 0.03
"""Relative difference of fx and fy up to which pixels count as square."""
LARGEST_RATIO = 2.0
"""Largest ratio of fx to fy or fy to fx: beyond it the calibration is refused."""
USUAL_OFFSET = 0.1
"""Distance of the principal point from the middle, share of width or height; beyond it is noted."""
LARGEST_OFFSET, LARGEST_WITHOUT_SIZE = 0.3, 0.2
"""Beyond it is refused: where the file states its size, and where nothing tells whose K it is."""
SAME_SHAPE = 0.05
USUAL_VIEW = (15.0, 170.0)
"""Degrees of the wider side: outside it is noted (telephoto) or refused."""
SMALLEST_VIEW = 3.0
LARGEST_FISHEYE_VIEW = 300.0


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole in our convention: integer pixel centres, no skew."""

    size: tuple[int, int]
    """(H, W) pixels."""
    fx: float
    fy: float
    cx: float
    cy: float
    assumed: tuple[str, ...]


def convert_intrinsics(
    calibration: Calibration, size: tuple[int, int] | None, *, is_fisheye: bool
) -> Intrinsics:
    """Convert K and check that it can be a camera's.

    Args:
        calibration: as its file states it.
        size: (H, W) of the frames, used where the file states no size; None: not known.
        is_fisheye: r = f theta: the field of view follows from the angle itself.

    Raises:
        DataError: no size, or a K that is no camera's; with the numbers.
    """
    K, said = _upright(np.array(calibration.K, dtype=np.float64).reshape(3, 3))
    stated = calibration.size or size
    if stated is None:
        raise DataError(
            "camera: missing image_width and image_height; add the size of the pictures to the file"
        )
    if min(stated) <= 0:
        raise DataError(f"camera: size must be positive, got {stated[1]}x{stated[0]}")
    K, fractions = _in_pixels(K, stated)
    if calibration.corner_of and not fractions:
        K[:2, 2] -= 0.5
        said += (
            f"{calibration.corner_of} counts from the corner of the first pixel: 0.5 taken off cx "
            "and cy",
        )
    said += fractions + _skew(K, stated)
    fx, fy, cx, cy = (float(K[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2)))
    K_pixels, final, cut = _of_picture(calibration, stated, (fx, fy, cx, cy))
    said += cut
    # A window may lie anywhere on the sensor: its principal point proves nothing.
    limit = LARGEST_OFFSET if calibration.size is not None else LARGEST_WITHOUT_SIZE
    limit = 1.0 if any(calibration.roi) else limit
    said += _check(final, K_pixels, is_fisheye=is_fisheye, largest_offset=limit)
    return Intrinsics(final, *K_pixels, (*calibration.assumed, *said))


def with_size_unswapped(calibration: Calibration, frames: tuple[int, int] | None) -> Calibration:
    """Take width and height as swapped where the file's K is plainly that of the frames.

    Args:
        calibration: as its file states it.
        frames: (H, W) of the frames; None where not known.
    """
    size = calibration.size
    if frames is None or size is None or size == frames or size != frames[::-1]:
        return calibration
    K = calibration.K
    numbers = (K[0], K[4], K[2], K[5])
    if not _offset(frames, numbers) < min(USUAL_OFFSET, _offset(size, numbers)):
        return calibration
    said = (
        f"width {size[1]} and height {size[0]} of {frames[1]}x{frames[0]} pictures taken as "
        "swapped: the principal point is the middle of the pictures",
    )
    return replace(calibration, size=frames, assumed=(*calibration.assumed, *said))


def check_size(size: tuple[int, int], frames: tuple[int, int], numbers: str = "") -> None:
    """Refuse a calibration for another size than the frames' and say what would fit.

    Args:
        size: (H, W) of the calibration.
        frames: (H, W) of the frames.
        numbers: fx, fy, cx, cy at the frames' size, where both have one shape.
    """
    if size == frames:
        return
    about = f"the calibration is for {size[1]}x{size[0]}, the frames are {frames[1]}x{frames[0]}"
    if size == frames[::-1]:
        raise DataError(f"{about}: turned by 90 degrees; calibrate with frames as they are stored")
    if abs(size[0] * frames[1] - size[1] * frames[0]) < max(*size, *frames):
        raise DataError(
            f"{about}; if they were only resized, write {numbers}, width {frames[1]}, height "
            f"{frames[0]} into a camera.yaml and give it with --camera"
        )
    raise DataError(f"{about}, another shape; give the calibration of this size with --camera")


# --- steps ---------------------------------------------------------------------------------------


_TRANSPOSED = (
    "K is written by columns: transposed (MATLAB, which does so, counts pixels from 1: take 1 off "
    "cx and cy of its files)"
)


def _upright(K: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Turn a K that is written by columns; refuse what is no K. (3, 3)"""
    if not K[:2].any():
        raise DataError("camera: K is all zeros, so the camera is not calibrated; calibrate it")
    bottom, right = K[2, :2], K[:2, 2]
    said: tuple[str, ...] = ()
    if bottom.all() and not right.any():
        K, said = K.T.copy(), (_TRANSPOSED,)
    if K[2].tolist() != [0.0, 0.0, 1.0] or abs(K[1, 0]) > 0:
        rows = "; ".join(" ".join(f"{v:g}" for v in row) for row in K)
        raise DataError(f"camera: expected K as fx 0 cx; 0 fy cy; 0 0 1, got {rows}")
    return K, said


def _in_pixels(K: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Multiply a K of fractions of width and height by them. (3, 3)"""
    height, width = size
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    is_fraction = 0 < cx < 1 and 0 < cy < 1 and 0.1 < fx < 20 and 0.1 < fy < 20 and min(size) > 8
    if not is_fraction:
        return K.copy(), ()
    scale = np.array([[width, 0, -0.5], [0, height, -0.5], [0, 0, 1]])
    pixels = scale @ K
    if abs(pixels[0, 0] / pixels[1, 1] - 1) > SQUARE and abs(fx / fy - 1) < SQUARE:
        raise DataError(
            f"camera: fx {fx:g}, fy {fy:g}, cx {cx:g}, cy {cy:g} are fractions, but of which side? "
            f"of width and height pixels would not be square; write K in pixels of the "
            f"{width}x{height} picture"
        )
    return pixels, (
        f"fx {fx:g}, fy {fy:g}, cx {cx:g}, cy {cy:g} taken as fractions of the {width}x{height} "
        f"picture: fx {pixels[0, 0]:g}, fy {pixels[1, 1]:g}, cx {pixels[0, 2]:g}, "
        f"cy {pixels[1, 2]:g} pixels",
    )


def _skew(K: np.ndarray, size: tuple[int, int]) -> tuple[str, ...]:
    """Leave out a skew that does not matter."""
    skew, fy = float(K[0, 1]), float(K[1, 1])
    if skew == 0:
        return ()
    shift = abs(skew / fy) * size[0] / 2 if fy else math.inf
    if not shift < LARGEST_SKEW:
        raise DataError(
            f"camera: skew is not supported, got {skew:g} ({shift:.2g} pixels at the border); "
            "recalibrate without it"
        )
    return (f"skew {skew:g} left out ({shift:.2g} pixels at the border)",) if shift > 0.01 else ()


_Numbers = tuple[float, float, float, float]


def _of_picture(
    calibration: Calibration, size: tuple[int, int], K: _Numbers
) -> tuple[_Numbers, tuple[int, int], tuple[str, ...]]:
    """Crop to the region of interest, then bin, as sensor_msgs/CameraInfo defines it."""
    (top, left, roi_height, roi_width), (down, across) = calibration.roi, calibration.binning
    fx, fy, cx, cy = K
    if roi_height and roi_width:
        if min(top, left) < 0 or top + roi_height > size[0] or left + roi_width > size[1]:
            raise DataError(
                f"camera: roi of {roi_width}x{roi_height} at ({left}, {top}) leaves the "
                f"{size[1]}x{size[0]} picture"
            )
        cx, cy, size = cx - left, cy - top, (roi_height, roi_width)
    if (down, across) == (1, 1):
        return (fx, fy, cx, cy), size, ()
    if min(down, across) < 1 or down > size[0] or across > size[1]:
        raise DataError(f"camera: binning must be 1 or more, got {across} x {down}")
    binned_size = size[0] // down, size[1] // across
    binned = (fx / across, fy / down, (cx + 0.5) / across - 0.5, (cy + 0.5) / down - 0.5)
    if _offset(binned_size, binned) > USUAL_OFFSET >= _offset(binned_size, (fx, fy, cx, cy)):
        return (
            (fx, fy, cx, cy),
            binned_size,
            (
                f"binning {across} x {down}, but ({cx:g}, {cy:g}) is the middle of the binned "
                f"{binned_size[1]}x{binned_size[0]} picture: K taken as binned already",
            ),
        )
    return binned, binned_size, ()


def _check(
    size: tuple[int, int], K: _Numbers, *, is_fisheye: bool, largest_offset: float
) -> tuple[str, ...]:
    """Refuse impossible intrinsics; return what is unusual."""
    height, width = size
    fx, fy, cx, cy = K
    for name, value in zip(("fx", "fy", "cx", "cy"), K, strict=True):
        if not math.isfinite(value):
            raise DataError(f"camera: {name} must be finite, got {value!r}")
    if fx <= 0 or fy <= 0:
        raise DataError(f"camera: fx and fy must be positive, got fx {fx!r} and fy {fy!r}")
    said = (*_view(size, fx, fy, is_fisheye=is_fisheye), *_squareness(fx, fy))
    offset, guess = _offset(size, K), _guess(size, K)
    where = f"principal point ({cx:g}, {cy:g}) of a {width}x{height} picture"
    if not (0 <= cx < width and 0 <= cy < height):
        raise DataError(
            f"camera: principal point ({cx:g}, {cy:g}) lies outside the {width}x{height} image; is "
            "the calibration for another size? write width and height of its pictures into the file"
        )
    if offset > largest_offset or (guess and largest_offset < 1 and offset > USUAL_OFFSET):
        raise DataError(
            f"camera: {where} lies at {(cx + 0.5) / width:.2f}, {(cy + 0.5) / height:.2f} of its "
            f"size, far off the middle{guess}; give the calibration of these pictures"
        )
    if offset > USUAL_OFFSET:
        return (*said, f"{where} taken as it is, though {offset:.0%} of the size off the middle")
    return said


def _view(size: tuple[int, int], fx: float, fy: float, *, is_fisheye: bool) -> tuple[str, ...]:
    """Check the field of view along the wider side."""
    half = max(size[1] / (2 * fx), size[0] / (2 * fy))
    degrees = math.degrees(2 * half if is_fisheye else 2 * math.atan(half))
    largest = LARGEST_FISHEYE_VIEW if is_fisheye else USUAL_VIEW[1]
    about = f"a field of view of {degrees:.1f} degrees (fx {fx:g}, fy {fy:g}, {size[1]}x{size[0]})"
    if not SMALLEST_VIEW <= degrees <= largest:
        raise DataError(
            f"camera: {about} is no camera's; expected fx and fy in pixels of this picture"
        )
    if degrees < USUAL_VIEW[0]:
        return (f"{about} taken as calibrated: a telephoto lens",)
    return ()


def _squareness(fx: float, fy: float) -> tuple[str, ...]:
    """Check the shape of a pixel."""
    ratio = fx / fy
    if not 1 / LARGEST_RATIO <= ratio <= LARGEST_RATIO:
        raise DataError(
            f"camera: fx {fx:g} and fy {fy:g} differ by a factor of {max(ratio, 1 / ratio):.2f}; "
            "expected about the same in pixels of this picture"
        )
    if abs(ratio - 1) > SQUARE:
        return (
            f"fx {fx:g} and fy {fy:g} differ by {abs(ratio - 1):.0%}: pixels taken as not square, "
            "as calibrated",
        )
    return ()


def _offset(size: tuple[int, int], K: _Numbers) -> float:
    """Return how far the principal point is off the middle, share of the size."""
    return max(abs((K[2] + 0.5) / size[1] - 0.5), abs((K[3] + 0.5) / size[0] - 0.5))


def _guess(size: tuple[int, int], K: _Numbers) -> str:
    """Say which picture such a principal point would be the middle of."""
    cx, cy = K[2:]
    if _offset(size[::-1], K) < USUAL_OFFSET / 2:
        return ": it is the middle of a picture turned by 90 degrees"
    ratio = (2 * cx + 1) / size[1], (2 * cy + 1) / size[0]
    if abs(ratio[0] / ratio[1] - 1) < SAME_SHAPE:
        return f": it is the middle of a picture of about {round(2 * cx + 1)}x{round(2 * cy + 1)}"
    return ""
