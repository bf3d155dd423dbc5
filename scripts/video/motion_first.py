# SPDX-License-Identifier: Apache-2.0
"""Depth in minutes: poses first, then a depth network that takes them for the motion.

One sequence folder is cut in two at the training size; the odometry finds the poses of the first
part in its full frames (or the folder's own are taken), a network learns from it, and every few
steps its depth of the second part is compared with the known depth, median-scaled. With --joint the
recipe without poses runs for as long, for comparison. Times are CPU seconds of the training alone,
from its first line on; scoring is left out, and the odometry's stand beside them.

    depthkit prepare sevenscenes_redkitchen --out DATA --name kitchen
    python scripts/video/motion_first.py DATA/kitchen RUNS --train 0:320 --test 320:400 --joint
"""

import argparse
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from depthkit.config import TrainConfig
from depthkit.config.strict_yaml import load_config
from depthkit.data.poses_note import PosesNote, save_poses_note
from depthkit.data.sequence import Sequence, SequenceWriter, open_sequence
from depthkit.evaluation.depth import depth_metrics
from depthkit.runtime.odometry.geometric import GeometricOdometry
from depthkit.training import loop

CHECKOUT = Path(__file__).resolve().parent.parent.parent
CONFIGS = CHECKOUT / "configs" / "indoor"
FARTHEST = 10.0  # metres; what the sensor says beyond is not scored


@dataclass
class Curve:
    """Scores of a run while it trains; takes the place of its validation."""

    name: str
    test: Sequence
    size: tuple[int, int]
    every: int
    limit: float
    """CPU seconds after which the run ends."""
    begun: float = field(default_factory=time.process_time)
    away: float = 0.0
    rows: list[tuple[int, float, float]] = field(default_factory=list)
    """Step, CPU seconds of training, abs_rel."""

    def __call__(self, module: Any, data: Any, config: TrainConfig, fabric: Any) -> dict:
        """Score the network as it is."""
        paused = time.process_time()
        spent = paused - self.begun - self.away
        score = self.score(module.get_submodule("depth_net"))
        self.rows.append((self.every * (len(self.rows) + 1), spent, score))
        print(
            f"{self.name:24} step {self.rows[-1][0]:5}  {spent:6.1f} s CPU  {score:.4f}", flush=True
        )
        self.away += time.process_time() - paused
        if spent > self.limit:
            raise TimeoutError
        return {"val/loss": score}

    @torch.no_grad()
    def score(self, net: torch.nn.Module) -> float:
        """Return the mean abs_rel of all test frames, each scaled by its median."""
        was_training = net.training
        net.eval()
        scores = []
        for i in range(len(self.test)):
            rgb = shrink(self.test.read_frame(i), self.size)
            inverse = net(torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255)[0][0, 0]
            truth = self.test.read_depth(i)
            depth = 1 / cv2.resize(inverse.numpy(), truth.shape[::-1])
            known = np.where(truth <= FARTHEST, truth, 0)
            scores.append(depth_metrics(depth, known, align="median").abs_rel)
        net.train(was_training)
        return float(np.mean(scores))


def shrink(rgb: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring a frame to the network's size."""
    return cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_AREA)


def write_part(
    source: Sequence, out: Path, frames: range, *, size: tuple[int, int], poses: np.ndarray | None
) -> None:
    """Write some frames of a sequence at the training size, with the poses given. (N, 4, 4)"""
    with SequenceWriter(out, source.camera.resized(size), ext="png", force=True) as writer:
        for place, i in enumerate(frames):
            pose = None if poses is None or np.isnan(poses[place]).any() else poses[place]
            writer.add_frame(shrink(source.read_frame(i), size), float(source.times[i]), pose)


def find_poses(source: Sequence, frames: range) -> tuple[np.ndarray, PosesNote]:
    """Run the odometry on full frames. (N, 4, 4), NaN where unknown, and their segments."""
    odometry = GeometricOdometry()
    for i in frames:
        stamp = float(source.times[i])
        odometry.process(source.read_frame(i), stamp=stamp, K=source.camera.K)
    path = odometry.smoothed()
    places = np.searchsorted(source.times[frames.start : frames.stop], path.stamps - 1e-6)
    poses = np.full((len(frames), 4, 4), np.nan)
    poses[places] = path.poses
    spans = [places[path.segments == segment] for segment in np.unique(path.segments)]
    segments = tuple((int(span.min()), int(span.max())) for span in spans)
    return poses, PosesNote("odometry", "up_to_scale", segments)


def prepare(args: argparse.Namespace, size: tuple[int, int]) -> Sequence:
    """Write the training part with its poses; return the frames that are scored."""
    source, root = open_sequence(args.sequence), args.out / "train"
    if args.poses == "odometry":
        begun = time.process_time()
        poses, note = find_poses(source, args.train)
        print(f"odometry: {time.process_time() - begun:.1f} s CPU, segments {note.segments}")
        write_part(source, root, args.train, size=size, poses=poses)
        save_poses_note(root, note)
    else:
        given = None if source.poses is None else source.poses[args.train]
        write_part(source, root, args.train, size=size, poses=given)
    chosen = tuple(source.frames[i] for i in args.test)
    return replace(source, frames=chosen, times=source.times[args.test], poses=None)


def learn(config: TrainConfig, run: Path, curve: Curve) -> None:
    """Train, scoring on the way, until the steps are done or the time is up."""
    vars(loop)["validate"] = curve
    try:
        loop.train(config, run)
    except TimeoutError:
        print(f"{curve.name}: {curve.limit:g} s are over")


def settings(name: str, root: Path, every: int, words: list[str]) -> TrainConfig:
    """Read a configuration of configs/indoor for a run of this script."""
    own = [f"data.root={root}", f"run.validate_every={every}", "run.threads=1"]
    return load_config(TrainConfig, CONFIGS / f"{name}.yaml", [*own, *words])


def span(text: str) -> range:
    """Read FIRST:END."""
    first, end = text.split(":")
    return range(int(first), int(end))


def main() -> None:
    """Prepare, train, print the curves side by side."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sequence", type=Path, help="prepared sequence folder with depth")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--train", type=span, required=True, metavar="FIRST:END")
    parser.add_argument("--test", type=span, required=True, metavar="FIRST:END")
    parser.add_argument("--poses", choices=["odometry", "given"], default="odometry")
    parser.add_argument("--motion", choices=["known", "refined"], default="known")
    parser.add_argument("--seconds", type=float, default=180.0, help="CPU seconds a run")
    parser.add_argument("--every", type=int, default=50, help="steps between scores")
    parser.add_argument("--joint", action="store_true", help="run joint learning beside it")
    parser.add_argument("--set", nargs="*", default=[], help="key=value of the first run")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)

    size = settings("motion_first", args.out, 1, args.set).data.size
    test = prepare(args, size)
    motion = [*args.set, f"loss.motion={args.motion}"]
    runs = [(f"{args.motion} ({args.poses})", "motion_first", motion)]
    if args.joint:
        runs.append(("joint", "redkitchen", [f"data.size=[{size[0]},{size[1]}]"]))
    for number, (name, file, words) in enumerate(runs):
        config = settings(file, args.out / "train", args.every, words)
        curve = Curve(name, test, size, every=args.every, limit=args.seconds)
        learn(config, args.out / f"run_{number}", curve)


if __name__ == "__main__":
    main()
