# SPDX-License-Identifier: Apache-2.0
"""What all tests share: the real data, one thread each, and skips that say why."""

import importlib.util
import os
from pathlib import Path

import pytest

# Tests run in parallel processes; libraries read these when they are first imported.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
    os.environ.setdefault(variable, "1")

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data: DEPTHKIT_TEST_DATA, else ../shared/data beside the checkout."""
    named = os.environ.get("DEPTHKIT_TEST_DATA")
    folder = Path(named) if named else CHECKOUT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set DEPTHKIT_TEST_DATA to its folder")
    return folder


@pytest.fixture
def fake_sweep(monkeypatch: pytest.MonkeyPatch) -> type:
    """Put a double in the place of the sweep; those that are made are in its list `made`."""
    from fake_sweep import FakeSweep

    from depthkit.runtime.depth import sweep_stream

    FakeSweep.made = []
    monkeypatch.setattr(sweep_stream, "SweepStream", FakeSweep)
    return FakeSweep


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine cannot run."""
    if item.get_closest_marker("gpu") is not None and not _cuda_answers():
        pytest.skip("needs a CUDA device, torch finds none")
    if item.get_closest_marker("ros") is not None and importlib.util.find_spec("rclpy") is None:
        pytest.skip("needs rclpy, which is not installed")


def _cuda_answers() -> bool:
    import torch

    return torch.cuda.is_available()
