# SPDX-License-Identifier: Apache-2.0
"""Keypoints with descriptors from an exported network: a detector where SIFT is another."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from depthkit.config.ranges import check_ranges, option
from depthkit.errors import DataError, EngineError, check_shape
from depthkit.multiview.features import Features
from depthkit.runtime.network.engine import Engine, open_engine
from depthkit.runtime.network.picture import as_rgb, fill_up

if TYPE_CHECKING:
    from depthkit.runtime.network.backend import Backend

LEAST_SIDE = 33
"""Smallest side of a picture or of a level, pixels."""
_LEAST_LENGTH = 1e-12  # of a descriptor between two opposite ones: its direction is arbitrary
_LEAST_RESPONSE = 1e-7  # of a corner: contrast of a quarter of a grey level
_BESIDE = 5  # side of the square around a corner in which the score counts, pixels
_LEVEL = 2**-0.5  # size of a level over that of the one before


@dataclass(frozen=True)
class KeypointConfig:
    """How keypoints are taken from a network's score."""

    count: int = option(1200, least=1)
    """Largest number of keypoints, the best ones of all levels."""
    corners: bool = True
    """Keypoints are corners of the picture, weighed by the network's score; false: peaks of the
    score. A corner is found again three times as often to a pixel (on rendered and cut pictures
    through random homographies)."""
    threshold: float = option(0.0, least=0, below=1)
    """Smallest score: the probability of a keypoint."""
    radius: int = option(3, least=1, most=32)
    """Keypoints are the best within this many pixels of their level."""
    levels: int = option(1, least=1, most=8)
    """Sizes at which a picture is looked at: the whole one, and each 0.71 of the one before. One
    for a robot's frames; five for pictures taken from very different distances."""
    ratio: float = option(0.95, above=0, most=1)
    """Largest ratio of the best to the second best distance of a match."""

    def __post_init__(self) -> None:
        check_ranges(self)


class KeypointEngine(Engine):
    """Runs an exported network of keypoints; a context manager, and a `Detector`."""

    kinds = ("features",)
    remedy = "train one with task keypoints, or adopt xfeat"

    def __init__(self, backend: "Backend", config: KeypointConfig = KeypointConfig()) -> None:  # noqa: B008 (frozen)
        """Take over a backend; it is closed with the engine.

        Raises:
            EngineError: the network describes pixels but finds no keypoints.
        """
        super().__init__(backend)
        if "score" not in self.manifest.check.outputs:
            raise EngineError(
                f"this network ({self.manifest.network}) describes pixels and has no output "
                f"`score` that finds keypoints; {self.remedy}"
            )
        self.config = config

    @classmethod
    def open_detector(
        cls,
        path: Path | str,
        config: KeypointConfig = KeypointConfig(),
        *,
        threads: int = 1,  # noqa: B008 (frozen)
    ) -> "KeypointEngine":
        """Open a file with settings of its keypoints; see `Engine.open`."""
        made = open_engine(cls, path, backend="auto", threads=threads, precision="default")
        made.config = config
        return made

    @property
    def name(self) -> str:
        """Name of the descriptors: the network and the first digits of its file's hash."""
        return f"{self.manifest.network}-{self.manifest.sha256[:12]}"

    @property
    def width(self) -> int:
        """Numbers of a descriptor."""
        return self.manifest.channels

    def detect(self, gray: np.ndarray, *, valid: np.ndarray | None = None) -> Features:
        """Find keypoints and describe them.

        Args:
            gray: grey (H, W) or RGB (H, W, 3) uint8.
            valid: where keypoints may lie; everywhere if None. (H, W) bool

        Returns:
            Keypoints, pixels of the picture, best first; none in a picture without texture.

        Raises:
            DataError: not such a picture, or a side below 33 pixels.
            EngineError: a closed engine.
        """
        rgb = as_rgb(gray)
        if min(rgb.shape[:2]) < LEAST_SIDE:
            raise DataError(
                f"a picture needs {LEAST_SIDE} pixels a side for keypoints, got "
                f"{rgb.shape[1]}x{rgb.shape[0]}"
            )
        if valid is not None:
            check_shape("detect: valid", valid, f"{rgb.shape[0]} {rgb.shape[1]}")
        # 1. Keypoints of each level, in pixels of the picture.
        found = [self._level(rgb, valid, number) for number in range(self.config.levels)]
        pixels, scores, descriptors, scales = (
            np.concatenate(part) for part in zip(*found, strict=True)
        )
        # 2. The best of all.
        order = np.lexsort((pixels[:, 0], pixels[:, 1], -scores))[: self.config.count]
        return Features(
            pixels[order],
            descriptors[order],
            scales[order],
            np.zeros(len(order), np.float32),
            self.config.ratio,
        )

    def _level(
        self, rgb: np.ndarray, valid: np.ndarray | None, number: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return pixels (N, 2), scores (N,), descriptors (N, C) and scales (N,) of a level."""
        size = tuple(round(side * _LEVEL**number) for side in rgb.shape[:2])
        frame = rgb
        if number:
            if min(size) < LEAST_SIDE:
                return _nothing(self.width)
            frame = cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_AREA)
        answers = self.backend.run({"frame": fill_up(frame, self.manifest.size_multiple)[None]})
        score = answers["score"][0, : size[0], : size[1]]
        pixels, scores = self._find(frame, score)
        # Half-pixel rule, from the level to the picture.
        step = np.array([rgb.shape[1] / size[1], rgb.shape[0] / size[0]], np.float32)
        there = (pixels + 0.5) * step - 0.5
        if valid is not None:
            u, v = np.rint(there).astype(np.intp).T
            inside = valid[v.clip(0, valid.shape[0] - 1), u.clip(0, valid.shape[1] - 1)]
            pixels, scores, there = pixels[inside], scores[inside], there[inside]
        order = np.lexsort((pixels[:, 0], pixels[:, 1], -scores))[: self.config.count]
        pixels, scores, there = pixels[order], scores[order], there[order]
        described = describe_at(answers["features"][0], pixels, stride=self.manifest.stride)
        scales = np.full(len(pixels), 8.0 * float(step.mean()), np.float32)
        return there, scores, described, scales

    def _find(self, frame: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return keypoints of a level (N, 2), and what they are worth (N,)."""
        radius, threshold = self.config.radius, self.config.threshold
        if not self.config.corners:
            return peaks(score, radius=radius, threshold=threshold)
        # 1. Corners, and the best score beside each.
        response = corner_response(frame)
        pixels, strength = peaks(response, radius=radius, threshold=_LEAST_RESPONSE)
        nearby = cv2.dilate(score, np.ones((_BESIDE, _BESIDE), np.uint8))
        u, v = np.rint(pixels).astype(np.intp).T
        found = nearby[v, u]
        # 2. Their worth: both must say yes.
        kept = found > threshold
        return pixels[kept], (found * np.sqrt(strength))[kept]


def corner_response(rgb: np.ndarray) -> np.ndarray:
    """Return the smaller eigenvalue of the structure tensor [Shi and Tomasi 1994].

    Args:
        rgb: (H, W, 3) uint8

    Returns:
        (H, W) float32
    """
    gray = cv2.GaussianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), (0, 0), 1.0)
    return cv2.cornerMinEigenVal(gray, 5, ksize=3)


def peaks(score: np.ndarray, *, radius: int, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Find local maxima of a score, to a fraction of a pixel.

    Args:
        score: (H, W) float32
        radius: a peak is the largest within this many pixels each way.
        threshold: smallest score of a peak.

    Returns:
        pixels: (u, v). (N, 2) float32
        scores: (N,) float32
    """
    side = 2 * radius + 1
    highest = cv2.dilate(score, np.ones((side, side), np.uint8))
    v, u = np.nonzero((score == highest) & (score > threshold))
    inner = (v > 0) & (u > 0) & (v < score.shape[0] - 1) & (u < score.shape[1] - 1)
    v, u = v[inner], u[inner]
    here = score[v, u]
    offset = np.column_stack(
        [
            _vertex(score[v, u - 1], here, score[v, u + 1]),
            _vertex(score[v - 1, u], here, score[v + 1, u]),
        ]
    )
    return np.column_stack([u, v]).astype(np.float32) + offset, here


def _vertex(before: np.ndarray, here: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Vertex of the parabola through three scores, at most half a pixel away. (N,) float32"""
    bend = before - 2 * here + after
    offset = np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, 1), 0.0)
    return np.clip(offset, -0.5, 0.5).astype(np.float32)


def describe_at(features: np.ndarray, pixels: np.ndarray, *, stride: int) -> np.ndarray:
    """Sample descriptors bilinearly at pixels of a picture; of length 1 again.

    Args:
        features: map of descriptors, one for each stride x stride pixels. (C, h, w) float32
        pixels: (u, v). (N, 2)
        stride: pixels.

    Returns:
        (N, C) float32
    """
    channels, height, width = features.shape
    at = (pixels.astype(np.float32) + 0.5) / np.float32(stride) - 0.5
    at = np.clip(at, 0, np.array([width - 1, height - 1], np.float32))
    first = np.minimum(at.astype(np.intp), np.maximum([width - 2, height - 2], 0))
    share = (at - first).astype(np.float32)
    (u, v), (du, dv) = first.T, share.T
    flat = features.reshape(channels, -1)
    total = np.zeros((channels, len(pixels)), np.float32)
    for step_v, weight_v in ((0, 1 - dv), (1, dv)):
        for step_u, weight_u in ((0, 1 - du), (1, du)):
            row, column = np.minimum(v + step_v, height - 1), np.minimum(u + step_u, width - 1)
            total += flat[:, row * width + column] * (weight_v * weight_u)
    length = np.linalg.norm(total, axis=0)
    return np.ascontiguousarray((total / np.maximum(length, np.float32(_LEAST_LENGTH))).T)


def _nothing(width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    none = np.zeros(0, np.float32)
    return np.zeros((0, 2), np.float32), none, np.zeros((0, width), np.float32), none
