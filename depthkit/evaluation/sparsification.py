# SPDX-License-Identifier: Apache-2.0
"""Quality of a confidence: the error of the pixels kept when the least confident are removed.

The curve of [Ilg 2018]: pixels are removed in order of confidence, and the mean error of the rest
is compared with two others. The oracle removes pixels in order of their true error; chance keeps
the mean of all, whatever the share. An uninformative confidence follows chance.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.errors import DataError, check_shape

PER_FRAME = 4096  # pixels of a frame that `PixelSample` keeps


@dataclass(frozen=True)
class Sparsification:
    """Three curves over the share of pixels kept, and two areas between them."""

    kept: np.ndarray
    """Shares of the pixels, 1 down to 1 / steps. (steps,)"""
    error: np.ndarray
    """Mean error of the pixels kept, least confident removed first. (steps,)"""
    oracle: np.ndarray
    """The same, largest error removed first: no order does better. (steps,)"""
    random: float
    """Mean error of all pixels, which is what chance leaves at any share."""
    ause: float
    """Mean of (error - oracle) over the shares, by the trapezoid rule, divided by `random`: 0 is as
    good as the oracle. No unit, so that it can be compared between data and metrics."""
    aurg: float
    """Mean of (random - error), taken alike: above 0 is better than chance."""


class PixelSample:
    """The same share of evidence from every frame: all pixels of a long film do not fit memory.

    Up to `per_frame` scored pixels a frame are drawn, by a seed and the frame's number alone, and
    pooled: so a confidence must also rank one frame against another.
    """

    def __init__(self, per_frame: int = PER_FRAME, seed: int = 0) -> None:
        if per_frame < 1:
            raise DataError(f"PixelSample: per_frame must be 1 or more, got {per_frame}")
        self.per_frame, self.seed, self.frames = per_frame, seed, 0
        self._errors: list[np.ndarray] = []
        self._confidences: list[np.ndarray] = []

    def add(self, error: np.ndarray, confidence: np.ndarray, scored: np.ndarray) -> None:
        """Draw from the pixels of one more frame.

        Args:
            error: 0 or more, any unit; read where `scored` alone. (H, W)
            confidence: larger is surer. (H, W)
            scored: pixels that count. (H, W) bool
        """
        check_shape("PixelSample: error", error, "H W")
        for name, array in (("confidence", confidence), ("scored", scored)):
            check_shape(f"PixelSample: {name}", array, " ".join(map(str, error.shape)))
        rng = np.random.default_rng((self.seed, self.frames))
        self.frames += 1
        pixels = np.flatnonzero(scored)
        if len(pixels) > self.per_frame:
            pixels = rng.choice(pixels, self.per_frame, replace=False)
        self._errors.append(error.ravel()[pixels].astype(np.float32))
        self._confidences.append(confidence.ravel()[pixels].astype(np.float32))

    def result(self, steps: int = 20) -> Sparsification:
        """Return the curves of all that was drawn.

        Raises:
            DataError: nothing was drawn.
        """
        if not any(len(errors) for errors in self._errors):
            raise DataError(f"sparsification: no scored pixel in {self.frames} frames")
        pooled = np.concatenate(self._errors), np.concatenate(self._confidences)
        return sparsification(*pooled, steps=steps)


def sparsification(error: np.ndarray, confidence: np.ndarray, *, steps: int = 20) -> Sparsification:
    """Remove the least confident pixels step by step and average the error of the rest.

    Pixels of equal confidence leave together, each in part: the curve is what random order among
    them gives on average, so that no order of the input shows.

    Args:
        error: 0 or more, any unit. (N,)
        confidence: larger is surer, any unit. (N,)
        steps: shares looked at, 1 / steps apart.

    Raises:
        DataError: no pixels, an error below 0, numbers that are not finite, fewer than 2 steps.
    """
    check_shape("sparsification: error", error, "N")
    check_shape("sparsification: confidence", confidence, str(len(error)))
    _check(error, confidence, steps)
    error = error.astype(np.float64)
    kept = np.arange(steps, 0, -1) / steps
    curve, oracle = (_kept_error(error, order, kept) for order in (confidence, -error))
    mean = float(error.mean())
    return Sparsification(
        kept=kept,
        error=curve,
        oracle=oracle,
        random=mean,
        ause=_mean_height(curve - oracle) / mean if mean > 0 else 0.0,
        aurg=_mean_height(mean - curve) / mean if mean > 0 else 0.0,
    )


def _check(error: np.ndarray, confidence: np.ndarray, steps: int) -> None:
    if len(error) == 0 or steps < 2:
        raise DataError(
            f"sparsification: expected pixels and 2 steps or more, got {len(error)} and {steps}"
        )
    for name, values in (("errors", error), ("confidences", confidence)):
        if not np.isfinite(values).all():
            count = int((~np.isfinite(values)).sum())
            raise DataError(
                f"sparsification: {count} of {len(values)} {name} are not finite; leave those "
                "pixels out"
            )
    if error.min() < 0:
        raise DataError(f"sparsification: errors must be 0 or more, got {error.min():g}")


def _kept_error(error: np.ndarray, confidence: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Mean error of the surest pixels, for each share of them. (S,)"""
    _, group, counts = np.unique(-confidence, return_inverse=True, return_counts=True)
    sums = np.bincount(group, weights=error, minlength=len(counts))
    # Between two groups the sum grows evenly: part of a group has the mean of the group.
    taken = np.concatenate([[0], np.cumsum(counts)])
    wanted = kept * len(error)
    return np.interp(wanted, taken, np.concatenate([[0.0], np.cumsum(sums)])) / wanted


def _mean_height(curve: np.ndarray) -> float:
    """Area under evenly spaced points over its width, by the trapezoid rule."""
    return float((curve[:-1] + curve[1:]).mean() / 2)
