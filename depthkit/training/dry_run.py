# SPDX-License-Identifier: Apache-2.0
"""What a run would be: data found, networks and their sizes, one batch tried."""

import time
from dataclasses import dataclass, replace

import torch

from depthkit.config import TrainConfig
from depthkit.data.snippet import collate
from depthkit.data.snippet_loading import ShuffledBatches
from depthkit.tasks import build_task
from depthkit.training.data import check_truth
from depthkit.training.device import resolve_device, resolve_precision
from depthkit.training.run_data import open_data
from depthkit.training.starts import load_starts


@dataclass(frozen=True)
class DryRun:
    """The findings of a dry run."""

    sequences: tuple[str, ...]
    shifts: tuple[int, ...]
    train_snippets: int
    val_snippets: int
    parameters: dict[str, int]
    """Trainable weights of each network."""
    device: str
    precision: str
    loss: float | None = None
    """Loss of one batch, before any step; None where none was tried."""
    seconds: float | None = None
    """Duration of that batch: forward and backward on the CPU in 32 bits, cold."""

    def as_text(self) -> str:
        """Return lines for a reader."""
        networks = "\n".join(
            f"{name:12} {n / 1e6:8.2f} M weights" for name, n in self.parameters.items()
        )
        return (
            f"sequences    {_some(self.sequences)}\n"
            f"shifts       {list(self.shifts)}\n"
            f"snippets     {self.train_snippets} to train, {self.val_snippets} held out\n"
            f"{networks}\n"
            f"device       {self.device}, {self.precision}\n"
            f"first batch  {self._tried()}"
        )

    def _tried(self) -> str:
        if self.loss is None:
            return "not tried"
        return f"loss {self.loss:.4f}, {self.seconds:.1f} s on the CPU in 32 bits"


def describe_run(config: TrainConfig, *, tries: bool = True) -> DryRun:
    """Build everything a run needs, try one batch if asked to, and write nothing."""
    torch.manual_seed(config.run.seed)
    device = resolve_device(config.run.device)
    precision = resolve_precision(config.run.precision, device)
    data = open_data(config)
    check_truth(data, config)
    task = build_task(config, data.shifts)
    load_starts(task, config)
    batches = ShuffledBatches(
        len(data.train),
        batch_size=config.optimizer.batch_size,
        steps=range(1),
        seed=config.run.seed,
    )
    found = DryRun(
        sequences=data.names,
        shifts=data.shifts,
        train_snippets=len(data.train),
        val_snippets=len(data.val),
        parameters={
            name: sum(p.numel() for p in net.parameters())
            for name, net in task.named_children()
            if any(True for _ in net.parameters())
        },
        device=device,
        precision=precision,
    )
    if not tries:
        return found
    snippet = collate([data.train[item] for item in next(iter(batches))])
    start = time.perf_counter()
    output = task(snippet)
    output.loss.backward()
    return replace(found, loss=output.loss.item(), seconds=time.perf_counter() - start)


def _some(names: tuple[str, ...], shown: int = 5) -> str:
    """Name the first few of many sequences."""
    more = f", ... {len(names)} in all" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
