# SPDX-License-Identifier: Apache-2.0
"""What moves by itself, told pixel by pixel: the numpy twin of `losses/coop.py` and its task.

By the law that a coop run has learnt [after Hariat 2023], of one or both of: delta, the photometric
error of the current frame rebuilt from another one by depth and camera motion, less that of the
frame rebuilt by flow, or the logarithm of their ratio; and the gap between flow and the flow of a
scene that stands still, in what depth and flow may be wrong by; beside them, where the run has a
mask network, what it says of the picture alone. For flow networks of other runs by
residual: that gap against its own median in the picture, which holds while less than half of the
picture moves.

All maps are of one size; the other frame is the source, the current one the target.
"""

from typing import NamedTuple

import cv2
import numpy as np

from depthkit.errors import check_shape
from depthkit.runtime.manifest import Mixture, StaticLaw

NEAREST = 1e-6  # metres or its own unit; a point nearer to the source camera has no pixel
C1, C2 = 0.01**2, 0.03**2  # of SSIM, colours in [0, 1]
LEAST_ERROR = 0.01  # of delta as a ratio; this and the gap's next four as `losses/coop.py` has them
GAP_UNIT, ALONG, ACROSS, LARGEST_GAP = 0.5, 0.2, 0.05, 8.0
LEAST_PARALLAX = 1e-3  # pixels; shorter, it has no direction
HALF = 4.0
"""By residual: one half is static at this many times the median residual."""
LEAST_RESIDUAL = 0.25  # pixels; flow is no better than that, whatever the picture's median
SHARE_OF_FLOW = 0.05  # the residual of longer flow is allowed to be larger: pixels a pixel
FIT_STEP = 4  # pixels from one that is asked for the unit to the next


class RigidFlow(NamedTuple):
    """Where the target's points lie in the source if the scene stands still."""

    flow: np.ndarray
    """Target to source, pixels (u, v); 0 for points behind the source. (H, W, 2) float32"""
    valid: np.ndarray
    """The point's depth is known, and it lies in front of and inside the source. (H, W) bool"""
    turn: np.ndarray
    """K R K^-1, by which a camera that only turns moves pixels. (3, 3)"""

    @property
    def parallax(self) -> np.ndarray:
        """The flow less that of a camera that only turns, pixels; 0 where not valid. (H, W, 2)"""
        u, v = _grid(self.valid.shape)
        x, y, z = (a * u + b * v + c for a, b, c in self.turn)
        z = np.where(z > NEAREST, z, 1)
        turned = np.stack([x / z - u, y / z - v], axis=-1).astype(np.float32)
        return np.where(self.valid[..., None], self.flow - turned, np.float32(0))


def rigid_flow(depth: np.ndarray, *, T_source_target: np.ndarray, K: np.ndarray) -> RigidFlow:
    """Compute the flow that depth and camera motion make: K [R|t] D(m) K^-1 m - m [Zhou 2017].

    Args:
        depth: of the target; NaN where unknown. (H, W)
        T_source_target: target-frame points to source frame, in the unit of depth. (4, 4)
        K: intrinsics of both at H x W, pixels. (3, 3)
    """
    check_shape("rigid_flow: depth", depth, "H W")
    points = _points_in_source(depth, T_source_target, K)
    u, v = _grid(depth.shape)
    with np.errstate(invalid="ignore"):  # what is not known is in front of nothing
        ahead = points[2] > NEAREST
    z = np.where(ahead, points[2], 1)
    flow = np.stack([points[0] / z - u, points[1] / z - v], axis=-1)
    flow = np.where(ahead[..., None], flow, 0).astype(np.float32)
    return RigidFlow(flow, ahead & _lands_inside(flow), _turn(T_source_target, K))


def static_by_law(
    target: np.ndarray,
    source: np.ndarray,
    *,
    rigid: RigidFlow,
    flow: np.ndarray,
    law: StaticLaw,
    looks: np.ndarray | None = None,
) -> np.ndarray:
    """Return the probability of each pixel of the target to be static.

    Args:
        target: (H, W, 3) uint8
        source: (H, W, 3) uint8
        rigid: target to source.
        flow: target to source, pixels. (H, W, 2) float32
        law: of the run.
        looks: log odds of static that the run's mask network says of the target. (H, W)

    Returns:
        0 to 1; NaN where either flow leaves the source. (H, W) float32
    """
    check_shape("static_by_law: target", target, "H W 3")
    height, width = target.shape[:2]
    check_shape("static_by_law: source", source, f"{height} {width} 3")
    check_shape("static_by_law: flow", flow, f"{height} {width} 2")
    if looks is not None:
        check_shape("static_by_law: looks", looks, f"{height} {width}")
    known = rigid.valid & _lands_inside(flow)
    found = list[tuple[np.ndarray, Mixture]]()
    if law.evidence != "photometric":
        score = gap_score(flow - rigid.flow, rigid.parallax, known, window=law.window)
        found.append((score, law.gap))
    if law.evidence != "gap":
        delta = _compare_errors(target, source, rigid.flow, flow, known, law)
        found.append((delta, law.delta))
    likelihood = np.sum([_evidence(*one) for one in found], axis=0)
    if looks is not None and law.temper is not None:
        probability = _sigmoid(law.temper * likelihood + looks)
    elif len(found) == 1:
        probability = static_posterior(*found[0])
    else:
        probability = _sigmoid(likelihood + np.log((1 - law.gap.share) / law.gap.share))
    return np.where(known, probability, np.nan).astype(np.float32)


def gap_score(
    gap: np.ndarray, parallax: np.ndarray, known: np.ndarray, *, window: int
) -> np.ndarray:
    """Measure the gap in what depth and flow may be wrong by; as `losses.coop.gap_score`.

    Args:
        gap: flow minus rigid flow, pixels. (H, W, 2)
        parallax: rigid flow minus that of a camera that only turns, pixels. (H, W, 2)
        known: (H, W) bool
        window: side of the square, odd, pixels.

    Returns:
        (H, W)
    """
    length = np.linalg.norm(parallax, axis=-1)
    direction = parallax / np.maximum(length, LEAST_PARALLAX)[..., None]
    along = (gap * direction).sum(axis=-1)
    # Without parallax there is no direction: all of the gap is across.
    rest = np.maximum((gap**2).sum(axis=-1) - along**2, 0)
    z = np.sqrt(
        (along / (GAP_UNIT + ALONG * length)) ** 2 + rest / (GAP_UNIT + ACROSS * length) ** 2
    )
    return _average(np.minimum(z, LARGEST_GAP), known, window)


def _compare_errors(
    target: np.ndarray,
    source: np.ndarray,
    rigid: np.ndarray,
    flow: np.ndarray,
    known: np.ndarray,
    law: StaticLaw,
) -> np.ndarray:
    """Return delta, averaged over what is known around. (H, W)"""
    seen, other = target.astype(np.float32) / 255, source.astype(np.float32) / 255
    by_rigid, by_flow = (
        photometric_error(warp_by_flow(other, one), seen, ssim_weight=law.ssim_weight)
        for one in (rigid, flow)
    )
    if law.ratio:
        by_rigid, by_flow = (np.log(error + LEAST_ERROR) for error in (by_rigid, by_flow))
    return _average(by_rigid - by_flow, known, law.window)


def static_posterior(values: np.ndarray, law: Mixture) -> np.ndarray:
    """Return the probability of static; as `losses.coop.static_posterior`.

    Args:
        values: of the quantity. (H, W)
        law: of it.
    """
    return np.where(values < law.location, 1, _sigmoid(_log_odds(values, law)))


def _log_odds(values: np.ndarray, law: Mixture) -> np.ndarray:
    x = np.maximum(values - law.location, 0)
    at_location = np.log((1 - law.share) * law.tail / (2 * law.scale * law.share))
    return at_location - x * (1 / law.scale - 1 / law.tail)


def _evidence(values: np.ndarray, law: Mixture) -> np.ndarray:
    """Return the log likelihood ratio of static against moving, without the shares."""
    return _log_odds(values, law) - np.log((1 - law.share) / law.share)


def _sigmoid(odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(odds, -80, 80)))


def static_by_residual(rigid: RigidFlow, flow: np.ndarray) -> np.ndarray:
    """Return the static probability by how far flow is from rigid flow.

    r = |rigid - flow| / (1 + |flow| / 20), and 1 / (1 + (r / 4 median(r))^4): 0.996 at the median,
    one half at four times it.

    Args:
        rigid: target to source.
        flow: target to source, pixels. (H, W, 2) float32

    Returns:
        0 to 1; NaN where either flow leaves the source. (H, W) float32
    """
    known = rigid.valid & _lands_inside(flow)
    if not known.any():
        return np.full(known.shape, np.nan, np.float32)
    gap, length = (np.linalg.norm(x, axis=-1) for x in (rigid.flow - flow, flow))
    residual = gap / (1 + SHARE_OF_FLOW * length)
    usual = max(float(np.median(residual[known])), LEAST_RESIDUAL)
    probability = 1 / (1 + (residual / (HALF * usual)) ** 4)
    return np.where(known, probability, np.nan).astype(np.float32)


def fit_unit(
    depth: np.ndarray, flow: np.ndarray, *, T_source_target: np.ndarray, K: np.ndarray
) -> float | None:
    """Find what a translation must be multiplied with to be in the unit of depth.

    Each pixel says how far along its parallax flow went; the median, weighted by the parallax, is
    that of the static scene while it is most of the picture.

    Args:
        depth: of the target; NaN where unknown. (H, W)
        flow: target to source, pixels. (H, W, 2)
        T_source_target: its translation has another unit than depth. (4, 4)
        K: intrinsics at H x W, pixels. (3, 3)

    Returns:
        Above 0; None where the camera does not move, or flow says that it moved the other way.
    """
    here = np.s_[FIT_STEP // 2 :: FIT_STEP, FIT_STEP // 2 :: FIT_STEP]
    turned = T_source_target.copy()
    turned[:3, 3] = 0
    x, y, z = (axis[here] for axis in _points_in_source(depth, turned, K))
    tx, ty, tz = K @ T_source_target[:3, 3]
    u, v = (axis + flow[..., i] for i, axis in enumerate(_grid(depth.shape)))
    u, v = u[here], v[here]
    # (x + s tx) / (z + s tz) = u and the like for v: two equations a s = b a pixel.
    a, b = np.stack([tx - tz * u, ty - tz * v]), np.stack([z * u - x, z * v - y])
    length = np.hypot(*a)
    known = np.isfinite(b).all(axis=0) & (length > 0) & (z > NEAREST)
    if not known.any():
        return None
    steps = (a * b).sum(axis=0)[known] / length[known] ** 2
    order = np.argsort(steps)
    weights = (length[known] / z[known])[order].cumsum()
    unit = float(steps[order][np.searchsorted(weights, weights[-1] / 2)])
    return unit if unit > 0 else None


# --- pictures ------------------------------------------------------------------------------------


def photometric_error(image: np.ndarray, target: np.ndarray, *, ssim_weight: float) -> np.ndarray:
    """Return the error of each pixel; as `losses.photometric.photometric_error`.

    Args:
        image: the view rebuilt, colours in [0, 1]. (H, W, 3) float32
        target: the view seen. (H, W, 3) float32
        ssim_weight: share of the SSIM term; the rest is L1.
    """
    error = np.abs(image - target).mean(axis=2)
    if ssim_weight == 0:
        return error
    dissimilarity = (1 - _ssim(image, target).mean(axis=2)) / 2
    return ssim_weight * dissimilarity + (1 - ssim_weight) * error


def _average(values: np.ndarray, known: np.ndarray, window: int) -> np.ndarray:
    """Average what is known over a square around each known pixel; 0 elsewhere. (H, W)"""
    parts = np.where(known, values, 0), known
    total, count = (
        cv2.blur(x.astype(np.float32), (window, window), borderType=cv2.BORDER_CONSTANT)
        for x in parts
    )
    return np.where(known, total / np.maximum(count, 1e-6), 0)


def _ssim(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Structural similarity over 3x3 windows, borders reflected. (H, W, 3)"""
    mx, my, mxx, mxy, myy = (
        cv2.blur(z, (3, 3), borderType=cv2.BORDER_REFLECT_101) for z in (x, y, x * x, x * y, y * y)
    )
    similar = (2 * mx * my + C1) * (2 * (mxy - mx * my) + C2)
    return similar / ((mx * mx + my * my + C1) * (mxx - mx * mx + myy - my * my + C2))


def warp_by_flow(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Read an image bilinearly where flow leads; outside, its border.

    Not by cv2.remap, which places pixels by 1/32 only.

    Args:
        image: (H, W, C) float32
        flow: pixels; NaN reads NaN. (H, W, 2)

    Returns:
        (H, W, C) float32
    """
    height, width, channels = image.shape
    u, v = _grid((height, width))
    u, v = np.clip(u + flow[..., 0], 0, width - 1), np.clip(v + flow[..., 1], 0, height - 1)
    left, top = (np.floor(np.nan_to_num(x)).astype(np.intp) for x in (u, v))
    left, top = np.minimum(left, max(width - 2, 0)), np.minimum(top, max(height - 2, 0))
    across, down = ((x - x0)[..., None].astype(np.float32) for x, x0 in ((u, left), (v, top)))
    pixels, first = image.reshape(-1, channels), top * width + left
    right, below = int(width > 1), width * int(height > 1)
    above = pixels[first] * (1 - across) + pixels[first + right] * across
    under = pixels[first + below] * (1 - across) + pixels[first + below + right] * across
    return above * (1 - down) + under * down


# --- geometry ------------------------------------------------------------------------------------


def _grid(size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return u and v of the pixels. (1, W) and (H, 1)"""
    return np.arange(size[1], dtype=np.float64)[None], np.arange(size[0], dtype=np.float64)[:, None]


def _turn(T: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Return K R K^-1. (3, 3)"""
    return K @ T[:3, :3] @ np.linalg.inv(K)


def _points_in_source(depth: np.ndarray, T: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Return K (R Z K^-1 m + t), before the division by depth. (3, H, W)"""
    u, v = _grid(depth.shape)
    rays = np.stack([a * u + b * v + c for a, b, c in _turn(T, K)])
    return rays * depth + (K @ T[:3, 3])[:, None, None]


def _lands_inside(flow: np.ndarray) -> np.ndarray:
    """Tell which pixels flow to the picture, edge pixels whole; NaN does not. (H, W) bool"""
    height, width = flow.shape[:2]
    u, v = (axis + flow[..., i] for i, axis in enumerate(_grid((height, width))))
    return (u > -0.5) & (u < width - 0.5) & (v > -0.5) & (v < height - 0.5)
