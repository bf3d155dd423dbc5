# SPDX-License-Identifier: Apache-2.0
"""Depth from an exported network: of single frames, and of frames with earlier ones.

The engine keeps no frames and chooses none; `DepthStream` does. Calls may come from several
threads, and `close` from any of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from depthkit.errors import EngineError, check_shape
from depthkit.runtime.preprocess import (
    NetworkFrame,
    check_frame,
    derotate,
    enlarge_inverse,
    resize_K,
    size_at_focal,
    to_size,
)
from depthkit.runtime.result import DepthResult, Timing

if TYPE_CHECKING:
    from depthkit.runtime.backend import Backend
    from depthkit.runtime.manifest import Manifest

LEAST_DEPTH = 1e-3
"""Metres at the nominal baseline: the least that a pair network's graph says."""


@dataclass(frozen=True, eq=False)
class PairMaps:
    """What a pair network says of one frame with each of n earlier ones."""

    depth: np.ndarray
    """Metres at the NOMINAL baseline, from LEAST_DEPTH to max_depth. (n, h, w) float32"""
    valid: np.ndarray
    """The turned earlier frame covers the pixel, and its depth lies within the network's range:
    at max_depth it is farther than the network can tell. (n, h, w) bool"""
    turned: np.ndarray
    """The earlier frames, turned like the current one. (n, h, w, 3) uint8"""
    timing: Timing = Timing()


class DepthEngine:
    """An exported mono or pair network at work; a context manager."""

    def __init__(self, backend: "Backend") -> None:
        """Take over a backend; it is closed with the engine.

        Raises:
            EngineError: the network answers with something else than depth.
        """
        self.backend = backend

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        backend: str = "auto",
        threads: int = 1,
        precision: str = "default",
    ) -> "DepthEngine":
        """Open an ONNX file, after its hash and its stored input and output were checked.

        Args:
            path: written by `depthkit export`.
            backend: "auto", "onnxruntime", "openvino", "cuda" or "tensorrt".
            threads: of the backend and, one setting a process, of OpenCV.
            precision: "default", or what the backend offers ("bf16").

        Raises:
            EngineError: missing, damaged, of another kind, or not in parity on this machine.
        """
        raise NotImplementedError

    @property
    def manifest(self) -> "Manifest":
        """What the file says of itself."""
        return self.backend.manifest

    @property
    def kind(self) -> Literal["mono", "pair"]:
        """Whether `depth` or `pair_maps` is to be called."""
        raise NotImplementedError

    @property
    def threads(self) -> int:
        """Threads of a run."""
        return self.backend.threads

    def close(self) -> None:
        """Wait for a running call and free the network; a later call raises EngineError."""
        self.backend.close()

    def depth(
        self, rgb: np.ndarray, *, K: np.ndarray | None = None, stamp: float = 0.0
    ) -> DepthResult:
        """Predict the depth of a frame (mono networks).

        Args:
            rgb: of any size. (H, W, 3) uint8
            K: intrinsics at H x W, pixels, handed on. (3, 3)
            stamp: of the frame, seconds, handed on.
        """
        raise NotImplementedError

    def network_frame(self, rgb: np.ndarray, K: np.ndarray) -> NetworkFrame:
        """Bring a camera frame to the focal length a pair network learnt, once a frame.

        Args:
            rgb: of any size. (H, W, 3) uint8
            K: intrinsics at H x W, pixels. (3, 3)
        """
        raise NotImplementedError

    def pair_maps(
        self, current: NetworkFrame, previous: Sequence[NetworkFrame], rotations: np.ndarray
    ) -> PairMaps:
        """Predict the depth of the current frame with each earlier one, in one batch.

        Args:
            current: from `network_frame`.
            previous: n frames of the same size.
            rotations: R_current_previous. (n, 3, 3)
        """
        raise NotImplementedError
