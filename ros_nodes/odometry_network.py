# SPDX-License-Identifier: Apache-2.0
"""The pose network of the odometry node, with the scale of its translations."""

import numpy as np
from rclpy.node import Node

from depthkit.errors import EngineError
from depthkit.runtime.frame_gate import Intrinsics
from ros_nodes.inputs.camera_input import CameraFrame
from ros_nodes.inputs.frames import Extrinsic
from ros_nodes.life.model_keeper import ModelKeeper
from ros_nodes.life.monitor import Monitor, Provider, Status
from ros_nodes.odometry_config import OdometryNodeConfig
from ros_nodes.odometry_method import Step
from ros_nodes.odometry_models import Models, open_models
from ros_nodes.odometry_scale import OdometryScale
from ros_nodes.odometry_status import model_status


class NetworkMethod:
    """Motion by a pose network, see `Method`."""

    stage = "network"

    def __init__(
        self, node: Node, config: OdometryNodeConfig, extrinsic: Extrinsic, *, monitor: Monitor
    ) -> None:
        """Open the models.

        Args:
            node: node that the topics are relative to.
            config: settings of the node.
            extrinsic: source of T_base_cam.
            monitor: hears of a model that cannot be opened.

        Raises:
            EngineError: a model is unusable, without `wait_for_model`.
        """
        self._config = config
        self._keeper = ModelKeeper(
            self._open,
            wait=config.wait_for_model,
            say=lambda line: monitor.announce("model", Status("error", line)),
        )
        self.scale = OdometryScale(node, config.scale, extrinsic)
        self._camera: Intrinsics | None = None
        self._reset_wanted = False

    @property
    def fault(self) -> str:
        """Why no model is open; empty if one is."""
        return self._keeper.fault if self._keeper.engine is None else ""

    def start(self) -> None:
        """Subscribe, and look for a missing model."""
        self.scale.start()
        self._keeper.start()

    def stop(self) -> None:
        """Unsubscribe; `start` begins again."""
        self.scale.stop()
        self._keeper.stop()

    def close(self) -> None:
        """Free the networks."""
        self._keeper.close()

    def apply(self, config: OdometryNodeConfig) -> None:
        """Take live parameters."""
        self.scale.apply(config.scale)

    def reset(self) -> None:
        """Forget all frames and the scale."""
        self._reset_wanted = True
        self.scale.reset()

    def restart(self, stamp: float) -> None:
        """Continue after time went back: the scale itself stays."""
        self.scale.restart()

    def change_camera(self) -> None:
        """Make no pair with frames that were rectified differently."""
        self._reset_wanted = True

    def process(self, frame: CameraFrame, T_base_cam: np.ndarray) -> Step:
        """Take the next frame.

        Raises:
            EngineError: no model is open.
        """
        models = self._keeper.engine
        if models is None:
            raise EngineError(self._keeper.fault)
        if self._reset_wanted:
            self._reset_wanted = False
            models.odometry.reset()
        self._camera = None if frame.K is None else (frame.rgb.shape[:2], frame.K)
        result = models.odometry.process(frame.rgb, stamp=frame.stamp)
        factor = None
        if result.T_previous_current is not None:  # metres are measured where there is a motion
            factor = self.scale.factor(models, frame, result, T_base_cam)
        return Step(result, factor, self.scale.reason, self.scale.spread, (0, result.segment))

    def tasks(self) -> dict[str, Provider]:
        """Return the status providers by task."""
        return {"model": self._model_status, "scale": self.scale.status}

    def _open(self) -> Models:
        config = self._config
        return open_models(config, config.scale, max_gap=config.longest_gap, stride=config.stride)

    def _model_status(self, _: float) -> Status:
        return model_status(self._keeper.engine, self._keeper.fault, self._camera)
