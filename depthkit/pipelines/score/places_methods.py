# SPDX-License-Identifier: Apache-2.0
"""Descriptors of places that a model must beat, and the model's own.

A method turns all pictures into unit vectors, one row each; what it has to learn (words of a
vocabulary) comes from pictures that are known before the first query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import cv2
import numpy as np

from depthkit.data.image_io import read_bytes
from depthkit.errors import DataError, EngineError
from depthkit.evaluation.place_vectors import unit
from depthkit.multiview.features import Detector, Sift
from depthkit.pipelines.models import EngineOptions, Note, open_place
from depthkit.pipelines.score.options import PlacesOptions
from depthkit.pipelines.score.places_data import View
from depthkit.runtime.network.backend_onnxruntime import open_session
from depthkit.runtime.odometry.places import learn_words, vlad
from depthkit.watcher import Watcher

HISTOGRAM_SIDE = 64
"""Pixels of the side to which a picture is brought for its gradient histogram."""
CELLS = 8
"""Cells of the histogram, along each side."""
ORIENTATIONS = 9
"""Bins of the direction of the gradient, over half a turn."""
IMAGENET_SIDE = 224
"""Pixels of the side of a network of ImageNet that takes any size."""
IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
GEM_POWER = 3.0
"""Exponent of the generalised mean over a feature map [Radenovic 2018, eq. 3]."""

Describe = Callable[[np.ndarray], np.ndarray]
"""From a picture, RGB (H, W, 3) uint8, to its descriptor, (K,)."""


@dataclass(frozen=True, eq=False)
class Described:
    """Descriptors of all pictures by one method."""

    name: str
    vectors: np.ndarray
    """Length 1, or zeros where the method sees nothing. (N, K) float32"""
    milliseconds: float
    """Median time of a picture, reading left out."""


def describe_all(
    pictures: tuple[View, ...], learn: np.ndarray, options: PlacesOptions, watcher: Watcher
) -> Iterator[Described]:
    """Describe all pictures by each method in turn: the trivial ones first, then the models.

    Args:
        pictures: files, of any size.
        learn: numbers of those that a vocabulary is learnt on. (L,) int
        options: which models.
        watcher: receives progress, and notes.
    """
    yield _describe("gradient histogram", pictures, gradient_histogram, watcher)
    yield describe_vlad("VLAD of SIFT", pictures, learn, Sift(), watcher)
    if options.imagenet is not None:
        describe = imagenet_features(options.imagenet, options.engine)
        yield _describe(f"ImageNet: {options.imagenet.name}", pictures, describe, watcher)
    for model in options.models:
        with place_model(model, options.engine, watcher.note) as describe:
            yield _describe(model.name, pictures, describe, watcher)


@contextmanager
def place_model(model: Path, engine: EngineOptions, note: Note) -> Iterator[Describe]:
    """Open a network of kind place, for as long as the context lasts."""
    with open_place(model, engine, note=note) as opened:
        yield opened.describe


def _describe(
    name: str, pictures: tuple[View, ...], describe: Describe, watcher: Watcher
) -> Described:
    """Describe picture after picture."""
    rows: list[np.ndarray] = []
    times = []
    for view in watcher.track(pictures, name, len(pictures)):
        rgb = view.read()
        started = perf_counter()
        row = describe(rgb)
        times.append(perf_counter() - started)
        if rows and row.shape != rows[0].shape:
            raise DataError(
                f"{name}: {view.path}: {row.size} numbers, the pictures before it have "
                f"{rows[0].size}; a descriptor of a place has one length"
            )
        rows.append(row)
    return _described(name, np.stack(rows), times)


def _described(name: str, vectors: np.ndarray, times: list[float]) -> Described:
    if not np.isfinite(vectors).all():
        raise DataError(f"{name}: a descriptor is not finite; train or export the model again")
    return Described(name, unit(vectors), 1e3 * median(times))


def describe_vlad(
    name: str, pictures: tuple[View, ...], learn: np.ndarray, detector: Detector, watcher: Watcher
) -> Described:
    """Describe pictures by VLAD of their features, with words of the pictures known before.

    Args:
        name: of the method.
        pictures: files.
        learn: numbers of the pictures whose features the words are learnt on. (L,) int
        detector: what finds features.
        watcher: receives progress.

    Raises:
        DataError: no features to learn words on.
    """
    found, times = [], []
    for view in watcher.track(pictures, name, len(pictures)):
        gray = cv2.cvtColor(view.read(), cv2.COLOR_RGB2GRAY)
        started = perf_counter()
        found.append(detector.detect(gray).descriptors)
        times.append(perf_counter() - started)
    known = [found[i] for i in learn if len(found[i])]
    if not known:
        return Described(name, np.zeros((len(found), 1), np.float32), 1e3 * median(times))
    words = learn_words(known)
    started = perf_counter()
    vectors = np.stack([vlad(descriptors, words) for descriptors in found])
    each = (perf_counter() - started) / len(found)
    return _described(name, vectors, [each + time for time in times])


def gradient_histogram(rgb: np.ndarray) -> np.ndarray:
    """Describe a picture by the directions of its gradients in cells, each of length 1.

    The trivial descriptor: HOG without blocks and interpolation (Dalal and Triggs, CVPR 2005).

    Args:
        rgb: (H, W, 3) uint8

    Returns:
        (CELLS * CELLS * ORIENTATIONS,) float64
    """
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    size = (HISTOGRAM_SIDE, HISTOGRAM_SIDE)
    small = cv2.resize(gray, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    # 1. Gradient by central differences; its direction over half a turn, in bins.
    du, dv = (cv2.Sobel(small, cv2.CV_32F, *order, ksize=1) for order in ((1, 0), (0, 1)))
    half_turns = np.arctan2(dv, du) % np.pi / np.pi
    bins = np.minimum((half_turns * ORIENTATIONS).astype(int), ORIENTATIONS - 1)
    # 2. One histogram a cell, weighted by the length of the gradient.
    cell = np.arange(HISTOGRAM_SIDE) * CELLS // HISTOGRAM_SIDE
    index = (cell[:, None] * CELLS + cell) * ORIENTATIONS + bins
    count = CELLS * CELLS * ORIENTATIONS
    sums = np.bincount(index.ravel(), np.hypot(du, dv).ravel(), count)
    # 3. Cells count the same, however strong their gradients are.
    cells = sums.reshape(-1, ORIENTATIONS)
    return (cells / (np.linalg.norm(cells, axis=1, keepdims=True) + 1e-6)).ravel()


def imagenet_features(file: Path, engine: EngineOptions) -> Describe:
    """Open an ONNX file of features that were trained on ImageNet.

    Args:
        file: one input, RGB with ImageNet's mean and deviation taken out, (1, 3, H, W) float32;
            its first output is a feature map (1, C, h, w), which is pooled by a generalised mean,
            or a vector (1, C).
        engine: what it runs on.

    Raises:
        EngineError: the file is missing or does not load, or has another input.
    """
    session = open_session(read_bytes(file), threads=engine.threads)
    first = session.get_inputs()[0]
    if len(session.get_inputs()) != 1 or len(first.shape) != 4 or first.shape[1] not in (3, "3"):
        raise EngineError(f"{file}: expected one input (1, 3, H, W), got {first.shape}")
    height, width = (s if isinstance(s, int) else IMAGENET_SIDE for s in first.shape[2:])

    def describe(rgb: np.ndarray) -> np.ndarray:
        small = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
        x = (small.astype(np.float32) / 255.0 - IMAGENET_MEAN) / IMAGENET_DEVIATION
        frame = np.ascontiguousarray(x.transpose(2, 0, 1)[None])
        return _pooled(session.run(None, {first.name: frame})[0][0])

    return describe


def _pooled(features: np.ndarray) -> np.ndarray:
    """Pool a map by the generalised mean of its positive values. (C, h, w) or (C,) -> (C,)"""
    if features.ndim == 1:
        return features
    positive = np.maximum(features, 1e-6)
    return np.mean(positive**GEM_POWER, axis=(1, 2)) ** (1.0 / GEM_POWER)
