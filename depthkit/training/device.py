# SPDX-License-Identifier: Apache-2.0
"""Where a run computes and in how many bits: Lightning Fabric, as configured."""

import os
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision, Precision
from lightning_fabric.strategies.ddp import DDPStrategy

from depthkit.config import RunConfig
from depthkit.errors import EngineError


class _KeepsInputs:
    """Fabric rounds a module's inputs and outputs to its precision; K and colours must not be."""

    def convert_input(self, data: Any) -> Any:
        """Return the snippet as it is."""
        return data

    def convert_output(self, data: Any) -> Any:
        """Return the task's output as it is."""
        return data


class FullPrecision(_KeepsInputs, Precision):
    """Everything in 32 bits."""


class MixedNetworks(_KeepsInputs, MixedPrecision):
    """Networks in 16 bits under autocast; the task keeps geometry and losses in 32."""


def build_fabric(config: RunConfig, *, all_parameters_used: bool = True) -> Fabric:
    """Make the Fabric for a run: alone, over local processes, or under torchrun.

    Args:
        config: device, devices, precision and threads.
        all_parameters_used: False lets gradients be averaged though some weights get none.

    Raises:
        EngineError: a device or precision that is not there.
    """
    device = resolve_device(config.device)
    precision = resolve_precision(config.precision, device)
    if config.threads:
        torch.set_num_threads(config.threads)
    local = int(os.environ.get("LOCAL_WORLD_SIZE", config.devices))
    world = int(os.environ.get("WORLD_SIZE", local))
    if device == "cuda" and local > torch.cuda.device_count():
        raise EngineError(f"run.devices: {local} GPUs asked for, {torch.cuda.device_count()} found")
    strategy = DDPStrategy(find_unused_parameters=not all_parameters_used) if world > 1 else "auto"
    return Fabric(
        accelerator=device,
        devices=local,
        num_nodes=world // local,
        strategy=strategy,
        plugins=[_precision_plugin(precision, device)],
    )


def _precision_plugin(precision: str, device: str) -> Precision:
    match precision:
        case "bf16":
            return MixedNetworks("bf16-mixed", device)
        case "fp16":
            return MixedNetworks("16-mixed", device)
    return FullPrecision()


def resolve_device(name: str) -> str:
    """Return the device to use: "cpu", "cuda" or "mps"."""
    found = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        return next(kind for kind in ("cuda", "mps", "cpu") if found[kind])
    if not found.get(name, False):
        raise EngineError(
            f"run.device: {name} asked for, but torch finds none; see 'depthkit doctor', or use cpu"
        )
    return name


def resolve_precision(name: str, device: str) -> str:
    """Return "fp32", "bf16" or "fp16"; auto is bf16 where the hardware multiplies it natively."""
    if name == "fp16" and device == "cpu":
        raise EngineError("run.precision: fp16 needs a GPU; use bf16 or fp32 on a CPU")
    if name != "auto":
        return name
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return "bf16" if device == "cpu" and has_native_bf16() else "fp32"


def has_native_bf16() -> bool:
    """Tell whether this CPU multiplies bf16 in hardware (AVX-512 BF16 or AMX)."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def is_first_process() -> bool:
    """Tell whether this process is alone or the first of its run: the one that prints results."""
    group = torch.distributed
    return not (group.is_available() and group.is_initialized()) or group.get_rank() == 0
