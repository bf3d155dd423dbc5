# SPDX-License-Identifier: Apache-2.0
"""What is compared by `evaluate matching`: SIFT and ORB, and the models, each with its matcher."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING

import cv2
import numpy as np

from depthkit.multiview.features import Detector, Features, Sift, match
from depthkit.multiview.orb import Orb
from depthkit.pipelines.models import EngineOptions, Note, as_onnx

if TYPE_CHECKING:
    from depthkit.pipelines.score.matching_options import MatchingOptions


@dataclass(frozen=True, eq=False)
class View:
    """A picture and what a method found in it."""

    gray: np.ndarray
    """0..255. (H, W) uint8"""
    features: Features | None
    """None of a matcher that has no features."""
    ms: float
    """Processor time of finding them, milliseconds."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W), pixels."""
        return self.gray.shape[0], self.gray.shape[1]


Matcher = Callable[[View, View], tuple[np.ndarray, np.ndarray]]
"""From two views to the matched positions in each, pixels. (M, 2), (M, 2)"""


@dataclass(frozen=True)
class Method:
    """One row of every table."""

    name: str
    detector: Detector | None
    matcher: Matcher

    def look(self, rgb: np.ndarray, *, valid: np.ndarray | None = None) -> View:
        """Find the features of a picture. (H, W, 3) uint8"""
        gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        if self.detector is None:
            return View(gray, None, 0.0)
        begun = process_time()
        features = self.detector.detect(gray, valid=valid)
        return View(gray, features, 1e3 * (process_time() - begun))


def match_nearest(a: View, b: View) -> tuple[np.ndarray, np.ndarray]:
    """Pair features that are each other's nearest and pass the ratio test of their kind."""
    if a.features is None or b.features is None:
        raise ValueError("match_nearest: both views need features")
    index = match(a.features, b.features)
    return a.features.pixels[index[:, 0]], b.features.pixels[index[:, 1]]


@contextmanager
def open_methods(options: MatchingOptions, *, note: Note) -> Iterator[tuple[Method, ...]]:
    """Open SIFT, ORB and the models; networks are closed with the context.

    Raises:
        CheckpointError: no such model, or weights that are not the matcher's.
        EngineError: a model is of another kind, or has no score of keypoints.
    """
    cv2.setNumThreads(1)
    methods = [
        Method("sift", Sift(None, options.count), match_nearest),
        Method("orb", Orb(options.count), match_nearest),
    ]
    with ExitStack() as opened:
        for path in options.models:
            detector = opened.enter_context(_open_detector(path, options.count, note))
            methods.append(Method(_free_name(path, methods), detector, match_nearest))
        yield tuple(methods)


@contextmanager
def _open_detector(path: Path, count: int, note: Note) -> Iterator[Detector]:
    from depthkit.runtime.network.keypoint_engine import KeypointEngine

    one_thread = EngineOptions(threads=1)
    with (
        as_onnx(path, part="features", note=note) as file,
        KeypointEngine.open(file, **vars(one_thread)) as engine,
    ):
        yield engine.detector(count=count)


def _free_name(path: Path, methods: list[Method]) -> str:
    """Name a model by its file, and where that is taken by its folder too."""
    taken = {method.name for method in methods}
    return path.stem if path.stem not in taken else f"{path.resolve().parent.name}/{path.stem}"
