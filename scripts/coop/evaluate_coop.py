#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""All columns of CoopNet's ablation for one run, on sequences with exact truth: one JSON object.

Depth: each frame scaled by its median ratio over ALL pixels, nearer than --max-depth; then abs_rel
over all pixels of all frames, those on moving objects, and the others (pooled; `abs_rel_frames` is
the usual mean over frames). Odometry: chained frame to frame, one scale a sequence; ATE of 5-frame
snippets as papers print it; t_rel over KITTI's 100 to 800 m where a sequence is so long, else over
5 to 40 m. Flow to the next frame: see `depthkit evaluate flow`. Moving objects: the task's static
probability below 0.5, or, for view_synthesis with auto-mask, what that mask drops.

Only frames with a neighbour at every shift of the run are scored. RUN is a run folder, a
checkpoint, or the word "baselines".

Usage: python scripts/coop/evaluate_coop.py RUN SEQUENCES... [--out FILE.json] [--pictures DIR]
(SEQUENCES: sequence folders, or data sets, of which the test sequences are taken)
"""

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from coop_guess import Guess, Method, baselines, open_run
from coop_pictures import draw

from depthkit.data.flow_pairs import FlowPair, find_flow_pairs
from depthkit.data.sequence import Sequence, open_dataset, open_sequence
from depthkit.errors import DataError, DepthkitError
from depthkit.evaluation.depth import DepthProtocol, depth_metrics, scored_pixels
from depthkit.evaluation.flow import FlowTally, FlowTruth
from depthkit.evaluation.moving import average_precision, intersection_over_union
from depthkit.evaluation.odometry import OdometryScore, score_odometry
from depthkit.evaluation.relative import SEGMENT_LENGTHS, segment_errors
from depthkit.evaluation.resample import resize_depth
from depthkit.evaluation.snippets import chain_relative
from depthkit.trajectory import Trajectory, inverse

SHORT_SEGMENTS = (5, 10, 20, 40)  # metres, for sequences that reach no 100 m


@dataclass
class Pool:
    """What is gathered over all frames of all sequences."""

    frames: int = 0
    scores: list[tuple[float, float, float]] = field(default_factory=list)
    """abs_rel, rmse and a1 of each frame"""
    errors: dict[str, list[np.ndarray]] = field(default_factory=dict)
    """relative depth errors of pixels, by part"""
    ratios: list[np.ndarray] = field(default_factory=list)
    """predicted over true depth on moving objects"""
    flow: FlowTally = field(default_factory=FlowTally)
    scored: list[np.ndarray] = field(default_factory=list)
    masks: list[np.ndarray] = field(default_factory=list)
    moves: list[np.ndarray] = field(default_factory=list)
    """soft mask, hard mask and truth of pixels"""
    odometry: list[OdometryScore] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def main() -> None:
    """Score a run, or the baselines."""
    args = read_arguments()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    sequences = open_all(args.sequences)
    names = [sequence.name for sequence in sequences]
    if args.run == "baselines":
        methods = baselines(sequences)
        records = [
            {"name": name, "sequences": names} | evaluate(method, sequences, args)
            for name, method in methods.items()
        ]
    else:
        loaded, method = open_run(Path(args.run), args.device)
        about = {
            "name": args.name or run_name(loaded.file),
            "run": str(loaded.file),
            "task": loaded.config.task,
            "step": loaded.state.get("step"),
            "seed": loaded.config.run.seed,
            "size": list(loaded.config.data.size),
            "sequences": names,
        }
        records = [about | evaluate(method, sequences, args)]
    text = json.dumps(records[0] if len(records) == 1 else records, indent=1)
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n", encoding="utf-8")


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", help="run folder, checkpoint, or 'baselines'")
    parser.add_argument("sequences", type=Path, nargs="+")
    parser.add_argument("--name", help="of the run in tables (default: its folder's)")
    parser.add_argument("--every", type=positive, default=1, help="score every n-th frame's maps")
    parser.add_argument("--max-depth", type=float, default=80.0, help="metres")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the JSON here too")
    parser.add_argument("--pictures", type=Path, help="draw the middle frame of each sequence here")
    return parser.parse_args()


def positive(text: str) -> int:
    """Read a whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"1 or more, got {text!r}")
    return int(text)


def run_name(checkpoint: Path) -> str:
    """Return the name of the run folder around a checkpoint, or of the file itself."""
    folder = checkpoint.resolve().parent
    return folder.parent.name if folder.name == "checkpoints" else checkpoint.stem


def open_all(places: Iterable[Path]) -> list[Sequence]:
    """Open sequence folders, and the test sequences of data sets."""
    found = []
    for place in places:
        if (place / "camera.yaml").exists():
            found.append(open_sequence(place))
            continue
        data = open_dataset(place)
        if not data.test:
            raise DataError(f"{place}: split.yaml names no test sequence; name the folders")
        found += [data.open(name) for name in data.test]
    return found


def evaluate(method: Method, sequences: list[Sequence], args: argparse.Namespace) -> dict[str, Any]:
    """Ask a method about all sequences and return its figures."""
    pool = Pool()
    protocol = DepthProtocol(align="median", max_depth=args.max_depth)
    for sequence in sequences:
        truths = find_flow_pairs(sequence.root) if (sequence.root / "flow").is_dir() else {}
        motions: dict[int, np.ndarray] = {}
        middle = len(sequence) // 2
        for guess in method(sequence):
            motions |= steps_of(guess)
            if guess.frame % args.every == 0:
                take_frame(pool, sequence, guess, truths, protocol)
            if guess.frame == middle and args.pictures is not None:
                args.pictures.mkdir(parents=True, exist_ok=True)
                draw(args.pictures / f"{sequence.name}_{middle:06d}.png", sequence, guess)
        take_motions(pool, sequence, motions)
        print(f"{sequence.name}: {pool.frames} frames so far", file=sys.stderr, flush=True)
    if pool.frames == 0:
        raise DataError(f"no frame is scored; --every {args.every} leaves none with neighbours")
    return summarise(pool)


def take_frame(
    pool: Pool,
    sequence: Sequence,
    guess: Guess,
    truths: dict[str, FlowPair],
    protocol: DepthProtocol,
) -> None:
    """Score the maps of a frame."""
    pool.frames += 1
    name = sequence.frames[guess.frame].stem
    moving = sequence.read_truth(guess.frame).moving
    if guess.depth is not None and sequence.has_depth:
        take_depth(pool, guess.depth, sequence.read_depth(guess.frame), moving, protocol)
    if guess.flow is not None and name in truths:
        truth = truths[name].read_truth()
        flow = resize_flow(guess.flow, truth.flow.shape[:2])
        pool.flow.add(flow, FlowTruth(truth.flow, truth.occluded, truth.moving))
    if guess.moving is not None and moving is not None:
        size = moving.shape[::-1]
        score = cv2.resize(guess.moving, size, interpolation=cv2.INTER_LINEAR)
        mask = cv2.resize(guess.mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT)
        pool.scored.append(score.ravel())
        pool.masks.append(mask.ravel() > 0)
        pool.moves.append(moving.ravel())


def take_depth(
    pool: Pool,
    depth: np.ndarray,
    gt: np.ndarray,
    moving: np.ndarray | None,
    protocol: DepthProtocol,
) -> None:
    """Score a depth map, scaled by its median over all pixels."""
    pred = resize_depth(depth, gt.shape)
    wanted = scored_pixels(gt, None, protocol) & (pred > 0)
    if not wanted.any():
        return
    score = depth_metrics(pred, gt, **vars(protocol))
    pool.scores.append((score.abs_rel, score.rmse, score.a1))
    scaled = np.clip(score.ratio * pred, protocol.min_depth, protocol.max_depth)
    error = np.abs(scaled - gt) / np.where(wanted, gt, 1)
    parts = {"all": wanted}
    if moving is not None:
        parts |= {"moving": wanted & moving, "static": wanted & ~moving}
        pool.ratios.append((scaled / np.where(wanted, gt, 1))[wanted & moving])
    for part, member in parts.items():
        pool.errors.setdefault(part, []).append(error[member].astype(np.float32))


def resize_flow(flow: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring flow to another size, in pixels of it. (h, w, 2) -> (H, W, 2)"""
    if flow.shape[:2] == size:
        return flow
    scale = np.array([size[1] / flow.shape[1], size[0] / flow.shape[0]], np.float32)
    return cv2.resize(flow, size[::-1], interpolation=cv2.INTER_LINEAR) * scale


# --- odometry ------------------------------------------------------------------------------------


def steps_of(guess: Guess) -> dict[int, np.ndarray]:
    """Return T_i_next of the steps i -> i + 1 that a frame tells of."""
    steps = {}
    if -1 in guess.motions:
        steps[guess.frame - 1] = guess.motions[-1]
    if 1 in guess.motions:
        steps[guess.frame] = inverse(guess.motions[1])
    return steps


def take_motions(pool: Pool, sequence: Sequence, steps: dict[int, np.ndarray]) -> None:
    """Chain the steps of a sequence, and score the path where it has none missing."""
    if sequence.poses is None or not steps:
        return
    frames = [i for i in range(len(sequence) - 1) if i in steps]
    if frames != list(range(frames[0], frames[-1] + 1)):
        pool.notes.append(f"{sequence.name}: motions have holes; odometry is not scored")
        return
    stamps = np.arange(frames[0], frames[-1] + 2, dtype=np.float64)
    path = Trajectory(stamps, chain_relative(np.stack([steps[i] for i in frames])))
    truth = Trajectory(stamps, sequence.poses[frames[0] : frames[-1] + 2])
    try:
        pool.odometry.append(score_odometry(truth, path, mode="scale"))
    except DataError as error:
        pool.notes.append(f"{sequence.name}: {error}")


def odometry_figures(scores: list[OdometryScore]) -> dict[str, Any]:
    """Pool snippets and segments of all sequences."""
    if not scores:
        return {}
    snippets = np.concatenate([score.snippets.sfmlearner for score in scores])
    path = max(score.segments.path_length for score in scores)
    lengths = SEGMENT_LENGTHS if path > SEGMENT_LENGTHS[0] else SHORT_SEGMENTS
    segments = [
        segment_errors(s.aligned.reference, s.aligned.estimate, lengths=lengths, step=1)
        for s in scores
    ]
    drift = np.concatenate([one.translation for one in segments])
    return {
        "ate_5_m": float(snippets.mean()),
        "ate_5_std_m": float(snippets.std()),
        "t_rel_percent": 100 * float(drift.mean()) if len(drift) else None,
        "t_rel_lengths_m": list(lengths),
        "ate_m": float(np.mean([score.ate_m for score in scores])),
        "path_m": float(np.mean([score.segments.path_length for score in scores])),
    }


# --- figures -------------------------------------------------------------------------------------


def summarise(pool: Pool) -> dict[str, Any]:
    """Return all figures; a part that the method or the truth does not have is left out."""
    figures: dict[str, Any] = {"frames": pool.frames}
    for part, errors in pool.errors.items():
        pixels = np.concatenate(errors)
        key = "abs_rel" if part == "all" else f"abs_rel_{part}"
        figures[key] = float(pixels.mean(dtype=np.float64)) if len(pixels) else None
    if pool.scores:
        names = ("abs_rel_frames", "rmse", "a1")
        figures |= dict(zip(names, np.mean(pool.scores, axis=0).tolist(), strict=True))
    if any(len(ratios) for ratios in pool.ratios):
        figures["ratio_moving"] = float(np.median(np.concatenate(pool.ratios)))
    figures |= odometry_figures(pool.odometry)
    flow = pool.flow.score()
    if flow is not None:
        figures |= {k: v for k, v in vars(flow).items() if k.startswith(("epe", "fl_"))}
    if pool.moves:
        score, mask, moves = (np.concatenate(x) for x in (pool.scored, pool.masks, pool.moves))
        figures |= {
            "moving_iou": intersection_over_union(mask, moves),
            "moving_ap": average_precision(score, moves),
            "moving_share": float(moves.mean()),
            "mask_share": float(mask.mean()),
        }
    return figures | {"notes": pool.notes}


if __name__ == "__main__":
    try:
        main()
    except DepthkitError as error:
        sys.exit(f"evaluate_coop: error: {error}")
