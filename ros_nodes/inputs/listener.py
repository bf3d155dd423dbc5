# SPDX-License-Identifier: Apache-2.0
"""A subscription with its diagnostics: arrivals, losses, publishers of another type or QoS."""

import re
import time
from collections.abc import Callable
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_policy_name_from_kind,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from rclpy.timer import Timer

from depthkit.errors import ConfigError
from ros_nodes.life.monitor import Rate

NAMED = 3  # most alternative topics that a hint names
OUTPUTS = re.compile(
    r"/(depth|depth_relative|confidence|static_probability|depth/camera_info)$"
)  # outputs of depth nodes, which are no candidates for a camera
LOOK = 0.25  # seconds between two checks of the type of a topic that may have several


class Listener:
    """Subscribes to a topic with a QoS that matches every publisher, and counts messages.

    Best effort and volatile match reliable publishers and sensors alike; parameters
    `qos_overrides.<topic>.subscription.*` change that.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        kinds: tuple[type, ...],
        take: Callable[[Any], None],
        *,
        depth: int,
    ) -> None:
        """Set up; subscribes in `start`.

        Args:
            node: node that remaps the topic.
            topic: relative name.
            kinds: message types; with several, the published one is used.
            take: called with each message on the executor's thread.
            depth: number of messages kept while the executor is busy; older ones are dropped.
        """
        self._node, self._kinds, self._take, self._depth = node, kinds, take, depth
        self.topic = node.resolve_topic_name(topic)
        self._relative = topic
        self._kind: type | None = None
        self._subscription: Subscription | None = None
        self._timer: Timer | None = None
        self._reset()

    def start(self) -> None:
        """Subscribe, if not subscribed yet."""
        if self._subscription is not None or self._timer is not None:
            return
        self._reset()
        if len(self._kinds) == 1:
            self._subscribe(self._kinds[0])
            return
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self._node.create_timer(LOOK, self._look, clock=steady)

    def stop(self) -> None:
        """Unsubscribe; `start` begins again with all counts at 0."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
        self._timer = None
        self._unsubscribe()

    def age(self, now: float) -> float | None:
        """Return the seconds since the last message at steady time `now`; None before the first."""
        return None if self._last is None else now - self._last

    def publishers(self) -> str:
        """Describe the publishers, such as "1 publisher" or "1 publisher of
        std_msgs/msg/String"."""
        found = self._published()
        if not found:
            return "no publisher"
        count = f"{len(found)} publisher{'s' * (len(found) > 1)}"
        others = sorted({name for name in found if name not in map(_type_name, self._kinds)})
        if not others:
            return count
        wanted = " or ".join(map(_type_name, self._kinds))
        return f"{count} of {', '.join(others)}, expected {wanted}"

    def hints(self) -> list[str]:
        """List likely reasons why no message arrives."""
        hints = []
        if self.unfit:
            name = f"qos_overrides.{self.topic}.subscription.{self.unfit.lower()}"
            hints.append(f"a publisher's {self.unfit} does not fit; set {name}")
        if not self._published() and (others := self._elsewhere()):
            hints.append(f"remap it to {' or '.join(others)}")
        return hints

    # --- inside ---------------------------------------------------------------------------------

    def _reset(self) -> None:
        self._last: float | None = None
        self.rate = Rate()
        self.lost = 0
        """Number of messages dropped by the middleware."""
        self.period = 0.0
        """Interval of messages, seconds: the shorter of the last two, since a single long one is a
        pause."""
        self._gap = 0.0
        self.unfit = ""
        """QoS policy in which a publisher is incompatible; empty if all are compatible."""

    def _published(self) -> list[str]:
        return [one.topic_type for one in self._node.get_publishers_info_by_topic(self.topic)]

    def _elsewhere(self) -> list[str]:
        """List the first topics with messages of this type from other nodes.

        If some have a similar name, only those: a depth map is an Image too.
        """
        wanted, own = set(map(_type_name, self._kinds)), self._node.get_fully_qualified_name()
        found: list[str] = []
        for topic, kinds in self._node.get_topic_names_and_types():
            if wanted & set(kinds) and not OUTPUTS.search(topic):
                ends = self._node.get_publishers_info_by_topic(topic)
                nodes = {f"{end.node_namespace.rstrip('/')}/{end.node_name}" for end in ends}
                found += [topic] if nodes - {own} else []
        name = self.topic.rpartition("/")[2].partition("_")[0]  # "image" of image_raw
        return ([topic for topic in found if name in topic] or found)[:NAMED]

    def _look(self) -> None:
        """Subscribe with the published type; keep the current one while it has a publisher."""
        found = self._published()
        if self._kind is not None and _type_name(self._kind) in found:
            return
        kind = next((kind for kind in self._kinds if _type_name(kind) in found), None)
        if kind is not None and kind is not self._kind:
            self._unsubscribe()
            self._subscribe(kind)

    def _subscribe(self, kind: type) -> None:
        self._kind = kind
        overrides = f"qos_overrides.{self.topic}.subscription"
        try:
            self._subscription = self._node.create_subscription(
                kind,
                self._relative,
                self._on_message,
                QoSProfile(
                    history=HistoryPolicy.KEEP_LAST,
                    depth=self._depth,
                    reliability=ReliabilityPolicy.BEST_EFFORT,
                    durability=DurabilityPolicy.VOLATILE,
                ),
                event_callbacks=SubscriptionEventCallbacks(
                    incompatible_qos=self._note_unfit, message_lost=self._note_lost
                ),
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
        except (RuntimeError, AssertionError, AttributeError) as error:
            # rclpy rejects an override of a wrong value or type with one of these.
            given = {
                k: one.value for k, one in self._node.get_parameters_by_prefix(overrides).items()
            }
            raise ConfigError(f"parameter {overrides}.*: {given} is not valid; {error}") from error

    def _unsubscribe(self) -> None:
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        self._subscription = self._kind = None

    def _on_message(self, message: Any) -> None:
        now = time.monotonic()
        before, self._gap = self._gap, 0.0 if self._last is None else now - self._last
        self.period, self._last = min(before, self._gap), now
        self.rate.tick(now)
        self._take(message)

    def _note_unfit(self, event: Any) -> None:
        self.unfit = qos_policy_name_from_kind(event.last_policy_kind)

    def _note_lost(self, event: Any) -> None:
        self.lost += event.total_count_change


def _type_name(kind: type) -> str:
    """Return the ROS name of a message class, such as "nav_msgs/msg/Odometry"."""
    package, middle, *_ = kind.__module__.split(".")
    return f"{package}/{middle}/{kind.__name__}"
