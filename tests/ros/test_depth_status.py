# SPDX-License-Identifier: Apache-2.0
"""What the depth node says of its model and its output, case by case."""

import time
from dataclasses import replace

import numpy as np
import pytest

from depthkit.runtime import DepthEngine, DepthResult
from depthkit.runtime.depth.depth_method import network_method
from depthkit.runtime.result import Timing
from ros_nodes.depth_status import DepthFigures, Stages, model_status

pytestmark = pytest.mark.ros

RESULT = DepthResult(
    depth=np.ones((2, 2), np.float32),
    valid=np.ones((2, 2), bool),
    confidence=None,
    K=None,
    scale="metric",
    scale_source="camera poses",
    stamp=1.0,
    timing=Timing(1.0, 20.0, 2.0),
)
STAGES = Stages(age_ms=60.0, total_ms=40.0, engine_ms=24.0, wait_ms=13.0)


def status(figures, later=0.0):
    """Ask some seconds later."""
    return figures.status(time.monotonic() + later, dropped=2)


def test_before_the_first_frame():
    """A warning without figures of time."""
    said = status(DepthFigures())
    assert (said.level, said.message) == ("warn", "no frame yet")
    assert status(DepthFigures(), 10.0).message == "no frame yet"  # not: no frame for 10 s
    assert (said.values["sent"], said.values["dropped"]) == (0, 2)
    assert not any(name.endswith("_ms") for name in said.values)


def test_stages_add_up():
    """Overhead is what is neither engine nor waiting: 40 - 24 - 13 ms."""
    figures = DepthFigures()
    for _ in range(3):
        figures.note_sent(RESULT, STAGES)
    said = status(figures)
    assert (said.level, said.message) == ("ok", "metric depth; scale: camera poses")
    names = ("age_p50_ms", "age_p99_ms", "network_p50_ms", "overhead_p50_ms", "motion_wait_p50_ms")
    assert [said.values[name] for name in names] == [60, 60, 20, 3, 13]
    assert (said.values["sent"], said.values["scale"]) == (3, "metric")


def test_a_refusal_is_a_warning_until_the_next_depth():
    """The reason is the message, and stays as the last refusal."""
    figures = DepthFigures()
    figures.note_refused("the frame is black")
    assert (status(figures).level, status(figures).message) == (
        "warn",
        "no depth: the frame is black",
    )
    figures.note_sent(RESULT, STAGES)
    assert status(figures).level == "ok"
    figures.note_refused("the pose jumped")
    figures.note_sent(RESULT, STAGES)
    said = status(figures)
    assert (said.level, said.message) == ("warn", "no depth for 1 of 2 frames: the pose jumped")
    said = status(figures)
    assert said.level == "ok" and said.values["last_refusal"] == "the pose jumped"
    figures.note_refused("a bug", "error")
    assert status(figures).level == "error" and status(figures).values["refused"] == 3


def test_metres_of_another_camera_are_a_warning():
    """The depth goes out, its scale is off by the ratio of the focal lengths, and this is said."""
    figures, source = (
        DepthFigures(),
        "trained; learnt at a focal length of 45 px, this camera has 80",
    )
    figures.note_sent(replace(RESULT, scale_source=source), STAGES)
    said = status(figures)
    assert said.level == "warn" and said.message.endswith("this camera has 80")


def test_silence_ages_what_was_said():
    """After three seconds without a frame the last word is of the past."""
    figures = DepthFigures()
    figures.note_sent(RESULT, STAGES)
    assert status(figures, 2.0).level == "ok"
    said = status(figures, 10.0)
    assert said.level == "warn"
    assert said.message == "no frame for 10 s; the last: metric depth; scale: camera poses"


def test_idle_is_no_fault():
    """Nobody listens: ok, and counted."""
    figures = DepthFigures()
    figures.note_idle()
    said = status(figures)
    assert (said.level, said.values["idle"]) == ("ok", 1) and said.message.startswith("idle")


@pytest.mark.parametrize(
    ("model", "motion", "confidence", "level", "words"),
    [
        ("mono", "none", 0.0, "ok", "a single-frame network"),
        ("mono", "none", 0.5, "warn", "has no confidence; set min_confidence to 0"),
        ("pair", "odometry", 0.5, "ok", "a pair network"),
        ("pair", "twist", 0.0, "ok", "a pair network"),
        ("pair", "none", 0.0, "warn", "depth is relative and goes to depth_relative"),
        ("sweepnet-stillbox", "odometry", 0.0, "ok", "a pair network"),
        ("sweepnet-stillbox", "none", 0.0, "error", "needs the direction of motion"),
        ("sweepnet-stillbox", "speed", 0.0, "error", "set motion.source to odometry, or take"),
    ],
)
def test_what_a_model_lacks(made_models, model, motion, confidence, level, words):
    """Each model with what it is fed: well, or what to do."""
    file = made_models / f"{model}.onnx"
    with DepthEngine.open(file if file.exists() else model) as engine:
        method, metres = network_method(engine), motion != "none"
        said = model_status(
            method, fault="", motion=motion, metres=metres, min_confidence=confidence
        )
    assert said.level == level and words in said.message
    assert said.values["kind"] == ("mono" if model == "mono" else "pair")


def test_without_a_model_the_fault_is_the_message():
    """An error, in the engine's own line."""
    said = model_status(None, fault="gone", motion="none", metres=False, min_confidence=0)
    assert (said.level, said.message, dict(said.values)) == ("error", "gone", {})
