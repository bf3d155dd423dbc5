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

from depthkit.errors import ConfigError
from depthkit.multiview.features import Detector, Features, Sift
from depthkit.multiview.orb import Orb
from depthkit.multiview.view_search import detect_in_look, look_transforms, match_best_look
from depthkit.pipelines.models import Note, as_onnx

if TYPE_CHECKING:
    from depthkit.models.matchers import Keypoints, LightGlueMatcher
    from depthkit.pipelines.score.matching_options import Looks, MatchingOptions


@dataclass(frozen=True, eq=False)
class View:
    """A picture and what a method found in it."""

    gray: np.ndarray
    """0..255. (H, W) uint8"""
    features: Features | None
    """None of a matcher that has no features."""
    ms: float
    """Processor time of finding them, milliseconds."""
    looks: tuple[Features, ...] = ()
    """Those of each look at a second picture; empty where it is seen as it is."""

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
    looks: Looks = "upright"
    """How a second picture is looked at."""

    def look(self, rgb: np.ndarray, *, valid: np.ndarray | None = None) -> View:
        """Find the features of a picture. (H, W, 3) uint8"""
        gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        if self.detector is None:
            return View(gray, None, 0.0)
        begun = process_time()
        features = self.detector.detect(gray, valid=valid)
        return View(gray, features, 1e3 * (process_time() - begun))

    def look_again(self, rgb: np.ndarray, *, valid: np.ndarray | None = None) -> View:
        """Find the features of a second picture, in every look that is wanted."""
        view = self.look(rgb, valid=valid)
        if self.detector is None or view.features is None or self.looks == "upright":
            return view
        begun, found = process_time(), [view.features]
        for A in look_transforms(view.size, tilts=self.looks == "tilted")[1:]:
            features = detect_in_look(self.detector, view.gray, A)
            found.append(features if valid is None else _inside(features, valid))
        spent = 1e3 * (process_time() - begun)
        return View(view.gray, view.features, view.ms + spent, tuple(found))


def _inside(features: Features, valid: np.ndarray) -> Features:
    """Keep the features on pixels that are image at all."""
    u, v = np.rint(features.pixels).astype(np.intp).T
    height, width = valid.shape
    return features.take(valid[v.clip(0, height - 1), u.clip(0, width - 1)])


def match_nearest(a: View, b: View) -> tuple[np.ndarray, np.ndarray]:
    """Pair features that are each other's nearest and pass the ratio test of their kind."""
    best, index = match_best_look(_features(a), list(b.looks) or [_features(b)])
    second = b.looks[best] if b.looks else _features(b)
    return _features(a).pixels[index[:, 0]], second.pixels[index[:, 1]]


@contextmanager
def open_methods(options: MatchingOptions, *, note: Note) -> Iterator[tuple[Method, ...]]:
    """Open SIFT, ORB, the models and what the wanted matcher adds; closed with the context.

    Raises:
        CheckpointError: no such model, or weights that are not the matcher's.
        EngineError: a model is of another kind, or has no score of keypoints.
        ConfigError: weights of LightGlue that fit no detector.
    """
    cv2.setNumThreads(1)
    methods = [
        Method("sift", Sift(None, options.count), match_nearest, options.looks),
        Method("orb", Orb(options.count), match_nearest, options.looks),
    ]
    with ExitStack() as opened:
        for path in options.models:
            detector = opened.enter_context(_open_detector(path, options.count, note))
            name = _free_name(path, methods)
            methods.append(Method(name, detector, match_nearest, options.looks))
        yield (*methods, *_learnt_matches(options, methods))


@contextmanager
def _open_detector(path: Path, count: int, note: Note) -> Iterator[Detector]:
    from depthkit.runtime.network.keypoint_engine import KeypointConfig, KeypointEngine

    with (
        as_onnx(path, part="features", note=note) as file,
        KeypointEngine.open_detector(file, KeypointConfig(count=count)) as engine,
    ):
        yield engine


def _free_name(path: Path, methods: list[Method]) -> str:
    """Name a model by its file, and where that is taken by its folder too."""
    taken = {method.name for method in methods}
    return path.stem if path.stem not in taken else f"{path.resolve().parent.name}/{path.stem}"


# --- learnt matchers -----------------------------------------------------------------------------


def _learnt_matches(options: MatchingOptions, methods: list[Method]) -> list[Method]:
    """Return the rows that the wanted matcher adds."""
    if options.matcher_weights is None:
        return []
    import torch

    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.matcher == "loftr":
        from depthkit.models.matchers import LoftrMatcher

        loftr = LoftrMatcher(options.matcher_weights, device=device)
        return [Method("loftr", None, lambda a, b: loftr.match(a.gray, b.gray))]
    return _glued(options.matcher_weights, methods, device)


def _glued(weights: Path, methods: list[Method], device: str) -> list[Method]:
    """Pair by LightGlue what its weights fit: oriented ones SIFT, others the models."""
    from depthkit.models.matchers import LightGlueMatcher

    glue = LightGlueMatcher(weights, device=device)
    fitting = [
        method
        for method in methods
        if method.detector is not None
        and method.detector.width == glue.width
        and glue.is_oriented == (method.name == "sift")
    ]
    if not fitting:
        widths = ", ".join(f"{m.name} {m.detector.width}" for m in methods if m.detector)
        kind = "with scale and angle (SIFT)" if glue.is_oriented else "without scale and angle"
        raise ConfigError(
            f"{weights}: LightGlue for descriptors of {glue.width} numbers {kind}; here are "
            f"{widths}; give --model of the detector that it was trained with"
        )
    return [Method(f"{m.name}+lightglue", m.detector, _glued_by(glue)) for m in fitting]


def _glued_by(glue: LightGlueMatcher) -> Matcher:
    def pair(a: View, b: View) -> tuple[np.ndarray, np.ndarray]:
        index = glue.match(_keypoints(a), _keypoints(b))
        return _features(a).pixels[index[:, 0]], _features(b).pixels[index[:, 1]]

    return pair


def _keypoints(view: View) -> Keypoints:
    from depthkit.models.matchers import Keypoints

    one = _features(view)
    return Keypoints(one.pixels, one.descriptors, one.scales, one.angles, view.size)


def _features(view: View) -> Features:
    if view.features is None:
        raise ValueError("a matcher of features was given a view without them")
    return view.features
