# SPDX-License-Identifier: Apache-2.0
"""Where a run computes: what is asked for is there, or one clear error."""

import pytest
import torch
from small_run import small_config

from depthkit.config import RunConfig
from depthkit.errors import EngineError
from depthkit.training import device
from depthkit.training.device import build_fabric, resolve_device, resolve_precision
from depthkit.training.loop import train

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


@no_gpu
def test_missing_gpu_is_an_error():
    """CUDA asked for and absent is never silently the CPU."""
    with pytest.raises(EngineError, match=r"run\.device: cuda asked for"):
        build_fabric(RunConfig(device="cuda"))
    assert resolve_device("auto") in ("cpu", "mps")


def test_fp16_on_a_cpu_is_an_error():
    """fp16 has no CPU kernels worth having; the remedy is named."""
    with pytest.raises(EngineError, match="use bf16 or fp32"):
        build_fabric(RunConfig(device="cpu", precision="fp16"))


@pytest.mark.parametrize(("native", "chosen"), [(True, "bf16"), (False, "fp32")])
def test_auto_precision_follows_the_hardware(monkeypatch, native, chosen):
    """On a CPU auto is bf16 only where it is multiplied in hardware; a choice is kept as it is."""
    monkeypatch.setattr(device, "has_native_bf16", lambda: native)
    assert resolve_precision("auto", "cpu") == chosen
    assert resolve_precision("auto", "mps") == "fp32"
    assert resolve_precision("bf16", "cpu") == "bf16"
    assert resolve_precision("fp32", "cpu") == "fp32"


def test_too_many_gpus_are_an_error(monkeypatch):
    """More GPUs than there are is said before anything starts."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(EngineError, match="3 GPUs asked for, 2 found"):
        build_fabric(RunConfig(device="cuda", devices=3, precision="fp32"))


def test_threads_are_set():
    """run.threads is the number torch computes with."""
    before = torch.get_num_threads()
    try:
        build_fabric(RunConfig(device="cpu", threads=2))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_fabric_keeps_intrinsics_in_32_bits(precision):
    """Autocast lowers the networks only: K of 1234.5678 pixels must not be rounded to bf16."""

    class Task(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 2)

        def forward(self, K):
            return K, self.layer(K)

    fabric = build_fabric(RunConfig(device="cpu", precision=precision))
    K = torch.tensor([[1234.5678, 0.1]])
    seen, computed = fabric.setup_module(Task())(K)
    assert torch.equal(seen, K) and seen.dtype == torch.float32
    assert computed.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)


def test_bf16_run_stays_close_to_fp32(world, tmp_path):
    """Two steps in bf16 give the losses of fp32 to a few parts in a hundred, but not to the bit."""
    losses = []
    for precision in ("fp32", "bf16"):
        words = ("optimizer.steps=2", f"run.precision={precision}")
        losses.append(train(small_config(world, *words), tmp_path / precision).loss)
    assert losses[0] != losses[1] and losses[1] == pytest.approx(losses[0], rel=0.05)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_gpu_runs_and_resumes(world, tmp_path, precision):
    """A GPU trains in every precision, and goes on from its checkpoint."""
    words = ("run.device=cuda", f"run.precision={precision}", "run.save_every=2")
    train(small_config(world, *words, "optimizer.steps=2"), tmp_path / "run")
    result = train(small_config(world, *words, "optimizer.steps=4"), tmp_path / "run", resume=True)
    assert result.steps == 4 and 0 < result.loss < 1
