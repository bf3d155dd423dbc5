# SPDX-License-Identifier: Apache-2.0
"""Compare matching costs, everything else equal: python scripts/similarity/evaluate_similarity.py

Joint probability: share of visible points whose true match costs less than a false one 2 to 8
pixels beside it, and share of hidden points that cost more where they would lie than a visible
point's true match. bad-1, bad-2: share of pixels with known disparity that are off by more, over
all pixels and over visible ones; OpenCV's StereoSGBM stands beside, as it is and filled alike.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from stereo_pairs import SEED, StereoPair, motorcycle, rendered_pairs

from depthkit.multiview.hybrid_kernels import fill_rows
from depthkit.multiview.hybrid_match import MatchConfig, match_pair
from depthkit.multiview.matching_cost import Cost, Describe, stereo_cost
from depthkit.runtime.network.feature_engine import FeatureEngine

NEAREST, FARTHEST = 2, 8  # offsets of false matches, pixels
Match = Callable[[StereoPair], np.ndarray]


@dataclass(frozen=True)
class Scores:
    """Figures of one method, means over the pairs."""

    method: str
    bad_2: float
    """Percent of all pixels with known disparity; unknown predictions are bad."""
    bad_1: float
    bad_2_visible: float
    bad_1_visible: float
    seconds: float
    """Processor time of a pair."""
    joint_visible: float | None = None
    """Percent of visible points."""
    joint_hidden: float | None = None
    """Percent of hidden points."""


def joint_probability(pair: StereoPair, cost: Cost, describe: Describe | None) -> np.ndarray:
    """Return the shares of visible and of hidden points that are told right, ties counted half."""
    rng = np.random.default_rng(0)
    most = pair.max_disparity + FARTHEST
    volume = stereo_cost(
        pair.left, pair.right, disparities=np.arange(most + 1), cost=cost, describe=describe
    )
    rows, columns = np.nonzero(np.isfinite(pair.disparity))
    level = np.rint(pair.disparity[rows, columns]).astype(int)
    size = rng.integers(NEAREST, FARTHEST + 1, len(level))
    other = level + np.where(rng.random(len(level)) < 0.5, -size, size)
    # Both places must lie in the right picture.
    usable = (other >= 0) & (columns - np.maximum(level, other) >= 0) & (level <= most)
    rows, columns, level, other = (x[usable] for x in (rows, columns, level, other))
    true = volume[rows, columns, level].astype(int)
    false = volume[rows, columns, other].astype(int)
    seen = pair.visible[rows, columns]
    visible = _share_below(true[seen], false[seen])
    if seen.all():
        return np.array([visible, np.nan])
    drawn = rng.choice(true[seen], (~seen).sum())
    return np.array([visible, _share_below(drawn, true[~seen])])


def _share_below(a: np.ndarray, b: np.ndarray) -> float:
    return float(100 * ((a < b).mean() + 0.5 * (a == b).mean()))


def score(name: str, match: Match, pairs: Iterable[StereoPair]) -> Scores:
    """Match all pairs and count what is off."""
    bad, started = [], time.process_time()
    for pair in pairs:
        error = np.abs(match(pair) - pair.disparity)
        known = np.isfinite(pair.disparity)
        shown = known & pair.visible
        bad.append([(~(error[part] <= t)).mean() for part in (known, shown) for t in (2, 1)])
    seconds = (time.process_time() - started) / len(bad)
    all_2, all_1, seen_2, seen_1 = (float(100 * x) for x in np.mean(bad, axis=0))
    return Scores(name, all_2, all_1, seen_2, seen_1, seconds)


def sgbm(pair: StereoPair, *, filled: bool) -> np.ndarray:
    """Match by OpenCV's StereoSGBM with the penalties of its own example, 5x5 blocks."""
    matcher = cv2.StereoSGBM.create(
        minDisparity=0,
        numDisparities=pair.max_disparity,
        blockSize=5,
        P1=8 * 25,
        P2=32 * 25,
        disp12MaxDiff=1,
        uniquenessRatio=10,
        speckleWindowSize=100,
        speckleRange=2,
        mode=cv2.STEREO_SGBM_MODE_HH,
    )
    disparity = matcher.compute(pair.left, pair.right).astype(np.float32) / 16
    measured = disparity >= 0
    if not filled:
        return np.where(measured, disparity, np.nan)
    out = np.empty_like(disparity)
    fill_rows(disparity, measured, out)
    return out


def by_cost(cost: Cost, describe: Describe | None) -> Match:
    """Return the matcher of the package with one of its costs."""
    config = MatchConfig(cost=cost)

    def run(pair: StereoPair) -> np.ndarray:
        return match_pair(
            pair.left,
            pair.right,
            max_disparity=pair.max_disparity,
            config=config,
            describe=describe,
        ).disparity

    return run


def compare(pairs: list[StereoPair], model: Path | None) -> list[Scores]:
    """Score every method on the same pairs."""
    found = [score("sgbm", lambda p: sgbm(p, filled=False), pairs)]
    found.append(score("sgbm, filled", lambda p: sgbm(p, filled=True), pairs))
    costs: list[tuple[Cost, Describe | None]] = [("census", None), ("zncc", None)]
    if model is not None:
        costs.append(("learned", FeatureEngine.open(model)))
    for cost, describe in costs:
        joint = np.mean([joint_probability(p, cost, describe) for p in pairs], axis=0)
        whole = score(cost, by_cost(cost, describe), pairs)
        found.append(Scores(**asdict(whole) | dict(zip(JOINT, map(float, joint), strict=True))))
    return found


JOINT = ("joint_visible", "joint_hidden")


def show(title: str, found: list[Scores]) -> None:
    """Print a table."""
    print(f"\n{title}\n{'':14}  bad-2  bad-1 | visible: bad-2  bad-1 | joint: visible hidden | s")
    for one in found:
        joint = [
            f"{x:6.2f}" if x is not None else "     -"
            for x in (one.joint_visible, one.joint_hidden)
        ]
        print(
            f"{one.method:14} {one.bad_2:6.2f} {one.bad_1:6.2f} | {one.bad_2_visible:14.2f} "
            f"{one.bad_1_visible:6.2f} | {joint[0]:>14} {joint[1]} | {one.seconds:.2f}"
        )


def main() -> None:
    """Score on rendered pairs, and on Middlebury's motorcycle where its folder is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="exported descriptors")
    parser.add_argument("--pairs", type=int, default=12, help="rendered pairs (default: 12)")
    parser.add_argument("--seed", type=int, default=SEED, help="of the first pair")
    parser.add_argument("--motorcycle", type=Path, help="folder of Middlebury's pair")
    parser.add_argument("--json", type=Path, help="file for the figures")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    tables = {}
    if args.pairs:
        tables["rendered"] = compare(list(rendered_pairs(args.pairs, seed=args.seed)), args.model)
    if args.motorcycle is not None:
        tables["motorcycle"] = compare([motorcycle(args.motorcycle)], args.model)
    for title, found in tables.items():
        show(title, found)
    if args.json is not None:
        args.json.write_text(
            json.dumps({k: [asdict(s) for s in v] for k, v in tables.items()}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
