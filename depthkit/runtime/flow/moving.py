# SPDX-License-Identifier: Apache-2.0
"""Static probability of each pixel: the numpy counterpart of `losses/coop.py` and its task.

Evidence, by the mixture model ("law") that a coop run has learnt [after Hariat 2023]:
1. delta: photometric error of the target reconstructed by depth and camera motion, minus that of
   the reconstruction by flow, or the logarithm of their ratio;
2. gap: flow minus rigid flow, divided by the expected errors of depth and flow;
3. prior: logits of the run's mask network from the target's appearance, where the run has one.
4. residual, for a flow network without such a model: the gap against its median over the image,
   which is valid while less than half of the image moves.

All maps have one size; the current frame is the target, the other one the source.
"""

import cv2
import numpy as np

from depthkit.errors import check_shape
from depthkit.multiview.rigid_flow import RigidFlow
from depthkit.multiview.warp import lands_inside, warp_by_flow
from depthkit.runtime.network.manifest_parts import Mixture, StaticLaw

C1, C2 = 0.01**2, 0.03**2  # constants of SSIM, colours in [0, 1]
LEAST_ERROR = 0.01  # added to both errors of a ratio; this and the next four as in `losses/coop.py`
GAP_UNIT, ALONG, ACROSS, LARGEST_GAP = 0.5, 0.2, 0.05, 8.0
LEAST_PARALLAX = 1e-3  # pixels; a shorter parallax has no direction
HALF = 4.0
"""Rule residual: multiple of the median residual at which the probability is one half."""
LEAST_RESIDUAL = 0.25  # pixels; lower bound of the median, the accuracy of flow
SHARE_OF_FLOW = 0.05  # allowed residual per pixel of flow length


def static_by_law(
    target: np.ndarray,
    source: np.ndarray,
    *,
    rigid: RigidFlow,
    flow: np.ndarray,
    law: StaticLaw,
    prior_logits: np.ndarray | None = None,
) -> np.ndarray:
    """Return the probability that each pixel of the target is static, by the learnt model.

    Args:
        target: (H, W, 3) uint8
        source: (H, W, 3) uint8
        rigid: rigid flow, target to source.
        flow: target to source, pixels. (H, W, 2) float32
        law: mixture models of the run.
        prior_logits: static logits of the target from the run's mask network. (H, W)

    Returns:
        0 to 1; NaN where either flow leaves the source. (H, W) float32
    """
    check_shape("static_by_law: target", target, "H W 3")
    height, width = target.shape[:2]
    check_shape("static_by_law: source", source, f"{height} {width} 3")
    check_shape("static_by_law: flow", flow, f"{height} {width} 2")
    if prior_logits is not None:
        check_shape("static_by_law: prior_logits", prior_logits, f"{height} {width}")
    known = rigid.valid & lands_inside(flow)
    # 1. The quantities that the law uses, each with its mixture of static and moving pixels.
    found = list[tuple[np.ndarray, Mixture]]()
    if law.evidence != "photometric":
        score = gap_score(flow - rigid.flow, rigid.parallax, known, window=law.window)
        found.append((score, law.gap))
    if law.evidence != "gap":
        delta = _compare_errors(target, source, rigid.flow, flow, known, law)
        found.append((delta, law.delta))
    # 2. Log likelihood ratios add up, as if the quantities were independent.
    likelihood = np.sum([_evidence(*one) for one in found], axis=0)
    # 3. Bayes: with the mask network's logits as prior, else with the share of moving pixels.
    if prior_logits is not None and law.temper is not None:
        probability = _sigmoid(law.temper * likelihood + prior_logits)
    elif len(found) == 1:
        probability = static_posterior(*found[0])
    else:
        probability = _sigmoid(likelihood + np.log((1 - law.gap.share) / law.gap.share))
    return np.where(known, probability, np.nan).astype(np.float32)


def gap_score(
    gap: np.ndarray, parallax: np.ndarray, known: np.ndarray, *, window: int
) -> np.ndarray:
    """Normalise the gap by the expected errors of depth and flow; as `losses.coop.gap_score`.

    Args:
        gap: flow minus rigid flow, pixels. (H, W, 2)
        parallax: rigid flow minus that of a purely rotating camera, pixels. (H, W, 2)
        known: pixels with both flows. (H, W) bool
        window: side of the square, odd, pixels.

    Returns:
        Score, 0 or more, averaged over the window. (H, W)
    """
    # Depth errors move a pixel along its parallax, in proportion to it; across it only flow errs.
    length = np.linalg.norm(parallax, axis=-1)
    direction = parallax / np.maximum(length, LEAST_PARALLAX)[..., None]
    along = (gap * direction).sum(axis=-1)
    # Without parallax there is no direction, and the whole gap counts as across.
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
    """Return delta, averaged over the known pixels of the window. (H, W)"""
    now, other = target.astype(np.float32) / 255, source.astype(np.float32) / 255
    by_rigid, by_flow = (
        photometric_error(warp_by_flow(other, one), now, ssim_weight=law.ssim_weight)
        for one in (rigid, flow)
    )
    if law.ratio:
        by_rigid, by_flow = (np.log(error + LEAST_ERROR) for error in (by_rigid, by_flow))
    return _average(by_rigid - by_flow, known, law.window)


def static_posterior(values: np.ndarray, law: Mixture) -> np.ndarray:
    """Return the static posterior of one quantity; as `losses.coop.static_posterior`.

    Args:
        values: the quantity at each pixel. (H, W)
        law: its mixture model.
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
    """Return the static probability from the distance of flow to rigid flow.

    With r = |rigid - flow| / (1 + |flow| / 20) it is 1 / (1 + (r / 4 median(r))^4): 0.996 at the
    median, one half at four times the median.

    Args:
        rigid: rigid flow, target to source.
        flow: target to source, pixels. (H, W, 2) float32

    Returns:
        0 to 1; NaN where either flow leaves the source. (H, W) float32
    """
    known = rigid.valid & lands_inside(flow)
    if not known.any():
        return np.full(known.shape, np.nan, np.float32)
    gap, length = (np.linalg.norm(x, axis=-1) for x in (rigid.flow - flow, flow))
    residual = gap / (1 + SHARE_OF_FLOW * length)
    usual = max(float(np.median(residual[known])), LEAST_RESIDUAL)
    probability = 1 / (1 + (residual / (HALF * usual)) ** 4)
    return np.where(known, probability, np.nan).astype(np.float32)


def photometric_error(image: np.ndarray, target: np.ndarray, *, ssim_weight: float) -> np.ndarray:
    """Return the error of each pixel; as `losses.photometric.photometric_error`.

    Args:
        image: reconstructed view, colours in [0, 1]. (H, W, 3) float32
        target: observed view. (H, W, 3) float32
        ssim_weight: share of the SSIM term; the rest is L1.
    """
    error = np.abs(image - target).mean(axis=2)
    if ssim_weight == 0:
        return error
    dissimilarity = (1 - _ssim(image, target).mean(axis=2)) / 2
    return ssim_weight * dissimilarity + (1 - ssim_weight) * error


def _average(values: np.ndarray, known: np.ndarray, window: int) -> np.ndarray:
    """Average the known pixels of a square around each known pixel; 0 elsewhere. (H, W)"""
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
