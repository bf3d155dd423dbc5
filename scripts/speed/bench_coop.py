#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure a training step of task coop beside view_synthesis with the same networks; print JSON.

All is timed in turn, round by round, so that a busy machine slows everything alike: quote ratios.

Usage: python scripts/speed/bench_coop.py [--size 128x416] [--batch 4] [--threads 2]
       [--set key=value ...]
"""

import argparse
import json
import statistics
from collections.abc import Callable
from typing import Any

import torch
from bench_train import (
    forward_and_backward,
    height_and_width,
    random_snippet,
    rest_of,
    stacked_frames,
    time_in_turn,
)
from torch import Tensor

from depthkit.config import RunConfig, TrainConfig
from depthkit.config.strict_yaml import load_config
from depthkit.data.snippet import Snippet
from depthkit.models.cost_volume import correlate
from depthkit.tasks import build_task
from depthkit.tasks.coop import Coop
from depthkit.tasks.flow import judge_pairs, predict_pairs
from depthkit.training.device import build_fabric

Work = dict[str, Callable[[], None]]


def main() -> None:
    """Time all in turn and print one JSON object."""
    args = read_arguments()
    fabric = build_fabric(RunConfig(device="cpu", precision=args.precision, threads=args.threads))
    torch.manual_seed(0)
    snippet = random_snippet(args.batch, (-1, 1), args.size)
    size = f"data.size=[{args.size[0]},{args.size[1]}]"
    plain, coop = (
        load_config(TrainConfig, None, [f"task={task}", size, *args.set])
        for task in ("view_synthesis", "coop")
    )
    work: Work = {"view_synthesis": step_of(plain, snippet, fabric)[1]}
    task, work["coop"] = step_of(coop, snippet, fabric)
    work |= parts_of(task, plain, snippet, fabric)
    times = time_in_turn(work, args.warmup, args.repeats, torch.device("cpu"))
    print(json.dumps(report(times) | {"about": vars(args)}, indent=1))


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=height_and_width, default=(128, 416), metavar="HxW")
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"])
    parser.add_argument("--set", nargs="*", default=[], metavar="key=value")
    for name, default in {"batch": 4, "threads": 2, "repeats": 10, "warmup": 2}.items():
        parser.add_argument(f"--{name}", type=int, default=default, help="default %(default)s")
    return parser.parse_args()


def step_of(config: TrainConfig, snippet: Snippet, fabric: Any) -> tuple[Any, Callable[[], None]]:
    """Return a task and a training step as the loop makes it."""
    torch.manual_seed(0)
    task = build_task(config, (-1, 1)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-6, fused=True)
    module, optimizer = fabric.setup(task, optimizer)
    module.train()

    def step() -> None:
        output = module(snippet)
        optimizer.zero_grad()
        fabric.backward(output.loss)
        fabric.clip_gradients(module, optimizer, max_norm=10.0, error_if_nonfinite=False)
        optimizer.step()

    return task, step


def parts_of(task: Coop, plain: TrainConfig, snippet: Snippet, fabric: Any) -> Work:
    """Return the parts of a step by themselves, each with its backward pass."""
    frames = stacked_frames(task, snippet)
    judge = rest_of(task, plain, snippet, frames, fabric)
    with torch.no_grad(), fabric.autocast():
        answers = task._answer(snippet)
    leaves = [flow.float().requires_grad_() for flow in answers.pairs.flows]
    pairs = answers.pairs._replace(flows=leaves)

    def flow() -> None:
        with fabric.autocast():
            flows = predict_pairs(task.flow_net, snippet).flows
        torch.stack([each.sum() for each in flows]).sum().backward()

    def judge_flow() -> None:
        terms = judge_pairs(pairs, task._visible(pairs), flow=task.flow, ssim_weight=0.85)
        torch.stack(list(terms.values())).sum().backward()

    def mask_net() -> None:
        with fabric.autocast():
            odds = task.mask_net(snippet.target)
        odds.sum().backward()

    def compare() -> None:
        evidence = task.compare(snippet, answers)
        task._learn_law(evidence)
        task._static(evidence, answers.static_odds)

    own = {} if task.mask_net is None else {"mask_net": mask_net}
    return own | {
        "depth_net": forward_and_backward(task.depth_net, snippet.target, fabric.autocast),
        "pose_net": forward_and_backward(task.pose_net, frames, fabric.autocast),
        "flow_net": flow,
        "cost_volumes": cost_volumes(task, snippet, fabric),
        "rigid_losses": lambda: judge(snippet).loss.backward(),
        "flow_losses": judge_flow,
        "what_moves": compare,
    }


def cost_volumes(task: Coop, snippet: Snippet, fabric: Any) -> Callable[[], None]:
    """Return the correlations of a step alone; a part of flow_net."""
    with torch.no_grad(), fabric.autocast():
        pairs = predict_pairs(task.flow_net, snippet)
        levels: list[Tensor] = task.flow_net.encode(torch.cat([pairs.first, pairs.second]))

    def call() -> None:
        for level in levels:
            first, second = level.detach().requires_grad_().chunk(2)
            correlate(first, second).sum().backward()

    return call


def report(times: dict[str, list[float]]) -> dict[str, Any]:
    """Return medians in milliseconds, and the ratio of the two steps."""
    medians = {name: round(statistics.median(values), 1) for name, values in times.items()}
    step, plain = medians.pop("coop"), medians.pop("view_synthesis")
    return {
        "view_synthesis_ms": plain,
        "coop_ms": step,
        "coop_over_view_synthesis": round(step / plain, 2),
        "parts_ms": medians,
        "share_of_step": {name: round(value / step, 3) for name, value in medians.items()},
    }


if __name__ == "__main__":
    main()
