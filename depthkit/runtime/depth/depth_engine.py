# SPDX-License-Identifier: Apache-2.0
"""Depth from an exported network: from single frames, or from pairs with earlier frames.

The engine neither keeps nor chooses frames; `DepthStream` does. Calls may come from several
threads, and `close` from any of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import numpy as np

from depthkit.errors import EngineError
from depthkit.runtime.depth.focal_rule import SOLVE_SHIFT, canonical_focal, solve_shift
from depthkit.runtime.network.engine import Engine
from depthkit.runtime.picture_fit import PictureFit, fit_picture, place_K, place_picture
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
from depthkit.runtime.result import DepthResult, Scale, Timing

if TYPE_CHECKING:
    from depthkit.runtime.network.backend import Backend

LEAST_DEPTH = 1e-3
"""Smallest output of a pair network without `min_depth`, metres at the nominal baseline."""
ROUNDING = 2**-8
"""Relative rounding of bf16: an output this near to an end of the range counts as that end."""
OTHER_FOCAL = "learnt at a focal length"
"""Part of the scale source where the network's metres do not hold for the camera."""
NO_K = "relative without K: the focal length decides the scale of this network"
"""Scale source of a network with a focal rule whose camera is unknown."""
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
        self._canonical = canonical_focal(manifest.focal_rule)
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
            K: intrinsics at H x W, pixels; copied to the result, compared with the training's of a
                metric network, and needed for metres where the manifest has a focal rule. (3, 3)
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
        fit = fit_picture(rgb.shape[:2], self.manifest.size, self.manifest.resize)
        batch = place_picture(rgb, fit, self.manifest.resize)[None]
        prepared = perf_counter()
        answer = self.backend.run({"frame": batch})
        answered = perf_counter()
        small, reason = self._by_focal(answer, K, fit)
        depth, valid = None, None
        if small is not None:
            depth, valid = _enlarged(small, rgb.shape[:2])
        scale, source = self.scale_of(K, rgb.shape[:2])
        return DepthResult(
            depth=depth,
            valid=valid,
            confidence=None,
            K=None if K is None else np.array(K, dtype=np.float64),
            scale=scale,
            scale_source=source,
            stamp=stamp,
            timing=Timing.until_now(started, prepared, answered),
            reason=reason,
        )

    def _by_focal(
        self, answer: Mapping[str, np.ndarray], K: np.ndarray | None, fit: PictureFit
    ) -> tuple[np.ndarray | None, str]:
        """Apply the focal rule and cut the border off; without depth, say why. (h, w) float32"""
        if self.manifest.focal_rule == SOLVE_SHIFT:
            if K is None:
                return None, "no intrinsics: the shift of this network's points needs K"
            points = answer["points"][0][(slice(None), *fit.window)]
            at_window = place_K(K, fit) - [[0, 0, fit.left], [0, 0, fit.top], [0, 0, 0]]
            shift = solve_shift(points, at_window)
            if shift is None:
                return None, "no shift brings the network's points to their pixels"
            small = points[2] + np.float32(shift)
        else:
            small = answer["depth"][0][fit.window]
            if self._canonical is not None and K is not None:
                small = small * np.float32(place_K(K, fit)[0, 0] / self._canonical)
        small = np.ascontiguousarray(small)
        if not (np.isfinite(small) & (small > 0)).any():
            return None, "the network's answer has no finite depth"
        return small, ""

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

    def scale_of(
        self, K: np.ndarray | None, size: tuple[int, int] | None = None
    ) -> tuple[Scale, str]:
        """Return the scale of a mono network's depth and where it comes from.

        Args:
            K: intrinsics at `size`; without them a network with a focal rule is relative. (3, 3)
            size: size of the frame; with it a focal length that differs from the training's is
                part of the source.
        """
        scale, source = self.manifest.scale, self.manifest.scale_source
        if scale == "relative":
            return scale, source
        if K is None:
            return ("metric", source) if self.manifest.focal_rule == "none" else ("relative", NO_K)
        learnt = self.manifest.focal
        if learnt is None or size is None:
            return scale, source
        focal = resize_K(K, size, self.manifest.size)[0, 0]
        if 1 / SAME_FOCAL < focal / learnt < SAME_FOCAL:
            return scale, source
        return scale, f"{source}; {OTHER_FOCAL} of {learnt:.0f} px, this camera has {focal:.0f}"

    def _require(self, kind: str, remedy: str) -> None:
        if self.kind != kind:
            raise EngineError(f"this is a {self.kind} network; {remedy}")


def _enlarged(small: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Enlarge depth and what is known of it: a pixel mixed with an unknown one is unknown.

    Unknown pixels are mixed as infinite depth, inverse 0: NaN would spread to neighbours of which
    they are no part.
    """
    known = np.isfinite(small) & (small > 0)
    if known.all():
        return enlarge_inverse(small, size), enlarge_mask(known, size)
    valid = enlarge_mask(known, size)
    depth = enlarge_inverse(np.where(known, small, np.float32(np.inf)), size)
    return np.where(valid, depth, np.float32(np.nan)), valid
