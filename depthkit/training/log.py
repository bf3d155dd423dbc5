# SPDX-License-Identifier: Apache-2.0
"""What a run reports: a JSON line a logged step, TensorBoard scalars and pictures, its progress."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from depthkit.training.pace import Pace

_PICTURES = 4  # of a batch


class RunLog:
    """Writes for process 0 and is silent in the others."""

    def __init__(
        self, run: Path, *, start: int, steps: int, writes: bool, batch_size: int = 1
    ) -> None:
        """Open the log of a run.

        Args:
            run: the run folder.
            start: step the run starts from; lines of an earlier try after it are dropped.
            steps: last step.
            writes: False silences everything.
            batch_size: images a step, over all processes.
        """
        self.writes, self.path = writes, run / "log.jsonl"
        if not writes:
            return
        self._forget_after(start)
        self.file = self.path.open("a", buffering=1)
        self.board = SummaryWriter(str(run / "tensorboard"), purge_step=start + 1)
        self.console = Console(stderr=True)
        self.progress = Progress(
            TextColumn("train"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.bar = self.progress.add_task(
            "train", total=steps, completed=start, rate="", figures=""
        )
        self.pace = Pace(start=start, steps=steps, batch_size=batch_size)

    def __enter__(self) -> "RunLog":
        if self.writes:
            self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.writes:
            self.progress.stop()
            self.board.close()
            self.file.close()

    def advance(self, step: int, loss: float) -> None:
        """Move the progress bar; without a terminal print a line, now and then."""
        if not self.writes:
            return
        self.pace.advance(step)
        self.progress.update(self.bar, completed=step)
        if not self.console.is_terminal and (line := self.pace.line()) is not None:
            self.say(f"{line}  loss {loss:.4f}")
        if (estimate := self.pace.estimate()) is not None:
            self.say(estimate)

    def scalars(
        self, step: int, values: Mapping[str, float], *, images_per_second: float = 0
    ) -> None:
        """Write one line of numbers."""
        if not self.writes:
            return
        line = {"step": step, "seconds": round(self.pace.seconds, 3), **values}
        if images_per_second:
            line["images_per_second"] = round(images_per_second, 2)
        # JSON has no NaN: a figure that cannot be given, such as a mean over no pixel, is null.
        plain = {name: value if math.isfinite(value) else None for name, value in line.items()}
        self.file.write(json.dumps(plain) + "\n")
        for name, value in values.items():
            self.board.add_scalar(name, value, step)
        self._show(step, line)

    def pictures(self, step: int, pictures: Mapping[str, Tensor]) -> None:
        """Write pictures to TensorBoard, each a row of the batch's first few."""
        if not self.writes:
            return
        for name, batch in pictures.items():
            row = torch.cat(batch[:_PICTURES].float().clamp(0, 1).unbind(0), -1)  # (C, H, n*W)
            self.board.add_image(name, row.expand(3, -1, -1).cpu(), step)

    def histograms(self, step: int, values: Mapping[str, Tensor]) -> None:
        """Write histograms to TensorBoard; what holds no number is left out."""
        if not self.writes:
            return
        for name, each in values.items():
            finite = each[each.isfinite()]
            if finite.numel():
                self.board.add_histogram(name, finite.float().cpu(), step)

    def say(self, message: str) -> None:
        """Print a line above the progress bar."""
        if self.writes:
            self.console.print(message, highlight=False, soft_wrap=True)

    def _show(self, step: int, line: Mapping[str, float]) -> None:
        figures = "  ".join(
            f"{name.removeprefix('loss/')} {line[name]:.4f}"
            for name in ("loss/total", "val/loss", "val/abs_rel", "val/mae_m")
            if name in line
        )
        rate = f"{line['images_per_second']:.1f} images/s" if "images_per_second" in line else ""
        if self.console.is_terminal:
            fields: dict[str, Any] = {"figures": figures} | ({"rate": rate} if rate else {})
            self.progress.update(self.bar, completed=step, **fields)
        elif "val/loss" in line:  # the loss of a step is in the lines of progress
            self.say(f"step {step}  {figures}")

    def _forget_after(self, start: int) -> None:
        if not self.path.exists():
            return
        lines = self.path.read_text().splitlines(keepends=True)
        kept = [line for line in lines if _step_of(line) <= start]
        partial = self.path.with_suffix(".partial")
        partial.write_text("".join(kept))
        partial.replace(self.path)


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (json.JSONDecodeError, KeyError):
        return float("inf")  # the line a killed run was writing
