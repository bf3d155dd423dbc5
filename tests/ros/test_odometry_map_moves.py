# SPDX-License-Identifier: Apache-2.0
"""The running node closes a lap: map -> odom moves, odom itself never jumps."""

from types import SimpleNamespace

import numpy as np
import pytest
from geometric_rig import GeometricRig
from odometry_rig import START, STEP, place
from runtime.plane_flight import laps, view

from depthkit.rigid import inverse

pytestmark = [pytest.mark.ros, pytest.mark.slow]

COUNT, LAP, PACE = 80, 60, 0.42
"""Frames, frames of a lap, and its metres from one frame to the next."""
FAST = 1.15
"""The wheels say that much too long a way in the second half of the lap."""


@pytest.fixture
def rig(graph):
    """A node with loops, told its speed; stopped at the end."""
    made = GeometricRig(graph, scale={"source": "speed", "speed": 10 * PACE}, loops=True)
    made.calibrate_plane()
    yield made
    made.close()


def test_a_lap_moves_the_map_and_not_the_odometry(rig):
    """A lap whose second half is flown slower than the speed that is told.

    odom is published at every frame with steps as long as any other; map -> odom is the identity
    until the camera is back, then brings the end of the lap nearer to its start.
    """
    sent = []
    tf = SimpleNamespace(available=True, send=lambda *args: sent.append(args), close=lambda: None)
    rig.component._output._tf = tf
    truth = lap()
    for T in truth:
        rig.show(np.repeat(view(T)[..., None], 3, axis=-1))
    rig.graph.spin_until(lambda: len(rig.got["odometry"]) > COUNT // 2)
    # 1. odom: no step is longer than the longest flown one by more than the drift of its source.
    places = np.array([place(message) for message in rig.got["odometry"]])
    steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    assert len(steps) > COUNT // 2
    assert steps.max() < 1.5 * PACE
    # 2. map -> odom: still until the return, then it moves.
    by_stamp = {stamp: T for T, stamp, _, child in sent if child == "odom"}
    stamps = sorted(by_stamp)
    np.testing.assert_array_equal(by_stamp[stamps[len(stamps) // 2]], np.eye(4))
    moved = by_stamp[stamps[-1]]
    assert np.linalg.norm(moved[:3, 3]) > 0.1
    np.testing.assert_allclose(moved[:3, :3] @ moved[:3, :3].T, np.eye(3), atol=1e-9)
    # 3. In the map the camera is nearer to where it truly is.
    odom = {stamp: T for T, stamp, _, child in sent if child == "base_link"}
    first, last = ((stamp - START) // STEP - 1 for stamp in (stamps[0], stamps[-1]))
    way, start = in_body(inverse(truth[first]) @ truth[last]), odom[stamps[0]]
    errors = [
        np.linalg.norm((inverse(start) @ T)[:3, 3] - way)
        for T in (odom[stamps[-1]], moved @ odom[stamps[-1]])
    ]
    assert errors[1] < 0.9 * errors[0]  # 0.64 m for 0.79 m


def lap() -> np.ndarray:
    """Fly a lap and a third; the steps of its second half are shorter. (COUNT, 4, 4)"""
    fine = laps(10 * LAP, 10 * LAP)
    number = np.arange(COUNT, dtype=float)
    late = np.clip(number - LAP / 2, 0, None)
    return fine[np.rint(10 * (number - late * (1 - 1 / FAST))).astype(int) % (10 * LAP)]


def in_body(motion: np.ndarray) -> np.ndarray:
    """Turn the place of a camera that looks down into axes of the body. (3,)"""
    return motion[:3, 3] * [1.0, -1.0, -1.0]
