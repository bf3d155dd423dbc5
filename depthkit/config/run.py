# SPDX-License-Identifier: Apache-2.0
"""`optimizer` and `run`: how long and how fast a run learns, where it computes, what it writes."""

from dataclasses import dataclass
from typing import Literal

from depthkit.config.ranges import check_ranges, option, require


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam and its schedule."""

    steps: int = option(20_000, least=1)
    """Optimiser steps of the whole run."""
    batch_size: int = option(4, least=1)
    """Snippets a step, over all processes together."""
    learning_rate: float = option(1e-4, above=0)
    """Peak learning rate."""
    betas: tuple[float, float] = option((0.9, 0.999), least=0, below=1)
    """Adam's betas: decay rates of its running mean and variance."""
    weight_decay: float = option(0.0, least=0)
    """Decoupled weight decay (AdamW)."""
    schedule: Literal["constant", "step", "cosine"] = "step"
    """Learning rate over the run. Step: a tenth for the last quarter. Cosine: to nearly zero at the
    end."""
    warmup_steps: int = option(0, least=0)
    """Steps of linear rise at the start."""
    gradient_clip: float = option(10.0, least=0)
    """Largest norm of the gradient; 0 for no clipping."""

    def __post_init__(self) -> None:
        check_ranges(self)
        require(
            self.warmup_steps < self.steps,
            f"warmup_steps: 0 or more and fewer than steps, which is {self.steps}; "
            f"got {self.warmup_steps}",
        )


@dataclass(frozen=True)
class RunConfig:
    """Where and how the run runs."""

    seed: int = option(0, least=0, most=2**32 - 1)
    """Seed of weights, data order and augmentation."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Device. Auto: a GPU where there is one."""
    devices: int = option(1, least=1)
    """Processes started on this machine; torchrun overrides it."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Precision of the networks; geometry and losses stay in fp32. Auto: bf16 where the hardware
    has it."""
    threads: int = option(0, least=0)
    """CPU threads of each process; 0 for torch's own choice."""
    log_every: int = option(20, least=1)
    """Steps between two log lines."""
    image_every: int = option(500, least=1)
    """Steps between two pictures in TensorBoard; the first comes with the first log line."""
    validate_every: int = option(500, least=1)
    """Steps between two validations."""
    validation_batches: int = option(25, least=1)
    """Largest number of batches in a validation."""
    save_every: int = option(500, least=1)
    """Steps between two checkpoints."""

    def __post_init__(self) -> None:
        check_ranges(self)
