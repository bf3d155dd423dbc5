# SPDX-License-Identifier: Apache-2.0
"""Hard pairs: pictures whose place is not found among all others [Khokhlova 2020].

Every few epochs the network looks at all pairs as they are. Those of a map@5 below 0.5 make up half
of each batch until the next look.
"""

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from depthkit.config import TrainConfig
from depthkit.data.snippet import Snippet
from depthkit.data.snippet_loading import SnippetDataset, build_loader, start_loader

FIRST = 5
"""Answers that are looked at."""
HARD = 0.5
"""A map@5 below it is hard: the right answer is not among the first two."""


def average_precision(cosines: np.ndarray, rivals: np.ndarray) -> np.ndarray:
    """Return map@5 of queries with one right answer each: 1 / rank, 0 beyond the fifth.

    Args:
        cosines: of query i with answer j; answer i is the right one. (N, N)
        rivals: answers that show another place. (N, N) bool

    Returns:
        In [0, 1]. (N,)
    """
    right = np.diagonal(cosines)[:, None]
    rank = 1 + (rivals & (cosines >= right)).sum(1)
    return np.where(rank <= FIRST, 1 / rank, 0.0)


@torch.no_grad()
def find_hard(
    task: nn.Module, data: SnippetDataset, config: TrainConfig, fabric: Fabric
) -> np.ndarray:
    """Look at all training pairs with the network as it is.

    Every process looks at all of them, so that all agree without communication.

    Args:
        task: put into evaluation mode meanwhile; its `describe` takes a batch.
        data: training pairs; seen without random changes.
        config: batch size, and how far apart two places are.
        fabric: device and precision.

    Returns:
        Positions of the hard ones in the data. (M,) int
    """
    describe = cast(Callable[[Snippet], Tensor], task.describe)
    size = config.optimizer.batch_size
    batches = [
        [(i, 0) for i in range(first, min(first + size, len(data)))]
        for first in range(0, len(data), size)
    ]
    loader = build_loader(data.plain(), batches, workers=config.data.workers, pin=False)
    codes, places = list[Tensor](), list[Tensor]()
    was_training = task.training
    task.eval()
    for snippet in start_loader(loader):
        with fabric.autocast():
            codes.append(describe(snippet.to(fabric.device)).float().cpu())
        places.append(snippet.places)
    task.train(was_training)
    first, second = torch.cat(codes).unbind(1)
    rivals = other_places(torch.cat(places).numpy(), apart=config.place.apart)
    found = average_precision((first @ second.T).numpy(), rivals)
    return np.flatnonzero(found < HARD)


def other_places(places: np.ndarray, *, apart: float) -> np.ndarray:
    """Tell for target i whether source j shows another place; see `losses.place.relate`.

    Args:
        places: of targets and sources. (N, 2, 5)
        apart: multiple of the distance at which another place begins.

    Returns:
        (N, N) bool
    """
    (world, position, radius) = places[..., 0], places[..., 1:4], places[..., 4]
    away = np.linalg.norm(position[:, None, 0] - position[None, :, 1], axis=2)
    reach = apart * np.maximum(radius[:, :1], radius[:, 1])
    return (world[:, :1] != world[:, 1]) | (away > reach)
