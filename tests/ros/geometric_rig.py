# SPDX-License-Identifier: Apache-2.0
"""The geometric odometry node in a running graph, over a textured plane that it flies along."""

from typing import Any

import numpy as np
from odometry_rig import Rig
from runtime.plane_flight import SIZE, K, view
from sensor_msgs.msg import Imu

from depthkit.rigid import make_pose

DOWN = {"source": "parameters", "rpy": [np.pi, 0.0, 0.0]}
"""A camera that looks down: its x is the body's, its z is the body's -z."""
PACE = 0.2
"""Metres from one frame to the next, along x; at 10 Hz 2 m/s, 5 m over the plane."""
RAD = 0.5
"""Turning of the sample that `sample` makes, rad/s."""


def over_plane(x: float) -> np.ndarray:
    """Return what the camera sees at x metres. (240, 320, 3) uint8"""
    grey = view(make_pose(np.eye(3), [x - 2.0, 0.0, 0.0]))
    return np.repeat(grey[..., None], 3, axis=-1)


class GeometricRig(Rig):
    """The node without a model; frames from the flight over the plane."""

    def __init__(self, graph: Any, topics: tuple[str, ...] = ("odometry",), **parameters: Any):
        """Start the node and subscribe to some of its outputs; parameters nest."""
        super().__init__(graph, topics, **{"extrinsic": DOWN, **parameters})
        self.flown = 0

    def calibrate_plane(self) -> None:
        """Tell the camera of the flight."""
        self.calibrate(K, SIZE[::-1])

    def fly(self, count: int, stamp: int | None = None) -> None:
        """Show the next frames of the flight, one a step; a given stamp is that of the first."""
        for i in range(count):
            self.show(over_plane(PACE * self.flown), stamp if i == 0 else None)
            self.flown += 1

    def say_imu(self, *stamps: int, frame_id: str = "imu") -> None:
        """Send samples and wait until the newest was heard."""
        imu = self.component.method._imu
        for stamp in stamps:
            self.probe.publish("imu", sample(stamp, frame_id=frame_id))
        self.graph.spin_until(lambda: imu._newest >= stamps[-1] * 1e-9)


def sample(stamp: int, *, frame_id: str = "imu", rate: float = RAD) -> Imu:
    """Make a sample: turning about z, gravity along -z as a camera that looks down has it."""
    message = Imu()
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
    message.header.frame_id = frame_id
    message.angular_velocity.z = rate
    message.linear_acceleration.z = -9.81
    return message
