# SPDX-License-Identifier: Apache-2.0
"""What the odometry node asks of a method, geometric or network, and what it gets for a frame."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from depthkit.runtime.result import OdometryResult
from ros_nodes.inputs.camera_input import CameraFrame
from ros_nodes.life.monitor import Provider
from ros_nodes.odometry_config import OdometryNodeConfig

World = tuple[int, int]
"""One world of a method: number of restarts, first segment of its map."""


@dataclass(frozen=True, eq=False)
class Step:
    """Result of a frame with its metres."""

    result: OdometryResult
    factor: float | None
    """Metres per unit of the translations; None while unknown."""
    reason: str
    """Why the factor is unknown; empty if it is known."""
    spread: float
    """Relative standard deviation of a motion's length."""
    world: World = (0, 0)
    """World that `result.T_world_cam` is in."""
    map_world: World | None = None
    """World that defines the map which `result.correction` leads to; None without a map."""
    map_root: np.ndarray | None = None
    """Pose of that world in the map where it is that of an earlier session: there the body was at
    the origin, so the camera's pose on the body; None otherwise. (4, 4)"""


class Method(Protocol):
    """Camera motion from frames, with its scale. `process` runs on the worker's thread."""

    stage: str
    """Name of the stage that takes the time: network or tracking."""

    @property
    def fault(self) -> str:
        """Why no frame can be processed now; empty if one can."""
        ...

    def start(self) -> None:
        """Subscribe and open what is needed."""

    def stop(self) -> None:
        """Unsubscribe; `start` begins again."""

    def close(self) -> None:
        """Leave the graph."""

    def apply(self, config: OdometryNodeConfig) -> None:
        """Take live parameters."""

    def reset(self) -> None:
        """Forget all frames and the scale."""

    def restart(self, stamp: float) -> None:
        """Continue after time went back to a stamp, seconds."""

    def change_camera(self) -> None:
        """Take note that frames are rectified differently from now on."""

    def process(self, frame: CameraFrame, T_base_cam: np.ndarray) -> Step:
        """Take the next frame; raises DepthkitError with the reason why it is skipped."""
        ...

    def tasks(self) -> dict[str, Provider]:
        """Return the status providers by task."""
        ...
