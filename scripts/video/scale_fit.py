# SPDX-License-Identifier: Apache-2.0
"""Metres for a network of single frames from the odometry's points: what each part of the fit adds.

The odometry's unit comes from one known distance: from the camera's first known place to the place
farthest from it, by the sensor's poses. Everything else is found in the frames. The error is that
of metres, without scaling to the truth; flicker is the root mean square change, from frame to
frame, of the logarithm of median truth over median depth, and of the fit's own factor.

    python scripts/pairs/prepare_real_pairs.py DATA OUT
    python scripts/video/motion_first.py OUT/kitchen RUNS --train 0:200 --test 200:400
    depthkit export RUNS/run_0 --out mono.onnx
    python scripts/video/scale_fit.py OUT/kitchen mono.onnx --frames 200:400
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from depthkit.data.sequence import Sequence, open_sequence
from depthkit.evaluation.baselines import constant_depth
from depthkit.evaluation.depth import DepthProtocol, depth_metrics
from depthkit.runtime import DepthEngine, DepthResult, OdometryResult
from depthkit.runtime.depth.scale_fit import ScaledDepth, points_of
from depthkit.runtime.depth.scale_fit_frame import find_level
from depthkit.runtime.odometry.geometric import GeometricOdometry
from depthkit.runtime.result import ScaleState

FARTHEST = 10.0  # metres; what the sensor says beyond is not scored
BAND = 1.645  # standard deviations of a 90 % band
KNOWN = ScaleState("observed", "known distance", 0.01)

Case = tuple[DepthResult, OdometryResult]
Fit = Callable[[DepthResult, OdometryResult], tuple[np.ndarray, float, float | None] | None]


@dataclass
class Row:
    """Scores of one way to metres, frame by frame."""

    errors: list[float]
    ratios: list[float]
    factors: list[float]
    inside: list[float]

    def text(self) -> str:
        """Return the figures as one line."""
        flicker = [np.sqrt(np.mean(np.diff(np.log(x)) ** 2)) for x in (self.ratios, self.factors)]
        band = f"{100 * np.mean(self.inside):.0f} %" if self.inside else "-"
        return f"{np.mean(self.errors):.4f} {flicker[0]:10.4f} {flicker[1]:10.4f} {band:>8}"


def track(sequence: Sequence, frames: range) -> list[OdometryResult]:
    """Run the odometry, and bring its unit to metres by one known distance."""
    odometry, K = GeometricOdometry(), sequence.camera.K
    stamps = [float(sequence.times[i]) for i in frames]
    found = [
        odometry.process(sequence.read_frame(i), stamp=stamp, K=K)
        for i, stamp in zip(frames, stamps, strict=True)
    ]
    posed = [i for i, one in enumerate(found) if one.points is not None]
    if sequence.poses is None or len({found[i].segment for i in posed}) != 1:
        raise SystemExit("one segment and the sensor's poses are needed")
    true = sequence.poses[[frames[i] for i in posed], :3, 3]
    path = np.stack([found[i].T_world_cam[:3, 3] for i in posed])
    away = np.linalg.norm(true - true[0], axis=1)
    far = int(away.argmax())
    unit = float(away[far] / np.linalg.norm(path[far] - path[0]))
    print(f"known distance {away[far]:.3f} m: {unit:.4f} m a unit; {len(posed)} frames with points")
    return [in_metres(one, unit) for one in found]


def in_metres(result: OdometryResult, unit: float) -> OdometryResult:
    """Scale a result."""
    T = result.T_world_cam.copy()
    T[:3, 3] *= unit
    points = result.points
    if points is None:
        return replace(result, T_world_cam=T)
    points = replace(points, positions=unit * points.positions)
    return replace(result, T_world_cam=T, points=points, scale="metric", scale_state=KNOWN)


def ways() -> dict[str, Fit]:
    """Return each way to metres: depth, factor and sigma of a frame."""
    first: list[float] = []

    def each(depth: DepthResult, moved: OdometryResult):
        points = points_of(depth, moved)
        level = None if isinstance(points, str) else find_level(points)
        if level is None or depth.depth is None:
            return None
        first.append(float(np.exp(level.log)))
        return depth.depth * first[-1], first[-1], None

    def plain(depth: DepthResult, moved: OdometryResult):
        return None if depth.depth is None or moved.points is None else (depth.depth, 1.0, None)

    def kept(depth: DepthResult, moved: OdometryResult):
        return (depth.depth * first[0], first[0], None) if each(depth, moved) else None

    def filtered(ambiguity) -> Fit:
        scaled = ScaledDepth(ambiguity)

        def fit(depth: DepthResult, moved: OdometryResult):
            result = scaled.apply(depth, moved)
            if result.depth is None or result.fit is None or result.sigma is None:
                return None
            return result.depth, result.fit.factor or 1.0, float(result.sigma.flat[0])

        return fit

    return {
        "as the network says it": plain,
        "factor of the first frame, kept": kept,
        "factor of each frame": each,
        "factor, filtered (ambiguity scale)": filtered("scale"),
        "factor and shift, filtered": filtered("scale-and-shift"),
    }


def main() -> None:
    """Track, predict, fit, score."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sequence", type=Path, help="prepared sequence with depth and poses")
    parser.add_argument("model", help="exported network of single frames")
    parser.add_argument("--frames", required=True, metavar="FIRST:END")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    sequence = open_sequence(args.sequence)
    frames = range(*map(int, args.frames.split(":")))
    found = track(sequence, frames)
    rows = {name: Row([], [], [], []) for name in ways()}
    fits, truths = ways(), []
    with DepthEngine.open(args.model, threads=1) as engine:
        for i, moved in zip(frames, found, strict=True):
            truth = sequence.read_depth(i)[::2, ::2]
            truth = np.where(truth <= FARTHEST, truth, 0)
            truths += [truth] if moved.points is not None else []
            depth = engine.depth(sequence.read_frame(i), K=sequence.camera.K, stamp=moved.stamp)
            for name, fit in fits.items():
                done = fit(depth, moved)
                if done is not None:
                    score(rows[name], done, truth)
    protocol = DepthProtocol(max_depth=FARTHEST)
    constant = constant_depth(truths, protocol)
    best = [depth_metrics(np.full_like(one, constant), one, **vars(protocol)) for one in truths]
    least = float(np.mean([one.abs_rel for one in best]))
    print(f"best constant of these frames, known from the truth: {least:.4f}")
    print(f"{'':36} abs_rel  flicker of truth/depth, of factor, 90 % band")
    for name, row in rows.items():
        print(f"{name:36} {row.text()}")


def score(row: Row, done: tuple[np.ndarray, float, float | None], truth: np.ndarray) -> None:
    """Add the figures of a frame."""
    depth, factor, sigma = done[0][::2, ::2], done[1], done[2]
    one = depth_metrics(depth, truth, max_depth=FARTHEST)
    row.errors.append(one.abs_rel)
    row.ratios.append(one.ratio)
    row.factors.append(factor)
    if sigma is not None:
        known = (truth > 0) & (depth > 0)
        away = np.abs(np.log(depth[known] / truth[known]))
        row.inside.append(float(np.mean(away <= BAND * sigma)))


if __name__ == "__main__":
    main()
