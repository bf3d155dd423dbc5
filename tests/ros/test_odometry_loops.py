# SPDX-License-Identifier: Apache-2.0
"""map -> odom of real loops: a lap over a plane with a length source that drifts."""

import numpy as np
import pytest
from runtime.plane_flight import K, laps, view

from depthkit.runtime.motion.told import Motion
from depthkit.runtime.odometry.geometric import GeometricConfig, GeometricOdometry
from depthkit.runtime.odometry.odometry_chain import OdometryChain
from ros_nodes.odometry_method import Step
from ros_nodes.odometry_tracker import OdometryTracker
from ros_nodes.odometry_world import Worlds, world_in_odom

pytestmark = [pytest.mark.ros, pytest.mark.slow]

COUNT, LAP = 80, 60


@pytest.fixture(scope="module")
def lap() -> list[tuple[np.ndarray, np.ndarray, int]]:
    """Pose in odom, map -> odom and number of loops of each frame; lengths grow by 0.2 % a step."""
    truth, found = laps(COUNT, LAP), []
    odometry = GeometricOdometry(GeometricConfig(loops=True))
    tracker, worlds = OdometryTracker(OdometryChain()), Worlds()
    for i, T in enumerate(truth):
        rgb = np.repeat(view(T)[..., None], 3, axis=-1)
        length = float(np.linalg.norm(T[:3, 3] - truth[i - 1][:3, 3])) * (1 + 0.002 * i)
        motion = Motion(displacement=length if i else None)
        result = odometry.process(rgb, stamp=0.1 * i, K=K, motion=motion)
        factor = 1.0 if result.scale == "metric" else None
        step = Step(result, factor, "", 0.0, (1, 0), (1, 0))  # one map from the start
        tracker.take(step, T_base_cam=np.eye(4), factor=factor)
        T_odom = tracker.chain.pose().T_odom_base
        if tracker.state == "tracking":
            worlds.take(step, world_in_odom(T_odom, np.eye(4), step))
        closer = odometry.loops
        assert closer is not None
        loops = sum(closer.counts[kind] for kind in ("closed", "joined"))
        found.append((T_odom, worlds.T_map_odom, loops))
    return found


def test_the_map_moves_with_loops_alone(lap: list) -> None:
    """The identity before the first, constant from one to the next."""
    assert lap[-1][2] >= 1
    for before, now in zip(lap, lap[1:], strict=False):
        if before[2] == now[2]:
            np.testing.assert_allclose(now[1], before[1], atol=0.02)
    np.testing.assert_array_equal(lap[LAP // 2][1], np.eye(4))


def test_odom_never_jumps(lap: list) -> None:
    """A step is as long as any other, with a loop or without."""
    steps = [np.linalg.norm(b[0][:3, 3] - a[0][:3, 3]) for a, b in zip(lap, lap[1:], strict=False)]
    assert max(steps) < 0.6  # 0.42 m, 16 % too long at the end
