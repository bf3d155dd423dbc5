# SPDX-License-Identifier: Apache-2.0
"""One frame of a sequence as `evaluate_coop.py` saw it: truth above, what the run says below."""

from pathlib import Path

import cv2
import matplotlib
import numpy as np
from coop_guess import Guess

from depthkit.data.image_io import encode, write_atomic
from depthkit.data.sequence import Sequence
from depthkit.evaluation.flow_plots import flow_colours

LONGEST = 40.0  # pixels in full colour


def draw(path: Path, sequence: Sequence, guess: Guess) -> None:
    """Write image, depth, flow and moving pixels: the truth in the first row, the guess below."""
    size = sequence.camera.size
    truth = sequence.read_truth(guess.frame)
    gt = sequence.read_depth(guess.frame) if sequence.has_depth else None
    image = sequence.read_frame(guess.frame)
    above = [image, _depth(gt, size), _flow(truth.flow, size), _grey(truth.moving, size)]
    moving = guess.moving
    if moving is not None and moving.min() < 0:  # no probability: a difference of errors
        moving = np.clip(moving / max(float(np.percentile(moving, 99)), 1e-6), 0, 1)
    below = [
        _overlay(image, guess.mask),
        _depth(guess.depth, size),
        _flow(_as_large(guess.flow, size), size),
        _grey(moving, size),
    ]
    rows = [np.concatenate(row, axis=1) for row in (above, below)]
    write_atomic(path, encode(np.concatenate(rows, axis=0), "png"))


def _depth(depth: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    """Paint nearness, near is bright; each map by its own nearest tenth. (H, W, 3) uint8"""
    if depth is None or not (depth > 0).any():
        return _blank(size)
    near = np.where(depth > 0, 1 / np.maximum(depth, 1e-6), 0)
    near = np.clip(near / np.percentile(near[depth > 0], 95), 0, 1)
    return _resized(_to_8_bit(matplotlib.colormaps["magma"](near)[..., :3]), size)


def _flow(flow: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    return _blank(size) if flow is None else _to_8_bit(flow_colours(flow, LONGEST))


def _as_large(flow: np.ndarray | None, size: tuple[int, int]) -> np.ndarray | None:
    """Bring flow to the truth's size, in pixels of it."""
    if flow is None:
        return None
    scale = np.array([size[1] / flow.shape[1], size[0] / flow.shape[0]], np.float32)
    return cv2.resize(flow, size[::-1], interpolation=cv2.INTER_LINEAR) * scale


def _grey(values: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    if values is None:
        return _blank(size)
    return _resized(_to_8_bit(np.repeat(values.astype(np.float32)[..., None], 3, axis=2)), size)


def _overlay(image: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Tint red what is said to move."""
    if mask is None:
        return image
    large = cv2.resize(
        mask.astype(np.uint8), image.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT
    )
    red = np.array([255, 0, 0], np.float32)
    return np.where(large[..., None] > 0, 0.5 * image + 0.5 * red, image).astype(np.uint8)


def _to_8_bit(values: np.ndarray) -> np.ndarray:
    return np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_LINEAR)


def _blank(size: tuple[int, int]) -> np.ndarray:
    return np.full((*size, 3), 60, np.uint8)
