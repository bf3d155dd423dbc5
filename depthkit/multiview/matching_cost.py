# SPDX-License-Identifier: Apache-2.0
"""Matching costs of a plane sweep and of rectified pairs, one code for all: census, ZNCC, learnt.

A level is a plane of one inverse depth, or a disparity. Each source is turned into the axes of the
target first; what is left of the motion takes a pixel to u' = scale u + shift at every level, the
same scale and shift for the whole picture [Collins 1996]. The costs of several sources are combined
by the mean of the better half: a source that does not see a point must not spoil it [Kang 2001].
"""

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import cv2
import numpy as np

from depthkit.errors import check_shape

Cost = Literal["census", "zncc", "learned"]
Describe: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""Grey picture (h, w) uint8 to unit descriptors (h, w, C) float32."""
FULL = 128
"""Cost of a pair of pixels that have nothing in common."""
UNSEEN = 0.45
"""Cost of a pixel that a source does not show, as a share of FULL: a little less than chance."""
PATCH = 5
"""Side of the window of ZNCC, pixels."""


def sweep_lines(offsets: np.ndarray, K: np.ndarray, inverse_depths: np.ndarray) -> np.ndarray:
    """Return where pixels lie in derotated sources at each inverse depth.

    Args:
        offsets: position of the target's camera in each source, in the target's axes. (S, 3)
        K: intrinsics of all pictures, pixels. (3, 3)
        inverse_depths: q of each level. (N,)

    Returns:
        scale, shift in u, shift in v: p' = (p + q K t) / (1 + q tz). (S, N, 3) float32; NaN behind
        the source.
    """
    check_shape("sweep_lines: offsets", offsets, "S 3")
    moved = offsets @ K.T  # (S, 3)
    ahead = 1 + inverse_depths[None] * moved[:, 2:]  # (S, N)
    scale = 1 / np.where(ahead > 1e-3, ahead, np.nan)
    shifts = scale[..., None] * inverse_depths[None, :, None] * moved[:, None, :2]
    lines = np.concatenate([scale[..., None], shifts], axis=2)
    # A plane behind the source shows nothing: far outside is the same.
    return np.nan_to_num(lines, nan=-1e6).astype(np.float32)


def disparity_lines(disparities: np.ndarray) -> np.ndarray:
    """Return where the pixels of a rectified left picture lie in the right one: u' = u - d.

    Args:
        disparities: d of each level, pixels. (N,)

    Returns:
        scale, shift in u, shift in v. (1, N, 3) float32
    """
    zeros = np.zeros(len(disparities))
    lines = np.stack([zeros + 1, -np.asarray(disparities, dtype=np.float64), zeros], axis=1)
    return lines[None].astype(np.float32)


def matching_cost(
    target: np.ndarray,
    sources: Sequence[np.ndarray],
    lines: np.ndarray,
    *,
    levels: int | None = None,
    cost: Cost = "census",
    describe: Describe | None = None,
    lowest: np.ndarray | None = None,
) -> np.ndarray:
    """Compare each pixel of the target with the sources at every level.

    Args:
        target: grey. (H, W) uint8
        sources: grey, turned into the target's axes. (H, W) uint8 each
        lines: from `sweep_lines` or `disparity_lines`. (S, N, 3) float32
        levels: number of levels D of a pixel; None for all N.
        cost: what is compared.
        describe: descriptors of the learnt cost.
        lowest: first level of each pixel; None for 0. (H, W) int16

    Returns:
        Cost, 0 equal to 128, mean over a 3x3 window. (H, W, D) uint8
    """
    from depthkit.multiview.matching_kernels import BITS, compare_codes, compare_descriptors

    check_shape("matching_cost: target", target, "H W")
    check_shape("matching_cost: lines", lines, f"{len(sources)} N 3")
    volume = np.empty((*target.shape, levels or lines.shape[1]), np.uint8)
    base = np.zeros(target.shape, np.int16) if lowest is None else lowest
    kept = (len(sources) + 1) // 2
    table = np.ascontiguousarray(lines.transpose(0, 2, 1))  # (S, 3, N)
    match cost:
        case "census":
            codes = _codes(target, 1), np.stack([_codes(_twice(s), 2) for s in sources])
            scale, unseen = np.float32(FULL / BITS), np.float32(UNSEEN * BITS)
            compare_codes(*codes, table, base, scale, unseen, kept, volume)
        case "zncc" | "learned":
            named = zncc_descriptors if cost == "zncc" else describe
            if named is None:
                raise ValueError("matching_cost: the learnt cost needs describe")
            codes = _whole(named(target)), np.stack([_whole(named(s)) for s in sources])
            scale, unseen = np.float32(FULL), np.float32(UNSEEN)
            compare_descriptors(*codes, table, base, scale, unseen, kept, volume)
    # Costs of pixels in other windows belong to other levels: only whole volumes are averaged.
    return volume if lowest is not None else cv2.blur(volume, (3, 3))


def stereo_cost(
    left: np.ndarray,
    right: np.ndarray,
    *,
    disparities: np.ndarray,
    cost: Cost = "census",
    describe: Describe | None = None,
    lowest: np.ndarray | None = None,
    levels: int | None = None,
) -> np.ndarray:
    """Compare a rectified pair at every disparity; see `matching_cost`.

    Args:
        left, right: grey. (H, W) uint8
        disparities: d of each level: the left pixel u is compared with the right u - d. (N,)
        cost, describe, lowest, levels: as for `matching_cost`.
    """
    lines = disparity_lines(disparities)
    kwargs = {"levels": levels, "cost": cost, "describe": describe, "lowest": lowest}
    return matching_cost(left, [right], lines, **kwargs)  # type: ignore[arg-type]


def turned(grey: np.ndarray, R_source_target: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Turn a source into the target's axes by the homography K R K^-1; 0 outside.

    Args:
        grey: (H, W) uint8
        R_source_target: (3, 3)
        K: intrinsics of both, pixels. (3, 3)
    """
    homography = K @ R_source_target @ np.linalg.inv(K)
    how = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(grey, homography, grey.shape[::-1], flags=how)


def zncc_descriptors(grey: np.ndarray) -> np.ndarray:
    """Describe pixels by their window less its mean, at unit length: a cosine is then the ZNCC.

    Args:
        grey: (H, W) uint8

    Returns:
        (H, W, 25) float32; zero where the window is even.
    """
    r = PATCH // 2
    padded = cv2.copyMakeBorder(grey.astype(np.float32), r, r, r, r, cv2.BORDER_REPLICATE)
    height, width = grey.shape
    shifts = [(v, u) for v in range(PATCH) for u in range(PATCH)]
    windows = np.stack([padded[v : v + height, u : u + width] for v, u in shifts], axis=2)
    windows -= windows.mean(axis=2, keepdims=True)
    lengths = np.sqrt((windows * windows).sum(axis=2, keepdims=True))
    return windows / np.maximum(lengths, PATCH)


def _codes(grey: np.ndarray, stride: int) -> np.ndarray:
    from depthkit.multiview.matching_kernels import census

    return census(np.ascontiguousarray(grey), stride)


def _twice(grey: np.ndarray) -> np.ndarray:
    """Sample a picture at whole and half pixels. (H, W) -> (2H, 2W)"""
    height, width = grey.shape
    half = np.array([[0.5, 0, 0], [0, 0.5, 0]])
    how = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    size = (2 * width, 2 * height)
    return cv2.warpAffine(grey, half, size, flags=how, borderMode=cv2.BORDER_REPLICATE)


def _whole(descriptors: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.rint(127 * descriptors).astype(np.int8))
