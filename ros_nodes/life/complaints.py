# SPDX-License-Identifier: Apache-2.0
"""What a node says of frames it has no answer to; the monitor brings it to the log."""

import traceback
from collections.abc import Callable

from rclpy.node import Node

from ros_nodes.life.monitor import Level, Monitor, Status


class Complaints:
    """Reasons why there is no answer; the worker of a node complains, and goes on."""

    def __init__(
        self, node: Node, what: str, note: Callable[[str, Level], None], *, monitor: Monitor
    ) -> None:
        """Set up.

        Args:
            node: whose log it is.
            what: there is none of: "depth".
            note: told each reason, and how bad it is, for the status of the output.
            monitor: brings a bug to the log at once.
        """
        self._log, self._what, self._note, self._monitor = node.get_logger(), what, note, monitor

    def refuse(self, reason: str) -> None:
        """Say why a frame has no answer."""
        self._note(reason, "warn")

    def bug(self, error: Exception) -> None:
        """Say that it is ours; where it happened is for the log at debug level."""
        line = " ".join(f"a bug, please report it: {type(error).__name__}: {error}".split())
        self._note(line, "error")
        if self._monitor.announce("output", Status("error", f"no {self._what}: {line}")):
            self._log.debug("".join(traceback.format_exception(error)))
