# SPDX-License-Identifier: Apache-2.0
"""Shifts that follow the depth they give: adaptive windows of training [Pinard 2018].

A pair whose depth comes out too far, at the nominal baseline, was too close together in time, and
one whose depth comes out too near too far apart. Every few epochs the network looks at all pairs,
and each window's shifts are chosen anew: a run follows from its seed and configuration as before,
because the choice follows from the weights alone, and the chosen shifts lie in the checkpoint.
"""

from collections.abc import Callable

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from depthkit.config import TrainConfig
from depthkit.data.snippet import Snippet
from depthkit.data.snippet_loading import SnippetDataset, build_loader, start_loader


def flexible_shifts(
    shifts: np.ndarray, mean_depth: np.ndarray, *, target: float, longest: int, room: np.ndarray
) -> np.ndarray:
    """Choose the shifts of symmetrical windows by the depth that the last ones gave.

    A neighbour j of the window's s frames gets round(shift * mean depth / target_j), target_j =
    target * m / |j - m| with m the middle: the outermost are to show `target` metres, inner ones,
    with less parallax, more. Shifts stay in order, each at least one frame beyond the next inner
    one, and inner ones go first.

    Args:
        shifts: signed, in any order, as many before as after the target. (N, S) int
        mean_depth: mean predicted depth of each pair, metres at the nominal baseline. (N, S)
        target: metres at the nominal baseline.
        longest: largest shift, frames.
        room: frames before and after each target in its sequence. (N, 2)

    Returns:
        The new shifts, in the order of the old ones. (N, S) int
    """
    count = shifts.shape[1]
    order = np.argsort(shifts[0])  # the same in each window
    middle = count // 2
    chosen = np.zeros_like(shifts)
    for side, columns in enumerate((order[:middle][::-1], order[middle:])):  # from the inside
        least = np.zeros(len(shifts), shifts.dtype)
        most = np.minimum(longest, room[:, side])
        for rank, column in enumerate(columns, 1):
            wanted = mean_depth[:, column] * rank / (target * middle)
            size = np.rint(np.abs(shifts[:, column]) * wanted)
            size = np.clip(size, least + 1, most - (middle - rank)).astype(shifts.dtype)
            chosen[:, column] = np.sign(shifts[:, column]) * size
            least = size
    return chosen


def choose_shifts(
    task: nn.Module,
    mean_depths: Callable[[Snippet], Tensor],
    data: SnippetDataset,
    config: TrainConfig,
    fabric: Fabric,
) -> np.ndarray:
    """Look at all pairs of the training data with the network as it is.

    Every process looks at all of them, so that all agree without communication.

    Args:
        task: put into evaluation mode meanwhile.
        mean_depths: from a batch to the mean depth of each pair, metres at the nominal baseline.
            (B, S)
        data: training snippets; seen without random changes.
        config: batch size and the choice's own options.
        fabric: device and precision.

    Returns:
        The new shifts of each window. (len(data), S) int
    """
    size = config.optimizer.batch_size
    batches = [
        [(i, 0) for i in range(first, min(first + size, len(data)))]
        for first in range(0, len(data), size)
    ]
    loader = build_loader(data.plain(), batches, workers=config.data.workers, pin=False)
    shifts, means = [], []
    was_training = task.training
    task.eval()
    for snippet in start_loader(loader):
        with fabric.autocast():
            means.append(mean_depths(snippet.to(fabric.device)).cpu())
        shifts.append(snippet.shifts)
    task.train(was_training)
    return flexible_shifts(
        torch.cat(shifts).numpy(),
        torch.cat(means).numpy(),
        target=config.stabilized.flexible_depth,
        longest=config.stabilized.flexible_longest,
        room=data.room(),
    )


def parts_of(steps: range, period: int) -> list[range]:
    """Cut steps before each whole multiple of a period; 0 for one part."""
    if period == 0:
        return [steps]
    cuts = [step for step in steps[1:] if step % period == 0]
    return [
        range(first, last)
        for first, last in zip([steps.start, *cuts], [*cuts, steps.stop], strict=True)
    ]
