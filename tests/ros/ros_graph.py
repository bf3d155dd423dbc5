# SPDX-License-Identifier: Apache-2.0
"""A running ROS graph for tests: nodes in this process and a probe among them."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from ros_processes import flat

T = TypeVar("T")
WAIT = 60.0  # seconds, reached by a failing test alone: a busy machine starts a process in 10
SETTLE = 0.5
"""Seconds between finding a service and calling it. rmw_fastrtps drops an answer without a word if
the server has not found the client's reader 0.1 s after the call."""


class Graph:
    """Nodes of one context, served by one executor in the test's own thread."""

    def __init__(self, domain: int) -> None:
        self.context = Context()
        self.context.init(args=[], domain_id=domain)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._nodes: list[Node] = []

    def node(
        self,
        name: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        remap: Mapping[str, str] | None = None,
        kind: type[Node] = Node,
        **options: Any,
    ) -> Any:
        """Make a node and serve it.

        Args:
            name: of the node.
            parameters: given as on a command line; mappings nest ("baseline": {"shift": 2}).
            remap: topics and services by their name in the code.
            kind: Node or LifecycleNode.
            options: further arguments of the class.
        """
        rules = [word for old, new in (remap or {}).items() for word in ("-r", f"{old}:={new}")]
        node = kind(
            name,
            context=self.context,
            cli_args=["--ros-args", *rules],
            use_global_arguments=False,
            parameter_overrides=[
                Parameter(key, value=value) for key, value in flat(parameters or {}).items()
            ],
            **options,
        )
        self._nodes.append(node)
        self._executor.add_node(node)
        return node

    def probe(self, name: str = "probe") -> "Probe":
        """Make a node that sends pictures and collects what comes."""
        return Probe(self, self.node(name))

    def remove(self, node: Node) -> None:
        """Take a node out of the graph, as when its process ends."""
        self._nodes.remove(node)
        self._executor.remove_node(node)
        node.destroy_node()

    def spin_once(self, timeout: float = 0.02) -> None:
        """Serve what is ready; wait for it at most `timeout` seconds."""
        self._executor.spin_once(timeout_sec=timeout)

    def spin_until(self, condition: Callable[[], T], timeout: float = WAIT) -> T:
        """Serve the nodes until a condition holds; return what it said.

        Raises:
            TimeoutError: it did not within `timeout` seconds.
        """
        end = time.monotonic() + timeout
        while True:
            answer = condition()
            if answer:
                return answer
            if time.monotonic() > end:
                raise TimeoutError(f"not within {timeout:g} s: {_words(condition)}")
            self.spin_once()

    def spin_for(self, seconds: float) -> None:
        """Serve the nodes for a while: to show that nothing comes."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.spin_once()

    def close(self) -> None:
        """Destroy everything."""
        self._executor.shutdown()
        for node in self._nodes:
            node.destroy_node()
        self.context.try_shutdown()


class Probe:
    """A node beside the one under test: plays its camera and its readers."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self.graph, self.node = graph, node
        self._publishers: dict[str, Any] = {}
        self._clients: dict[str, Any] = {}

    # ---- sending

    def publish(self, topic: str, message: Any, *, qos: QoSProfile | int = 10) -> None:
        """Send a message; the publisher of a topic is made at its first message and kept."""
        self.publisher(topic, type(message), qos=qos).publish(message)

    def publisher(self, topic: str, kind: Any, *, qos: QoSProfile | int = 10) -> Any:
        """Return the topic's publisher."""
        if topic not in self._publishers:
            self._publishers[topic] = self.node.create_publisher(kind, topic, qos)
        return self._publishers[topic]

    def wait_for_reader(self, topic: str, kind: Any, *, qos: QoSProfile | int = 10) -> None:
        """Wait until somebody subscribes to the topic."""
        publisher = self.publisher(topic, kind, qos=qos)
        self.graph.spin_until(lambda: publisher.get_subscription_count() > 0)

    def wait_for_writer(self, topic: str) -> None:
        """Wait until somebody publishes the topic."""
        name = self.node.resolve_topic_name(topic)
        self.graph.spin_until(lambda: self.node.count_publishers(name) > 0)

    # ---- receiving

    def collect(self, topic: str, kind: Any, *, qos: QoSProfile | int = 100) -> list[Any]:
        """Subscribe; messages are appended to the list returned, in the order they come."""
        messages: list[Any] = []
        self.node.create_subscription(kind, topic, messages.append, qos)
        return messages

    def wait_for(self, messages: list[Any], count: int = 1, timeout: float = WAIT) -> list[Any]:
        """Wait until a list of `collect` holds that many messages."""
        self.graph.spin_until(lambda: len(messages) >= count, timeout)
        return messages

    # ---- services and parameters

    def call(self, service: str, kind: Any, request: Any = None, timeout: float = WAIT) -> Any:
        """Call a service and return its answer; the client of a service is made once and kept."""
        if service not in self._clients:
            self._clients[service] = self.node.create_client(kind, service)
            self.graph.spin_until(self._clients[service].service_is_ready, timeout)
            self.graph.spin_for(SETTLE)
        future = self._clients[service].call_async(kind.Request() if request is None else request)
        self.graph.spin_until(future.done, timeout)
        return future.result()

    def set_parameter(self, node: str, name: str, value: Any) -> Any:
        """Set a parameter as `ros2 param set` does; the answer has `.successful`, `.reason`."""
        message = Parameter(name, value=value).to_parameter_msg()
        request = SetParameters.Request(parameters=[message])
        return self.call(f"/{node}/set_parameters", SetParameters, request).results[0]

    def get_parameter(self, node: str, name: str) -> Any:
        """Return a parameter's value as `ros2 param get` does."""
        answer = self.call(
            f"/{node}/get_parameters", GetParameters, GetParameters.Request(names=[name])
        )
        message = Parameter(name).to_parameter_msg()
        message.value = answer.values[0]
        return Parameter.from_parameter_msg(message).value

    def describe_parameter(self, node: str, name: str) -> Any:
        """Return a parameter's descriptor as `ros2 param describe` does."""
        request = DescribeParameters.Request(names=[name])
        answer = self.call(f"/{node}/describe_parameters", DescribeParameters, request)
        return answer.descriptors[0]


def _words(condition: Callable[[], Any]) -> str:
    code = getattr(condition, "__code__", None)
    return f"line {code.co_firstlineno} of {Path(code.co_filename).name}" if code else "condition"
