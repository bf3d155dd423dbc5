# SPDX-License-Identifier: Apache-2.0
"""What a foreign network says by itself: preprocessing and meaning in numpy, the graph untouched.

The stored pair of an adopted file comes from here, so that its check on every machine proves the
nodes that were put around the graph.
"""

from collections.abc import Callable

import cv2
import numpy as np
import onnx

from depthkit.errors import EngineError
from depthkit.export.foreign_file import Port
from depthkit.export.foreign_graph import GREY, WHOLE
from depthkit.export.foreign_map import MapPlan, plan_map
from depthkit.export.foreign_match import Matched
from depthkit.runtime.depth.focal_rule import SOLVE_SHIFT
from depthkit.runtime.network import backend_onnxruntime

Run = Callable[[np.ndarray], dict[str, np.ndarray]]

EXACT_FROM = 0.02
"""Share of a network's largest answer below which pixels are not compared: float32 sums of deep
networks differ by about 1e-5 of the largest value, which is 5e-4 of these."""
TOLERANCE = 1e-3
"""Allowed relative difference of an adopted fp32 file from its stored output: twice that."""


def open_foreign(matched: Matched) -> Run:
    """Open the foreign graph in ONNX Runtime.

    Returns:
        A function of a frame (H, W, 3) uint8 at the input's size: the graph's own outputs by name.

    Raises:
        EngineError: ONNX Runtime cannot load or run it.
    """
    path = matched.file.path
    try:
        compute, _, _ = backend_onnxruntime.load(
            matched.file.model.SerializeToString(),
            own="fp32",
            device="onnxruntime",
            threads=1,
            precision="default",
        )
    except EngineError as error:
        raise EngineError(f"{path}: {error}") from error

    def run(rgb: np.ndarray) -> dict[str, np.ndarray]:
        inputs = {matched.picture.port.name: reference_input(matched, rgb)} | matched.constants
        try:
            return compute(inputs)
        except Exception as error:  # exceptions of the runtime have no other common base
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise EngineError(f"{path}: does not run on {rgb.shape[:2]} frames: {line}") from error

    return run


def reference_input(matched: Matched, rgb: np.ndarray) -> np.ndarray:
    """Prepare a frame as the network's authors do. (H, W, 3) uint8 -> the graph's own input"""
    convention, picture = matched.convention, matched.picture
    x = (rgb.astype(np.float64) - convention.scaling.mean) / convention.scaling.std
    if picture.channels == 1:
        x = (x * GREY).sum(axis=2, keepdims=True)
    elif convention.colour == "BGR":
        x = x[..., ::-1]
    x = x if picture.channels_last else x.transpose(2, 0, 1)
    x = x[None, None] if picture.clip else x[None]
    return np.ascontiguousarray(x, dtype=onnx.helper.tensor_dtype_to_np_dtype(picture.port.type))


def reference_answer(
    matched: Matched, output: Port, outputs: dict[str, np.ndarray], size: tuple[int, int]
) -> np.ndarray:
    """Turn the graph's own outputs into our terms.

    Args:
        matched: file and convention.
        output: the output that counts.
        outputs: of the foreign graph.
        size: of the input, (H, W).

    Returns:
        Depth (H, W), points (3, H, W) or features (C, h, w), float32; NaN where unknown.
    """
    convention = matched.convention
    shape = outputs[output.name].shape
    if convention.kind == "features":
        x = _map(outputs[output.name], plan_map(matched, output, shape, channels=True))
        return (x / np.maximum(np.linalg.norm(x, axis=0), 1e-12)).astype(np.float32)
    points = convention.quantity == "points"
    x = _map(outputs[output.name], plan_map(matched, output, shape, channels=points))
    if convention.scale_output:
        x = x * float(outputs[convention.scale_output].ravel()[0])
    solved = convention.focal_rule == SOLVE_SHIFT
    x = x[2] if points and not solved else x
    with np.errstate(all="ignore"):
        match convention.quantity:
            case "inverse" | "disparity":
                x = np.where(x > 0, 1 / x, np.nan)
            case "log":
                x = np.exp(x)
        x = np.where(_known(matched, outputs, x), x * convention.unit, np.nan)
        if solved:
            return x.astype(np.float32)
        known = x > 0
        if x.shape == size:
            return np.where(known, x, np.nan).astype(np.float32)
        shares = np.where(known, 1 / x, 0.0), known.astype(np.float64)
        inverse, share = (cv2.resize(each, size[::-1]) for each in shares)
        return np.where(share > WHOLE, 1 / inverse, np.nan).astype(np.float32)


def reference_answers(
    matched: Matched, output: Port, outputs: dict[str, np.ndarray], size: tuple[int, int]
) -> dict[str, np.ndarray]:
    """Return `reference_answer` under our name, and the score of keypoints where there is one."""
    found = {answer_name(matched): reference_answer(matched, output, outputs, size)}
    if matched.convention.score_output:
        found["score"] = np.squeeze(outputs[matched.convention.score_output]).astype(np.float32)
    return found


def answer_name(matched: Matched) -> str:
    """Return the name of the adopted graph's main output."""
    if matched.convention.kind == "features":
        return "features"
    return "points" if matched.convention.focal_rule == SOLVE_SHIFT else "depth"


def _known(matched: Matched, outputs: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """Return where an answer may be used. (h, w) bool"""
    validity, known = matched.convention.validity, np.ones(x.shape[-2:], bool)
    if validity.mask:
        known &= np.squeeze(outputs[validity.mask]) > validity.mask_above
    if validity.sky:
        known &= ~(np.squeeze(outputs[validity.sky]) > validity.sky_above)
    if validity.most is not None:
        known &= x < validity.most if x.ndim == 2 else (x < validity.most).all(axis=0)
    return known


def _map(values: np.ndarray, plan: MapPlan) -> np.ndarray:
    """Drop idle axes; channels first. float64"""
    x = np.squeeze(values.astype(np.float64), axis=plan.axes)
    return x.transpose(2, 0, 1) if plan.channels_last else x


def comparable(matched: Matched, answer: np.ndarray) -> np.ndarray:
    """Return an answer with NaN where 32 bits do not fix it: see EXACT_FROM. The same shape"""
    convention = matched.convention
    if convention.kind == "features" or convention.quantity in ("log", "points"):
        return answer
    inverse = convention.quantity in ("inverse", "disparity")
    size = 1 / answer if inverse else answer
    finite = np.isfinite(size)
    if not finite.any():
        return answer
    return np.where(finite & (size >= EXACT_FROM * size[finite].max()), answer, np.nan)
