# SPDX-License-Identifier: Apache-2.0
"""Optical flow between two frames from an exported network.

The engine keeps no frames. Networks are trained in both directions of time: for the flow from a
frame back to the previous one, pass the two in reverse order.
"""

from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from depthkit.errors import DataError
from depthkit.runtime.network.engine import Engine
from depthkit.runtime.preprocess import check_frame, to_size
from depthkit.runtime.result import FlowResult, Timing

if TYPE_CHECKING:
    pass


class SmallFlow(NamedTuple):
    """Output of the network at its own size."""

    flow: np.ndarray
    """Flow (u, v), pixels. (h, w, 2) float32"""
    static_odds: np.ndarray | None
    """Prior log odds that pixels of the first frame are static, from its appearance; None without a
    mask network. (h, w) float32"""


class FlowEngine(Engine):
    """Runs an exported flow network; a context manager. Calls may come from several threads."""

    kinds = ("flow",)
    remedy = "export one from a run of task flow or coop, with --part flow"

    def flow(self, earlier: np.ndarray, later: np.ndarray) -> FlowResult:
        """Estimate the flow from one frame to another.

        Args:
            earlier: frame that the flow starts from, of any size. (H, W, 3) uint8
            later: frame that the flow leads to, of the same camera. (H, W, 3) uint8

        Returns:
            Flow at the frames' own size and in their pixels, enlarged bilinearly.

        Raises:
            DataError: not two colour frames of one size.
            EngineError: a closed engine.
        """
        check_frame(earlier)
        check_frame(later)
        if earlier.shape != later.shape:
            (h, w), (height, width) = earlier.shape[:2], later.shape[:2]
            raise DataError(f"two frames of one size have flow, got {w}x{h} and {width}x{height}")
        started = perf_counter()
        frames = [self.network_frame(frame) for frame in (earlier, later)]
        prepared = perf_counter()
        small = self.network_flow(*frames)
        answered = perf_counter()
        flow = resize_flow(small.flow, earlier.shape[:2])
        return FlowResult(flow, Timing.until_now(started, prepared, answered))

    def network_frame(self, rgb: np.ndarray) -> np.ndarray:
        """Resize a frame to the network's size, if it differs. (h, w, 3) uint8"""
        return np.ascontiguousarray(to_size(rgb, self.manifest.size))

    def network_flow(self, first: np.ndarray, second: np.ndarray) -> SmallFlow:
        """Estimate flow at the network's size, in its pixels.

        Args:
            first: result of `network_frame`. (h, w, 3) uint8
            second: the same, of the other frame. (h, w, 3) uint8

        Returns:
            Flow from first to second, and the static prior of the first.
        """
        answers = self.backend.run({"earlier": first[None], "later": second[None]})
        flow = np.ascontiguousarray(answers["flow"][0].transpose(1, 2, 0))
        return SmallFlow(flow, answers["static_odds"][0] if "static_odds" in answers else None)


def resize_flow(flow: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize flow to another image size, and scale its vectors with it.

    Args:
        flow: flow (u, v) in pixels at its own size. (h, w, 2) float32
        size: new size (H, W).

    Returns:
        Flow in pixels at the new size. (H, W, 2) float32
    """
    height, width = flow.shape[:2]
    if (height, width) == size:
        return flow
    scale = np.array([size[1] / width, size[0] / height], np.float32)
    return cv2.resize(flow, size[::-1], interpolation=cv2.INTER_LINEAR) * scale
