# SPDX-License-Identifier: Apache-2.0
"""Judges a run on held-out snippets."""

import numpy as np
import torch
from lightning_fabric import Fabric

from depthkit.config import TrainConfig
from depthkit.data.snippet import Snippet
from depthkit.data.snippet_loading import SnippetDataset, build_loader, start_loader
from depthkit.evaluation.depth import depth_metrics
from depthkit.tasks import TaskOutput


@torch.no_grad()
def validate(
    module: torch.nn.Module, data: SnippetDataset, config: TrainConfig, fabric: Fabric
) -> dict[str, float]:
    """Judge held-out snippets, evenly spread over the data, without variation.

    Returns:
        val/loss. Where the frames have depth: val/abs_rel, for a task that learns metres without
        any scaling and with val/mae_m and val/a1, for another one median-scaled.
    """
    module.eval()
    size = config.optimizer.batch_size
    count = min(len(data), size * config.run.validation_batches)
    chosen = np.linspace(0, len(data) - 1, count).astype(int)
    batches = [[(int(i), 0) for i in chosen[k : k + size]] for k in range(0, count, size)]
    losses: list[float] = []
    weights: list[int] = []
    scores: list[dict[str, float]] = []
    for snippet in start_loader(build_loader(data, batches, workers=0, pin=False)):
        output = module(snippet.to(fabric.device))
        losses.append(float(output.terms.get("loss/photometric", output.loss)))
        weights.append(len(snippet.names))
        scores += _scores(output, snippet, config.supervised.max_depth)
    module.train()
    figures = {"val/loss": float(np.average(losses, weights=weights))}
    names = scores[0] if scores else ()
    return figures | {f"val/{name}": float(np.mean([s[name] for s in scores])) for name in names}


def _scores(output: TaskOutput, snippet: Snippet, farthest: float) -> list[dict[str, float]]:
    """Score each image that has truth; metres as they are, relative depth by its median."""
    if output.depth is None:
        if "inverse_depth" not in output.images:
            return []  # a task without depth
        predicted = (1 / output.images["inverse_depth"].clamp(min=1e-6)).float().cpu().numpy()
        return [
            {"abs_rel": depth_metrics(depth[0], truth[0], align="median").abs_rel}
            for depth, truth in zip(predicted, snippet.depth_gt.cpu().numpy(), strict=True)
            if (truth > 0).any()
        ]
    truth = snippet.depth_gt if output.truth is None else output.truth
    return [
        _metric_scores(depth[known], truth[known])
        for depth, truth, known in zip(
            output.depth.float().cpu().numpy(),
            truth.clamp(max=farthest).cpu().numpy(),
            ((truth > 0) & snippet.valid).cpu().numpy(),
            strict=True,
        )
        if known.any()
    ]


def _metric_scores(depth: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Compare the known pixels of one image, metres. (N,) each"""
    error = np.abs(depth - truth)
    ratio = np.maximum(depth, 1e-6) / truth
    return {
        "mae_m": float(error.mean()),
        "abs_rel": float((error / truth).mean()),
        "a1": float((np.maximum(ratio, 1 / ratio) < 1.25).mean()),
    }
