#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The depth node on a replayed clip beside the floor that any node has, in one run, as JSON.

Three stages with the same player in a process of its own:
  transport  frames reach this process and nothing else is done: receipt minus stamp;
  engine     the bare source of depth over the same frames, while the player plays;
  node       player, depth node and this process, which receives the depth: three processes.
The floor is an ideal node: frames arrive with the transport's delays, the newest is taken whenever
the engine is free, and it takes as long as the bare engine took. What the node adds is the rest.

    python scripts/ros/bench_ros.py MODEL BAG [--seconds 30] [--set motion.source:=odometry ...]
    python scripts/ros/bench_ros.py sweep SEQUENCE --topic depth_relative --quality fast
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("ROS_DOMAIN_ID", "95")
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from depthkit.data.stream import FrameStream, open_stream
from depthkit.runtime import BaselineConfig, DepthEngine
from depthkit.runtime.config import SWEEP
from depthkit.runtime.depth.depth_method import DepthMethod, network_method, sweep_method
from depthkit.runtime.motion.told import Motion
from depthkit.runtime.streams import DepthSource
from ros_nodes.life.run import use_profile

PERCENTILES = (50, 95, 99)
NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
SETTLE = 3.0  # seconds after the first message: caches, the ring of past frames
START = 30.0  # seconds within which a process must show itself


def main() -> None:
    """Measure the three stages and print one object."""
    args = read_arguments()
    use_profile()
    rclpy.init()
    consumer = Consumer()
    try:
        print(json.dumps(measure(args, consumer), indent=1))
    except (KeyboardInterrupt, ExternalShutdownException):
        sys.exit(130)
    finally:
        consumer.node.destroy_node()
        rclpy.try_shutdown()


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="sweep, exported file or shipped name")
    parser.add_argument("bag", type=Path, help="bag or sequence folder")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each stage")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--precision", default="default")
    parser.add_argument("--rule", default="multi_range")
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--quality", default="normal", help="of sweep")
    parser.add_argument("--topic", default="depth", help="depth, or depth_relative")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME:=VALUE", help="of the node")
    return parser.parse_args()


def measure(args: argparse.Namespace, consumer: "Consumer") -> dict[str, Any]:
    """Run the stages; return their figures and the floor."""
    with player(args):
        transport = consumer.ages("image", args.seconds)
    with player(args):
        model_ms = engine_times(args, args.seconds)
    with player(args), depth_node(args) as node:
        ages = consumer.ages(args.topic, args.seconds)
        usage = cpu_share(node.pid)
        said = consumer.diagnostics()
    stages = {"the transport": transport, "the bare engine": model_ms, "the node": ages}
    for stage, found in stages.items():
        if not len(found):
            raise SystemExit(f"bench_ros: nothing of {stage}; give more --seconds, or other frames")
    floor = ideal_ages(transport, model_ms, 1e3 / args.fps)
    return {
        "model": args.model,
        "threads": args.threads,
        "transport_ms": spread(transport),
        "bare_engine_ms": spread(model_ms),
        "floor_age_ms": spread(floor),
        "received_age_ms": spread(ages),
        "output_hz": len(ages) / args.seconds,
        "node_cpu_share": usage,
        "node": said,
    }


class Consumer:
    """What listens: keeps the age of each message at its receipt, and the last diagnostics."""

    def __init__(self) -> None:
        self.node = Node("bench_consumer")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.said: dict[str, dict[str, str]] = {}
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._hear, 10)

    def ages(self, topic: str, seconds: float) -> np.ndarray:
        """Collect receipt minus stamp of a topic's images, milliseconds, once it has settled."""
        ages: list[float] = []

        def take(message: Image) -> None:
            stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            ages.append((time.time_ns() - stamp) / 1e6)

        subscription = self.node.create_subscription(Image, topic, take, NEWEST)
        self._spin(START, lambda: bool(ages))
        if not ages:
            raise SystemExit(f"bench_ros: nothing on {topic} within {START:g} s: {self.said}")
        self._spin(SETTLE)
        ages.clear()
        self._spin(seconds)
        self.node.destroy_subscription(subscription)
        return np.array(ages)

    def diagnostics(self) -> dict[str, dict[str, str]]:
        """Return what the nodes said last, by status."""
        self._spin(1.5)
        return self.said

    def _hear(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {item.key: item.value for item in status.values}
            self.said[status.name] = {"message": status.message} | values

    def _spin(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            self.executor.spin_once(timeout_sec=0.1)


def engine_times(args: argparse.Namespace, seconds: float) -> np.ndarray:
    """Time the bare stream over the clip's frames, again and again, milliseconds. (N,)"""
    source = open_stream(args.bag)
    frames = [(frame.rgb, frame.time, frame.T_world_cam) for frame in source.frames()]
    spent: list[float] = []
    with bare_method(args) as method:
        stream = method.build(BaselineConfig(rule=args.rule))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            stream.reset()
            spent += _one_pass(stream, frames, source, end)
    return np.array(spent)


def bare_method(args: argparse.Namespace) -> DepthMethod:
    """Open what the node opens."""
    if args.model == str(SWEEP):
        return sweep_method(args.quality, threads=args.threads)
    opened = {"backend": args.backend, "threads": args.threads, "precision": args.precision}
    return network_method(DepthEngine.open(args.model, **opened))


def _one_pass(
    stream: DepthSource, frames: list[Any], source: FrameStream, end: float
) -> Iterator[float]:
    K = None if source.camera is None else source.camera.K
    for rgb, stamp, pose in frames:
        started = time.perf_counter()
        result = stream.process(rgb, stamp=stamp, K=K, motion=Motion(pose))
        if result.depth is not None:
            yield 1e3 * (time.perf_counter() - started)
        if time.monotonic() > end:
            return


def ideal_ages(transport: np.ndarray, model_ms: np.ndarray, period_ms: float) -> np.ndarray:
    """Return the ages of an ideal node's answers, milliseconds.

    Frame k is there at k * period + its transport; a free engine takes the newest frame that is
    there, or waits for the next one.
    """
    rng, count = np.random.default_rng(0), 20000
    stamps = period_ms * np.arange(count)
    arrivals = np.maximum.accumulate(stamps + rng.choice(transport, count))
    ages, free, taken = [], 0.0, -1
    while True:
        newest = int(np.searchsorted(arrivals, free, side="right")) - 1
        if newest <= taken:
            newest = taken + 1
        if newest >= count:
            return np.array(ages)
        free = max(free, arrivals[newest]) + float(rng.choice(model_ms))
        taken = newest
        ages.append(free - stamps[newest])


def spread(values: np.ndarray) -> dict[str, float]:
    """Return percentiles, rounded."""
    return {f"p{p}": round(float(np.percentile(values, p)), 2) for p in PERCENTILES}


def cpu_share(pid: int) -> float:
    """Return the share of one core that a process has used since it began."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    ticks = os.sysconf("SC_CLK_TCK")
    with open("/proc/uptime") as file:
        alive = float(file.read().split()[0]) - int(fields[19]) / ticks
    return round((int(fields[11]) + int(fields[12])) / ticks / alive, 3)


@contextmanager
def player(args: argparse.Namespace) -> Iterator[subprocess.Popen[bytes]]:
    """Play the clip without end, stamped as it is sent."""
    parameters = {"source": args.bag, "loop": "true", "fps": args.fps, "stamps": "now"}
    with running("player_node", [f"{key}:={value}" for key, value in parameters.items()]) as one:
        yield one


@contextmanager
def depth_node(args: argparse.Namespace) -> Iterator[subprocess.Popen[bytes]]:
    """Run the node with the same engine as the bare one."""
    named = ("model", "threads", "backend", "precision", "quality")
    words = [f"{key}:={getattr(args, key)}" for key in named]
    with running("depth_node", [*words, f"baseline.rule:={args.rule}", *args.set]) as one:
        yield one


@contextmanager
def running(name: str, parameters: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a node in a process of its own, and end it."""
    words = [word for text in parameters for word in ("-p", text)]
    command = [sys.executable, "-m", f"ros_nodes.{name}", "--ros-args", *words]
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
