# SPDX-License-Identifier: Apache-2.0
"""The component of a node, and the managed (lifecycle) node that runs it."""

import traceback
from collections.abc import Callable
from typing import Any, Protocol

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node

from depthkit.errors import DepthkitError
from ros_nodes.life.params import drop_unread, given_names


class Component(Protocol):
    """The function of a node; runs in a plain node and in a managed one.

    `build(node)` creates it: declares parameters, opens models and files, which may fail, and only
    then creates publishers.
    """

    def start(self) -> None:
        """Create subscriptions, timers and the worker; may follow `stop`."""

    def stop(self) -> None:
        """Destroy what `start` created; the worker has ended when this returns."""

    def close(self) -> None:
        """Free what `build` created."""


Build = Callable[[Node], Component]


def build_component(node: Node, build: Build) -> Component:
    """Build a component and warn about given parameters that it does not know.

    Args:
        node: made with `automatically_declare_parameters_from_overrides`.
        build: makes the component.
    """
    given = given_names(node)
    try:
        return build(node)
    finally:
        # Also after a failure: a misspelt "modle" explains a missing "model.onnx".
        for line in drop_unread(node, given):
            node.get_logger().warning(line)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


class ManagedNode(LifecycleNode):
    """A component under the transitions of ROS: configure builds, activate starts, deactivate
    stops, cleanup closes. A component that cannot be built is one line and a configure FAILURE.
    """

    def __init__(self, name: str, *, build: Build, **options: Any) -> None:
        """Make an unconfigured node; options are those of LifecycleNode."""
        super().__init__(name, automatically_declare_parameters_from_overrides=True, **options)
        self._build_component = build
        self._component: Component | None = None
        self._active = False

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Build the component."""
        return self._guarded(self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start it."""
        return self._guarded(self._start)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop it."""
        return self._guarded(self._stop)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Close it."""
        return self._guarded(self.end)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and close it."""
        return self._guarded(self.end)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go back to unconfigured after a bug."""
        return self._guarded(self.end)

    def end(self) -> None:
        """Stop and close the component, in any state."""
        self._stop()
        component, self._component = self._component, None
        if component is not None:
            component.close()

    def _configure(self) -> None:
        self._component = build_component(self, self._build_component)

    def _start(self) -> None:
        if self._component is not None:
            self._active = True
            self._component.start()

    def _stop(self) -> None:
        active, self._active = self._active, False
        if active and self._component is not None:
            self._component.stop()

    def _guarded(self, step: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            step()
        except DepthkitError as error:
            self.get_logger().error(first_line(error))
            return TransitionCallbackReturn.FAILURE
        except Exception:  # rclpy would swallow the traceback of a bug
            self.get_logger().error(traceback.format_exc())
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.SUCCESS
