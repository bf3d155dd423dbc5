# SPDX-License-Identifier: Apache-2.0
"""Depth of single frames in the node, with the motion found in its images: fitted to its points."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from runtime.onnx_makers import write_mono
from std_msgs.msg import Header

from depthkit.runtime import DepthEngine
from depthkit.runtime.config import BaselineConfig
from depthkit.runtime.depth.depth_method import DepthMethod, network_method
from depthkit.runtime.result import OdometryResult, ScaleFit, ScaleState, SparsePoints
from ros_nodes.depth_live import LiveStream
from ros_nodes.depth_status import DepthFigures, Stages, model_status
from ros_nodes.depth_visual import TrackedFrame
from ros_nodes.inputs.camera_input import CameraFrame

SIZE, FACTOR = (32, 48), 2.5
K = np.array([[40.0, 0, 23.5], [0, 40, 15.5], [0, 0, 1]])
LEVEL = np.tile(np.linspace(10, 240, SIZE[1]).astype(np.uint8), (SIZE[0], 1))
DEPTH = FACTOR / (0.1 + LEVEL / 255)
CONFIG = BaselineConfig()


class Told:
    """A source of motion that is never asked."""

    epoch = 0


@pytest.fixture(scope="module")
def method(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DepthMethod]:
    """A relative network of single frames: depth = 1 / (0.1 + brightness)."""
    path = write_mono(tmp_path_factory.mktemp("net") / "mono.onnx", size=SIZE)
    with network_method(DepthEngine.open(path)) as one:
        yield one


def tracked(stamp: float, odometry: Any, state: ScaleState, *, segment: int = 0) -> TrackedFrame:
    """A frame with a hundred points of the true depth."""
    rng = np.random.default_rng(0)
    v, u = (rng.integers(0, size, 100) for size in SIZE)
    pixels = np.stack([u, v], axis=1).astype(float)
    rays = np.linalg.inv(K) @ np.stack([u, v, np.ones(100)])
    positions = (DEPTH[v, u] * rays).T
    moved = OdometryResult(
        T_previous_current=np.eye(4),
        T_world_cam=np.eye(4),
        scale="metric" if state.metric else "relative",
        scale_source=state.source,
        stamp=stamp,
        segment=segment,
        scale_state=state,
        points=SparsePoints(np.arange(100), pixels, positions, np.full(100, 0.02)),
    )
    rgb = np.dstack([LEVEL] * 3)
    frame = CameraFrame(rgb, K, None, int(1e9 * stamp), stamp, Header(), None, 0)
    return TrackedFrame(frame, moved, odometry)


def test_depth_is_fitted_to_the_points(method: DepthMethod) -> None:
    """Metres where the odometry has them; its own unit where not; never the network's."""
    for state, scale in (
        (ScaleState("observed", "speed", 0.01), "metric"),
        (ScaleState(), "relative"),
    ):
        live = LiveStream(Told()).depth_of_tracked(method, tracked(1.0, object(), state), CONFIG)
        assert (live.result.scale, live.result.fit.state) == (scale, "observed")
        np.testing.assert_allclose(live.result.depth, DEPTH, rtol=1e-4)
        assert live.result.sigma is not None


def test_a_frame_without_points_has_no_depth(method: DepthMethod) -> None:
    """In a new segment the unit is another one: no depth until it has points."""
    stream, odometry, metric = LiveStream(Told()), object(), ScaleState("observed", "speed", 0.01)
    stream.depth_of_tracked(method, tracked(1.0, odometry, metric), CONFIG)
    lost = tracked(1.1, odometry, metric, segment=1)
    moved = replace(lost.moved, points=None, T_previous_current=None, reason="tracks were lost")
    live = stream.depth_of_tracked(method, replace(lost, moved=moved), CONFIG)
    assert live.result.depth is None and live.result.fit.state == "lost"
    assert "tracks were lost" in live.result.reason and live.begins


def test_diagnostics_tell_the_fit(method: DepthMethod) -> None:
    """Values for machines, the state in words where it is not observed."""
    metric, figures = ScaleState("observed", "speed", 0.01), DepthFigures()
    live = LiveStream(Told()).depth_of_tracked(method, tracked(1.0, object(), metric), CONFIG)
    figures.note_sent(live.result, Stages(1.0, 1.0, 1.0, 0.0))
    status = figures.status(0.0, dropped=0)
    assert status.values["fit_state"] == "observed" and status.values["fit_points"] == "100"
    assert float(status.values["fit_factor"]) == pytest.approx(FACTOR, rel=1e-3)
    held = replace(live.result, fit=ScaleFit(2.5, state="held", reason="too dark"))
    figures.note_sent(held, Stages(1.0, 1.0, 1.0, 0.0))
    assert "fit held: too dark" in figures.status(0.0, dropped=0).message
    said = model_status(method, fault="", motion="visual", metres=True, min_confidence=0.0)
    assert said.message.endswith("a single-frame network, fitted to the points of the odometry")
