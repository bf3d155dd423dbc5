# SPDX-License-Identifier: Apache-2.0
"""A training run, top to bottom: device, data, task, optimiser, resume, then the loop."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor

from depthkit.config import OptimizerConfig, TrainConfig
from depthkit.data.snippet import Snippet
from depthkit.data.snippet_loading import (
    ShuffledBatches,
    SnippetDataset,
    build_loader,
    start_loader,
)
from depthkit.errors import TrainingError
from depthkit.source_commit import source_commit
from depthkit.tasks import TaskOutput, build_task
from depthkit.training.data import RunData, check_truth, require_teachers
from depthkit.training.device import build_fabric
from depthkit.training.flexible_shifts import choose_shifts, parts_of
from depthkit.training.hard_pairs import find_hard
from depthkit.training.health import HealthMonitor, find_constant
from depthkit.training.log import RunLog
from depthkit.training.motion_unit import begin_at
from depthkit.training.run_data import open_data
from depthkit.training.run_folder import check_folder, restore_run, save_run, write_config
from depthkit.training.starts import load_starts
from depthkit.training.validation import validate
from depthkit.training.verdict import Verdict, judge_run, save_verdict


@dataclass(frozen=True)
class TrainResult:
    """How a run ended."""

    steps: int
    loss: float | None
    """Loss of the last step; None where a resumed run was complete already."""
    best_val_loss: float
    last: Path
    best: Path
    warning: str | None = None
    """What the last validation shows to be wrong with the whole run."""
    verdict: Verdict | None = None
    """What held-out tracks say of it."""


def train(config: TrainConfig, run: Path, *, resume: bool = False) -> TrainResult:
    """Train a task; everything it leaves goes into the run folder.

    Args:
        config: what to train, on what, how.
        run: folder for config.yaml, log.jsonl, tensorboard/ and checkpoints/.
        resume: go on from checkpoints/last.safetensors, exactly where it was.

    Returns:
        The last step's loss and where the checkpoints are.

    Raises:
        ConfigError, DataError, EngineError: before the first step.
        TrainingError: a loss or gradient that is not finite, with the batch named.
        CheckpointError: nothing to resume from, or a run of another configuration.
    """
    # --- device and data; what is wrong is reported here, before other processes start ------------
    fabric = build_fabric(config.run, all_parameters_used=config.kind.uses_all_weights(config))
    last, best = (run / "checkpoints" / f"{name}.safetensors" for name in ("last", "best"))
    check_folder(run, last, resume)
    data = open_data(config)
    check_truth(data, config)
    require_teachers(data)
    fabric.launch()
    fabric.seed_everything(config.run.seed, verbose=False)

    # --- task and optimiser ----------------------------------------------------------------------
    task = build_task(config, data.shifts).to(memory_format=torch.channels_last)
    resumes = resume and last.exists()  # a run killed before its first checkpoint begins again
    if not resumes:
        if data.unit is not None:
            begin_at(task.get_submodule("depth_net"), data.unit.depth)
        load_starts(task, config)
    if data.unit is not None and config.loss.motion == "refined":
        add_table = cast(Callable[..., None], task.get_submodule("motion").add_table)
        add_table(len(data.train) * len(data.shifts), depth=data.unit.depth)
    optimizer = torch.optim.AdamW(
        task.parameters(),
        lr=config.optimizer.learning_rate,
        betas=config.optimizer.betas,
        weight_decay=config.optimizer.weight_decay,
        fused=not _scales_gradients(fabric),  # one kernel; Fabric cannot clip for it in fp16
    )
    module, optimizer = fabric.setup(task, optimizer)

    # --- resume or begin -------------------------------------------------------------------------
    start, best_val_loss = 0, math.inf
    if resumes:
        start, best_val_loss = restore_run(last, config, task, optimizer, data)
    steps = range(start, config.optimizer.steps)
    batches = _batches(task, data.train, config, fabric, steps)
    health = HealthMonitor()
    if fabric.is_global_zero and not resume:
        write_config(run, config)
    fabric.barrier()

    # --- the loop --------------------------------------------------------------------------------
    loss, warning, counted, clock = None, None, start, time.perf_counter()
    first_drawn = min(config.run.log_every, steps.stop)  # what is wrong shows early
    with RunLog(
        run,
        start=start,
        steps=steps.stop,
        writes=fabric.is_global_zero,
        batch_size=config.optimizer.batch_size,
    ) as log:
        log.say(_describe(task, data, fabric))
        if resumes:
            log.say(f"goes on after step {start}")
        module.train()
        for step, snippet in zip(range(start + 1, steps.stop + 1), batches, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config.optimizer, step)
            draws = step % config.run.image_every == 0 or step == first_drawn
            output = module(snippet.to(fabric.device), draws=draws)
            loss = _mean_loss(fabric, output)
            if not math.isfinite(loss):  # checked here: NaN crashes grid_sample's backward on a CPU
                what = f"loss {loss}{_bad_terms(output, 'loss/') or ' (of another process)'}"
                raise _not_finite(what, step=step, names=snippet.names, last=last)
            optimizer.zero_grad()
            fabric.backward(output.loss)
            norm = _clip(fabric, module, optimizer, config.optimizer.gradient_clip)
            if not math.isfinite(norm) and not _scales_gradients(fabric):
                what = f"gradient norm {norm}{_bad_terms(output, 'gradient/')}"
                raise _not_finite(what, step=step, names=snippet.names, last=last)
            optimizer.step()
            log.advance(step, loss)

            if step % config.run.log_every == 0 or step == steps.stop:
                terms = _mean_over_processes(fabric, output)
                rate = (
                    (step - counted) * config.optimizer.batch_size / (time.perf_counter() - clock)
                )
                extra = {"gradient_norm": norm, "learning_rate": group["lr"]}
                log.scalars(step, terms | extra, images_per_second=rate)
                for warning in health.look(terms):
                    log.say(f"warning: step {step}: {warning}")
                counted, clock = step, time.perf_counter()
            if draws:
                log.pictures(step, output.images)
                log.histograms(step, output.values)
            if step % config.run.validate_every == 0 or step == steps.stop:
                scores = validate(module, data.val, config, fabric)
                log.scalars(step, scores)
                if scores["val/loss"] < best_val_loss:
                    best_val_loss = scores["val/loss"]
                    save_run(best, fabric, task, optimizer, config, data, step, best_val_loss)
                warning = find_constant(scores)
                counted, clock = step, time.perf_counter()
            if step % config.run.save_every == 0 or step == steps.stop:
                save_run(last, fabric, task, optimizer, config, data, step, best_val_loss)
        verdict = judge_run(module, data.val, config, fabric)
        if fabric.is_global_zero:
            save_verdict(run, verdict)
        if verdict.figures():
            log.scalars(steps.stop, verdict.figures())
        closing = (verdict.sentence, warning or f"done: {last}")
        for line in closing if verdict.learnt is not False else closing[::-1]:
            log.say(line)
    return TrainResult(steps.stop, loss, best_val_loss, last, best, warning, verdict)


# --- steps of the run ----------------------------------------------------------------------------


def learning_rate(config: OptimizerConfig, step: int) -> float:
    """Return the learning rate of a step, counted from 1."""
    if step <= config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    done = (step - 1) / config.steps
    match config.schedule:
        case "step":
            return config.learning_rate * (0.1 if done >= 0.75 else 1.0)
        case "cosine":
            return config.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)
    return config.learning_rate


def _batches(
    task: torch.nn.Module, data: SnippetDataset, config: TrainConfig, fabric: Fabric, steps: range
) -> Iterator[Snippet]:
    """Start reading; flexible shifts and hard pairs are chosen on the way, every few epochs."""
    every = config.place.mine_every if config.kind.reads == "places" else 0
    every = every or config.stabilized.flexible_every
    if every == 0:
        return _loader(data, config, fabric, steps)
    period = every * (len(data) // config.optimizer.batch_size)

    def read(part: range) -> Iterator[Snippet]:
        if part.start and part.start % period == 0:
            _look_again(task, data, config, fabric)
        return _loader(data, config, fabric, part)

    return chain.from_iterable(map(read, parts_of(steps, period)))  # lazily: part after part


def _look_again(
    task: torch.nn.Module, data: SnippetDataset, config: TrainConfig, fabric: Fabric
) -> None:
    """Choose the data anew by what the network has learnt."""
    if config.kind.reads == "places":
        data.hard = find_hard(task, data, config, fabric)
        return
    mean_depths = cast(Callable[[Snippet], Tensor], task.mean_depths)
    data.window_shifts = choose_shifts(task, mean_depths, data, config, fabric)


def _loader(
    data: SnippetDataset, config: TrainConfig, fabric: Fabric, steps: range
) -> Iterator[Snippet]:
    batches = ShuffledBatches(
        len(data),
        batch_size=config.optimizer.batch_size,
        steps=steps,
        seed=config.run.seed,
        rank=fabric.global_rank,
        processes=fabric.world_size,
        hard=data.hard,
    )
    pin = fabric.device.type == "cuda"
    return start_loader(build_loader(data, batches, workers=config.data.workers, pin=pin))


def _clip(
    fabric: Fabric, module: torch.nn.Module, optimizer: torch.optim.Optimizer, most: float
) -> float:
    """Clip the gradient to a norm (0: do not) and return the norm it had."""
    norm = fabric.clip_gradients(
        module, optimizer, max_norm=most or math.inf, error_if_nonfinite=False
    )
    return float(norm) if isinstance(norm, Tensor) else 0.0


def _scales_gradients(fabric: Fabric) -> bool:
    """In fp16 a scaled gradient may overflow; the scaler skips that step and lowers its scale."""
    return getattr(fabric.strategy.precision, "scaler", None) is not None


def _mean_loss(fabric: Fabric, output: TaskOutput) -> float:
    """Return the loss over all processes: where one has no number, all stop."""
    loss = output.loss.detach().float().clone()
    return float(torch.as_tensor(fabric.all_reduce(loss, reduce_op="mean")))


def _bad_terms(output: TaskOutput, kind: str) -> str:
    """Name the terms of a kind that are no numbers; a task may measure gradients by network."""
    bad = [n for n, v in output.terms.items() if n.startswith(kind) and not v.isfinite().all()]
    return f" ({', '.join(bad)})" if bad else ""


def _not_finite(what: str, *, step: int, names: tuple[str, ...], last: Path) -> TrainingError:
    kept = (
        f"the last good checkpoint is {last}" if last.exists() else "no checkpoint was written yet"
    )
    return TrainingError(
        f"step {step}: {what} on {', '.join(names)}; {kept}; look at those frames, then lower "
        "optimizer.learning_rate or set run.precision=fp32"
    )


def _mean_over_processes(fabric: Fabric, output: TaskOutput) -> dict[str, float]:
    names = ["loss/total", *output.terms]
    values = torch.stack(
        [output.loss.detach().float(), *(v.float() for v in output.terms.values())]
    )
    reduced = fabric.all_reduce(values, reduce_op="mean")
    return {name: float(value) for name, value in zip(names, reduced, strict=True)}


def _describe(task: torch.nn.Module, data: RunData, fabric: Fabric) -> str:
    counts = {name: count_parameters(net) for name, net in task.named_children()}
    nets = ", ".join(f"{name} {count / 1e6:.2f} M" for name, count in counts.items() if count)
    return (
        f"{nets}; {len(data.train)} snippets at shifts {list(data.shifts)}, {len(data.val)} held "
        f"out; {fabric.world_size} x {fabric.device.type}, {fabric.strategy.precision.precision} "
        f"networks, {torch.get_num_threads()} threads; code {source_commit()}"
    )


def count_parameters(module: torch.nn.Module) -> int:
    """Return the number of trainable weights."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
