# SPDX-License-Identifier: Apache-2.0
"""Scores from Python, one function a kind, as `depthkit evaluate KIND` has them.

    import depthkit

    depthkit.evaluate.depth("out", "data/room", align="median").report.abs_rel

Each returns a record with the figures; `as_json()` gives what the command line prints.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from depthkit.pipelines.evaluate_matching import matching
from depthkit.watcher import SILENT, Watcher

if TYPE_CHECKING:
    from depthkit.pipelines.score.compare import Comparison
    from depthkit.pipelines.score.depth_maps import DepthEvaluation
    from depthkit.pipelines.score.flow_maps import FlowEvaluation
    from depthkit.pipelines.score.model import ModelEvaluation
    from depthkit.pipelines.score.trajectories import OdometryEvaluation
    from depthkit.runtime.config import Backend, Precision, Quality, Rule
    from depthkit.trajectory import Order

__all__ = ["compare", "depth", "flow", "matching", "model", "odometry"]

Alignment = Literal["none", "scale", "scale_7dof", "6dof", "7dof"]
DepthAlign = Literal["none", "median", "affine"]


def depth(
    pred: str | Path,
    gt: str | Path,
    *,
    pred_scale: float | None = None,
    gt_scale: float | None = None,
    align: DepthAlign = "none",
    crop: Literal["none", "garg"] = "none",
    min_depth: float = 1e-3,
    max_depth: float = 80.0,
    report: str | Path | None = None,
    force: bool = False,
) -> DepthEvaluation:
    """Score folders of depth maps, matched by name.

    Args:
        pred: PNG or TIFF of 16 bits, .npy, .npz, .pfm or float TIFF (H, W), metres or relative;
            an output of `infer`; a sequence.
        gt: true depth, metres, 0 = unknown; (H, W) each.
        pred_scale: stored value per metre of the predictions; None: from their folder.
        gt_scale: stored value per metre of the truth.
        align: median scales each image by its median ratio, for relative depth; affine scales and
            shifts its inverse depth by least squares, for networks that leave both open.
        crop: region to score.
        min_depth: metres; nearer truth is left out, nearer predictions are clipped.
        max_depth: the same, far.
        report: folder of an HTML report to write.
        force: write the report into a folder that has files.

    Raises:
        DataError: nothing to score, or relative depth that is not aligned.
    """
    from depthkit.evaluation.depth import DepthProtocol
    from depthkit.pipelines.score.depth_maps import evaluate_depth
    from depthkit.pipelines.score.options import DepthOptions

    protocol = DepthProtocol(align, crop, min_depth, max_depth)
    return evaluate_depth(
        DepthOptions(
            pred=Path(pred),
            gt=Path(gt),
            pred_scale=pred_scale,
            gt_scale=gt_scale,
            protocol=protocol,
            report=_path(report),
            force=force,
        )
    )


def odometry(
    estimate: str | Path | Sequence[str | Path],
    reference: str | Path,
    *,
    align: Alignment = "none",
    max_gap: float = 0.01,
    snippets: int = 5,
    repeats: Literal["error", "first"] = "error",
    quaternion: Order | None = None,
    reference_quaternion: Order | None = None,
    time_unit: Literal["auto", "s", "ms", "us", "ns"] = "auto",
    save: str | Path | None = None,
    report: str | Path | None = None,
    force: bool = False,
) -> OdometryEvaluation:
    """Score one or several trajectory files against one reference.

    Args:
        estimate: T_world_cam of each frame: TUM, KITTI, EuRoC, matrices, ORB-SLAM, COLMAP and
            others; a list of files gives one table.
        reference: the truth, metres.
        align: fit of the estimate to the reference; none lays the first common poses on each
            other.
        max_gap: largest time between poses that pair, seconds; not used for KITTI.
        snippets: frames in a snippet of the snippet ATE.
        repeats: a stamp that repeats: refuse the file, or keep its first pose.
        quaternion: order in the estimates; None for header, first pose and reference to decide.
        reference_quaternion: order in the reference.
        time_unit: of the stamps in all files; auto tells it by size and spacing.
        save: file of the scores to write, for `evaluate.compare`.
        report: folder of an HTML report to write.
        force: write the report into a folder that has files.

    Raises:
        DataError: a file that is no trajectory, or nothing that pairs.
    """
    from depthkit.pipelines.score.options import OdometryOptions
    from depthkit.pipelines.score.trajectories import evaluate_odometry

    files = (estimate,) if isinstance(estimate, str | Path) else estimate
    return evaluate_odometry(
        OdometryOptions(
            estimates=tuple(map(Path, files)),
            reference=Path(reference),
            align=align,
            max_gap=max_gap,
            snippets=snippets,
            repeats=repeats,
            quaternion=quaternion,
            reference_quaternion=reference_quaternion,
            time_unit=time_unit,
            save=_path(save),
            report=_path(report),
            force=force,
        )
    )


def flow(
    pred: str | Path, gt: str | Path, *, report: str | Path | None = None, force: bool = False
) -> FlowEvaluation:
    """Score folders of optical flow, matched by name.

    Args:
        pred: .flo or KITTI's 16-bit PNG, pixels (u, v); (H, W, 2) each.
        gt: true flow of the same sizes: a folder, a sequence, a data set, KITTI or Middlebury.
        report: folder of an HTML report to write.
        force: write the report into a folder that has files.

    Raises:
        DataError: nothing to score, or flow of another size than its truth.
    """
    from depthkit.pipelines.score.flow_maps import evaluate_flow
    from depthkit.pipelines.score.options import FlowOptions

    return evaluate_flow(FlowOptions(Path(pred), Path(gt), _path(report), force))


def model(
    model: str | Path,
    sequences: str | Path | Sequence[str | Path],
    *,
    baselines: Sequence[float] = (),
    shifts: Sequence[int] = (),
    rule: Rule | None = None,
    quality: Quality | None = None,
    similarity: str | None = None,
    poses: Literal["odometry"] | None = None,
    camera_height: float | None = None,
    speed: float | None = None,
    imu: str | Path = "auto",
    align: DepthAlign = "none",
    min_depth: float = 1e-3,
    max_depth: float = 80.0,
    every: int = 1,
    backend: Backend = "auto",
    threads: int | None = None,
    precision: Precision = "default",
    report: str | Path | None = None,
    force: bool = False,
    watcher: Watcher = SILENT,
) -> ModelEvaluation:
    """Infer and score in one go, beside the best constant depth and the classical answer.

    Args:
        model: exported .onnx, run folder, checkpoint, or a shipped model's name; or the word sweep:
            depth from several views, streamed.
        sequences: folders with depth; a data set folder stands for its test sequences.
        baselines: pair networks: metres between the two cameras, a row each.
        shifts: pair networks: frames from target to source, -3 for three earlier, a row each.
        rule: pair networks: stream the sequences with this choice of earlier frames.
        quality: of the sweep: works at a quarter (fast), half or all (fine) of the frames' size;
            None for normal.
        similarity: of the sweep: census, zncc, or an exported network of kind features; None for
            census.
        poses: sweep, or with a rule: odometry finds the motion in the frames; None for their own
            poses. Single frames: depth is fitted to the points of that odometry.
        camera_height: of the camera over flat ground in view, metres; gives the odometry metres.
        speed: of the camera all the way, metres a second; gives the odometry metres.
        imu: of the odometry: auto takes the samples of the sequence, none takes none.
        align: median scales each image by its median ratio, for relative depth; affine scales and
            shifts its inverse depth by least squares, for networks that leave both open.
        min_depth: metres; nearer truth is left out, nearer predictions are clipped.
        max_depth: the same, far.
        every: score every n-th frame.
        backend: runtime of the network.
        threads: processor cores; OMP_NUM_THREADS, else all usable ones when None.
        precision: numbers the network computes in.
        report: folder of an HTML report to write.
        force: write the report into a folder that has files.
        watcher: receives progress, and notes that the user should read.

    Raises:
        DataError: no depth to score against, or options that do not go with the network.
        CheckpointError: there is no such model.
    """
    from depthkit.evaluation.depth import DepthProtocol
    from depthkit.pipelines.models import engine_options
    from depthkit.pipelines.odometry.options import ScaleSources
    from depthkit.pipelines.score.model import evaluate_model
    from depthkit.pipelines.score.options import ModelOptions

    folders = (sequences,) if isinstance(sequences, str | Path) else sequences
    options = ModelOptions(
        model=Path(model),
        sequences=tuple(map(Path, folders)),
        baselines=tuple(baselines),
        shifts=tuple(shifts),
        rule=rule,
        quality=quality,
        similarity=similarity,
        poses=poses,
        scale=ScaleSources(camera_height, speed, imu),
        protocol=DepthProtocol(align, "none", min_depth, max_depth),
        every=every,
        engine=engine_options(backend, threads, precision),
        report=_path(report),
        force=force,
    )
    return evaluate_model(options, watcher)


def compare(files: Sequence[str | Path]) -> Comparison:
    """Put saved scores of several runs into one table.

    Args:
        files: of `save=`, of `--save`, what `--json` printed, or result archives of evo.

    Raises:
        DataError: a file without scores, or scores of different kinds.
    """
    from depthkit.pipelines.score.compare import compare_saved

    return compare_saved([Path(file) for file in files])


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)
