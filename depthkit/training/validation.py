# SPDX-License-Identifier: Apache-2.0
"""Judges a run on held-out snippets."""

import numpy as np
import torch
from lightning_fabric import Fabric

from depthkit.config import TrainConfig
from depthkit.data.snippet import Snippet, SnippetDataset, build_loader, start_loader
from depthkit.evaluation.depth import depth_metrics
from depthkit.tasks import TaskOutput


@torch.no_grad()
def validate(
    module: torch.nn.Module, data: SnippetDataset, config: TrainConfig, fabric: Fabric
) -> dict[str, float]:
    """Judge held-out snippets, evenly spread over the data, without variation.

    Returns:
        val/loss, and val/abs_rel (median-scaled) where the frames have depth.
    """
    module.eval()
    size = config.optimizer.batch_size
    count = min(len(data), size * config.run.validation_batches)
    chosen = np.linspace(0, len(data) - 1, count).astype(int)
    batches = [[(int(i), 0) for i in chosen[k : k + size]] for k in range(0, count, size)]
    losses, weights, errors = [], [], []
    for snippet in start_loader(build_loader(data, batches, workers=0, pin=False)):
        output = module(snippet.to(fabric.device))
        losses.append(float(output.terms["loss/photometric"]))
        weights.append(len(snippet.names))
        errors += _relative_errors(output, snippet)
    module.train()
    scores = {"val/loss": float(np.average(losses, weights=weights))}
    return scores | ({"val/abs_rel": float(np.mean(errors))} if errors else {})


def _relative_errors(output: TaskOutput, snippet: Snippet) -> list[float]:
    predicted = (1 / output.images["inverse_depth"].clamp(min=1e-6)).float().cpu().numpy()
    return [
        depth_metrics(depth[0], truth[0], align="median").abs_rel
        for depth, truth in zip(predicted, snippet.depth_gt.cpu().numpy(), strict=True)
        if (truth > 0).any()
    ]
