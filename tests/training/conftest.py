# SPDX-License-Identifier: Apache-2.0
"""One small world for all tests of training."""

from pathlib import Path

import pytest
from small_run import small_config, write_world

from depthkit.training.loop import train


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sequence of 24 frames of 64x96 with exact depth and poses."""
    return write_world(tmp_path_factory.mktemp("world") / "room")


@pytest.fixture(scope="session")
def trained(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a short finished run with the small networks."""
    run = tmp_path_factory.mktemp("trained") / "run"
    words = ("optimizer.steps=3", "run.validate_every=2", "loss.baseline_weight=0.05")
    train(small_config(world, *words), run)
    return run
