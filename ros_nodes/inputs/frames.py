# SPDX-License-Identifier: Apache-2.0
"""Pose of the camera on the moving body, from TF or from parameters; and publishing TF.

Of tf2 only tf2_msgs is needed. Where it cannot be imported (it is not on PyPI), the nodes run
without TF, say so once, and use the parameters instead.
"""

import threading
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Header

from depthkit.config.ranges import check_ranges, option
from depthkit.errors import DataError
from depthkit.rigid import make_pose
from depthkit.ros_messages import FrameTree
from ros_nodes.convert import stamp_message, transform_message

try:
    from tf2_msgs.msg import TFMessage as TFMessage  # the player needs it too
except ImportError:
    TFMessage = None

NO_TF2 = "tf2_msgs does not import; install ros-<distro>-tf2-msgs or go on without TF"
QUEUE = 100  # as in tf2; on /tf_static each broadcaster keeps one message for late joiners


@dataclass(frozen=True)
class ExtrinsicConfig:
    """Pose of the camera on the body whose motion is measured: odometry's child_frame_id, or the
    IMU."""

    source: Literal["auto", "tf", "parameters", "none"] = "auto"
    """Source of the pose. Auto: identity if both frames are the same, then /tf_static and /tf, then
    xyz and rpy if any of them is not zero. Parameters: xyz and rpy. None: identity, the measured
    motion is that of the camera."""
    xyz: tuple[float, float, float] = option((0.0, 0.0, 0.0), least=-1000, most=1000)
    """Position of the camera in the body's frame, metres."""
    rpy: tuple[float, float, float] = option((0.0, 0.0, 0.0), least=-7, most=7)
    """Roll, pitch, yaw of the camera's OPTICAL frame (z ahead, x right) in the body's frame (URDF:
    about the body's x, then y, then z), radians; -1.5708, 0, -1.5708 looks along the x axis of a
    REP 103 body."""

    def __post_init__(self) -> None:
        check_ranges(self)

    @property
    def matrix(self) -> np.ndarray:
        """T_base_cam of xyz and rpy. (4, 4)"""
        R = np.eye(3)
        for axis, angle in zip(np.eye(3), self.rpy, strict=True):
            R = cv2.Rodrigues(axis * angle)[0] @ R
        return make_pose(R, np.array(self.xyz))

    @property
    def is_given(self) -> bool:
        """Whether xyz or rpy is not zero."""
        return any(self.xyz) or any(self.rpy)


class Extrinsic:
    """Looks up T_base_cam of a body and a camera; one thread queries, another adds transforms.

    Subscribes: `/tf_static`, `/tf` (tf2_msgs/TFMessage) if the source is auto or tf; for a moving
    joint the newest transform is used.
    """

    def __init__(self, node: Node, config: ExtrinsicConfig, *, listen: bool = True) -> None:
        """Subscribe to TF, if it is needed.

        Args:
            node: node that owns the subscriptions.
            config: settings, fixed.
            listen: False for a node that needs no T_base_cam.
        """
        self._node, self._config = node, config
        self._tree, self._lock = FrameTree(), threading.Lock()
        self._warned = False
        self._subscriptions: list[Any] = []
        if listen and config.source in ("auto", "tf"):
            self._listen()

    def T_base_cam(self, base_frame: str, camera_frame: str) -> np.ndarray | None:
        """Return the pose of the camera on the body, metres; None where `missing` has a reason. (4,
        4)"""
        source = self._config.source
        if source == "none":
            return np.eye(4)
        if source != "parameters" and base_frame and camera_frame:
            with self._lock:
                found = self._tree.lookup(base_frame, camera_frame)
            if found is not None:
                return found
        given = source == "parameters" or (source == "auto" and self._config.is_given)
        return self._config.matrix if given else None

    def missing(self, base_frame: str, camera_frame: str) -> str:
        """Return why T_base_cam is unknown, and what to do; empty if it is known."""
        if self.T_base_cam(base_frame, camera_frame) is not None:
            return ""
        without = f" ({NO_TF2})" if TFMessage is None else ""
        return (
            f"no transform between {_named(base_frame)} and {_named(camera_frame)}: publish it on "
            f"/tf_static{without}, or set extrinsic.xyz and extrinsic.rpy"
        )

    def add(self, message: Any) -> None:
        """Add the transforms of a TFMessage."""
        try:
            with self._lock:
                self._tree.add(message.transforms)
        except DataError as error:
            if not self._warned:
                self._warned = True
                self._node.get_logger().warning(f"a transform of TF is left out: {error}")

    def close(self) -> None:
        """Unsubscribe; known transforms are kept."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def _listen(self) -> None:
        if TFMessage is None:
            if self._config.source == "tf":
                self._node.get_logger().warning(f"extrinsic.source is tf, but {NO_TF2}")
            return
        for topic, durability in (
            ("/tf_static", DurabilityPolicy.TRANSIENT_LOCAL),
            ("/tf", DurabilityPolicy.VOLATILE),
        ):
            self._subscriptions.append(
                self._node.create_subscription(TFMessage, topic, self.add, _qos(durability))
            )


class TfPublisher:
    """Publishes moving transforms.

    Publishes: `/tf` (tf2_msgs/TFMessage), where tf2_msgs imports.
    """

    def __init__(self, node: Node) -> None:
        self._node, self._publisher = node, None
        if TFMessage is None:
            node.get_logger().warning(f"no /tf: {NO_TF2}")
            return
        self._publisher = node.create_publisher(TFMessage, "/tf", _qos(DurabilityPolicy.VOLATILE))

    @property
    def available(self) -> bool:
        """Whether transforms can be published."""
        return self._publisher is not None

    def send(self, T: np.ndarray, stamp: int, parent: str, child: str) -> None:
        """Publish a transform, if TF is available.

        Args:
            T: points of the child frame to the parent frame, metres. (4, 4)
            stamp: nanoseconds.
            parent, child: names of the frames.
        """
        if self._publisher is None:
            return
        header = Header(stamp=stamp_message(stamp), frame_id=parent)
        self._publisher.publish(TFMessage(transforms=[transform_message(T, header, child)]))

    def close(self) -> None:
        """Stop publishing."""
        if self._publisher is not None:
            self._node.destroy_publisher(self._publisher)
        self._publisher = None


def _named(frame: str) -> str:
    return repr(frame) if frame else "'' (its publisher names no frame)"


def _qos(durability: DurabilityPolicy) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=QUEUE,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=durability,
    )
