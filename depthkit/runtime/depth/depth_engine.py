# SPDX-License-Identifier: Apache-2.0
"""Depth from an exported network: from single frames, or from pairs with earlier frames.

The engine neither keeps nor chooses frames; `DepthStream` does. Calls may come from several
threads, and `close` from any of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import numpy as np

from depthkit.errors import EngineError
from depthkit.runtime.network.engine import Engine
from depthkit.runtime.preprocess import (
    NetworkFrame,
    check_camera,
    check_frame,
    enlarge_inverse,
    enlarge_mask,
    repeat_batch,
    resize_K,
    size_at_focal,
    sweep_batch,
    to_size,
    turn_batch,
)
from depthkit.runtime.result import DepthResult, Timing

if TYPE_CHECKING:
    from depthkit.runtime.network.backend import Backend

LEAST_DEPTH = 1e-3
"""Smallest output of a pair network without `min_depth`, metres at the nominal baseline."""
ROUNDING = 2**-8
"""Relative rounding of bf16: an output this near to an end of the range counts as that end."""
OTHER_FOCAL = "learnt at a focal length"
"""Part of the scale source where the network's metres do not hold for the camera."""
SAME_FOCAL = 1.1  # factor; a metric single-frame network is trained at one focal length


@dataclass(frozen=True, eq=False)
class PairMaps:
    """Outputs of a pair network for one frame with each of n earlier ones."""

    depth: np.ndarray
    """Depth in metres at the NOMINAL baseline, min_depth to max_depth. (n, h, w) float32"""
    valid: np.ndarray
    """Pixels that the derotated earlier frame covers and where the output is finite and inside
    (min_depth, max_depth): at max_depth the true depth may be larger. (n, h, w) bool"""
    covered: np.ndarray
    """Pixels that the derotated earlier frame covers. (n, h, w) bool"""
    turned: np.ndarray
    """Earlier frames, derotated to the current one. (n, h, w, 3) uint8"""
    timing: Timing = Timing()


class DepthEngine(Engine):
    """Runs an exported mono or pair network; a context manager."""

    kinds = ("mono", "pair")
    remedy = (
        "a pose network is for odometry, a flow network goes beside a depth network (infer --flow)"
    )

    def __init__(self, backend: "Backend") -> None:
        """Take over a backend; it is closed with the engine.

        Raises:
            EngineError: the network has another output than depth.
        """
        super().__init__(backend)
        manifest = backend.manifest
        wanted = ("focal", "max_depth", "nominal_baseline") if manifest.kind == "pair" else ()
        for name in wanted:
            if getattr(manifest, name) is None:
                raise EngineError(f"the manifest of this pair network has no {name}; export again")
        self._nearest = manifest.min_depth or LEAST_DEPTH
        self._farthest = manifest.max_depth or np.inf

    @property
    def kind(self) -> Literal["mono", "pair"]:
        """Which method to call: `depth` for mono, `pair_maps` for pair."""
        return "mono" if self.manifest.kind == "mono" else "pair"

    def depth(
        self, rgb: np.ndarray, *, K: np.ndarray | None = None, stamp: float = 0.0
    ) -> DepthResult:
        """Predict the depth of a frame with a mono network.

        Args:
            rgb: frame of any size. (H, W, 3) uint8
            K: intrinsics at H x W, pixels; copied to the result, and compared with the training's
                of a metric network. (3, 3)
            stamp: stamp of the frame, seconds; copied to the result.

        Returns:
            Depth at the frame's own size, enlarged bilinearly in inverse depth; valid where it is
            finite and above 0.

        Raises:
            DataError: not a colour frame.
            EngineError: an impossible K, a pair network, or a closed engine.
        """
        self._require("mono", "use DepthStream, or depth_of_pair with two frames and their motion")
        check_frame(rgb)
        if K is not None:
            check_camera(K)
        started = perf_counter()
        batch = np.ascontiguousarray(to_size(rgb, self.manifest.size))[None]
        prepared = perf_counter()
        small = self.backend.run({"frame": batch})["depth"][0]
        answered = perf_counter()
        known = np.isfinite(small) & (small > 0)
        depth, valid = None, None
        if known.any():
            depth = enlarge_inverse(small, rgb.shape[:2])
            valid = enlarge_mask(known, rgb.shape[:2])
        return DepthResult(
            depth=depth,
            valid=valid,
            confidence=None,
            K=None if K is None else np.array(K, dtype=np.float64),
            scale=self.manifest.scale,
            scale_source=self._scale_source(K, rgb.shape[:2]),
            stamp=stamp,
            timing=Timing.until_now(started, prepared, answered),
            reason="" if known.any() else "the network's answer has no finite depth",
        )

    def network_frame(self, rgb: np.ndarray, K: np.ndarray) -> NetworkFrame:
        """Resize a camera frame to the focal length of a pair network's training, once per frame.

        Args:
            rgb: frame of any size. (H, W, 3) uint8
            K: intrinsics at H x W, pixels. (3, 3)

        Raises:
            DataError: not a colour frame.
            EngineError: an impossible K, a field of view far from that of training, a mono network.
        """
        self._require("pair", "use depth")
        check_frame(rgb)
        size = size_at_focal(K, rgb.shape[:2], self.manifest)
        small = to_size(rgb, size)
        # The caller may fill its buffer with the next frame while this one is kept.
        small = small.copy() if np.may_share_memory(small, rgb) else small
        return NetworkFrame(small, resize_K(K, rgb.shape[:2], size))

    @property
    def needs_direction(self) -> bool:
        """Whether the pair network takes the direction of translation besides the rotation."""
        return bool(self.manifest.planes)

    def pair_maps(
        self,
        current: NetworkFrame,
        previous: Sequence[NetworkFrame],
        rotations: np.ndarray,
        *,
        translations: np.ndarray | None = None,
    ) -> PairMaps:
        """Predict the depth of the current frame with each earlier one, in one run.

        Args:
            current: result of `network_frame`.
            previous: n >= 1 frames of the same camera and size.
            rotations: R_current_previous. (n, 3, 3)
            translations: t_current_previous, of any length, where `needs_direction`. (n, 3)

        Raises:
            EngineError: rotations that are not finite, an unknown direction that is needed, a mono
                network, a closed engine.
        """
        self._require("pair", "use depth")
        if not np.isfinite(rotations).all():
            raise EngineError("the rotation between the frames is not finite; leave the pair out")
        started = perf_counter()
        height, width = current.rgb.shape[:2]
        turned, covered = turn_batch(current, previous, rotations, self.manifest.size_multiple)
        now = repeat_batch(current, len(previous), self.manifest.size_multiple)
        inputs = {"previous": turned, "current": now}
        if self.needs_direction:
            inputs["volume"] = sweep_batch(
                turned,
                now,
                t_current_previous=np.full((len(now), 3), np.nan)
                if translations is None
                else translations,
                K=current.K,
                manifest=self.manifest,
            )
        prepared = perf_counter()
        answer = self.backend.run(inputs)["depth"]
        answered = perf_counter()
        depth = answer[:, :height, :width]
        valid = covered & (depth > self._nearest * (1 + ROUNDING))  # NaN is not
        valid &= depth < self._farthest * (1 - ROUNDING)
        depth = np.where(np.isfinite(depth), depth, np.float32(self._farthest))
        return PairMaps(
            depth=depth.clip(self._nearest, self._farthest, out=depth),
            valid=valid,
            covered=covered,
            turned=turned[:, :height, :width],
            timing=Timing.until_now(started, prepared, answered),
        )

    def _scale_source(self, K: np.ndarray | None, size: tuple[int, int]) -> str:
        """Return where the scale comes from, with a warning if the focal length differs."""
        source, learnt = self.manifest.scale_source, self.manifest.focal
        if self.manifest.scale == "relative" or learnt is None or K is None:
            return source
        focal = resize_K(K, size, self.manifest.size)[0, 0]
        if 1 / SAME_FOCAL < focal / learnt < SAME_FOCAL:
            return source
        return f"{source}; {OTHER_FOCAL} of {learnt:.0f} px, this camera has {focal:.0f}"

    def _require(self, kind: str, remedy: str) -> None:
        if self.kind != kind:
            raise EngineError(f"this is a {self.kind} network; {remedy}")
