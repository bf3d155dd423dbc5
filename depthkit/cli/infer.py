# SPDX-License-Identifier: Apache-2.0
"""`depthkit infer`: depth maps of frames, and where asked for motion, video and point clouds.

All of the output folder appears at the end, or nothing does. Frames are read, used and forgotten
one by one: only the poses are kept.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from depthkit.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

    from depthkit.data.stream import FrameStream, StreamFrame
    from depthkit.training.predict import Predictor

SUMMARY = "summary.json"
DEFAULT_FPS = 10.0  # of a video made from one frame
SCALE_SOURCES = {
    "metric": "known depth or baselines in training",
    "relative": "none: depth and motion share one unknown factor",
}


@dataclass(frozen=True)
class Wanted:
    """What to write beside depth and colours."""

    trajectory: str | None
    """tum | kitti"""
    video: bool
    cloud: bool
    rerun: bool

    @property
    def motion(self) -> bool:
        """Whether the pose network has to run."""
        return self.trajectory is not None or self.rerun


@dataclass(frozen=True)
class Summary:
    """What was done: printed, and kept as summary.json."""

    model: str
    source: str
    out: str
    frames: int
    skipped: tuple[str, ...]
    """One reason a frame."""
    scale: str
    """metric | relative"""
    scale_source: str
    depth_scale: float
    """PNG value / depth_scale = depth"""
    path_length: float | None
    """Of the trajectory: metres, or in the unit of relative depth; null when not asked for."""
    seconds: float
    files: dict[str, str]
    """What -> where in the output folder."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument("model", type=Path, help="run or checkpoint folder of 'depthkit train'")
    parser.add_argument("source", type=Path, help="sequence folder, folder of images, or video")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--trajectory", choices=("tum", "kitti"), help="also chain the pose network's motions"
    )
    parser.add_argument("--video", action="store_true", help="also an mp4, frame beside depth")
    parser.add_argument("--cloud", action="store_true", help="also a PLY a frame (needs K)")
    parser.add_argument("--rerun", action="store_true", help="also a recording for rerun")
    parser.add_argument(
        "--camera", type=Path, help="calibration of images or video; a sequence has its own"
    )
    parser.add_argument("--every", type=_positive, default=1, help="take every n-th frame")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    parser.add_argument("--force", action="store_true", help="replace an earlier output")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> None:
    """Read, predict, write; print what there is now."""
    check_replaceable(args.out, SUMMARY, force=args.force)
    from depthkit.data.stream import open_stream

    stream = open_stream(args.source, camera=args.camera, every=args.every)
    wanted = Wanted(args.trajectory, args.video, args.cloud, args.rerun)
    if wanted.cloud and stream.camera is None:
        raise DataError(f"{args.source}: a point cloud needs K; give --camera camera.yaml")

    from rich.console import Console

    from depthkit.training.device import resolve_device
    from depthkit.training.predict import load_single_view

    predictor = load_single_view(args.model, device=resolve_device(args.device))
    if wanted.motion:
        predictor.require_motion()
    console = Console(stderr=True)
    for note in (*stream.notes, *_notes(predictor, wanted, args.every)):
        console.print(f"note: {note}", highlight=False, soft_wrap=True)
    summary = infer(predictor, stream, args, wanted, console)
    print(json.dumps(asdict(summary)) if args.json else as_text(summary))


def infer(
    predictor: Predictor,
    stream: FrameStream,
    args: argparse.Namespace,
    wanted: Wanted,
    console: Console,
) -> Summary:
    """Write the whole output folder under a hidden name, then rename it."""
    from depthkit.data.folder import make_folder, partial_path, publish

    partial = partial_path(args.out)
    shutil.rmtree(partial, ignore_errors=True)
    make_folder(partial)
    try:
        summary = _write_all(predictor, stream, args, wanted, console)
        (partial / SUMMARY).write_text(json.dumps(asdict(summary), indent=2) + "\n")
        publish(partial, args.out, force=args.force)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return summary


def check_replaceable(out: Path, marker: str, *, force: bool) -> None:
    """Refuse to overwrite without --force, and with it all but what this verb wrote.

    Args:
        out: the output folder.
        marker: a file that this verb leaves in its folders.
        force: the user asked to replace.

    Raises:
        DataError: the folder must stay.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not force:
        raise DataError(f"{out}: exists already; use --force to replace it")
    if not (out / marker).exists():
        raise DataError(f"{out}: holds something else (no {marker}); choose another folder")


def as_text(summary: Summary) -> str:
    """Format the summary for a reader."""
    skipped = f", {len(summary.skipped)} unreadable skipped" if summary.skipped else ""
    rate = summary.frames / max(summary.seconds, 1e-9)
    lines = [
        f"{summary.frames} frames{skipped}, {rate:.1f} frames/s",
        f"scale: {summary.scale} ({summary.scale_source})",
    ]
    if summary.path_length is not None:
        unit = "m" if summary.scale == "metric" else "in the unit of the depth"
        lines.append(f"path length: {summary.path_length:.3g} {unit}")
    lines += [f"{what:11} {Path(summary.out) / where}" for what, where in summary.files.items()]
    return "\n".join(lines)


# --- the stages ----------------------------------------------------------------------------------


def _write_all(
    predictor: Predictor,
    stream: FrameStream,
    args: argparse.Namespace,
    wanted: Wanted,
    console: Console,
) -> Summary:
    from depthkit.cli.infer_output import MotionChain, Outputs
    from depthkit.data.folder import partial_path

    start, skipped, motion = time.perf_counter(), list[str](), MotionChain(predictor, stream.camera)
    partial = partial_path(args.out)
    outputs = Outputs(
        partial,
        scale=predictor.scale,
        scale_source=SCALE_SOURCES[predictor.scale],
        camera=stream.camera,
        video_fps=_frame_rate(stream.times) if wanted.video else None,
        cloud=wanted.cloud,
        rerun=wanted.rerun,
    )
    sizes: set[tuple[int, ...]] = set()
    for frame, rgb in _good_frames(_watched(stream, console), len(stream), skipped, console):
        if rgb.shape[:2] not in sizes:  # once for each size there is
            sizes.add(rgb.shape[:2])
            _say_aspect(predictor, rgb, console)
        pose = motion.follow(frame, rgb) if wanted.motion else None
        outputs.add(frame, rgb, predictor.depth(rgb), pose)
    files = outputs.close()
    if wanted.trajectory:
        files["trajectory"] = motion.save(partial, wanted.trajectory)
    return Summary(
        model=str(args.model),
        source=str(args.source),
        out=str(args.out),
        frames=len(stream) - len(skipped),
        skipped=tuple(skipped),
        scale=predictor.scale,
        scale_source=SCALE_SOURCES[predictor.scale],
        depth_scale=outputs.depth.depth_scale,
        path_length=motion.length() if wanted.trajectory else None,
        seconds=round(time.perf_counter() - start, 3),
        files=files,
    )


def _good_frames(
    frames: Iterator[StreamFrame], total: int, skipped: list[str], console: Console
) -> Iterator[tuple[StreamFrame, np.ndarray]]:
    """Pass on frames that can be read, and their colours; name and count the rest, up to 5 %."""
    from depthkit.data.frame_conversion import MAX_UNREADABLE

    for frame in frames:
        if frame.rgb is not None:
            yield frame, frame.rgb
            continue
        skipped.append(frame.problem)
        console.print(f"skipped: {frame.problem}", highlight=False, soft_wrap=True)
        if len(skipped) > MAX_UNREADABLE * total:
            raise DataError(
                f"{len(skipped)} of {total} frames unreadable (more than {MAX_UNREADABLE:.0%}), "
                f"the last: {frame.problem}"
            )


def _watched(stream: FrameStream, console: Console) -> Iterator[StreamFrame]:
    """Pass on all frames under a progress bar, which only a terminal shows."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("infer", BarColumn(), MofNCompleteColumn(), "eta", TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield from progress.track(stream.frames(), total=len(stream))


def _frame_rate(times: np.ndarray) -> float:
    """Return frames a second from the median gap."""
    import numpy as np

    return float(1 / np.median(np.diff(times))) if len(times) > 1 else DEFAULT_FPS


def _notes(predictor: Predictor, wanted: Wanted, every: int) -> Iterator[str]:
    distances = {abs(shift) for shift in predictor.shifts}
    if wanted.motion and every not in distances:
        learnt = ", ".join(map(str, sorted(distances)))
        yield (
            f"the pose network learnt motions between frames {learnt} apart and is asked for "
            f"{every}; --every {min(distances)} fits better"
        )


def _say_aspect(predictor: Predictor, rgb: np.ndarray, console: Console) -> None:
    """Metric depth of one frame rests on the view that was learnt: a squeezed one is another."""
    height, width = rgb.shape[:2]
    learnt = predictor.size[1] / predictor.size[0]
    if predictor.scale == "metric" and not 1 / 1.1 < width / height / learnt < 1.1:
        console.print(
            f"note: frames are {width}x{height}, the network learnt {predictor.size[1]}x"
            f"{predictor.size[0]}: they are squeezed, and its metres suffer; crop them alike",
            highlight=False,
            soft_wrap=True,
        )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {value}")
    return value
