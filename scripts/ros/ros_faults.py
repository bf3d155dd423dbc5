#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Break what a running depth node is fed, live: what it says, what it sends, how soon it is back.

The node runs in a process of its own; this one is camera, odometry and consumer. A row for each
fault: answers sent meanwhile, answers older than the fault (must be 0), the worst diagnostics line,
and the time from the first good frame to the next depth. Ends with exit 1 where the node died or
wrote a traceback.

    python scripts/ros/ros_faults.py MODEL SEQUENCE [--rate 15] [--only WORD] [--json]
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("ROS_DOMAIN_ID", "96")
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_fault_feeds import FAULTS, FRAME, ODOM, Feed, info_of, jpeg, stepping
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from depthkit.data.sequence import Sequence, open_sequence
from ros_nodes.convert import camera_info_message, image_message, pose_message, stamp_message
from ros_nodes.life.run import use_profile

BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
RELIABLE = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
LONG = 4.0  # seconds of a fault: diagnostics come once a second
WARM = 3.0  # seconds of good frames before one
BACK = 20.0  # seconds within which the node must be back


@dataclass
class Row:
    """What one fault did."""

    fault: str
    answers_meanwhile: int
    stale_answers: int
    """Depth with the stamp of a frame from before the fault, sent after it began."""
    said: str
    """The worst diagnostics lines."""
    recovery_s: float | None


class Rig:
    """Camera, odometry and consumer of one node."""

    def __init__(self, sequence: Sequence, rate: float) -> None:
        self.node, self.rate, self.sequence = Node("faults"), rate, sequence
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        make = self.node.create_publisher
        self.raw, self.jpeg = make(Image, "image", 5), make(CompressedImage, "image/compressed", 5)
        self.info, self.odometry = (
            make(CameraInfo, "camera_info", 5),
            make(Odometry, "odometry", 20),
        )
        self.answers: list[tuple[float, float]] = []
        self.said: dict[str, tuple[int, str]] = {}
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._hear, RELIABLE)
        self.listen(BEST_EFFORT)
        self.count = 0

    def listen(self, profile: QoSProfile) -> None:
        """Subscribe to the depth, instead of before."""
        if getattr(self, "listener", None) is not None:
            self.node.destroy_subscription(self.listener)
        self.listener = self.node.create_subscription(Image, "depth", self._take, profile)

    def drive(
        self,
        seconds: float,
        alter: Callable[[Feed], Feed] = lambda feed: feed,
        until: Callable[[], bool] = lambda: False,
    ) -> float:
        """Send frame after frame; return how long it took. Seconds"""
        started = time.monotonic()
        due = started
        while time.monotonic() < started + seconds and not until():
            self._send(alter(self._feed()))
            due = max(due + 1 / self.rate, time.monotonic())
            while (left := due - time.monotonic()) > 0:
                self.executor.spin_once(timeout_sec=left)
            self.executor.spin_once(timeout_sec=0)
        return time.monotonic() - started

    def listen_only(self, seconds: float, until: Callable[[], bool] = lambda: False) -> float:
        """Send nothing. Seconds"""
        started = time.monotonic()
        while time.monotonic() < started + seconds and not until():
            self.executor.spin_once(timeout_sec=0.05)
        return time.monotonic() - started

    def worst(self) -> str:
        """Return the diagnostics lines of the worst level there is."""
        level = max((level for level, _ in self.said.values()), default=0)
        lines = [f"{name}: {text}" for name, (at, text) in self.said.items() if at == level]
        return "; ".join(lines) if level else "all ok"

    def _feed(self) -> Feed:
        """Make the next good moment: the sequence to and fro, stamped now."""
        last = len(self.sequence) - 1
        i = self.count % (2 * last)
        i, self.count = min(i, 2 * last - i), self.count + 1
        now = time.time_ns()
        heads = [Header(stamp=stamp_message(now), frame_id=FRAME) for _ in range(2)]
        bgr = np.ascontiguousarray(self.sequence.read_frame(i)[..., ::-1])
        odometry = Odometry(child_frame_id=FRAME)
        odometry.header = Header(stamp=stamp_message(now), frame_id=ODOM)
        odometry.pose.pose = pose_message(self.sequence.poses[i])
        return Feed(
            image_message(bgr, "bgr8", heads[0]),
            camera_info_message(self.sequence.camera, heads[1]),
            odometry,
        )

    def _send(self, feed: Feed) -> None:
        if feed.odometry is not None:
            self.odometry.publish(feed.odometry)
        if feed.info is not None:
            self.info.publish(feed.info)
        if isinstance(feed.image, CompressedImage):
            self.jpeg.publish(feed.image)
        elif feed.image is not None:
            self.raw.publish(feed.image)

    def _take(self, message: Image) -> None:
        stamp = message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec
        self.answers.append((time.time(), stamp))

    def _hear(self, message: DiagnosticArray) -> None:
        for status in message.status:
            worst, _ = self.said.get(status.name, (0, ""))
            if status.level[0] >= worst:
                self.said[status.name] = (status.level[0], status.message)


# --- running --------------------------------------------------------------------------------------


def main() -> None:
    """Inject all faults and print a table or one object."""
    args = read_arguments()
    use_profile()
    rclpy.init()
    rig = Rig(open_sequence(args.sequence), args.rate)
    try:
        rows = [*plain_faults(rig, args), *special_faults(rig, args)]
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        rig.node.destroy_node()
        rclpy.try_shutdown()
    if args.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
        return
    print("| fault | answers meanwhile | stale | diagnostics | back after, s |")
    print("| --- | --- | --- | --- | --- |")
    for row in rows:
        back = "never" if row.recovery_s is None else f"{row.recovery_s:.2f}"
        print(
            f"| {row.fault} | {row.answers_meanwhile} | {row.stale_answers} | {row.said} | {back} |"
        )


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path, help="pair network: .onnx or shipped name")
    parser.add_argument("sequence", type=Path, help="with poses in metres")
    parser.add_argument("--rate", type=float, default=15.0, help="frames a second")
    parser.add_argument("--only", default="", help="faults whose name holds this")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def plain_faults(rig: Rig, args: argparse.Namespace) -> Iterator[Row]:
    """Inject what is wrong with messages."""
    faults = FAULTS | {"stamps step back": stepping(args.rate)}
    wanted = {name: alter for name, alter in faults.items() if args.only in name}
    if wanted:
        with running_node(args) as node:
            for name, alter in wanted.items():
                yield inject(rig, name, lambda alter=alter: rig.drive(LONG, alter))
                check_alive(node, name)
    compressed = {"JPEG": jpeg(1.0), "truncated JPEG": jpeg(0.5), "empty JPEG": jpeg(0.0)}
    wanted = {name: alter for name, alter in compressed.items() if args.only in name}
    if wanted:
        with running_node(args, "camera.transport:=compressed") as node:
            for name, alter in wanted.items():
                yield inject(rig, name, lambda alter=alter: rig.drive(LONG, alter), jpeg(1.0))
                check_alive(node, name)


def special_faults(rig: Rig, args: argparse.Namespace) -> Iterator[Row]:
    """Inject what is wrong with processes, files, subscribers."""
    if args.only in "camera_info late":
        with running_node(args) as node:
            rig.said.clear()
            rig.drive(LONG, info_of(lambda info: None))
            yield recovered(rig, "camera_info late", time.time())
            check_alive(node, "camera_info late")
    if args.only in "reliable subscriber":
        with running_node(args) as node:
            rig.listen(RELIABLE)
            yield inject(rig, "reliable subscriber", lambda: rig.drive(LONG))
            rig.listen(BEST_EFFORT)
            check_alive(node, "reliable subscriber")
    if args.only in "publisher killed":
        with running_node(args) as node:
            yield killed(rig, args)
            check_alive(node, "publisher killed")
    if args.only in "model file missing, tampered":
        yield from model_faults(rig, args)


def model_faults(rig: Rig, args: argparse.Namespace) -> Iterator[Row]:
    """Start without the model, then with a broken one, then put the right one there."""
    from depthkit.runtime.network.manifest import find_model

    good = find_model(args.model).read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        broken = bytearray(good)
        broken[len(broken) // 2] ^= 1
        for name, content in (("model missing", None), ("model tampered", bytes(broken))):
            file.unlink(missing_ok=True)
            if content is not None:
                file.write_bytes(content)
            with running_node(args, f"model:={file}") as node:
                rig.said.clear()
                rig.drive(2 * LONG)
                temporary = file.with_suffix(".part")
                temporary.write_bytes(good)
                os.replace(temporary, file)
                yield recovered(rig, name, time.time())
                check_alive(node, name)


def inject(
    rig: Rig,
    name: str,
    fault: Callable[[], Any],
    good: Callable[[Feed], Feed] = lambda feed: feed,
) -> Row:
    """Feed well, break it, feed well again; say what happened."""
    answered = len(rig.answers)
    rig.drive(BACK, good, until=lambda: len(rig.answers) > answered)
    rig.drive(WARM, good)
    began = time.time()
    rig.said.clear()
    rig.answers.clear()
    fault()
    return recovered(rig, name, began, good)


def recovered(
    rig: Rig, name: str, began: float, good: Callable[[Feed], Feed] = lambda feed: feed
) -> Row:
    """Feed well until depth comes back."""
    meanwhile, said = list(rig.answers), rig.worst()
    rig.answers.clear()
    seconds = rig.drive(BACK, good, until=lambda: bool(rig.answers))
    # A frame on its way when the fault began is no stale one.
    stale = [stamp for at, stamp in meanwhile if at > began + 1.0 and 0 < began - stamp < 60.0]
    back = round(seconds, 2) if rig.answers else None
    print(f"{name}: back after {back} s", file=sys.stderr, flush=True)
    return Row(name, len(meanwhile), len(stale), said, back)


def killed(rig: Rig, args: argparse.Namespace) -> Row:
    """Let another process be the camera, kill it, and come back with other pictures."""
    name = "publisher killed -9, back with half the size, mono8"
    words = [sys.executable, "-m", "ros_nodes.player_node", "--ros-args"]
    for text in (f"source:={args.sequence}", "loop:=true", f"frame_id:={FRAME}"):
        words += ["-p", text]
    rig.answers.clear()
    other = subprocess.Popen(words)
    rig.listen_only(BACK, until=lambda: len(rig.answers) > WARM)
    other.send_signal(signal.SIGKILL)
    other.wait()
    rig.said.clear()
    rig.answers.clear()
    began = time.time()
    rig.listen_only(LONG)
    return recovered(rig, name, began, FAULTS["half the size, mono8"])


def check_alive(node: "Running", fault: str) -> None:
    """Stop where the node is gone or has shown its inside."""
    text = node.log.read_text()
    if node.process.poll() is not None or "Traceback" in text:
        raise SystemExit(f"ros_faults: {fault}: the node died or wrote a traceback:\n{text}")


@dataclass
class Running:
    """A node's process and what it writes."""

    process: subprocess.Popen[bytes]
    log: Path = field(default_factory=Path)


@contextmanager
def running_node(args: argparse.Namespace, *more: str) -> Iterator[Running]:
    """Run the depth node with poses from odometry; later words win."""
    words = [f"model:={args.model}", "motion.source:=odometry", *more]
    parameters = dict(word.split(":=", 1) for word in words)
    command = [sys.executable, "-m", "ros_nodes.depth_node", "--ros-args"]
    for key, value in parameters.items():
        command += ["-p", f"{key}:={value}"]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as file:
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
            try:
                yield Running(process, log)
            finally:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


if __name__ == "__main__":
    main()
