# SPDX-License-Identifier: Apache-2.0
r"""Measure a training step, its parts and the loader, beside an anchor in the same run; print JSON.

    python scripts/speed/bench_train.py --size 128x416 --batch 4 --sources 2 --threads 2 \
        --precision bf16

All is timed in turn, round by round, so that a busy machine slows everything alike: quote ratios
to the anchor, torchvision's ResNet18 forward and backward in fp32 at the same size and batch.
"""

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torchvision
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from depthkit.camera import Camera
from depthkit.config import RunConfig, TrainConfig
from depthkit.config.strict_yaml import load_config
from depthkit.data.augment import Variation
from depthkit.data.sequence import SequenceWriter, open_sequence
from depthkit.data.snippet import Snippet
from depthkit.data.snippet_loading import ShuffledBatches, SnippetDataset, build_loader
from depthkit.models.pose_net import PoseOutput
from depthkit.tasks import build_task
from depthkit.tasks.view_synthesis import ViewSynthesis
from depthkit.training.device import build_fabric

RECIPES = {
    "modern": "model.depth=resnet18 model.pose=resnet18",
    "zhou": "model.depth=dispnet model.pose=posenet model.pose_input=snippet loss.ssim_weight=0 "
    "loss.reduction=mean loss.auto_mask=false loss.full_resolution=false "
    "loss.smoothness=second_order loss.smoothness_weight=0.5",
}


class Given(nn.Module):
    """Stands for a network: answers what it was given, so that the rest can be timed alone."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, *_: Tensor) -> Any:
        """Return the answer whatever is asked."""
        return self.answer


def main() -> None:
    """Time all in turn and print one JSON object."""
    args = read_arguments()
    torch.manual_seed(0)
    shifts = tuple(i for n in range(1, args.sources + 1) for i in (-n, n))[: args.sources]
    fabric = build_fabric(
        RunConfig(device=args.device, precision=args.precision, threads=args.threads)
    )
    snippet = random_snippet(args.batch, shifts, args.size).to(fabric.device)
    anchor = torchvision.models.resnet18(weights=None).to(fabric.device)
    work = {"anchor": forward_and_backward(anchor, snippet.target, nullcontext)}
    for name, words in RECIPES.items():
        config = load_config(TrainConfig, None, words.split())
        for part, call in parts_of(config, shifts, snippet, fabric).items():
            work[f"{name}.{part}"] = call
    times = time_in_turn(work, args.warmup, args.repeats, fabric.device)
    loaded = loader_rate(args, shifts)
    about = vars(args) | {
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "precision": fabric.strategy.precision.precision,
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(about | report(args.batch, times, loaded)))


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=height_and_width, default=(128, 416), metavar="HxW")
    parser.add_argument("--threads", type=int, default=0, help="0: torch's own choice")
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16", "fp16"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda", "mps"])
    numbers = {"batch": 4, "sources": 2, "workers": 2, "frames": 200, "repeats": 20, "warmup": 3}
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default, help="default %(default)s")
    return parser.parse_args()


def height_and_width(text: str) -> tuple[int, int]:
    """Read a size such as 128x416."""
    height, width = text.split("x")
    return int(height), int(width)


def random_snippet(batch: int, shifts: tuple[int, ...], size: tuple[int, int]) -> Snippet:
    """Return random colours with a plausible camera and known motions."""
    height, width = size
    count = len(shifts)
    K = torch.tensor([[0.6 * width, 0, width / 2], [0, 0.6 * width, height / 2], [0, 0, 1]])
    return Snippet(
        target=torch.rand(batch, 3, height, width),
        sources=torch.rand(batch, count, 3, height, width),
        K=K.repeat(batch, 1, 1),
        shifts=torch.tensor(shifts).repeat(batch, 1),
        T_source_target_gt=torch.eye(4).repeat(batch, count, 1, 1),
        valid=torch.ones(batch, 1, height, width, dtype=torch.bool),
        depth_gt=torch.zeros(batch, 1, height, width),
        names=("random",) * batch,
    )


def parts_of(
    config: TrainConfig, shifts: tuple[int, ...], snippet: Snippet, fabric: Any
) -> dict[str, Callable[[], None]]:
    """Return a training step as the loop makes it, and its parts alone."""
    torch.manual_seed(0)
    task = build_task(config, shifts).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-6, fused=True)
    module, optimizer = fabric.setup(task, optimizer)

    def step() -> None:
        output = module(snippet)
        optimizer.zero_grad()
        fabric.backward(output.loss)
        fabric.clip_gradients(module, optimizer, max_norm=10.0, error_if_nonfinite=False)
        optimizer.step()

    step()  # gradients and moments, so that the optimiser alone has its full work
    frames = stacked_frames(task, snippet)
    judge = rest_of(task, config, snippet, frames, fabric)
    nets = {"depth": (task.depth_net, snippet.target), "pose": (task.pose_net, frames)}
    return {
        "step": step,
        **{name: forward_and_backward(*net, fabric.autocast) for name, net in nets.items()},
        "photometric": lambda: judge(snippet).loss.backward(),
        "optimiser": optimizer.step,
    }


def stacked_frames(task: ViewSynthesis, snippet: Snippet) -> Tensor:
    """Return what the pose network sees: all pairs of the batch, or whole snippets."""
    if not task.pairwise:
        return torch.cat([snippet.target, snippet.sources.flatten(1, 2)], 1)
    return torch.cat([torch.cat([snippet.target, s], 1) for s in snippet.sources.unbind(1)])


def forward_and_backward(
    net: nn.Module, images: Tensor, context: Callable[[], AbstractContextManager]
) -> Callable[[], None]:
    """Return one network's share of a step."""

    def call() -> None:
        with context():
            answer = net(images)
        maps = answer.motions if isinstance(answer, PoseOutput) else answer
        torch.stack([each.float().sum() for each in maps]).sum().backward()

    return call


def rest_of(
    task: ViewSynthesis, config: TrainConfig, snippet: Snippet, frames: Tensor, fabric: Any
) -> Any:
    """Return the same task with its networks replaced by their answers: warps and losses remain."""
    with torch.no_grad(), fabric.autocast():
        inverse_depths, poses = task.depth_net(snippet.target), task.pose_net(frames)
    leaves = [each.float().requires_grad_() for each in inverse_depths]
    rest: Any = build_task(config, task.shifts)
    rest.depth_net = Given(leaves)
    rest.pose_net = Given(PoseOutput(poses.motions.float().requires_grad_()))
    return rest


def time_in_turn(
    work: dict[str, Callable[[], None]], warmup: int, repeats: int, device: torch.device
) -> dict[str, list[float]]:
    """Call everything in turn; return the milliseconds of each call after the warm-up."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(warmup + repeats):
        for name, call in work.items():
            start = time.perf_counter()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn >= warmup:
                times[name].append(1000 * (time.perf_counter() - start))
    return times


def loader_rate(args: argparse.Namespace, shifts: tuple[int, ...]) -> float:
    """Write a sequence as `prepare` would, load it as a run does; return snippets a second."""
    height, width = args.size
    camera = Camera(width, height, 0.6 * width, 0.6 * width, (width - 1) / 2, (height - 1) / 2)
    rng = np.random.default_rng(0)
    steps = range(max(4, 4 * args.frames // args.batch))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames"
        with SequenceWriter(path, camera, depth_kind="none", source={}, ext="jpg") as writer:
            for i in range(args.frames):  # enlarged noise: as hard to decode as a real picture
                small = rng.integers(0, 255, (height // 4, width // 4, 3), dtype=np.uint8)
                writer.add_frame(cv2.resize(small, (width, height)), i / 30)
        data = SnippetDataset(
            [open_sequence(path)],
            shifts=shifts,
            size=args.size,
            variation=Variation(flip=True, colour_jitter=0.2, zoom=1.0),
        )
        batches = ShuffledBatches(len(data), batch_size=args.batch, steps=steps, seed=0)
        loader = iter(build_loader(data, batches, workers=args.workers, pin=False))
        next(loader)
        start = time.perf_counter()
        count = sum(len(snippet.names) for snippet in loader)
        return count / (time.perf_counter() - start)


def report(batch: int, times: dict[str, list[float]], snippets_per_second: float) -> dict[str, Any]:
    """Return milliseconds, ratios to the anchor, and how far the loader outruns each step."""
    medians = {name: statistics.median(values) for name, values in times.items()}
    result: dict[str, Any] = {
        "anchor_ms": round(medians["anchor"], 2),
        "loader_snippets_per_second": round(snippets_per_second, 1),
    }
    for name in RECIPES:
        step = medians[f"{name}.step"]
        parts = {k.partition(".")[2]: v for k, v in medians.items() if k.startswith(f"{name}.")}
        result[name] = {
            "step_ms": round(step, 2),
            "step_p99_ms": round(float(np.percentile(times[f"{name}.step"], 99)), 2),
            "step_over_anchor": round(step / medians["anchor"], 3),
            "loader_over_step": round(snippets_per_second * step / 1000 / batch, 2),
            "parts_ms": {k: round(v, 2) for k, v in parts.items() if k != "step"},
        }
    return result


if __name__ == "__main__":
    main()
