# SPDX-License-Identifier: Apache-2.0
"""The verdict at the end of a run: has it learnt anything? No sensor is asked.

Corners of held-out frames are followed into other frames. Depth is compared with their triangulated
depth, flow with the way that they went; beside it stands what needs no network: the best constant
depth of each frame, and flow of zero.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from lightning_fabric import Fabric

from depthkit.config import TrainConfig
from depthkit.data.held_tracks import depth_tracks, flow_tracks, move_points
from depthkit.data.image_io import write_atomic
from depthkit.data.snippet_loading import SnippetDataset, build_loader, start_loader
from depthkit.evaluation.track_scores import PointScore, sample_points, score_points
from depthkit.tasks import Prediction, TaskOutput

NAME = "verdict.yaml"
LEAST_STEPS = 100
"""Shorter runs are trials of the settings, not of learning: they are not judged."""
LEAST_GAIN = 0.1
"""Share by which the error must be below that of the constant: less counts as nothing learnt."""
LEAST_CONSTANT = 0.05
"""Error of the constant, as abs_rel, under which the points lie too nearly at one depth to tell."""
LEAST_POINTS = 60
"""Fewest points, over all frames, that a verdict rests on."""
LEAST_POINTS_A_FRAME = 12
"""Fewest points that a frame is scaled by."""
FRAMES = 10
"""Held-out frames that are judged, spread evenly."""
LEAST_FLOW = 0.5
"""Median way of the tracks under which flow of zero is right already, pixels."""


@dataclass(frozen=True)
class Verdict:
    """What held-out tracks say of a run."""

    learnt: bool | None
    """False: no better than what needs no network; None: not judged."""
    sentence: str
    """The same in words."""
    frames: int = 0
    points: int = 0
    abs_rel: float | None = None
    """Depth at the points, each frame scaled by its median, mean over frames."""
    abs_rel_constant: float | None = None
    """The same of each frame's best constant."""
    abs_rel_unscaled: float | None = None
    """Depth as predicted, in the unit of the poses; None where either has no unit."""
    reprojection_px: float | None = None
    """Median distance of the points from where the scaled depth puts them in another frame, pixels
    of frames 320 wide."""
    reprojection_px_constant: float | None = None
    """The same of the best constant."""
    flow_px: float | None = None
    """Mean distance between predicted flow, or that of predicted depth and motion, and the tracks,
    pixels of the network's input."""
    flow_px_still: float | None = None
    """The same of flow of zero: how far the tracks went."""

    def figures(self) -> dict[str, float]:
        """Return the numbers for the log."""
        numbers = {k: v for k, v in asdict(self).items() if isinstance(v, float)}
        return {f"verdict/{name}": value for name, value in numbers.items()}


@torch.no_grad()
def judge_run(
    module: torch.nn.Module, data: SnippetDataset, config: TrainConfig, fabric: Fabric
) -> Verdict:
    """Judge the networks as they are on held-out frames.

    Args:
        module: the task.
        data: held-out snippets, without variation.
        config: of the run.
        fabric: says where the networks are.
    """
    if config.optimizer.steps < LEAST_STEPS:
        return _none(
            f"{config.optimizer.steps} steps are a trial; {LEAST_STEPS} or more are judged"
        )
    depths: list[PointScore] = []
    units: list[bool] = []
    flows: list[np.ndarray] = []
    module.eval()
    answers = False
    for place, output in _answers(module, data, fabric):
        answers |= output.prediction is not None or output.flow is not None
        if output.prediction is not None:
            score, has_unit = _judge_depth(
                output.prediction, data, place, knows_motion=config.loss.knows_motion
            )
            depths += score
            units.append(has_unit and config.depth_has_unit)
        if output.flow is not None:
            flows += _judge_flow(output.flow[0], data, place)
    module.train()
    if not answers:
        return _none("it predicts neither depth nor flow; score the exported file")
    if depths or not flows:
        return _of_depth(depths, all(units), flows)
    return _of_flow(np.concatenate(flows), len(flows))


def save_verdict(run: Path, verdict: Verdict) -> None:
    """Write verdict.yaml into the run folder."""
    write_atomic(run / NAME, yaml.safe_dump(asdict(verdict), sort_keys=False, width=100))


def _answers(
    module: torch.nn.Module, data: SnippetDataset, fabric: Fabric
) -> Iterable[tuple[int, TaskOutput]]:
    """Ask the task about some held-out targets, one at a time."""
    places = np.unique(np.linspace(0, len(data) - 1, min(FRAMES, len(data))).round().astype(int))
    loader = build_loader(data, [[(int(place), 0)] for place in places], workers=0, pin=False)
    for place, snippet in zip(places, start_loader(loader), strict=True):
        yield int(place), module(snippet.to(fabric.device))


def _judge_depth(
    prediction: Prediction, data: SnippetDataset, place: int, *, knows_motion: bool
) -> tuple[list[PointScore], bool]:
    """Score one target's depth, and tell whether the points have its unit, if it has any."""
    number, frame = data.index[place]
    sequence = data.sequences[number]
    tracks = depth_tracks(sequence, frame)
    if tracks is None or len(tracks.depth) < LEAST_POINTS_A_FRAME:
        return [], True
    depth = prediction.depth()[0, 0].float().cpu().numpy()
    predicted = sample_points(depth, move_points(tracks.pixels, tracks.size, data.size))
    score = score_points(
        np.maximum(predicted, 1e-6),
        tracks.depth,
        pixels=tracks.pixels,
        seen=tracks.seen,
        K=tracks.K,
        T_other_frame=tracks.T_other_frame,
    )
    return [score], tracks.has_unit and (knows_motion or sequence.has_metric_poses)


def _judge_flow(flow: torch.Tensor, data: SnippetDataset, place: int) -> list[np.ndarray]:
    """Return the error of flow, and of no flow, at the tracks to each source. (N, 2) each"""
    number, frame = data.index[place]
    errors = []
    for field, shift in zip(flow.float().cpu().numpy(), data.shifts, strict=True):
        tracks = flow_tracks(data.sequences[number], frame, frame + shift, data.size)
        predicted = sample_points(field.transpose(1, 2, 0), tracks.pixels)
        missed = np.linalg.norm(predicted - tracks.moved, axis=1)
        errors.append(np.column_stack([missed, np.linalg.norm(tracks.moved, axis=1)]))
    return errors


def _of_depth(scores: list[PointScore], has_unit: bool, flows: list[np.ndarray]) -> Verdict:
    points = sum(score.points for score in scores)
    if points < LEAST_POINTS:
        return _none(
            f"{points} points of held-out frames can be triangulated, {LEAST_POINTS} are needed: "
            "too little texture or parallax"
        )

    def mean(name: str) -> float:
        return round(float(np.mean([getattr(score, name) for score in scores])), 4)

    error, constant = mean("abs_rel"), mean("constant")
    figures = (
        f"depth of held-out tracks is off by {error:.3f} (abs_rel, median-scaled, {points} points "
        f"in {len(scores)} frames), the best constant by {constant:.3f}"
    )
    learnt = _is_better(error, constant) if constant >= LEAST_CONSTANT else None
    missed = np.concatenate(flows).mean(0).round(3).tolist() if flows else [None, None]
    return Verdict(
        learnt=learnt,
        sentence=_sentence(learnt, figures, "the points lie nearly at one depth"),
        frames=len(scores),
        points=points,
        abs_rel=error,
        abs_rel_constant=constant,
        abs_rel_unscaled=mean("unscaled") if has_unit else None,
        reprojection_px=mean("reprojection"),
        reprojection_px_constant=mean("reprojection_constant"),
        flow_px=missed[0],
        flow_px_still=missed[1],
    )


def _of_flow(errors: np.ndarray, pairs: int) -> Verdict:
    """Judge flow by errors at the tracks, with it and without. (N, 2)"""
    if len(errors) < LEAST_POINTS:
        return _none(f"{len(errors)} tracks in held-out frames, {LEAST_POINTS} are needed")
    missed, still = errors.mean(0).round(3).tolist()
    figures = (
        f"flow is off by {missed:.2f} px at {len(errors)} held-out tracks, flow of zero by "
        f"{still:.2f} px"
    )
    learnt = _is_better(missed, still) if np.median(errors[:, 1]) >= LEAST_FLOW else None
    sentence = _sentence(learnt, figures, "the tracks hardly move")
    return Verdict(learnt, sentence, pairs, len(errors), flow_px=missed, flow_px_still=still)


def _is_better(error: float, trivial: float) -> bool:
    return error < (1 - LEAST_GAIN) * trivial


def _sentence(learnt: bool | None, figures: str, doubt: str) -> str:
    if learnt is None:
        return f"no verdict: {figures}; {doubt}"
    if learnt:
        return f"verdict: {figures}"
    return (
        f"verdict: learnt nothing: {figures}; {LEAST_GAIN:.0%} better is the least that counts: "
        "run 'depthkit inspect' on the data (parallax, K), then train for more steps"
    )


def _none(reason: str) -> Verdict:
    return Verdict(None, f"no verdict: {reason}")
