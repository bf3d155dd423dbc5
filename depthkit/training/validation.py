# SPDX-License-Identifier: Apache-2.0
"""Judges a run on held-out snippets."""

import numpy as np
import torch
from lightning_fabric import Fabric

from depthkit.config import TrainConfig
from depthkit.data.snippet import Snippet
from depthkit.data.snippet_loading import SnippetDataset, build_loader, start_loader
from depthkit.evaluation.depth import depth_metrics
from depthkit.tasks import Prediction

_LEAST_DEPTH = 1e-6  # metres or the network's unit: log depth stays finite


@torch.no_grad()
def validate(
    module: torch.nn.Module, data: SnippetDataset, config: TrainConfig, fabric: Fabric
) -> dict[str, float]:
    """Judge held-out snippets, evenly spread over the data, without variation.

    Returns:
        val/loss: the task's own criterion, `TaskOutput.judged`. Of a task with depth:
        val/depth_spread, the standard deviation of log depth over an image. Where the frames have
        depth too: val/abs_rel, for predictions in metres without any scaling and with val/mae_m and
        val/a1, for others median-scaled.
    """
    module.eval()
    size = config.optimizer.batch_size
    count = min(len(data), size * config.run.validation_batches)
    chosen = np.linspace(0, len(data) - 1, count).astype(int)
    batches = [[(int(i), 0) for i in chosen[k : k + size]] for k in range(0, count, size)]
    losses: list[float] = []
    weights: list[int] = []
    spreads: list[float] = []
    scores: list[dict[str, float]] = []
    for snippet in start_loader(build_loader(data, batches, workers=0, pin=False)):
        output = module(snippet.to(fabric.device))
        losses.append(float(output.judged))
        weights.append(len(snippet.names))
        spreads += _spreads(output.prediction)
        scores += _scores(output.prediction, snippet, config.supervised.max_depth)
    module.train()
    figures = {"val/loss": float(np.average(losses, weights=weights))}
    if spreads:
        figures["val/depth_spread"] = float(np.mean(spreads))
    names = scores[0] if scores else ()
    return figures | {f"val/{name}": float(np.mean([s[name] for s in scores])) for name in names}


def _scores(
    prediction: Prediction | None, snippet: Snippet, farthest: float
) -> list[dict[str, float]]:
    """Score each image that has truth; metres as they are, relative depth by its median."""
    if prediction is None:
        return []  # a task without depth
    predicted = prediction.depth().float().cpu().numpy()
    truth = snippet.depth_gt if prediction.truth is None else prediction.truth
    if not prediction.metric:
        return [
            {"abs_rel": depth_metrics(depth[0], truth[0], align="median").abs_rel}
            for depth, truth in zip(predicted, truth.cpu().numpy(), strict=True)
            if (truth > 0).any()
        ]
    return [
        _metric_scores(depth[known], truth[known])
        for depth, truth, known in zip(
            predicted,
            truth.clamp(max=farthest).cpu().numpy(),
            ((truth > 0) & snippet.valid).cpu().numpy(),
            strict=True,
        )
        if known.any()
    ]


def _spreads(prediction: Prediction | None) -> list[float]:
    """Return the standard deviation of log depth over each image: 0 of a constant."""
    if prediction is None:
        return []
    return prediction.depth().float().clamp(min=_LEAST_DEPTH).log().std((1, 2, 3)).tolist()


def _metric_scores(depth: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Compare the known pixels of one image, metres. (N,) each"""
    error = np.abs(depth - truth)
    ratio = np.maximum(depth, 1e-6) / truth
    return {
        "mae_m": float(error.mean()),
        "abs_rel": float((error / truth).mean()),
        "a1": float((np.maximum(ratio, 1 / ratio) < 1.25).mean()),
    }
