#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
r"""The weights SWEPT and FILLED of `runtime/depth/sweep_confidence.py`, from scenes with truth.

Linear quantile regression at 0.9 of the logarithm of the error on the cues of the sweep, then on
those of the smoothed map. Every rendered scene has the same weight, the real one three times that.
On the real one the error of each frame's scale is removed first: it is that of the poses, and the
stream adds it by itself. With --fused, FILLED is fitted to the maps that the stream has fused over
time, under the SWEPT it has now, and not to single sweeps: fusion makes sigma smaller. Below the
weights: each scene under the fit to all, and under a fit that has not seen its kind. Coverage of
the 90 % band, and AUSE.

    python scripts/pairs/prepare_real_pairs.py DATA OUT
<<<<<<< HEAD
    for world in stillbox street colon; do depthkit synth $world --out WORLDS/$world \
        --scenes 4 --frames 40 --size 240x320 --seed 77; done
=======
    for world in stillbox street colon; do
        depthkit synth $world --out WORLDS/$world --scenes 4 --frames 40 --size 240x320 \
            --seed 77 --noise 2; done
>>>>>>> main
    python scripts/sweep/fit_confidence.py OUT/kitchen --frames 0:200:4 --rendered \
        WORLDS/stillbox/stillbox_0000[02] WORLDS/street/street_0000[01] WORLDS/colon/colon_0000[02]

The maps of all frames are held in memory: 4 MB a frame.
"""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from depthkit.data.sequence import Sequence, open_sequence
from depthkit.evaluation.sparsification import sparsification
from depthkit.runtime import Motion
from depthkit.runtime.depth.sweep import Swept
from depthkit.runtime.depth.sweep_confidence import BAND, FLOOR, LEAST, MOST, cues, filled_cues
from depthkit.runtime.depth.sweep_config import SweepConfig
from depthkit.runtime.depth.sweep_map import DepthMap, smoothed
from depthkit.runtime.depth.sweep_stream import SweepStream
from depthkit.runtime.preprocess import to_size

QUANTILE = 0.9
REAL_WEIGHT = 3.0  # of the real scene; 1 a rendered one
PIXELS = 3000  # drawn from a frame
MOST_ERROR = 2.0  # larger ones count as this
AGREEING, UNIQUE, ENOUGH = 0.6, 0.2, 200  # pixels that tell a frame's scale, and how many
ROUNDS, CORNER = 40, 0.01  # of the reweighted least squares; where the loss becomes round


@dataclass(frozen=True)
class Frame:
    """A swept frame with its truth at the same size."""

    swept: Swept
    grey: np.ndarray
    truth: np.ndarray
    scale: float
    """Logarithm of its depth over the truth, removed from all errors."""
    own: DepthMap
    """The sweep fused with the last map."""
    own_scale: float
    """The same of the fused map."""


Of = Callable[[Frame], tuple[np.ndarray, np.ndarray, float]]


@dataclass(frozen=True)
class Samples:
    """Cues and errors of the pixels drawn from a scene."""

    cues: np.ndarray
    """(N, C)"""
    errors: np.ndarray
    """Absolute differences of log depth. (N,)"""
    weight: float
    """That of the scene."""


def sweep_scene(
    sequence: Sequence, frames: Iterable[int], *, shrink: int, real: bool
) -> list[Frame]:
    """Run the stream with the true poses and keep each sweep."""
    if sequence.poses is None or not sequence.has_depth:
        raise SystemExit(f"{sequence.name}: poses and depth are needed")
    stream, kept = SweepStream(SweepConfig(shrink=shrink)), []
    for i in frames:
        if not np.isfinite(sequence.poses[i]).all():
            continue
        rgb, stamp, motion = sequence.read_frame(i), float(sequence.times[i]), sequence.poses[i]
        done = stream.process(rgb, stamp=stamp, K=sequence.camera.K, motion=Motion(motion))
        swept, own = stream.swept, stream.newest
        if done.depth is None or swept is None or own is None:
            continue
        size = swept.inverse.shape
        grey = cv2.cvtColor(np.array(to_size(rgb, size)), cv2.COLOR_RGB2GRAY)
        truth = cv2.resize(sequence.read_depth(i), size[::-1], interpolation=cv2.INTER_NEAREST)
        if not truth.any():
            continue
        good = (swept.agreeing > AGREEING) & (swept.uniqueness > UNIQUE)
        scale = scale_of(swept.inverse, truth, good) if real else 0.0
        own_scale = scale_of(own.inverse, truth, own.sure) if real else 0.0
        kept.append(Frame(swept, grey, truth, scale, own, own_scale))
    print(f"{sequence.name}: {len(kept)} frames", flush=True)
    return kept


def scale_of(inverse: np.ndarray, truth: np.ndarray, good: np.ndarray) -> float:
    """Return the median logarithm of depth over truth where the match is good."""
    good = good & (truth > 0)
    if good.sum() <= ENOUGH:
        return 0.0
    return float(np.median(-np.log(inverse[good] * truth[good])))


def swept_samples(frame: Frame) -> tuple[np.ndarray, np.ndarray, float]:
    """Return cues (H, W, C) and inverse depth of a sweep, and its scale."""
    return cues(frame.swept, frame.grey), frame.swept.inverse, frame.scale


def fused_samples(frame: Frame) -> tuple[np.ndarray, np.ndarray, float]:
    """Return cues and inverse depth of a fused map that was smoothed, and its scale."""
    return *smoothed_cues(frame.own, frame.grey), frame.own_scale


def filled_samples(weights: np.ndarray) -> Of:
    """Return what gives cues, inverse depth and scale of a single sweep that was smoothed.

    Args:
        weights: of the sweep's cues.
    """

    def of(frame: Frame) -> tuple[np.ndarray, np.ndarray, float]:
        logs = cues(frame.swept, frame.grey) @ weights.astype(np.float32)
        sigma = np.clip(np.exp(logs) / BAND, LEAST, MOST).astype(np.float32)
        own = DepthMap(frame.swept.inverse, sigma, np.eye(4), np.eye(3))
        return *smoothed_cues(own, frame.grey), frame.scale

    return of


def smoothed_cues(own: DepthMap, grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fill a map; return its cues (H, W, C) and inverse depth."""
    value, filled, reach = smoothed(own, grey)
    return np.stack(filled_cues(own.sigma, own.inverse, filled, value, reach), axis=2), value


def draw(frames: list[Frame], of: Of, *, weight: float) -> Samples:
    """Draw pixels with truth from each frame; the same ones for the same seed."""
    rng, found, errors = np.random.default_rng(0), [], []
    for frame in frames:
        values, inverse, scale = of(frame)
        pixels = rng.choice(np.flatnonzero(frame.truth > 0), PIXELS)
        logs = -np.log(inverse.ravel()[pixels] * frame.truth.ravel()[pixels])
        errors.append(np.abs(logs - scale))
        found.append(values.reshape(-1, values.shape[2])[pixels])
    return Samples(np.concatenate(found), np.concatenate(errors), weight)


def fit(scenes: Iterable[Samples]) -> np.ndarray:
    """Return the weights whose sum is the quantile of the log error. (C,)

    Iteratively reweighted least squares on the pinball loss [Koenker 1978].
    """
    scenes = list(scenes)
    X = np.concatenate([one.cues for one in scenes]).astype(np.float64)
    y = np.log(np.minimum(np.concatenate([one.errors for one in scenes]), MOST_ERROR) + FLOOR)
    share = np.concatenate(
        [np.full(len(one.errors), one.weight / len(one.errors)) for one in scenes]
    )
    share /= share.sum()
    root = np.sqrt(share)
    weights = np.linalg.lstsq(X * root[:, None], y * root, rcond=None)[0]
    for _ in range(ROUNDS):
        rest = y - X @ weights
        pull = np.where(rest > 0, QUANTILE, 1 - QUANTILE) / np.maximum(np.abs(rest), CORNER) * share
        weighed = (X * pull[:, None]).T
        weights = np.linalg.solve(weighed @ X + 1e-6 * np.eye(X.shape[1]), weighed @ y)
    return weights


def report(name: str, scenes: dict[str, Samples]) -> np.ndarray:
    """Fit, print the weights and what they are worth on each scene, and return them."""
    weights = fit(scenes.values())
    print(f"{name} = {tuple(np.round(weights, 3).tolist())}")
    print(f"{'':20} all: coverage  AUSE   others: coverage  AUSE")
    for scene, samples in scenes.items():
        others = [s for key, s in scenes.items() if kind_of(key) != kind_of(scene)]
        columns = [worth(samples, weights)] + ([worth(samples, fit(others))] if others else [])
        print(f"{scene:20} " + "  ".join(f"{c:13.3f} {a:8.3f}" for c, a in columns), flush=True)
    return weights


def kind_of(scene: str) -> str:
    """Return the kind of a scene: street of street_00001."""
    return scene.rsplit("_", 1)[0]


def worth(samples: Samples, weights: np.ndarray) -> tuple[float, float]:
    """Return the coverage of the 90 % band, and the AUSE."""
    sigma = np.exp(samples.cues @ weights) / BAND
    inside = float(np.mean(samples.errors < BAND * sigma))
    return inside, sparsification(np.minimum(samples.errors, MOST_ERROR), -sigma).ause


def main() -> None:
    """Sweep, draw, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("real", type=Path, help="prepared sequence with depth and poses")
    parser.add_argument("--frames", default="0:200:4", metavar="FIRST:END:STEP")
    parser.add_argument("--rendered", type=Path, nargs="+", required=True, metavar="SEQUENCE")
    parser.add_argument("--fused", action="store_true", help="FILLED on maps fused over time")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    real, span = open_sequence(args.real), range(*map(int, args.frames.split(":")))
    frames = {real.name: sweep_scene(real, span, shrink=2, real=True)}
    for path in args.rendered:
        scene = open_sequence(path)
        frames[scene.name] = sweep_scene(scene, range(len(scene)), shrink=1, real=False)
    weight = {name: REAL_WEIGHT if name == real.name else 1.0 for name in frames}
    swept = {k: draw(f, swept_samples, weight=weight[k]) for k, f in frames.items()}
    weights = report("SWEPT", swept)
    of = fused_samples if args.fused else filled_samples(weights)
    report("FILLED", {k: draw(f, of, weight=weight[k]) for k, f in frames.items()})


if __name__ == "__main__":
    main()
