# SPDX-License-Identifier: Apache-2.0
"""The monitor names a run that learns nothing, once, and only after the symptom has lasted."""

import cv2
import numpy as np
import pytest
from small_run import small_config

from depthkit.data.sequence import SequenceWriter
from depthkit.synth.boxes import box_camera
from depthkit.training.health import LEAST_SPREAD, HealthMonitor, find_constant
from depthkit.training.loop import train

WELL = {
    "health/identity_error": 0.08,
    "health/kept": 0.6,
    "health/displacement": 3.0,
    "health/depth_spread": 0.4,
    "health/in_view": 0.95,
}
SICK = [
    ("still video", "health/identity_error", 0.001, "data.shifts"),
    ("dead mask", "health/kept", 0.01, "auto_mask"),
    ("identity pose", "health/displacement", 0.02, "learning rate"),
    ("flat depth", "health/depth_spread", 0.005, "parallax"),
    ("left the view", "health/in_view", 0.1, "smaller data.shifts"),
]


def look(monitor: HealthMonitor, times: int, **changed: float) -> list[str]:
    """Show the monitor the same figures several times; return all it said."""
    return [line for _ in range(times) for line in monitor.look(WELL | changed)]


@pytest.mark.parametrize(("name", "key", "value", "cause"), SICK)
def test_monitor_names_each_symptom_once(name, key, value, cause):
    """A symptom is named with figure and remedy at its tenth line in a row, then never again."""
    monitor = HealthMonitor()
    assert look(monitor, 9, **{key: value}) == []
    (line,) = look(monitor, 1, **{key: value})
    assert line.startswith(f"{name} (") and f"{value:.3g}" in line and cause in line
    assert look(monitor, 30, **{key: value}) == []


def test_monitor_is_silent_on_a_healthy_run():
    """Good figures are never remarked on."""
    assert look(HealthMonitor(), 100) == []


def test_monitor_forgets_a_symptom_that_passes():
    """One good line between bad ones starts the count again, and a relapse is named again."""
    monitor = HealthMonitor()
    bad = {"health/depth_spread": 0.001}
    assert look(monitor, 9, **bad) + look(monitor, 1) + look(monitor, 9, **bad) == []
    assert len(look(monitor, 1, **bad)) == 1
    assert look(monitor, 1) == [] and len(look(monitor, 10, **bad)) == 1


def test_monitor_ignores_what_is_not_measured():
    """A task without a measurement, or a mean over no pixel (NaN), gives no warning."""
    monitor = HealthMonitor()
    assert [monitor.look({"loss/total": 1.0}) for _ in range(20)] == [[]] * 20
    assert look(monitor, 20, **{"health/displacement": float("nan")}) == []


def test_a_static_clip_is_named_in_a_real_run(tmp_path, capsys):
    """A camera that stands still: the run says 'still video' and 'dead mask', each once."""
    small = np.random.default_rng(0).integers(0, 255, (16, 24, 3), dtype=np.uint8)
    picture = cv2.resize(small, (96, 64), interpolation=cv2.INTER_CUBIC)
    with SequenceWriter(
        tmp_path / "still", box_camera((64, 96)), depth_kind="none", source={}, ext="png"
    ) as writer:
        for i in range(12):
            writer.add_frame(picture, i / 10)
    config = small_config(tmp_path / "still", "optimizer.steps=12", "optimizer.batch_size=2")
    train(config, tmp_path / "run")
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning:" in line]
    assert sum("still video" in line for line in warnings) == 1
    assert sum("dead mask" in line for line in warnings) == 1
    *early, last = warnings  # the clip taught nothing, and the run ends by saying so
    assert all(line.startswith("warning: step 10: ") for line in early)
    assert last.startswith("warning: constant depth (depth_spread ")


def test_a_constant_is_named_at_the_end():
    """Below the spread of a wall seen 5 degrees off its normal; tasks without depth have none."""
    tilt, view = np.radians(5), np.radians(60)
    x = np.linspace(-np.tan(view / 2), np.tan(view / 2), 1001)
    assert np.log(1 / (1 - np.tan(tilt) * x)).std() == pytest.approx(LEAST_SPREAD, rel=0.05)
    assert find_constant({"val/loss": 1.0}) is None
    assert find_constant({"val/depth_spread": 0.4}) is None
    line = find_constant({"val/depth_spread": 0.0012})
    assert line is not None and "\n" not in line
    assert line.startswith("warning: constant depth (depth_spread 0.0012)")
    assert "depthkit inspect" in line
