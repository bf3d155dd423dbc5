# SPDX-License-Identifier: Apache-2.0
"""What depthkit's nodes say and send, in a terminal: for a machine without `ros2` and RViz.

Each new warning and error of /diagnostics, and once a second how the depth is.

    python scripts/watch_ros.py [--save DIR] [--ros-args ...]
"""

import argparse
import re
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from depthkit.data.folder import make_folder
from depthkit.outputs.pictures import InverseDepthColours, save_picture
from depthkit.ros_messages import nanoseconds, seconds
from ros_nodes.life.run import run_node

UNITS = {"depth": "m", "depth_relative": "in a unit of its own"}
OK = DiagnosticStatus.OK
WORDS = ("OK", "WARN", "ERROR", "STALE")  # by level
STEADY = ClockType.STEADY_TIME
OLD = 60.0  # seconds; above, the stamp is that of a recording


def main() -> int:
    """Read the command line and watch until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--save", metavar="DIR", type=Path, help="depth as coloured pictures")
    args, rest = parser.parse_known_args()
    if args.save is not None and args.save.exists():
        parser.error(f"{args.save}: exists already; choose another folder")
    return run_node("watch_ros", partial(Watch, folder=args.save), rest)


class Watch:
    """A reader of `depth`, `depth_relative` and `/diagnostics`; pictures go to a new folder."""

    def __init__(self, node: Node, *, folder: Path | None) -> None:
        if folder is not None:
            make_folder(folder)
        self._node, self._folder = node, folder
        self._colours = InverseDepthColours()
        self._told: dict[str, tuple[bytes, str]] = {}
        self._heard: dict[str, list[tuple[np.ndarray, str]]] = {name: [] for name in UNITS}
        self._since = time.monotonic()

    def start(self) -> None:
        """Listen."""
        make = self._node.create_subscription
        takers = {name: partial(self._take, name) for name in UNITS}
        self._parts = [make(Image, *one, qos_profile_sensor_data) for one in takers.items()]
        self._parts.append(make(DiagnosticArray, "/diagnostics", self._tell, 10))
        self._timer = self._node.create_timer(1.0, self._sum_up, clock=Clock(clock_type=STEADY))

    def stop(self) -> None:
        """Listen no more."""
        self._node.destroy_timer(self._timer)
        for part in self._parts:
            self._node.destroy_subscription(part)

    def close(self) -> None:
        """Do nothing: pictures are whole when they are written."""

    def _take(self, name: str, message: Image) -> None:
        depth, stamp = read_depth(message), message.header.stamp
        age = seconds(self._node.get_clock().now().nanoseconds - nanoseconds(stamp))
        late = f", {1e3 * age:.0f} ms old" if abs(age) < OLD else ""
        self._heard[name].append((depth, f"{UNITS[name]}{late}"))
        if self._folder is not None:
            path = self._folder / f"{name}_{stamp.sec}_{stamp.nanosec:09d}.png"
            save_picture(path, self._colours.paint(depth))

    def _tell(self, message: DiagnosticArray) -> None:
        """Print what is new: another level or other words; figures alone change all the time."""
        for status in message.status:
            now = (status.level, re.sub(r"\d[\d.]*", "#", status.message))
            before, self._told[status.name] = self._told.get(status.name, (OK, "")), now
            if now != before and {now[0], before[0]} != {OK}:
                print(f"{WORDS[now[0][0]]:5} {status.name}: {status.message}", flush=True)

    def _sum_up(self) -> None:
        span, self._since = time.monotonic() - self._since, time.monotonic()
        for name, maps in self._heard.items():
            if maps:
                print(f"{name} {len(maps) / span:.1f} Hz, {describe(*maps[-1])}", flush=True)
        if not any(self._heard.values()):
            print("no depth" if self._told else "no depth, and no diagnostics", flush=True)
        self._heard = {name: [] for name in UNITS}


def read_depth(message: Image) -> np.ndarray:
    """Return what a depth node sent, 0 where unknown. (H, W) float32"""
    kind, unit = ("u2", 1e-3) if message.encoding == "16UC1" else ("f4", 1.0)
    depth = np.frombuffer(message.data, kind).reshape(message.height, message.width)
    return np.nan_to_num(depth.astype(np.float32) * np.float32(unit), nan=0.0)


def describe(depth: np.ndarray, unit: str) -> str:
    """Say the size, how much is known, and how far it lies."""
    known = depth[depth > 0]
    size = f"{depth.shape[1]}x{depth.shape[0]}, {100 * known.size / depth.size:.0f} % known"
    if not known.size:
        return size
    near, middle, far = np.percentile(known, (2, 50, 98))
    return f"{size}, near {near:.3g} median {middle:.3g} far {far:.3g} {unit}"


if __name__ == "__main__":
    sys.exit(main())
