# SPDX-License-Identifier: Apache-2.0
"""Depth in metres from one given pair of frames with a known motion between them.

A pair network is trained for one baseline D0: at |t|, depth is |t| / D0 times its output.
"""

from dataclasses import replace
from time import perf_counter

import numpy as np

from depthkit.errors import EngineError, check_shape
from depthkit.runtime.depth.depth_engine import DepthEngine
from depthkit.runtime.preprocess import enlarge_inverse, enlarge_mask
from depthkit.runtime.result import DepthResult

LEAST_MOTION = 0.01  # share of the nominal baseline; smaller is noise of a hovering camera
LEAST_OVERLAP = 0.5  # share of the image that both frames show after derotation


def depth_of_pair(
    engine: DepthEngine,
    rgb_previous: np.ndarray,
    rgb_current: np.ndarray,
    *,
    T_current_previous: np.ndarray,
    K: np.ndarray,
    stamp: float = 0.0,
) -> DepthResult:
    """Predict the depth of a frame from ONE earlier frame and the motion between them.

    Args:
        engine: engine with a pair network.
        rgb_previous, rgb_current: two frames of one camera. (H, W, 3) uint8
        T_current_previous: points of the previous frame to the current one, metres. (4, 4)
        K: intrinsics at H x W, pixels. (3, 3)
        stamp: stamp of the current frame, seconds; copied to the result.

    Returns:
        Metric depth, at most max_depth |t| / D0; valid as in `PairMaps`.

    Raises:
        DataError: not colour frames.
        EngineError: no motion, too little overlap, or a field of view far from that of training.
    """
    metres = _metres(T_current_previous, engine.manifest.nominal_baseline)
    started = perf_counter()
    previous, current = (engine.network_frame(rgb, K) for rgb in (rgb_previous, rgb_current))
    resize_ms = 1e3 * (perf_counter() - started)
    R, t = T_current_previous[None, :3, :3], T_current_previous[None, :3, 3]
    maps = engine.pair_maps(current, [previous], R, translations=t)
    if maps.covered.mean() < LEAST_OVERLAP:
        raise EngineError(
            "the views turn so far that they share less than half of the picture; take a nearer "
            "previous frame"
        )
    answered = perf_counter()
    size = rgb_current.shape[:2]
    depth, valid = enlarge_inverse(maps.depth[0] * metres, size), enlarge_mask(maps.valid[0], size)
    spent = maps.timing
    return DepthResult(
        depth=depth,
        valid=valid,
        confidence=None,
        K=np.array(K, dtype=np.float64),
        scale="metric",
        scale_source="the known distance between the frames",
        stamp=stamp,
        timing=replace(
            spent,
            preprocess_ms=spent.preprocess_ms + resize_ms,
            postprocess_ms=spent.postprocess_ms + 1e3 * (perf_counter() - answered),
        ),
    )


def _metres(T_current_previous: np.ndarray, nominal_baseline: float | None) -> np.float32:
    """Return |t| / D0, the factor from the network's output to metres."""
    check_shape("depth_of_pair: T_current_previous", T_current_previous, "4 4")
    if nominal_baseline is None:
        raise EngineError("the manifest has no nominal baseline; export a pair network again")
    if not np.isfinite(T_current_previous).all():
        raise EngineError("the motion between the frames is not finite; leave the pair out")
    baseline = float(np.linalg.norm(T_current_previous[:3, 3]))
    if baseline < LEAST_MOTION * nominal_baseline:
        raise EngineError(
            f"no depth from no motion: the camera moved {baseline:g} m between the frames; take "
            "an earlier previous frame"
        )
    return np.float32(baseline / nominal_baseline)
