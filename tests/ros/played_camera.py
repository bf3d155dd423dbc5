# SPDX-License-Identifier: Apache-2.0
"""A camera driver in a process of its own: `played_camera.py WIDTH HEIGHT ENCODING HZ`."""

import sys
import time

import numpy as np
import rclpy
import ros_made
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image


def main() -> None:
    """Publish noise, best effort, until killed."""
    width, height, encoding, hz = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    shape = (height, width) if encoding == "mono8" else (height, width, 3)
    pixels = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    rclpy.init()
    node = Node("played_camera")
    quality = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    publisher = node.create_publisher(Image, "image", quality)
    while True:
        publisher.publish(ros_made.image(pixels, time.time_ns(), encoding=encoding))
        time.sleep(1 / float(hz))


if __name__ == "__main__":
    main()
