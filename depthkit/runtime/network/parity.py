# SPDX-License-Identifier: Apache-2.0
"""Parity check: the stored input and output of a model file, compared with this machine's output.

Exported depth networks are known to be right on a desktop and wrong on a robot. So each file
carries an input and the trained network's output, and an engine is used only if it reproduces that
output.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from depthkit.errors import EngineError

if TYPE_CHECKING:
    from depthkit.runtime.network.manifest import Manifest
    from depthkit.runtime.network.manifest_parts import Check

TOLERANCES = {"fp32": 1e-4, "fp16": 2e-2, "bf16": 2e-2, "int8": 2e-2}
"""Allowed relative difference by precision: of the maximum for fp32, else of the median."""
LEAST = {"flow": 1.0, "static_odds": 1.0, "features": 10.0, "score": 1.0, "place": 1.0}
"""Smallest denominator of the relative difference, for outputs that may be 0 (pixels, log odds,
probabilities).
Numbers of a descriptor of length 1 may so differ by 1e-3 in fp32: matching rounds them to 1/127,
and bringing a weak descriptor to that length magnifies rounding."""
FLOW_ZERO, FLOW_STEPS = 32768, 64.0  # a stored flow is (value - zero) / steps pixels


@dataclass(frozen=True)
class Parity:
    """Difference of one backend from the stored output."""

    worst: float
    """Largest |a - b| / |b|: over depths, a motion's two vectors (rotation, translation), flow or
    log odds; for the last two |b| is at least 1."""
    median: float
    """Median of the same; with several outputs, the largest of their medians."""
    tolerance: float
    """Largest allowed value of `measured`."""
    backend: str
    """Backend, such as onnxruntime-cpu."""
    precision: str
    """Precision of the computation."""

    @property
    def statistic(self) -> Literal["worst", "median"]:
        """Statistic compared with the tolerance: 16 and 8 bits round, a few pixels by much."""
        return "worst" if self.precision == "fp32" else "median"

    @property
    def measured(self) -> float:
        """Value of the statistic."""
        return self.worst if self.statistic == "worst" else self.median

    @property
    def holds(self) -> bool:
        """Whether the backend may be used; False for NaN."""
        return self.measured <= self.tolerance

    def __str__(self) -> str:
        return (
            f"{self.backend} in {self.precision}: {self.statistic} relative difference from the "
            f"stored output {self.measured:.2g}, allowed {self.tolerance:.2g}"
        )


def compare(
    manifest: "Manifest", outputs: Mapping[str, np.ndarray], name: str, precision: str
) -> Parity:
    """Compare a backend's output for the stored input with the stored output.

    Args:
        manifest: manifest of the file.
        outputs: outputs of the backend, batch of one.
        name: name of the backend.
        precision: precision of the computation; for fp32, that of the file if coarser.
    """
    if precision == "fp32":
        precision = manifest.precision
    allowed = max(manifest.tolerance, TOLERANCES[precision])
    partial = manifest.adopted_from is not None
    worst, median = summarize(relative_differences(manifest.check, outputs, partial=partial))
    return Parity(worst, median, allowed, name, precision)


def summarize(differences: Mapping[str, np.ndarray]) -> tuple[float, float]:
    """Return the largest difference, and the largest of the outputs' medians; NaN stays NaN.

    A median over all outputs together would miss one of two outputs being wrong nearly everywhere.

    Args:
        differences: relative differences, by output. (N,) each
    """
    found = differences.values()
    worst, median = (np.max([of(each) for each in found]) for of in (np.max, np.median))
    return float(worst), float(median)


def relative_differences(
    check: "Check", outputs: Mapping[str, np.ndarray], *, partial: bool = False
) -> dict[str, np.ndarray]:
    """Return the relative differences by output; infinite where not finite. (N,) each

    Args:
        check: the stored pair.
        outputs: what a backend says now, batch of one.
        partial: a stored NaN is not compared: an adopted network says nothing there.

    Raises:
        EngineError: an output is missing or has another size.
    """
    found = {}
    for name, text in check.outputs.items():
        stored = decode_floats(text)
        if name not in outputs:
            raise EngineError(f"the model returns {', '.join(outputs)}, and {name!r} is stored")
        now = outputs[name][0].astype(np.float64)
        now = (on_grid(now, check.step) if now.ndim >= 2 else now).ravel()
        if now.shape != stored.shape:
            raise EngineError(f"{name}: {stored.size} values stored, the model gives {now.size}")
        differs = np.nan_to_num(relative_difference(name, now, stored), nan=np.inf)
        silent = np.isnan(relative_difference(name, stored, stored))
        found[name] = np.where(silent & partial, 0.0, differs)
    return found


def relative_difference(name: str, now: np.ndarray, then: np.ndarray) -> np.ndarray:
    """Return |a - b| / |b| of one output: per number, or per vector for motion and flow.

    Args:
        name: depth, motion (two vectors of three), flow (all u, then all v), points (all x, all y,
            then all z), static_odds, features or place (number by number).
        now: (N,)
        then: (N,)
    """
    least = LEAST.get(name, float(np.finfo(np.float32).tiny))
    if name == "motion":
        now, then = now.reshape(-1, 3), then.reshape(-1, 3)
    elif name in ("flow", "points"):
        axes = 2 if name == "flow" else 3
        now, then = now.reshape(axes, -1).T, then.reshape(axes, -1).T
    else:
        now, then = now[:, None], then[:, None]
    gap, size = np.linalg.norm(now - then, axis=1), np.linalg.norm(then, axis=1)
    return gap / np.maximum(size, least)


# --- the stored bytes ----------------------------------------------------------------------------


def stored_inputs(check: "Check") -> dict[str, np.ndarray]:
    """Decode the stored input.

    Images (1, H, W, 3) and volumes (1, P, H, W) uint8, flow (1, 2, H, W) float32 pixels.
    """
    found = {name: _decode(text) for name, text in check.inputs.items()}
    if "volume" in found:
        found["volume"] = found["volume"].reshape(-1, *found["current"].shape[:2])
    return {name: array[None] for name, array in found.items()}


def encode_image(rgb: np.ndarray) -> str:
    """Return a PNG of an image as base64. (H, W, 3) uint8"""
    return _encode(np.ascontiguousarray(rgb[..., ::-1]))


def encode_flow(flow: np.ndarray) -> str:
    """Return a 16-bit PNG of a flow as base64, in 1/64 pixels. (2, H, W)"""
    steps = np.rint(flow * FLOW_STEPS) + FLOW_ZERO
    blue = np.zeros_like(steps[0])  # PNG knows one or three channels, not two
    return _encode(np.stack([blue, steps[1], steps[0]], axis=-1).astype(np.uint16))


def encode_volume(volume: np.ndarray) -> str:
    """Return an 8-bit PNG of the planes one below the other, as base64. (P, H, W) uint8"""
    return _encode(volume.reshape(-1, volume.shape[2]))


def encode_floats(values: np.ndarray) -> str:
    """Return float32, little endian, as base64."""
    return base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")


def decode_floats(text: str) -> np.ndarray:
    """Undo `encode_floats`. (N,) float64"""
    return np.frombuffer(base64.b64decode(text), "<f4").astype(np.float64)


def on_grid(values: np.ndarray, step: int) -> np.ndarray:
    """Take the coarse grid of a map. (..., H, W) -> (..., h, w)"""
    return values[..., step // 2 :: step, step // 2 :: step]


def _encode(picture: np.ndarray) -> str:
    ok, data = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    if not ok:
        raise EngineError(f"cannot encode {picture.dtype} of {picture.shape} as PNG")
    return base64.b64encode(data.tobytes()).decode("ascii")


def _decode(text: str) -> np.ndarray:
    data = np.frombuffer(base64.b64decode(text), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise EngineError("the stored input is no picture; export the model again")
    if picture.dtype == np.uint16:
        steps = picture[..., :0:-1].astype(np.float32)
        return np.moveaxis((steps - FLOW_ZERO) / np.float32(FLOW_STEPS), -1, 0)
    if picture.ndim == 2:
        return picture
    return np.ascontiguousarray(picture[..., ::-1])
