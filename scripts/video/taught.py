# SPDX-License-Identifier: Apache-2.0
"""A depth network from one's own video in minutes, taught by geometry: no sensor, no weights.

The odometry finds the poses in full frames, the sweep compares posed views and keeps the depth that
it is sure of, and a light network learns from both: that depth, and views rebuilt with it. With one
known length, the distance of the camera between two frames, all of it is metres. Times are CPU
seconds of this process; depth of --test frames, where the source has any, is for the score alone.

    python scripts/video/taught.py walk.mp4 OUT --camera camera.yaml --distance 0:150:0.83
    depthkit prepare sevenscenes_redkitchen --out DATA --name kitchen
    python scripts/video/taught.py DATA/kitchen OUT --train 0:320 --test 320:400 --distance given
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from motion_first import FARTHEST, find_poses, shrink

import depthkit
from depthkit.config import TrainConfig
from depthkit.config.strict_yaml import load_config
from depthkit.data.poses_note import PosesNote, save_poses_note
from depthkit.data.sequence import Sequence, SequenceWriter, open_sequence
from depthkit.errors import DataError
from depthkit.evaluation.depth import DepthScore, depth_metrics
from depthkit.pipelines.train import train
from depthkit.tasks.loaded import load_task

RECIPE = Path(__file__).resolve().parent.parent.parent / "configs" / "indoor" / "taught.yaml"
WORKING_WIDTH = 320  # pixels, of the frames that are compared and trained on


def open_source(args: argparse.Namespace) -> Sequence:
    """Open a sequence folder, or prepare a video into one."""
    if (args.source / "camera.yaml").exists():
        return open_sequence(args.source)
    made = depthkit.prepare(args.source, args.out / "prepared", camera=args.camera, fov=args.fov)
    return open_sequence(made.sequences[0].path)


def to_metres(
    poses: np.ndarray, note: PosesNote, known: tuple[int, int, float]
) -> tuple[np.ndarray, PosesNote]:
    """Scale the segment that a known length lies in, and leave the others out.

    Args:
        poses: T_world_cam, up to scale. (N, 4, 4)
        note: their segments.
        known: two frames, and the distance of the camera between them, metres.

    Raises:
        DataError: the frames are not of one segment, or the camera did not move.
    """
    first, last, metres = known
    labels = note.labels(len(poses))
    own = np.linalg.norm(poses[last, :3, 3] - poses[first, :3, 3])
    if labels[first] < 0 or labels[first] != labels[last] or not own > 0:
        raise DataError(
            f"--distance: frames {first} and {last} are not two places of one segment of the "
            f"odometry; segments are {note.segments}"
        )
    scaled = np.where((labels == labels[first])[:, None, None], poses, np.nan)
    scaled[:, :3, 3] *= metres / own
    return scaled, PosesNote("odometry", "metric", (note.segments[labels[first]],))


def read_distance(args: argparse.Namespace, source: Sequence) -> tuple[int, int, float] | None:
    """Return the known length; 'given' takes one from the source's own poses, and only that one:
    from the first training frame to the one farthest from it."""
    if args.distance is None:
        return None
    if args.distance != "given":
        first, last, metres = args.distance.split(":")
        return int(first), int(last), float(metres)
    if source.poses is None:
        raise DataError(f"{source.name}: --distance given needs poses of the source")
    centres = source.poses[args.train.start : args.train.stop, :3, 3]
    lengths = np.linalg.norm(centres - centres[0], axis=1)
    return 0, int(np.nanargmax(lengths)), float(np.nanmax(lengths))


def write_training(source: Sequence, args: argparse.Namespace) -> Path:
    """Write the training frames with the poses of the odometry, smaller. Returns the folder."""
    poses, note = find_poses(source, args.train)
    known = read_distance(args, source)
    if known is not None:
        poses, note = to_metres(poses, note, known)
        print(f"known length: frames {known[0]} and {known[1]}, {known[2]:.3f} m")
    width = min(WORKING_WIDTH, source.camera.width)
    size = (round(source.camera.height * width / source.camera.width), width)
    out = args.out / "train"
    with SequenceWriter(out, source.camera.resized(size), ext="png", force=True) as writer:
        for place, i in enumerate(args.train):
            pose = None if np.isnan(poses[place]).any() else poses[place]
            writer.add_frame(shrink(source.read_frame(i), size), float(source.times[i]), pose)
    save_poses_note(out, note)
    return out


@torch.no_grad()
def score(source: Sequence, frames: range, run: Path) -> None:
    """Print the error of the network's depth, scaled by medians and as it is."""
    loaded = load_task(run)
    net, size = loaded.task.get_submodule("depth_net"), loaded.config.data.size
    scaled: list[DepthScore] = []
    plain: list[DepthScore] = []
    for i in frames:
        rgb = shrink(source.read_frame(i), size)
        inverse = net(torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255)[0][0, 0]
        truth = source.read_depth(i)
        depth = 1 / cv2.resize(inverse.numpy(), truth.shape[::-1])
        known = np.where(truth <= FARTHEST, truth, 0)
        scaled.append(depth_metrics(depth, known, align="median"))
        plain.append(depth_metrics(depth, known))
    print(
        f"frames {frames.start}-{frames.stop - 1}: abs_rel "
        f"{np.mean([s.abs_rel for s in scaled]):.3f} median-scaled, "
        f"{np.mean([s.abs_rel for s in plain]):.3f} as it is ({loaded.scale})"
    )


def span(text: str) -> range:
    """Read FIRST:END."""
    first, end = text.split(":")
    return range(int(first), int(end))


def main() -> None:
    """Odometry, sweep, training, score."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", type=Path, help="video, or prepared sequence folder")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--camera", type=Path, help="calibration file of a video")
    parser.add_argument("--fov", type=float, help="without one: horizontal field of view, degrees")
    parser.add_argument("--train", type=span, metavar="FIRST:END", help="frames; all if left out")
    parser.add_argument("--test", type=span, metavar="FIRST:END", help="frames to score")
    parser.add_argument(
        "--distance",
        metavar="FIRST:LAST:METRES",
        help="known distance of the camera between two training frames; 'given': by the source's "
        "own poses",
    )
    parser.add_argument("--set", nargs="*", default=[], help="key=value of the recipe")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)

    source = open_source(args)
    args.train = args.train or range(len(source))
    root = write_training(source, args)
    print(f"odometry and frames: {time.process_time():.0f} s CPU since the start", flush=True)
    own = [f"data.root={root}", "run.threads=1", *args.set]
    config = load_config(TrainConfig, RECIPE, own)
    height, width = config.data.size
    fitting = max(32, 32 * round(source.camera.height * width / source.camera.width / 32))
    config = replace(config, data=replace(config.data, size=(fitting, width)))
    train(config, args.out / "run")
    print(f"sweep and network: {time.process_time():.0f} s CPU since the start", flush=True)
    if args.test:
        score(source, args.test, args.out / "run")
    print(f"next: depthkit export {args.out / 'run'} --out depth.onnx")


if __name__ == "__main__":
    main()
