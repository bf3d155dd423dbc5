# SPDX-License-Identifier: Apache-2.0
"""Outputs of the odometry node: metric and relative poses of the body, path, points and TF."""

from collections import deque

import numpy as np
from geometry_msgs.msg import PoseStamped, Vector3
from nav_msgs.msg import Odometry, Path
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from depthkit.ros_messages import nanoseconds
from depthkit.runtime.odometry.odometry_chain import BodyPose
from depthkit.runtime.result import SparsePoints
from ros_nodes.convert import points_message, pose_message
from ros_nodes.inputs.frames import TfPublisher

QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
PATH_PERIOD = 1_000_000_000  # nanoseconds; 500 poses take 30 ms of Python to serialise


class OdometryOutput:
    """Publishers of the node."""

    def __init__(
        self,
        node: Node,
        *,
        odom_frame: str,
        base_frame: str,
        map_frame: str,
        publish_tf: bool,
        max_path: int,
    ) -> None:
        """Advertise the topics.

        Args:
            node: names are relative to it.
            odom_frame, base_frame: frame names as in REP 105.
            map_frame: frame above odom; empty if none is published.
            publish_tf: publish odom -> base on /tf, if tf2_msgs can be imported.
            max_path: newest poses kept for `path`.
        """
        self._node, self._odom, self._base, self._map = node, odom_frame, base_frame, map_frame
        self._metric = node.create_publisher(Odometry, "odometry", QOS)
        self._relative = node.create_publisher(Odometry, "odometry_relative", QOS)
        self._path = node.create_publisher(Path, "path", QOS)
        self._points = node.create_publisher(PointCloud2, "points", QOS)
        self._points_relative = node.create_publisher(PointCloud2, "points_relative", QOS)
        self._tf = TfPublisher(node) if publish_tf else None
        self._poses: deque[PoseStamped] = deque(maxlen=max_path)
        self._path_sent = 0

    def wanted(self) -> bool:
        """Whether any output has subscribers; always, with TF."""
        sends_tf = self._tf is not None and self._tf.available
        return sends_tf or any(one.get_subscription_count() for one in self._publishers())

    def reset(self) -> None:
        """Drop the path."""
        self._poses.clear()

    def send(self, pose: BodyPose, header: Header, *, tracking: bool) -> None:
        """Send a pose in metres.

        Args:
            pose: pose with the covariance of its state.
            header: header of the image.
            tracking: whether the pose is known, so that it goes to TF and into the path as well.
        """
        message = odometry_message(pose, header, odom_frame=self._odom, base_frame=self._base)
        self._metric.publish(message)
        if not tracking:
            return
        stamp = nanoseconds(header.stamp)
        if self._tf is not None:
            self._tf.send(pose.T_odom_base, stamp, self._odom, self._base)
        self._poses.append(PoseStamped(header=message.header, pose=message.pose.pose))
        if self._path.get_subscription_count() and abs(stamp - self._path_sent) >= PATH_PERIOD:
            self._path_sent = stamp
            self._path.publish(Path(header=message.header, poses=list(self._poses)))

    def send_relative(self, pose: BodyPose, header: Header) -> None:
        """Send a pose whose translations are known up to one factor."""
        if self._relative.get_subscription_count():
            frame = f"{self._odom}_relative"
            message = odometry_message(pose, header, odom_frame=frame, base_frame=self._base)
            self._relative.publish(message)

    def send_map(self, T_map_odom: np.ndarray, header: Header) -> None:
        """Send the pose of odom in the map on /tf, if there is a map. (4, 4)"""
        if self._tf is not None and self._map:
            self._tf.send(T_map_odom, nanoseconds(header.stamp), self._map, self._odom)

    def wants_points(self, *, metric: bool) -> bool:
        """Whether `points`, or else `points_relative`, has subscribers."""
        return bool(self._points_of(metric).get_subscription_count())

    def send_points(
        self, points: SparsePoints, T_odom_world: np.ndarray, header: Header, *, metric: bool
    ) -> None:
        """Send landmarks.

        Args:
            points: landmarks of a frame.
            T_odom_world: place of their world in odom. (4, 4)
            header: header of the image, for its stamp.
            metric: whether positions are metres; else they go to `points_relative`.
        """
        frame = self._odom if metric else f"{self._odom}_relative"
        placed = Header(stamp=header.stamp, frame_id=frame)
        self._points_of(metric).publish(points_message(points, T_odom_world, placed))

    def _points_of(self, metric: bool) -> Publisher:
        return self._points if metric else self._points_relative

    def _publishers(self) -> tuple[Publisher, ...]:
        landmarks = self._points, self._points_relative
        return (self._metric, self._relative, self._path, *landmarks)

    def close(self) -> None:
        """Leave the graph."""
        for publisher in self._publishers():
            self._node.destroy_publisher(publisher)
        if self._tf is not None:
            self._tf.close()


def odometry_message(
    pose: BodyPose, header: Header, *, odom_frame: str, base_frame: str
) -> Odometry:
    """Convert a pose to a message: the pose in odom_frame, the twist in base_frame.

    Args:
        pose: pose of the body.
        header: header of the image, for its stamp.
        odom_frame, base_frame: names of the frames.
    """
    message = Odometry(child_frame_id=base_frame)
    message.header = Header(stamp=header.stamp, frame_id=odom_frame)
    message.pose.pose = pose_message(pose.T_odom_base)
    message.pose.covariance = pose.covariance.ravel()
    linear, angular = pose.twist[:3].tolist(), pose.twist[3:].tolist()
    message.twist.twist.linear = Vector3(x=linear[0], y=linear[1], z=linear[2])
    message.twist.twist.angular = Vector3(x=angular[0], y=angular[1], z=angular[2])
    message.twist.covariance = pose.twist_covariance.ravel()
    return message
